"""From what a caller passes to the buffers that a library reads and writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..element_types import CONTAINED, container_of
from ..errors import UserError
from ..registry import nearest
from ..signature import TensorSpec

Array = NDArray[Any]

_RESHAPE = "reshape the array, or compile the model for that shape with --input-shapes"
_CPU_DEVICES = (1, 3)  # DLPack's kDLCPU and kDLCUDAHost: memory that this processor can read


@dataclass(frozen=True)
class Port:
    """An input or output of a loaded library and what it asks of an array.

    Attributes:
        where: "model.so: input 'x'", as errors begin.
        name: the model's own name for it.
        shape: dimensions in elements; None for one that a run decides.
        told: the shape as errors show it.
        dtype: the element type of the array; what numpy lacks travels as its bits, one element to an integer.
        type_name: the model's name of the element type.
    """

    where: str
    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]
    type_name: str
    told: str

    @staticmethod
    def of(path: Path, role: str, spec: TensorSpec) -> Port:
        """Return the port of a specification; role is "input" or "output"."""
        dtype = np.dtype(container_of(spec.dtype))
        shape = tuple(dim if isinstance(dim, int) else None for dim in spec.shape)
        told = f"[{', '.join(map(str, spec.shape))}]"
        return Port(f"{path}: {role} '{spec.name}'", spec.name, shape, dtype, spec.dtype, told)

    @property
    def static_shape(self) -> tuple[int, ...]:
        """The shape of a port none of whose dimensions a run decides."""
        return tuple(dim for dim in self.shape if dim is not None)

    def input_array(self, value: Any) -> Array:
        """Return the value as a C-contiguous array; it is the caller's memory wherever that will do.

        Raises:
            UserError: not an array, not in CPU memory, of another shape or element type.
        """
        array = self._as_array(value)
        self._check_dtype(array)
        self._check_shape(array)
        ready = array.flags.c_contiguous and array.flags.aligned
        return array if ready else np.require(array, requirements=("C_CONTIGUOUS", "ALIGNED"))

    def output_array(self, value: Any, shape: tuple[int, ...]) -> Array:
        """Return the caller's buffer for this output, of this shape, as an array of the same memory.

        Raises:
            UserError: as ``input_array``, and for a buffer that is read-only or not C-contiguous.
        """
        array = self._as_array(value)
        self._check_dtype(array)
        if array.shape != shape:
            raise UserError(f"{self.where} has shape {list(shape)}, not {list(array.shape)}; {_RESHAPE}")
        flags = array.flags
        if not (flags.writeable and flags.c_contiguous and flags.aligned):
            raise UserError(f"{self.where} needs a buffer that is writeable, C-contiguous and aligned")
        return array.view(self.dtype)

    def check_finite(self, array: Array) -> None:
        """Raise UserError when a floating-point array holds NaN or infinity."""
        if array.dtype.kind != "f":
            return
        bad = ~np.isfinite(array)
        if bad.any():
            index = np.unravel_index(int(bad.argmax()), array.shape)
            place = f" at [{', '.join(map(str, index))}]" if index else ""
            raise UserError(
                f"{self.where} holds {array[index]}{place} ({int(bad.sum())} of its {array.size} elements are not "
                "finite); mend the data, or load the model without check_finite"
            )

    def _as_array(self, value: Any) -> Array:
        if type(value) is np.ndarray:
            return value
        if isinstance(value, np.ndarray):
            return np.asarray(value)
        if hasattr(value, "__dlpack__"):
            return self._from_dlpack(value)
        if isinstance(value, np.generic) or hasattr(value, "__array__"):
            return np.asarray(value)
        raise UserError(
            f"{self.where} is given a {type(value).__name__}, which is not an array; "
            f"pass numpy.asarray(value, dtype='{self.dtype}')"
        )

    def _from_dlpack(self, value: Any) -> Array:
        try:
            if value.__dlpack_device__()[0] not in _CPU_DEVICES:
                raise UserError(f"{self.where} is given a {type(value).__name__} on another device; copy it to the CPU")
            return np.from_dlpack(value)
        except (BufferError, RuntimeError, TypeError, ValueError) as error:
            raise UserError(f"{self.where} is given a {type(value).__name__} that DLPack refuses: {error}") from error

    def _check_dtype(self, array: Array) -> None:
        if array.dtype == self.dtype or (array.dtype.isnative and array.dtype.name == self.type_name):
            return
        if not array.dtype.isnative and array.dtype.newbyteorder("=") == self.dtype:
            raise UserError(f"{self.where} is given in foreign byte order; pass x.astype('{self.dtype}')")
        if self.type_name in CONTAINED:
            raise UserError(f"{self.where} is {self.type_name}, not {array.dtype}; pass its bits as {self.dtype}")
        raise UserError(f"{self.where} is {self.dtype}, not {array.dtype}; pass x.astype('{self.dtype}')")

    def _check_shape(self, array: Array) -> None:
        if array.shape == self.shape:
            return
        fits = len(array.shape) == len(self.shape) and all(
            size in (None, own) for size, own in zip(self.shape, array.shape, strict=True)
        )
        if not fits:
            raise UserError(f"{self.where} has shape {self.told}, not {list(array.shape)}; {_RESHAPE}")


def bind(ports: Sequence[Port], where: str, arrays: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """Match values to ports, positional ones first, and return them by name.

    Raises:
        UserError: too many values, an unknown name (the nearest is offered), or a name given twice.
    """
    names = [port.name for port in ports]
    if len(arrays) > len(ports):
        raise UserError(f"{where} takes {len(ports)} ({', '.join(names)}), not {len(arrays)}")
    found = dict(zip(names, arrays, strict=False))
    for name, value in named.items():
        if name not in names:
            raise UserError(f"{where} has none named '{name}'{nearest(name, names)}; they are {', '.join(names)}")
        if name in found:
            raise UserError(f"{where}: '{name}' is given twice, by place and by name")
        found[name] = value
    return found
