"""What of a Paddle model can be seen without Paddle, and the call of the converter in its environment."""

from __future__ import annotations

from pathlib import Path

from ....errors import UserError
from ...environments import PADDLE
from ..converter import Converter
from ..source import ModelSource, Shapes

_WEIGHTS = ".pdiparams"


def is_paddle(path: Path) -> bool:
    """Whether a path is Paddle's: ``.pdmodel``, ``.pdiparams``, or a ``.json`` with ``.pdiparams`` beside it."""
    suffix = path.suffix.lower()
    return suffix in (".pdmodel", _WEIGHTS) or (suffix == ".json" and path.with_suffix(_WEIGHTS).is_file())


def write_onnx(source: ModelSource, path: Path) -> Shapes:
    """Write an inference model of Paddle as an ONNX file.

    Raises UserError where Paddle's environment is missing, and for models that cannot be read or converted.
    """
    model = _program(source.path)
    # Without its weights paddle would unpickle the program.
    if not model.with_suffix(_WEIGHTS).is_file():
        raise UserError(f"{model}: there is no '{model.with_suffix(_WEIGHTS).name}' beside it, which holds the weights")
    if not PADDLE.is_ready():
        raise UserError(
            f"{model}: a Paddle model is converted in an environment of its own, which is not there: {PADDLE.remedy}"
        )
    converter = Converter("PaddlePaddle", Path(__file__).parent / "script.py", PADDLE.python, {"PYTHONPATH": ""})
    converter.run(model.resolve(), path, weights=str(model.resolve().with_suffix(_WEIGHTS)))
    return {}


def _program(path: Path) -> Path:
    """Return the program's file, also where the file of its weights was named."""
    if path.suffix.lower() != _WEIGHTS:
        if not path.is_file():
            raise UserError(f"{path}: no such file")
        return path
    for suffix in (".json", ".pdmodel"):
        if path.with_suffix(suffix).is_file():
            return path.with_suffix(suffix)
    raise UserError(f"{path}: there is no program beside these weights ('{path.stem}.json' or '{path.stem}.pdmodel')")
