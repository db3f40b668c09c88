"""The TensorFlow frontend: SavedModel, Keras, frozen graphs and TFLite, to an ONNX file."""

from .convert import is_keras, is_saved_model, write_onnx

__all__ = ["is_keras", "is_saved_model", "write_onnx"]
