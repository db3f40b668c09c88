"""Strings inside a model: numbers, and beside them what they number.

Labels of classifiers, and elements picked from constant strings, are tensors of int64 whose strings stand beside them.
Operators that only move elements keep them; comparisons with constant strings compare numbers. Whatever else reads a
string is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto

from ....errors import UserError

Labels = tuple[str, ...]

#: Operators whose result holds the elements of their first operand, those that pick elements of it, and those that
#: know labels by themselves.
_MOVES = frozenset({"Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose"})
_PICKS = frozenset({"ArrayFeatureExtractor", "Gather"})
_READS = frozenset({"LabelEncoder"})

_REFUSAL = "libraries hold numbers only, and strings as labels: turn strings into numbers before the model"


def holds_strings(value: Any) -> bool:
    """Return whether a value of the graph is an array of strings."""
    return isinstance(value, np.ndarray) and value.dtype.kind in "OUS"


def refuse_labels(values: Iterable[Any], labels: Mapping[Any, Labels]) -> None:
    """Raise UserError where strings enter or leave a body, which knows nothing of what numbers stand for."""
    if any(_labels_of(value, labels) for value in values):
        raise UserError(_REFUSAL)


def numbered(
    node: NodeProto, operands: Mapping[str, Any], labels: Mapping[Any, Labels]
) -> tuple[dict[str, Any], Labels]:
    """Return a node's operands with numbers for strings, and the strings that its result's elements number.

    Raises UserError for a node that would compute with strings.
    """
    known = {name: found for name, value in operands.items() if (found := _labels_of(value, labels))}
    constant = {name: value for name, value in operands.items() if holds_strings(value)}
    if not known and (not constant or len(constant) == len(operands)):
        return dict(operands), ()
    first = node.input[0]
    if node.op_type in _PICKS and constant.keys() == {first} and not known:
        if all(isinstance(value, np.ndarray) for value in operands.values()):
            return dict(operands), ()
        strings, places = np.unique(constant[first].astype(str), return_inverse=True)
        return {**operands, first: places.reshape(constant[first].shape).astype(np.int64)}, tuple(strings.tolist())
    if node.op_type == "Equal" and len(known) == len(constant) == 1:
        ((name, texts),), (strings_known,) = constant.items(), known.values()
        return {**operands, name: _places(texts.astype(str), strings_known)}, ()
    if node.op_type in _READS and not constant:
        return dict(operands), ()
    if not constant and known.keys() == {first} and (node.op_type in _MOVES or _is_cast_to_string(node)):
        return dict(operands), known[first]
    raise UserError(_REFUSAL)


def reads_labels(node: NodeProto, operands: Mapping[str, Any], labels: Mapping[Any, Labels]) -> bool:
    """Return whether a node takes strings for which the graph holds numbers, so that onnx misjudges its types."""
    return node.op_type in _READS and any(_labels_of(value, labels) for value in operands.values())


def _places(texts: Any, strings: Labels) -> Any:
    places = [strings.index(each) if each in strings else -1 for each in texts.reshape(-1)]
    return np.array(places, np.int64).reshape(texts.shape)


def _labels_of(value: Any, labels: Mapping[Any, Labels]) -> Labels:
    return () if isinstance(value, np.ndarray) or value.__hash__ is None else labels.get(value, ())


def _is_cast_to_string(node: NodeProto) -> bool:
    return node.op_type == "Cast" and any(each.name == "to" and each.i == TensorProto.STRING for each in node.attribute)
