"""Small Relax modules for tests of passes, written as Python functions of their inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from relax_runner import run_module
from tvm import relax

Emit = Callable[..., Any]
#: (emit, *inputs) -> the result, or a list of results; ``emit`` binds a value to a variable.
Build = Callable[..., Any]
#: The shape of a float32 input, or its shape and element type.
Input = tuple[int, ...] | tuple[tuple[int, ...], str]


def build_module(build: Build, *inputs: Input) -> tvm.IRModule:
    """Return a module whose ``main`` computes what ``build`` emits, its inputs named x0, x1, ..."""
    builder = relax.BlockBuilder()
    params = [relax.Var(f"x{index}", relax.TensorType(*_typed(each))) for index, each in enumerate(inputs)]
    with builder.function("main", params):
        with builder.dataflow():
            results = build(builder.emit, *params)
            fields = list(results) if isinstance(results, list | tuple) else [results]
            fields = [builder.emit(each) if isinstance(each, relax.Call) else each for each in fields]
            output = builder.emit_output(relax.Tuple(fields))
        builder.emit_func_output(output)
    return builder.finalize()


def random_inputs(inputs: Sequence[Input], seed: int = 0) -> list[NDArray[Any]]:
    """Return standard normal arrays, or small integers for integer inputs."""
    generator = np.random.default_rng(seed)
    arrays = []
    for each in inputs:
        shape, dtype = _typed(each)
        drawn = generator.standard_normal(shape) if "float" in dtype else generator.integers(-3, 4, shape)
        arrays.append(drawn.astype(dtype))
    return arrays


def constant(shape: tuple[int, ...], seed: int = 1, low: float = 0.5, high: float = 2.0) -> Any:
    """Return a float32 constant of uniform random numbers."""
    return relax.const(array(shape, seed, low, high))


def array(shape: tuple[int, ...], seed: int = 1, low: float = 0.5, high: float = 2.0) -> NDArray[np.float32]:
    """Return the array that :func:`constant` wraps."""
    return np.random.default_rng(seed).uniform(low, high, shape).astype("float32")


def scalar(value: float) -> Any:
    """Return a float32 constant of rank zero."""
    return relax.const(np.float32(value))


def assert_rewritten(
    run: Callable[[tvm.IRModule], tvm.IRModule], before: Build, expected: Build, *inputs: Input, rtol: float = 2e-6
) -> None:
    """Assert that a pass turns one module into the other and that both compute the same on random inputs."""
    module = build_module(before, *inputs)
    kept = module.script(show_meta=False)
    rewritten = run(module)
    tvm.ir.assert_structural_equal(rewritten, build_module(expected, *inputs), map_free_vars=True)
    assert module.script(show_meta=False) == kept, "the module that was given changed"
    assert_computes_the_same(module, rewritten, inputs, rtol)


def assert_unchanged(run: Callable[[tvm.IRModule], tvm.IRModule], before: Build, *inputs: Input) -> None:
    """Assert that a pass finds nothing in a module."""
    module = build_module(before, *inputs)
    tvm.ir.assert_structural_equal(run(module), module, map_free_vars=True)


def assert_computes_the_same(
    first: tvm.IRModule, second: tvm.IRModule, inputs: Sequence[Input], rtol: float = 2e-6, atol: float = 2e-6
) -> None:
    """Assert that two modules give the same outputs on random inputs, up to rounding."""
    arrays = random_inputs(inputs)
    wanted, got = run_module(first, arrays), run_module(second, arrays)
    assert len(wanted) == len(got)
    for one, other in zip(wanted, got, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(other, one, rtol=rtol, atol=atol * max(1.0, float(np.max(np.abs(one), initial=0))))


def _typed(each: Input) -> tuple[tuple[int, ...], str]:
    if each and isinstance(each[0], tuple):
        return each[0], str(each[1])
    return each, "float32"  # type: ignore[return-value]
