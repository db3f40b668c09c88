"""Products and lookups of weights in few bits against sums in double precision, on every level this machine runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from cpu_kernels import LEVELS, build, machines, template_named
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_runner import Array, assembly, run_workload
from workloads import step, tensor, workload

from tilewright.passes.nbits import packed
from tilewright.schedules.template import build_kernel, choose_layouts
from tilewright.targets.target import Target
from tilewright.workload import PointwiseProgram, TensorType

_BIAS = PointwiseProgram(2, (step("add", 0, 1), step("nn.relu", 2)))


@dataclass(frozen=True)
class _Weight:
    """A weight [N, K] in few bits: its operands and the numbers they stand for."""

    operands: list[Array]
    offset: list[Array]
    values: Array
    bits: int
    block: int

    @property
    def types(self) -> list[TensorType]:
        return [_type(each) for each in self.operands]


def _type(array: Array) -> TensorType:
    return tensor(*array.shape, dtype=str(array.dtype))


def _weight(rng: np.random.Generator, rows: int, depth: int, bits: int, block: int, *, moved: bool) -> _Weight:
    half = 1 << (bits - 1)
    codes = rng.integers(-half, half, (rows, depth)).astype(np.int8)
    groups = -(-depth // block)
    scale = (rng.standard_normal((rows, groups)) / half).astype(np.float32)
    narrow = bool(rng.integers(2))
    if narrow:
        scale = (scale.view(np.uint32) & 0xFFFF0000).view(np.float32)
    offset = rng.standard_normal((rows, groups)).astype(np.float32) if moved else np.zeros_like(scale)
    spread = lambda each: np.repeat(each.astype(np.float64), block, 1)[:, :depth]  # noqa: E731
    stored = (scale.view(np.uint32) >> 16).astype(np.uint16) if narrow else scale
    values = codes * spread(scale) + spread(offset)
    return _Weight([packed(codes, bits), stored], [offset] if moved else [], values, bits, block)


def _drawn(draw: Any, rng: np.random.Generator, rows: int) -> _Weight:
    bits = draw(st.sampled_from([4, 8]))
    block = draw(st.sampled_from([16, 32, 128]))
    depth = draw(st.integers(1, 40)) * (8 if bits == 4 else draw(st.sampled_from([1, 8])))
    whole = draw(st.booleans())
    return _weight(rng, rows, depth, bits, depth if whole else block, moved=draw(st.booleans()))


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_products(data: Any) -> None:
    draw = data.draw
    target: Target = draw(machines())
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    lead, rows, columns = draw(st.sampled_from([(), (2,)])), draw(st.integers(1, 30)), draw(st.integers(1, 70))
    weight = _drawn(draw, rng, columns)
    shape = (*lead, rows)
    x = rng.standard_normal((*shape, weight.values.shape[1])).astype(np.float32)
    bias = rng.standard_normal(columns).astype(np.float32) if draw(st.booleans()) else None
    arrays = [x, *weight.operands, *weight.offset]
    axes = tuple(range(len(shape) + 1))
    plain = workload(
        "matmul_nbits",
        [_type(each) for each in (*arrays, *([] if bias is None else [bias]))],
        tensor(*shape, columns),
        len(arrays),
        None if bias is None else _BIAS,
        a_axes=axes,
        b_axes=(1, 0),
        out_axes=axes,
        bits=weight.bits,
        block=weight.block,
    )
    chosen = choose_layouts(plain, target)
    assert chosen is not None
    kernel = build(draw, template_named("packed_matmul_nbits", chosen, target), chosen, target)
    (result,) = run_workload(kernel, chosen, [*arrays, *([] if bias is None else [bias])], target)
    expected = x.astype(np.float64) @ weight.values.T
    bound = np.abs(x.astype(np.float64)) @ np.abs(weight.values.T) + 1
    if bias is not None:
        expected = np.maximum(expected + bias, 0)
    assert (np.abs(result - expected) <= 3e-6 * bound).all()


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_lookups(data: Any) -> None:
    draw = data.draw
    target = draw(machines())
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    rows = draw(st.integers(1, 50))
    weight = _drawn(draw, rng, rows)
    # Indices from the end count backwards, as in ONNX.
    indices = rng.integers(-rows, rows, (2, 3)).astype(draw(st.sampled_from(["int32", "int64"])))
    arrays = [*weight.operands, indices, *weight.offset]
    plain = workload(
        "take_nbits",
        [_type(each) for each in arrays],
        tensor(2, 3, weight.values.shape[1]),
        len(arrays),
        None,
        bits=weight.bits,
        block=weight.block,
        shared=draw(st.integers(0, 1)),
    )
    chosen = choose_layouts(plain, target)
    assert chosen is not None
    kernel = build_kernel(chosen, target)
    (result,) = run_workload(kernel, chosen, arrays, target)
    np.testing.assert_allclose(result, weight.values[indices], rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(LEVELS[-1].lanes() < 16, reason="needs AVX-512")
def test_sixteen_codes_are_looked_up_by_one_instruction() -> None:
    target = LEVELS[-1]
    weight = _weight(np.random.default_rng(0), 64, 256, 4, 32, moved=False)
    plain = workload(
        "matmul_nbits", [tensor(1, 256), *weight.types], tensor(1, 64), 3, None,
        a_axes=(0, 1), b_axes=(1, 0), out_axes=(0, 1), bits=4, block=32,
    )  # fmt: skip
    chosen = choose_layouts(plain, target)
    assert chosen is not None
    code = assembly(build_kernel(chosen, target), target)
    assert code.count("vpermps") + code.count("vpermd") >= 8
    assert "vcvtdq2ps" not in code
