"""Random small networks as Relax modules: every kind of operator that fusion and layouts treat differently."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from relax_modules import array
from tvm import relax
from tvm.relax import op

from tilewright.tvm_names import shape_of

INPUTS = ((1, 8, 5, 6), (1, 8, 5, 6))


class Network:
    """Draws operators over the values made so far.

    Values stay small: what multiplies goes through tanh first, and weights shrink with what is summed.
    """

    def __init__(self, draw: Any, emit: Any, inputs: tuple[Any, ...]) -> None:
        self.draw, self.emit = draw, emit
        self.values = list(inputs)

    def choose(self, rank: int = 1) -> Any:
        """Draw a value of this rank at least, a late one rather than an early one."""
        fitting = [value for value in self.values if len(shape_of(value)) >= rank]
        return self.draw(st.sampled_from(fitting[-4:]))

    def weight(self, shape: tuple[int, ...], summed: int = 1) -> Any:
        seed = self.draw(st.integers(0, 9))
        return relax.const(array(shape, seed, low=-1.0) / summed)

    def unary(self) -> Any:
        kind = self.draw(st.sampled_from((op.tanh, op.nn.relu, op.sigmoid, op.nn.gelu, op.negative)))
        return kind(self.choose())

    def binary(self) -> Any:
        """A value with another of its shape, or with a constant that broadcasts to it or is a scalar."""
        left = self.choose()
        shape = shape_of(left)
        same = [value for value in self.values if shape_of(value) == shape]
        kept = [self.draw(st.booleans()) for _ in shape]
        rank = self.draw(st.integers(0, len(shape)))
        dims = tuple(size if keep else 1 for size, keep in zip(shape, kept, strict=True))[rank:]
        right = self.draw(st.sampled_from(same)) if self.draw(st.booleans()) else self.weight(dims)
        kind = self.draw(st.sampled_from((op.add, op.subtract, op.maximum, op.multiply)))
        if kind is op.multiply:
            left = self.emit(op.tanh(left))
        return kind(*((left, right) if self.draw(st.booleans()) else (right, left)))

    def convolution(self) -> Any:
        data = self.choose(4)
        channels, kernel = shape_of(data)[1], self.draw(st.sampled_from((1, 3)))
        groups = self.draw(st.sampled_from((1, 1, channels)))
        out = channels if groups > 1 else self.draw(st.sampled_from((3, 8, 16, 17)))
        weight = self.weight((out, channels // groups, kernel, kernel), channels // groups * kernel)
        return op.nn.conv2d(data, weight, padding=kernel // 2, groups=groups)

    def product(self) -> Any:
        """A value by weights, or by the transpose of a value, its own or another's."""
        left = self.choose(2)
        shape = shape_of(left)
        if self.draw(st.booleans()):
            return op.matmul(left, self.weight((shape[-1], self.draw(st.sampled_from((4, 7)))), shape[-1]))
        right = self.draw(st.sampled_from([value for value in self.values if shape_of(value) == shape]))
        order = (*range(len(shape) - 2), len(shape) - 1, len(shape) - 2)
        return op.matmul(self.emit(op.tanh(left)), self.emit(op.permute_dims(right, list(order))))

    def transpose(self) -> Any:
        value = self.choose(2)
        return op.permute_dims(value, list(self.draw(st.permutations(range(len(shape_of(value)))))))

    def reduction(self) -> Any:
        value = self.choose()
        axis = self.draw(st.integers(0, len(shape_of(value)) - 1))
        return self.draw(st.sampled_from((op.mean, op.max)))(value, axis, self.draw(st.booleans()))

    def pool(self) -> Any:
        return op.nn.max_pool2d(self.choose(4), (3, 3), padding=1)

    def softmax(self) -> Any:
        return op.nn.softmax(self.choose(), -1)

    def reshape(self) -> Any:
        value = self.choose(2)
        first, second, *rest = shape_of(value)
        return op.reshape(value, (first * second, *rest))

    def opaque(self) -> Any:
        value = self.choose()
        kind = self.draw(st.sampled_from(("flip", "cumsum", "slice", "split")))
        if kind in ("flip", "cumsum"):
            return getattr(op, kind)(value, 0)
        if kind == "slice" or shape_of(value)[-1] < 2:
            return op.strided_slice(value, [0], [0], [max(1, shape_of(value)[0] - 1)])
        parts = self.emit(op.split(value, [1], axis=-1))
        pair = [self.emit(relax.TupleGetItem(parts, index)) for index in (1, 0)]
        return op.concat(pair, axis=-1)


KINDS = (
    *("unary", "binary", "binary", "convolution", "convolution", "product", "transpose", "reduction", "pool"),
    *("softmax", "reshape", "opaque"),
)


def random_network(draw: Any, emit: Any, *inputs: Any, kinds: tuple[str, ...] = KINDS, largest: int = 12) -> list[Any]:
    """Emit a drawn network; returns its results: the last value and any others."""
    network = Network(draw, emit, inputs)
    for _ in range(draw(st.integers(1, largest))):
        network.values.append(emit(getattr(network, draw(st.sampled_from(kinds)))()))
    others = draw(st.lists(st.sampled_from(network.values), max_size=2))
    return [*others, network.values[-1]]
