"""Recurrent layers: as plain operators, and compiled, against onnxruntime; and what is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx.backend.test.loader import load_model_tests
from onnx_models import Array, check_model, import_model, model_of, normal, operator_names

import tilewright
from tilewright import runtime
from tilewright.errors import UserError
from tilewright.recurrent import BACKWARDS, KINDS

#: Relative to the largest result. Weights are small enough that rounding does not grow from step to step.
TOLERANCE = 1e-5
Layer = tuple[onnx.ModelProto, dict[str, Array]]


def layer(
    op_type: str,
    sizes: tuple[int, int, int, int] = (4, 2, 3, 5),
    operands: Mapping[str, bool] | None = None,
    lengths: list[int] | None = None,
    constant: bool = True,
    **attributes: Any,
) -> Layer:
    """Return a model of one layer with all results, and its inputs.

    Args:
        sizes: steps, sequences, inputs, units.
        operands: which of "bias", "initial_h", "initial_c", "peephole" there are.
        constant: whether weights are in the model; else they are inputs.
    """
    steps, batch, inputs, units = sizes
    kind = KINDS[op_type.lower()]
    directions = len(BACKWARDS[attributes.get("direction", "forward")])
    rows, first = kind.gates * units, bool(attributes.get("layout"))
    scale = units**-0.5
    state = (batch, directions, units) if first else (directions, batch, units)
    given = {"x": normal(*((batch, steps) if first else (steps, batch)), inputs)}
    weights = {"w": normal(directions, rows, inputs, seed=1), "r": normal(directions, rows, units, seed=2) * scale}
    has = {name for name, present in (operands or {}).items() if present}
    if "bias" in has:
        weights["bias"] = normal(directions, 2 * rows, seed=3)
    if lengths is not None:
        given["lengths"] = np.array(lengths, "int32")
    for seed, name in enumerate(("initial_h", "initial_c"), 4):
        if name in has:
            given[name] = normal(*state, seed=seed)
    if "peephole" in has:
        weights["peephole"] = normal(directions, 3 * units, seed=6)
    every = {**given, **weights}
    order = ["x", "w", "r", "bias", "lengths", "initial_h", *(["initial_c", "peephole"] if kind.cell else [])]
    node = helper.make_node(
        op_type,
        [name if name in every else "" for name in order],
        ["y", "y_h", "y_c"][: 2 + kind.cell],
        hidden_size=units,
        **attributes,
    )
    if not constant:
        return model_of([node], every), every
    return model_of([node], given, weights), given


def check_compiled(made: Layer, folder: Path, optimization: int = 3) -> None:
    """Assert that the library of a model computes what onnxruntime computes, on one thread and on two."""
    model, inputs = made
    session = onnxruntime.InferenceSession(model.SerializeToString())
    expected = session.run(None, inputs)
    onnx.save(model, folder / "model.onnx")
    library = folder / "model.so"
    tilewright.compile(folder / "model.onnx", optimization=optimization, jobs=1).save(library)
    for threads in (1, 2):
        with runtime.load(library, threads=threads) as loaded:
            results = [np.full_like(each, np.nan) for each in expected]
            loaded(*[inputs[spec.name] for spec in loaded.inputs], out=results)
        for result, wanted in zip(results, expected, strict=True):
            np.testing.assert_allclose(result, wanted, rtol=0, atol=TOLERANCE * max(1e-3, np.abs(wanted).max()))


@st.composite
def layers(draw: Any) -> Layer:
    """Draw a layer of any kind with any options that onnxruntime takes too."""
    op_type = draw(st.sampled_from(("LSTM", "GRU", "RNN")))
    units = draw(st.one_of(st.integers(1, 40), st.sampled_from((64, 100))))
    steps, batch = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    sizes = (steps, batch, draw(st.integers(1, 9)), units)
    names = ["bias", "initial_h", *(["initial_c", "peephole"] if op_type == "LSTM" else [])]
    attributes: dict[str, Any] = {"direction": draw(st.sampled_from(tuple(BACKWARDS)))}
    if draw(st.booleans()):
        attributes["clip"] = 0.5
    if op_type == "LSTM":
        attributes["input_forget"] = draw(st.integers(0, 1))
    if op_type == "GRU":
        attributes["linear_before_reset"] = draw(st.integers(0, 1))
    lengths = draw(st.one_of(st.none(), st.lists(st.integers(0, steps), min_size=batch, max_size=batch)))
    return layer(
        op_type, sizes, {name: draw(st.booleans()) for name in names}, lengths, draw(st.booleans()), **attributes
    )


@settings(max_examples=15, deadline=None, derandomize=True)
@given(layers())
def test_compiled(tmp_path_factory: pytest.TempPathFactory, made: Layer) -> None:
    check_compiled(made, tmp_path_factory.mktemp("layer"))


@pytest.mark.parametrize("op_type", ["LSTM", "GRU", "RNN"])
def test_compiled_with_all_options(op_type: str, tmp_path: Path) -> None:
    """At level 0, without layouts, by the plain kernel; large enough for threads at level 3."""
    every = dict.fromkeys(("bias", "initial_h"), True) | dict.fromkeys(("initial_c", "peephole"), op_type == "LSTM")
    made = layer(op_type, (3, 2, 4, 144), every, [3, 2], direction="bidirectional")
    for optimization in (0, 3):
        check_compiled(made, tmp_path, optimization)


@pytest.mark.parametrize("op_type", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("direction", BACKWARDS)
def test_plain_operators(op_type: str, direction: str) -> None:
    """The operator's meaning as plain Relax operators, which the kernels are not made from."""
    every = dict.fromkeys(("bias", "initial_h"), True) | dict.fromkeys(("initial_c", "peephole"), op_type == "LSTM")
    model, inputs = layer(op_type, operands=every, lengths=[3, 0], direction=direction, clip=0.7)
    check_model(model, inputs, rtol=TOLERANCE, atol=TOLERANCE)


