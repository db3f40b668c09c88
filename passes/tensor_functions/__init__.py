"""Operators of our own that are rare, each one kernel: ``relax.tilewright.NAME``, defined by a tensor expression."""

from .operator import call, tensor_function

__all__ = ["call", "tensor_function"]
