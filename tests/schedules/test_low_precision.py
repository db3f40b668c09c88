"""Kernels over 16-bit floats against float64: within the rounding of the result and of float32 sums, NaN kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_runner import Array, assembly, call, pack
from tvm import relax

from tilewright.compiler.scheduling import legalize
from tilewright.layout import Layout
from tilewright.schedules.cpu.winograd import winograd_layouts
from tilewright.schedules.generic.fallback import schedule_generic
from tilewright.schedules.low_precision import BF16_FEATURE
from tilewright.schedules.template import build_kernel, choose_layouts
from tilewright.schedules.widening import widened
from tilewright.targets.database import load_target
from tilewright.targets.target import Target
from tilewright.winograd import WinogradLayout
from tilewright.workload import PointwiseProgram, PointwiseStep, TensorType, Workload, attributes

RULES = settings(max_examples=12, deadline=None, derandomize=True)
BF16 = ml_dtypes.bfloat16
HOST = load_target("host")
#: This machine as it is, and without the instructions for bfloat16.
TARGETS = (HOST, replace(HOST, features=HOST.features - {BF16_FEATURE}))
KINDS = {"bfloat16": BF16, "float16": np.float16, "float32": np.float32}


def array(generator: np.random.Generator, tensor: TensorType) -> Array:
    """Return normal random numbers of an operand's element type."""
    return generator.standard_normal(tensor.shape).astype(KINDS[tensor.dtype])


def bits(values: Array) -> Array:
    return values.view(np.uint16) if values.dtype == BF16 else values


def run(work: Workload, inputs: list[Array], target: Target, accuracy: str = "exact") -> Array:
    """Run the kernel of a workload in the layouts it wants; return the logical result in float64."""
    work = choose_layouts(work, target, accuracy) or work
    kernel = build_kernel(work, target)
    assert kernel is not None
    stored = [bits(pack(tensor, each)) for tensor, each in zip(work.inputs, inputs, strict=True)]
    output = work.output
    memory = "uint16" if output.dtype == "bfloat16" else output.dtype
    (result,) = call(kernel, stored, [(output.stored_shape, memory)], target)
    result = result.view(BF16) if output.dtype == "bfloat16" else result
    return (output.layout.unpack(result, output.shape) if output.layout else result).astype(np.float64)


def rounds(operands: int, *steps: PointwiseStep, dtype: str) -> PointwiseProgram:
    """Return a program that ends with the conversion to a type."""
    last = operands + len(steps) - 1
    end = PointwiseStep("astype", (last,), dtype, (("dtype", dtype),))
    return PointwiseProgram(operands, (*steps, *([end] if dtype != "float32" else [])))


def assert_near(result: Array, exact: Array, magnitude: Array, dtype: str, depth: int) -> None:
    """Assert that a result is the exact one but for float32 sums of so many terms and one rounding to its type."""
    unit = {"bfloat16": 2.0**-8, "float16": 2.0**-11, "float32": 2.0**-24}[dtype]
    allowed = unit * np.abs(exact) + (depth + 8) * 2.0**-23 * (magnitude + 1) + 1e-6
    assert np.isfinite(result).all()
    assert (np.abs(result - exact) <= allowed).all(), np.abs(result - exact).max()


@st.composite
def products(draw: Any) -> Workload:
    rows, depth, columns = draw(st.integers(1, 30)), draw(st.integers(1, 70)), draw(st.integers(1, 70))
    low = draw(st.sampled_from(["bfloat16", "float16"]))
    a_axes, b_axes = draw(st.sampled_from([(0, 1), (0, 1), (1, 0)])), draw(st.sampled_from([(0, 1), (1, 0)]))
    a, b = (rows, depth)[:: 1 if a_axes == (0, 1) else -1], (depth, columns)[:: 1 if b_axes == (0, 1) else -1]
    output = draw(st.sampled_from([low, "float32"]))
    program = rounds(
        2, PointwiseStep("add", (0, 1), "float32"), PointwiseStep("nn.relu", (2,), "float32"), dtype=output
    )
    attrs = {"a_axes": a_axes, "b_axes": b_axes, "out_axes": (0, 1), "constant_weight": draw(st.booleans())}
    inputs = (TensorType(a, low), TensorType(b, low), TensorType((columns,), "float32"))
    return Workload("matmul", inputs, (TensorType((rows, columns), output),), attributes(attrs), 2, program)


