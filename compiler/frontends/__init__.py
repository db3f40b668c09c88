"""Frontends: a model file, or a framework's module, to an ImportedModel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .conversion import converted
from .formats import format_of
from .model import ImportedModel
from .source import LiveModel, ModelSource, Shapes

__all__ = ["ImportedModel", "LiveModel", "ModelSource", "Shapes", "import_model", "onnx_file"]


def import_model(source: ModelSource) -> ImportedModel:
    """Import a model by the frontend for its kind.

    Raises UserError for a model that no frontend takes.
    """
    return format_of(source).read(source)


@contextmanager
def onnx_file(source: ModelSource) -> Iterator[Path]:
    """Yield a model as an ONNX file, for tools that read nothing else: the file itself, or its conversion for a while.

    Raises UserError for a model that cannot be converted.
    """
    convert = format_of(source).convert
    if convert is None:
        yield source.path
        return
    with converted(source, convert) as (path, _):
        yield path
