"""The dataflow of ``main`` while it is rewritten: definitions, use counts, and where new bindings go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tvm import relax
from tvm_ffi import structural_equal, structural_hash

from ..tvm_names import constant_value, dtype_of, is_constant, shape_of, with_plain_dims
from .expressions import operands_of, operator_name, variables_of, with_operands

if TYPE_CHECKING:
    from tvm.relax import Call, Expr, Function, Var

#: Constants up to this many bytes are compared by value when subexpressions are, larger ones by identity.
_COMPARED_BYTES = 4096


class Scope:
    """What a rewrite sees of ``main``: everything before the binding it looks at, already rewritten.

    Use counts are exact at any moment: they hold the uses by bindings made so far and by those still to come.

    Args:
        function: a function whose body is bindings and a variable or a tuple of variables.
    """

    def __init__(self, function: Function) -> None:
        self.pending = [binding for block in function.body.blocks for binding in block.bindings]
        self.bindings: list[tuple[Var, Expr]] = []
        self._builder = relax.BlockBuilder()
        self._values: dict[Var, Expr] = {}
        self._names: dict[Var, Expr] = {}
        self._known: dict[Hashable, Var] = {}
        self._constants: dict[Expr, NDArray[Any]] = {}
        self._uses: Counter[Var] = Counter()
        for binding in self.pending:
            self._uses.update(variables_of(binding.value))
        self._uses.update(variables_of(function.body.body))

    def definition(self, expr: Expr) -> Expr | None:
        """Return what a variable is bound to, None for parameters and constants."""
        return self._values.get(expr) if isinstance(expr, relax.Var) else None

    def call(self, expr: Expr, *operators: str) -> Call | None:
        """Return the call that defines an expression if it calls one of these operators, else None."""
        found = self.definition(expr)
        return found if found is not None and operator_name(found) in operators else None

    def used_once(self, expr: Expr) -> bool:
        """Return whether a variable is read in exactly one place."""
        return isinstance(expr, relax.Var) and self._uses[expr] == 1

    def constant(self, expr: Expr) -> NDArray[Any] | None:
        """Return the array of a constant, None for anything else."""
        if not is_constant(expr):
            return None
        if expr not in self._constants:
            self._constants[expr] = constant_value(expr)
        return self._constants[expr]

    def scalar(self, expr: Expr) -> float | None:
        """Return the value that all elements of a constant of at most one element have, None for anything else."""
        if not is_constant(expr) or any(dim != 1 for dim in shape_of(expr)):
            return None
        array = self.constant(expr)
        assert array is not None
        return float(array.item())

    def emit(self, expr: Expr, name: str) -> Expr:
        """Bind an expression under a name, its nested calls before it, and return the variable (a leaf as it is)."""
        value = self.flat(expr, name)
        if not operator_name(value):
            return value
        var = relax.DataflowVar(name, value.ty)
        self._uses.update(variables_of(value))
        self.bind(var, value)
        return var

    def name_of(self, expr: Expr) -> str:
        """Return a variable's name, which is where it came from in the model."""
        return str(expr.name) if isinstance(expr, relax.Var) else ""

    def equal(self, value: Expr) -> Var | None:
        """Return the variable that is already bound to an equal value, None when there is none."""
        return self._known.get(self._key(value))

    def flat(self, expr: Expr, name: str) -> Expr:
        """Return an expression with types inferred, whose operands are leaves; what was nested in it is bound."""
        if not operator_name(expr):
            return expr
        operands = operands_of(expr)
        leaves = [self._leaf(operand, name) for operand in operands]
        if any(not leaf.same_as(operand) for leaf, operand in zip(leaves, operands, strict=True)):
            expr = with_operands(expr, leaves)
        return with_plain_dims(self._builder.normalize(expr))

    def _leaf(self, expr: Expr, name: str) -> Expr:
        if isinstance(expr, relax.Tuple):
            return relax.Tuple([self._leaf(each, name) for each in expr.fields])
        return self.emit(expr, name) if operator_name(expr) else expr

    def renamed(self, expr: Expr) -> Expr:
        """Return an expression of the function before, with the variables of the function now."""
        if isinstance(expr, relax.Var):
            return self._names.get(expr, expr)
        if not any(var in self._names for var in variables_of(expr)):
            return expr
        renamed = with_operands(expr, [self.renamed(operand) for operand in operands_of(expr)])
        return with_plain_dims(self._builder.normalize(renamed))

    def replace(self, old: Expr, new: Expr) -> None:
        """Count the uses that change when one flat value takes another's place."""
        self._uses.update(variables_of(new))
        self._release(old)

    def rename(self, var: Var, new: Var) -> None:
        """Let a variable of the function now stand for one of the function before, from here on."""
        self._names[var] = new
        self._uses[new] = self._uses[var]

    def alias(self, var: Var, target: Expr) -> None:
        """Let a variable of the function before stand for another, or a constant, from here on."""
        self._names[var] = target
        if isinstance(target, relax.Var):
            # The alias itself was counted as one use of the target.
            self._uses[target] += self._uses[var] - 1

    def bind(self, var: Var, value: Expr) -> None:
        """Append a binding."""
        self.bindings.append((var, value))
        self._values[var] = value
        self._known.setdefault(self._key(value), var)

    def _release(self, value: Expr) -> None:
        """Take back the uses of a value that is no more, and of what only it kept alive."""
        for var in variables_of(value):
            self._uses[var] -= 1
            if self._uses[var] == 0 and var in self._values:
                self._release(self._values[var])

    def _key(self, value: Expr) -> Hashable:
        index = value.index if isinstance(value, relax.TupleGetItem) else None
        attrs = getattr(value, "attrs", None)
        described = None if attrs is None else _ByStructure(attrs)
        return operator_name(value), index, described, tuple(self._operand_key(each) for each in operands_of(value))

    def _operand_key(self, expr: Expr) -> Hashable:
        identity: Hashable = expr
        if isinstance(expr, relax.Var):
            return identity
        if isinstance(expr, relax.Tuple):
            return tuple(self._operand_key(each) for each in expr.fields)
        if not is_constant(expr):
            return _ByStructure(expr)
        if np.prod(shape_of(expr)) * 8 > _COMPARED_BYTES:
            return identity
        array = self.constant(expr)
        assert array is not None
        return dtype_of(expr), shape_of(expr), array.tobytes()


class _ByStructure:
    """A TVM object that is compared by what it holds."""

    def __init__(self, held: object) -> None:
        self._held = held
        self._hash = structural_hash(held)

    def __hash__(self) -> int:
        return int(self._hash)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByStructure) and bool(structural_equal(self._held, other._held))
