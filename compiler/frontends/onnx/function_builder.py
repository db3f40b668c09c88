"""Building ``main``: one dataflow block of bindings, each named after the ONNX value that it computes."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import tvm
from tvm import relax

from ....atoms import plain
from ....errors import UserError
from ....signature import TensorSpec
from ....tvm_names import expressions, shape_of, with_plain_dims
from ...blocks import join_blocks

if TYPE_CHECKING:
    from tvm.ir import IRModule
    from tvm.relax import Expr, Var


class FunctionBuilder:
    """Collects the bindings of one function.

    Unlike relax.BlockBuilder it may be dropped half-way, which is what a refused model does.
    """

    def __init__(self, outer: FunctionBuilder | None = None) -> None:
        self.origins: dict[str, str] = outer.origins if outer else {}
        self._blocks: dict[str, IRModule] = outer._blocks if outer else {}
        self._types = relax.BlockBuilder()
        self._params: list[Var] = []
        self._bindings: list[relax.VarBinding] = []
        self._values: dict[Expr, Expr] = {}
        self.sizes: dict[Any, int] = {}
        #: Of expressions that number strings, the strings.
        self.labels: dict[Expr, tuple[str, ...]] = {}
        self._taken: set[str] = outer._taken if outer else set()

    def nested(self) -> FunctionBuilder:
        """Return a builder for a block of the same module: names are different in all of it."""
        return FunctionBuilder(self)

    def block_names(self) -> frozenset[str]:
        """Return the names of the blocks so far."""
        return frozenset(self._blocks)

    def keep_blocks(self, names: Collection[str]) -> None:
        """Drop all blocks but these."""
        for name in set(self._blocks) - set(names):
            del self._blocks[name]

    def finish_block(self, name: str, results: Sequence[Expr], captures: Sequence[Var]) -> tuple[str, set[Var]]:
        """Add the function as a block to the module; return its name and the captures that it reads.

        Args:
            captures: the last parameters; those that are not read are left out.
        """
        module = self._main(results)
        main = module["main"]
        inside = relax.analysis.free_vars(main.body)
        read = {each for each in captures if each in inside}
        params = [each for each in main.params if each not in captures or each in read]
        function = relax.Function(params, main.body, main.ret_ty, main.is_pure, main.attrs)
        title = self.unique(f"block_{name}")
        self._blocks[title] = tvm.IRModule({"main": function})
        return title, read

    def parameter(self, spec: TensorSpec) -> Var:
        """Add a parameter and return it."""
        var = relax.Var(self.unique(spec.name), relax.TensorType(expressions(spec.dims), spec.dtype))
        self._params.append(var)
        return var

    def emit(self, expr: Expr, name: str, origin: str) -> Var:
        """Bind an expression, whose operands are variables and constants, and return its variable.

        Args:
            name: the ONNX value; the variable's name is made from it.
            origin: the node that the expression comes from.

        Raises UserError where dimensions meet that a run may make different.
        """
        value = self._types.normalize(expr)
        _refuse_unknown_shape(value)
        value = with_plain_dims(value)
        var = relax.DataflowVar(self.unique(name), value.ty)
        self._bindings.append(relax.VarBinding(var, value))
        self._values[var] = value
        self.origins[var.name] = origin
        return var

    def definition(self, var: Expr) -> Expr | None:
        """Return the expression that a variable of this function is bound to, None for parameters."""
        return self._values.get(var)

    def module(self, results: Sequence[Expr]) -> IRModule:
        """Return the module whose ``main`` gives the results as a tuple; what they do not need is left out."""
        return join_blocks({**self._blocks, "main": self._main(results)})

    def _main(self, results: Sequence[Expr]) -> IRModule:
        value = self._types.normalize(relax.Tuple(list(results)))
        output = relax.Var(self.unique("outputs"), value.ty)
        block = relax.DataflowBlock([*self._bindings, relax.VarBinding(output, value)])
        main = relax.Function(self._params, relax.SeqExpr([block], output), output.ty)
        module = tvm.IRModule({"main": main.with_attr("global_symbol", "main")})
        return relax.transform.DeadCodeElimination()(relax.transform.Normalize()(module))

    def unique(self, name: str) -> str:
        """Return an identifier made of a name that nothing else in the module has."""
        base = identifier(name)
        unique, count = base, 0
        while unique in self._taken:
            count += 1
            unique = f"{base}_{count}"
        self._taken.add(unique)
        return unique


def _refuse_unknown_shape(value: Expr) -> None:
    types = list(value.ty.fields) if isinstance(value.ty, relax.TupleType) else [value.ty]
    if all(not isinstance(each, relax.TensorType) or each.shape is not None for each in types):
        return
    tensors = [each for each in getattr(value, "args", ()) if isinstance(each.ty, relax.TensorType)]
    shapes = ", ".join(f"[{', '.join(map(plain, shape_of(each)))}]" for each in tensors)
    raise UserError(
        f"operands of the shapes {shapes} meet, and a run may make them different: give dimensions that are always "
        "equal one name with --input-shapes"
    )


def identifier(name: str) -> str:
    """Return a name with everything that C identifiers do not take replaced."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    return f"_{plain}" if not plain or plain[0].isdigit() else plain
