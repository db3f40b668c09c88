"""Shapes that the values of inputs decide: against onnxruntime, at their bounds, and beyond them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import normal

import tilewright
from tilewright.errors import UserError
from tilewright.runtime import load

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
Inputs = Mapping[str, tuple[int, list[int | str]]]


def node(operator: str, inputs: str, outputs: str, **attributes: object) -> onnx.NodeProto:
    names = [each if each != "_" else "" for each in inputs.split()]
    return helper.make_node(operator, names, outputs.split(), **attributes)


class Pair:
    """A library and onnxruntime for the same model; outputs are given by rank."""

    def __init__(
        self,
        folder: Path,
        nodes: list[onnx.NodeProto],
        inputs: Inputs,
        outputs: Mapping[str, tuple[int, int]],
        constants: Mapping[str, Any] | None = None,
        shapes: Mapping[str, tuple[int | str, ...]] | None = None,
    ) -> None:
        graph = helper.make_graph(
            nodes,
            "sized",
            [helper.make_tensor_value_info(name, kind, dims) for name, (kind, dims) in inputs.items()],
            [helper.make_tensor_value_info(name, kind, [None] * rank) for name, (kind, rank) in outputs.items()],
            [numpy_helper.from_array(np.asarray(each), name) for name, each in (constants or {}).items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        path = folder / "model.onnx"
        onnx.save(model, path)
        made = tilewright.compile(path, input_shapes=shapes, target="x86-64-v3", jobs=1)
        self.model = load(made.save(folder / "model.so"), threads=2)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        self.reference = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def check(self, **feeds: Any) -> list[tuple[int, ...]]:
        arrays = {name: np.asarray(each) for name, each in feeds.items()}
        wanted = self.reference.run(None, arrays)
        call = self.model.bind(arrays)
        for array in call.outputs.values():
            array.reshape(-1).view(np.uint8).fill(0xFF)
        for got, want in zip(call().values(), wanted, strict=True):
            assert got.shape == want.shape
            assert got.dtype == want.dtype
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
        return [each.shape for each in wanted]

    def refuse(self, words: str, **feeds: Any) -> None:
        with pytest.raises(UserError, match=words):
            self.model({name: np.asarray(each) for name, each in feeds.items()})


def test_slices(tmp_path: Path) -> None:
    nodes = [node("Slice", "x starts ends axes steps", "y"), node("Relu", "y", "z"), node("ReduceSum", "y", "s")]
    inputs: Inputs = {"x": (FLOAT, [6, 9, 4]), "starts": (INT64, [2]), "ends": (INT64, [2])}
    outputs = {"z": (FLOAT, 3), "s": (FLOAT, 3)}
    pair = Pair(tmp_path, nodes, inputs, outputs, {"axes": [1, 0], "steps": [2, 1]})
    assert pair.model.outputs[0].largest == (6, 5, 4)
    x = normal(6, 9, 4)
    found = {
        pair.check(x=x, starts=starts, ends=ends)[0]
        for starts, ends in (([0, 0], [9, 6]), ([1, 2], [8, 5]), ([-3, -2], [2**40, 99]), ([5, 1], [6, 2]),
                             ([-99, -(2**50)], [-1, -1]), ([4, 0], [4, 6]))
    }  # fmt: skip
    assert len(found) >= 4


def test_a_slice_from_a_known_start_along_a_run_time_axis(tmp_path: Path) -> None:
    nodes = [node("Slice", "x zero end axis", "y"), node("MatMul", "y w", "z")]
    inputs: Inputs = {"x": (FLOAT, ["n", 8]), "end": (INT64, [1])}
    constants = {"zero": [0], "axis": [0], "w": normal(8, 5)}
    pair = Pair(tmp_path, nodes, inputs, {"z": (FLOAT, 2)}, constants, {"x": ("n<=12", 8)})
    for rows, end in ((12, 12), (12, 3), (5, 7), (5, -2), (1, 1)):
        pair.check(x=normal(rows, 8), end=[end])


def test_shapes_of_reshape(tmp_path: Path) -> None:
    nodes = [node("Reshape", "x shape", "y"), node("Tanh", "y", "t"), node("ReduceMax", "t one", "z", keepdims=0)]
    pair = Pair(
        tmp_path, nodes, {"x": (FLOAT, [4, 6]), "shape": (INT64, [3])}, {"t": (FLOAT, 3), "z": (FLOAT, 2)},
        {"one": [1]},
    )  # fmt: skip
    x = normal(4, 6)
    for shape in ([2, 3, 4], [24, 1, 1], [1, -1, 3], [0, 2, 3], [-1, 0, 2], [1, 1, 24]):
        pair.check(x=x, shape=shape)
    for shape in ([2, 3, 5], [-1, -1, 3], [25, 1, 1], [-1, 7, 1], [2**33, 2**31, 1]):
        pair.refuse("step .*cannot be -?[0-9]+, as the inputs' values say", x=x, shape=shape)
    pair.check(x=x, shape=[6, 2, 2])  # and the instance still runs


def test_a_shape_of_which_the_data_decides_one_size(tmp_path: Path) -> None:
    nodes = [node("Concat", "two k", "shape", axis=0), node("Reshape", "x shape", "y"), node("Neg", "y", "z")]
    inputs: Inputs = {"x": (FLOAT, [3, 4]), "k": (INT64, [1])}
    pair = Pair(tmp_path, nodes, inputs, {"z": (FLOAT, 2)}, {"two": [2]})
    assert pair.model.outputs[0].shape == (2, 6)
    for k in (6, -1):
        pair.check(x=normal(3, 4), k=[k])
    pair.refuse("cannot be -1", x=normal(3, 4), k=[5])


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.float32])
def test_ranges(tmp_path: Path, kind: Any) -> None:
    nodes = [
        node("Clip", "limit least most", "held"),
        node("Range", "start held step", "y"),
        node("Mul", "y y", "z"),
    ]
    constants = {"start": kind(2), "step": kind(3), "least": kind(-9), "most": kind(40)}
    code = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    pair = Pair(tmp_path, nodes, {"limit": (code, [])}, {"z": (code, 1)}, constants)
    assert pair.model.outputs[0].largest == (13,)
    for limit in (40, 99, 2, 3, 5, 6, -20, 20):
        pair.check(limit=kind(limit))


def test_a_range_over_a_sum_of_truths(tmp_path: Path) -> None:
    nodes = [
        node("Cast", "keep", "ones", to=INT64),
        node("ReduceSum", "ones", "count", keepdims=0),
        node("Range", "zero count one", "places"),
        node("Gather", "x places", "y"),
    ]
    inputs: Inputs = {"x": (FLOAT, [7, 3]), "keep": (BOOL, [7])}
    pair = Pair(tmp_path, nodes, inputs, {"y": (FLOAT, 2)}, {"zero": np.int64(0), "one": np.int64(1)})
    for count in (0, 1, 7):
        pair.check(x=normal(7, 3), keep=np.arange(7) < count)


def test_expand_tile_fill_and_pad(tmp_path: Path) -> None:
    nodes = [
        node("Min", "n most", "top"),
        node("Max", "top zero", "k"),
        node("Concat", "k three", "shape", axis=0),
        node("Expand", "x shape", "wide"),
        node("Tile", "x shape", "tiled"),
        node("ConstantOfShape", "shape", "filled", value=numpy_helper.from_array(np.asarray([1.5], np.float32))),
        node("Concat", "zero k k zero", "pads", axis=0),
        node("Pad", "x pads value", "padded"),
        node("Add", "wide filled", "sum"),
    ]
    constants = {"most": [5], "zero": [0], "three": [3], "value": np.float32(-2)}
    outputs = dict.fromkeys(("sum", "tiled", "filled", "padded"), (FLOAT, 2))
    pair = Pair(tmp_path, nodes, {"x": (FLOAT, [1, 3]), "n": (INT64, [1])}, outputs, constants)
    for n in (1, 5, 3, 2, 99):
        pair.check(x=normal(1, 3), n=[n])


def test_pieces(tmp_path: Path) -> None:
    nodes = [node("Split", "x sizes", "a b c", axis=1), node("Concat", "c a b", "y", axis=1), node("Neg", "b", "z")]
    inputs: Inputs = {"x": (FLOAT, [3, 8]), "sizes": (INT64, [3])}
    pair = Pair(tmp_path, nodes, inputs, {"y": (FLOAT, 2), "z": (FLOAT, 2)})
    for sizes in ([1, 2, 5], [8, 0, 0], [0, 8, 0], [3, 3, 2]):
        pair.check(x=normal(3, 8), sizes=sizes)
    pair.refuse("cannot be -1", x=normal(3, 8), sizes=[1, 2, 3])


def test_what_nothing_bounds_is_refused(tmp_path: Path) -> None:
    inputs: Inputs = {"n": (INT64, []), "x": (FLOAT, [2]), "k": (INT64, [1])}
    constants = {"zero": np.int64(0), "one": np.int64(1)}
    for nodes, words in (
        ([node("Range", "zero n one", "y")], "Range 'y'.*nothing bounds it.*put a Clip or Min"),
        ([node("Tile", "x k", "y")], "Tile 'y': the repeats of Tile is computed.*put a Clip or Min"),
        ([node("Squeeze", "x k", "y")], "Squeeze 'y': the axes of Squeeze must be constant.*make it an initializer"),
    ):
        with pytest.raises(UserError, match=words):
            Pair(tmp_path, nodes, inputs, {"y": (FLOAT if "x" in nodes[0].input else INT64, 1)}, constants)
