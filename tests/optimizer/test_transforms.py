"""Folding, smoothing and equalization compute what the model does; quantization is where the rows say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from quantization_models import Array, convolutions, network

from tilewright.errors import UserError
from tilewright.optimizer.data import Sample
from tilewright.optimizer.executor import Executor
from tilewright.optimizer.graph import Graph
from tilewright.optimizer.quantize.accuracy import search
from tilewright.optimizer.quantize.calibration import OBSERVERS
from tilewright.optimizer.quantize.dynamic import quantize_dynamically
from tilewright.optimizer.quantize.equalization import equalize
from tilewright.optimizer.quantize.folding import fold_batch_norms
from tilewright.optimizer.quantize.layers import find_layers
from tilewright.optimizer.quantize.preparation import Recipe, prepare
from tilewright.optimizer.quantize.scales import activation_scale, dequantize, quantize, weight_scale
from tilewright.optimizer.quantize.weights import blocked, quantize_weights

HERE = Path("model.onnx")


def output(model: onnx.ModelProto, x: Array) -> Array:
    return next(iter(Executor(model)({"x": x}).values()))


def samples(images: list[Array]) -> list[Sample]:
    return [Sample({"x": image}) for image in images]


def test_batch_norms_fold(images: list[Array]) -> None:
    model = convolutions()
    expected = output(model, images[0])
    graph = Graph(model, HERE)
    fold_batch_norms(graph)
    folded = graph.finish()
    assert "BatchNormalization" not in {node.op_type for node in folded.graph.node}
    np.testing.assert_allclose(output(folded, images[0]), expected, rtol=1e-5, atol=1e-5)


def test_equalization_keeps_outputs_and_levels_channels(images: list[Array]) -> None:
    model = convolutions()
    expected = output(model, images[0])
    graph = Graph(model, HERE)
    # The stem's output is read by the sum too, so that its channels are not free.
    assert equalize(graph, find_layers(graph)) == 1
    layers = {layer.name: layer.weight for layer in find_layers(graph)}
    peaks = np.abs(layers["wide"]).max(axis=(1, 2, 3))
    assert peaks.max() / peaks.min() < 20
    np.testing.assert_allclose(peaks, np.abs(layers["narrow"]).max(axis=(0, 2, 3)), rtol=1e-3)
    np.testing.assert_allclose(output(graph.finish(), images[0]), expected, rtol=1e-4, atol=1e-5)


def products(outlier: float) -> onnx.ModelProto:
    draw = np.random.default_rng(3)
    scale = np.ones(32, "float32")
    scale[5] = outlier
    weight = draw.standard_normal((32, 48)).astype("float32")
    weight[5] /= outlier
    nodes = [
        helper.make_node("LayerNormalization", ["x", "scale"], ["n"], "norm"),
        helper.make_node("MatMul", ["n", "w"], ["m"], "product"),
        helper.make_node("Add", ["m", "b"], ["y"], "bias"),
    ]
    bias = draw.standard_normal(48).astype("float32")
    return network(nodes, {"scale": scale, "w": weight, "b": bias}, (1, 16, 32))


def test_smoothing_tames_a_channel_of_outliers() -> None:
    model = products(100.0)
    draw = np.random.default_rng(4)
    data = [draw.standard_normal((1, 16, 32)).astype("float32") for _ in range(8)]
    exact = output(model, data[0])
    errors: dict[float | None, float] = {}
    for strength in (0.0, 0.5, None):
        ready = prepare(model, HERE, samples(data), Recipe(smoothing=strength))
        np.testing.assert_allclose(output(ready.model, data[0]), exact, rtol=1e-4, atol=1e-4)
        errors[strength] = float(np.abs(output(ready.quantized(), data[0]) - exact).mean())
    assert errors[0.5] < errors[0.0] / 4
    assert errors[None] < 1.1 * errors[0.5]


@pytest.mark.parametrize("kind", ["convolutions", "products"])
def test_bias_correction_removes_the_mean_error(kind: str, images: list[Array]) -> None:
    draw = np.random.default_rng(5)
    if kind == "convolutions":
        # A convolution without padding whose inputs have a mean: rounding then moves every output the same way.
        weight = draw.standard_normal((6, 3, 3, 3)).astype("float32")
        bias = draw.standard_normal(6).astype("float32")
        weight[:, 0, 0, 0] = 60
        model = network([helper.make_node("Conv", ["x", "w", "b"], ["y"], "c")], {"w": weight, "b": bias}, (1, 3, 8, 8))
        data = [image + 3 for image in images]
    else:
        weight = draw.standard_normal((32, 48)).astype("float32")
        weight[0] = 60
        nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Add", ["m", "b"], ["y"])]
        model = network(nodes, {"w": weight, "b": np.zeros(48, "float32")}, (1, 16, 32))
        data = [draw.standard_normal((1, 16, 32)).astype("float32") + 2 for _ in range(8)]
    errors = {}
    for correct in (False, True):
        ready = prepare(model, HERE, samples(data), Recipe(smoothing=0, correct_bias=correct))
        low = ready.quantized()
        axes = (0, 2, 3) if kind == "convolutions" else (0, 1)
        error = np.mean([(output(low, x) - output(model, x)).mean(axis=axes) for x in data], axis=0)
        errors[correct] = float(np.abs(error).max())
    assert errors[True] < errors[False] / 3


def test_activations_that_bytes_cannot_hold_stay_floats() -> None:
    """One token in a hundred is far larger than the rest, in all channels, so that no smoothing helps."""
    draw = np.random.default_rng(12)
    weights = {name: draw.standard_normal((32, 32)).astype("float32") for name in ("w", "v")}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "calm"),
        helper.make_node("Pow", ["h", "five"], ["p"]),
        helper.make_node("MatMul", ["p", "v"], ["y"], "spiky"),
    ]
    model = network(nodes, {**weights, "five": np.float32(5)}, (1, 16, 32))
    data = [draw.standard_normal((1, 16, 32)).astype("float32") for _ in range(8)]
    errors = {}
    for least in (0.0, 33.0):
        ready = prepare(model, HERE, samples(data), Recipe(least_sqnr=least))
        assert ready.loud == (frozenset({"spiky"}) if least else frozenset())
        graph = Graph(ready.quantized(), HERE)
        spiky = next(node for node in graph.nodes if node.name == "spiky")
        assert graph.producer[spiky.input[1]].op_type == "DequantizeLinear"
        assert (graph.producer[spiky.input[0]].op_type == "Pow") == bool(least)
        only = Graph(ready.quantized(["calm"]), HERE).finish()
        exact = [output(model, x) for x in data]
        found = [output(only, x) for x in data]
        errors[least] = sum(np.abs(one - other).sum() for one, other in zip(exact, found, strict=True))
    assert errors[33.0] < errors[0.0] / 3
    # A layer asked to stay in floats keeps its float weight as well.
    graph = Graph(ready.quantized(["spiky"]), HERE)
    assert graph.is_constant(next(node for node in graph.nodes if node.name == "spiky").input[1])


def test_pairs_stand_where_integers_pay(images: list[Array]) -> None:
    model = convolutions()
    ready = prepare(model, HERE, samples(images), Recipe())
    low = ready.quantized()
    onnx.checker.check_model(low)
    graph = Graph(low, HERE)
    for name in ("stem", "wide", "narrow", "grouped", "dense"):
        node = next(each for each in graph.nodes if each.name == name)
        kinds = {graph.producer[each].op_type for each in node.input}
        assert kinds == {"DequantizeLinear"}, name
        weight = graph.constant(graph.producer[node.input[1]].input[0])
        assert weight is not None
        assert weight.dtype == np.int8
    total = next(each for each in graph.nodes if each.name == "sum")
    assert {graph.producer[each].op_type for each in total.input} == {"DequantizeLinear"}
    pool = next(each for each in graph.nodes if each.name == "pool")
    before = graph.producer[pool.input[0]]
    after = graph.consumers[pool.output[0]][0]
    assert after.op_type == "QuantizeLinear"
    for index in (1, 2):
        one, other = graph.constant(before.input[index]), graph.constant(after.input[index])
        assert one is not None
        assert other is not None
        assert one == other
    signal = output(model, images[0])
    assert np.linalg.norm(output(low, images[0]) - signal) < 0.05 * np.linalg.norm(signal)
    # A layer that is excluded reads floats and keeps its float weight.
    floats = Graph(ready.quantized({"wide"}), HERE)
    wide = next(each for each in floats.nodes if each.name == "wide")
    assert floats.producer[wide.input[0]].op_type == "Relu"
    assert floats.is_constant(wide.input[1])


def test_integer_kernels_of_onnxruntime_agree(images: list[Array]) -> None:
    low = prepare(convolutions(), HERE, samples(images), Recipe()).quantized()
    options = onnxruntime.SessionOptions()
    session = onnxruntime.InferenceSession(low.SerializeToString(), options, providers=["CPUExecutionProvider"])
    got, expected = session.run(None, {"x": images[0]})[0], output(low, images[0])
    assert np.abs(got - expected).max() < 0.03 * np.abs(expected).max()


def test_quantize_linear_is_the_same_as_onnxruntime_computes() -> None:
    draw = np.random.default_rng(6)
    x = draw.standard_normal((1, 4, 8, 8)).astype("float32") * 3
    affine = activation_scale(float(x.min()) * 0.8, float(x.max()) * 0.8)
    nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
             helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"])]  # fmt: skip
    model = network(nodes, {"s": affine.scale, "z": affine.zero_point}, x.shape)
    np.testing.assert_allclose(dequantize(quantize(x, affine), affine), output(model, x), rtol=1e-6, atol=1e-6)
    assert dequantize(quantize(np.zeros(1), affine), affine) == 0


def test_scales_are_never_zero_or_denormal() -> None:
    assert activation_scale(0.0, 0.0).scale == 1
    assert activation_scale(-1e-42, 1e-42).scale == 1
    weight = np.zeros((3, 4), "float32")
    weight[1] = 1e-40
    weight[2] = 2.54
    scale = weight_scale(weight, 0).scale
    np.testing.assert_allclose(scale, [1, 1, 0.02], rtol=1e-6)
    # A bias far larger than its weights makes the scale larger, so that 32 bits hold it.
    large = weight_scale(weight, 0, np.array([0, 0, 1e9]), 1e-3)
    assert 1e9 / (1e-3 * float(large.scale[2])) < 2**31


@pytest.mark.parametrize("axis", [0, 1])
def test_int4_blocks_are_what_onnxruntime_reads(axis: int) -> None:
    draw = np.random.default_rng(7)
    weight = draw.standard_normal((64, 96)).astype("float32")
    integers, scale = blocked(weight, axis, 32)
    assert integers.min() == -8
    assert integers.max() <= 7
    restored = integers * np.repeat(scale, 32, axis)
    assert np.linalg.norm(restored - weight) < 0.09 * np.linalg.norm(weight)
    nodes = [helper.make_node("Gemm", ["x", "w"], ["y"], "p", transB=axis)]
    product = network(nodes, {"w": weight}, (1, weight.shape[axis]))
    low = quantize_weights(product, HERE, bits=4)
    x = draw.standard_normal((1, weight.shape[axis])).astype("float32")
    expected = x @ (restored if axis == 0 else restored.T)
    np.testing.assert_allclose(output(low, x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("turned", [0, 1])
def test_feedback_makes_up_for_rounding(bits: int, turned: int) -> None:
    """Inputs that depend on one another let some weights take over what others lose."""
    draw = np.random.default_rng(13)
    mixing = draw.standard_normal((16, 128)) + 0.1 * draw.standard_normal((16, 128))
    data = [(draw.standard_normal((24, 16)) @ mixing).astype("float32") for _ in range(8)]
    weight = draw.standard_normal((128, 48)).astype("float32")
    nodes = [helper.make_node("Gemm", ["x", "w"], ["y"], "p", transB=turned)]
    model = network(nodes, {"w": np.ascontiguousarray(weight.T) if turned else weight}, (24, 128))
    seen, unseen = samples(data[:6]), data[6:]
    noise = {}
    for used in ((), seen):
        low = quantize_weights(model, HERE, bits=bits, samples=used)
        onnx.checker.check_model(low)
        noise[len(used)] = sum(np.square(output(low, x) - x @ weight).sum() for x in unseen)
    assert noise[6] < noise[0] / 4


def test_embeddings_keep_their_rows() -> None:
    draw = np.random.default_rng(8)
    table = (draw.standard_normal((200, 64)) * np.geomspace(0.01, 10, 200)[:, None]).astype("float32")
    nodes = [
        helper.make_node("Cast", ["x"], ["i"], to=onnx.TensorProto.INT64),
        helper.make_node("Gather", ["t", "i"], ["e"], "embed"),
        helper.make_node("MatMul", ["e", "w"], ["y"], "p"),
    ]
    model = network(nodes, {"t": table, "w": np.eye(64, dtype="float32")}, (5,))
    low = quantize_weights(model, HERE)
    assert len(low.SerializeToString()) < 0.35 * len(model.SerializeToString())
    rows = np.array([0, 3, 50, 150, 199])
    error = np.abs(output(low, rows.astype("float32")) - table[rows]).max(axis=1)
    assert (error <= 1.01 / 127 * np.abs(table[rows]).max(axis=1)).all()


def test_dynamic_products_follow_their_inputs() -> None:
    model = products(1.0)
    low = quantize_dynamically(model, HERE)
    assert {"DynamicQuantizeLinear", "MatMulInteger"} <= {node.op_type for node in low.graph.node}
    x = np.random.default_rng(9).standard_normal((1, 16, 32)).astype("float32")
    for factor in (1.0, 1000.0):
        exact = output(model, x * np.float32(factor))
        assert np.abs(output(low, x * np.float32(factor)) - exact).max() < 0.02 * np.abs(exact).max()
    only = network([helper.make_node("Conv", ["x", "w"], ["y"])], {"w": np.ones((2, 3, 1, 1), "f4")}, (1, 3, 8, 8))
    with pytest.raises(UserError, match="has none"):
        quantize_dynamically(only, HERE)


def test_observers_cut_outliers() -> None:
    values = np.concatenate([np.random.default_rng(10).standard_normal(200_000), [40.0]])
    counts, edges = np.histogram(values, 2048)
    for name in ("percentile", "entropy"):
        clip = OBSERVERS[name]
        assert clip is not None
        low, high = clip(counts, edges)
        assert -6 < low < -2, name
        assert 2 < high < 10, name
    flat, edges = np.histogram(np.linspace(-1, 1, 100_000), 2048)
    clip = OBSERVERS["entropy"]
    assert clip is not None
    low, high = clip(flat, edges)
    assert low < -0.97
    assert high > 0.97


def test_search_finds_the_fewest_layers() -> None:
    ranking = [(f"layer{index}", 1.0 / (index + 1)) for index in range(40)]
    for needed in (0, 1, 2, 5, 16, 17, 39):
        trials = []

        def judge(model: onnx.ModelProto, needed: int = needed, trials: list[int] = trials) -> tuple[float, float]:
            count = len(model.graph.node)
            trials.append(count)
            return 0.0, 0.0 if count >= needed else 1.0

        def build(names: object) -> onnx.ModelProto:
            model = onnx.ModelProto()
            for _ in list(names):  # type: ignore[call-overload]
                model.graph.node.add()
            return model

        found = search(ranking, build, judge, 0.5)
        assert found.met
        assert len(found.reverted) == needed
        assert len(trials) == len(set(trials)) <= 13
    assert not search(ranking, build, lambda model: (0.0, 1.0), 0.5).met


def test_a_model_that_shares_a_weight(images: list[Array]) -> None:
    weight = np.random.default_rng(11).standard_normal((3, 3, 3, 3)).astype("float32")
    nodes = [helper.make_node("Conv", ["x", "w"], ["a"], "a", pads=[1] * 4),
             helper.make_node("Conv", ["a", "w"], ["y"], "b", pads=[1] * 4)]  # fmt: skip
    model = network(nodes, {"w": weight}, (1, 3, 8, 8))
    low = prepare(model, HERE, samples(images), Recipe()).quantized()
    exact = output(model, images[0])
    assert np.linalg.norm(output(low, images[0]) - exact) < 0.03 * np.linalg.norm(exact)
    names = [tensor.name for tensor in low.graph.initializer]
    assert "w" not in names
    assert len(names) == len(set(names))
    assert all(numpy_helper.to_array(tensor).dtype != np.float64 for tensor in low.graph.initializer)
