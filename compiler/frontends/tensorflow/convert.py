"""What of a TensorFlow model can be seen without TensorFlow, and the call of the converter."""

from __future__ import annotations

import importlib.util
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ....errors import UserError
from ..converter import Converter
from ..source import ModelSource, Shapes

_SCRIPTS = Path(__file__).parent
_PACKAGES = ("tensorflow", "tf2onnx")
#: What the converter calls files, by suffix.
_KINDS = {".keras": "keras", ".h5": "keras", ".hdf5": "keras", ".pb": "frozen", ".tflite": "tflite"}
_CONFIG = "config.json"
#: The description of a network's layers is small; what is larger is an attack.
_MOST_CONFIG = 256 << 20
_CONVERTER = Converter(
    "TensorFlow",
    _SCRIPTS / "script.py",
    environment={"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
)


def is_saved_model(path: Path) -> bool:
    """Whether a path is a SavedModel: its folder, or the file that describes it."""
    return (path / "saved_model.pb").is_file() or path.name == "saved_model.pb"


def is_tensorflow(path: Path) -> bool:
    """Whether a path is a model of TensorFlow, Keras or TFLite, by its name, or by the names in a folder."""
    return is_saved_model(path) or path.suffix.lower() in _KINDS


def write_onnx(source: ModelSource, path: Path) -> Shapes:
    """Write a TensorFlow model as an ONNX file; inputs, outputs and their layouts are the model's own.

    Raises UserError where TensorFlow is missing, and for models that cannot be read or converted.
    """
    model = source.path.parent if source.path.name == "saved_model.pb" else source.path
    if not model.exists():
        raise UserError(f"{model}: no such file")
    if model.suffix.lower() == ".keras":
        refuse_code(model)
    for package in _PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"{model}: a TensorFlow model needs the package '{package}', which is not installed: "
                "pip install 'tilewright[tensorflow]'"
            )
    _CONVERTER.run(
        model.resolve(),
        path,
        kind="saved_model" if is_saved_model(model) else _KINDS[model.suffix.lower()],
        signature=source.signature,
        outputs=list(source.outputs),
    )
    return {}


def refuse_code(path: Path) -> None:
    """Refuse a ``.keras`` archive that is none, or whose layers hold Python code. Raises UserError."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(_CONFIG).file_size > _MOST_CONFIG:
                raise UserError(f"{path}: its {_CONFIG} is larger than {_MOST_CONFIG >> 20} MiB")
            config = json.loads(archive.read(_CONFIG))
    except (zipfile.BadZipFile, KeyError, ValueError, RecursionError, OSError) as error:
        raise UserError(f"{path}: not a .keras file that Keras 3 saved: {error}") from error
    for name in _lambdas(config):
        raise UserError(
            f"{path}: its layer '{name}' is a Lambda, Python code that would run here: write it as a keras.Layer, "
            "or save the model with model.export(folder) and compile the folder"
        )


def _lambdas(root: Any) -> Iterator[str]:
    stack = [root]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            # Keras writes a Python function outside of layers as "__lambda__".
            if value.get("class_name") in ("Lambda", "__lambda__"):
                config = value.get("config")
                yield str(config.get("name", "?") if isinstance(config, dict) else "?")
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)
