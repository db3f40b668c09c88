"""A loaded model: call it with arrays, get arrays."""

from __future__ import annotations

import ctypes
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ..signature import TensorSpec
from .arrays import Port, bind
from .instance import Instance
from .library import Library, Step
from .outputs import Outputs, named_labels

Array = NDArray[Any]


@dataclass(frozen=True)
class StepTime:
    """What one step of the plan took.

    Attributes:
        name: the operators it computes.
        kernel: the kernel's symbol.
        seconds: the median over the runs.
        flops: floating-point operations of one run, 0 where they are not counted.
        bytes: bytes of its operands.
    """

    name: str
    kernel: str
    seconds: float
    flops: float
    bytes: float


class BoundCall:
    """A call whose arrays were checked once; calling it runs the model on the same memory again.

    Attributes:
        outputs: the arrays that every run writes; of sizes that the data decides, the largest. What a call returns are
            the parts of them that it has found, and strings in place of the numbers of labels.
    """

    __slots__ = ("_inputs", "_instance", "_labels", "_measures", "_shapes", "_sinks", "_sources", "outputs")

    def __init__(
        self, instance: Instance, inputs: Sequence[Array], outputs: Outputs, shapes: Any, measures: bool
    ) -> None:
        self._measures = measures
        self._instance = instance
        self._inputs = inputs
        self._shapes = shapes
        self._sources, self._sinks = _addresses(inputs), _addresses(outputs.values())
        self.outputs = outputs
        self._labels = named_labels(instance.library.outputs)

    def __call__(self) -> Outputs:
        """Run the model and return the outputs. Raises RuntimeError when a step fails; the message names it."""
        if not self._measures:
            self._instance.run(self._sources, self._sinks, self._shapes)
            if not self._labels:
                return self.outputs
            return Outputs(list(self.outputs.keys()), self.outputs.values(), self._labels)
        found = self._instance.run_and_measure(self._sources, self._sinks, self._shapes)
        arrays = [
            array.reshape(-1)[: math.prod(shape)].reshape(shape)
            for array, shape in zip(self.outputs.values(), found, strict=True)
        ]
        return Outputs(list(self.outputs.keys()), arrays, self._labels)


