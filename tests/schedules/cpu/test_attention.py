"""Attention against numpy in float64: any sizes, transposes, broadcasting batches and masks, machines, knobs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from cpu_kernels import LEVELS, Shape, build, machines, orders, stored, template_named
from epilogues import epilogues, evaluate
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_runner import Array, run_workload
from workloads import step

from tilewright.schedules.template import build_kernel, choose_layouts
from tilewright.workload import PointwiseProgram, TensorType, Workload, attributes

RULES = settings(max_examples=40, deadline=None, derandomize=True)
SIZES = st.one_of(st.integers(1, 9), st.integers(1, 70), st.sampled_from((77, 128, 197)))
DEPTHS = st.one_of(st.integers(1, 40), st.sampled_from((32, 64, 80, 128)))

NOTHING = PointwiseProgram(1, ())
NAN_TO_ZERO = PointwiseProgram(1, (step("const", value=0.0), step("isnan", 0, dtype="bool"), step("where", 2, 1, 0)))


def softmax(scores: Array) -> Array:
    with np.errstate(invalid="ignore"):
        powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def scaled_and_masked(mask: Shape | None, dtype: str) -> tuple[PointwiseProgram, tuple[TensorType, ...]]:
    """Return scores / 2, with a mask added, or chosen by one of booleans."""
    if mask is None:
        return PointwiseProgram(1, (step("const", value=0.5), step("multiply", 0, 1))), ()
    if dtype == "bool":
        steps = (step("const", value=0.5), step("multiply", 0, 2), step("const", value=-1e9), step("where", 1, 3, 4))
    else:
        steps = (step("const", value=0.5), step("multiply", 0, 2), step("add", 3, 1))
    return PointwiseProgram(2, steps), (TensorType(mask, dtype),)


def attention(
    q: Shape,
    k: Shape,
    v: Shape,
    axes: tuple[Shape, Shape, Shape, Shape],
    inner: tuple[PointwiseProgram, PointwiseProgram] = (NOTHING, NOTHING),
    inner_operands: tuple[TensorType, ...] = (),
    epilogue: Any = None,
) -> Workload:
    """Return the workload of operands that are stored transposed; ``k`` is [..., depth, keys]."""
    operands = [TensorType(stored(shape, order), "float32") for shape, order in zip((q, k, v), axes, strict=False)]
    result = (*np.broadcast_shapes(q[:-2], k[:-2]), q[-2], v[-1])
    names = ("q_axes", "k_axes", "v_axes", "out_axes")
    return Workload(
        "attention",
        (*operands, *inner_operands, *(epilogue.operands if epilogue else ())),
        (TensorType(tuple(result[axis] for axis in axes[3]), "float32"),),
        attributes(dict(zip(names, axes, strict=True))),
        3 + len(inner_operands),
        epilogue.program if epilogue else None,
        inner,
    )


def masked(scores: Array, mask: Array | None = None) -> Array:
    if mask is None:
        return scores * 0.5
    return np.where(mask, scores * 0.5, -1e9) if mask.dtype == bool else scores * 0.5 + mask


def expected(work: Workload, q: Array, k: Array, v: Array, mask: Array | None = None) -> Array:
    """Return the attention in float64, before its epilogue and before it is transposed."""
    q, k, v = (
        each.astype("float64").transpose(work.attr(name))
        for each, name in zip((q, k, v), ("q_axes", "k_axes", "v_axes"), strict=True)
    )
    return softmax(masked(q @ k, mask)) @ v


def random(tensor: TensorType, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    if tensor.dtype == "bool":
        return rng.integers(0, 3, tensor.shape) > 0
    return rng.standard_normal(tensor.shape).astype("float32")


@RULES
@given(st.data(), machines(), SIZES, SIZES, DEPTHS, DEPTHS, st.sampled_from(((), (1,), (2,), (2, 3))))
def test_any_attention(data, target, rows, keys, depth, columns, batch):
    """Cross attention of any sizes, every operand transposed at will, masks that broadcast to the scores."""
    q = (*batch, rows, depth)
    shared = tuple(data.draw(st.sampled_from((1, size))) for size in batch)[data.draw(st.integers(0, len(batch))) :]
    k, v = (*shared, depth, keys), (*shared, keys, columns)
    axes = tuple(data.draw(orders(len(shape))) for shape in (q, k, v, q))
    scores = (*batch, rows, keys)
    shape = tuple(data.draw(st.sampled_from((1, size))) for size in scores)[data.draw(st.integers(0, len(scores))) :]
    mask = data.draw(st.sampled_from((None, shape)))
    program, operands = scaled_and_masked(mask, data.draw(st.sampled_from(("float32", "bool"))))
    guard = data.draw(st.sampled_from((NOTHING, NAN_TO_ZERO)))
    epilogue = data.draw(epilogues((*batch, rows, columns)))
    work = attention(q, k, v, axes, (program, guard), operands, epilogue)
    assert Workload.from_json(work.to_json()) == work
    kernel = build(data.draw, template_named("attention", work, target), work, target)
    arrays = [random(each, seed) for seed, each in enumerate(work.inputs)]
    arity = work.anchor_arity
    wanted, magnitude = evaluate(work.epilogue, expected(work, *arrays[:arity]), arrays[arity:])
    (result,) = run_workload(kernel, work, arrays, target)
    np.testing.assert_allclose(result, wanted.transpose(axes[3]), rtol=1e-5, atol=2e-6 * max(1.0, magnitude))


def softmax_of(q: Array, k: Array, v: Array, mask: Array | None, target: Any, guard: bool = False) -> Array:
    """Run an attention of operands in the order that models keep them: [batch, length, heads, depth]."""
    program, operands = scaled_and_masked(None if mask is None else mask.shape, "float32")
    (batch, rows, count, depth), keys = q.shape, k.shape[1]
    work = attention(
        (batch, count, rows, depth),
        (batch, count, depth, keys),
        (batch, count, keys, depth),
        ((0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3), (0, 2, 1, 3)),
        (program, NAN_TO_ZERO if guard else NOTHING),
        operands,
    )
    kernel = build_kernel(work, target)
    assert kernel is not None
    (result,) = run_workload(kernel, work, [q, k, v, *([] if mask is None else [mask])], target)
    return result


def drawn(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype("float32")


@pytest.mark.parametrize("target", LEVELS, ids=lambda target: target.name)
@pytest.mark.parametrize(
    ("rows", "keys", "count", "depth"), [(197, 197, 2, 64), (1, 77, 3, 80), (77, 1, 3, 32), (5, 2100, 1, 16)]
)
def test_agrees_with_torch(target, rows, keys, count, depth):
    """Lengths that no vector divides, one query, one key, long contexts; a causal mask is a mask like any other."""
    q, k, v = drawn(1, rows, count, depth), drawn(1, keys, count, depth), drawn(1, keys, count, depth)
    mask = np.where(np.tri(rows, keys, keys - rows) > 0, np.float32(0), np.float32("-inf")).astype("float32")
    mask[:, 0] = 0
    wide = (torch.from_numpy(np.array(each)).double().transpose(1, 2) for each in (q, k, v))
    wanted = torch.nn.functional.scaled_dot_product_attention(
        *wide, attn_mask=torch.from_numpy(mask).double(), scale=0.5
    )
    result = softmax_of(q, k, v, mask, target)
    np.testing.assert_allclose(result, wanted.transpose(1, 2).numpy(), rtol=1e-5, atol=3e-6)


@pytest.mark.parametrize("target", LEVELS, ids=lambda target: target.name)
def test_rows_that_may_see_no_key(target):
    """Their probabilities are 0 / 0: not a number, and zero where the model guards them."""
    q, k, v = drawn(1, 3, 1, 8), drawn(1, 21, 1, 8), drawn(1, 21, 1, 8)
    mask = np.zeros((3, 21), "float32")
    mask[1] = -np.inf
    plain, guarded = (softmax_of(q, k, v, mask, target, guard) for guard in (False, True))
    assert np.isnan(plain[0, 1]).all()
    assert (guarded[0, 1] == 0).all()
    assert np.isfinite(guarded).all()
    np.testing.assert_allclose(plain[0, ::2], guarded[0, ::2], rtol=1e-5)


@pytest.mark.parametrize("target", LEVELS, ids=lambda target: target.name)
def test_large_scores_do_not_overflow(target):
    q, k, v = drawn(1, 4, 1, 16) * 1000, drawn(1, 19, 1, 16) * 1000, drawn(1, 19, 1, 16)
    result = softmax_of(q, k, v, None, target)
    wide = (torch.from_numpy(np.array(each)).double().transpose(1, 2) for each in (q, k, v))
    wanted = torch.nn.functional.scaled_dot_product_attention(*wide, scale=0.5)
    np.testing.assert_allclose(result, wanted.transpose(1, 2).numpy(), rtol=1e-5, atol=1e-6)


def test_other_element_types_and_values_with_batches_of_their_own_are_left_to_others():
    shapes = ((3, 4, 5), (3, 5, 6), (3, 6, 5))
    natural = ((0, 1, 2),) * 4
    target = LEVELS[0]
    work = attention(*shapes, natural)
    assert choose_layouts(work, target) == work
    double = tuple(replace(each, dtype="float64") for each in work.inputs)
    assert choose_layouts(replace(work, inputs=double), target) is None
    broadcast = attention((1, 4, 5), (1, 5, 6), (3, 6, 5), natural)
    assert choose_layouts(replace(broadcast, outputs=(TensorType((3, 4, 5), "float32"),)), target) is None
