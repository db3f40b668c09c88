"""A workload: the complete, hashable, JSON-able description of one kernel to make.

It is what passes hand to schedules, the key under which equal kernels are made once, and the key of tuning records.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from .atoms import Symbol
from .dim_text import parse
from .layout import Layout
from .shapes import is_static, symbols_of, upper_shape
from .winograd import WinogradLayout

Attribute = int | float | str | bool | tuple[int, ...]


@dataclass(frozen=True)
class TensorType:
    """An operand of a kernel.

    Attributes:
        shape: the logical shape; what only a run knows is a ``Dim``.
        dtype: the element type.
        layout: None for row-major in logical order, else how it is stored.
    """

    shape: tuple[int, ...]
    dtype: str
    layout: Layout | None = None

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The shape of the buffer in memory."""
        return self.layout.stored_shape(self.shape) if self.layout else self.shape


@dataclass(frozen=True)
class LowTensor(TensorType):
    """An operand that kernels compute with as ``dtype`` (float32) and that has narrower elements in memory.

    It stands in for a 16-bit operand while a kernel is made and in no workload that is written down.

    Attributes:
        held: the element type in memory, "bfloat16" or "float16".
    """

    held: str = ""


@dataclass(frozen=True)
class PointwiseStep:
    """One scalar operation on earlier values of a program.

    Attributes:
        op: the Relax operator's name without ``relax.`` ("add", "nn.relu", "astype"), or "const" (attribute ``value``).
        args: indices of earlier values.
        dtype: the element type of the result.
        attrs: sorted pairs of attribute and value.
    """

    op: str
    args: tuple[int, ...]
    dtype: str
    attrs: tuple[tuple[str, Attribute], ...] = ()


@dataclass(frozen=True)
class PointwiseProgram:
    """Scalar operations per element: values 0..operands-1 are given, each step adds one; the last is the result."""

    operands: int
    steps: tuple[PointwiseStep, ...]


@dataclass(frozen=True)
class Workload:
    """A kernel to make.

    The kernel's parameters are ``inputs`` in order, then ``outputs``. An anchor (the part that is not pointwise) reads
    the first ``anchor_arity`` inputs; its one result is value 0 of the epilogue, the other inputs are values 1, 2, ...
    and broadcast to the output by numpy's rules. A pointwise workload has ``anchor_arity`` 0 and its inputs are values
    0, 1, ...

    Attributes:
        family: "conv2d", "matmul", "softmax", "pointwise", ...: which templates may make it.
        attrs: sorted pairs of attribute and value of the anchor ("strides", "padding", "groups", "axis", ...).
        inner: the programs between the stages of an anchor that has several ("attention"). Value 0 of each is what the
            stage before made; its other operands are inputs of the anchor.
    """

    family: str
    inputs: tuple[TensorType, ...]
    outputs: tuple[TensorType, ...]
    attrs: tuple[tuple[str, Attribute], ...] = ()
    anchor_arity: int = 0
    epilogue: PointwiseProgram | None = None
    inner: tuple[PointwiseProgram, ...] = ()

    def attr(self, name: str) -> Any:
        """Return an attribute of the anchor. Raises KeyError when it has none of that name."""
        return dict(self.attrs)[name]

    @property
    def output(self) -> TensorType:
        """The only output."""
        (output,) = self.outputs
        return output

    @property
    def symbols(self) -> tuple[Symbol, ...]:
        """The symbols of the operands' shapes, by name."""
        return symbols_of(dim for each in (*self.inputs, *self.outputs) for dim in each.shape)

    @property
    def is_static(self) -> bool:
        """Whether all shapes are numbers."""
        return all(is_static(each.shape) for each in (*self.inputs, *self.outputs))

    def at_bounds(self) -> Workload:
        """Return the workload of the largest shapes."""
        if self.is_static:
            return self

        def largest(operands: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
            return tuple(replace(each, shape=upper_shape(each.shape)) for each in operands)

        return replace(self, inputs=largest(self.inputs), outputs=largest(self.outputs))

    def with_layouts(self, inputs: tuple[Layout | None, ...], outputs: tuple[Layout | None, ...]) -> Workload:
        """Return the same computation on operands stored otherwise."""
        return replace(
            self,
            inputs=tuple(replace(each, layout=lay) for each, lay in zip(self.inputs, inputs, strict=True)),
            outputs=tuple(replace(each, layout=lay) for each, lay in zip(self.outputs, outputs, strict=True)),
        )

    def to_json(self) -> str:
        """Return the workload as canonical JSON: equal workloads give equal text."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), default=str)

    @staticmethod
    def from_json(text: str) -> Workload:
        """Return the workload that ``to_json`` wrote."""
        data = json.loads(text)
        epilogue = data["epilogue"]
        return Workload(
            family=data["family"],
            inputs=tuple(_tensor_type(each) for each in data["inputs"]),
            outputs=tuple(_tensor_type(each) for each in data["outputs"]),
            attrs=_attrs(data["attrs"]),
            anchor_arity=data["anchor_arity"],
            epilogue=epilogue and _program(epilogue),
            inner=tuple(map(_program, data["inner"])),
        )


def attributes(values: Mapping[str, Attribute]) -> tuple[tuple[str, Attribute], ...]:
    """Return a mapping as the sorted pairs that workloads hold."""
    return tuple(sorted(values.items()))


def _attrs(pairs: list[list[Any]]) -> tuple[tuple[str, Attribute], ...]:
    return tuple((name, tuple(map(_number, value)) if isinstance(value, list) else value) for name, value in pairs)


def _number(value: int | str) -> int:
    return parse(value) if isinstance(value, str) else value


def _tensor_type(data: dict[str, Any]) -> TensorType:
    return TensorType(tuple(map(_number, data["shape"])), data["dtype"], data["layout"] and _layout(data["layout"]))


def _layout(data: dict[str, Any]) -> Layout:
    if "tile" in data:
        return WinogradLayout(**data)
    return Layout(**data)


def _program(data: dict[str, Any]) -> PointwiseProgram:
    return PointwiseProgram(data["operands"], tuple(map(_step, data["steps"])))


def _step(data: dict[str, Any]) -> PointwiseStep:
    return PointwiseStep(data["op"], tuple(data["args"]), data["dtype"], _attrs(data["attrs"]))
