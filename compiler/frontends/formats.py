"""The registry of formats, in the order in which they are asked; each loads its frontend when it is needed.

What no row takes is taken for an ONNX file.
"""

from __future__ import annotations

import re
from pathlib import Path

from ...errors import UserError
from . import elsewhere, paddle, tensorflow
from .conversion import through_onnx
from .model import ImportedModel
from .source import Format, ModelSource, Shapes

#: Files that unpickle: reading one would run whatever code its author put there.
_PICKLED = (".pt", ".pth", ".pkl", ".pickle", ".joblib")
#: Files of tree libraries: XGBoost's JSON and UBJSON, LightGBM's text.
_TREES = (".json", ".ubj", ".txt")
_FACTORY = re.compile(r".+\.py:[A-Za-z_]\w*")


def _torch(source: ModelSource, path: Path) -> Shapes:
    from .pytorch import write_onnx

    return write_onnx(source, path)


def _tensorflow(source: ModelSource, path: Path) -> Shapes:
    _refuse_module(source)
    return tensorflow.write_onnx(source, path)


def _paddle(source: ModelSource, path: Path) -> Shapes:
    _refuse_module(source)
    _refuse_choices(source)
    return paddle.write_onnx(source, path)


def _trees(source: ModelSource) -> ImportedModel:
    from .trees import import_trees

    return import_trees(source.path, _numbers(source))


def _numbers(source: ModelSource) -> dict[str, tuple[int, ...]]:
    found = {}
    for name, shape in source.input_shapes.items():
        found[name] = tuple(dim for dim in shape if isinstance(dim, int))
        if len(found[name]) < len(shape):
            raise UserError(
                f"{source.path}: the shape of '{name}' takes numbers only for models of this kind: give sizes"
            )
    return found


def _refuse_pickle(source: ModelSource) -> ImportedModel:
    raise UserError(
        f"'{source.path}' is a pickle file, which can run code when it is read: save the model with "
        "torch.export.save as .pt2 or export it to ONNX and compile that; a state dict needs --module path.py:factory"
    )


def _onnx(source: ModelSource) -> ImportedModel:
    from .onnx import import_onnx

    _refuse_module(source)
    _refuse_choices(source)
    return import_onnx(source.path, source.input_shapes)


def _refuse_module(source: ModelSource) -> None:
    if source.module:
        raise UserError(f"'{source.path}' is not a file of weights: --module is for state dicts of PyTorch (.pt, .pth)")


def _refuse_choices(source: ModelSource) -> None:
    if source.signature or source.outputs:
        raise UserError(f"'{source.path}' is not a TensorFlow model: --signature and --outputs are for those")


def _is_factory(source: ModelSource) -> bool:
    return _FACTORY.fullmatch(str(source.path)) is not None


FORMATS = (
    Format("PyTorch module", lambda source: source.live is not None, through_onnx(_torch), _torch),
    Format("PyTorch module of a factory", _is_factory, through_onnx(_torch), _torch),
    Format("PyTorch ExportedProgram", lambda source: source.suffix == ".pt2", through_onnx(_torch), _torch),
    Format(
        "PyTorch state dict",
        lambda source: source.module is not None and source.suffix in (".pt", ".pth", ".bin"),
        through_onnx(_torch),
        _torch,
    ),
    Format("TensorFlow", lambda source: tensorflow.is_tensorflow(source.path), through_onnx(_tensorflow), _tensorflow),
    Format("Paddle", lambda source: paddle.is_paddle(source.path), through_onnx(_paddle), _paddle),
    Format("known, not read", elsewhere.is_elsewhere, elsewhere.refuse),
    Format("pickle", lambda source: source.suffix in _PICKLED, _refuse_pickle),
    Format("trees", lambda source: source.suffix in _TREES, _trees),
)
ONNX = Format("ONNX", lambda source: True, _onnx)


def format_of(source: ModelSource) -> Format:
    """Return the format of a source, by its name."""
    return next((each for each in FORMATS if each.takes(source)), ONNX)
