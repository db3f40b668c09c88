"""Results as large as their data says: the bound is planned, what was found is reported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnx_models import normal

import tilewright
from tilewright.runtime import load
from tilewright.runtime.model import Model

Shape = list[int | str | None]


def _node(operator: str, inputs: str, outputs: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


def _pair(
    folder: Path,
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[int, Shape]],
    outputs: dict[str, tuple[int, int]],
    shapes: dict[str, tuple[int | str, ...]] | None = None,
) -> tuple[Model, onnxruntime.InferenceSession]:
    graph = helper.make_graph(
        nodes,
        "found",
        [helper.make_tensor_value_info(name, kind, dims) for name, (kind, dims) in inputs.items()],
        [helper.make_tensor_value_info(name, kind, [None] * rank) for name, (kind, rank) in outputs.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path = folder / "model.onnx"
    onnx.save(model, path)
    library = tilewright.compile(path, input_shapes=shapes, target="x86-64-v3", jobs=1).save(folder / "model.so")
    return load(library, 2), onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def _check(pair: tuple[Model, onnxruntime.InferenceSession], **feeds: np.ndarray) -> list[tuple[int, ...]]:
    model, reference = pair
    wanted = reference.run(None, feeds)
    for got, want in zip(model(**feeds), wanted, strict=True):
        assert got.shape == want.shape
        assert got.dtype == want.dtype
        assert np.abs(got - want).max(initial=0) <= 1e-5
    return [each.shape for each in wanted]


FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def test_nonzero_and_what_follows_it(tmp_path: Path) -> None:
    nodes = [
        _node("NonZero", "x", "places"),
        _node("Transpose", "places", "rows", perm=[1, 0]),
        _node("GatherND", "x rows", "found"),
        _node("Mul", "found found", "squares"),
        _node("ReduceSum", "squares", "total", keepdims=0),
    ]
    outputs = {"places": (INT64, 2), "squares": (FLOAT, 1), "total": (FLOAT, 0)}
    pair = _pair(tmp_path, nodes, {"x": (FLOAT, [3, 4, 5])}, outputs)
    assert pair[0].outputs[0].largest == (3, 60)
    x = normal(3, 4, 5)
    for threshold in (0.5, 9.0, -9.0, 1.5, 0.0):
        shapes = _check(pair, x=np.where(x > threshold, x, np.float32(0)))
        assert shapes[0] == (3, int((x > threshold).sum()))


def test_nonzero_of_run_time_shapes(tmp_path: Path) -> None:
    inputs: dict[str, tuple[int, Shape]] = {"x": (BOOL, ["n", 7])}
    pair = _pair(tmp_path, [_node("NonZero", "x", "places")], inputs, {"places": (INT64, 2)}, {"x": ("n<=20", 7)})
    for rows in (1, 20, 13):
        _check(pair, x=normal(rows, 7) > 0.3)


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_compress(tmp_path: Path, axis: int | None) -> None:
    attributes = {} if axis is None else {"axis": axis}
    length = 20 if axis is None else (4, 5)[axis]
    pair = _pair(
        tmp_path,
        [_node("Compress", "x keep", "y", **attributes), _node("Neg", "y", "z")],
        {"x": (FLOAT, [4, 5]), "keep": (BOOL, [length])},
        {"y": (FLOAT, 1 if axis is None else 2), "z": (FLOAT, 1 if axis is None else 2)},
    )
    for keep in (np.ones(length, bool), np.zeros(length, bool), np.arange(length) % 2 == 1):
        _check(pair, x=normal(4, 5), keep=keep)


def test_top_k_of_any_number(tmp_path: Path) -> None:
    pair = _pair(
        tmp_path,
        [_node("TopK", "x k", "values places", axis=1), _node("Softmax", "values", "y", axis=1)],
        {"x": (FLOAT, [3, 9]), "k": (INT64, [1])},
        {"values": (FLOAT, 2), "places": (INT64, 2), "y": (FLOAT, 2)},
    )
    for k in (1, 4, 9):
        _check(pair, x=normal(3, 9), k=np.asarray([k]))


@pytest.mark.parametrize("in_order", [1, 0])
def test_unique(tmp_path: Path, in_order: int) -> None:
    pair = _pair(
        tmp_path,
        [_node("Unique", "x", "y first group counts", sorted=in_order), _node("Neg", "y", "z")],
        {"x": (FLOAT, [4, 6])},
        {"y": (FLOAT, 1), "first": (INT64, 1), "group": (INT64, 1), "counts": (INT64, 1), "z": (FLOAT, 1)},
    )
    assert pair[0].outputs[0].largest == (24,)
    x = np.arange(24, dtype=np.float32).reshape(4, 6) * 7 % 24 - 5
    for modulus in (3, 100, 1, 10):
        shapes = _check(pair, x=x % modulus)
        assert shapes[0] == (min(modulus, 24),)
        assert shapes[2] == (24,)


def test_unique_integers_and_one_element(tmp_path: Path) -> None:
    nodes = [_node("Unique", "x", "y"), _node("Unique", "one", "same first group counts", sorted=0)]
    inputs: dict[str, tuple[int, Shape]] = {"x": (INT64, [9]), "one": (FLOAT, [1, 1])}
    outputs = {"y": (INT64, 1), "same": (FLOAT, 1), "first": (INT64, 1), "group": (INT64, 1), "counts": (INT64, 1)}
    pair = _pair(tmp_path, nodes, inputs, outputs)
    one = np.full((1, 1), 3, np.float32)
    for values in ([-5, 2**40, -5, 0, 7, 2**40, 0, -(2**40), 7], [4] * 9):
        _check(pair, x=np.asarray(values), one=one)


@pytest.mark.parametrize(("axis", "in_order"), [(0, 1), (1, 1), (-1, 0)])
def test_unique_slices(tmp_path: Path, axis: int, in_order: int) -> None:
    pair = _pair(
        tmp_path,
        [_node("Unique", "x", "y first group counts", axis=axis, sorted=in_order)],
        {"x": (FLOAT, [4, 5, 2])},
        {"y": (FLOAT, 3), "first": (INT64, 1), "group": (INT64, 1), "counts": (INT64, 1)},
    )
    x = np.arange(40, dtype=np.float32).reshape(4, 5, 2)
    for modulus in (100, 10, 20, 1):
        _check(pair, x=x % modulus)


def test_calls_of_different_sizes_share_their_buffers(tmp_path: Path) -> None:
    inputs: dict[str, tuple[int, Shape]] = {"x": (FLOAT, [8])}
    model, _ = _pair(tmp_path, [_node("NonZero", "x", "places")], inputs, {"places": (INT64, 2)})
    x = np.zeros(8, np.float32)
    call = model.bind(x)
    for count in (0, 8, 3):
        x[:] = 0
        x[:count] = 1
        assert call()["places"].tolist() == [list(range(count))]


@pytest.mark.parametrize("centers", [0, 1])
def test_non_max_suppression(tmp_path: Path, centers: int) -> None:
    inputs = {"boxes": (TensorProto.FLOAT, [2, 30, 4]), "scores": (TensorProto.FLOAT, [2, 3, 30])}
    inputs |= {
        "limit": (TensorProto.INT64, [1]),
        "overlap": (TensorProto.FLOAT, [1]),
        "least": (TensorProto.FLOAT, [1]),
    }
    node = _node("NonMaxSuppression", " ".join(inputs), "chosen", center_point_box=centers)
    pair = _pair(tmp_path, [node], inputs, {"chosen": (TensorProto.INT64, 2)})
    random = np.random.default_rng(3)
    counts = set()
    for limit, overlap, least in ((30, 0.5, 0.1), (4, 0.2, 0.0), (2, 0.9, 0.6)):
        boxes = random.random((2, 30, 4)).astype("float32")
        scores = np.round(random.random((2, 3, 30)), 1).astype("float32")
        thresholds = {"overlap": np.asarray([overlap], "float32"), "least": np.asarray([least], "float32")}
        (shape,) = _check(pair, boxes=boxes, scores=scores, limit=np.asarray([limit]), **thresholds)
        counts.add(shape[0])
    assert len(counts) == 3
