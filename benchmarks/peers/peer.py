"""What a peer is: a function that makes a model ready to run in another runtime."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tilewright.compiler.measure.peers import Peer
from tilewright.registry import Registry

from ..models import Arrays, BenchModel, as_tuple, export


@dataclass(frozen=True)
class Subject:
    """A model in the forms that peers take.

    Attributes:
        onnx: the model with static shapes.
        folder: for what a converter makes; what is there already was made from this very model.
    """

    model: BenchModel
    onnx: Path
    folder: Path

    def plain_module(self) -> Any:
        """Return a torch module for converters of few operators; its inputs are those of ``model.plain_inputs``."""
        return as_tuple((self.model.plain_build or self.model.build)())

    def plain_onnx(self, inputs: Arrays) -> Path:
        """Return an ONNX file of that module."""
        if self.model.plain_build is None:
            return self.onnx
        path = self.folder / "plain.onnx"
        if not path.is_file():
            export(self.plain_module(), self.model.plain_inputs(inputs), self.model.outputs, path)
        return path


class Prepare(Protocol):
    """Makes a model ready, converting it where the runtime has a format of its own.

    All computation is in single precision on as many threads as asked for; everything else stands as that runtime is
    fastest. The outputs have the names of ``subject.model.outputs``. A runtime that is not installed raises
    ImportError, and one that refuses the model whatever its own exceptions are.
    """

    def __call__(self, subject: Subject, inputs: Arrays, threads: int) -> Peer:
        """Return the model, its inputs bound."""


#: Peers by name.
PEERS: Registry[Prepare] = Registry("peer")


def narrow(array: np.ndarray) -> np.ndarray:
    """Return an array without gaps, its 64-bit integers as the 32-bit ones that runtimes for small devices take."""
    return np.ascontiguousarray(array.astype(np.int32) if array.dtype == np.int64 else array)
