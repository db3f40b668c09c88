"""Low precision beside other runtimes in the same precision: ``python -m benchmarks.low_precision``."""

# Importing a file adds its row; it imports the frameworks it needs only when a model is made ready.
from . import bf16, fp16, int8
from .scheme import SCHEMES, Bar, Scheme

__all__ = ["SCHEMES", "Bar", "Scheme", "bf16", "fp16", "int8"]
