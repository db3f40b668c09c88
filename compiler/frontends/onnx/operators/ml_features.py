"""Operators of ai.onnx.ml that prepare features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import numpy_helper
from tvm import relax

from .....errors import UserError
from .....tvm_names import dtype_of, shape_of
from ..node import Node
from ..registry import operator

if TYPE_CHECKING:
    from tvm.relax import Expr

_DOMAIN = "ai.onnx.ml"
_STRINGS = "it maps strings, which cannot be compiled: encode them before the model and compile what follows"


@operator("Scaler", domain=_DOMAIN)
def scaler(node: Node, x: Expr) -> Expr:
    """``(x - offset) * scale``, a value for all features or one for each; the result is float32."""
    x = node.cast(x, "float32")
    for name, function, neutral in (("offset", relax.op.subtract, 0.0), ("scale", relax.op.multiply, 1.0)):
        values = np.array(node.get_floats(name, (neutral,)), np.float32)
        if len(values) not in (1, shape_of(x)[-1]):
            raise UserError(f"its {name} has {len(values)} values for {shape_of(x)[-1]} features")
        x = node.emit(function(x, node.const(values, x)))
    return x


@operator("Normalizer", domain=_DOMAIN)
def normalizer(node: Node, x: Expr) -> Expr:
    """Rows divided by their greatest magnitude, by the sum of magnitudes or by their length; rows of zeros stay."""
    x = node.cast(x, "float32")
    norm = node.get_string("norm", "MAX")
    size = node.emit(relax.op.abs(x))
    if norm == "L2":
        size = node.emit(
            relax.op.sqrt(node.emit(relax.op.sum(node.emit(relax.op.multiply(x, x)), axis=-1, keepdims=True)))
        )
    elif norm in ("L1", "MAX"):
        fold = relax.op.sum if norm == "L1" else relax.op.max
        size = node.emit(fold(size if norm == "L1" else x, axis=-1, keepdims=True))
    else:
        raise UserError(f"its norm '{norm}' does not exist: it is one of MAX, L1, L2")
    empty = node.emit(relax.op.equal(size, node.const(0.0, x)))
    return relax.op.divide(x, node.emit(relax.op.where(empty, node.const(1.0, x), size)))


@operator("Binarizer", domain=_DOMAIN)
def binarizer(node: Node, x: Expr) -> Expr:
    """1 above the threshold, else 0."""
    above = node.emit(relax.op.greater(x, node.const(node.get_float("threshold", 0.0), x)))
    return node.cast(above, dtype_of(x))


@operator("Imputer", domain=_DOMAIN)
def imputer(node: Node, x: Expr) -> Expr:
    """Replaces one value, or NaN, by a value for all features or one for each."""
    values: tuple[float, ...] = node.get_floats("imputed_value_floats", ())
    replaced = node.get_float("replaced_value_float", 0.0)
    if dtype_of(x).startswith("int"):
        values, replaced = node.get_ints("imputed_value_int64s", ()), float(node.get_int("replaced_value_int64", 0))
    if len(values) not in (1, shape_of(x)[-1]):
        raise UserError(f"it imputes {len(values)} values for {shape_of(x)[-1]} features")
    if np.isnan(replaced):
        found = node.emit(relax.op.isnan(x))
    else:
        found = node.emit(relax.op.equal(x, node.const(replaced, x)))
    return relax.op.where(found, node.const(np.array(values), x), x)


@operator("OneHotEncoder", domain=_DOMAIN)
def one_hot_encoder(node: Node, x: Expr) -> Expr:
    """A one in the place of the category, zeros where there is none; adds an axis."""
    if node.has("cats_strings"):
        raise UserError(_STRINGS)
    if not node.get_int("zeros", 1):
        raise UserError("it fails on unknown categories (zeros=0), which a library cannot: convert it with zeros=1")
    categories = np.array(node.get_ints("cats_int64s", ()))
    # Numbers with a fraction are cut off, as by a cast.
    given = node.emit(relax.op.expand_dims(node.cast(x, "int64"), -1))
    return node.cast(node.emit(relax.op.equal(given, node.const(categories, "int64"))), "float32")


@operator("LabelEncoder", domain=_DOMAIN)
def label_encoder(node: Node, x: Expr) -> Expr:
    """Values for keys; the last of equal keys counts, and unknown keys get the default."""
    names = node.names_of(x)
    keys = np.array(node.get_strings("keys_strings")) if names else _listed(node, "keys", "classes")
    strings = node.get_strings("values_strings")
    values = np.arange(len(strings)) if strings else _listed(node, "values", "")
    if keys is None or values is None or len(keys) != len(values):
        raise UserError("its keys and values are missing, or differ in length")
    if names:
        known = [at for at, key in enumerate(keys) if key in names]
        keys, values = np.array([names.index(keys[at]) for at in known], np.int64), values[known]
    if not strings:
        return _mapped(node, x, keys, values, _default(node, values.dtype))
    numbers = node.emit(_mapped(node, x, keys, values.astype(np.int64), len(strings)))
    return node.name_elements(numbers, [*strings, node.get_string("default_string", "_Unused")])


def _listed(node: Node, name: str, other: str) -> Any:
    if node.has(f"{name}_strings") or (other and node.has(f"{other}_strings")):
        raise UserError(_STRINGS)
    tensor = node.get_tensor(f"{name}_tensor")
    if tensor is not None:
        array = numpy_helper.to_array(tensor).reshape(-1)
        if array.dtype.kind not in "iuf":
            raise UserError(_STRINGS)
        return array
    if node.has(f"{name}_int64s"):
        return np.array(node.get_ints(f"{name}_int64s", ()), np.int64)
    return np.array(node.get_floats(f"{name}_floats", ()), np.float32) if node.has(f"{name}_floats") else None


def _default(node: Node, dtype: Any) -> Any:
    tensor = node.get_tensor("default_tensor")
    if tensor is not None:
        return numpy_helper.to_array(tensor).reshape(-1)[0]
    return node.get_int("default_int64", -1) if dtype.kind == "i" else node.get_float("default_float", -0.0)


def _mapped(node: Node, x: Expr, keys: Any, values: Any, default: Any) -> Expr:
    """Return the values of keys by one comparison with all of them; NaN is a key like any other."""
    shape = shape_of(x)
    table = dict(zip(keys.tolist(), range(len(keys)), strict=True))
    order = np.array(sorted(table.values()), np.int64)
    kept, results = keys[order], np.append(values[order], np.array(default, values.dtype))
    given = node.emit(relax.op.expand_dims(x, -1))
    same = node.emit(relax.op.equal(given, node.const(kept, x)))
    if kept.dtype.kind == "f" and np.isnan(kept).any():
        missing = node.emit(relax.op.isnan(given))
        same = node.emit(
            relax.op.logical_or(same, node.emit(relax.op.logical_and(missing, node.const(np.isnan(kept), "bool"))))
        )
    unknown = node.const(np.full((*shape, 1), True), "bool")
    whole = node.emit(relax.op.concat([same, unknown], axis=len(shape)))
    # The first hit: the argument of the maximum of ones and zeros, the unknown key's one standing last.
    place = node.emit(relax.op.argmax(node.cast(whole, "int32"), axis=len(shape)))
    return relax.op.take(node.const(results, values.dtype.name), place, axis=0)


@operator("ArrayFeatureExtractor", domain=_DOMAIN)
def array_feature_extractor(node: Node, data: Expr, places: Expr) -> Expr:
    """Chosen columns; a vector counts as one row."""
    count = int(np.prod(shape_of(places)))
    taken = node.emit(relax.op.take(data, node.reshape(places, (count,)), axis=len(shape_of(data)) - 1))
    return node.reshape(taken, (1, count)) if len(shape_of(data)) == 1 else taken


@operator("FeatureVectorizer", domain=_DOMAIN)
def feature_vectorizer(node: Node, *parts: Expr) -> Expr:
    """Features side by side as float32, each part cut or filled with zeros to its stated width."""
    widths = node.get_ints("inputdimensions", ())
    if len(widths) != len(parts):
        raise UserError(f"it states {len(widths)} widths for {len(parts)} inputs")
    made = [_of_width(node, node.cast(part, "float32"), width) for part, width in zip(parts, widths, strict=True)]
    return made[0] if len(made) == 1 else relax.op.concat(made, axis=1)


def _of_width(node: Node, part: Expr, width: int) -> Expr:
    if len(shape_of(part)) == 1:
        part = node.reshape(part, (shape_of(part)[0], 1))
    rows, columns = shape_of(part)
    if columns > width:
        return node.emit(relax.op.strided_slice(part, [1], [0], [width]))
    if columns == width:
        return part
    return node.emit(relax.op.concat([part, node.const(np.zeros((rows, width - columns)), part)], axis=1))


@operator("ZipMap", domain=_DOMAIN)
def zip_map(node: Node, scores: Expr) -> Expr:
    """The scores as the tensor that they are: [rows, classes] in the order of the classes, no dictionaries."""
    return scores


@operator("CategoryMapper", "DictVectorizer", "CastMap", domain=_DOMAIN)
def refused(node: Node, x: Expr) -> Expr:
    """Strings and dictionaries have no tensor to be."""
    raise UserError(
        "it takes strings or dictionaries, which cannot be compiled: encode them as numbers before the model"
    )
