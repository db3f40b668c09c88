"""What holds of ``main`` in every phase up to the schedule, as code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvm import relax

from ..tvm_names import dims_of
from .expressions import operands_of, operator_name, variables_of

if TYPE_CHECKING:
    from tvm.ir import IRModule
    from tvm.relax import Expr, Var


def bindings_of(module: IRModule) -> list[tuple[Var, Expr]]:
    """Return the bindings of ``main`` in order, the tuple of results last."""
    return [(binding.var, binding.value) for block in module["main"].body.blocks for binding in block.bindings]


def check_main_form(module: IRModule) -> None:
    """Raise AssertionError when ``main`` is not in its form.

    It is one dataflow block of plain bindings; all shapes are static or polynomials over symbols; no call is nested in
    another; every variable is
    bound once, before it is read; the result is a tuple of tensors that the block makes.
    """
    main = module["main"]
    blocks = list(main.body.blocks)
    assert len(blocks) == 1, f"main has {len(blocks)} blocks, not one"
    assert isinstance(blocks[0], relax.DataflowBlock), "main's block is not a dataflow block"
    known = set(main.params)
    for param in main.params:
        _check_static(param)
    for binding in blocks[0].bindings:
        name = binding.var.name
        assert isinstance(binding, relax.VarBinding), f"'{name}' is a {type(binding).__name__}, not a plain binding"
        assert not any(_is_nested(each) for each in operands_of(binding.value)), f"'{name}' holds a nested call"
        for var in variables_of(binding.value):
            assert var in known, f"'{name}' reads '{var.name}' before it is bound"
        assert binding.var not in known, f"'{name}' is bound twice"
        known.add(binding.var)
        _check_static(binding.var)
    values = dict(bindings_of(module))
    result = main.body.body
    while isinstance(result, relax.Var) and result in values:
        result = values[result]
    assert isinstance(result, relax.Tuple), "main does not return a tuple that stands in it"
    for position, each in enumerate(result.fields):
        assert isinstance(each.ty, relax.TensorType), f"result {position} is not a tensor"


def _is_nested(expr: Expr) -> bool:
    if isinstance(expr, relax.Tuple):
        return any(_is_nested(field) for field in expr.fields)
    return bool(operator_name(expr))


def _check_static(var: Var) -> None:
    types = [var.ty]
    while types:
        each = types.pop()
        if isinstance(each, relax.TupleType):
            types += list(each.fields)
            continue
        assert isinstance(each, relax.TensorType), f"'{var.name}' is no tensor: {each}"
        assert each.shape is not None, f"'{var.name}' has an unknown shape"
        try:
            dims_of(each)
        except ValueError as error:
            raise AssertionError(f"'{var.name}' has a dimension that no symbols explain: {error}") from error
