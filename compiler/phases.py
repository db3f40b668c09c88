"""The phases between import and plan, in order: what each does and what holds after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from .blocks import each_block, on_every_block
from .pipeline import Phase, PhaseContext

if TYPE_CHECKING:
    from tvm.ir import IRModule

    from ..targets.target import Target
    from ..workload import Workload


def _simplify(module: IRModule, _: PhaseContext) -> IRModule:
    from ..passes.simplify import simplify

    return simplify(module)


def _precision_of_all(module: IRModule, context: PhaseContext) -> IRModule:
    from .precision import refuse_merged

    refuse_merged(module, context.keep_fp32)
    return on_every_block(module, lambda part: _precision(part, context))


def _check_simplified(module: IRModule, _: PhaseContext) -> None:
    from ..passes.simplify import check

    check(module)


def _precision(module: IRModule, context: PhaseContext) -> IRModule:
    from ..passes.precision import assign_precision
    from ..schedules.template import choose_layouts

    kept = frozenset[str]().union(*context.keep_fp32.values())
    if context.optimization < 2:
        return assign_precision(module, precision=context.precision, exempt=kept)
    computes = lambda work: choose_layouts(work, context.target) is not None  # noqa: E731
    return assign_precision(module, computes, context.precision, kept, context.in_floats)


def _check_precision(module: IRModule, _: PhaseContext) -> None:
    from ..passes.precision import check

    check(module)


def _fuse(module: IRModule, context: PhaseContext) -> IRModule:
    from ..passes.channel_operands import FullRankChannels
    from ..passes.fusion import fuse
    from ..passes.fusion.attention import join_attention
    from ..passes.fusion.conv_chain import join_conv_chains
    from ..passes.merge_groups import MergeGroups
    from ..passes.rewrite import rewrite_to_fixed_point
    from ..schedules.template import choose_layouts

    if context.optimization < 1:
        return fuse(module, limit=1)
    if context.optimization >= 2 and not context.target.is_gpu:
        lanes = context.target.lanes()
        module, _ = rewrite_to_fixed_point(module, [MergeGroups(lanes), FullRankChannels(lanes)])
    module = join_attention(fuse(module), lambda work: choose_layouts(work, context.target) is not None)
    if context.optimization < 2:
        return module
    return join_conv_chains(module, lambda work: _saved_cycles(work, context.target))


def _saved_cycles(work: Workload, target: Target) -> float:
    """Return what one kernel for a chain saves over one for each stage; 0 where no template makes it."""
    from ..schedules.cpu.chain_cost import saved_cycles
    from ..schedules.template import choose_layouts

    stored = choose_layouts(work, target)
    return saved_cycles(stored, target) if stored else 0.0


def _check_groups(module: IRModule, _: PhaseContext) -> None:
    from ..passes.fusion.spec import check

    check(module)


def _layout(module: IRModule, context: PhaseContext) -> IRModule:
    from ..passes.layout import assign_layouts
    from ..schedules.template import choose_layouts

    if context.optimization < 2:
        return assign_layouts(module, lambda work: None)
    return assign_layouts(module, lambda work: choose_layouts(work, context.target, _accuracy(context)))


def _accuracy(context: PhaseContext) -> str:
    """Return which algorithms the level of optimization lets be chosen."""
    return context.accuracy if context.optimization >= 3 else "exact"


def _schedule(module: IRModule, context: PhaseContext) -> IRModule:
    from .scheduling import schedule

    return schedule(module, context.target, context.origins, _accuracy(context))


def _check_scheduled(module: IRModule, context: PhaseContext) -> None:
    from .scheduling import check

    check(module)


Run = Callable[["IRModule", PhaseContext], "IRModule"]
Check = Callable[["IRModule", PhaseContext], None]


def _phase(name: str, description: str, run: Run, check: Check) -> Phase:
    """Return a phase that treats every block of a module as ``main``."""

    def run_all(module: IRModule, context: PhaseContext) -> IRModule:
        return on_every_block(module, lambda part: run(part, context))

    def check_all(module: IRModule, context: PhaseContext) -> None:
        for _, part in each_block(module):
            check(part, context)

    return Phase(name, description, run_all, check_all)


PHASES: tuple[Phase, ...] = (
    _phase("simplify", "fewer and simpler operators, the same numbers", _simplify, _check_simplified),
    replace(
        _phase("precision", "which element type each operator computes in", _precision, _check_precision),
        run=_precision_of_all,
    ),
    _phase("fuse", "operators become groups, one kernel each", _fuse, _check_groups),
    _phase("layout", "how every tensor is stored; weights packed", _layout, _check_groups),
    _phase("schedule", "a template makes each kernel", _schedule, _check_scheduled),
)
