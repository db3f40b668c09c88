"""Models that come in through an ONNX file in a temporary folder; whatever is said of that file names the model."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ...errors import UnsupportedOperators, UserError
from .model import ImportedModel
from .source import ModelSource, Shapes

Convert = Callable[[ModelSource, Path], Shapes]


@contextmanager
def converted(source: ModelSource, convert: Convert) -> Iterator[tuple[Path, Shapes]]:
    """Yield a source as an ONNX file, and its inputs' shapes: the framework's, over them those that the user gave.

    Sentences about the file are turned into sentences about the source. The file is gone afterwards.
    """
    with tempfile.TemporaryDirectory(prefix="tilewright-") as folder:
        path = Path(folder) / f"{source.path.stem or 'model'}.onnx"
        try:
            known = convert(source, path)
            yield path, {**known, **source.input_shapes}
        except UnsupportedOperators as error:
            raise UnsupportedOperators(str(source.path), error.operators) from error
        except UserError as error:
            raise UserError(str(error).replace(str(path), str(source.path))) from error


def through_onnx(convert: Convert) -> Callable[[ModelSource], ImportedModel]:
    """Return a reader that converts a source and imports the ONNX file."""

    def read(source: ModelSource) -> ImportedModel:
        from .onnx import import_onnx

        with converted(source, convert) as (path, shapes):
            return import_onnx(path, shapes)

    return read
