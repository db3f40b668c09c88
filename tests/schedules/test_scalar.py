"""Every scalar operation against numpy or torch, in every element type it claims."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_runner import Array, call, runnable_targets
from tvm import s_tir, te
from workloads import step

from tilewright.errors import UserError
from tilewright.schedules.scalar import cost, evaluate, supported
from tilewright.schedules.scalar_registry import FLOATS, INTEGERS, SCALAR_OPS
from tilewright.workload import PointwiseProgram

_TARGET = runnable_targets()[-1]
_SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.5, -2.5, np.inf, -np.inf, np.nan, 1e-40, 3e38, 7.0, -7.0, 100.0]


def _values(dtype: str, seed: int) -> Array:
    """256 values; those of seeds 0 and 1 meet in all pairs of the special ones."""
    generator = np.random.default_rng(seed)
    if dtype == "bool":
        return generator.integers(0, 2, 256).astype("bool")
    if np.dtype(dtype).kind == "f":
        special = np.repeat(_SPECIAL, 16) if seed else np.tile(_SPECIAL, 16)
        return special.astype(dtype)
    limits = np.iinfo(dtype)
    edge = np.array([limits.min, limits.max, 0, 1, 2, 3, 7, limits.max - 1], dtype)
    if limits.min < 0:
        edge[3:5] = [-1, -5]
    return np.resize(np.repeat(edge, 8) if seed else np.tile(edge, 8), 256)


def _run(program: PointwiseProgram, inputs: list[Array], dtype: str) -> Array:
    """Evaluate in a vectorized loop."""
    count = len(inputs[0])
    sources = [te.placeholder((count,), each.dtype.name, name=f"x{at}") for at, each in enumerate(inputs)]
    result = te.compute((count,), lambda i: evaluate(program, [each[i] for each in sources]), name="result")
    schedule = s_tir.Schedule(te.create_prim_func([*sources, result]))
    (loop,) = schedule.get_loops(schedule.get_sblock("result"))
    schedule.vectorize(schedule.split(loop, [None, 16])[1])
    return call(schedule.mod["main"], inputs, [((count,), dtype)], _TARGET)[0]


def _truncated(a: Array, b: Array) -> Array:
    if a.dtype.kind == "f":
        return a / b
    bits, quotients = 8 * a.dtype.itemsize, []
    for dividend, divisor in zip(a.tolist(), b.tolist(), strict=True):
        quotient = abs(dividend) // abs(divisor) if divisor else 0
        quotients.append((-quotient if (dividend < 0) != (divisor < 0) else quotient) % (1 << bits))
    return np.array(quotients, f"uint{bits}").view(a.dtype)


_SAME: dict[str, tuple[int, Callable[..., Any], tuple[str, ...]]] = {
    "add": (2, np.add, (*FLOATS, *INTEGERS)),
    "subtract": (2, np.subtract, (*FLOATS, *INTEGERS)),
    "multiply": (2, np.multiply, (*FLOATS, *INTEGERS)),
    "floor_divide": (2, lambda a, b: np.floor(a / b) if a.dtype.kind == "f" else a // b, (*FLOATS, *INTEGERS)),
    "mod": (2, np.fmod, (*FLOATS, *INTEGERS)),
    "floor_mod": (2, np.mod, ("float32", "float64", *INTEGERS)),
    "maximum": (2, np.maximum, (*FLOATS, *INTEGERS)),
    "minimum": (2, np.minimum, (*FLOATS, *INTEGERS)),
    "negative": (1, np.negative, (*FLOATS, *INTEGERS)),
    "abs": (1, np.abs, (*FLOATS, *INTEGERS)),
    "sign": (1, np.sign, (*FLOATS, *INTEGERS)),
    "floor": (1, np.floor, (*FLOATS, "int32")),
    "ceil": (1, np.ceil, (*FLOATS, "int32")),
    "trunc": (1, np.trunc, (*FLOATS, "int32")),
    "round": (1, np.round, (*FLOATS, "int32")),
    "square": (1, np.square, (*FLOATS, "int32", "int64")),
    "bitwise_and": (2, np.bitwise_and, (*INTEGERS, "bool")),
    "bitwise_or": (2, np.bitwise_or, (*INTEGERS, "bool")),
    "bitwise_xor": (2, np.bitwise_xor, (*INTEGERS, "bool")),
    "bitwise_not": (1, np.bitwise_not, (*INTEGERS, "bool")),
    "sqrt": (1, np.sqrt, FLOATS),
    "logical_and": (2, np.logical_and, ("bool",)),
    "logical_or": (2, np.logical_or, ("bool",)),
    "logical_xor": (2, np.logical_xor, ("bool",)),
    "logical_not": (1, np.logical_not, ("bool",)),
}


def _is_signed_minimum_quotient(inputs: list[Array]) -> Array:
    """The one integer division whose result does not fit; numpy's own answer differs between versions."""
    a, b = inputs
    return (a == np.iinfo(a.dtype).min) & (b == -1) if a.dtype.kind == "i" else np.zeros(len(a), bool)


