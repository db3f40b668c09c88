"""How tests of fused modules look at them: the groups that ``main`` calls, in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from relax_modules import assert_computes_the_same, build_module
from tvm import relax
from tvm.ir import GlobalVar

from tilewright.passes.expressions import operator_name
from tilewright.passes.fusion import fuse, workload_of
from tilewright.passes.fusion.spec import check
from tilewright.passes.spec import check_main_form
from tilewright.workload import Workload


@dataclass(frozen=True)
class GroupCall:
    """One call of a group.

    Attributes:
        function: the group function's name.
        operators: what its body computes, in order.
        work: its workload.
        args: the names of the variables it reads; "const" for a constant.
    """

    function: str
    operators: tuple[str, ...]
    work: Workload
    args: tuple[str, ...]


def group_calls(module: Any) -> list[GroupCall]:
    """Return the calls of groups in ``main``."""
    found = []
    for binding in module["main"].body.blocks[0].bindings:
        call = binding.value
        if isinstance(call, relax.Call) and isinstance(call.op, GlobalVar):
            function = module[call.op]
            work = workload_of(function)
            assert work is not None
            args = tuple(str(arg.name) if isinstance(arg, relax.Var) else "const" for arg in call.args)
            found.append(GroupCall(str(call.op.name_hint), operators_of(function), work, args))
    return found


def operators_of(function: Any) -> tuple[str, ...]:
    """Return the operators of a function's body in order."""
    values = [binding.value for block in function.body.blocks for binding in block.bindings]
    return tuple(operator_name(value) for value in values if operator_name(value))


def shape_of_groups(module: Any) -> list[str]:
    """Return the groups as text: their operators joined by spaces, in the order of the calls."""
    return [" ".join(each.operators) for each in group_calls(module)]


def fused(build: Any, *inputs: Any, rtol: float = 2e-6) -> Any:
    """Fuse a module, check it and its numbers, and return it."""
    before = build_module(build, *inputs)
    text = before.script(show_meta=False)
    after = fuse(before)
    assert before.script(show_meta=False) == text
    relax.analysis.well_formed(after)
    check_main_form(after)
    check(after)
    assert_computes_the_same(before, after, inputs, rtol=rtol)
    return after
