"""Files of frameworks that come in as ONNX files only: each with the way there."""

from __future__ import annotations

from ...errors import UserError
from .model import ImportedModel
from .source import ModelSource

#: By suffix: what the file is, and how its model becomes one that is taken.
_WAYS: dict[str, tuple[str, str]] = {
    ".mlmodel": ("a Core ML model", "convert the model that it was made of; onnxmltools.convert_coreml reads old ones"),
    ".mlpackage": ("a Core ML package", "export the model that it was made of to ONNX"),
    ".params": ("a file of MXNet weights", "export the network with mxnet.onnx.export_model"),
    ".caffemodel": ("a Caffe model", "convert it with caffe2onnx"),
    ".prototxt": ("the description of a Caffe network", "convert it with caffe2onnx"),
    ".pdparams": ("a file of Paddle weights, a pickle", "save the model for inference with paddle.jit.save"),
    ".pdopt": ("the state of a Paddle optimizer, a pickle", "save the model for inference with paddle.jit.save"),
    ".ckpt": ("a checkpoint, weights without a network", "save the whole model (SavedModel, .keras or .pt2)"),
    ".safetensors": ("a file of weights without a network", "export the model to .pt2 or ONNX"),
    ".gguf": ("a file of weights without a network", "export the model to .pt2 or ONNX"),
    ".param": ("the description of an ncnn network", "export the model that it was made of to ONNX"),
    ".mnn": ("an MNN model", "export the model that it was made of to ONNX"),
    ".engine": ("a compiled TensorRT engine", "export the model that it was made of to ONNX"),
    ".mar": ("a TorchServe archive", "export the module in it with torch.export.save as .pt2"),
    ".ptl": ("a TorchScript module", "export its module with torch.export.save as .pt2"),
}


def is_elsewhere(source: ModelSource) -> bool:
    """Whether a file is known and cannot be read."""
    return source.suffix in _WAYS


def refuse(source: ModelSource) -> ImportedModel:
    """Raise UserError with the way through an ONNX file."""
    what, way = _WAYS[source.suffix]
    raise UserError(f"'{source.path}' is {what}, which is not read: {way}, and compile the result")