@pytest.mark.parametrize(("op", "dtype"), [(op, dtype) for op, row in _SAME.items() for dtype in row[2]])
def test_same_type(op: str, dtype: str) -> None:
    arity, reference, _ = _SAME[op]
    inputs = [_values(dtype, seed) for seed in range(arity)]
    result = _run(PointwiseProgram(arity, (step(op, *range(arity), dtype=dtype),)), inputs, dtype)
    with np.errstate(all="ignore"):
        expected = reference(*inputs).astype(dtype)
    keep = np.ones(len(result), bool)
    if "mod" in op or "divide" in op:
        if np.dtype(dtype).kind in "iu":
            keep = ~_is_signed_minimum_quotient(inputs)
        elif op == "floor_mod":
            keep = np.isfinite(inputs[1])
    np.testing.assert_array_equal(result[keep], expected[keep], strict=True)


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS])
def test_divide(dtype: str) -> None:
    inputs = [_values(dtype, 0), _values(dtype, 1)]
    result = _run(PointwiseProgram(2, (step("divide", 0, 1, dtype=dtype),)), inputs, dtype)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(result, _truncated(*inputs).astype(dtype), strict=True)


@pytest.mark.parametrize("op", ["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int8", "uint8", "int64", "bool"])
def test_comparison(op: str, dtype: str) -> None:
    inputs = [_values(dtype, 0), _values(dtype, 1)]
    result = _run(PointwiseProgram(2, (step(op, 0, 1, dtype="bool"),)), inputs, "bool")
    np.testing.assert_array_equal(result, getattr(np, op)(*inputs))
    itself = _run(PointwiseProgram(1, (step(op, 0, 0, dtype="bool"),)), inputs[:1], "bool")
    np.testing.assert_array_equal(itself, getattr(np, op)(inputs[0], inputs[0]))


@pytest.mark.parametrize("op", ["isnan", "isinf", "isfinite"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_special_values(op: str, dtype: str) -> None:
    values = _values(dtype, 0)
    result = _run(PointwiseProgram(1, (step(op, 0, dtype="bool"),)), [values], "bool")
    np.testing.assert_array_equal(result, getattr(np, op)(values))


_SOURCES = ("float32", "float64", "int8", "uint8", "int32", "int64", "bool")


@pytest.mark.parametrize("source", _SOURCES)
@pytest.mark.parametrize("dtype", [*_SOURCES, "float16", "uint32"])
def test_astype(source: str, dtype: str) -> None:
    values = _values(source, 0)
    if np.dtype(source).kind == "f" and np.dtype(dtype).kind in "iu":
        values = values[np.isfinite(values) & (np.abs(values) < 1e4)]
        values = np.resize(values[values >= 0] if dtype.startswith("u") else values, 256)
    result = _run(PointwiseProgram(1, (step("astype", 0, dtype=dtype),)), [values], dtype)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(result, values.astype(dtype), strict=True)


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
def test_where(dtype: str) -> None:
    condition, yes, no = _values("bool", 0), _values(dtype, 0), _values(dtype, 1)
    result = _run(PointwiseProgram(3, (step("where", 0, 1, 2, dtype=dtype),)), [condition, yes, no], dtype)
    np.testing.assert_array_equal(result, np.where(condition, yes, no), strict=True)


_TORCH: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], dict[str, float]]] = {
    "exp": (torch.exp, {}), "log": (torch.log, {}), "tanh": (torch.tanh, {}), "erf": (torch.erf, {}),
    "sin": (torch.sin, {}), "cos": (torch.cos, {}), "tan": (torch.tan, {}), "atan": (torch.atan, {}),
    "asin": (torch.asin, {}), "acos": (torch.acos, {}), "sinh": (torch.sinh, {}), "cosh": (torch.cosh, {}),
    "asinh": (torch.asinh, {}), "acosh": (torch.acosh, {}), "atanh": (torch.atanh, {}),
    "sigmoid": (torch.sigmoid, {}), "rsqrt": (torch.rsqrt, {}),
    "nn.relu": (torch.relu, {}), "nn.relu6": (torch.nn.functional.relu6, {}),
    "nn.leakyrelu": (lambda x: torch.nn.functional.leaky_relu(x, 0.1), {"alpha": 0.1}),
    "nn.selu": (torch.selu, {}), "nn.silu": (torch.nn.functional.silu, {}),
    "nn.gelu": (torch.nn.functional.gelu, {}),
    "nn.gelu_tanh": (lambda x: torch.nn.functional.gelu(x, approximate="tanh"), {}),
    "nn.softplus": (torch.nn.functional.softplus, {"beta": 1.0, "threshold": 20.0}),
    "clip": (lambda x: torch.clip(x, -1, 2), {"min": -1.0, "max": 2.0}),
}  # fmt: skip


