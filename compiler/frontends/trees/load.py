"""From a tree library's file to Relax: input ``x`` [batch, features] float32, output ``prediction`` float32.

The prediction is [batch], or [batch, K] for K classes or targets: what the library's own ``predict`` returns.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....errors import UserError
from ....forest import Forest
from ....registry import nearest
from ....signature import Signature, TensorSpec
from ....tree_packing import pack
from ....tvm_names import dtype_of, shape_of
from ..model import ImportedModel
from . import ubjson
from .objectives import Link

#: Larger files are refused before they are read: parsed they take several times their size.
MOST_BYTES = 2**31
_INPUT, _OUTPUT = "x", "prediction"


@dataclass(frozen=True)
class TreeModel:
    """What a reader makes of a file.

    Attributes:
        label: what errors call the model ("XGBoost model").
        forest: its trees, over float32 data.
        link: what becomes of the sums.
    """

    label: str
    forest: Forest
    link: Link


def import_trees(path: Path, input_shapes: Mapping[str, tuple[int, ...]]) -> ImportedModel:
    """Import the model of a tree library.

    Args:
        path: XGBoost's ``.json`` or ``.ubj``, LightGBM's ``.txt``.
        input_shapes: the shape of ``x``: how many rows a batch has, and as many features as the model.

    Raises UserError for a file that cannot be read, an objective that is not known, and a missing shape.
    """
    try:
        model = _READERS[path.suffix.lower()](_read(path))
        return _module(path, model, _rows(model.forest, input_shapes))
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UserError(f"the file is larger than {MOST_BYTES >> 30} GiB")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}") from error


def _xgboost_json(data: bytes) -> TreeModel:
    from .xgboost import read

    try:
        return read(json.loads(data))
    except (ValueError, RecursionError) as error:
        raise UserError(f"not valid JSON: {error}") from error


def _xgboost_ubjson(data: bytes) -> TreeModel:
    from .xgboost import read

    return read(ubjson.parse(data))


def _lightgbm(data: bytes) -> TreeModel:
    from .lightgbm import read

    try:
        return read(data.decode())
    except UnicodeDecodeError as error:
        raise UserError("not a LightGBM model: it is not UTF-8 text") from error


_READERS: dict[str, Callable[[bytes], TreeModel]] = {
    ".json": _xgboost_json,
    ".ubj": _xgboost_ubjson,
    ".txt": _lightgbm,
}
SUFFIXES = tuple(_READERS)


def _rows(forest: Forest, given: Mapping[str, tuple[int, ...]]) -> int:
    for name in given:
        if name != _INPUT:
            raise UserError(f"no input is named '{name}'{nearest(name, [_INPUT])}: it is '{_INPUT}'")
    shape = given.get(_INPUT)
    if shape is None:
        example = f'--input-shapes "{_INPUT}:[1,{forest.features}]"'
        raise UserError(f"dynamic input '{_INPUT}' [batch, {forest.features}]: give its shape, for example {example}")
    if len(shape) != 2 or shape[1] != forest.features or shape[0] < 1:
        raise UserError(f"input '{_INPUT}' is [batch, {forest.features}]; the shape given is {list(shape)}")
    return shape[0]


def _module(path: Path, model: TreeModel, rows: int) -> ImportedModel:
    from tvm import relax

    from ....passes.tree_ensemble import tree_ensemble
    from ..onnx.function_builder import FunctionBuilder, identifier

    spec = TensorSpec(_INPUT, (rows, model.forest.features), "float32")
    builder = FunctionBuilder()

    def emit(expr: Any) -> Any:
        return builder.emit(expr, _OUTPUT, model.label)

    value = emit(tree_ensemble(*_ordered(model.forest, builder.parameter(spec))))
    value = emit(relax.op.astype(value, "float32")) if dtype_of(value) != "float32" else value
    value = model.link(emit, value)
    if shape_of(value)[1] == 1:
        value = emit(relax.op.reshape(value, (rows,)))
    outputs = (TensorSpec(_OUTPUT, shape_of(value), dtype_of(value)),)
    name = identifier(path.stem)
    return ImportedModel(name, builder.module([value]), Signature((spec,), outputs), builder.origins)


def _ordered(forest: Forest, x: Any) -> tuple[Any, Any, dict[str, Any]]:
    ensemble, operands = pack(forest)
    return ensemble, x, operands
