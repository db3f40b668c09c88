"""A loaded library: one ``dlopen`` handle, what it says about itself, and its functions."""

from __future__ import annotations

import _ctypes
import ctypes
import os
import weakref
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..signature import TensorSpec
from . import interface
from .elf import architecture_name, own_machine, read_elf
from .manifest import labels_of, read_manifest

_FAILURES: dict[int, type[Exception]] = {
    interface.INVALID_ARGUMENT: UserError,
    interface.OUT_OF_MEMORY: MemoryError,
    interface.UNSUPPORTED_CPU: UserError,
    interface.NO_DEVICE: UserError,
}


@dataclass(frozen=True)
class Step:
    """A step of the plan: one kernel call.

    Attributes:
        name: the operators it computes.
        kernel: the kernel's symbol; steps of equal shape share one.
        flops: floating-point operations of one run, 0 where they are not counted.
        bytes: bytes of its operands.
    """

    name: str
    kernel: str
    flops: float
    bytes: float


class Library:
    """A library made by Tilewright, loaded. It is unloaded with its last instance.

    Args:
        path: the file.
        verify: whether to compare the file with the hash that was written into it when it was made.

    Attributes:
        path: the path as the user gave it; it opens every error.
        name, target: what the library was compiled from and for.
        manifest: what was compiled, for what, with what.
        inputs, outputs, steps: in the library's order.
        arena_bytes, weight_bytes: memory of one instance; memory that all instances share.
    """

    def __init__(self, path: str | Path, verify: bool = True) -> None:
        self.path = Path(path)
        self.manifest = _check_file(self.path, verify)
        try:
            handle = _ctypes.dlopen(_unique_spelling(self.path), os.RTLD_NOW | os.RTLD_LOCAL)
        except OSError as error:
            raise UserError(f"{path}: the system cannot load it: {error}") from error
        self._process = os.getpid()
        self._unload = weakref.finalize(self, _ctypes.dlclose, handle)
        self._unload.atexit = False
        # One element for each instance: a list's append and pop are atomic, and unlike a lock it survives a fork.
        self._users: list[None] = []
        self._functions = {name: self._function(handle, name) for name in interface.PROTOTYPES}
        self._describe(self._functions["tilewright_info"]().contents)

    def _function(self, handle: int, name: str) -> Any:
        try:
            return interface.PROTOTYPES[name](_ctypes.dlsym(handle, name))
        except OSError as error:
            raise UserError(f"{self.path}: is not a library made by Tilewright (it has no {name})") from error

    def _describe(self, info: interface.ModelInfo) -> None:
        version = info.abi_version
        if version != interface.ABI_VERSION:
            remedy = "update tilewright" if version > interface.ABI_VERSION else "compile the model again"
            raise UserError(
                f"{self.path}: has version {version} of the library interface and this tilewright speaks version "
                f"{interface.ABI_VERSION}; {remedy}"
            )
        self.name: str = info.name.decode()
        self.target: str = info.target.decode()
        self.inputs = tuple(self._spec(info.inputs[index]) for index in range(info.num_inputs))
        self.outputs = tuple(
            replace(self._spec(info.outputs[index]), labels=labels_of(self.manifest, index))
            for index in range(info.num_outputs)
        )
        #: How many elements each output has at the most; fewer than of its largest shape where sizes depend on others.
        self.most_elements = tuple(
            int(info.outputs[index].bytes) // max(info.outputs[index].dtype.bits // 8, 1)
            for index in range(info.num_outputs)
        )
        self.steps = tuple(_step(info.steps[index]) for index in range(info.num_steps))
        self.arena_bytes: int = info.arena_bytes
        self.weight_bytes: int = info.weight_bytes

    def _spec(self, tensor: interface.Tensor) -> TensorSpec:
        kind = (tensor.dtype.code, tensor.dtype.bits)
        name = tensor.name.decode()
        if kind not in interface.DTYPES:
            raise UserError(f"{self.path}: '{name}' has an element type this tilewright does not know (DLPack {kind})")
        axes = range(tensor.rank)
        if not tensor.dims:
            return TensorSpec(name, tuple(tensor.shape[axis] for axis in axes), interface.DTYPES[kind])
        shape = tuple(tensor.shape[axis] if tensor.shape[axis] >= 0 else tensor.dims[axis].decode() for axis in axes)
        return TensorSpec(name, shape, interface.DTYPES[kind], tuple(tensor.largest[axis] for axis in axes))

    def create(self, threads: int) -> int:
        """Make an instance and return its address.

        Raises:
            UserError: the CPU lacks what the library needs, or the number of threads is out of range.
            MemoryError: the arena does not fit.
        """
        instance = ctypes.c_void_p()
        self._check(self._functions["tilewright_create"](threads, None, ctypes.byref(instance)), None)
        self._users.append(None)
        return int(instance.value or 0)

    def set_shapes(self, instance: int, shapes: Any) -> None:
        """Say what sizes the following runs have; ``shapes`` is an array of addresses. Raises UserError for others."""
        self._check(self._functions["tilewright_set_shapes"](instance, shapes), instance)

    def output_shape(self, instance: int, output: int) -> tuple[int, ...]:
        """Return the shape an output has at the sizes set."""
        rank = len(self.outputs[output].shape)
        shape = (ctypes.c_int64 * max(rank, 1))()
        self._check(self._functions["tilewright_output_shape"](instance, output, shape), instance)
        return tuple(shape[:rank])

    def run(self, instance: int, inputs: Any, outputs: Any) -> None:
        """Run once. ``inputs`` and ``outputs`` are arrays of addresses. Raises RuntimeError when a step fails."""
        self._check(self._functions["tilewright_run"](instance, inputs, outputs), instance)

    def profile(self, instance: int, inputs: Any, outputs: Any) -> list[float]:
        """Run once and return the seconds of each step. Raises RuntimeError when a step fails."""
        seconds = (ctypes.c_double * len(self.steps))()
        self._check(self._functions["tilewright_profile"](instance, inputs, outputs, seconds), instance)
        return list(seconds)

    def free(self, instance: int, process: int) -> None:
        """Release an instance made in a process (by its id), and with the last one unload the library.

        In a forked child the parent's instances are only forgotten: their threads cannot be joined there.
        """
        if process == os.getpid():
            self._functions["tilewright_free"](instance)
        self._users.pop()
        if not self._users and self._process == os.getpid():
            self._unload()

    @property
    def instances(self) -> int:
        """How many instances this process holds."""
        return len(self._users)

    def _check(self, code: int, instance: int | None) -> None:
        if code != interface.OK:
            sentence = self._functions["tilewright_error"](instance).decode(errors="replace")
            raise _FAILURES.get(code, RuntimeError)(f"{self.path}: {sentence or f'failed with code {code}'}")


def _step(step: interface.Step) -> Step:
    return Step(step.name.decode(), step.kernel.decode(), step.flops, step.bytes)


def _check_file(path: Path, verify: bool) -> dict[str, Any]:
    """Return the manifest. Raises UserError for what must not reach dlopen: damage, another machine, another maker."""
    elf = read_elf(path)
    machine, bits, order = own_machine()
    if (elf.machine, elf.bits, elf.byte_order) != (machine, bits, order):
        raise UserError(
            f"{path}: was made for {elf.architecture} and this process runs on {architecture_name(machine, bits)}; "
            "compile the model for this machine with --target"
        )
    return read_manifest(path, verify=verify)


def _unique_spelling(path: Path) -> str:
    """Return a path to the same file that no other file was ever loaded by.

    The dynamic linker takes a path it has seen for the library that is loaded, even when a new file was renamed into
    that place. Spelling the file's identity into redundant separators makes it look, while one file still has one name.
    """
    real = path.resolve()
    status = real.stat()
    identity = f"{status.st_dev & 0xFFFFFFFF:032b}{status.st_ino:064b}"
    return f"{real.parent}/{''.join('./' if bit == '1' else '/' for bit in identity)}{real.name}"
