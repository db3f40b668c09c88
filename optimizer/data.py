"""Samples to calibrate and validate with: from a folder of arrays or images, or from a Python function."""

from __future__ import annotations

import importlib
import os
import sys
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto
from onnx.helper import tensor_dtype_to_np_dtype

from ..errors import UserError
from ..registry import nearest

Array = NDArray[Any]
_LARGEST_FILE = 4 << 30
_ARRAYS = (".npy", ".npz")
_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


@dataclass(frozen=True)
class InputSpec:
    """An input of a model; a dimension that only a run knows is None."""

    name: str
    shape: tuple[int | None, ...] | None
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class Sample:
    """What a model takes in one run.

    Attributes:
        inputs: arrays by name.
        targets: what is expected, by name: "labels" for classes; anything a metric of the user's asks for.
        source: where it came from, for errors.
    """

    inputs: Mapping[str, Array]
    targets: Mapping[str, Array] = field(default_factory=dict)
    source: str = "sample"


def input_specs(model: ModelProto) -> list[InputSpec]:
    """Return the inputs of a model that are no constants, in its order."""
    constants = {tensor.name for tensor in model.graph.initializer}
    specs = []
    for value in model.graph.input:
        tensor = value.type.tensor_type
        if value.name not in constants and tensor.elem_type:
            dims = tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim)
            dtype = np.dtype(tensor_dtype_to_np_dtype(tensor.elem_type))
            specs.append(InputSpec(value.name, dims if tensor.HasField("shape") else None, dtype))
    return specs


def load_samples(
    source: str, specs: Sequence[InputSpec], preprocessing: Path | None = None, limit: int | None = None
) -> list[Sample]:
    """Return the samples of a source, every one checked against the model's inputs.

    Args:
        source: a folder of ``.npy``/``.npz`` files or images, one such file, or ``module:function``; the function takes
            nothing and returns an iterable of arrays, of mappings by input name, or of pairs (inputs, targets).
        specs: the model's inputs.
        preprocessing: how images become arrays (a TOML or JSON file); needed for images.
        limit: how many samples to take at most.

    Raises:
        UserError: the source is missing or empty, or a sample has a wrong name, shape or element type or holds NaN.
    """
    path = Path(source)
    if path.exists():
        found = _from_files(_files(path), specs, preprocessing)
    elif ":" in source:
        found = _from_function(source, specs)
    else:
        raise UserError(f"there is no calibration data at '{source}': give a folder, a file or module:function")
    samples: list[Sample] = []
    for sample in found:
        if limit is not None and len(samples) >= limit:
            break
        samples.append(_checked(sample, specs))
    if not samples:
        raise UserError(f"'{source}' gives no samples: it needs .npy, .npz or image files")
    return samples


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(each for each in path.rglob("*") if each.is_file() and each.suffix.lower() in (*_ARRAYS, *_IMAGES))


def _from_files(files: Sequence[Path], specs: Sequence[InputSpec], preprocessing: Path | None) -> Iterable[Sample]:
    from .images import image_reader, label_finder

    images = [path for path in files if path.suffix.lower() in _IMAGES]
    if images and preprocessing is None:
        raise UserError(f"'{images[0]}' is an image: say with --preprocessing FILE how images become the model's input")
    read = image_reader(preprocessing) if preprocessing else None
    label_of = label_finder(images)
    for path in files:
        if path in images and read:
            yield Sample({_only(specs, path): read(path)}, label_of(path), str(path))
        else:
            yield from _split(_read_arrays(path, specs), specs, str(path))


def _only(specs: Sequence[InputSpec], path: object) -> str:
    if len(specs) != 1:
        names = ", ".join(f"'{spec.name}'" for spec in specs)
        raise UserError(f"'{path}' holds one array, but the model takes {len(specs)} ({names}): use .npz files")
    return specs[0].name


def _read_arrays(path: Path, specs: Sequence[InputSpec]) -> dict[str, Array]:
    if path.suffix.lower() not in _ARRAYS:
        raise UserError(f"'{path}' is no .npy, .npz or image file")
    try:
        _refuse_large(path)
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {_only(specs, path): loaded}
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"'{path}' cannot be read as numpy arrays: {error}; write it with numpy.savez") from error


