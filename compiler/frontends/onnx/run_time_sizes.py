"""Sizes that tensors hold: operands that say how large a result is, and are computed from the model's inputs.

Each element that only a run knows becomes a symbol, read where the kernels before have computed it; a run in which it
leaves its bounds fails with a sentence. See docs/design/0004-run-time-shapes.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from tvm import relax

from ....dims import Dim, bounds
from ....errors import UserError
from ....tvm_names import dtype_of, is_constant, shape_of
from .node import Node
from .value_ranges import value_range

if TYPE_CHECKING:
    from tvm.relax import Expr

#: A number, a dimension, or an int64 tensor of one element.
Element = Any
#: Operators that change the shape of a tensor alone.
_SAME = frozenset({"relax.reshape", "relax.expand_dims", "relax.squeeze"})
#: Of sizes that the data decides, the largest that is planned.
_LARGEST = 2**31 - 1


def elements_of(node: Node, operand: Expr) -> list[Element]:
    """Return the elements of an operand: numbers and dimensions as far as they are known, else tensors [1]."""
    if is_constant(operand) or node.follows_from_shapes(operand):
        return list(node.int_list(operand, ""))
    count = math.prod(shape_of(operand))
    if isinstance(count, Dim):
        raise UserError("an operand that says sizes has a number of elements that only a run knows")
    value: Any = node.definition(operand)
    name = str(getattr(getattr(value, "op", None), "name", ""))
    if name == "relax.concat" and len(shape_of(operand)) == 1:
        return [each for part in value.args[0].fields for each in elements_of(node, part)]
    if name in _SAME:
        return elements_of(node, value.args[0])
    flat = node.cast(node.reshape(operand, (count,)), "int64")
    if count == 1:
        return [flat]
    return [node.emit(relax.op.strided_slice(flat, [0], [at], [at + 1])) for at in range(count)]


def tensor_of(node: Node, element: Element) -> Expr:
    """Return an element as an int64 tensor [1]."""
    return element if isinstance(element, relax.Expr) else node.const(np.asarray([element], object), "int64")


def is_known(element: Element) -> bool:
    """Return whether an element is a number or a dimension."""
    return not isinstance(element, relax.Expr)


class Sized:
    """Data that follows the sizes of a node: kernels that read it run after the sizes are read.

    Attributes:
        data: what the node computes with, one view after the other.
    """

    def __init__(self, node: Node, data: Expr) -> None:
        self.node, self.data = node, data

    def size(self, element: Element, what: str, least: int = 0, most: int | None = None) -> int:
        """Return an element as a dimension.

        Args:
            what: what the element says, for errors ("the limit of Range").
            least, most: its bounds; without ``most`` the expression that computes it must have one.

        Raises UserError where nothing bounds it.
        """
        if is_known(element):
            return int(element) if not isinstance(element, Dim) else element
        low, high = value_range(element, self.node.definition)
        top = min(high, math.inf if most is None else most)
        if not top <= _LARGEST:
            raise UserError(
                f"{what} is computed from the model's inputs, and nothing bounds it: make it constant, or put a Clip "
                "or Min with a constant before it, so that memory can be planned"
            )
        bottom = int(max(least, low))
        key = (_source(self.node, element), bottom, int(top))
        if key in self.node.sizes:
            return self.node.sizes[key]
        symbol = self.node.new_size(max(int(top), bottom), bottom)
        if isinstance(symbol, Dim):
            self.data = self.node.bind_size(self.data, element, symbol, shape_of(self.data))
            self.node.sizes[key] = symbol
        return symbol

    def sizes(self, operand: Expr, what: str, least: int = 0) -> list[int]:
        """Return all elements of an operand as dimensions."""
        return [self.size(each, what, least) for each in elements_of(self.node, operand)]


def _source(node: Node, element: Expr) -> Any:
    """Return what an element is, however it was reshaped: the same for the same element of the same tensor."""
    value: Any = node.definition(element)
    name = str(getattr(getattr(value, "op", None), "name", ""))
    if name in _SAME:
        return _source(node, value.args[0])
    if name == "relax.strided_slice" and dtype_of(element) == "int64":
        return _source(node, value.args[0]), *(str(each) for each in value.args[1:])
    return element


def arithmetic(node: Node, name: str, *operands: Element) -> Element:
    """Return add, subtract, multiply, floor_divide, minimum or maximum of elements, at import where they are known."""
    tensors = [tensor_of(node, each) for each in operands]
    return node.emit(getattr(relax.op, name)(*tensors))


def reshaped(node: Node, data: Expr, target: Sequence[Element], allow_zero: bool) -> Expr:
    """Return data in a shape some of whose elements only a run knows.

    The last of them follows from the number of elements, which no reshape changes: only the others are read. A run
    whose shape has another number of elements fails.
    """
    shape = shape_of(data)
    total = math.prod(shape)
    if bounds(total)[0] < 1:
        raise UserError("a tensor that may have no elements cannot take a shape that only a run knows")
    wanted = [_dimension(node, each, shape, at, allow_zero) for at, each in enumerate(target)]
    minus = arithmetic(node, "multiply", -1, _product(node, wanted))
    # With one -1 the product is that of the others, negated.
    left = arithmetic(node, "floor_divide", total, arithmetic(node, "maximum", minus, 1))
    wanted = [_filled(node, each, left) for each in wanted]
    right = node.emit(relax.op.equal(tensor_of(node, _product(node, wanted)), tensor_of(node, total)))
    sized = Sized(node, data)
    open_places = [at for at, each in enumerate(wanted) if not is_known(each)]
    dims: list[int] = [0 if at in open_places else each for at, each in enumerate(wanted)]
    rest = total // math.prod(dims[at] for at in range(len(dims)) if at not in open_places)
    for at in open_places[:-1]:
        checked = node.emit(relax.op.where(right, wanted[at], node.const([-1], "int64")))
        dims[at] = sized.size(checked, "the shape of Reshape", 1, bounds(rest)[1])
        rest = rest // dims[at]
    last = node.emit(relax.op.where(right, wanted[open_places[-1]], node.const([-1], "int64")))
    # Read, too, though it is known: a wrong one must not pass.
    sized.size(last, "the shape of Reshape", 1, bounds(rest)[1])
    dims[open_places[-1]] = rest
    return node.reshape(sized.data, dims)


def _product(node: Node, elements: Sequence[Element]) -> Element:
    known = math.prod(each for each in elements if is_known(each))
    result: Element = known
    for each in elements:
        if not is_known(each):
            result = arithmetic(node, "multiply", result, each)
    return result


def _dimension(node: Node, element: Element, shape: Sequence[int], at: int, allow_zero: bool) -> Element:
    """Return an element of a shape with 0 replaced by the dimension that it copies."""
    if allow_zero or at >= len(shape) or (is_known(element) and element != 0):
        return element
    if is_known(element):
        return shape[at]
    zero = node.emit(relax.op.equal(element, node.const([0], "int64")))
    return node.emit(relax.op.where(zero, tensor_of(node, shape[at]), element))


def _filled(node: Node, element: Element, rest: Expr) -> Element:
    """Return an element of a shape with -1 replaced by what remains."""
    if is_known(element):
        return rest if element == -1 else element
    open_ = node.emit(relax.op.equal(element, node.const([-1], "int64")))
    return node.emit(relax.op.where(open_, rest, element))


def expanded(node: Node, data: Expr, target: Sequence[Element]) -> tuple[Expr, tuple[int, ...]]:
    """Return data, and a shape to broadcast it to of which only a run knows some elements.

    Where data has more than one element along an axis, the run must ask for so many or for one.
    """
    shape = (1,) * (len(target) - len(shape_of(data))) + shape_of(data)
    sized = Sized(node, data)
    dims: list[int] = []
    for element, size in zip(target, shape[len(shape) - len(target) :], strict=True):
        if is_known(element) or size == 1:
            dims.append(sized.size(element, "the shape of Expand"))
            continue
        fits = [node.emit(relax.op.equal(element, tensor_of(node, each))) for each in (1, size)]
        either = node.emit(relax.op.logical_or(*fits))
        checked = node.emit(relax.op.where(either, tensor_of(node, 1), tensor_of(node, -1)))
        sized.size(checked, "the shape of Expand", 0, 1)
        dims.append(size)
    return sized.data, tuple(dims)