class Model:
    """One instance of a compiled model. :func:`load` makes the first, :meth:`new_instance` more.

    Calls of one instance from several threads wait for one another; instances run side by side and share the weights.
    A model may be used after a fork: the child's first call makes an instance of its own. It is released by ``close``,
    at the end of a ``with`` block, or when it is collected; the library is unloaded with its last instance.
    """

    def __init__(self, instance: Instance, check_finite: bool) -> None:
        self._instance = instance
        self._check_finite = check_finite
        library = instance.library
        self._inputs = [Port.of(library.path, "input", spec) for spec in library.inputs]
        self._outputs = [Port.of(library.path, "output", spec) for spec in library.outputs]
        self._output_names = [port.name for port in self._outputs]
        self._dynamic = any(None in port.shape for port in (*self._inputs, *self._outputs))
        self._static_sizes = None if self._dynamic else [port.static_shape for port in self._outputs]
        self._measures = bool(_names(library.outputs) - _names(library.inputs))

    def __call__(self, /, *arrays: Any, out: Any = None, **named: Any) -> Outputs:
        """Run the model.

        Args:
            arrays: inputs in the model's order, or one mapping of names to inputs. An input is a numpy array or has
                ``__dlpack__`` (a torch tensor on the CPU). It is read in place when it is C-contiguous, else copied.
            out: buffers to write into: a mapping of output names to arrays, a sequence in order, or the array of the
                only output. Outputs without a buffer get a new array.
            named: inputs by name.

        Raises:
            UserError: an input or buffer is unknown, missing, or of the wrong shape or element type; sizes that are out
                of their bounds or contradict one another.
            RuntimeError: a step failed; the message names it.
        """
        return self.bind(*arrays, out=out, **named)()

    def bind(self, /, *arrays: Any, out: Any = None, **named: Any) -> BoundCall:
        """Check arrays as a call does, run nothing, and return a function that runs on them as often as it is called.

        For loops that refill the same arrays. The arrays must be C-contiguous for that: others are copied, once.

        Raises:
            UserError: as a call does.
        """
        inputs = self._input_arrays(arrays, named)
        shapes = self._shapes(inputs)
        outputs = self._output_arrays(out, inputs, shapes)
        return BoundCall(self._instance, inputs, Outputs(self._output_names, outputs), shapes, self._measures)

    def profile(self, /, *arrays: Any, repeat: int = 10, warmup: int = 1, **named: Any) -> tuple[StepTime, ...]:
        """Run the model ``repeat`` times after ``warmup`` runs that do not count; return what each step took, in order.

        Raises:
            UserError: as a call does, or when ``repeat`` is less than 1.
        """
        if repeat < 1:
            raise UserError(f"{self.path}: repeat is {repeat}; it is at least 1")
        inputs = self._input_arrays(arrays, named)
        shapes = self._shapes(inputs)
        sources, sinks = _addresses(inputs), _addresses(outputs := self._output_arrays(None, inputs, shapes))
        for _ in range(warmup):
            self._instance.run(sources, sinks, shapes)
        runs = [self._instance.profile(sources, sinks, shapes) for _ in range(repeat)]
        del outputs
        return tuple(
            StepTime(step.name, step.kernel, median(seconds), step.flops, step.bytes)
            for step, seconds in zip(self.steps, zip(*runs, strict=True), strict=True)
        )

    def new_instance(self, threads: int | None = None, check_finite: bool | None = None) -> Model:
        """Return another instance that shares the weights, with this one's settings where none are given.

        Raises:
            UserError: this model is closed, or ``threads`` is not a number of threads.
        """
        return Model(self._instance.sibling(threads), self._check_finite if check_finite is None else check_finite)

    def close(self) -> None:
        """Release the instance, after a run that is going on; closing twice is allowed."""
        self._instance.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def _library(self) -> Library:
        return self._instance.library

    @property
    def path(self) -> Path:
        """The library's path, as it was given."""
        return self._library.path

    @property
    def name(self) -> str:
        """The model's name."""
        return self._library.name

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Names, shapes and element types of the inputs, in order."""
        return self._library.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Names, shapes and element types of the outputs, in order."""
        return self._library.outputs

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps of the plan, in order."""
        return self._library.steps

    @property
    def manifest(self) -> dict[str, Any]:
        """What the library says about itself: target, needed CPU features, versions, hashes."""
        return self._library.manifest

    @property
    def threads(self) -> int:
        """How many threads a run uses, the caller's included."""
        return self._instance.threads

    @property
    def instances(self) -> int:
        """How many instances of the library share the weights with this one, itself included."""
        return self._library.instances

    @property
    def arena_bytes(self) -> int:
        """Memory of one instance for intermediate results."""
        return self._library.arena_bytes

    @property
    def weight_bytes(self) -> int:
        """Memory of the weights, which the instances, and processes, share."""
        return self._library.weight_bytes

    @property
    def closed(self) -> bool:
        """Whether the instance was released."""
        return self._instance.closed

    def __repr__(self) -> str:
        closed = ", closed" if self.closed else ""
        return (
            f"<Model '{self.name}' ({_show(self.inputs)}) -> ({_show(self.outputs)}), {self.threads} threads{closed}>"
        )

    def _input_arrays(self, arrays: Sequence[Any], named: Mapping[str, Any]) -> list[Array]:
        if len(arrays) == 1 and isinstance(arrays[0], Mapping) and not named:
            named, arrays = arrays[0], []
        if len(arrays) == len(self._inputs) and not named:
            return self._checked([port.input_array(each) for port, each in zip(self._inputs, arrays, strict=True)])
        given = bind(self._inputs, f"{self.path}: its inputs", arrays, named)
        missing = [port.name for port in self._inputs if port.name not in given]
        if missing:
            raise UserError(f"{self.path}: no array is given for input {', '.join(map(repr, missing))}")
        return self._checked([port.input_array(given[port.name]) for port in self._inputs])

    def _checked(self, arrays: list[Array]) -> list[Array]:
        if self._check_finite:
            for port, array in zip(self._inputs, arrays, strict=True):
                port.check_finite(array)
        return arrays

    def _shapes(self, inputs: Sequence[Array]) -> Any:
        """Return the inputs' shapes as the library takes them; None for a model whose shapes are all known."""
        return _shape_pointers(inputs) if self._dynamic else None

    def _output_arrays(self, out: Any, inputs: Sequence[Array], shapes: Any) -> list[Array]:
        sizes = self._static_sizes or self._instance.output_shapes(shapes)
        if out is None:
            return list(map(self._room, range(len(sizes)), sizes))
        if isinstance(out, np.ndarray) and len(sizes) == 1:
            buffer = self._outputs[0].output_array(out, sizes[0])
            self._check_overlap({self._outputs[0].name: buffer}, inputs)
            return [buffer]
        where = f"{self.path}: its outputs"
        if isinstance(out, Mapping):
            given = bind(self._outputs, where, (), out)
        else:
            several = isinstance(out, (list, tuple, Outputs))
            given = bind(self._outputs, where, tuple(out) if several else (out,), {})
        wanted = {port.name: (port, size) for port, size in zip(self._outputs, sizes, strict=True)}
        buffers = {name: port.output_array(given[name], size) for name, (port, size) in wanted.items() if name in given}
        self._check_overlap(buffers, inputs)
        return [
            buffers[port.name] if port.name in buffers else self._room(index, sizes[index])
            for index, port in enumerate(self._outputs)
        ]

    def _room(self, output: int, shape: tuple[int, ...]) -> Array:
        """Return memory for an output: of its largest shape, or a line where it never has so many elements."""
        most = self._library.most_elements[output]
        line = self._measures and math.prod(shape) > most
        return np.empty((most,) if line else shape, self._outputs[output].dtype)

    def _check_overlap(self, buffers: Mapping[str, Array], inputs: Sequence[Array]) -> None:
        """Kernels take their operands as disjoint; for contiguous arrays the test by bounds is exact."""
        taken = [(port.where, array) for port, array in zip(self._inputs, inputs, strict=True)]
        for port in self._outputs:
            if port.name not in buffers:
                continue
            for other, array in taken:
                if np.may_share_memory(buffers[port.name], array):
                    raise UserError(f"{port.where} and {other} share memory; give the output a buffer of its own")
            taken.append((port.where, buffers[port.name]))


