"""Branches and loops whose values have sizes that only a run knows, against onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from control_flow_models import BOOL, FLOAT, INT64, body, check, model, value
from onnx import helper

node = helper.make_node
X = np.random.default_rng(0).standard_normal((4, 6)).astype("float32")
YES, NO = np.array(True), np.array(False)


def sized(name: str, rank: int = 2, kind: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, [None] * rank)


def test_branches_of_different_sizes(tmp_path: Path) -> None:
    then = body(
        [node("Slice", ["x", "b", "e"], ["s"]), node("Exp", ["s"], ["t"])], [], [value("t", FLOAT, None)],
        {"b": np.array([1, 1]), "e": np.array([3, 4])},
    )  # fmt: skip
    otherwise = body([node("Transpose", ["x"], ["o"], perm=[1, 0])], [], [value("o", FLOAT, None)])
    nodes = [
        node("If", ["c"], ["y"], then_branch=then, else_branch=otherwise),
        node("Softmax", ["y"], ["z"], axis=-1),
        node("Shape", ["z"], ["n"]),
        node("ReduceSum", ["z", "first"], ["s"], keepdims=0),
    ]
    outputs = [sized("y"), sized("z"), sized("n", 1, INT64), sized("s", 1)]
    made = model(nodes, {"c": YES, "x": X}, outputs, {"first": np.array([0])})
    library = check(tmp_path, made, {"c": YES, "x": X}, {"c": NO, "x": X})
    assert library.outputs[0].largest == (6, 4)


def test_a_result_handed_out_twice_and_one_that_is_known(tmp_path: Path) -> None:
    """The same value in a large place and in a small one; a constant; a captured value."""
    then = body(
        [node("Neg", ["x"], ["t"]), node("Identity", ["t"], ["t2"])],
        [],
        [value(each, FLOAT, None) for each in ("t", "t2", "k")],
        {"k": X[:1].copy()},
    )
    otherwise = body(
        [node("Concat", ["x", "x"], ["o"], axis=0), node("Abs", ["x"], ["a"]), node("Identity", ["x"], ["same"])], [],
        [value(each, FLOAT, None) for each in ("o", "a", "same")],
    )  # fmt: skip
    nodes = [
        node("If", ["c"], ["p", "q", "r"], then_branch=then, else_branch=otherwise),
        node("Add", ["q", "q"], ["q2"]), node("Relu", ["r"], ["r2"]),
    ]  # fmt: skip
    outputs = [sized(each) for each in ("p", "q2", "r2")]
    made = model(nodes, {"c": YES, "x": X}, outputs)
    check(tmp_path, made, {"c": YES, "x": X}, {"c": NO, "x": X})


def test_a_branch_that_finds_its_size_in_the_data(tmp_path: Path) -> None:
    then = body([node("NonZero", ["x"], ["t"])], [], [value("t", INT64, None)])
    otherwise = body([], [], [value("k", INT64, None)], {"k": np.arange(6).reshape(2, 3)})
    nodes = [node("If", ["c"], ["y"], then_branch=then, else_branch=otherwise), node("Add", ["y", "y"], ["z"])]
    made = model(nodes, {"c": YES, "x": X}, [sized("z", 2, INT64)])
    sparse = np.where(X > 0.5, X, 0).astype("float32")
    check(tmp_path, made, *({"c": c, "x": x} for c in (YES, NO) for x in (X, sparse)))


def test_an_empty_branch_in_a_loop(tmp_path: Path) -> None:
    """The sum of an If's result in each iteration; the branch of odd iterations gives nothing."""
    then = body([], [], [value("k", FLOAT, None)], {"k": np.zeros((0, 6), np.float32)})
    otherwise = body([node("Identity", ["x"], ["o"])], [], [value("o", FLOAT, None)])
    nodes = [
        node("Mod", ["i", "two"], ["odd"]), node("Cast", ["odd"], ["is"], to=BOOL),
        node("If", ["is"], ["part"], then_branch=then, else_branch=otherwise),
        node("ReduceSum", ["part"], ["sum"], keepdims=0), node("Add", ["h", "sum"], ["h2"]),
        node("Identity", ["before"], ["after"]),
    ]  # fmt: skip
    inputs = [value("i", INT64), value("before", BOOL), value("h", FLOAT)]
    looped = body(nodes, inputs, [value("after", BOOL), value("h2", FLOAT)], {"two": np.array(2)})
    whole = node("Loop", ["m", "", "zero"], ["y"], body=looped)
    cases = [{"x": X, "m": np.array(trips)} for trips in (0, 1, 5)]
    made = model([whole], cases[0], [value("y", FLOAT)], {"zero": np.array(0, np.float32)})
    check(tmp_path, made, *cases)
