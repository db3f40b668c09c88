"""What holds after the fuse phase, as code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...tvm_names import shape_of
from ..control_flow import CONTROL_FLOW
from .fuse import workload_of
from .group import ALIASES

if TYPE_CHECKING:
    from tvm.ir import IRModule


def check(module: IRModule) -> None:
    """Raise AssertionError unless ``main`` holds only calls of groups with workloads, aliases, control flow, tuples."""
    from tvm.ir import GlobalVar
    from tvm.relax import Call

    for binding in (binding for block in module["main"].body.blocks for binding in block.bindings):
        value = binding.value
        if not isinstance(value, Call):
            continue
        if not isinstance(value.op, GlobalVar):
            outside = value.op.name in ALIASES | CONTROL_FLOW
            assert outside, f"{binding.var.name}: {value.op.name} stands outside every group"
            continue
        work = workload_of(module[value.op])
        assert work is not None, f"{value.op.name_hint} has no workload"
        assert len(work.inputs) == len(value.args), f"{value.op.name_hint}: operands and workload differ"
        stored = [shape_of(arg) for arg in value.args]
        assert stored == [each.stored_shape for each in work.inputs], f"{value.op.name_hint}: {stored}"
