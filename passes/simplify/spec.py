"""What the simplify phase promises, as code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..expressions import operator_name
from ..spec import bindings_of, check_main_form

if TYPE_CHECKING:
    from tvm.ir import IRModule

#: Operators that simplify writes otherwise, always.
_GONE = frozenset(("nn.dropout", "squeeze", "expand_dims", "flatten", "nn.batch_flatten", "square"))


def check(module: IRModule) -> None:
    """Raise AssertionError when ``main`` is not what the simplify phase leaves.

    It is in its form (:func:`~tilewright.passes.spec.check_main_form`); no operator is one that has another spelling,
    no batch norm has constant statistics, no reshape, cast or transpose returns its operand, nothing is computed and
    not read.
    """
    from ..rewrite import rewrite_to_fixed_point
    from . import REWRITES

    check_main_form(module)
    for var, value in bindings_of(module):
        assert operator_name(value) not in _GONE, f"'{var.name}' is still a {operator_name(value)}"
    _, found = rewrite_to_fixed_point(module, REWRITES)
    assert not found, f"simplify is not at its fixed point: {dict(found)}"
