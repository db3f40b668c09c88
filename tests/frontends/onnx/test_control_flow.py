"""What is decided at import: constant conditions, unrolled loops, sequences, optionals; and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from control_flow_models import BOOL, FLOAT, INT64, Array, body, model, reference, value
from onnx import GraphProto, NodeProto, TensorProto, helper
from onnx_models import import_model
from relax_runner import run_module

from tilewright.errors import UnsupportedOperators, UserError

node = helper.make_node
X = np.arange(12, dtype="float32").reshape(3, 4)
COUNTED = [value("i", INT64), value("before", BOOL)]
ON = node("Identity", ["before"], ["after"])


def matrices(*names: str) -> list[onnx.ValueInfoProto]:
    return [value(name, FLOAT, (3, 4)) for name in names]


def unknown(*names: str, rank: int = 2) -> list[onnx.ValueInfoProto]:
    """Return values of unknown sizes."""
    return [helper.make_tensor_value_info(name, FLOAT, [None] * rank) for name in names]


def check_static(made: onnx.ModelProto, inputs: dict[str, Array], wanted: list[Array] | None = None) -> None:
    """Assert that a model is imported without control flow and computes what onnxruntime does."""
    imported = import_model(made)
    assert len(imported.module.functions) == 1
    results = run_module(imported.module, list(inputs.values()))
    for result, array in zip(results, wanted or reference(made, inputs), strict=True):
        np.testing.assert_allclose(result, array, rtol=1e-6)


def test_a_constant_condition_leaves_one_branch() -> None:
    arms = {"then_branch": body([node("Neg", ["x"], ["t"])], [], matrices("t")),
            "else_branch": body([node("Transpose", ["x"], ["e"])], [], unknown("e"))}  # fmt: skip
    check_static(model([node("If", ["c"], ["y"], **arms)], {"x": X}, matrices("y"), {"c": np.array(True)}), {"x": X})


def test_a_loop_whose_values_grow_is_unrolled() -> None:
    grown = body([node("Concat", ["h", "x"], ["h2"], axis=0), ON], [*COUNTED, *unknown("h")],
                 [value("after", BOOL), *unknown("h2")])  # fmt: skip
    whole = node("Loop", ["m", "", "x"], ["y"], body=grown)
    check_static(model([whole], {"x": X}, unknown("y"), {"m": np.array(3)}), {"x": X})


def test_a_loop_over_positions_is_unrolled() -> None:
    picked = body(
        [node("Add", ["i", "one"], ["j"]),
         node("Unsqueeze", ["i", "zero"], ["a"]), node("Unsqueeze", ["j", "zero"], ["b"]),
         node("Slice", ["x", "a", "b", "zero"], ["row"]), ON],
        COUNTED, [value("after", BOOL), *unknown("row")],
        {"one": np.array(1), "zero": np.array([0])},
    )  # fmt: skip
    whole = node("Loop", ["m", ""], ["y"], body=picked)
    check_static(model([whole], {"x": X}, unknown("y", rank=3), {"m": np.array(3)}), {"x": X})


def test_a_loop_over_constants_is_computed_now() -> None:
    doubled = body([node("Add", ["h", "h"], ["h2"]), node("Less", ["h2", "end"], ["after"])],
                   [*COUNTED, value("h", INT64)], [value("after", BOOL), value("h2", INT64)])  # fmt: skip
    nodes = [
        node("Loop", ["m", "", "one"], ["size"], body=doubled),
        node("Reshape", ["size", "four"], ["sizes"]),
        node("Expand", ["x", "sizes"], ["y"]),
    ]
    held = {"m": np.array(20), "one": np.array(1), "end": np.array(7), "four": np.array([1])}
    inputs = {"x": np.ones(1, "float32")}
    check_static(model(nodes, inputs, [value("y", FLOAT, (8,))], held), inputs)


def test_no_iteration_at_all() -> None:
    same = body([node("Neg", ["h"], ["h2"]), ON], [*COUNTED, *matrices("h")], [value("after", BOOL), *matrices("h2")])
    whole = node("Loop", ["m", "", "x"], ["y"], body=same)
    check_static(model([whole, node("Abs", ["y"], ["z"])], {"x": X}, matrices("z"), {"m": np.array(0)}), {"x": X})


def test_sequences_are_lists_at_import() -> None:
    nodes = [
        node("SplitToSequence", ["x", "sizes"], ["s"], axis=1),
        node("SequenceAt", ["s", "last"], ["b"]),
        node("SequenceErase", ["s", "zero"], ["s1"]),
        node("SequenceInsert", ["s1", "b", "zero"], ["s2"]),
        node("SequenceConstruct", ["x", "x"], ["t"]),
        node("SequenceAt", ["t", "zero"], ["x2"]),
        node("SequenceInsert", ["s2", "x2"], ["s3"]),
        node("SequenceLength", ["s3"], ["n"]),
        node("ConcatFromSequence", ["s3"], ["y"], axis=-1),
        node("ConcatFromSequence", ["t"], ["z"], axis=1, new_axis=1),
    ]
    held = {"sizes": np.array([1, 3]), "last": np.array(-1), "zero": np.array(0)}
    outputs = [*unknown("y"), *unknown("z", rank=3), value("n", INT64)]
    check_static(model(nodes, {"x": X}, outputs, held), {"x": X})


def test_a_sequence_in_a_loop_is_unrolled() -> None:
    inputs = [*COUNTED, helper.make_tensor_sequence_value_info("s", FLOAT, None)]
    outputs = [value("after", BOOL), helper.make_tensor_sequence_value_info("s2", FLOAT, None)]
    grown = body([node("SequenceInsert", ["s", "x"], ["s2"]), ON], inputs, outputs)
    nodes = [
        node("SequenceEmpty", [], ["none"]),
        node("Loop", ["m", "", "none"], ["s"], body=grown),
        node("ConcatFromSequence", ["s"], ["y"], axis=0),
    ]
    check_static(model(nodes, {"x": X}, unknown("y"), {"m": np.array(3)}), {"x": X})


def test_a_sequence_of_inputs_and_outputs_is_several_tensors() -> None:
    made = model([node("Identity", ["s"], ["t"])], {}, [helper.make_tensor_sequence_value_info("t", FLOAT, None)])
    made.graph.input.append(helper.make_tensor_sequence_value_info("s", FLOAT, ["n"]))
    imported = import_model(made, {"s.0": (3,), "s.1": (2,)})
    assert [(each.name, each.static_shape) for each in imported.signature.inputs] == [("s.0", (3,)), ("s.1", (2,))]
    assert [(each.name, each.static_shape) for each in imported.signature.outputs] == [("t.0", (3,)), ("t.1", (2,))]
    with pytest.raises(UserError, match=r"input 's' is a sequence: give the shape .*s\.0:"):
        import_model(made)


def test_optionals() -> None:
    nodes = [
        node("Optional", ["x"], ["o"]),
        node("OptionalHasElement", ["o"], ["has"]), node("OptionalGetElement", ["o"], ["v"]),
        node("Optional", [], ["nothing"], type=helper.make_tensor_type_proto(FLOAT, None)),
        node("OptionalHasElement", ["nothing"], ["lacks"]),
    ]  # fmt: skip
    made = model(nodes, {"x": X}, [value("has", BOOL), value("lacks", BOOL), *matrices("v")], opset=18)
    check_static(made, {"x": X}, [np.array(True), np.array(False), X])


def loop_of(nodes: list[NodeProto], inputs: list[Any], outputs: list[Any], *operands: str) -> onnx.ModelProto:
    whole = node("Loop", list(operands), ["y"], name="rounds", body=body(nodes, inputs, outputs))
    return model([whole], {"x": X, "n": np.array(2), "c": np.array(True)}, unknown("y"), {"two": np.array(2)})


def if_of(then: GraphProto, otherwise: GraphProto) -> onnx.ModelProto:
    whole = node("If", ["c"], ["y"], name="choice", then_branch=then, else_branch=otherwise)
    return model([whole], {"x": X, "c": np.array(True)}, unknown("y"))


NEGATED = ([node("Neg", ["h"], ["h2"]), ON], [*COUNTED, *matrices("h")], [value("after", BOOL), *matrices("h2")])
GROWN = ([node("Concat", ["h", "h"], ["h2"], axis=0), ON], [*COUNTED, *unknown("h")],
         [value("after", BOOL), *unknown("h2")])  # fmt: skip
COLLECTED = ([node("Neg", ["x"], ["s"]), ON], COUNTED, [value("after", BOOL), *matrices("s")])

REFUSED = {
    "branches differ": (
        if_of(body([node("Neg", ["x"], ["t"])], [], matrices("t")),
              body([node("ReduceSum", ["x"], ["e"], keepdims=0)], [], unknown("e"))),
        r"node If 'choice': its branches give 'y' different ranks .*float32 \[3, 4\] and float32 \[\].*constant",
    ),
    "values grow": (
        loop_of(*GROWN, "n", "", "x"),
        r"node Loop 'rounds': its carried value 'h' changes its shape .*\[3, 4\] becomes float32 \[6, 4\]",
    ),
    "iterations decide a length": (
        loop_of(*COLLECTED, "n", ""),
        r"node Loop 'rounds': the number of its iterations decides the length of its scan result 's'",
    ),
    "too few operands": (loop_of(*NEGATED, "two", ""), r"node Loop 'rounds': its body has 3 inputs and 2 outputs"),
    "a trip count of floats": (loop_of(*NEGATED, "x", "", "x"), r"node Loop 'rounds': its trip count must be one"),
    "nothing to read": (
        loop_of([node("Neg", ["gone"], ["h2"]), ON], NEGATED[1], NEGATED[2], "n", "", "x"),
        r"gone",
    ),
    "a scan without a length": (
        model([node("Scan", ["x"], ["y"], name="scan", num_scan_inputs=3,
                    body=body([node("Neg", ["a"], ["b"])], unknown("a"), unknown("b")))], {"x": X}, unknown("y")),
        r"node Scan 'scan': its body has 1 inputs and 1 outputs, which do not fit its 1 operands, 3 of them scanned",
    ),
    "a position that depends on inputs": (
        model([node("SequenceConstruct", ["x", "x"], ["s"]), node("SequenceAt", ["s", "n"], ["y"], name="pick")],
              {"x": X, "n": np.array(0)}, unknown("y")),
        r"node SequenceAt 'pick': its position must be constant",
    ),
    "a position that does not exist": (
        model([node("SequenceConstruct", ["x", "x"], ["s"]), node("SequenceAt", ["s", "n"], ["y"], name="pick")],
              {"x": X}, unknown("y"), {"n": np.array(2)}),
        r"node SequenceAt 'pick': position 2 does not exist in a sequence of 2 places",
    ),
    "an empty output": (
        model([node("SequenceEmpty", [], ["y"])], {"x": X}, [helper.make_tensor_sequence_value_info("y", FLOAT, None)]),
        r"output 'y' is an optional or a sequence that holds nothing",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_compiled_is_refused_with_the_node(case: str) -> None:
    made, sentence = REFUSED[case]
    with pytest.raises(UserError, match=sentence):
        import_model(made)


def test_an_operator_inside_a_body_that_nothing_takes_is_named() -> None:
    strings = node("StringNormalizer", ["k"], ["t"], name="inner")
    then = body([strings], [], [value("t", TensorProto.STRING, (1,))])
    made = if_of(then, then)
    made.graph.initializer.append(helper.make_tensor("k", TensorProto.STRING, [1], [b"a"]))
    with pytest.raises((UnsupportedOperators, UserError), match=r"strings|StringNormalizer"):
        import_model(made)
