"""Attention as exporters write it, from a model file to a library, against onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import NodeProto, helper
from onnx_models import Array, model_of, normal

import tilewright
from tilewright.runtime import load

BATCH, LENGTH, HEADS, DEPTH = 2, 37, 3, 20
WIDTH = HEADS * DEPTH


def heads(name: str, order: tuple[int, ...]) -> list[NodeProto]:
    """x -> its projection, cut in heads."""
    return [
        helper.make_node("MatMul", ["x", f"w{name}"], [f"{name}0"]),
        helper.make_node("Reshape", [f"{name}0", "cut"], [f"{name}1"]),
        helper.make_node("Transpose", [f"{name}1"], [name], perm=order),
    ]


def block(mask: str | None, guard: bool) -> list[NodeProto]:
    """Self attention with the projections around it."""
    nodes = [*heads("q", (0, 2, 1, 3)), *heads("k", (0, 2, 3, 1)), *heads("v", (0, 2, 1, 3))]
    nodes += [helper.make_node("MatMul", ["q", "k"], ["s0"]), helper.make_node("Mul", ["s0", "scale"], ["s1"])]
    nodes += [helper.make_node("Add", ["s1", mask], ["s"])] if mask else [helper.make_node("Identity", ["s1"], ["s"])]
    nodes.append(helper.make_node("Softmax", ["s"], ["p"], axis=-1))
    if guard:
        nodes += [helper.make_node("IsNaN", ["p"], ["bad"]), helper.make_node("Where", ["bad", "zero", "p"], ["p1"])]
    return [
        *nodes,
        helper.make_node("MatMul", ["p1" if guard else "p", "v"], ["o0"]),
        helper.make_node("Transpose", ["o0"], ["o1"], perm=(0, 2, 1, 3)),
        helper.make_node("Reshape", ["o1", "joined"], ["o2"]),
        helper.make_node("MatMul", ["o2", "wo"], ["y"]),
    ]


def constants() -> dict[str, Array]:
    weights = {f"w{name}": normal(WIDTH, WIDTH, seed=at) / np.float32(np.sqrt(WIDTH)) for at, name in enumerate("qkvo")}
    shapes = {"cut": np.array([BATCH, LENGTH, HEADS, DEPTH]), "joined": np.array([BATCH, LENGTH, WIDTH])}
    return {**weights, **shapes, "scale": np.float32([DEPTH**-0.5]), "zero": np.zeros((), "float32")}


@pytest.mark.parametrize("target", ["host", "x86-64"])
@pytest.mark.parametrize(
    ("shape", "guard"),
    [(None, False), ((BATCH, 1, 1, LENGTH), True), ((LENGTH, LENGTH), False), ((LENGTH, LENGTH), True)],
)
def test_agrees_with_onnxruntime(tmp_path: Path, shape: tuple[int, ...] | None, guard: bool, target: str) -> None:
    inputs = {"x": normal(BATCH, LENGTH, WIDTH)}
    if shape:
        inputs["mask"] = np.where(normal(*shape, seed=9) > 0.3, np.float32(-np.inf), np.float32(0))
        first = inputs["mask"][0] if len(shape) == 4 else inputs["mask"][:1]
        # A query may see no key at all only where a zero stands in for what is not a number then.
        first[...] = -np.inf if guard else 0.0
        inputs["mask"][1:, ..., 0] = 0.0
    used = constants() if guard else {name: value for name, value in constants().items() if name != "zero"}
    path = tmp_path / "attention.onnx"
    model = model_of(block("mask" if shape else None, guard), inputs, used)
    path.write_bytes(model.SerializeToString())
    (expected,) = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, inputs)
    library = load(tilewright.compile(path, target=target).save(tmp_path / "attention.so"), threads=2)
    assert np.isfinite(expected).all()
    assert np.abs(expected[-1]).max() > 0.1
    np.testing.assert_allclose(library(**inputs)["y"], expected, rtol=1e-5, atol=2e-6)
    assert "fused_attention" in {step.name for step in library.profile(**inputs)}
    assert not any("softmax" in step.name for step in library.profile(**inputs))