@pytest.mark.parametrize("op", _TORCH)
@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 1e-6), ("float64", 1e-14), ("float16", 1e-3)])
def test_function(op: str, dtype: str, rtol: float) -> None:
    reference, attrs = _TORCH[op]
    spread = np.random.default_rng(0).standard_normal(256) * 4
    for values in (spread.astype(dtype), _values(dtype, 0)):
        result = _run(PointwiseProgram(1, (step(op, 0, dtype=dtype, **attrs),)), [values], dtype)
        expected = reference(torch.from_numpy(values).double())
        with np.errstate(over="ignore"):
            rounded = expected.numpy().astype(dtype)
        np.testing.assert_allclose(result, rounded, rtol=rtol, atol=rtol * 2)


def test_binary_functions() -> None:
    a, b = (np.random.default_rng(seed).uniform(0.1, 4, 256).astype("float32") for seed in (0, 1))
    for op, reference in (("power", np.power), ("atan2", np.arctan2), ("log_add_exp", np.logaddexp)):
        result = _run(PointwiseProgram(2, (step(op, 0, 1),)), [a, b], "float32")
        np.testing.assert_allclose(result, reference(a.astype("f8"), b.astype("f8")), rtol=1e-6)
    slope = _run(PointwiseProgram(2, (step("nn.prelu", 0, 1),)), [-a, b], "float32")
    np.testing.assert_allclose(slope, -a * b, rtol=1e-6)


@pytest.mark.parametrize("exponent", [-1.0, 1.0, 2.0, 3.0, 0.5])
def test_constant_exponent(exponent: float) -> None:
    values = np.random.default_rng(0).uniform(0.1, 4, 256).astype("float32")
    program = PointwiseProgram(1, (step("const", value=exponent), step("power", 0, 1)))
    np.testing.assert_allclose(_run(program, [values], "float32"), values.astype("f8") ** exponent, rtol=3e-7)


def test_shared_values_keep_the_expression_small() -> None:
    """x -> x * x twenty times over would be a million multiplications as a tree."""
    steps = tuple(step("multiply", at, at) for at in range(20))
    values = np.random.default_rng(0).uniform(0.9999999, 1.0000001, 256).astype("float32")
    result = _run(PointwiseProgram(1, steps), [values], "float32")
    expected = values
    for _ in steps:
        expected = expected * expected
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8"])
def test_integers_from_a_function_of_floats(dtype: str) -> None:
    """The buckets of relative positions: the function's integers on the bits have bounds, and so has the result."""
    distance = np.arange(1, 113).repeat(2).astype(dtype)
    limit = np.full(len(distance), 9, dtype)
    steps = (step("astype", 0, dtype="float32"), step("log", 2), step("astype", 3, dtype=dtype))
    program = PointwiseProgram(2, (*steps, step("add", 4, 4, dtype=dtype), step("minimum", 5, 1, dtype=dtype)))
    whole = np.floor(np.log(distance.astype("f8"))).astype(dtype)
    np.testing.assert_array_equal(_run(program, [distance, limit], dtype), np.minimum(2 * whole, limit))


_UNARY = ["nn.relu", "negative", "abs", "floor", "square", "sign"]
_BINARY = ["add", "subtract", "multiply", "maximum", "minimum"]


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_random_programs(data: st.DataObject) -> None:
    values: list[Array] = [np.random.default_rng(seed).standard_normal(64) for seed in range(2)]
    values = [each.astype("float32") for each in values]
    inputs, steps = list(values), []
    for _ in range(data.draw(st.integers(1, 8))):
        op = data.draw(st.sampled_from(_UNARY + _BINARY))
        args = [data.draw(st.integers(0, len(values) - 1)) for _ in range(2 if op in _BINARY else 1)]
        steps.append(step(op, *args))
        reference = (lambda x: np.maximum(x, 0)) if op == "nn.relu" else getattr(np, op)
        values.append(reference(*[values[at] for at in args]))
    result = _run(PointwiseProgram(2, tuple(steps)), inputs, "float32")
    np.testing.assert_allclose(result, values[-1], rtol=1e-4, atol=1e-4)


def test_what_is_supported() -> None:
    assert supported("nn.gelu", "float32")
    assert not supported("nn.gelu", "int32")
    assert not supported("nn.conv2d", "float32")
    assert cost(PointwiseProgram(1, (step("exp", 0), step("add", 0, 1)))) == SCALAR_OPS["exp"].cost + 1
    with pytest.raises(UserError, match="unknown pointwise operator 'nn.rellu'"):
        evaluate(PointwiseProgram(1, (step("nn.rellu", 0),)), [te.var("x", "float32")])