def test_layer_is_a_projection_and_a_recurrence() -> None:
    """Zero states, zero biases and lengths that are the number of steps are no operands."""
    model, inputs = layer("LSTM", operands={"bias": True, "initial_h": True}, lengths=[4, 4])
    constants = {"initial_h": np.zeros_like(inputs["initial_h"]), "lengths": inputs["lengths"]}
    for name, array in constants.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
        model.graph.input.remove(next(each for each in model.graph.input if each.name == name))
    imported = import_model(model)
    assert operator_names(imported) == ["matmul", "add", "reshape", "tilewright.recurrent", "permute_dims"]
    (call,) = [
        binding.value
        for binding in imported.module["main"].body.blocks[0].bindings
        if getattr(getattr(binding.value, "op", None), "name", "") == "relax.tilewright.recurrent"
    ]
    assert call.attrs["operands"] == ""


@pytest.mark.parametrize("op_type", ["LSTM", "GRU", "RNN"])
def test_sequences_first(op_type: str) -> None:
    """Onnxruntime refuses ``layout=1``: compared with the same layer and its tensors transposed."""
    options = {"direction": "bidirectional", "operands": {"bias": True, "initial_h": True}}
    plain, inputs = layer(op_type, **options)  # type: ignore[arg-type]
    first, _ = layer(op_type, layout=1, **options)  # type: ignore[arg-type]
    turned = {name: np.ascontiguousarray(np.swapaxes(each, 0, 1)) for name, each in inputs.items()}
    expected = onnxruntime.InferenceSession(plain.SerializeToString()).run(None, inputs)
    results = _run(first, turned)
    np.testing.assert_allclose(results[0], expected[0].transpose(2, 0, 1, 3), atol=1e-5)
    for result, wanted in zip(results[1:], expected[1:], strict=True):
        np.testing.assert_allclose(result, wanted.swapaxes(0, 1), atol=1e-5)


def _run(model: onnx.ModelProto, inputs: Mapping[str, Array]) -> list[Array]:
    from relax_runner import run_module

    imported = import_model(model)
    results: list[Array] = run_module(imported.module, [inputs[spec.name] for spec in imported.signature.inputs])
    return results


@pytest.mark.parametrize(
    ("names", "alpha", "beta"),
    [
        (["HardSigmoid", "ScaledTanh", "Affine"], [0.3, 0.6, 0.7], [0.4, 1.2, 0.1]),
        (["Elu", "Softsign", "LeakyRelu"], [0.3], []),
        (["ThresholdedRelu", "Softplus", "Relu"], [0.3], []),
        (["sigmoid", "tanh", "RELU"], [], []),
        (["HardSigmoid", "LeakyRelu", "Elu"], [], []),
    ],
)
def test_activations(names: list[str], alpha: list[float], beta: list[float]) -> None:
    """Parameters go to the activations that take them, in order; defaults follow."""
    lists = {"activation_alpha": alpha, "activation_beta": beta}
    model, inputs = layer("LSTM", activations=names, **{name: values for name, values in lists.items() if values})
    check_model(model, inputs, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.filterwarnings("ignore")
def test_onnx_backend_cases_compiled(tmp_path: Path) -> None:
    """Their weights are inputs of the model, so that they are packed when it runs."""
    every = load_model_tests(kind="node")
    cases = [case for case in every if re.match(r"test_(lstm|gru|rnn|simple_rnn)_", case.name)]
    assert len(cases) >= 12
    for case in cases:
        ((inputs, outputs),) = case.data_sets
        onnx.save(case.model, tmp_path / f"{case.name}.onnx")
        library = tmp_path / f"{case.name}.so"
        tilewright.compile(tmp_path / f"{case.name}.onnx", jobs=1).save(library)
        with runtime.load(library) as loaded:
            results = [np.full_like(each, np.nan) for each in outputs]
            loaded(*inputs, out=results)
        for result, wanted in zip(results, outputs, strict=True):
            np.testing.assert_allclose(result, wanted, rtol=case.rtol, atol=1e-6, err_msg=case.name)


def test_refusals() -> None:
    with pytest.raises(UserError, match=r"node LSTM 'y': its activation 'Tan' is not supported \(did you mean 'Tanh'"):
        import_model(layer("LSTM", activations=["Sigmoid", "Tan", "Tanh"])[0])
    with pytest.raises(UserError, match="it has 1 activations where 4 are needed"):
        import_model(layer("GRU", direction="bidirectional", activations=["Tanh"])[0])
    model, _ = layer("GRU")
    model.graph.initializer[1].dims[1] = 16
    model.graph.initializer[1].raw_data = model.graph.initializer[1].raw_data + bytes(4 * 5)
    with pytest.raises(UserError, match=r"its weights R have the shape \[1, 16, 5\], not \[1, 15, 5\]"):
        import_model(model)
