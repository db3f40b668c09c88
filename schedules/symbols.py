"""Kernels over shapes that only a run knows: the symbols are trailing parameters, 64-bit integers ordered by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..tvm_names import free_symbols

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc


def with_symbols(function: PrimFunc) -> PrimFunc:
    """Return a kernel with the symbols that it uses as its last parameters."""
    from tvm import tirx

    known = {str(each.name) for each in function.params}
    added = [each for each in free_symbols(function) if str(each.name) not in known]
    if not added:
        return function
    return tirx.PrimFunc([*function.params, *added], function.body, function.ret_type, attrs=function.attrs)


def symbols_of_kernel(function: PrimFunc) -> list[Any]:
    """Return the parameters of a kernel that are symbols, in order."""
    return [each for each in function.params if is_symbol(each)]


def is_symbol(parameter: Any) -> bool:
    """Return whether a parameter is a symbol and no buffer."""
    return str(parameter.name).endswith("]")