def load(path: str | Path, threads: int = 0, *, check_finite: bool = False, verify: bool = True) -> Model:
    """Load a library that ``tilewright compile`` made.

    Args:
        path: the library.
        threads: how many threads a run uses, the caller's included; 0 for what the
            environment variable TILEWRIGHT_NUM_THREADS says, else for every processor of the affinity mask.
        check_finite: refuse inputs that hold NaN or infinity; otherwise they are computed with like other numbers.
        verify: compare the file with the hash in it, so that damage is a sentence and not a crash; this reads the whole
            file once (0.1 to 0.2 seconds for 100 MB).

    Raises:
        UserError: no such file, not a library of ours, damaged, for another architecture or interface version, or for
            a CPU with features that this one lacks.
    """
    return Model(Instance(Library(path, verify), threads), check_finite)


@cache
def _pointers(count: int) -> Any:
    return ctypes.c_void_p * count


def _addresses(arrays: Sequence[Array]) -> Any:
    return _pointers(len(arrays))(*(array.__array_interface__["data"][0] for array in arrays))


def _names(specs: Sequence[TensorSpec]) -> set[str]:
    """Return the symbols in the shapes of tensors."""
    texts = [dim for spec in specs for dim in spec.shape if isinstance(dim, str)]
    return {word for text in texts for word in re.findall(r"[A-Za-z_]\w*", text)} - {"min", "max"}


def _shape_pointers(arrays: Sequence[Array]) -> Any:
    pointer = ctypes.POINTER(ctypes.c_int64)
    shapes = [(ctypes.c_int64 * max(array.ndim, 1))(*array.shape) for array in arrays]
    return (pointer * len(shapes))(*(ctypes.cast(shape, pointer) for shape in shapes))


def _show(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{each.name}: {each.dtype}[{', '.join(map(str, each.shape))}]" for each in specs)
