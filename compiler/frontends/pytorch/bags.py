"""Embedding bags of one size, which torch's exporter writes as a loop over bags.

embedding_bag(weight, indices, arange(0, n, size)) --> sum(embedding(weight, reshape(indices, [-1, size])), 1)

``torch.nn.EmbeddingBag`` makes such bags of indices [batch, size]. Bags of given offsets stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_SUM, _MEAN, _MAX = range(3)
_NAMES = (
    "weight", "indices", "offsets", "scale_grad_by_freq", "mode", "sparse", "per_sample_weights",
    "include_last_offset", "padding_idx",
)  # fmt: skip
_DEFAULTS = {"mode": _SUM, "per_sample_weights": None, "include_last_offset": False, "padding_idx": None}


@dataclass(frozen=True)
class _Bags:
    """Bags of ``size`` indices; nodes of the graph, and what is left out of each bag."""

    node: Any
    weight: Any
    indices: Any
    size: int
    mode: int
    weights: Any
    padding: int | None


def split_equal_bags(program: Any) -> None:
    """Rewrite an ExportedProgram in place."""
    graph = program.graph_module.graph
    changed = False
    for node in list(graph.nodes):
        bags = _match(node)
        if bags is None:
            continue
        with graph.inserting_before(node):
            result = _reduced(graph, bags)
        for user in list(node.users):
            if user.args[1] == 0:
                result.meta = dict(user.meta)
                user.replace_all_uses_with(result)
            graph.erase_node(user)
        graph.erase_node(node)
        changed = True
    if changed:
        graph.lint()
        program.graph_module.recompile()


def _match(node: Any) -> _Bags | None:
    import torch

    packet = torch.ops.aten.embedding_bag
    if node.op != "call_function" or node.target not in (packet.default, packet.padding_idx):
        return None
    given = {**_DEFAULTS, **dict(zip(_NAMES, node.args, strict=False)), **node.kwargs}
    size = _equal_size(given["offsets"])
    single = all(user.args[1] == 0 or not user.users for user in node.users)
    if size is None or not single or given["include_last_offset"]:
        return None
    padding = given["padding_idx"]
    return _Bags(
        node, given["weight"], given["indices"], size, given["mode"], given["per_sample_weights"],
        None if padding is None or padding < 0 else padding,
    )  # fmt: skip


def _equal_size(offsets: Any) -> int | None:
    """Return the step of offsets that are ``arange(0, n, step)`` where it divides n."""
    import sympy
    import torch

    if offsets.target != torch.ops.aten.arange.start_step or offsets.args[0] != 0:
        return None
    end, step = offsets.args[1], offsets.args[2]
    value = end.meta["val"] if hasattr(end, "meta") else end
    expression = value.node.expr if hasattr(value, "node") else value
    return step if isinstance(step, int) and step > 0 and sympy.Mod(expression, step) == 0 else None


def _reduced(graph: Any, bags: _Bags) -> Any:
    """Add what computes the bags; return its node, [bags, width]."""
    import torch

    aten = torch.ops.aten

    def call(target: Any, *args: Any) -> Any:
        made = graph.call_function(target, args)
        made.meta = {key: value for key, value in bags.node.meta.items() if key != "val"}
        return made

    rows = call(aten.reshape.default, bags.indices, [-1, bags.size])
    values = call(aten.embedding.default, bags.weight, rows)
    if bags.weights is not None:
        values = call(aten.mul.Tensor, values, call(aten.reshape.default, bags.weights, [-1, bags.size, 1]))
    if bags.padding is None:
        reduced = {_SUM: aten.sum.dim_IntList, _MEAN: aten.mean.dim, _MAX: aten.amax.default}
        return call(reduced[bags.mode], values, [1])
    padded = call(aten.unsqueeze.default, call(aten.eq.Scalar, rows, bags.padding), 2)
    if bags.mode == _MAX:
        # A bag of nothing but padding is 0.
        largest = call(aten.amax.default, call(aten.masked_fill.Scalar, values, padded, float("-inf")), [1])
        return call(aten.masked_fill.Scalar, largest, call(aten.all.dim, padded, 1), 0.0)
    total = call(aten.sum.dim_IntList, call(aten.masked_fill.Scalar, values, padded, 0.0), [1])
    if bags.mode == _SUM:
        return total
    count = call(aten.sum.dim_IntList, call(aten.logical_not.default, padded), [1])
    return call(aten.div.Tensor, total, call(aten.clamp.default, count, 1))