@RULES
@given(work=products(), target=st.sampled_from(TARGETS))
def test_products(work: Workload, target: Target) -> None:
    generator = np.random.default_rng(0)
    inputs = [array(generator, each) for each in work.inputs]
    a, b, bias = (each.astype(np.float64) for each in inputs)
    a, b = a.transpose(work.attr("a_axes")), b.transpose(work.attr("b_axes"))
    exact = np.maximum(a @ b + bias, 0)
    assert_near(run(work, inputs, target), exact, np.abs(a) @ np.abs(b), work.output.dtype, a.shape[1])


@st.composite
def convolutions(draw: Any) -> Workload:
    groups = draw(st.sampled_from([1, 1, 2, 48]))
    in_channels, out_channels = draw(st.sampled_from([(3, 20), (33, 16), (48, 37), (16, 64), (70, 5)]))
    if groups > 1:
        in_channels, out_channels = (48, 48) if groups == 48 else (64, 96)
    kernel, stride, padding = draw(st.sampled_from([(1, 1, 0), (1, 2, 0), (3, 1, 1), (3, 2, 1), (5, 1, 3)]))
    height, width = draw(st.integers(6, 15)), draw(st.integers(6, 15))
    low = draw(st.sampled_from(["bfloat16", "float16"]))
    out = tuple((size + 2 * padding - kernel) // stride + 1 for size in (height, width))
    output = TensorType((1, out_channels, *out), draw(st.sampled_from([low, "float32"])))
    steps = (PointwiseStep("add", (0, 1), "float32"), PointwiseStep("astype", (2,), "float32", (("dtype", "float32"),)))
    program = rounds(3, *steps, PointwiseStep("add", (3, 4), "float32"), dtype=output.dtype)
    inputs = (
        TensorType((1, in_channels, height, width), low),
        TensorType((out_channels, in_channels // groups, kernel, kernel), low),
        TensorType((1, out_channels, 1, 1), "float32"),
        replace(output, dtype=low),
    )
    attrs = {"strides": (stride,) * 2, "padding": (padding,) * 4, "dilation": (1, 1), "groups": groups}
    return Workload("conv2d", inputs, (output,), attributes(attrs | {"constant_weight": True}), 2, program)


@RULES
@given(work=convolutions(), target=st.sampled_from(TARGETS))
def test_convolutions_with_bias_and_residual(work: Workload, target: Target) -> None:
    generator = np.random.default_rng(1)
    inputs = [array(generator, each) for each in work.inputs]
    x, w, bias, residual = (torch.from_numpy(each.astype(np.float64)) for each in inputs)
    options = {"stride": work.attr("strides"), "padding": work.attr("padding")[0], "groups": work.attr("groups")}
    exact = (torch.nn.functional.conv2d(x, w, **options) + bias + residual).numpy()
    magnitude = torch.nn.functional.conv2d(x.abs(), w.abs(), **options).numpy()
    assert_near(run(work, inputs, target), exact, magnitude, work.output.dtype, w[0].numel())


@RULES
@given(
    in_channels=st.sampled_from([16, 33, 64]),
    out_channels=st.sampled_from([16, 37, 64]),
    height=st.integers(1, 19),
    width=st.integers(1, 19),
    padding=st.sampled_from([1, 2]),
    images=st.integers(1, 2),
    kind=st.sampled_from([("bfloat16", 2, 6e-3), ("float16", 2, 8e-4), ("float16", 4, 1.6e-3)]),
)
@pytest.mark.skipif(BF16_FEATURE not in HOST.features, reason="this machine has no bfloat16 products")
def test_winograd_loses_little_more_than_the_rounding_of_two_operands(
    in_channels: int, out_channels: int, height: int, width: int, padding: int, images: int, kind: Any
) -> None:
    dtype, tile, most = kind
    out = (images, out_channels, height + 2 * padding - 2, width + 2 * padding - 2)
    inputs = (
        TensorType((images, in_channels, height, width), dtype),
        TensorType((out_channels, in_channels, 3, 3), dtype),
    )
    attrs = {"strides": (1, 1), "padding": (padding,) * 4, "dilation": (1, 1), "groups": 1, "constant_weight": True}
    work = Workload("conv2d", inputs, (TensorType(out, "float32"),), attributes(attrs), 2)
    chosen = winograd_layouts(widened(work), HOST, tile)
    low = work.with_layouts(tuple(each.layout for each in chosen.inputs), (chosen.output.layout,))
    kernel = build_kernel(low, HOST)
    assert kernel is not None
    assert kernel.attrs["tilewright.template"] == "winograd_conv2d"
    x, w = (array(np.random.default_rng(seed), each) for seed, each in enumerate(work.inputs))
    stored = [bits(pack(tensor, each)) for tensor, each in zip(low.inputs, (x, w), strict=True)]
    (result,) = call(kernel, stored, [(low.output.stored_shape, "float32")], HOST)
    assert low.output.layout
    exact = torch.nn.functional.conv2d(*(torch.from_numpy(each.astype(np.float64)) for each in (x, w)), padding=padding)
    error = low.output.layout.unpack(result, out) - exact.numpy()
    # The transformed weights are rounded, and the transformed data where pairs are multiplied.
    assert np.linalg.norm(error) <= most * np.linalg.norm(exact.numpy())


@pytest.mark.skipif(BF16_FEATURE not in HOST.features, reason="this machine has no bfloat16 products")
def test_winograd_is_not_exact() -> None:
    inputs = (TensorType((1, 64, 28, 28), "bfloat16"), TensorType((64, 64, 3, 3), "bfloat16"))
    attrs = {"strides": (1, 1), "padding": (1,) * 4, "dilation": (1, 1), "groups": 1, "constant_weight": True}
    work = Workload("conv2d", inputs, (replace(inputs[0], dtype="bfloat16"),), attributes(attrs), 2)
    layouts = [choose_layouts(work, HOST, accuracy) for accuracy in ("exact", "default")]
    assert [isinstance(each.inputs[1].layout, WinogradLayout) for each in layouts if each] == [False, True]


@RULES
@given(
    low=st.sampled_from(["bfloat16", "float16"]),
    rows=st.sampled_from([1, 12, 33]),
    keys=st.sampled_from([1, 16, 77, 128]),
    depth=st.sampled_from([16, 20, 21, 64]),
    columns=st.sampled_from([16, 21, 64]),
    chunk=st.sampled_from([0, 64]),
    target=st.sampled_from(TARGETS),
    batch_inside=st.booleans(),
)
def test_attention(
    low: str, rows: int, keys: int, depth: int, columns: int, chunk: int, target: Target, batch_inside: bool
) -> None:
    """Operands as models keep them, heads inside or outside of the length; the weights are rounded once."""
    order = (0, 2, 1, 3) if batch_inside else (0, 1, 2, 3)
    turned = (0, 2, 3, 1) if batch_inside else (0, 1, 3, 2)

    def operand(length: int, size: int) -> TensorType:
        return TensorType((1, length, 2, size) if batch_inside else (1, 2, length, size), low)

    nothing = PointwiseProgram(1, ())
    attrs = {"q_axes": order, "k_axes": turned, "v_axes": order, "out_axes": order}
    inputs = (operand(rows, depth), operand(keys, depth), operand(keys, columns))
    output = replace(operand(rows, columns), dtype="float32")
    work = Workload("attention", inputs, (output,), attributes(attrs), 3, None, (nothing, nothing))
    q, k, v = (array(np.random.default_rng(seed), each) for seed, each in enumerate(inputs))
    kernel = build_kernel(work, target, {"chunk": chunk})
    assert kernel is not None
    (result,) = call(kernel, [bits(each) for each in (q, k, v)], [(output.shape, "float32")], target)
    wide = [each.astype(np.float64).transpose(order) for each in (q, k, v)]
    scores = wide[0] @ wide[1].swapaxes(-1, -2)
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    weights = powers / powers.sum(-1, keepdims=True)
    exact, magnitude = (weights @ each for each in (wide[2], np.abs(wide[2])))
    allowed = (2.0**-8 if low == "bfloat16" else 1e-5) * magnitude + 1e-5
    assert (np.abs(result.transpose(order) - exact) <= allowed).all()


@pytest.mark.parametrize("low", ["bfloat16", "float16"])
@pytest.mark.parametrize("target", TARGETS, ids=["host", "portable"])
def test_rounding_is_to_even_and_keeps_nan_and_infinity(low: str, target: Target) -> None:
    program = rounds(1, dtype=low)
    work = Workload("pointwise", (TensorType((999,), "float32"),), (TensorType((999,), low),), (), 0, program)
    values = np.random.default_rng(2).standard_normal(999).astype(np.float32) * 1e3
    halfway = np.float32(1) + np.float32(2.0 ** -(9 if low == "bfloat16" else 12)) * np.arange(8, dtype=np.float32)
    values[:14] = [np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, *halfway]
    values[14:16] = np.array([0x7F800001, 0xFFFFFFFF], np.uint32).view(np.float32)  # NaN that cut off would be infinity
    result = run(work, [values], target)
    np.testing.assert_array_equal(result, values.astype(KINDS[low]).astype(np.float64))
    assert np.signbit(result[5])


@pytest.mark.parametrize("low", ["bfloat16", "float16"])
def test_layer_norm_softmax_and_pooling_compute_in_float32(low: str) -> None:
    generator = np.random.default_rng(3)
    end = rounds(1, dtype=low)
    x = TensorType((5, 70), low)
    gamma = TensorType((70,), "float32")
    norm = Workload("layer_norm", (x, gamma, gamma), (x,), attributes({"axes": (1,), "epsilon": 1e-5}), 3, end)
    data, scale, shift = inputs = [array(generator, each) for each in norm.inputs]
    wide = data.astype(np.float64)
    exact = (wide - wide.mean(1, keepdims=True)) / np.sqrt(wide.var(1, keepdims=True) + 1e-5) * scale + shift
    assert_near(run(norm, inputs, HOST), exact, np.abs(exact), low, 70)
    softmax = Workload("softmax", (x,), (x,), attributes({"axis": 1}), 1, end)
    powers = np.exp(wide - wide.max(1, keepdims=True))
    assert_near(run(softmax, [data], HOST), powers / powers.sum(1, keepdims=True), np.ones((5, 70)), low, 70)
    image = TensorType((1, 24, 9, 9), low)
    attrs = {"kind": "max", "window": (3, 3), "strides": (1, 1), "padding": (1,) * 4, "dilation": (1, 1)}
    pool = Workload("pool2d", (image,), (image,), attributes(attrs | {"count_include_pad": False}), 1, end)
    pixels = array(generator, image)
    largest = torch.nn.functional.max_pool2d(torch.from_numpy(pixels.astype(np.float64)), 3, 1, 1).numpy()
    np.testing.assert_array_equal(run(pool, [pixels], HOST), largest)


@pytest.mark.parametrize("low", ["bfloat16", "float16"])
def test_a_kernel_without_a_template_keeps_nan(low: str) -> None:
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((64,), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            output = builder.emit_output(builder.emit(relax.op.astype(builder.emit(relax.op.exp(x)), low)))
        builder.emit_func_output(output)
    plain, _ = legalize(builder.finalize()["main"])
    values = np.linspace(-3, 3, 64, dtype=np.float32)
    values[:6] = np.array([0x7F800001, 0xFFFFFFFF, 0x7FFFFFFF, 0xFF800000, 0x7F800000, 0], np.uint32).view(np.float32)
    memory = "uint16" if low == "bfloat16" else low
    (result,) = call(schedule_generic(plain, HOST), [values], [((64,), memory)], HOST)
    expected = np.exp(values.astype(np.float64)).astype(KINDS[low]).astype(np.float64)
    unit = 2.0**-7 if low == "bfloat16" else 2.0**-10
    np.testing.assert_allclose(result.view(KINDS[low]).astype(np.float64), expected, rtol=unit)


def test_what_only_moves_keeps_every_bit() -> None:
    source = TensorType((1, 20, 3, 5), "bfloat16")
    work = Workload("layout_transform", (source,), (replace(source, layout=Layout("NCHW", "NCHW16c")),), (), 1)
    every = np.arange(300, dtype=np.uint16).reshape(source.shape) * np.uint16(217)
    kernel = build_kernel(work, HOST)
    (result,) = call(kernel, [every], [(work.output.stored_shape, "uint16")], HOST)
    assert work.output.layout
    np.testing.assert_array_equal(work.output.layout.unpack(result, source.shape), every)


def test_integers_are_converted_before_they_count_as_low() -> None:
    steps = (PointwiseStep("astype", (0,), "bfloat16", (("dtype", "bfloat16"),)),)
    program = PointwiseProgram(1, steps)
    work = Workload("pointwise", (TensorType((4,), "int32"),), (TensorType((4,), "bfloat16"),), (), 0, program)
    assert widened(work).epilogue == PointwiseProgram(1, (replace(steps[0], dtype="float32"),))
    result = run(work, [np.array([1, -2, 3, 300], np.int32)], HOST)
    np.testing.assert_array_equal(result, [1, -2, 3, 300])


@pytest.mark.skipif(BF16_FEATURE not in HOST.features, reason="this machine has no bfloat16 products")
def test_products_use_the_instruction_and_spill_nothing() -> None:
    low = [TensorType((64, 256), "bfloat16"), TensorType((256, 64), "bfloat16")]
    attrs = attributes({"a_axes": (0, 1), "b_axes": (0, 1), "out_axes": (0, 1), "constant_weight": True})
    work = Workload("matmul", tuple(low), (TensorType((64, 64), "bfloat16"),), attrs, 2, rounds(1, dtype="bfloat16"))
    chosen = choose_layouts(work, HOST)
    assert chosen
    text = assembly(build_kernel(chosen, HOST), HOST)
    assert text.count("vdpbf16ps") >= 24
    assert "vcvtneps2bf16" in text
    assert "bf16_dot_x16(" not in text
