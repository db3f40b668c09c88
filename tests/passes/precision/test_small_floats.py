"""Small floats and narrow integers against ml_dtypes and onnx, in TVM's lowering and in the generated kernels."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from relax_modules import build_module
from relax_runner import run_module
from tvm.relax import op

from tilewright.element_types import CONTAINED, container_of, small_float
from tilewright.passes.conversion import convert
from tilewright.passes.precision import assign_precision, check
from tilewright.tvm_names import dtype_of

FLOATS = [name for name in CONTAINED if small_float(name)]
INTEGERS = [name for name in CONTAINED if not small_float(name)]


def _converted(data: NDArray[Any], dtype: str, **options: Any) -> NDArray[Any]:
    module = build_module(lambda emit, x: emit(convert(x, dtype, **options)), (data.shape, data.dtype.name))
    (result,) = run_module(module, [data])
    assert result.dtype == np.dtype(dtype)
    return result


def _samples(dtype: str) -> NDArray[Any]:
    """Return numbers of every magnitude, every value of the type, the middles between neighbours and beyond."""
    rng = np.random.default_rng(0)
    codes = np.arange(1 << CONTAINED[dtype].bits).astype(container_of(dtype)).view(np.dtype(dtype)).astype(np.float64)
    values = np.sort(codes[np.isfinite(codes)])
    middles = (values[1:] + values[:-1]) / 2
    near = np.concatenate([np.nextafter(middles, np.inf), np.nextafter(middles, -np.inf)])
    spread = rng.standard_normal(4000) * 2.0 ** rng.integers(-30, 30, 4000)
    return np.concatenate([values, middles, near, spread, [np.inf, -np.inf, np.nan, 0.0, -0.0, 1e30, -1e30]])


@pytest.mark.parametrize("dtype", FLOATS)
def test_every_code_is_decoded(dtype: str) -> None:
    codes = np.arange(1 << CONTAINED[dtype].bits).astype(container_of(dtype)).view(np.dtype(dtype))
    np.testing.assert_array_equal(_converted(codes, "float32"), codes.astype(np.float32))


@pytest.mark.parametrize("dtype", [name for name in FLOATS if name != "float8_e8m0fnu"])
def test_numbers_are_rounded_to_the_nearest(dtype: str) -> None:
    with np.errstate(all="ignore"):
        data = _samples(dtype).astype(np.float32)
        data = data[np.isfinite(data)] if dtype == "float4_e2m1fn" else data
        wanted = data.astype(np.dtype(dtype))
    got = _converted(data, dtype, saturate=False)
    np.testing.assert_array_equal(got.astype(np.float32), wanted.astype(np.float32))


@pytest.mark.parametrize("dtype", [name for name in FLOATS if name not in ("float8_e8m0fnu", "bfloat16")])
def test_doubles_are_rounded_once(dtype: str) -> None:
    """Not by way of float32, as ml_dtypes does: numbers next to the middle of two would take the wrong side."""
    codes = np.arange(1 << (CONTAINED[dtype].bits - 1)).astype(np.uint8)
    values = codes.view(np.dtype(dtype)).astype(np.float64)
    codes, values = codes[np.isfinite(values)], values[np.isfinite(values)]
    middles = (values[1:] + values[:-1]) / 2
    below, above = np.nextafter(middles, -np.inf), np.nextafter(middles, np.inf)
    even = np.where(codes[:-1] % 2 == 0, values[:-1], values[1:])
    for data, wanted in ((below, values[:-1]), (above, values[1:]), (middles, even)):
        np.testing.assert_array_equal(_converted(data, dtype).astype(np.float64), wanted)


@pytest.mark.parametrize("dtype", [name for name in FLOATS if name.startswith("float8") and "e8m0" not in name])
def test_what_is_too_large_saturates(dtype: str) -> None:
    data = _samples(dtype).astype(np.float32)
    with np.errstate(all="ignore"):
        wanted = numpy_helper.saturate_cast(data, np.dtype(dtype)).astype(np.float32)
    np.testing.assert_array_equal(_converted(data, dtype).astype(np.float32), wanted)


@pytest.mark.parametrize("mode", ["up", "down", "nearest"])
def test_exponents_are_rounded_as_asked(mode: str) -> None:
    data = np.abs(_samples("float8_e8m0fnu")).astype(np.float32)
    data = data[np.isfinite(data)]
    wanted = numpy_helper.to_float8e8m0(data, True, mode).astype(ml_dtypes.float8_e8m0fnu)
    got = _converted(data, "float8_e8m0fnu", round_mode=mode)
    np.testing.assert_array_equal(got.astype(np.float32), wanted.astype(np.float32))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_keep_their_low_bits(dtype: str) -> None:
    data = np.arange(-300, 300).astype(np.int32)
    bits, signed = CONTAINED[dtype].bits, not dtype.startswith("u")
    low = data & ((1 << bits) - 1)
    wanted = np.where(signed & (low >= 1 << (bits - 1)), low - (1 << bits), low)
    result = _converted(data, dtype)
    np.testing.assert_array_equal(result.astype(np.int32), wanted)
    np.testing.assert_array_equal(_converted(result, "float32"), wanted.astype(np.float32))
    np.testing.assert_array_equal(_converted(result, "int64"), wanted)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_halves_are_computed_in_single_precision(dtype: str) -> None:
    rng = np.random.default_rng(1)
    a, b = (rng.standard_normal(shape).astype(np.dtype(dtype)) for shape in ((3, 400), (400, 5)))
    module = build_module(lambda emit, x, y: emit(op.matmul(x, y)), (a.shape, dtype), (b.shape, dtype))
    narrow = assign_precision(module)
    check(narrow)
    assert {dtype_of(param) for param in narrow["main"].params} == {container_of(dtype)}
    wanted = (a.astype(np.float32) @ b.astype(np.float32)).astype(np.dtype(dtype))
    (got,) = run_module(module, [a, b])
    assert got.dtype == wanted.dtype
    np.testing.assert_allclose(got.astype(np.float32), wanted.astype(np.float32), rtol=2.0**-7, atol=1e-3)
    assert np.mean(got != wanted) < 0.2, "only sums in another order round differently"
