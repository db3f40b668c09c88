"""Rarer operators of com.microsoft: against onnxruntime where it runs them on CPUs, else against their definitions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from microsoft_nodes import Array, check, integers, normal
from onnx import helper
from onnx_models import check_model, import_model, model_of, tensor_input
from relax_runner import run_module

import tilewright
from tilewright.errors import UserError
from tilewright.runtime import load


def results(op_type: str, operands: dict[str, Array], wanted: list[Array], **attributes: Any) -> list[Array]:
    """Return what a node of com.microsoft computes, whose results are of given types and shapes."""
    names = [f"y{at}" for at in range(len(wanted))]
    node = helper.make_node(op_type, list(operands), names, domain="com.microsoft", **attributes)
    outputs = [tensor_input(name, each) for name, each in zip(names, wanted, strict=True)]
    graph = helper.make_graph([node], "test", [tensor_input(*each) for each in operands.items()], outputs)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    imported = import_model(helper.make_model(graph, opset_imports=opsets, ir_version=10))
    return run_module(imported.module, list(operands.values()))


def check_definition(op_type: str, operands: dict[str, Array], *wanted: Array, **attributes: Any) -> None:
    """Assert that a node computes what its definition says, for what onnxruntime computes on GPUs only."""
    for result, expected in zip(results(op_type, operands, list(wanted), **attributes), wanted, strict=True):
        assert (result.shape, result.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


def test_shapes() -> None:
    check("ExpandDims", {"x": normal(2, 3)}, {"axis": np.array(1, np.int32)})
    check("Trilu", {"x": normal(2, 4, 3)}, {"k": np.array(-1)}, upper=0)
    check("Pad", {"x": normal(2, 3)}, {"p": np.array([1, 0, 2, 3]), "v": np.float32(7)}, mode="constant")
    check("Pad", {"x": normal(4, 5)}, {"p": np.array([1, 2, 2, 1])}, mode="reflect")
    check("GatherND", {"x": normal(2, 3, 4), "i": np.array([[0, 2], [1, -1]])})
    check("UnfoldTensor", {"x": normal(2, 7, 3)}, dim=1, size=3, step=2)


@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_ranges(dtype: str) -> None:
    inputs = {"x": normal(9).astype(dtype)}
    bounds = {"from": np.array(2, dtype), "to": np.array(11, dtype)}
    nodes = [helper.make_node("Neg", ["x"], ["h"]), helper.make_node("Add", ["h", "from"], ["y"])]
    model = model_of(nodes, inputs, bounds)
    model.graph.node.insert(0, helper.make_node("Range", list(bounds), ["r"], domain="com.microsoft"))
    model.graph.node[2].input[1] = "r"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    check_model(model, inputs)


def test_unique_elements_in_order(tmp_path: Path) -> None:
    x = np.array([2, 1, 1, 3, 4, 3], np.float32)
    names = ["y", "at", "count"]
    model = model_of([helper.make_node("Unique", ["x"], names)], {"x": x}, outputs=names)
    model.graph.node[0].domain = "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    tilewright.compile(tmp_path / "model.onnx").save(tmp_path / "model.so")
    found = load(tmp_path / "model.so")(x)
    for result, wanted in zip(found, ([2, 1, 3, 4], [0, 1, 1, 2, 3, 2], [1, 2, 2, 1]), strict=True):
        np.testing.assert_array_equal(result, wanted)


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 7), st.integers(1, 3), st.sampled_from(["float32", "float64"]))
def test_inverses(size: int, batch: int, dtype: str) -> None:
    x = (normal(batch, size, size) + np.eye(size, dtype=np.float32) * size).astype(dtype)
    (result,) = results("Inverse", {"x": x}, [x])
    np.testing.assert_allclose(result, np.linalg.inv(x), rtol=1e-4, atol=1e-5)


def test_inverses_of_matrices_with_zeros_on_the_diagonal() -> None:
    check("Inverse", {"x": np.array([[0, 2, 0], [1, 0, 0], [0, 3, 4]], np.float32)})


def test_only_square_matrices_have_inverses() -> None:
    with pytest.raises(UserError, match=r"holds no square matrices"):
        results("Inverse", {"x": normal(2, 3)}, [normal(2, 3)])


@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean"])
def test_distances(metric: str) -> None:
    check("CDist", {"a": normal(5, 3), "b": normal(4, 3)}, metric=metric, atol=1e-5)


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("size", [(3, 4), (1, 5)])
def test_crops(mode: str, size: tuple[int, int]) -> None:
    boxes = np.array([[0.1, 0.2, 0.9, 0.7], [0.0, 0.0, 1.0, 1.0], [-0.3, 0.4, 1.2, 1.5]], np.float32)
    inputs = {"x": normal(2, 3, 6, 7), "boxes": boxes, "of": np.array([1, 0, 1], np.int32)}
    check("CropAndResize", inputs, {"size": np.array(size, np.int32)}, mode=mode, extrapolation_value=0.5, atol=1e-5)


def test_grid_sample() -> None:
    grid = np.clip(normal(1, 3, 4, 2), -1.2, 1.2)
    check("GridSample", {"x": normal(1, 2, 5, 6), "g": grid}, align_corners=1, mode="bilinear", atol=1e-5)


def test_channels_last() -> None:
    check(
        "NhwcMaxPool", {"x": integers("uint8", 1, 7, 6, 3)}, outputs={"y": "uint8"}, kernel_shape=[2, 3], pads=[1] * 4
    )
    x, weight, bias, other = normal(1, 6, 5, 3), normal(4, 3, 3, 3), normal(4), normal(1, 6, 5, 4)
    planar = torch.nn.functional.conv2d(
        *(torch.from_numpy(each) for each in (x.transpose(0, 3, 1, 2), weight, bias)), padding=1
    )
    wanted = np.maximum(planar.numpy().transpose(0, 2, 3, 1) + other, 0)
    operands = {"x": x, "w": weight, "b": bias, "z": other}
    check_definition("NhwcFusedConv", operands, wanted, activation="Relu", pads=[1] * 4)


def test_fused_products() -> None:
    a, b = normal(2, 5, 3), normal(2, 5, 4)
    wanted = np.maximum(0.5 * a.swapaxes(1, 2) @ b, 0)
    check_definition("FusedMatMulActivation", {"a": a, "b": b}, wanted, transA=1, alpha=0.5, activation="Relu")
    x, weight, bias = normal(3, 5), normal(5, 4), normal(4)
    gelu = torch.nn.functional.gelu(torch.from_numpy(x @ weight + bias), approximate="tanh").numpy()
    check_definition("GemmFastGelu", {"x": x, "w": weight, "b": bias}, gelu)
    data, skip = normal(2, 3, 4), normal(2, 3, 4) * 2
    check_definition("BiasAdd", {"x": data, "b": bias, "s": skip}, data + bias + skip)


def test_integers_of_16_bits() -> None:
    a, b = (np.random.default_rng(at).integers(-300, 300, shape).astype(np.int16) for at, shape in
            enumerate([(2, 4, 5), (5, 3)]))  # fmt: skip
    check("MatMulInteger16", {"a": a, "b": b}, outputs={"y": "int32"})


@pytest.mark.parametrize("axis", [1, 3])
def test_bias_softmax(axis: int) -> None:
    data, bias = normal(2, 3, 4, 5), normal(2, 1, 1, 5)
    flat = torch.from_numpy((data + bias).reshape(*data.shape[:axis], -1))
    wanted = torch.softmax(flat, -1).numpy().reshape(data.shape)
    check_definition("BiasSoftmax", {"x": data, "b": bias}, wanted, axis=axis, is_inner_broadcast=1)


@pytest.mark.parametrize("last", [0, 1])
@pytest.mark.parametrize("silu", [0, 1])
def test_group_norms(last: int, silu: int) -> None:
    x, skip, gamma, beta, bias = normal(2, 6, 4, 5), normal(2, 6), normal(6), normal(6) / 2, normal(6) * 2
    total = x + (skip + bias)[:, :, None, None]
    turn = (0, 2, 3, 1) if last else (0, 1, 2, 3)
    attributes = {"groups": 3, "activation": silu, "channels_last": last, "epsilon": 1e-5}

    def wanted(data: Array) -> Array:
        made = torch.nn.functional.group_norm(
            torch.from_numpy(data), 3, torch.from_numpy(gamma), torch.from_numpy(beta)
        )
        return np.ascontiguousarray((torch.nn.functional.silu(made) if silu else made).numpy().transpose(turn))

    given_x = np.ascontiguousarray(x.transpose(turn))
    scales = {"g": gamma, "b": beta}
    check_definition("GroupNorm", {"x": given_x, **scales}, wanted(x), **attributes)
    operands = {"x": given_x, **scales, "s": skip, "bias": bias}
    sums = np.ascontiguousarray(total.transpose(turn))
    check_definition("SkipGroupNorm", operands, wanted(total), sums, **attributes)


def test_quantized_choices_and_means() -> None:
    scales = {"as": np.float32(0.25), "bs": np.float32(0.5), "ys": np.float32(0.75)}
    zeros = {"az": np.uint8(3), "bz": np.uint8(100), "yz": np.uint8(50)}
    inputs = {"c": normal(4, 1) > 0, "a": integers("uint8", 4, 5), "b": integers("uint8", 5)}
    check("QLinearWhere", inputs, {**scales, **zeros}, "c a as az b bs bz ys yz", {"y": "uint8"}, atol=1)
    x = integers("int8", 3, 4, 5)
    mean = ((x.astype(np.float64) - 3) * 0.5).mean((0, 2), keepdims=True) / 0.25 + 7
    operands = {"x": x, "xs": np.array(0.5, np.float32), "xz": np.array(3, np.int8),
                "ys": np.array(0.25, np.float32), "yz": np.array(7, np.int8)}  # fmt: skip
    wanted = np.clip(np.rint(mean), -128, 127).astype(np.int8)
    check_definition("QLinearReduceMean", operands, wanted, axes=[0, 2], keepdims=1)


@pytest.mark.parametrize("kind", ["plain", "lengths", "columns", "past"])
def test_quantized_attention(kind: str) -> None:
    columns = kind == "columns"
    inputs: dict[str, Array] = {"x": integers("uint8", 2, 5, 12)}
    constants: dict[str, Array] = {
        "w": integers("int8", 12, 36), "b": normal(36), "s": np.float32(0.01), "z": np.uint8(120),
        "ws": np.abs(normal(36)) / 50 + 0.001 if columns else np.float32(0.01),
        "wz": np.zeros(36, np.int8) if columns else np.int8(2),
    }  # fmt: skip
    order, outputs = "x w b s ws - z wz", {"y": "float32"}
    if kind == "lengths":
        inputs["m"], order = np.array([3, 5], np.int32), "x w b s ws m z wz"
    if kind == "past":
        inputs["past"], order = normal(2, 2, 3, 4, 4), order + " past"
        outputs = {"y": "float32", "present": "float32"}
    check("QAttention", inputs, constants, order, outputs, 1e-5, num_heads=3, unidirectional=int(kind == "past"))


def test_quantized_embeddings() -> None:
    rng = np.random.default_rng(0)
    inputs = {"ids": rng.integers(0, 30, (2, 5)).astype(np.int32), "kinds": rng.integers(0, 2, (2, 5)).astype(np.int32),
              "mask": np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32)}  # fmt: skip
    tables = {"words": integers("uint8", 30, 8), "places": integers("uint8", 16, 8), "sorts": integers("uint8", 2, 8),
              "g": integers("uint8", 8), "b": integers("uint8", 9)[:8]}  # fmt: skip
    scales = {f"{name}_s": np.float32(0.01 + at / 100) for at, name in enumerate(tables)}
    zeros = {f"{name}_z": np.uint8(100 + at) for at, name in enumerate(tables)}
    order = " ".join(["ids kinds", *tables, "mask", *scales, *zeros])
    outputs = {"y": "float32", "lengths": "int32"}
    check("QEmbedLayerNormalization", inputs, {**tables, **scales, **zeros}, order, outputs, 1e-5)


@pytest.mark.parametrize("kind", [0, 1])
def test_weights_of_normal_floats(kind: int) -> None:
    constants = {"w": integers("uint8", 5 * 64 // 2), "s": np.abs(normal(5 * 64 // 16))}
    check("MatMulBnb4", {"x": normal(3, 64)}, constants, K=64, N=5, block_size=16, quant_type=kind, atol=1e-4)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("zeros", [False, True])
def test_tables_of_few_bits(bits: int, zeros: bool) -> None:
    constants: dict[str, Array] = {"w": integers("uint8", 6, 32 * bits // 8), "s": np.abs(normal(6, 2))}
    if zeros:
        constants["z"] = integers("uint8", 6, 2 * bits // 8)
    order = "w i s z" if zeros else "w i s"
    attributes = {"bits": bits, "block_size": 16, "gather_axis": 0, "quantize_axis": 1}
    check("GatherBlockQuantized", {"i": np.array([[5, 0], [2, 2]])}, constants, order, **attributes)


def test_transposed_products_and_split_gates() -> None:
    a, b = normal(2, 3, 5), normal(2, 4, 5)
    check("TransposeMatMul", {"a": a, "b": b}, transB=1, alpha=2.0)
    x, bias = normal(2, 3, 8), normal(8)
    left, right = np.split(x + bias, 2, axis=-1)
    wanted = left * torch.nn.functional.gelu(torch.from_numpy(right)).numpy()
    check_definition("BiasSplitGelu", {"x": x, "b": bias}, wanted)


def test_convolution_with_channels_last() -> None:
    x, weight, bias = normal(1, 6, 5, 3), normal(4, 3, 3, 3), normal(4)
    planar = (each.transpose(0, 3, 1, 2) for each in (x, weight))
    made = torch.nn.functional.conv2d(*map(torch.from_numpy, (*map(np.ascontiguousarray, planar), bias)), stride=2)
    wanted = np.ascontiguousarray(made.numpy().transpose(0, 2, 3, 1))
    check_definition("NhwcConv", {"x": x, "w": weight, "b": bias}, wanted, strides=[2, 2])
