"""``main`` as a graph: its bindings in order and who reads each."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..control_flow import CONTROL_FLOW
from ..expressions import variables_of

if TYPE_CHECKING:
    from tvm.relax import Call, Function, Var, VarBinding


@dataclass
class Graph:
    """The dataflow of one function.

    Attributes:
        bindings: all bindings in order.
        calls: operator calls by the position of their binding; control flow is none of them.
        position: the binding that defines a variable.
        readers: for each variable, positions of the bindings that read it; -1 stands for the function's result.
    """

    bindings: list[VarBinding]
    calls: dict[int, Call] = field(default_factory=dict)
    position: dict[Var, int] = field(default_factory=dict)
    readers: dict[Var, list[int]] = field(default_factory=lambda: defaultdict(list))


def graph_of(function: Function) -> Graph:
    """Return the graph of a function whose body is a sequence of bindings."""
    from tvm.ir import Op
    from tvm.relax import Call

    graph = Graph([binding for block in function.body.blocks for binding in block.bindings])
    for index, binding in enumerate(graph.bindings):
        graph.position[binding.var] = index
        operator = binding.value.op if isinstance(binding.value, Call) else None
        if isinstance(operator, Op) and operator.name not in CONTROL_FLOW:
            graph.calls[index] = binding.value
        for var in variables_of(binding.value):
            graph.readers[var].append(index)
    for var in variables_of(function.body.body):
        graph.readers[var].append(-1)
    return graph
