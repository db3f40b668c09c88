"""The PaddlePaddle frontend: inference models, to an ONNX file, converted in an environment of their own."""

from .convert import is_paddle, write_onnx

__all__ = ["is_paddle", "write_onnx"]
