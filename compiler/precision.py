"""The precisions a model can be compiled in, and what a target makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import UserError
from ..registry import nearest
from ..targets.target import Target

if TYPE_CHECKING:
    from tvm.ir import IRModule

#: CPU features, in Linux's spelling, of which a target must have one, by precision and architecture: bfloat16 gains
#: by products of pairs, float16 by loads and stores that convert. Without its row, or a feature of it, a target
#: computes in fp32.
_NEEDS: dict[str, dict[str, tuple[str, ...]]] = {
    "bf16": {"x86": ("avx512_bf16",)},
    "fp16": {"x86": ("f16c",), "arm": ("asimd", "half")},
}

PRECISIONS = ("fp32", *_NEEDS)


def effective_precision(precision: str, target: Target, strict: bool = False) -> str:
    """Return the precision that a target computes when it is asked for one: "fp32" where it lacks the instructions.

    Raises UserError instead where ``strict``.
    """
    needed = _NEEDS.get(precision, {}).get(target.arch, ())
    if precision == "fp32" or target.features.intersection(needed):
        return precision
    if strict:
        why = f"it lacks the CPU feature {' or '.join(needed)}" if needed else "there are no such kernels for it"
        raise UserError(f"target '{target.name}' has no {precision}: {why}; name another target or leave out --strict")
    return "fp32"


def kept_in_fp32(nodes: Sequence[str], origins: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """Return the variables that each of some nodes made.

    Args:
        nodes: names as the model has them, or as messages say them ("Conv 'layer1.conv1'").
        origins: the node of each variable, as messages say it.

    Raises UserError for a node that the model does not have.
    """
    known = {name: label for label in origins.values() for name in (label, label.partition("'")[2].rstrip("'")) if name}
    found = {}
    for node in nodes:
        if node not in known:
            raise UserError(f"the model has no node '{node}' to keep in fp32{nearest(node, list(known))}")
        found[node] = frozenset(variable for variable, label in origins.items() if label == known[node])
    return found


def refuse_merged(module: IRModule, kept: Mapping[str, frozenset[str]]) -> None:
    """Raise UserError where nothing is left of a node that is to be kept in fp32."""
    functions = [function for _, function in module.functions_items()]
    blocks = [block for function in functions for block in function.body.blocks]
    left = {str(binding.var.name) for block in blocks for binding in block.bindings}
    for node, variables in kept.items():
        if not variables & left:
            raise UserError(
                f"the node '{node}' to keep in fp32 became a part of its neighbours: name the node before or after it"
            )
