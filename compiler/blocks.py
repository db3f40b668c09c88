"""Modules of several blocks (``main`` and the bodies of control flow): a phase sees one block at a time, as ``main``.

See docs/design/0005-control-flow.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from tvm.ir import GlobalVar, IRModule
    from tvm.relax import Expr, Function, VarBinding

#: The attribute of functions that are bodies of control flow.
BLOCK = "tilewright.block"
T = TypeVar("T")


def each_block(module: IRModule) -> Iterator[tuple[str, IRModule]]:
    """Yield every block's name and a module in which the block is ``main``; ``main`` itself is the last."""
    names = block_names(module)
    if not names:
        yield "main", module
        return
    for name in (*names, "main"):
        yield name, _part(module, name)


def on_every_block(module: IRModule, run: Callable[[IRModule], IRModule]) -> IRModule:
    """Return the module after each block went, as ``main`` of a module, through a transformation."""
    if not block_names(module):
        return run(module)
    return join_blocks({name: run(part) for name, part in each_block(module)})


def block_names(module: IRModule) -> list[str]:
    """Return the names of the bodies of control flow, sorted."""
    return sorted(str(name.name_hint) for name, function in module.functions_items() if _is_block(function))


def join_blocks(parts: Mapping[str, IRModule]) -> IRModule:
    """Return one module of several, whose functions besides ``main`` get names of their own.

    Blocks that nothing runs are left out.

    Args:
        parts: for each block's name, a module in which the block is ``main``.
    """
    from tvm import IRModule, relax

    builder = relax.BlockBuilder()
    blocks: dict[str, Function] = {}
    for name in _reached(parts):
        part = parts[name]
        added: dict[Expr, Expr] = {
            variable: builder.add_func(function, variable.name_hint)
            for variable, function in part.functions_items()
            if variable.name_hint != "main"
        }
        block = _renamed(part["main"], added) if added else part["main"]
        blocks[name] = block.with_attr("global_symbol", name)
        if name != "main":
            blocks[name] = blocks[name].with_attr(BLOCK, 1)
    joined = builder.finalize()
    taken = {str(variable.name_hint) for variable in joined.functions}
    assert not taken & set(blocks), f"a kernel is named as a block: {sorted(taken & set(blocks))}"
    return IRModule({**dict(joined.functions.items()), **{_global(name): block for name, block in blocks.items()}})


def _reached(parts: Mapping[str, IRModule]) -> list[str]:
    """Return the names of the blocks that run, in the order given."""
    from tvm.relax import Call

    from ..passes.control_flow import CONTROL_FLOW, blocks_of

    reached: set[str] = set()
    pending = ["main"]
    while pending:
        name = pending.pop()
        if name in reached:
            continue
        reached.add(name)
        values = [binding.value for block in parts[name]["main"].body.blocks for binding in block.bindings]
        calls = [each for each in values if isinstance(each, Call) and getattr(each.op, "name", "") in CONTROL_FLOW]
        pending += [block for call in calls for block in blocks_of(call)]
    return [name for name in parts if name in reached]


def _global(name: str) -> GlobalVar:
    from tvm.ir import GlobalVar

    return GlobalVar(name)


def _is_block(function: object) -> bool:
    attrs = getattr(function, "attrs", None)
    return bool(attrs and BLOCK in attrs)


def _part(module: IRModule, name: str) -> IRModule:
    """Return a module of one block, as ``main``, and the functions that it calls."""
    from tvm import IRModule
    from tvm.ir import GlobalVar
    from tvm.relax import Call

    block = module[name]
    called: dict[GlobalVar, object] = {}
    for binding in (binding for part in block.body.blocks for binding in part.bindings):
        value = binding.value
        operands = [value.op, *value.args] if isinstance(value, Call) else []
        called.update({each: module[each] for each in operands if isinstance(each, GlobalVar)})
    function = block.without_attr(BLOCK) if name != "main" else block
    return IRModule({"main": function.with_attr("global_symbol", "main"), **called})


def _renamed(block: Function, added: Mapping[Expr, Expr]) -> Function:
    """Return a block that calls functions by their new names."""
    from tvm import relax

    from ..passes.rebuild import Rename, rebuild

    def transform(binding: VarBinding, rename: Rename) -> Expr:
        value = rename(binding.value)
        if not isinstance(value, relax.Call):
            return value
        args = [added.get(each, each) for each in value.args]
        return relax.Call(added.get(value.op, value.op), args, value.attrs, value.ty_args)

    builder = relax.BlockBuilder()
    rebuild(block, builder, transform)
    return builder.finalize()["main"]
