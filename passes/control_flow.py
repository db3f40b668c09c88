"""The operators ``relax.tilewright.branch`` and ``relax.tilewright.loop``: calls that run other functions, *blocks*.

A block stands beside ``main`` in the module and is named by the call's attributes. What a block reads from outside is
an operand of the call and a parameter of the block. The result of a call is always a tuple.
See docs/design/0005-control-flow.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tvm import relax
from tvm.ir import Op, make_node

from ..tvm_names import register_operator

if TYPE_CHECKING:
    from tvm.relax import BlockBuilder, Call, Expr

#: The operators' names without ``relax.``.
BRANCH, LOOP = "tilewright.branch", "tilewright.loop"
CONTROL_FLOW = frozenset({f"relax.{BRANCH}", f"relax.{LOOP}"})


@dataclass(frozen=True)
class LoopFacts:
    """What a loop is, besides its operands.

    Attributes:
        body: the block. Its parameters are the iteration (a scalar of int64), the carried values, one slice of each
            scanned tensor, the captures; its results are whether to go on (where it ``decides``), the carried values,
            one slice of each scan result.
        most: the most iterations; -1 where nothing bounds them.
        decides: whether the body says when to stop.
        carried: how many values go from one iteration to the next.
        backwards: for each scanned tensor, then for each scan result, 1 if its last slice comes first.
    """

    body: str
    most: int
    decides: int
    carried: int
    backwards: tuple[int, ...]


def branch(then: str, otherwise: str, condition: Expr, captures: Sequence[Sequence[Expr]], result: Any) -> Call:
    """Return a call that runs one of two blocks.

    Args:
        then, otherwise: the blocks for true and for false.
        condition: one element of bool.
        captures: what each of the two reads.
        result: the tuple type that both give.
    """
    attrs = make_node("ir.DictAttrs", then=then, otherwise=otherwise)
    operands = [relax.Tuple(list(each)) for each in captures]
    return relax.Call(Op.get(f"relax.{BRANCH}"), [condition, *operands], attrs, [result])


def loop(facts: LoopFacts, operands: Sequence[Sequence[Expr]], result: Any) -> Call:
    """Return a call that runs a block again and again.

    Args:
        operands: five lists: the trip count (one element of int64, or nothing), the condition to begin at all (one
            element of bool, or nothing), carried values, scanned tensors (along their first axis), captures.
        result: the tuple type: carried values, then scan results (along a new first axis).
    """
    attrs = make_node("ir.DictAttrs", **vars(facts))
    return relax.Call(Op.get(f"relax.{LOOP}"), [relax.Tuple(list(each)) for each in operands], attrs, [result])


def loop_facts(call: Call) -> LoopFacts:
    """Return what a loop is."""
    found = dict(call.attrs.items())
    most, decides, carried = (int(found[name]) for name in ("most", "decides", "carried"))
    return LoopFacts(str(found["body"]), most, decides, carried, tuple(int(each) for each in found["backwards"]))


def blocks_of(call: Call) -> list[str]:
    """Return the names of the blocks that a call of control flow runs."""
    found = dict(call.attrs.items())
    return [str(found[name]) for name in ("then", "otherwise", "body") if name in found]


def _infer_type(call: Call, _: BlockBuilder) -> Any:
    return call.ty_args[0]


for _name in (BRANCH, LOOP):
    register_operator(f"relax.{_name}", "control flow: runs blocks of the module", _infer_type)
