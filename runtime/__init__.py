"""The runtime: load a compiled library and run it. It needs numpy and no part of the compiler."""

from __future__ import annotations

from ..errors import UserError
from ..signature import TensorSpec
from .library import Step
from .model import BoundCall, Model, StepTime, load
from .outputs import Outputs

__all__ = ["BoundCall", "Model", "Outputs", "Step", "StepTime", "TensorSpec", "UserError", "load"]
