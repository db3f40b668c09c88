"""The PyTorch frontend: exported programs, modules, factories and state dicts, through torch's own ONNX exporter."""

from .load import write_onnx

__all__ = ["write_onnx"]
