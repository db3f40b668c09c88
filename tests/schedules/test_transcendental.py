"""The float32 functions over the whole range: error in ulp, subnormals, infinities, NaN, signed zero."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import tvm
from kernel_runner import TARGETS, Array, assembly, build, runnable_targets
from tvm import s_tir, te

from tilewright.schedules.bindings import Bindings
from tilewright.schedules.transcendental import erf, exp, exp_nonpositive, log, log1p_unit, tanh

_COUNT = 1 << 19
_FUNCTIONS: dict[str, tuple[Any, Any, float]] = {
    "exp": (exp, torch.exp, 1.5),
    "log": (log, torch.log, 2.0),
    "tanh": (tanh, torch.tanh, 6.0),
    "erf": (erf, torch.erf, 8.0),
}


def _kernel(function: Any, lanes: int) -> Any:
    def apply(x: Any) -> Any:
        bindings = Bindings()
        return bindings.close(function(bindings, bindings.bind(x)))

    source = te.placeholder((_COUNT,), "float32", name="source")
    result = te.compute((_COUNT,), lambda i: apply(source[i]), name="result")
    schedule = s_tir.Schedule(te.create_prim_func([source, result]))
    (loop,) = schedule.get_loops(schedule.get_sblock("result"))
    schedule.vectorize(schedule.split(loop, [None, lanes])[1])
    return schedule.mod["main"]


def _every_magnitude() -> Array:
    """Bit patterns evenly over all of float32: half the values of every binade's sign, subnormals and NaN included."""
    step = (1 << 32) // _COUNT
    offsets = np.random.default_rng(0).integers(0, step, _COUNT)
    return (np.arange(_COUNT, dtype=np.int64) * step + offsets).astype(np.uint32).view(np.float32)


def _inputs(low: float, high: float) -> list[Array]:
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 1.1754943e-38, 3.4028235e38], np.float32)
    near = np.random.default_rng(1).uniform(low, high, _COUNT).astype(np.float32)
    near[: len(special)] = special
    return [_every_magnitude(), near]


def _error(result: Array, exact: Array) -> float:
    """The greatest error in ulp of the exact result; infinities and NaN have to agree."""
    with np.errstate(over="ignore"):
        rounded = exact.astype(np.float32)
    np.testing.assert_array_equal(np.isnan(result), np.isnan(exact))
    finite = np.isfinite(rounded)
    np.testing.assert_array_equal(result[~finite], rounded[~finite])
    spacing = np.spacing(np.abs(rounded[finite])).astype(np.float64)
    return float(np.max(np.abs(result[finite].astype(np.float64) - exact[finite]) / spacing))


def _run(library: Any, values: Array) -> Array:
    result = tvm.runtime.tensor(np.full(_COUNT, np.nan, np.float32))
    library["main"](tvm.runtime.tensor(values), result)
    return result.numpy()


@pytest.mark.parametrize("name", _FUNCTIONS)
@pytest.mark.parametrize("target", runnable_targets(), ids=lambda each: each.name)
def test_error_in_ulp(name: str, target: Any) -> None:
    function, reference, limit = _FUNCTIONS[name]
    library = build(_kernel(function, target.lanes()), target)
    for values in [*_inputs(-110, 92), *_inputs(-10, 10)[1:]]:
        exact = reference(torch.from_numpy(values).double()).numpy()
        result = _run(library, values)
        assert _error(result, exact) <= limit
        zero = exact == 0
        np.testing.assert_array_equal(np.signbit(result[zero]), np.signbit(exact[zero]))


@pytest.mark.parametrize("target", runnable_targets(), ids=lambda each: each.name)
def test_error_on_part_of_the_range(target: Any) -> None:
    library = build(_kernel(log1p_unit, target.lanes()), target)
    values = np.abs(_inputs(-1, 1)[1])
    values[(values > 1) | np.isnan(values)] = 0.5
    assert _error(_run(library, values), torch.log1p(torch.from_numpy(values).double()).numpy()) <= 3
    library = build(_kernel(exp_nonpositive, target.lanes()), target)
    values = -np.abs(_inputs(-90, 0)[1])
    exact = torch.exp(torch.from_numpy(values).double()).numpy()
    exact[values < -87.3365] = 0
    assert _error(_run(library, values), exact) <= 1.5


def test_saturation_is_exact() -> None:
    target = runnable_targets()[-1]
    values = np.full(_COUNT, 20.0, np.float32)
    values[::2] = -np.inf
    for function in (tanh, erf):
        result = _run(build(_kernel(function, target.lanes()), target), values)
        np.testing.assert_array_equal(result, np.sign(values))


@pytest.mark.parametrize("name", _FUNCTIONS)
@pytest.mark.parametrize(("level", "register"), [(3, "ymm"), (4, "zmm")])
def test_vectors_and_no_calls(name: str, level: int, register: str) -> None:
    """Also for machines other than this one: the loop keeps to vector registers and calls nothing."""
    text = assembly(_kernel(_FUNCTIONS[name][0], TARGETS[level].lanes()), TARGETS[level])
    assert text.count(f"%{register}") > 20
    for call in ("expf", "logf", "tanhf", "erff"):
        assert call not in text
