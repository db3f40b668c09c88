"""Libraries with branches and loops compute what onnxruntime computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from control_flow_models import BOOL, FLOAT, INT64, Array, body, check, compile_to, model, value
from onnx import GraphProto, NodeProto, helper

from tilewright.runtime import load

node = helper.make_node
X = np.random.default_rng(0).standard_normal((4, 5)).astype("float32")
W = np.random.default_rng(1).standard_normal((5, 5)).astype("float32") * np.float32(0.5)
YES, NO = np.array(True), np.array(False)
MATRIX = (4, 5)
#: What every body of a Loop reads first.
COUNTED = [value("i", INT64), value("before", BOOL)]


def tensors(*names: str, shape: tuple[int, ...] = MATRIX) -> list[Any]:
    return [value(name, FLOAT, shape) for name in names]


def loop_body(
    nodes: list[NodeProto], carried: dict[str, str], scans: tuple[str, ...] = (), going: str = "", **constants: Array
) -> GraphProto:
    """Return a body over matrices; ``carried`` says what each value becomes."""
    ends = [] if going else [node("Identity", ["before"], ["after"])]
    results = [value(going or "after", BOOL), *tensors(*carried.values(), *scans)]
    return body([*nodes, *ends], [*COUNTED, *tensors(*carried)], results, constants)


def test_both_branches_write_to_one_place(tmp_path: Path) -> None:
    then = body([node("MatMul", ["x", "w"], ["t"])], [], tensors("t"))
    otherwise = body([node("Mul", ["x", "x"], ["e"])], [], tensors("e"))
    chosen = node("If", ["c"], ["y"], then_branch=then, else_branch=otherwise)
    made = model([chosen], {"c": YES, "x": X}, tensors("y"), {"w": W})
    library = check(tmp_path, made, {"c": YES, "x": X}, {"c": NO, "x": X})
    assert [step.name for step in library.steps] == ["only_matmul", "only_multiply"]
    assert library.manifest["bytes"]["arena"] == 0


def test_branches_hand_on_what_they_do_not_make(tmp_path: Path) -> None:
    then = body([node("Identity", ["x"], ["t"])], [], tensors("t", "k"), {"k": X[::-1].copy()})
    otherwise = body([node("Neg", ["x"], ["e"]), node("Identity", ["e"], ["f"])], [], tensors("e", "f"))
    chosen = node("If", ["c"], ["y", "z"], then_branch=then, else_branch=otherwise)
    made = model([chosen, node("Add", ["y", "z"], ["s"])], {"c": YES, "x": X}, tensors("s", "y", "z"))
    check(tmp_path, made, {"c": YES, "x": X}, {"c": NO, "x": X})


def test_a_constant_trip_count_and_scan_results(tmp_path: Path) -> None:
    nodes = [
        node("MatMul", ["h", "w"], ["hw"]), node("Tanh", ["hw"], ["h2"]),
        node("Cast", ["i"], ["f"], to=FLOAT), node("Add", ["h2", "f"], ["s"]),
    ]  # fmt: skip
    whole = node("Loop", ["m", "", "x"], ["y", "ys"], body=loop_body(nodes, {"h": "h2"}, ("s",)))
    outputs = [*tensors("y"), *tensors("ys", shape=(7, *MATRIX))]
    library = check(tmp_path, model([whole], {"x": X}, outputs, {"w": W, "m": np.array(7)}), {"x": X})
    flops = {step.name: step.flops for step in library.steps}
    assert flops["fused_matmul_tanh"] == pytest.approx(7 * 2 * 4 * 5 * 5, rel=0.2)
    times = load(tmp_path / "model.so", threads=1).profile({"x": X})
    assert [each.name for each in times] == [each.name for each in library.steps]


def test_run_time_trip_counts_and_conditions(tmp_path: Path) -> None:
    nodes = [
        node("MatMul", ["h", "w"], ["hw"]), node("Tanh", ["hw"], ["h2"]),
        node("ReduceSum", ["h2"], ["s"], keepdims=0), node("Less", ["s", "limit"], ["after"]),
    ]  # fmt: skip
    whole = node("Loop", ["m", "c", "x"], ["y"], body=loop_body(nodes, {"h": "h2"}, going="after"))
    cases = [
        {"x": X, "m": np.array(trips), "c": begins, "limit": np.array(limit, np.float32)}
        for trips in (-1, 0, 1, 2, 9)
        for begins in (YES, NO)
        for limit in (-100, 0.5, 100)
    ]
    check(tmp_path, model([whole], cases[0], tensors("y"), {"w": W}), *cases)


def test_values_that_swap_stay_and_come_from_outside(tmp_path: Path) -> None:
    """a, b = b, a + b; k stays; o becomes a value from outside."""
    nodes = [
        node("Add", ["a", "b"], ["sum"]),
        *(node("Identity", [each], [f"{each}2"]) for each in ("b", "k", "outer")),
    ]
    carried = {"a": "b2", "b": "sum", "k": "k2", "o": "outer2"}
    whole = node("Loop", ["m", "c", "x", "z", "z", "x"], ["p", "q", "r", "u"],
                 body=loop_body(nodes, carried))  # fmt: skip
    nodes = [node("Relu", ["x"], ["outer"]), whole, node("Add", ["p", "r"], ["v"])]
    cases = [{"x": X, "z": X * 2, "m": np.array(trips), "c": YES} for trips in (0, 1, 2, 5)]
    check(tmp_path, model(nodes, cases[0], tensors("p", "q", "r", "u", "v")), *cases)


def test_carried_values_of_several_types(tmp_path: Path) -> None:
    kinds = {"a": ("float64", 11), "b": ("int64", 7), "c": ("int32", 6), "d": ("uint8", 2), "e": ("float16", 10)}
    arrays = {name: np.arange(3).astype(kind) for name, (kind, _) in kinds.items()}
    nodes = [node("Add", [name, name], [f"{name}2"]) for name in kinds]
    inputs = [*COUNTED, *(value(name, code, (3,)) for name, (_, code) in kinds.items())]
    results = [value("before", BOOL), *(value(f"{name}2", code, (3,)) for name, (_, code) in kinds.items())]
    whole = node("Loop", ["m", "", *kinds], [f"y{name}" for name in kinds], body=body(nodes, inputs, results))
    outputs = [value(f"y{name}", code, (3,)) for name, (_, code) in kinds.items()]
    cases = [{**arrays, "m": np.array(trips)} for trips in (0, 1, 4)]
    check(tmp_path, model([whole], cases[0], outputs), *cases)


def test_branches_in_loops_in_loops(tmp_path: Path) -> None:
    """Captures of two levels, a branch that the iteration decides, scan results of the inner loop."""
    then = body([node("MatMul", ["g", "w"], ["t"])], [], tensors("t"))
    otherwise = body([node("Sub", ["g", "x"], ["e"])], [], tensors("e"))
    inner = loop_body(
        [node("Greater", ["j", "i"], ["more"]), node("If", ["more"], ["g2"], then_branch=then, else_branch=otherwise)],
        {"g": "g2"}, ("g2",),
    )  # fmt: skip
    inner.input[0].name, inner.input[1].name = "j", "inside"
    inner.node[-1].input[0] = "inside"
    nodes = [
        node("Loop", ["three", "", "h"], ["h1", "all"], body=inner),
        node("ReduceMean", ["all"], ["mean"], axes=[0], keepdims=0),
        node("Tanh", ["h1"], ["h2"]),
    ]
    whole = node("Loop", ["m", "", "x"], ["y", "ys"], body=loop_body(nodes, {"h": "h2"}, ("mean",)))
    held = {"w": W, "m": np.array(4), "three": np.array(3)}
    check(tmp_path, model([whole], {"x": X}, [*tensors("y"), *tensors("ys", shape=(4, *MATRIX))], held), {"x": X})


def test_joins_and_slices_inside_loops(tmp_path: Path) -> None:
    """A join in a loop of what was made outside it, of a carried value and of a slice of one."""
    nodes = [
        node("Relu", ["h"], ["r"]), node("Concat", ["outer", "r", "h"], ["j"], axis=0),
        node("Slice", ["j", "two", "six"], ["h2"]), node("Add", ["h2", "outer"], ["s"]),
    ]  # fmt: skip
    whole = node("Loop", ["m", "", "x"], ["y", "ys"], body=loop_body(nodes, {"h": "h2"}, ("s",)))
    nodes = [node("Sigmoid", ["x"], ["outer"]), whole, node("Concat", ["outer", "y"], ["z"], axis=0)]
    held = {"m": np.array(3), "two": np.array([2]), "six": np.array([6])}
    outputs = [*tensors("y"), *tensors("ys", shape=(3, *MATRIX)), *tensors("z", shape=(8, 5))]
    check(tmp_path, model(nodes, {"x": X}, outputs, held), {"x": X})


@pytest.mark.parametrize("backwards", [0, 1])
def test_scans_of_axes_and_directions(tmp_path: Path, backwards: int) -> None:
    step = body(
        [
            node("Add", ["s", "a"], ["s2"]), node("Mul", ["s2", "b"], ["o"]), node("Max", ["p", "a"], ["p2"]),
            node("Identity", ["a"], ["a2"]),
        ],
        tensors("s", "p", "a", "b", shape=(5,)),
        tensors("s2", "p2", "o", "a2", shape=(5,)),
    )  # fmt: skip
    whole = node(
        "Scan", ["z", "z", "x", "t"], ["last", "most", "o", "same"], body=step, num_scan_inputs=2,
        scan_input_directions=[0, backwards], scan_input_axes=[0, -1],
        scan_output_axes=[-1, 0], scan_output_directions=[backwards, 1],
    )  # fmt: skip
    inputs = {"x": X, "t": X.T.copy(), "z": X[1]}
    outputs = [*tensors("last", "most", shape=(5,)), *tensors("o", shape=(5, 4)), *tensors("same")]
    check(tmp_path, model([whole], inputs, outputs), inputs)


def test_a_scan_of_the_first_kind_has_sequences_side_by_side(tmp_path: Path) -> None:
    step = body([node("Add", ["s", "a"], ["s2"]), node("Identity", ["s2"], ["o"])],
                tensors("s", "a", shape=(2,)), tensors("s2", "o", shape=(2,)))  # fmt: skip
    whole = node("Scan", ["", "z", "x"], ["y", "o"], body=step, num_scan_inputs=1)
    x = np.arange(24, dtype="float32").reshape(3, 4, 2)
    inputs = {"z": np.ones((3, 2), "float32"), "x": x}
    outputs = [*tensors("y", shape=(3, 2)), *tensors("o", shape=(3, 4, 2))]
    compile_to(tmp_path, model([whole], inputs, outputs, opset=8))
    last, sums = load(tmp_path / "model.so", threads=1)(*inputs.values())
    np.testing.assert_allclose(np.asarray(sums), 1 + np.cumsum(x, 1))
    np.testing.assert_allclose(np.asarray(last), 1 + x.sum(1))


@pytest.mark.parametrize("seed", range(6))
def test_random_nests(tmp_path: Path, seed: int) -> None:
    """Random bodies of branches and loops over three matrices, each of which may be captured, carried or made."""
    made = _Nest(seed).model()
    rng = np.random.default_rng(seed)
    draws = [rng.standard_normal(MATRIX).astype("float32") for _ in range(3)]
    cases = [
        {"a": draws[0], "b": draws[1], "c": draws[2], "n": np.array(trips), "p": np.array(bool(trips % 2))}
        for trips in (0, 1, 2, 3)
    ]
    check(tmp_path, made, *cases)


class _Nest:
    """Builds graphs from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(1000 + seed)
        self.names = 0

    def model(self) -> Any:
        inputs = {"a": X, "b": X, "c": X, "n": np.array(2), "p": YES}
        nodes, values = self.graph(["a", "b", "c"], 3)
        return model(nodes, inputs, tensors(*dict.fromkeys(values[-3:])), {"w": W, "two": np.array(2)})

    def graph(self, values: list[str], depth: int) -> tuple[list[NodeProto], list[str]]:
        nodes: list[NodeProto] = []
        values = list(values)
        makers = [self.pointwise, self.product, *([self.branch, self.loop] if depth else [])]
        for _ in range(4):
            maker = makers[int(self.random.integers(len(makers)))]
            values += maker(nodes, values, depth - 1)
        return nodes, values

    def new(self) -> str:
        self.names += 1
        return f"v{self.names}"

    def pick(self, values: list[str]) -> str:
        return values[int(self.random.integers(len(values)))]

    def pointwise(self, nodes: list[NodeProto], values: list[str], _: int) -> list[str]:
        name, half = self.new(), self.new()
        nodes.append(node("Sub", [self.pick(values), self.pick(values)], [half]))
        nodes.append(node("Tanh", [half], [name]))
        return [name]

    def product(self, nodes: list[NodeProto], values: list[str], _: int) -> list[str]:
        name = self.new()
        nodes.append(node("MatMul", [self.pick(values), "w"], [name]))
        return [name]

    def arm(self, values: list[str], depth: int) -> GraphProto:
        nodes, inside = self.graph(values, depth)
        results = [self.new(), self.new()]
        for result in results:
            nodes.append(node("Identity", [self.pick(inside)], [result]))
        return body(nodes, [], tensors(*results))

    def branch(self, nodes: list[NodeProto], values: list[str], depth: int) -> list[str]:
        names = [self.new(), self.new()]
        arms = {"then_branch": self.arm(values, depth), "else_branch": self.arm(values, depth)}
        nodes.append(node("If", ["p"], names, **arms))
        return names

    def loop(self, nodes: list[NodeProto], values: list[str], depth: int) -> list[str]:
        inside, results = [self.new(), self.new()], [self.new(), self.new()]
        count, before, after = self.new(), self.new(), self.new()
        held, made = self.graph([*values, *inside], depth)
        for result in results:
            held.append(node("Identity", [self.pick(made[-6:])], [result]))
        held.append(node("Identity", [before], [after]))
        inputs = [value(count, INT64), value(before, BOOL), *tensors(*inside)]
        names = [self.new(), self.new()]
        trips = self.pick(["n", "two"])
        whole = body(held, inputs, [value(after, BOOL), *tensors(*results)])
        nodes.append(node("Loop", [trips, "", self.pick(values), self.pick(values)], names, body=whole))
        return names
