"""Tensors of an ONNX file to arrays; of external files, only those inside the model's folder are read."""

from __future__ import annotations

import math
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from onnx.helper import tensor_dtype_to_np_dtype

from ....errors import UserError

#: Element types stored several to a byte.
_PACKED = frozenset(
    getattr(TensorProto, name)
    for name in ("INT4", "UINT4", "FLOAT4E2M1", "INT2", "UINT2")
    if hasattr(TensorProto, name)
)


def to_array(model_path: Path, tensor: TensorProto) -> NDArray[Any]:
    """Return a tensor's elements. Raises UserError when its bytes do not fit its shape or its type has no arrays."""
    if tensor.data_type in (TensorProto.COMPLEX64, TensorProto.COMPLEX128):
        raise UserError(f"{model_path}: tensor '{tensor.name}' holds complex numbers, which cannot be compiled")
    if tensor.data_location == TensorProto.EXTERNAL:
        if tensor.data_type == TensorProto.STRING:
            raise UserError(f"{model_path}: tensor '{tensor.name}' holds strings in an external file, as none may")
        return _external_array(model_path, tensor)
    try:
        array: NDArray[Any] = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{model_path}: tensor '{tensor.name}' is malformed: {error}") from error
    return array


def locate_external_data(model_path: Path, tensor: TensorProto) -> tuple[Path, int, int] | None:
    """Return the file, offset and length in bytes of a tensor's external data; None when it has none.

    The file must be a regular one inside the model's folder once all symbolic links are followed, and the range must
    lie inside the file. Raises UserError otherwise.
    """
    if tensor.data_location != TensorProto.EXTERNAL:
        return None
    entries = {entry.key: entry.value for entry in tensor.external_data}
    where = f"{model_path}: tensor '{tensor.name}'"
    file = _inside(model_path, entries.get("location", ""), where)
    try:
        offset = int(entries.get("offset", 0))
        length = int(entries["length"]) if "length" in entries else None
    except ValueError as error:
        raise UserError(f"{where}: the offset or length of its external data is not a number") from error
    size = file.stat().st_size
    length = size - offset if length is None else length
    if offset < 0 or length < 0 or offset + length > size:
        raise UserError(
            f"{where}: bytes {offset} to {offset + length} lie outside its external data file "
            f"'{entries['location']}' of {size} bytes"
        )
    return file, offset, length


def inline_external_data(model_path: Path, tensor: TensorProto) -> None:
    """Move a tensor's external data, if it has any, into the message itself."""
    found = locate_external_data(model_path, tensor)
    if found is not None:
        tensor.raw_data = _read(*found)
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]


def _inside(model_path: Path, location: str, where: str) -> Path:
    parts = PurePosixPath(location).parts
    windows = PureWindowsPath(location)
    if not location or "\0" in location:
        raise UserError(f"{where}: its external data names no file")
    if PurePosixPath(location).is_absolute() or windows.drive or windows.root or ".." in (*parts, *windows.parts):
        raise UserError(f"{where}: its external data '{location}' points outside the model's folder; that is refused")
    folder = model_path.parent.resolve()
    file = (folder / location).resolve()
    if not file.is_relative_to(folder):
        raise UserError(f"{where}: its external data '{location}' leads outside the model's folder; that is refused")
    if not file.is_file():
        raise UserError(f"{where}: its external data file '{location}' is missing beside the model")
    return file


def _read(file: Path, offset: int, length: int) -> bytes:
    with file.open("rb") as stream:
        stream.seek(offset)
        return stream.read(length)


def _external_array(model_path: Path, tensor: TensorProto) -> NDArray[Any]:
    found = locate_external_data(model_path, tensor)
    assert found is not None
    file, offset, length = found
    if tensor.data_type in _PACKED:
        whole = onnx.TensorProto()
        whole.CopyFrom(tensor)
        inline_external_data(model_path, whole)
        return to_array(model_path, whole)
    try:
        dtype = np.dtype(tensor_dtype_to_np_dtype(tensor.data_type))
    except KeyError as error:
        raise UserError(f"{model_path}: tensor '{tensor.name}' has an unknown element type") from error
    expected = math.prod(tensor.dims) * dtype.itemsize
    if expected != length:
        raise UserError(
            f"{model_path}: tensor '{tensor.name}' of shape {list(tensor.dims)} needs {expected} bytes, "
            f"but its external data has {length}"
        )
    return np.frombuffer(_read(file, offset, length), dtype=dtype).reshape(tuple(tensor.dims))
