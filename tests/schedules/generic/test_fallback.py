from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from kernel_runner import Array, assembly, call, runnable_targets
from tvm import relax

from tilewright.compiler.scheduling import legalize
from tilewright.schedules.generic.fallback import schedule_generic

_TARGET = runnable_targets()[-1]
_nn = torch.nn.functional


def _schedule(build: Callable[..., Any], shapes: list[tuple[int, ...]]) -> Any:
    builder = relax.BlockBuilder()
    params = [relax.Var(f"x{at}", relax.TensorType(shape, "float32")) for at, shape in enumerate(shapes)]
    with builder.function("group", params):
        with builder.dataflow():
            output = builder.emit_output(build(*params))
        builder.emit_func_output(output)
    return schedule_generic(legalize(builder.finalize()["group"])[0], _TARGET)


def _outputs(kernel: Any, inputs: int) -> list[tuple[list[int], str]]:
    types = [each.ty for each in kernel.params[inputs:]]
    return [([int(size) for size in each.shape], str(each.dtype)) for each in types]


_CASES: dict[str, tuple[Callable[..., Any], Callable[..., Any], list[tuple[int, ...]]]] = {
    "softmax": (lambda x: relax.op.nn.softmax(x, 1), lambda x: torch.softmax(x, 1), [(2, 40, 33)]),
    "layer_norm": (
        lambda x, g, b: relax.op.nn.layer_norm(x, g, b, [-1], 1e-5),
        lambda x, g, b: _nn.layer_norm(x, (768,), g, b, 1e-5),
        [(64, 768), (768,), (768,)],
    ),
    "conv2d": (
        lambda x, w: relax.op.nn.conv2d(x, w, padding=1),
        lambda x, w: _nn.conv2d(x, w, padding=1),
        [(1, 16, 14, 14), (32, 16, 3, 3)],
    ),
    "conv2d_transpose": (
        lambda x, w: relax.op.nn.conv2d_transpose(x, w, strides=2),
        lambda x, w: _nn.conv_transpose2d(x, w, stride=2),
        [(1, 16, 14, 14), (16, 32, 3, 3)],
    ),
    "group_norm": (
        lambda x, g, b: relax.op.nn.group_norm(x, g, b, 4, 1, [2, 3], 1e-5),
        lambda x, g, b: _nn.group_norm(x, 4, g, b, 1e-5),
        [(2, 32, 14, 14), (32,), (32,)],
    ),
    "matmul": (relax.op.matmul, torch.matmul, [(64, 48), (48, 128)]),
    "concat": (
        lambda a, b: relax.op.concat([a, b], 1),
        lambda a, b: torch.cat([a, b], 1),
        [(1, 64, 28, 28), (1, 32, 28, 28)],
    ),
    "resize2d": (
        lambda x: relax.op.image.resize2d(x, (40, 40), layout="NCHW", method="linear"),
        lambda x: _nn.interpolate(x, (40, 40), mode="bilinear"),
        [(1, 32, 20, 20)],
    ),
    "pad": (lambda x: relax.op.nn.pad(x, [0, 0, 1, 1, 2, 2]), lambda x: _nn.pad(x, (2, 2, 1, 1)), [(4, 10, 10)]),
    "strided_slice": (lambda x: relax.op.strided_slice(x, [1], [1], [50], [2]), lambda x: x[:, 1:50:2], [(10, 1000)]),
    "sum to a scalar": (relax.op.sum, torch.sum, [(100, 100)]),
    "std": (lambda x: relax.op.std(x, 1), lambda x: torch.std(x, 1, correction=0), [(10, 1000)]),
    "argmax": (lambda x: relax.op.argmax(x, 1), lambda x: torch.argmax(x, 1), [(10, 1000)]),
    "several outputs": (lambda x: relax.op.split(x, 2, 1), lambda x: torch.split(x, 50, 1), [(4, 100)]),
}


@pytest.mark.parametrize("name", _CASES)
def test_operator(name: str) -> None:
    build, reference, shapes = _CASES[name]
    kernel = _schedule(build, shapes)
    inputs: list[Array] = [
        np.random.default_rng(at).standard_normal(shape).astype("f4") for at, shape in enumerate(shapes)
    ]
    results = call(kernel, inputs, _outputs(kernel, len(inputs)), _TARGET)
    expected = reference(*[torch.from_numpy(each).double() for each in inputs])
    expected = [expected] if isinstance(expected, torch.Tensor) else list(expected)
    assert len(results) == len(expected)
    for result, exact in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, exact.numpy(), rtol=1e-4, atol=2e-5)


def test_contiguous_loops_are_vectors_and_large_ones_parallel() -> None:
    kernel = _schedule(relax.op.matmul, [(64, 256), (256, 128)])
    text = str(kernel)
    assert "T.parallel" in text
    assert "T.vectorized" in text


def test_reductions_accumulate_in_registers() -> None:
    """The innermost loop of a matrix product stores nothing."""
    kernel = _schedule(relax.op.matmul, [(64, 256), (256, 128)])
    text = assembly(kernel, _TARGET)
    body = text[text.index("__tvm_parallel_lambda:") :]
    lines = body[: body.index("func_end")].splitlines()
    multiplies = [at for at, line in enumerate(lines) if "vfmadd" in line]
    between = lines[multiplies[0] : multiplies[-1]]
    assert len(multiplies) >= 4
    assert not [line for line in between if line.strip().startswith("vmov") and line.rstrip().endswith(")")]
