"""A model on another machine: a library that ``tilewright-runner serve`` loads and runs there.

The messages are described in ``runner/serve.h``. Nothing is encrypted: for trusted networks only.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..element_types import container_of
from ..errors import UserError
from ..signature import TensorSpec
from .manifest import read_manifest
from .model import StepTime
from .outputs import Outputs, named_labels

Array = NDArray[Any]

DEFAULT_PORT = 9180
#: The environment variable that holds the key, on both sides.
KEY_VARIABLE = "TILEWRIGHT_KEY"

_HELLO, _LOAD, _RUN = 1, 2, 3
_HEADER = struct.Struct("<IiQ")
_CONNECT_SECONDS = 10.0
_ANSWER_SECONDS = 900.0
_LARGEST_ANSWER = 1 << 32


@dataclass(frozen=True)
class Address:
    """Where a runner listens, and the key it wants."""

    host: str
    port: int
    key: str

    @staticmethod
    def of(text: str, key: str | None) -> Address:
        """Return the address that "host", "host:port" or "[host]:port" names; the key is the environment's if None.

        Raises UserError for text that is none, or where there is no key.
        """
        host, port = text, ""
        if text.startswith("[") and "]" in text:
            host, _, port = text[1:].partition("]")
            port = port.removeprefix(":")
        elif text.count(":") == 1:
            host, port = text.split(":")
        if not host or (port and not (port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16)):
            raise UserError(f"'{text}' is no address of a runner: give host or host:port")
        key = key or os.environ.get(KEY_VARIABLE, "")
        if not key:
            raise UserError(f"the runner at '{text}' wants a key: give --key, or set {KEY_VARIABLE}")
        return Address(host, int(port) if port else DEFAULT_PORT, key)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class RemoteModel:
    """A library loaded by a runner on another machine; released by ``close`` or at the end of a ``with`` block.

    Args:
        path: the library, on this machine; it is sent.
        address: the runner.
        threads: of a run; 0 for one per processor there.

    Attributes:
        inputs, outputs: names, shapes and element types, in order.

    Raises UserError when the runner cannot be reached, refuses the key, or cannot load the library (another
    architecture, a CPU without the features it needs).
    """

    def __init__(self, path: str | Path, address: Address, threads: int = 0) -> None:
        self.path, self.address, self.threads = Path(path), address, threads
        self.manifest = read_manifest(path, verify=True)
        self.name = str(self.manifest["name"])
        self.inputs = _specs(self.manifest["signature"]["inputs"])
        self.outputs = _specs(self.manifest["signature"]["outputs"])
        try:
            self._socket = socket.create_connection((address.host, address.port), _CONNECT_SECONDS)
        except OSError as error:
            raise UserError(
                f"no runner answers at {address} ({error.strerror or error}): start 'tilewright-runner serve' there"
            ) from None
        self._socket.settimeout(_ANSWER_SECONDS)
        try:
            self._ask(_HELLO, [address.key.encode()])
            steps = self._ask(_LOAD, [struct.pack("<i", threads), self.path.read_bytes()])
        except BaseException:
            self.close()
            raise
        self._steps = [line.split("\t") for line in steps.decode(errors="replace").splitlines()]

    def run(self, inputs: Mapping[str, Array], repeat: int = 1) -> tuple[Outputs, list[float]]:
        """Run ``repeat`` times; return the last outputs and the seconds each run took there.

        Raises UserError for inputs that are missing or that the model does not take, and when the runner fails.
        """
        answer = self._ask(_RUN, self._question(inputs, repeat, profile=False))
        seconds = list(struct.unpack_from(f"<{repeat}d", answer))
        return self._read_outputs(answer, 8 * repeat), seconds

    def __call__(self, inputs: Mapping[str, Array]) -> Outputs:
        """Run once and return the outputs."""
        return self.run(inputs)[0]

    def profile(self, inputs: Mapping[str, Array], repeat: int = 10) -> tuple[StepTime, ...]:
        """Return the median seconds of each step there, in order."""
        answer = self._ask(_RUN, self._question(inputs, repeat, profile=True))
        count = len(self._steps)
        times = np.frombuffer(answer, np.float64, repeat * count, 8 * repeat).reshape(repeat, count)
        return tuple(
            StepTime(name, kernel, median(times[:, at]), float(flops), float(moved))
            for at, (name, kernel, flops, moved) in enumerate(self._steps)
        )

    def close(self) -> None:
        """End the connection; the runner releases the library."""
        self._socket.close()

    def __enter__(self) -> RemoteModel:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _question(self, inputs: Mapping[str, Array], repeat: int, *, profile: bool) -> list[bytes]:
        pieces = [struct.pack("<II", repeat, profile)]
        for spec in self.inputs:
            if spec.name not in inputs:
                raise UserError(f"{self.path}: no array is given for input '{spec.name}'")
            array = np.ascontiguousarray(inputs[spec.name])
            if array.dtype != np.dtype(container_of(spec.dtype)) or not spec.takes(array.shape):
                raise UserError(
                    f"{self.path}: input '{spec.name}' is {spec.dtype}{list(spec.shape)}, "
                    f"not {array.dtype}{list(array.shape)}"
                )
            pieces += [struct.pack(f"<{array.ndim}q", *array.shape), array.tobytes()]
        return pieces

    def _read_outputs(self, answer: bytes, offset: int) -> Outputs:
        arrays = []
        for spec in self.outputs:
            shape = struct.unpack_from(f"<{len(spec.shape)}q", answer, offset)
            offset += 8 * len(shape)
            dtype = np.dtype(container_of(spec.dtype))
            count = int(np.prod(shape, dtype=np.int64))
            arrays.append(np.frombuffer(answer, dtype, count, offset).reshape(shape).copy())
            offset += count * dtype.itemsize
        return Outputs([spec.name for spec in self.outputs], arrays, named_labels(self.outputs))

    def _ask(self, kind: int, pieces: Sequence[bytes]) -> bytes:
        """Send a message and return the bytes of its answer. Raises UserError with what the runner says instead."""
        try:
            self._send(kind, pieces)
            _, status, size = _HEADER.unpack(self._receive(_HEADER.size))
            if size > _LARGEST_ANSWER:
                raise UserError(f"the runner at {self.address} announces an answer of {size} bytes, which is too much")
            answer = self._receive(size)
        except (OSError, EOFError) as error:
            raise UserError(
                f"the runner at {self.address} does not answer ({error or 'the connection was closed'}): "
                "the library may have ended its process"
            ) from None
        if status:
            raise UserError(f"{self.path}: the runner at {self.address} says: {answer.decode(errors='replace')}")
        return answer

    def _send(self, kind: int, pieces: Sequence[bytes]) -> None:
        self._socket.sendall(_HEADER.pack(kind, 0, sum(map(len, pieces))))
        for piece in pieces:
            self._socket.sendall(piece)

    def _receive(self, size: int) -> bytes:
        data = bytearray(size)
        view = memoryview(data)
        while view:
            got = self._socket.recv_into(view)
            if not got:
                raise EOFError
            view = view[got:]
        return bytes(data)


def _specs(tensors: Sequence[Mapping[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            str(each["name"]),
            tuple(each["shape"]),
            str(each["dtype"]),
            tuple(each.get("largest", ())),
            labels=tuple(map(str, each.get("labels", ()))),
        )
        for each in tensors
    )
