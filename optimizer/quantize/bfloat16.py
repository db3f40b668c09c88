"""Layers as bfloat16 would compute them, for measuring what that costs before it is compiled."""

from __future__ import annotations

from collections.abc import Collection

from onnx import ModelProto, NodeProto, TensorProto, helper

from ..graph import copy_of


def with_bfloat16(model: ModelProto, names: Collection[str]) -> ModelProto:
    """Return the model with the operands of the named nodes rounded to bfloat16.

    layer(x, w)  -->  layer(Cast(Cast(x, bfloat16), float), Cast(Cast(w, bfloat16), float))
    """
    changed = copy_of(model)
    nodes: list[NodeProto] = []
    for node in changed.graph.node:
        if node.name in names:
            for index, name in enumerate(node.input[:2]):
                low, back = f"{node.name}_operand{index}_bfloat16", f"{node.name}_operand{index}_float"
                nodes.append(helper.make_node("Cast", [name], [low], name=low, to=TensorProto.BFLOAT16))
                nodes.append(helper.make_node("Cast", [low], [back], name=back, to=TensorProto.FLOAT))
                node.input[index] = back
        nodes.append(node)
    copies = [each.__deepcopy__() for each in nodes]
    del changed.graph.node[:]
    changed.graph.node.extend(copies)
    return changed
