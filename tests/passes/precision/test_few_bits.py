"""Which weights stay in few bits, and that compiled models compute with them what onnxruntime does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from relax_runner import run_module

import tilewright
from tilewright.compiler.frontends import ModelSource, import_model
from tilewright.passes.precision import assign_precision
from tilewright.passes.spec import bindings_of

_KINDS = {"int4": TensorProto.INT4, "uint4": TensorProto.UINT4, "int8": TensorProto.INT8, "uint8": TensorProto.UINT8}
_RANGES = {"int4": (-8, 8), "uint4": (0, 16), "int8": (-128, 128), "uint8": (0, 256)}


def _constant(name: str, array: NDArray[np.int16], kind: str) -> onnx.TensorProto:
    return helper.make_tensor(name, _KINDS[kind], array.shape, array.flatten().tolist())


def _model(kind: str, block: int, *, rows: bool, zeros: bool, lookup: bool, count: int = 3) -> onnx.ModelProto:
    """A product with a weight [40, 64] or, transposed, [64, 40], dequantized; perhaps also lookups in it."""
    rng = np.random.default_rng(5)
    low, high = _RANGES[kind]
    shape = (40, 64) if rows else (64, 40)
    axis = int(rows)
    scales = [*shape]
    scales[axis] = 64 // (block or 64)
    codes = rng.integers(low, high, shape)
    scale = (rng.random(scales) / high).astype(np.float32)
    zero = rng.integers(low, high, scales)
    if not block:
        scale, zero = scale.reshape(-1), zero.reshape(-1)
    inputs = ["q", "s", *(["z"] if zeros else [])]
    grid = {"axis": axis, "block_size": block} if block else {"axis": 1 - axis}
    nodes = [helper.make_node("DequantizeLinear", inputs, ["w"], **grid)]
    if rows:
        nodes.append(helper.make_node("Transpose", ["w"], ["t"], perm=[1, 0]))
    nodes.append(helper.make_node("MatMul", ["x", "t" if rows else "w"], ["y"]))
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [count, 64])]
    made = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [count, 40])]
    if lookup:
        nodes.append(helper.make_node("Gather", ["w", "i"], ["e"], axis=0))
        given.append(helper.make_tensor_value_info("i", TensorProto.INT64, [4]))
        made.append(helper.make_tensor_value_info("e", TensorProto.FLOAT, [4, shape[1]]))
    weights = [_constant("q", codes, kind), numpy_helper.from_array(scale, "s")]
    weights += [_constant("z", zero, kind)] if zeros else []
    graph = helper.make_graph(nodes, "few_bits", given, made, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def _inputs(model: onnx.ModelProto) -> dict[str, NDArray[np.generic]]:
    x = np.random.default_rng(6).standard_normal([d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim])
    found: dict[str, NDArray[np.generic]] = {"x": x.astype(np.float32)}
    return found | ({"i": np.array([0, 39, -1, 7])} if len(model.graph.input) > 1 else {})


def _expected(
    model: onnx.ModelProto, inputs: dict[str, NDArray[np.generic]] | None = None
) -> list[NDArray[np.float32]]:
    options = onnxruntime.SessionOptions()
    # Optimized, it would round activations to bytes.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return list(session.run(None, inputs or _inputs(model)))


@pytest.mark.parametrize("kind", list(_KINDS))
@pytest.mark.parametrize("block", [0, 16])
@pytest.mark.parametrize("rows", [False, True])
def test_products_read_the_codes(kind: str, block: int, rows: bool, tmp_path: Path) -> None:
    model = _model(kind, block, rows=rows, zeros=kind.startswith("u"), lookup=rows)
    onnx.save(model, tmp_path / "net.onnx")
    module = assign_precision(import_model(ModelSource(tmp_path / "net.onnx")).module, lambda work: True)
    called = [str(value.op.name) for _, value in bindings_of(module) if hasattr(value, "op")]
    assert "relax.tilewright.matmul_nbits" in called
    assert ("relax.tilewright.take_nbits" in called) == rows
    # The operators' meaning, and the kernels.
    library = tilewright.compile(tmp_path / "net.onnx")
    results = tilewright.runtime.load(library.save(tmp_path / "net.so"), threads=1)(**_inputs(model))
    for plain, made, expected in zip(
        run_module(module, _inputs(model)), results.values(), _expected(model), strict=True
    ):
        np.testing.assert_allclose(plain, expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-4)


def test_a_table_that_a_product_reads_is_stored_once(tmp_path: Path) -> None:
    sizes = {}
    for lookup in (False, True):
        path = tmp_path / f"{lookup}.onnx"
        onnx.save(_model("int4", 16, rows=True, zeros=True, lookup=lookup), path)
        sizes[lookup] = tilewright.compile(path).report.weight_bytes
    assert sizes[True] == sizes[False]


def test_sizes_that_only_a_run_knows(tmp_path: Path) -> None:
    model = _model("uint4", 16, rows=True, zeros=True, lookup=True)
    for at, symbol in ((0, "n"), (1, "s")):
        for value in (model.graph.input[at], model.graph.output[at]):
            value.type.tensor_type.shape.dim[0].dim_param = symbol
    onnx.save(model, tmp_path / "net.onnx")
    shapes: dict[str, tuple[int | str, ...]] = {"x": ("n<=20", 64), "i": ("s<=9",)}
    made = tilewright.compile(tmp_path / "net.onnx", input_shapes=shapes).save(tmp_path / "net.so")
    rng = np.random.default_rng(8)
    with tilewright.runtime.load(made, threads=2) as library:
        for rows, indices in ((1, 1), (4, 9), (20, 2)):
            inputs = {
                "x": rng.standard_normal((rows, 64)).astype(np.float32),
                "i": rng.integers(-40, 40, indices),
            }
            for found, expected in zip(library(inputs).values(), _expected(model, inputs), strict=True):
                np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_what_is_not_known_stays_floats(tmp_path: Path) -> None:
    model = _model("int8", 0, rows=False, zeros=False, lookup=False)
    # Scales along the sums of the product: no block has one.
    model.graph.node[0].attribute[0].i = 0
    del model.graph.initializer[1]
    model.graph.initializer.append(numpy_helper.from_array(np.linspace(0.01, 0.1, 64, dtype="f4"), "s"))
    onnx.save(model, tmp_path / "net.onnx")
    results = tilewright.runtime.load(tilewright.compile(tmp_path / "net.onnx").save(tmp_path / "net.so"))(
        **_inputs(model)
    )
    np.testing.assert_allclose(results["y"], _expected(model)[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bits", [4, 8])
def test_products_of_onnxruntime(bits: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    depth, rows, block = 96, 50, 32
    weight = rng.integers(0, 256, (rows, depth // block, block * bits // 8)).astype(np.uint8)
    scales = (rng.random(rows * 3) / 8).astype(np.float32)
    zeros = rng.integers(0, 256, rows * (2 if bits == 4 else 3)).astype(np.uint8)
    node = helper.make_node(
        "MatMulNBits", ["x", "w", "s", "z"], ["y"], domain="com.microsoft", K=depth, N=rows, bits=bits, block_size=block
    )
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 5, depth])]
    made = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 5, rows])]
    constants = [numpy_helper.from_array(each, name) for name, each in (("w", weight), ("s", scales), ("z", zeros))]
    graph = helper.make_graph([node], "nbits", given, made, constants)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    onnx.save(model, tmp_path / "net.onnx")
    library = tilewright.compile(tmp_path / "net.onnx")
    results = tilewright.runtime.load(library.save(tmp_path / "net.so"), threads=1)(**_inputs(model))
    np.testing.assert_allclose(results["y"], _expected(model)[0], rtol=1e-4, atol=1e-4)
    assert library.report.weight_bytes < 1.7 * (weight.nbytes + scales.nbytes + zeros.nbytes)
