"""A graph's inputs, every dimension known or a symbol with bounds: from the file, or from what the user gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from onnx import GraphProto, TensorProto, ValueInfoProto
from onnx.helper import tensor_dtype_to_np_dtype

from ....atoms import plain
from ....dims import Dim as Symbolic
from ....dims import bounds
from ....errors import UserError
from ....input_shapes import WrittenDim, read_shapes, resolve
from ....registry import nearest
from ....shapes import symbols_of
from ....signature import TensorSpec

Shape = tuple[int, ...]
#: A dimension as the file has it: a size, a symbol, or an empty string where nothing is said.
Dim = int | str


def resolve_inputs(
    path: Path, graph: GraphProto, written: Mapping[str, Sequence[WrittenDim]]
) -> tuple[TensorSpec, ...]:
    """Return the graph's inputs, initializers left out, every dimension a number or a symbol with bounds.

    A symbol that one given shape fixes or bounds is the same for every input that uses it.

    Raises UserError for shapes that are missing, unknown or in conflict with the file, for inputs without elements, and
    for a symbol that is a dimension of its own nowhere, so that no run could tell its size.
    """
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    declared = {value.name: _declared(path, value) for value in inputs}
    try:
        given, bounded = read_shapes(written)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    for name, shape in given.items():
        if name not in declared:
            raise UserError(f"{path}: no input is named '{name}'{nearest(name, list(declared))}")
        _check_given(path, name, declared[name], shape)
    symbols = bounded | _symbols(path, declared, given)
    resolved = {name: _resolve(given.get(name), dims, symbols) for name, dims in declared.items()}
    _refuse_unknown(path, resolved)
    specs = tuple(_spec(path, value, resolved[value.name]) for value in inputs)
    _refuse_unsolvable(path, specs)
    return specs


def numpy_dtype(element_type: int) -> str | None:
    """Return numpy's name of an ONNX element type; None for strings, complex numbers and unknown types."""
    if element_type in (TensorProto.UNDEFINED, TensorProto.STRING, TensorProto.COMPLEX64, TensorProto.COMPLEX128):
        return None
    try:
        return np.dtype(tensor_dtype_to_np_dtype(element_type)).name
    except KeyError:
        return None


def _declared(path: Path, value: ValueInfoProto) -> tuple[Dim, ...] | None:
    if not value.type.HasField("tensor_type"):
        kind = value.type.WhichOneof("value") or "untyped value"
        raise UserError(f"{path}: input '{value.name}' is a {kind.removesuffix('_type')}, not a tensor")
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(dim.dim_value if dim.HasField("dim_value") else dim.dim_param for dim in tensor.shape.dim)


def _check_given(path: Path, name: str, declared: Sequence[Dim] | None, shape: Shape) -> None:
    if declared is None:
        return
    if len(shape) != len(declared):
        raise UserError(
            f"{path}: input '{name}' has {len(declared)} dimensions {_written(declared)}, but the shape given has "
            f"{len(shape)}: {_written(shape)}"
        )
    if any(isinstance(dim, int) and dim != size for dim, size in zip(declared, shape, strict=True)):
        raise UserError(
            f"{path}: the shape {_written(shape)} given for input '{name}' conflicts with the model's "
            f"{_written(declared)}"
        )


def _symbols(path: Path, declared: Mapping[str, Sequence[Dim] | None], given: Mapping[str, Shape]) -> dict[str, int]:
    symbols: dict[str, int] = {}
    for name, shape in given.items():
        for dim, size in zip(declared[name] or (), shape, strict=False):
            if isinstance(dim, str) and dim and symbols.setdefault(dim, size) != size:
                raise UserError(
                    f"{path}: the shapes given make dimension '{dim}' both {plain(symbols[dim])} and {plain(size)} "
                    f"(input '{name}')"
                )
    return symbols


def _resolve(given: Shape | None, dims: Sequence[Dim] | None, symbols: Mapping[str, int]) -> tuple[Dim, ...] | None:
    if given is not None:
        return tuple(given)
    if dims is None:
        return None
    return tuple(_known(dim, symbols) if isinstance(dim, str) else dim for dim in dims)


def _known(dim: str, symbols: Mapping[str, int]) -> Dim:
    found = resolve(dim, symbols) if dim else None
    return dim if found is None else found


def _refuse_unsolvable(path: Path, specs: Sequence[TensorSpec]) -> None:
    dims = [dim for spec in specs for dim in spec.shape if isinstance(dim, Symbolic)]
    plainly = {plain(dim) for dim in dims}
    for each in symbols_of(dims):
        if each.name not in plainly:
            raise UserError(
                f"{path}: no input has '{each.name}' as a dimension of its own, so no run could tell its size: write "
                "a symbol of its own for such a dimension in --input-shapes"
            )


def _refuse_unknown(path: Path, resolved: Mapping[str, Sequence[Dim] | None]) -> None:
    unknown = {n: dims for n, dims in resolved.items() if dims is None or any(isinstance(dim, str) for dim in dims)}
    if not unknown:
        return
    told = ", ".join(
        f"'{name}' {_written(dims)}" if dims is not None else f"'{name}' of unknown rank"
        for name, dims in unknown.items()
    )
    example = " ".join(
        f"{name}:[{','.join(str(dim) if isinstance(dim, int) else '1' for dim in dims or (1,))}]"
        for name, dims in unknown.items()
    )
    bounded = " ".join(
        f"{name}:[{','.join(_example(dim, axis) for axis, dim in enumerate(dims or ('',)))}]"
        for name, dims in unknown.items()
    )
    raise UserError(
        f'{path}: dynamic input {told}: give its shape, for example --input-shapes "{example}", or bounds for sizes '
        f'that differ from run to run: --input-shapes "{bounded}"'
    )


def _example(dim: Dim, axis: int) -> str:
    if isinstance(dim, str):
        return f"{dim}<=32" if dim.isidentifier() else f"size{axis}<=32"
    return plain(dim)


def _spec(path: Path, value: ValueInfoProto, dims: Sequence[Dim] | None) -> TensorSpec:
    shape = tuple(dim for dim in dims or () if not isinstance(dim, str))
    dtype = numpy_dtype(value.type.tensor_type.elem_type)
    if dtype is None:
        raise UserError(
            f"{path}: input '{value.name}' holds strings, complex numbers or untyped elements, which cannot be compiled"
        )
    if any(bounds(dim)[0] < 0 for dim in shape):
        raise UserError(f"{path}: input '{value.name}' of shape {_written(shape)} has negative dimensions")
    return TensorSpec(value.name, shape, dtype)


def _written(dims: Sequence[Dim]) -> str:
    return "[" + ", ".join("?" if dim == "" else plain(dim) for dim in dims) + "]"
