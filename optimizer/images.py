"""Images to a model's input, as a preprocessing file says."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ..registry import nearest

Array = NDArray[Any]


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes an array; the steps are taken in this order.

    Attributes:
        color: "RGB", "BGR" or "L" (one channel).
        resize: the length of the shorter side, or (height, width); None to leave it.
        crop: (height, width) around the centre; None to leave it.
        scale: what pixels from 0 to 255 are multiplied by.
        mean, std: (x - mean) / std after scaling, a value for each channel.
        layout: "NCHW" or "NHWC".
        dtype: numpy's name of the element type.
    """

    color: str = "RGB"
    resize: int | Sequence[int] | None = None
    crop: int | Sequence[int] | None = None
    scale: float = 1 / 255
    mean: Sequence[float] = (0.0,)
    std: Sequence[float] = (1.0,)
    layout: str = "NCHW"
    dtype: str = "float32"


def read_preprocessing(path: Path) -> Preprocessing:
    """Read a TOML or JSON file of the fields of ``Preprocessing``. Raises UserError for anything else in it."""
    try:
        text = path.read_text()
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise UserError(f"cannot read '{path}': {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"'{path}' is no valid {'JSON' if path.suffix == '.json' else 'TOML'}: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"'{path}' must hold a table of settings")
    known = [each.name for each in fields(Preprocessing)]
    unknown = next((name for name in values if name not in known), None)
    if unknown is not None:
        raise UserError(f"'{path}': there is no setting '{unknown}'{nearest(unknown, known)}: use {', '.join(known)}")
    return _checked(Preprocessing(**values), path)


def _checked(given: Preprocessing, path: Path) -> Preprocessing:
    for name, allowed in (("color", ("RGB", "BGR", "L")), ("layout", ("NCHW", "NHWC"))):
        if getattr(given, name) not in allowed:
            raise UserError(f"'{path}': {name} is '{getattr(given, name)}', it must be one of {', '.join(allowed)}")
    for name in ("resize", "crop"):
        value = getattr(given, name)
        sizes = [value] if isinstance(value, int) else value
        if value is not None and not (isinstance(sizes, list) and all(isinstance(n, int) and n > 0 for n in sizes)):
            raise UserError(f"'{path}': {name} must be a positive size or [height, width], not {value!r}")
    channels = 1 if given.color == "L" else 3
    for name in ("mean", "std"):
        if len(getattr(given, name)) not in (1, channels):
            raise UserError(f"'{path}': {name} needs 1 or {channels} values")
    if any(value == 0 for value in given.std):
        raise UserError(f"'{path}': std holds a zero")
    return given


def image_reader(preprocessing: Path) -> Callable[[Path], Array]:
    """Return a function from an image file to an array with a batch of one. Needs pillow."""
    settings = read_preprocessing(preprocessing)
    try:
        from PIL import Image
    except ImportError as error:
        raise UserError("reading images needs pillow: run \"pip install 'tilewright[quantize]'\"") from error

    def read(path: Path) -> Array:
        try:
            with Image.open(path) as opened:
                image = _cropped(_resized(opened.convert("L" if settings.color == "L" else "RGB"), settings), settings)
        except (OSError, Image.DecompressionBombError) as error:
            raise UserError(f"'{path}' cannot be read as an image: {error}") from error
        return to_array(np.asarray(image), settings)

    return read


def to_array(pixels: Array, settings: Preprocessing) -> Array:
    """Return pixels [H, W] or [H, W, 3], from 0 to 255, as a normalized array [1, C, H, W] or [1, H, W, C]."""
    values = pixels.astype(np.float64).reshape(*pixels.shape[:2], -1)
    if settings.color == "BGR":
        values = values[..., ::-1]
    values = (values * settings.scale - np.asarray(settings.mean)) / np.asarray(settings.std)
    if settings.layout == "NCHW":
        values = values.transpose(2, 0, 1)
    return np.ascontiguousarray(values[None]).astype(settings.dtype)


def _resized(image: Any, settings: Preprocessing) -> Any:
    if settings.resize is None:
        return image
    if isinstance(settings.resize, int):
        factor = settings.resize / min(image.size)
        width, height = (round(side * factor) for side in image.size)
    else:
        height, width = settings.resize
    return image.resize((width, height))


def _cropped(image: Any, settings: Preprocessing) -> Any:
    if settings.crop is None:
        return image
    height, width = (settings.crop,) * 2 if isinstance(settings.crop, int) else settings.crop
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def label_finder(images: Sequence[Path]) -> Callable[[Path], Mapping[str, Array]]:
    """Return a function from an image to its label: the rank of its folder's name where there are several folders."""
    folders = sorted({path.parent for path in images})

    def find(path: Path) -> Mapping[str, Array]:
        return {"labels": np.array([folders.index(path.parent)])} if len(folders) > 1 else {}

    return find
