"""The ONNX frontend: a file to an ImportedModel."""

from .function_builder import identifier
from .importer import import_onnx

__all__ = ["identifier", "import_onnx"]
