"""Building ``main``: one dataflow block of bindings, each named after the ONNX value that it computes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import tvm
from tvm import relax

from ....signature import TensorSpec

if TYPE_CHECKING:
    from tvm.ir import IRModule
    from tvm.relax import Expr, Var


class FunctionBuilder:
    """Collects the bindings of one function.

    Unlike relax.BlockBuilder it may be dropped half-way, which is what a refused model does.
    """

    def __init__(self) -> None:
        self.origins: dict[str, str] = {}
        self._types = relax.BlockBuilder()
        self._params: list[Var] = []
        self._bindings: list[relax.VarBinding] = []
        self._taken: set[str] = set()

    def parameter(self, spec: TensorSpec) -> Var:
        """Add a parameter and return it."""
        var = relax.Var(self._unique(spec.name), relax.TensorType(spec.static_shape, spec.dtype))
        self._params.append(var)
        return var

    def emit(self, expr: Expr, name: str, origin: str) -> Var:
        """Bind an expression, whose operands are variables and constants, and return its variable.

        Args:
            name: the ONNX value; the variable's name is made from it.
            origin: the node that the expression comes from.
        """
        value = self._types.normalize(expr)
        var = relax.DataflowVar(self._unique(name), value.ty)
        self._bindings.append(relax.VarBinding(var, value))
        self.origins[var.name] = origin
        return var

    def module(self, results: Sequence[Expr]) -> IRModule:
        """Return the module whose ``main`` gives the results as a tuple; what they do not need is left out."""
        value = self._types.normalize(relax.Tuple(list(results)))
        output = relax.Var(self._unique("outputs"), value.ty)
        block = relax.DataflowBlock([*self._bindings, relax.VarBinding(output, value)])
        main = relax.Function(self._params, relax.SeqExpr([block], output), output.ty)
        module = tvm.IRModule({"main": main.with_attr("global_symbol", "main")})
        return relax.transform.DeadCodeElimination()(relax.transform.Normalize()(module))

    def _unique(self, name: str) -> str:
        base = identifier(name)
        unique, count = base, 0
        while unique in self._taken:
            count += 1
            unique = f"{base}_{count}"
        self._taken.add(unique)
        return unique


def identifier(name: str) -> str:
    """Return a name with everything that C identifiers do not take replaced."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    return f"_{plain}" if not plain or plain[0].isdigit() else plain
