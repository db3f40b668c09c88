"""The TensorFlow frontend: SavedModel, Keras, frozen graphs and TFLite, to an ONNX file."""

from .convert import is_tensorflow, write_onnx

__all__ = ["is_tensorflow", "write_onnx"]
