"""Reading an ONNX file that may be anything: every defect gets one sentence, nothing is trusted unchecked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
from google.protobuf.message import DecodeError

from ....errors import UserError
from .tensors import inline_external_data, locate_external_data

if TYPE_CHECKING:
    from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto

#: A protobuf message holds at most this many bytes.
PROTOBUF_LIMIT = 2**31 - 1


def load_model(path: Path) -> ModelProto:
    """Return the model of a file, parsed and checked; tensors in external files are left there, located and measured.

    Raises UserError for whatever is wrong with the file.
    """
    model = _parse(path, _read(path))
    _check_versions(path, model)
    for tensor in model.graph.initializer:
        locate_external_data(path, tensor)
    for tensor in _attribute_tensors(model):
        inline_external_data(path, tensor)
    return model


def check_model(path: Path) -> None:
    """Run onnx's own checker on a file. Raises UserError with the first line of its complaint."""
    try:
        onnx.checker.check_model(os.fspath(path))
    except onnx.checker.ValidationError as error:
        raise UserError(f"{path}: not a valid ONNX model: {condensed(error)}") from error


def condensed(error: BaseException) -> str:
    """Return an error's message as one line: its first sentence, and the node where onnx names one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    context = next((line.removeprefix("==> Context: ") for line in lines[1:] if line.startswith("==> Context: ")), "")
    return f"{lines[0]} ({context})" if context else lines[0]


def _read(path: Path) -> bytes:
    if path.is_dir():
        raise UserError(f"{path}: is a directory, not an ONNX file")
    try:
        size = path.stat().st_size
        if size == 0:
            raise UserError(f"{path}: the file is empty")
        if size > PROTOBUF_LIMIT:
            raise UserError(
                f"{path}: {size / 2**30:.1f} GiB is more than a protobuf file can hold (2 GiB): "
                "save the model with its weights as external data"
            )
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


def _parse(path: Path, data: bytes) -> ModelProto:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise UserError(f"{path}: not an ONNX file, or a truncated one (it is not a protobuf message)") from error
    if any(not isinstance(text, str) for text in _names(model.graph)):
        raise UserError(f"{path}: not a valid ONNX model: it holds a name that is not UTF-8 text")
    if not model.HasField("graph") or not model.opset_import:
        raise UserError(f"{path}: not an ONNX model (it holds no graph or names no operator set)")
    return model


def _check_versions(path: Path, model: ModelProto) -> None:
    newest = onnx.defs.onnx_opset_version()
    for entry in model.opset_import:
        if not 0 < entry.version < 2**31:
            raise UserError(f"{path}: the model's opset {entry.version} of domain '{entry.domain}' does not exist")
        if entry.domain in ("", "ai.onnx") and entry.version > newest:
            raise UserError(
                f"{path}: the model uses opset {entry.version}, but onnx {onnx.__version__} knows opsets "
                f"up to {newest}: install a newer onnx or export the model with opset {newest}"
            )
    if model.ir_version > onnx.IR_VERSION:
        raise UserError(
            f"{path}: the model uses IR version {model.ir_version}, but onnx {onnx.__version__} knows IR versions "
            f"up to {onnx.IR_VERSION}: install a newer onnx or export the model for an older one"
        )
    if model.graph.sparse_initializer:
        raise UserError(f"{path}: sparse initializers are not supported: save the model with dense ones")


def _names(graph: GraphProto) -> Iterator[object]:
    for node in graph.node:
        yield from (node.op_type, node.domain, *node.input, *node.output)


def _attribute_tensors(model: ModelProto) -> Iterator[TensorProto]:
    for holder in (model.graph, *model.functions):
        yield from _tensors_below(holder)


def _tensors_below(holder: GraphProto | FunctionProto) -> Iterator[TensorProto]:
    for node in holder.node:
        yield from _tensors_of(node)


def _tensors_of(node: NodeProto) -> Iterator[TensorProto]:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        for graph in (attribute.g, *attribute.graphs):
            yield from graph.initializer
            yield from _tensors_below(graph)
