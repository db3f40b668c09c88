"""What is asked of the frontends: a file or a module in memory, and what else the user says about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .model import ImportedModel

#: Shapes by input name, each dimension a number or as the user writes it ("batch<=32").
Shapes = Mapping[str, tuple[int | str, ...]]


@dataclass(frozen=True)
class LiveModel:
    """A framework's model in memory.

    Attributes:
        module: a ``torch.nn.Module`` or a ``torch.export.ExportedProgram``.
        example_inputs: arguments of one call, by position or by name; None where the module holds them.
        dynamic_shapes: which of their dimensions may change, as ``torch.export.export`` takes it.
    """

    module: Any
    example_inputs: tuple[Any, ...] | Mapping[str, Any] | None = None
    dynamic_shapes: Any = None


@dataclass(frozen=True)
class ModelSource:
    """A model to import.

    Attributes:
        path: the file; for a module in memory, its name.
        input_shapes: shapes that replace symbolic or declared ones, by input name.
        module: "path.py:factory", a function that makes the module whose weights the file holds; None for none.
        live: the module itself, in place of a file.
        signature: which signature of a SavedModel; None for its only one.
        outputs: nodes where a frozen TensorFlow graph ends; empty for those that nothing follows.
    """

    path: Path
    input_shapes: Shapes = field(default_factory=dict)
    module: str | None = None
    live: LiveModel | None = None
    signature: str | None = None
    outputs: tuple[str, ...] = ()

    @property
    def suffix(self) -> str:
        """The file's suffix in small letters; empty for a module in memory."""
        return "" if self.live else self.path.suffix.lower()


@dataclass(frozen=True)
class Format:
    """A kind of model.

    Attributes:
        name: what it is called.
        takes: whether a source is of this kind, by its name; nothing is read.
        read: imports it.
        convert: writes it as an ONNX file and returns the shapes that the framework itself knows bounds of; None where
            there is no way through ONNX.
    """

    name: str
    takes: Callable[[ModelSource], bool]
    read: Callable[[ModelSource], ImportedModel]
    convert: Callable[[ModelSource, Path], Shapes] | None = None
