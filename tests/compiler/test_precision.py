"""Precisions: whole models in bfloat16 against onnxruntime, the size of their libraries, targets that lack it."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from relax_modules import build_module
from tvm import relax

import tilewright
from tilewright import runtime
from tilewright.compiler.precision import effective_precision, kept_in_fp32, refuse_merged
from tilewright.errors import UserError
from tilewright.targets.database import load_target


def model(path: Path) -> Path:
    """Write a small network: a stem, a residual block, a pooling, a dense layer of two thirds of the weights."""
    generator = np.random.default_rng(0)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        scale = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.1
        return numpy_helper.from_array((generator.standard_normal(shape) * scale).astype(np.float32), name)

    weights = [
        weight("w0", 32, 3, 3, 3), weight("b0", 32), weight("w1", 32, 32, 3, 3), weight("b1", 32),
        weight("w2", 64, 32, 1, 1), weight("w3", 1024, 64), weight("b3", 1024),
    ]  # fmt: skip
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w0", "b0"], ["c0"], pads=[1] * 4), node("Relu", ["c0"], ["y0"]),
        node("Conv", ["y0", "w1", "b1"], ["c1"], pads=[1] * 4), node("Add", ["c1", "y0"], ["s1"]),
        node("Relu", ["s1"], ["y1"]), node("Conv", ["y1", "w2"], ["c2"]),
        node("GlobalAveragePool", ["c2"], ["p"]), node("Flatten", ["p"], ["f"]),
        node("Gemm", ["f", "w3", "b3"], ["y"], transB=1),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 17, 17))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 1024))], weights,
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def lacking(precision: str) -> bool:
    return effective_precision(precision, load_target("host")) != precision


@pytest.mark.parametrize(
    ("precision", "most"),
    [
        pytest.param("bf16", 1e-2, marks=pytest.mark.skipif(lacking("bf16"), reason="no bfloat16 on this machine")),
        pytest.param("fp16", 1e-3, marks=pytest.mark.skipif(lacking("fp16"), reason="no float16 on this machine")),
    ],
)
def test_a_model_in_16_bits_is_near_and_half_as_large(tmp_path: Path, precision: str, most: float) -> None:
    path = model(tmp_path / "m.onnx")
    x = np.random.default_rng(1).standard_normal((1, 3, 17, 17)).astype(np.float32)
    (exact,) = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})
    low, full = (tilewright.compile(path, precision=each, jobs=1) for each in (precision, "fp32"))
    assert low.report.weight_bytes < 0.55 * full.report.weight_bytes
    for threads in (1, 2):
        with runtime.load(low.save(tmp_path / f"m{threads}.so"), threads=threads) as loaded:
            result = loaded(x, out={"y": np.full((1, 1024), np.nan, np.float32)})["y"]
        assert result.dtype == np.float32
        assert np.linalg.norm(result - exact) < most * np.linalg.norm(exact)


@pytest.mark.skipif(lacking("fp16"), reason="no float16 on this machine")
def test_nodes_by_name_stay_in_fp32(tmp_path: Path) -> None:
    path = model(tmp_path / "m.onnx")
    made = onnx.load(path)
    for node in made.graph.node:
        node.name = f"{node.op_type}_{node.output[0]}"
    onnx.save(made, path)
    x = np.random.default_rng(1).standard_normal((1, 3, 17, 17)).astype(np.float32)
    (exact,) = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})
    sizes, errors = [], []
    for kept in ((), ("Conv_c1",), ("Conv_c1", "Conv_c2", "Gemm_y")):
        library = tilewright.compile(path, precision="fp16", keep_fp32=kept, jobs=1)
        sizes.append(library.report.weight_bytes)
        with runtime.load(library.save(tmp_path / f"m{len(kept)}.so")) as loaded:
            errors.append(np.linalg.norm(loaded(x)["y"] - exact) / np.linalg.norm(exact))
    assert sizes[0] < sizes[1] < sizes[2]
    assert errors[2] < errors[0]
    assert errors[2] > 1e-6, "the tensors between them are rounded"


def test_a_node_to_keep_must_be_in_the_model(tmp_path: Path) -> None:
    path = model(tmp_path / "m.onnx")
    with pytest.raises(UserError, match="the model has no node 'Conv_7' to keep in fp32"):
        tilewright.compile(path, precision="fp16", keep_fp32=["Conv_7"])


def test_a_node_to_keep_must_be_left_after_simplifying() -> None:
    kept = kept_in_fp32(["Conv 'a'", "b"], {"v": "Conv 'a'", "w": "Relu 'b'", "u": "Relu 'b'"})
    assert kept == {"Conv 'a'": {"v"}, "b": {"w", "u"}}
    module = build_module(lambda emit, x: emit(relax.op.nn.relu(x)), (2, 2))
    with pytest.raises(UserError, match="the node 'b' to keep in fp32 became a part of its neighbours"):
        refuse_merged(module, {"b": frozenset({"w"})})


def in_half(path: Path) -> Path:
    """Write a model with its inputs, outputs and weights in float16."""
    made = onnx.load(path)
    for at, each in enumerate(made.graph.initializer):
        half = numpy_helper.to_array(each).astype(np.float16)
        made.graph.initializer[at].CopyFrom(numpy_helper.from_array(half, each.name))
    for each in (*made.graph.input, *made.graph.output):
        each.type.tensor_type.elem_type = TensorProto.FLOAT16
    onnx.save(made, path.with_suffix(".half.onnx"))
    return path.with_suffix(".half.onnx")


@pytest.mark.parametrize("target", ["host", "x86-64"])
def test_a_float16_model_runs_as_it_is(tmp_path: Path, target: str) -> None:
    path = model(tmp_path / "m.onnx")
    x = np.random.default_rng(1).standard_normal((1, 3, 17, 17)).astype(np.float16)
    (exact,) = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x.astype("f4")})
    made = tilewright.compile(in_half(path), jobs=1, target=target)
    with runtime.load(made.save(tmp_path / "m.so")) as loaded:
        result = loaded(x, out={"y": np.full((1, 1024), np.nan, np.float16)})["y"]
    assert result.dtype == np.float16
    assert np.linalg.norm(result.astype(np.float64) - exact) < 2e-3 * np.linalg.norm(exact)


def test_a_target_without_it_computes_in_fp32_or_refuses() -> None:
    target = load_target("x86-64-v3")
    assert effective_precision("bf16", target) == "fp32"
    assert effective_precision("fp32", target, strict=True) == "fp32"
    with pytest.raises(UserError) as caught:
        effective_precision("bf16", target, strict=True)
    assert str(caught.value) == (
        "target 'x86-64-v3' has no bf16: it lacks the CPU feature avx512_bf16; "
        "name another target or leave out --strict"
    )


@pytest.mark.parametrize(
    ("name", "computed"),
    [("x86-64-v3", "fp16"), ("x86-64-v2", "fp32"), ("armv8-a", "fp16"), ("armv7-a", "fp32"), ("cortex-a7", "fp16")],
)
def test_float16_needs_conversions(name: str, computed: str) -> None:
    assert effective_precision("fp16", load_target(name)) == computed
