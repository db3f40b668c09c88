"""Frontends: a model file to an ImportedModel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ...errors import UserError
from .model import ImportedModel

#: Files that unpickle: reading one would run whatever code its author put there.
_PICKLED = (".pt", ".pth", ".pkl", ".pickle", ".joblib")
#: Files of tree libraries: XGBoost's JSON and UBJSON, LightGBM's text.
_TREES = (".json", ".ubj", ".txt")


def _numbers(path: Path, shapes: Mapping[str, tuple[int | str, ...]]) -> dict[str, tuple[int, ...]]:
    found = {}
    for name, shape in shapes.items():
        found[name] = tuple(dim for dim in shape if isinstance(dim, int))
        if len(found[name]) < len(shape):
            raise UserError(f"{path}: the shape of '{name}' takes numbers only for models of this kind: give sizes")
    return found


def import_model(path: Path, input_shapes: Mapping[str, tuple[int | str, ...]]) -> ImportedModel:
    """Import a model file by the frontend for its kind.

    Raises UserError for a file that no frontend takes.
    """
    if path.suffix.lower() in _PICKLED:
        raise UserError(
            f"'{path}' is a pickle file, which can run code when it is read: export the model to ONNX and compile that"
        )
    if path.suffix.lower() in _TREES:
        from .trees import import_trees

        return import_trees(path, _numbers(path, input_shapes))
    from .onnx import import_onnx

    return import_onnx(path, input_shapes)
