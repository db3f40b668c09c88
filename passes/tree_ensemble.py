"""The operator ``relax.tilewright.tree_ensemble``: rows of features to the aggregated leaves of many trees.

Relax has no such operator. This module registers ours: the type of its result, and its meaning as plain Relax
operators, every tree walked level by level. The expansion is what the operator's kernels are tested against; kernels
are made by the templates of the family ``tree_ensemble``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from tvm import relax
from tvm.ir import Op, make_node, register_op_attr

from ..tree_ensemble import TreeEnsemble
from ..tvm_names import dtype_of, register_operator, shape_of

if TYPE_CHECKING:
    from tvm.relax import BlockBuilder, Call, Expr

#: The operator's name without ``relax.``.
NAME = "tilewright.tree_ensemble"


def tree_ensemble(ensemble: TreeEnsemble, x: Expr, operands: dict[str, Any]) -> Call:
    """Return a call of the operator. Operands and result [N, K]: see :mod:`tilewright.tree_ensemble`."""
    assert tuple(operands) == ensemble.operands[1:]
    constants = [relax.const(each, dtype=each.dtype.name) for each in operands.values()]
    return relax.Call(
        Op.get(f"relax.{NAME}"), [x, *constants], make_node("ir.DictAttrs", **dict(ensemble.attributes()))
    )


def ensemble_of(call: Call) -> TreeEnsemble:
    """Return the ensemble that a call of the operator computes."""
    return TreeEnsemble.of(dict(call.attrs.items()))


def _infer_type(call: Call, _: BlockBuilder) -> Any:
    base = call.args[ensemble_of(call).operands.index("base")]
    return relax.TensorType((shape_of(call.args[0])[0], *shape_of(base)), dtype_of(base))


def expand(builder: BlockBuilder, call: Call) -> Expr:
    """Return the operator's result as plain Relax operators."""
    return _Expansion(builder, call).result()


class _Expansion:
    def __init__(self, builder: BlockBuilder, call: Call) -> None:
        self.builder = builder
        self.ensemble = ensemble_of(call)
        self.operands = dict(zip(self.ensemble.operands, call.args, strict=True))
        self.rows = shape_of(call.args[0])[0]

    def result(self) -> Expr:
        columns = self._columns()
        found = self._complete(columns) if self.ensemble.strategy == "complete" else self._walked(columns)
        return self.do("add", self._aggregated(found), self.operands["base"])

    def do(self, name: str, *args: Any, **attributes: Any) -> Any:
        return self.builder.emit(getattr(relax.op, name)(*args, **attributes))

    def number(self, value: Any, dtype: str = "int32") -> Expr:
        array = np.asarray(value, dtype)
        return relax.const(array, dtype=array.dtype.name)

    def taken(self, source: Expr, index: Expr) -> Expr:
        """Return the elements of a whole tensor at flat places, integers as int32."""
        flat = self.do("reshape", source, (-1,))
        found = self.do(
            "reshape", self.do("take", flat, self.do("reshape", index, (-1,)), axis=0, mode="clip"), shape_of(index)
        )
        return self.do("astype", found, "int32") if dtype_of(found).startswith(("int", "uint")) else found

    def row(self, name: str, at: int) -> Expr:
        whole = self.operands[name]
        return self.do("reshape", self.do("strided_slice", whole, [0], [at], [at + 1]), (1, shape_of(whole)[1]))

    def _columns(self) -> Expr:
        """Return all columns [N, C] int32."""
        x, tables = self.operands["x"], shape_of(self.operands["tables"])[1]
        value = self.do("take", x, self.do("reshape", self.row("tables", 0), (tables,)), axis=1, mode="clip")
        one = self.number(1)
        width = self.do("left_shift", one, self.row("tables", 2))
        rank = self.number(np.zeros((self.rows, tables)))
        for step in reversed(range(self.ensemble.steps)):
            next_rank = self.do("add", rank, self.number(1 << step))
            within = self.do("less", next_rank, width)
            held = self.do("subtract", self.do("minimum", next_rank, self.do("maximum", one, width)), one)
            bound = self.taken(self.operands["boundaries"], self.do("add", held, self.row("tables", 1)))
            moves = self.do("logical_and", within, self.do("greater_equal", value, bound))
            rank = self.do("where", moves, next_rank, rank)
        missing = [self.row("missing", side) for side in range(self.ensemble.sides)]
        absent = self.do("isnan", value)
        columns = [self.do("where", absent, self.do("astype", each, "int32"), rank) for each in missing]
        if self.ensemble.sets:
            ranks = self.joined(columns)
            sources = self.do("reshape", self.row("sets", 0), (-1,))
            read = self.do("add", self.do("take", ranks, sources, axis=1, mode="clip"), self.row("sets", 1))
            columns.append(self.taken(self.operands["members"], read))
        return self.joined(columns)

    def joined(self, parts: list[Expr]) -> Expr:
        return parts[0] if len(parts) == 1 else self.do("concat", parts, axis=1)

    def _step(self, columns: Expr, column: Expr, rank: Expr) -> Expr:
        """Return 1 where a row [N, T] goes to the right."""
        value = self.do("gather_elements", columns, column, axis=1)
        return self.do("astype", self.do("greater_equal", value, rank), "int32")

    def _complete(self, columns: Expr) -> Expr:
        """Return the value of every tree's leaf [N, T, V]."""
        trees, values, leaves = shape_of(self.operands["leaves"])
        first = self.number(np.arange(trees) * (leaves - 1))
        node = self.number(np.zeros((self.rows, trees)))
        for _ in range(self.ensemble.depth):
            place = self.do("add", node, first)
            column, rank = (self.taken(self.operands[name], place) for name in ("node_column", "node_rank"))
            twice = self.do("add", self.do("add", node, node), self.number(1))
            node = self.do("add", twice, self._step(columns, column, rank))
        offsets = (np.arange(trees)[:, None] * values + np.arange(values)) * leaves - (leaves - 1)
        at = self.do("add", self.do("reshape", node, (self.rows, trees, 1)), self.number(offsets))
        return self.taken(self.operands["leaves"], at)

    def _walked(self, columns: Expr) -> Expr:
        """Return the value of every tree's leaf [N, T, V]."""
        trees = shape_of(self.operands["trees"])[1]
        node = self.do("broadcast_to", self.row("trees", 0), (self.rows, trees))
        for _ in range(self.ensemble.depth):
            column, rank, left = (self._field(node, at) for at in range(3))
            node = self.do("add", left, self._step(columns, column, rank))
        values = shape_of(self.operands["leaves"])[1]
        leaf = self.do("reshape", self._field(node, 3), (self.rows, trees, 1))
        at = self.do("add", self.do("multiply", leaf, self.number(values)), self.number(np.arange(values)))
        return self.taken(self.operands["leaves"], at)

    def _field(self, node: Expr, at: int) -> Expr:
        return self.taken(
            self.operands["nodes"], self.do("add", self.do("multiply", node, self.number(4)), self.number(at))
        )

    def _aggregated(self, found: Expr) -> Expr:
        if self.ensemble.targets:
            outputs = shape_of(self.operands["base"])[0]
            column = self.do("reshape", self.operands["target"], (-1, 1))
            matches = self.do("equal", column, self.number(np.arange(outputs)))
            of_tree = self.do("astype", matches, dtype_of(found))
            found = self.do("multiply", found, of_tree)
        return self.do(self.ensemble.aggregate, found, axis=1)


register_operator(f"relax.{NAME}", "Aggregated leaves of decision trees.", _infer_type)
register_op_attr(f"relax.{NAME}", "FLegalize", expand)
