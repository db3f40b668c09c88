"""Input and output tensors of a model: made up, or kept in ``.npz`` files. Needs numpy only."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..element_types import CONTAINED, container_of
from ..errors import UserError
from ..registry import Registry, nearest
from ..signature import TensorSpec
from .files import write_file

Array = NDArray[np.generic]
Fill = Callable[[TensorSpec, np.random.Generator, int], Array]

#: How to make a tensor up: from its specification, a random generator, and the bound of its values as indices.
FILLS: Registry[Fill] = Registry("fill")

_FLAG_NAMES = ("mask", "type", "segment")
_SAFE_BOUND = 100
_BFLOAT16 = "bfloat16"


def numpy_dtype(spec: TensorSpec) -> np.dtype[Any]:
    """Return the element type in numpy: what numpy lacks travels as its bits, one element to an integer."""
    return np.dtype(container_of(spec.dtype))


def _small_dtype(spec: TensorSpec) -> np.dtype[Any]:
    try:
        import ml_dtypes
    except ImportError as error:
        raise UserError(f"'{spec.name}' is {spec.dtype}: install ml_dtypes to make such a tensor up") from error
    found: np.dtype[Any] = np.dtype(getattr(ml_dtypes, spec.dtype))
    return found


def _from_floats(spec: TensorSpec, values: NDArray[np.floating[Any]]) -> Array:
    if spec.dtype == _BFLOAT16:
        return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    if spec.dtype in CONTAINED:
        return values.astype(np.float32).astype(_small_dtype(spec)).view(numpy_dtype(spec))
    return values.astype(numpy_dtype(spec))


@FILLS.register("zeros")
def _zeros(spec: TensorSpec, rng: np.random.Generator, bound: int) -> Array:
    return np.zeros(spec.largest_shape, numpy_dtype(spec))


@FILLS.register("ones")
def _ones(spec: TensorSpec, rng: np.random.Generator, bound: int) -> Array:
    return _from_floats(spec, np.ones(spec.largest_shape))


@FILLS.register("random")
def _random(spec: TensorSpec, rng: np.random.Generator, bound: int) -> Array:
    """Floats are normal, bytes take every value, flags are 0 or 1, other integers stand below the bound.

    A mask is one except in the last quarter of its last axis, as the mask of a padded sequence is: a random one would
    leave rows without any valid element.
    """
    dtype = numpy_dtype(spec)
    name = spec.name.lower()
    if dtype.kind == "f" or spec.dtype in CONTAINED:
        return _from_floats(spec, rng.standard_normal(spec.largest_shape))
    if "mask" in name and spec.shape:
        length = spec.largest_shape[-1]
        return np.broadcast_to(np.arange(length) < length - length // 4, spec.largest_shape).astype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, spec.largest_shape).astype(dtype)
    if dtype.itemsize == 1 and not bound:
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, spec.largest_shape, dtype=dtype, endpoint=True)
    limit = bound or (2 if any(flag in name for flag in _FLAG_NAMES) else _SAFE_BOUND)
    return rng.integers(0, limit, spec.largest_shape).astype(dtype)


def make_tensors(
    specs: Sequence[TensorSpec], fill: str = "random", seed: int = 0, bounds: Mapping[str, int] | None = None
) -> dict[str, Array]:
    """Return a tensor for every specification.

    Args:
        fill: a row of ``FILLS``.
        seed: equal seeds give equal tensors; a tensor depends on its own name only, not on its neighbours.
        bounds: exclusive upper bounds of integer tensors by name, where they are known (the rows of an embedding).
    """
    make = FILLS[fill]
    known = bounds or {}
    return {
        spec.name: make(spec, np.random.default_rng([seed, zlib.crc32(spec.name.encode())]), known.get(spec.name, 0))
        for spec in specs
    }


def read_tensors(path: Path, specs: Sequence[TensorSpec]) -> dict[str, Array]:
    """Read an ``.npz`` file that holds exactly the tensors specified.

    Headers are compared with the specifications before any memory is taken, and nothing is ever unpickled.

    Raises:
        UserError: no such file, not an ``.npz`` file, a missing or unknown name, a wrong shape or element type, or a
            tensor in which every value is NaN.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            present = {name.removesuffix(".npy"): name for name in archive.namelist()}
            _check_names(path, list(present), [spec.name for spec in specs])
            tensors = {}
            for spec in specs:
                with archive.open(present[spec.name]) as member:
                    tensors[spec.name] = _read_member(path, spec, member)
            return tensors
    except OSError as error:
        raise UserError(f"cannot read '{path}': {error.strerror or error}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise UserError(f"'{path}' is not a valid .npz file: {error}; write it with numpy.savez") from error


def _check_names(path: Path, present: list[str], wanted: list[str]) -> None:
    missing = [name for name in wanted if name not in present]
    if missing:
        known = ", ".join(f"'{name}'" for name in present) or "nothing"
        raise UserError(f"'{path}' has no array '{missing[0]}', which the model needs: it holds {known}")
    unknown = [name for name in present if name not in wanted]
    if unknown:
        raise UserError(f"'{path}' holds '{unknown[0]}', which is no input of the model{nearest(unknown[0], wanted)}")


def _read_member(path: Path, spec: TensorSpec, member: IO[bytes]) -> Array:
    version = np.lib.format.read_magic(member)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise UserError(f"'{path}': array '{spec.name}' is stored in a newer format; write it with numpy.savez")
    shape, fortran, dtype = readers[version](member)
    expected = numpy_dtype(spec)
    if dtype.hasobject:
        raise UserError(f"'{path}': array '{spec.name}' holds pickled Python objects, which are not read")
    if dtype != expected:
        raise UserError(
            f"'{path}': array '{spec.name}' has the element type {dtype}, the model takes {spec.dtype}: "
            f"convert it with .astype('{spec.dtype}')"
        )
    if not spec.takes(shape):
        raise UserError(f"'{path}': array '{spec.name}' has the shape {shape}, the model takes {spec.shape}")
    count = math.prod(shape) * expected.itemsize
    data = member.read(count + 1)
    if len(data) != count:
        raise UserError(f"'{path}': array '{spec.name}' has {len(data)} bytes of data where its shape needs {count}")
    array = np.frombuffer(data, expected).reshape(shape, order="F" if fortran else "C")
    if expected.kind == "f" and array.size and np.isnan(array).all():
        raise UserError(f"'{path}': array '{spec.name}' is filled with NaN: it was never given its values")
    return np.ascontiguousarray(array)


def write_tensors(path: Path, tensors: Mapping[str, Array]) -> None:
    """Write an ``.npz`` file. Raises UserError when that fails, leaving nothing behind."""

    def write(file: IO[bytes]) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            for name, array in tensors.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)

    write_file(path, write)


def largest(array: Array, count: int) -> list[tuple[tuple[int, ...], float]]:
    """Return the largest elements of an array, the largest first, each with its index; NaN counts as smallest."""
    flat = np.nan_to_num(np.asarray(array, dtype=np.float64).ravel(), nan=-np.inf, posinf=np.inf, neginf=-np.inf)
    order = np.argsort(-flat, kind="stable")[:count]
    values = np.asarray(array, dtype=np.float64).ravel()
    return [(tuple(int(axis) for axis in np.unravel_index(each, array.shape)), float(values[each])) for each in order]
