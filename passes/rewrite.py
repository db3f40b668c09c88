"""Named passes, and local rewrites of ``main`` that run together in linear walks to a fixed point."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, TypeVar

import tvm
from tvm import relax

from ..atoms import Undecided
from ..registry import Registry
from ..tvm_names import same_type, with_type
from .expressions import operands_of, operator_name, variables_of
from .scope import Scope

if TYPE_CHECKING:
    from tvm.ir import IRModule
    from tvm.relax import Expr, Function, Var


class Pass(ABC):
    """A named transformation of a module. Its options are the fields of a frozen dataclass."""

    name: ClassVar[str]

    @abstractmethod
    def __call__(self, module: IRModule) -> IRModule:
        """Return the transformed module; the one given is not changed."""


class RewritePass(Pass):
    """A local rewrite: looks at one binding of ``main`` and says what should stand there instead.

    Attributes:
        roots: the operators it looks at, as :func:`.expressions.operator_name` names them, or ``"*"`` for all.
    """

    roots: ClassVar[tuple[str, ...]]

    @abstractmethod
    def rewrite(self, value: Expr, scope: Scope) -> Expr | None:
        """Return what takes the value's place, nested as is convenient and of the same type, or None for no change."""

    def __call__(self, module: IRModule) -> IRModule:
        """Return the module after this rewrite alone, run to its fixed point."""
        return rewrite_to_fixed_point(module, [self])[0]


P = TypeVar("P", bound=Pass)

#: Every pass by name.
PASSES: Registry[type[Pass]] = Registry("pass")

#: More walks, or more rewrites of one binding, than these mean that rewrites undo each other: a bug.
_MOST_WALKS = 50
_MOST_REWRITES = 100


def register_pass(name: str) -> Callable[[type[P]], type[P]]:
    """Return a decorator that names a pass and adds it to :data:`PASSES`."""

    def decorate(cls: type[P]) -> type[P]:
        cls.name = name
        PASSES.add(name, cls)
        return cls

    return decorate


def rewrite_to_fixed_point(module: IRModule, rewrites: Sequence[RewritePass]) -> tuple[IRModule, Counter[str]]:
    """Return the module in which none of the rewrites finds anything, and how often each fired.

    Every walk tries all rewrites at every binding, those first in the list first, so its cost is linear in the number
    of bindings. A binding keeps its variable; a binding made by a rewrite has the name of the one it was made for.
    Bindings that nothing reads are dropped, and ``main`` comes out in its canonical form: one dataflow block whose
    last binding is the tuple of results.
    """
    table: dict[str, list[RewritePass]] = defaultdict(list)
    for root in {root for rewrite in rewrites for root in rewrite.roots}:
        table[root] = [rewrite for rewrite in rewrites if root in rewrite.roots or "*" in rewrite.roots]
    total: Counter[str] = Counter()
    for _ in range(_MOST_WALKS):
        function, fired = _walk(module["main"], table)
        rewritten = tvm.IRModule({**dict(module.functions.items()), module.get_global_var("main"): function})
        module = rewritten.with_attrs(module.attrs) if module.attrs else rewritten
        total += fired
        if not fired:
            return module, total
    raise RuntimeError(f"rewrites find no end: {dict(fired)} fired in walk {_MOST_WALKS}")


def _walk(function: Function, table: dict[str, list[RewritePass]]) -> tuple[Function, Counter[str]]:
    """Visit every binding once, in order; return the new function and how often each rewrite fired."""
    scope = Scope(function)
    fired: Counter[str] = Counter()
    for binding in scope.pending:
        value = scope.renamed(binding.value)
        name = str(binding.var.name)
        before = fired.total()
        while (found := _first_rewrite(value, scope, table)) is not None:
            rewrite, expr = found
            fired[rewrite] += 1
            new = scope.flat(expr, name)
            if not same_type(new.ty, binding.var.ty):
                raise AssertionError(f"{rewrite} turned '{name}' from {binding.var.ty} into {new.ty}")
            if fired.total() - before > _MOST_REWRITES:
                raise RuntimeError(f"rewrites of '{name}' find no end: {dict(fired)}")
            name = _absorber(value, new, scope) or name
            scope.replace(value, new)
            value = new
        _bind(scope, binding.var, value, name)
    return _rebuilt(function, scope), fired


def _absorber(old: Expr, new: Expr, scope: Scope) -> str | None:
    """Return the name of the operand that took its reader up: multiply(conv, s) --> conv keeps its name."""
    operator = operator_name(new)
    if not operator or operator == operator_name(old):
        return None
    names = (scope.name_of(each) for each in operands_of(old) if scope.call(each, operator) is not None)
    return next(names, None)


def _first_rewrite(value: Expr, scope: Scope, table: dict[str, list[RewritePass]]) -> tuple[str, Expr] | None:
    operator = operator_name(value)
    for rewrite in table.get(operator) or (table.get("*", []) if operator else []):
        try:
            expr = rewrite.rewrite(value, scope)
        except Undecided:  # the rewrite needs a number where there is a symbol
            continue
        if expr is not None:
            return rewrite.name, expr
    return None


def _bind(scope: Scope, var: Var, value: Expr, name: str) -> None:
    if not operator_name(value):
        scope.alias(var, value)
        return
    if name != var.name or not isinstance(var, relax.DataflowVar):
        inner = relax.DataflowVar(name, var.ty)
        scope.rename(var, inner)
        var = inner
    scope.bind(var, value)


def _rebuilt(function: Function, scope: Scope) -> Function:
    """Return the function with the scope's bindings that something reads, and the tuple of results as its last."""
    result = scope.renamed(function.body.body)
    while isinstance(result, relax.Var) and isinstance(scope.definition(result), relax.Tuple | relax.Var):
        result = scope.definition(result)
    fields = list(result.fields) if isinstance(result, relax.Tuple) else [result]
    live = set(variables_of(result))
    kept: list[relax.VarBinding] = []
    for var, value in reversed(scope.bindings):
        if var in live:
            live.update(variables_of(value))
            kept.append(relax.VarBinding(var, value))
    output = scope.flat(relax.Tuple(fields), "")
    gv = relax.Var("gv", output.ty)
    block = relax.DataflowBlock([*reversed(kept), relax.VarBinding(gv, output)])
    body = with_type(relax.SeqExpr([block], gv), gv.ty)
    return relax.Function(function.params, body, output.ty, function.is_pure, function.attrs)