def _refuse_large(path: Path) -> None:
    size = path.stat().st_size
    if path.suffix.lower() == ".npz":
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
    if size > _LARGEST_FILE:
        raise UserError(f"'{path}' holds {size / 2**30:.1f} GiB of arrays, more than the 4 GiB read from one file")


def _split(arrays: Mapping[str, Array], specs: Sequence[InputSpec], source: str) -> Iterable[Sample]:
    """Cut arrays that hold several runs along the first axis: [N * batch, ...] --> N of [batch, ...].

    Arrays that are no inputs of the model are targets, cut alike.
    """
    names = {spec.name for spec in specs}
    runs = {_runs(spec, arrays[spec.name]) for spec in specs if spec.name in arrays}
    count = runs.pop() if len(runs) == 1 else 1
    for index in range(count):

        def part(array: Array, index: int = index) -> Array:
            size = len(array) // count if array.ndim and len(array) % count == 0 else 0
            return array[index * size : (index + 1) * size] if count > 1 and size else array

        inputs = {name: part(array) for name, array in arrays.items() if name in names}
        targets = {name: part(array) for name, array in arrays.items() if name not in names}
        yield Sample(inputs, targets, f"{source}[{index}]" if count > 1 else source)


def _runs(spec: InputSpec, array: Array) -> int:
    shape = spec.shape
    if not shape or not shape[0] or array.ndim != len(shape) or len(array) % shape[0]:
        return 1
    return len(array) // shape[0]


def _from_function(source: str, specs: Sequence[InputSpec]) -> Iterable[Sample]:
    for index, item in enumerate(import_function(source)()):
        inputs, targets = item if isinstance(item, tuple) and len(item) == 2 else (item, {})
        if not isinstance(inputs, Mapping):
            inputs = {_only(specs, source): inputs}
        if not isinstance(targets, Mapping):
            targets = {"labels": targets}
        arrays = {str(name): np.asarray(value) for name, value in inputs.items()}
        expected = {str(name): np.asarray(value) for name, value in targets.items()}
        yield Sample(arrays, expected, f"{source}[{index}]")


def import_function(source: str) -> Any:
    """Return the function that ``module:function`` names, looking in the working directory too.

    Raises:
        UserError: there is no such module or function.
    """
    module, _, name = source.partition(":")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise UserError(f"cannot import '{module}' of '{source}': {error}") from error
    except AttributeError as error:
        raise UserError(f"module '{module}' has no function '{name}'") from error
    if not callable(found):
        raise UserError(f"'{source}' is no function")
    return found


def _checked(sample: Sample, specs: Sequence[InputSpec]) -> Sample:
    names = [spec.name for spec in specs]
    for spec in specs:
        if spec.name not in sample.inputs:
            other = next(iter(sample.targets), None)
            hint = f": it has '{other}'{nearest(other, names)}" if other else ""
            raise UserError(f"{sample.source} has no array '{spec.name}', which the model needs{hint}")
    for name in sample.inputs:
        if name not in names:
            raise UserError(f"{sample.source} has '{name}', which is no input of the model{nearest(name, names)}")
    for spec in specs:
        _check(sample.inputs[spec.name], spec, sample.source)
    return sample


def _check(array: Array, spec: InputSpec, source: str) -> None:
    what = f"{source}: array '{spec.name}'"
    if array.dtype != spec.dtype:
        raise UserError(
            f"{what} has the element type {array.dtype}, the model takes {spec.dtype}: "
            f"convert it with .astype('{spec.dtype}')"
        )
    shape = spec.shape
    if shape is not None:
        fits = len(shape) == array.ndim and all(
            dim is None or dim == size for dim, size in zip(shape, array.shape, strict=True)
        )
        if not fits:
            written = "[" + ", ".join("?" if dim is None else str(dim) for dim in shape) + "]"
            raise UserError(f"{what} has the shape {list(array.shape)}, the model takes {written}")
    if not array.size:
        raise UserError(f"{what} is empty")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise UserError(f"{what} holds NaN or infinity: a range cannot be found from it")
