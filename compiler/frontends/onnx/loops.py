"""A Loop or a Scan: one call of a block, or unrolled where only that gives every value one shape."""

from __future__ import annotations

from collections.abc import Sequence as Several
from typing import Any

import numpy as np
from onnx import GraphProto
from tvm import relax

from ....errors import UserError
from ....passes.control_flow import LoopFacts, loop
from ....shapes import is_static
from ....signature import TensorSpec
from ....tvm_names import dims_of, dtype_of, shape_of
from .blocks import Block, fields_of, make_block, same_types
from .folding import static_dims
from .functions import reads_of
from .graph_rows import GraphNode, is_tensor_value, known, leaves_of, structure_of
from .interface import numpy_dtype
from .scanning import slice_of, stacked

#: A loop is unrolled into this many nodes at the most.
_MOST_NODES = 20_000


class LoopNode:
    """A loop being imported.

    Args:
        node: the Loop or Scan.
        graph: its body.
        initial: carried values before the first iteration.
        scanned: tensors of which each iteration reads a slice of the first axis; they decide the number of iterations.
        trips: the trip count, None for any.
        condition: whether to begin, None for yes.
        counts: whether the body is that of a Loop: it reads the iteration and a condition and says whether to go on.
        backwards: for each scanned tensor, then each scan result, 1 if the last slice comes first.
    """

    def __init__(
        self,
        node: GraphNode,
        graph: GraphProto,
        initial: Several[Any],
        *,
        scanned: Several[Any] = (),
        trips: Any = None,
        condition: Any = None,
        counts: bool = False,
        backwards: Several[int] = (),
    ) -> None:
        self.node, self.graph, self.counts = node, graph, counts
        self.initial, self.scanned = list(initial), list(scanned)
        self.trips, self.condition = trips, condition
        self.backwards = tuple(int(bool(each)) for each in backwards)
        self.most = self._most()
        self.decides = 0

    def _most(self) -> int | None:
        """Return the number of iterations where it is known; it may be smaller if the body decides."""
        if isinstance(self.condition, np.ndarray) and not self.condition.item():
            return 0
        if self.scanned:
            lengths = {_spec("", each).static_shape[:1] for each in self.scanned}
            if len(lengths) != 1 or lengths == {()}:
                raise UserError("its scanned tensors have different lengths")
            return lengths.pop()[0]
        return max(int(self.trips.item()), 0) if isinstance(self.trips, np.ndarray) else None

    def run(self) -> list[Any]:
        """Return the carried values after the last iteration, then the scan results."""
        if self.most == 0:
            return [*self.initial, *self._no_slices()]
        if self._unrollable() and (self.most == 1 or self._is_known() or not all(map(is_tensor_value, self.initial))):
            return self._unrolled()
        blocks = self.node.importer.builder.block_names()
        try:
            return self._compiled()
        except UserError:
            if not self._unrollable():
                raise
        self.node.importer.builder.keep_blocks(blocks)
        return self._unrolled()

    def _is_known(self) -> bool:
        names = [name for name in reads_of(self.graph) if name in self.node.scope]
        return all(known(each) for each in (*self.initial, *self.scanned, *(self.node.scope[name] for name in names)))

    def _unrollable(self) -> bool:
        begins = self.condition is None or isinstance(self.condition, np.ndarray)
        return begins and self.most is not None and self.most * max(len(self.graph.node), 1) <= _MOST_NODES

    def _unrolled(self) -> list[Any]:
        carried, slices = self.initial, []
        for index in range(self.most or 0):
            parts = [
                slice_of(self.node, each, self._place(index, backwards))
                for each, backwards in zip(self.scanned, self.backwards, strict=False)
            ]
            before = [np.asarray(index, np.int64), np.asarray(True)] if self.counts else []
            bound = dict(zip((each.name for each in self.graph.input), [*before, *carried, *parts], strict=True))
            made = self.node.body(self.graph, bound)
            going = made.pop(0) if self.counts else np.asarray(True)
            carried = made[: len(carried)]
            slices.append(made[len(carried) :])
            if not isinstance(going, np.ndarray):
                raise UserError(
                    "its values change their shapes from one iteration to the next, or are sequences, and the "
                    "iteration in which it stops is not known at compile time"
                )
            if not going.item():
                break
        return [*carried, *(self._joined(each, at) for at, each in enumerate(zip(*slices, strict=True)))]

    def _joined(self, slices: Several[Any], at: int) -> Any:
        backwards = self.backwards[len(self.scanned) + at]
        if len({(_spec("", each).shape, _spec("", each).dtype) for each in slices}) > 1:
            raise UserError(f"the slices of its scan result {at} have different shapes")
        return stacked(self.node, list(reversed(slices) if backwards else slices))

    def _place(self, index: int, backwards: int) -> int:
        assert self.most is not None
        return self.most - 1 - index if backwards else index

    def _no_slices(self) -> list[Any]:
        """Return scan results of no iteration at all."""
        empty = []
        for value in self.graph.output[int(self.counts) + len(self.initial) :]:
            dims = static_dims(value.type)
            dtype = numpy_dtype(value.type.tensor_type.elem_type)
            if dims is None or None in dims or dtype is None:
                raise UserError(f"it runs no iteration, and its body does not state the shape of '{value.name}'")
            empty.append(np.zeros((0, *(dim for dim in dims if dim is not None)), dtype))
        return empty

    def _compiled(self) -> list[Any]:
        if not all(map(is_tensor_value, self.initial)):
            raise UserError("it carries a sequence or an optional, and its number of iterations is not known")
        block = self._block()
        types = list(block.types[self.decides :])
        self._check(types, block.results[self.decides :])
        exprs = [self.node.importer.expr(each) for each in self.initial]
        result = [*types[: len(exprs)], *(_longer(each, self.most) for each in types[len(exprs) :])]
        facts = LoopFacts(block.name, -1 if self.most is None else self.most, self.decides, len(exprs), self.backwards)
        operands = [
            [] if self.trips is None or isinstance(self.trips, np.ndarray) else [self.trips],
            [] if self.condition is None or isinstance(self.condition, np.ndarray) else [self.condition],
            exprs,
            [self.node.importer.expr(each) for each in self.scanned],
            block.captures,
        ]
        return fields_of(self.node, loop(facts, operands, relax.TupleType(result)), len(result))

    def _block(self) -> Block:
        names = [each.name for each in self.graph.input]
        first: list[tuple[str, Any]] = [("iteration", TensorSpec("iteration", (), "int64"))]
        if self.counts:
            iteration = TensorSpec(names[0], _one(self.graph, 0), "int64")
            first = [(names[0], iteration), (names[1], np.ones(_one(self.graph, 1), np.bool_))]
            names = names[2:]
        specs = [_spec(name, each) for name, each in zip(names, self.initial, strict=False)]
        specs += [_slice_spec(name, each) for name, each in zip(names[len(specs) :], self.scanned, strict=True)]
        return make_block(
            self.node, "body", self.graph, [*first, *zip(names, specs, strict=True)], finish=self._decided
        )

    def _decided(self, results: list[Any]) -> list[Any]:
        """Return a body's results without the condition where that is known."""
        if not self.counts or not isinstance(results[0], np.ndarray):
            self.decides = int(self.counts)
            return results
        if not results[0].all():
            self.most = 1 if self.most is None else min(self.most, 1)
        return results[1:]

    def _check(self, types: Several[Any], results: Several[Any]) -> None:
        """Raise UserError for values that a plan of fixed shapes cannot carry or collect."""
        if any(structure_of(each) != "tensor" for each in results):
            raise UserError("its body gives a sequence or an optional, and its number of iterations is not known")
        if not all(is_static(dims_of(each)) for each in types):
            raise UserError("a value of its body has a size that only a run knows")
        if any(0 in each.shape.values for each in types):
            raise UserError("a value of its body has no elements")
        open_ended = any(each is not None and not isinstance(each, np.ndarray) for each in (self.trips, self.condition))
        if len(results) > len(self.initial) and (open_ended or self.decides or self.most is None):
            name = self.graph.output[int(self.counts) + len(self.initial)].name
            raise UserError(
                f"the number of its iterations decides the length of its scan result '{name}', and is known at run "
                "time only: make the trip count constant and the condition true"
            )
        specs = [_spec("", each) for each in self.initial]
        before = [relax.TensorType(each.static_shape, each.dtype) for each in specs]
        for name, old, new in zip(self.graph.input[2 if self.counts else 0 :], before, types, strict=False):
            if not same_types([old], [new]):
                raise UserError(
                    f"its carried value '{name.name}' changes its shape or element type from one iteration to the next "
                    f"({_written(old)} becomes {_written(new)})"
                )


def _spec(name: str, value: Any) -> TensorSpec:
    leaves = leaves_of(value)
    if len(leaves) != 1 or not is_tensor_value(value):
        raise UserError("one of its values is a sequence or an optional where a tensor is needed")
    if isinstance(value, np.ndarray):
        return TensorSpec(name, tuple(value.shape), value.dtype.name)
    return TensorSpec(name, shape_of(value), dtype_of(value))


def _slice_spec(name: str, value: Any) -> TensorSpec:
    spec = _spec(name, value)
    return TensorSpec(name, spec.static_shape[1:], spec.dtype)


def _one(graph: GraphProto, index: int) -> tuple[int, ...]:
    """Return the shape that a body declares for its iteration or condition: none, or one element."""
    return (1,) * min(len(graph.input[index].type.tensor_type.shape.dim), 1)


def _longer(kind: Any, length: int | None) -> Any:
    return relax.TensorType((length or 0, *(int(dim) for dim in kind.shape.values)), kind.dtype)


def _written(kind: Any) -> str:
    return f"{kind.dtype} {[int(dim) for dim in kind.shape.values]}"
