"""Damage done to models at random: bytes of the file, or one part of the message."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import AttributeProto, helper

#: Numbers that sizes, axes and flags should not be.
_NUMBERS = (-(2**63), -(2**31), -1000, -2, -1, 0, 1, 2, 3, 7, 1000, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1)
_FLOATS = (float("nan"), float("inf"), -1.0, 0.0, 0.5, 1e38, -1e38)
_WORDS = (b"", b"x", b"\xff\xfe", b"NOTSET", b"SAME_UPPER", b"bilinear", b"a" * 5000)

Damage = Callable[[onnx.ModelProto, np.random.Generator], None]


def mutated(model: onnx.ModelProto, random: np.random.Generator) -> bytes:
    """Return the bytes of a damaged copy of a model."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if random.random() < 0.25:
        return _broken(copy.SerializeToString(), random)
    for _ in range(1 if random.random() < 0.8 else 2):
        _DAMAGES[random.integers(len(_DAMAGES))](copy, random)
    return bytes(copy.SerializeToString())


def _broken(data: bytes, random: np.random.Generator) -> bytes:
    """Return bytes some of which are other ones, left out, doubled, or cut off at the end."""
    array = bytearray(data)
    for _ in range(int(random.integers(1, 8))):
        at, length = int(random.integers(len(array))), int(random.integers(1, 16))
        match int(random.integers(5)):
            case 0:
                array[at] = int(random.integers(256))
            case 1:
                array[at] ^= 1 << int(random.integers(8))
            case 2:
                del array[at : at + length]
            case 3:
                array[at:at] = array[at : at + length]
            case _:
                del array[max(at, len(array) // 2) :]
        if not array:
            break
    return bytes(array)


def _node(model: onnx.ModelProto, random: np.random.Generator) -> onnx.NodeProto:
    nodes: list[onnx.NodeProto] = list(model.graph.node)
    for node in model.graph.node:
        for attribute in node.attribute:
            nodes += attribute.g.node
    for function in model.functions:
        nodes += function.node
    if not nodes:
        nodes.append(model.graph.node.add())
    return nodes[int(random.integers(len(nodes)))]


def _attribute(model: onnx.ModelProto, random: np.random.Generator) -> None:
    """Change one attribute's value, type or name, or leave it out."""
    node = _node(model, random)
    if not node.attribute:
        node.attribute.append(helper.make_attribute("axis", int(random.choice(_NUMBERS))))
        return
    at = int(random.integers(len(node.attribute)))
    match int(random.integers(4)):
        case 0:
            del node.attribute[at]
        case 1:
            node.attribute[at].type = int(random.integers(15))
        case 2:
            node.attribute[at].name += "_"
        case _:
            _value(node.attribute[at], random)


def _value(attribute: AttributeProto, random: np.random.Generator) -> None:
    number = int(random.choice(np.array(_NUMBERS, object)))
    if attribute.ints:
        attribute.ints[random.integers(len(attribute.ints))] = number
        if random.random() < 0.3:
            attribute.ints.extend([number] * int(random.integers(1, 4)))
    elif attribute.floats:
        attribute.floats[random.integers(len(attribute.floats))] = _FLOATS[random.integers(len(_FLOATS))]
    elif attribute.HasField("t"):
        _tensor(attribute.t, random)
    elif attribute.strings:
        attribute.strings[random.integers(len(attribute.strings))] = _WORDS[random.integers(len(_WORDS))]
    elif attribute.HasField("s"):
        attribute.s = _WORDS[random.integers(len(_WORDS))]
    else:
        attribute.i, attribute.f = number, _FLOATS[random.integers(len(_FLOATS))]


def _tensor(tensor: onnx.TensorProto, random: np.random.Generator) -> None:
    match int(random.integers(5)):
        case 0 if tensor.dims:
            tensor.dims[random.integers(len(tensor.dims))] = int(random.choice(np.array(_NUMBERS, object)))
        case 1:
            tensor.data_type = int(random.integers(30))
        case 2:
            tensor.raw_data = tensor.raw_data[: len(tensor.raw_data) // 2]
        case 3:
            tensor.data_location = onnx.TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value=str(random.choice(["../../etc/passwd", "/etc/passwd", ""])))
        case _:
            filler = random.integers(0, 256, len(tensor.raw_data)).astype(np.uint8)
            tensor.raw_data = filler.tobytes()


def _weights(model: onnx.ModelProto, random: np.random.Generator) -> None:
    """Damage a constant, or make one of an input."""
    if model.graph.initializer:
        _tensor(model.graph.initializer[random.integers(len(model.graph.initializer))], random)
    elif model.graph.input:
        value = model.graph.input[random.integers(len(model.graph.input))]
        count = int(random.integers(0, 5))
        numbers = [int(random.choice(np.array(_NUMBERS, object))) for _ in range(count)]
        model.graph.initializer.append(helper.make_tensor(value.name, onnx.TensorProto.INT64, [count], numbers))


def _wires(model: onnx.ModelProto, random: np.random.Generator) -> None:
    """Lead an operand or a result elsewhere, add one, or leave one out."""
    node = _node(model, random)
    names = [name for each in model.graph.node for name in (*each.input, *each.output)] or ["nowhere"]
    ends = node.input if random.random() < 0.6 else node.output
    name = str(random.choice([*names, "", "nowhere"]))
    if not ends or random.random() < 0.2:
        ends.append(name)
    elif random.random() < 0.3:
        del ends[int(random.integers(len(ends)))]
    else:
        ends[int(random.integers(len(ends)))] = name


def _interface(model: onnx.ModelProto, random: np.random.Generator) -> None:
    """Change a declared shape or type."""
    values = [*model.graph.input, *model.graph.output, *model.graph.value_info]
    if not values:
        return
    tensor = values[random.integers(len(values))].type.tensor_type
    if random.random() < 0.3:
        tensor.elem_type = int(random.integers(30))
    elif tensor.shape.dim and random.random() < 0.8:
        dim = tensor.shape.dim[random.integers(len(tensor.shape.dim))]
        if random.random() < 0.2:
            dim.dim_param = "n"
        else:
            dim.dim_value = int(random.choice(np.array(_NUMBERS, object)))
    else:
        tensor.shape.dim.add().dim_value = int(random.integers(0, 9))


def _operator(model: onnx.ModelProto, random: np.random.Generator) -> None:
    """Make a node another operator, or of another domain."""
    node = _node(model, random)
    schemas = onnx.defs.get_all_schemas()
    other = schemas[int(random.integers(len(schemas)))]
    if random.random() < 0.3:
        node.domain = str(random.choice(["", "ai.onnx.ml", "com.microsoft", "own"]))
    else:
        node.op_type, node.domain = other.name, other.domain


def _version(model: onnx.ModelProto, random: np.random.Generator) -> None:
    """Change the version of the operators, or of the file."""
    if model.opset_import and random.random() < 0.7:
        model.opset_import[0].version = int(random.integers(0, 30))
    else:
        model.ir_version = int(random.integers(0, 20))


_DAMAGES: tuple[Damage, ...] = (_attribute, _attribute, _weights, _wires, _wires, _interface, _operator, _version)
