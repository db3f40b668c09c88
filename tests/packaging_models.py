"""Small scheduled modules with numpy references, and a bare caller of the libraries made of them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from tilewright.compiler.package.artifact import Artifact
from tilewright.compiler.package.build import build
from tilewright.runtime import interface
from tilewright.signature import Signature, TensorSpec
from tilewright.targets.database import load_target
from tilewright.targets.target import Target

Array = NDArray[Any]


@dataclass(frozen=True)
class Case:
    """A scheduled module, its signature, inputs, and the outputs that numpy computes for them."""

    module: Any
    signature: Signature
    inputs: list[Array]
    expected: list[Array]


def scheduled(inputs: Sequence[Array], body: Callable[..., list[Any]], reference: Callable[..., list[Array]]) -> Case:
    """Build a module with Relax operators, lower it, and run the outermost loop of every kernel in parallel.

    Args:
        body: from the block builder and the parameters to the output expressions.
        reference: from the inputs to the outputs, in numpy.
    """
    from tvm import relax

    builder = relax.BlockBuilder()
    params = [relax.Var(f"x{i}", relax.TensorType(each.shape, str(each.dtype))) for i, each in enumerate(inputs)]
    with builder.function("main", params):
        with builder.dataflow():
            outputs = builder.emit_output(relax.Tuple(body(builder, *params)))
        builder.emit_func_output(outputs)
    module = builder.finalize()
    passes = relax.transform
    for each in (passes.LegalizeOps(), passes.AnnotateTIROpPattern(), passes.FuseOps(), passes.FuseTIR()):
        module = each(module)
    expected = reference(*inputs)
    names = tuple(TensorSpec(f"x{i}", each.shape, str(each.dtype)) for i, each in enumerate(inputs))
    results = tuple(TensorSpec(f"y{i}", each.shape, str(each.dtype)) for i, each in enumerate(expected))
    return Case(_parallel(module), Signature(names, results), list(inputs), expected)


def _parallel(module: Any) -> Any:
    from tvm import s_tir, tirx

    for name, function in list(module.functions.items()):
        if isinstance(function, tirx.PrimFunc):
            schedule = s_tir.Schedule(function)
            for block in schedule.get_child_blocks(schedule.get_sblock("root")):
                loops = schedule.get_loops(block)
                spatial = [
                    each
                    for each, axis in zip(loops, schedule.get(block).iter_vars, strict=False)
                    if axis.iter_type == 0
                ]
                if spatial:
                    schedule.parallel(schedule.fuse(*spatial[:2]))
            module[name] = schedule.mod["main"]
    return module


def conv2d(x: Array, weight: Array, padding: int) -> Array:
    """A convolution in double precision, NCHW and OIHW."""
    padded = np.pad(x.astype("float64"), ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = sliding_window_view(padded, weight.shape[2:], axis=(2, 3))
    return np.einsum("nchwij,ocij->nohw", windows, weight.astype("float64"))


@cache
def convolution_case() -> Case:
    """Convolution, residual, softmax: several kernels, an arena, kernel scratch, every kind of output."""
    from tvm import relax

    random = np.random.default_rng(7)
    x = random.standard_normal((1, 3, 14, 14), dtype="float32")
    w1 = random.standard_normal((8, 3, 3, 3), dtype="float32") / 5
    w2 = random.standard_normal((8, 8, 3, 3), dtype="float32") / 8
    constant = np.arange(5, dtype="float32")

    def body(builder: Any, x: Any) -> list[Any]:
        first = builder.emit(relax.op.nn.relu(relax.op.nn.conv2d(x, relax.const(w1), padding=1)))
        second = builder.emit(relax.op.add(relax.op.nn.conv2d(first, relax.const(w2), padding=1), first))
        third = builder.emit(relax.op.nn.conv2d(second, relax.const(w2), padding=1))
        rows = builder.emit(relax.op.reshape(third, (8, 196)))
        soft = builder.emit(relax.op.nn.softmax(rows, -1))
        return [soft, second, soft, x, relax.const(constant)]

    def reference(x: Array) -> list[Array]:
        first = np.maximum(conv2d(x, w1, 1), 0)
        second = conv2d(first, w2, 1) + first
        rows = conv2d(second, w2, 1).reshape(8, 196)
        power = np.exp(rows - rows.max(-1, keepdims=True))
        soft = (power / power.sum(-1, keepdims=True)).astype("float32")
        return [soft, second.astype("float32"), soft, x, constant]

    return scheduled([x], body, reference)


@cache
def types_case() -> Case:
    """Two inputs, integers, half precision and booleans."""
    from tvm import relax

    random = np.random.default_rng(8)
    a = random.integers(-50, 50, (6, 9), dtype="int64")
    b = random.standard_normal((6, 9)).astype("float16")

    def body(builder: Any, a: Any, b: Any) -> list[Any]:
        return [
            builder.emit(relax.op.multiply(a, relax.const(3, "int64"))),
            builder.emit(relax.op.add(b, b)),
            builder.emit(relax.op.less(a, relax.const(0, "int64"))),
            builder.emit(relax.op.astype(a, "int8")),
        ]

    return scheduled([a, b], body, lambda a, b: [a * 3, b + b, a < 0, a.astype("int8")])


def make(
    case: Case, *, name: str = "model", target: Target | str = "host", format: str = "so", jobs: int = 1
) -> Artifact:
    """Package a case."""
    machine = load_target(target) if isinstance(target, str) else target
    return build(case.module, case.signature, name=name, target=machine, format=format, jobs=jobs)


class Caller:
    """The C functions of a library, called with ctypes and nothing between."""

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        for name, prototype in interface.PROTOTYPES.items():
            setattr(self, name.removeprefix("tilewright_"), prototype((name, library)))
        self.info: Any
        self.create: Any
        self.run: Any
        self.profile: Any
        self.error: Any
        self.free: Any
        self.model = self.info().contents

    def instance(self, threads: int) -> int:
        """Make an instance."""
        made = ctypes.c_void_p()
        assert self.create(threads, None, ctypes.byref(made)) == interface.OK, self.error(None)
        assert made.value
        return made.value

    def outputs(self, instance: int, case: Case, *, offset: int = 0) -> list[Array]:
        """Run once on buffers this many bytes behind a multiple of 64, the outputs full of NaN first."""
        inputs = [placed(each, offset) for each in case.inputs]
        outputs = [placed(poison(each), offset) for each in case.expected]
        code = self.run(instance, addresses(inputs), addresses(outputs))
        assert code == interface.OK, self.error(instance)
        return outputs


def poison(like: Array) -> Array:
    """An array of this shape and type with every bit set: NaN where the type has it."""
    return np.frombuffer(b"\xff" * like.nbytes, like.dtype).reshape(like.shape)


def placed(array: Array, offset: int) -> Array:
    """A copy that lies this many bytes behind a multiple of 64."""
    memory = np.empty(array.nbytes + 192, "uint8")
    start = -memory.ctypes.data % 64 + offset
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def addresses(arrays: Sequence[Array]) -> Any:
    """The pointers of arrays, as the C functions take them."""
    return (ctypes.c_void_p * len(arrays))(*(each.ctypes.data for each in arrays))


def assert_expected(case: Case, outputs: Sequence[Array]) -> None:
    """Compare outputs with the reference: exact for integers, close for what was summed in another order."""
    for got, wanted in zip(outputs, case.expected, strict=True):
        if wanted.dtype.kind == "f":
            np.testing.assert_allclose(got, wanted, rtol=2e-6, atol=2e-6)
        else:
            np.testing.assert_array_equal(got, wanted)
