"""Run-time shapes: one library against onnxruntime over sizes from the least to the bound, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx_models import normal

import tilewright
from tilewright.errors import UserError
from tilewright.runtime import load
from tilewright.runtime.model import Model

Shape = list[int | str]


def graph(
    nodes: list[onnx.NodeProto],
    inputs: Mapping[str, Shape],
    outputs: Mapping[str, int],
    constants: Mapping[str, np.ndarray] | None = None,
    integers: tuple[str, ...] = (),
) -> onnx.ModelProto:
    """Return a model; tensors named in ``integers`` are int64, the others float32; outputs by rank."""
    kinds = {name: TensorProto.INT64 if name in integers else TensorProto.FLOAT for name in (*inputs, *outputs)}
    made = helper.make_graph(
        nodes,
        "shapes",
        [helper.make_tensor_value_info(name, kinds[name], dims) for name, dims in inputs.items()],
        [helper.make_tensor_value_info(name, kinds[name], [None] * rank) for name, rank in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def node(operator: str, inputs: str, outputs: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


class Pair:
    """A library and onnxruntime for the same model."""

    def __init__(self, model: onnx.ModelProto, folder: Path, shapes: Mapping[str, tuple[int | str, ...]]) -> None:
        path = folder / "model.onnx"
        onnx.save(model, path)
        self.model: Model = load(
            tilewright.compile(path, input_shapes=shapes, target="x86-64-v3", jobs=1).save(folder / "model.so"), 2
        )
        self.reference = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    def check(self, feeds: Mapping[str, np.ndarray], tolerance: float = 1e-5) -> None:
        expected = self.reference.run(None, dict(feeds))
        shapes = [np.full_like(each, 7 if each.dtype.kind in "iub" else np.nan) for each in expected]
        for got, want in zip(self.model(dict(feeds), out=shapes), expected, strict=True):
            assert got.shape == want.shape
            scale = max(1.0, float(np.abs(want).max(initial=0)))
            assert np.abs(got - want).max(initial=0) <= tolerance * scale
        for got, want in zip(self.model(dict(feeds)), expected, strict=True):
            assert got.shape == want.shape


def _small(*shape: int) -> np.ndarray:
    return np.asarray(normal(*shape) * 0.2, np.float32)


def block() -> onnx.ModelProto:
    """A transformer's block in small, its shapes computed from the input's as exporters write it."""
    constants = {
        "gamma": normal(24) + 1, "beta": normal(24), "wq": _small(24, 24), "wk": _small(24, 24), "wv": _small(24, 24),
        "head": np.asarray([3, 8]), "zero": np.asarray([0]), "one": np.asarray([1]), "two": np.asarray([2]),
        "all": np.asarray([-1]), "scale": np.float32(8**-0.5), "wo": _small(24, 40), "i0": np.asarray(0),
        "i1": np.asarray(1),
    }  # fmt: skip
    nodes = [
        node("LayerNormalization", "x gamma beta", "n", axis=-1),
        node("Shape", "x", "shape"),
        node("Slice", "shape zero two", "lead"),
        node("Concat", "lead head", "split", axis=0),
        *(
            each
            for name in "qkv"
            for each in (
                node("MatMul", f"n w{name}", f"p{name}"),
                node("Reshape", f"p{name} split", f"s{name}"),
                node("Transpose", f"s{name}", f"t{name}", perm=[0, 2, 3, 1] if name == "k" else [0, 2, 1, 3]),
            )
        ),
        node("MatMul", "tq tk", "scores"),
        node("Mul", "scores scale", "scaled"),
        node("Gather", "shape i1", "length"),
        node("Range", "i0 length i1", "places"),
        node("Unsqueeze", "places one", "rows"),
        node("LessOrEqual", "places rows", "visible"),
        node("Where", "visible scaled low", "masked"),
        node("Softmax", "masked", "weights", axis=-1),
        node("MatMul", "weights tv", "mixed"),
        node("Transpose", "mixed", "back", perm=[0, 2, 1, 3]),
        node("Concat", "lead all", "flat", axis=0),
        node("Reshape", "back flat", "joined"),
        node("Add", "joined x", "sum"),
        node("MatMul", "sum wo", "wide"),
        node("Tanh", "wide", "y"),
        node("ReduceMean", "sum one", "pooled", keepdims=0),
    ]
    constants["low"] = np.float32(-1e9)
    return graph(nodes, {"x": ["batch", "seq", 24]}, {"y": 3, "pooled": 2}, constants)


@pytest.fixture(scope="module")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(block(), tmp_path_factory.mktemp("block"), {"x": ("batch<=5", "seq<=70", 24)})


@settings(max_examples=25, deadline=None)
@given(batch=st.integers(1, 5), seq=st.integers(1, 70))
def test_a_block_of_a_transformer(transformer: Pair, batch: int, seq: int) -> None:
    transformer.check({"x": normal(batch, seq, 24)})


@pytest.mark.parametrize(("batch", "seq"), [(1, 1), (5, 70), (1, 16), (2, 17), (3, 64), (5, 1)])
def test_a_block_at_its_edges(transformer: Pair, batch: int, seq: int) -> None:
    transformer.check({"x": normal(batch, seq, 24)})


def test_a_cache_that_grows(tmp_path: Path) -> None:
    nodes = [
        node("Concat", "past new", "present", axis=2),
        node("Transpose", "present", "keys", perm=[0, 1, 3, 2]),
        node("MatMul", "query keys", "scores"),
        node("Softmax", "scores", "weights", axis=-1),
        node("MatMul", "weights present", "y"),
        node("Shape", "present", "shape"),
        node("Gather", "shape two", "count"),
    ]
    inputs: dict[str, Shape] = {"past": [1, 3, "past", 16], "new": [1, 3, 1, 16], "query": [1, 3, 1, 16]}
    model = graph(nodes, inputs, {"y": 4, "present": 4, "count": 0}, {"two": np.asarray(2)}, ("count",))
    pair = Pair(model, tmp_path, {"past": (1, 3, "0<=past<=40", 16)})
    for past in (0, 1, 2, 15, 16, 39, 40):
        pair.check({"past": normal(1, 3, past, 16), "new": normal(1, 3, 1, 16), "query": normal(1, 3, 1, 16)})
    assert [str(dim) for dim in pair.model.outputs[1].shape] == ["1", "3", "past + 1", "16"]
    assert pair.model.outputs[1].largest == (1, 3, 41, 16)


def test_images_of_any_number(tmp_path: Path) -> None:
    nodes = [
        node("Conv", "x w b", "c", pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Relu", "c", "r"),
        node("Conv", "r w2", "c2", pads=[1, 1, 1, 1]),
        node("Add", "r c2", "s"),
        node("MaxPool", "s", "m", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("GlobalAveragePool", "m", "g"),
        node("Flatten", "g", "f"),
        node("Gemm", "f w3 b3", "y", transB=1),
    ]
    constants = {
        "w": normal(24, 3, 3, 3), "b": normal(24), "w2": normal(24, 24, 3, 3), "w3": normal(10, 24), "b3": normal(10)
    }  # fmt: skip
    pair = Pair(graph(nodes, {"x": ["n", 3, 17, 19]}, {"y": 2}, constants), tmp_path, {"x": ("n<=6", 3, 17, 19)})
    for count in (1, 2, 3, 6):
        pair.check({"x": normal(count, 3, 17, 19)})


def test_images_of_any_size(tmp_path: Path) -> None:
    nodes = [
        node("Conv", "x w b", "c", pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Relu", "c", "r"),
        node("AveragePool", "r", "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("Concat", "p p", "j", axis=1),
        node("Slice", "j one three one", "y"),
    ]
    constants = {"w": normal(8, 3, 3, 3), "b": normal(8), "one": np.asarray([1]), "three": np.asarray([3])}
    pair = Pair(
        graph(nodes, {"x": [1, 3, "h", "w"]}, {"y": 4}, constants), tmp_path, {"x": (1, 3, "4<=h<=40", "4<=w<=32")}
    )
    for height, width in ((4, 4), (40, 32), (17, 23), (8, 31)):
        pair.check({"x": normal(1, 3, height, width)})


@settings(max_examples=20, deadline=None)
@given(count=st.integers(0, 33))
def test_pieces_and_joins(pieces: Pair, count: int) -> None:
    pieces.check({"x": normal(count, 6), "ids": np.arange(count) % 5})


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    nodes = [
        node("Split", "x", "a b", axis=1, num_outputs=2),
        node("Concat", "b a b", "j", axis=1),
        node("Concat", "j fixed j", "tall", axis=0),
        node("Gather", "table ids", "rows", axis=0),
        node("Transpose", "x", "t", perm=[1, 0]),
        node("ReduceSum", "t one", "sums", keepdims=0),
        node("Shape", "x", "shape"),
        node("Expand", "line shape", "spread"),
        node("Add", "spread x", "y"),
        node("Cast", "ids", "f", to=TensorProto.FLOAT),
        node("Mul", "f f", "squares"),
    ]
    constants = {"fixed": normal(2, 9), "table": normal(5, 7), "one": np.asarray([1]), "line": normal(1, 6)}
    model = graph(
        nodes,
        {"x": ["n", 6], "ids": ["n"]},
        {"tall": 2, "rows": 2, "sums": 1, "y": 2, "squares": 1},
        constants,
        ("ids",),
    )
    return Pair(model, tmp_path_factory.mktemp("pieces"), {"x": ("0<=n<=33", 6)})


def test_repeats_that_are_sizes(tmp_path: Path) -> None:
    nodes = [
        node("Shape", "x", "shape"),
        node("Slice", "shape zero one", "rows"),
        node("Concat", "rows one two", "times", axis=0),
        node("Tile", "part times", "y"),
    ]
    constants = {"zero": np.asarray([0]), "one": np.asarray([1]), "two": np.asarray([2]), "part": normal(2, 1, 3)}
    pair = Pair(graph(nodes, {"x": ["n", 2]}, {"y": 3}, constants), tmp_path, {"x": ("n<=6", 2)})
    for count in (1, 2, 6):
        pair.check({"x": normal(count, 2)})


def _refusal(call: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        call()
    return str(caught.value)


def test_sizes_that_do_not_fit(pieces: Pair) -> None:
    model = pieces.model
    x, ids = normal(4, 6), np.arange(4)
    assert "'x') has 34 elements along axis 0, but 'n' is from 0 to 33" in _refusal(lambda: model(normal(34, 6), ids))
    assert "input 1 ('ids') has 5 elements along axis 0, but 'n' is 4 by the other sizes of this call" in _refusal(
        lambda: model(x, np.arange(5))
    )
    assert "input 'x' has shape [n, 6], not [4, 6, 1]" in _refusal(lambda: model(x[..., None], ids))
    assert "input 'x' has shape [n, 6], not [4, 7]" in _refusal(lambda: model(normal(4, 7), ids))
    assert "output 'y' has shape [4, 6], not [5, 6]" in _refusal(
        lambda: model(x, ids, out={"y": np.empty((5, 6), np.float32)})
    )
    pieces.check({"x": x, "ids": ids})  # and nothing has changed


def test_variants_for_some_sizes(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(block(), path)
    shapes = {"x": ("batch<=5", "seq<=40", 24)}
    general = tilewright.compile(path, input_shapes=shapes, target="x86-64-v3", jobs=1)
    artifact = tilewright.compile(
        path, input_shapes=shapes, specialize={"batch": (1, 4), "seq": (16,)}, target="x86-64-v3", jobs=1
    )
    # Packed weights are the same; a few small constants of fixed shapes are new.
    assert artifact.manifest["bytes"]["weights"] < 1.5 * general.manifest["bytes"]["weights"]
    model = load(artifact.save(tmp_path / "model.so"), 2)
    reference = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    first = general.manifest["steps"]
    for batch, seq in ((1, 16), (4, 16), (2, 16), (4, 17), (5, 40), (1, 16)):
        x = normal(batch, seq, 24)
        for got, want in zip(model(x), reference.run(None, {"x": x}), strict=True):
            assert np.abs(got - want).max() <= 1e-5
        ran = {at for at, step in enumerate(model.profile(x, repeat=1)) if step.seconds > 0}
        assert (min(ran) >= first) == (batch in (1, 4) and seq == 16)
    for sizes, sentence in (
        ({"batch": (6,)}, "batch=6 is not from 1 to 5"),
        ({"bach": (1,)}, "no symbol 'bach' has bounds in --input-shapes (did you mean 'batch'?)"),
    ):
        assert sentence in _refusal(lambda s=sizes: tilewright.compile(path, input_shapes=shapes, specialize=s))


def test_calls_bound_to_different_sizes(pieces: Pair) -> None:
    calls = {count: pieces.model.bind(normal(count, 6), np.arange(count)) for count in (3, 33, 1)}
    for count in (1, 3, 33, 3):
        assert calls[count]()["squares"].tolist() == [each**2 for each in range(count)]


def test_what_cannot_be_compiled(tmp_path: Path) -> None:
    def compiled(shapes: Mapping[str, tuple[int | str, ...]]) -> Callable[[], object]:
        path = tmp_path / "add.onnx"
        inputs: dict[str, Shape] = {"left": ["rows", 3], "right": ["others", 3]}
        onnx.save(graph([node("Add", "left right", "y")], inputs, {"y": 2}), path)
        return lambda: tilewright.compile(path, input_shapes=shapes, jobs=1)

    assert "'right' [others, 3]: give its shape" in _refusal(compiled({"left": ("rows<=4", 3)}))
    assert "has no upper bound: write n<=N" in _refusal(compiled({"left": ("n", 3), "right": ("n", 3)}))
    assert "[a, 3], [b, 3] meet, and a run may make them different" in _refusal(
        compiled({"left": ("a<=4", 3), "right": ("b<=4", 3)})
    )
    assert "is given two bounds" in _refusal(compiled({"left": ("n<=4", 3), "right": ("n<=5", 3)}))
    assert "hold no size" in _refusal(compiled({"left": ("5<=n<=4", 3), "right": (4, 3)}))
    assert "is not a dimension of input 'left'" in _refusal(compiled({"left": ("n**2", 3), "right": (4, 3)}))
