"""Run a Relax module by TVM's own lowering: the reference that needs none of the schedules under test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax

from tilewright.element_types import CONTAINED, container_of
from tilewright.passes.precision import assign_precision
from tilewright.passes.take import lower_take

Array = NDArray[Any]


def run_module(module: tvm.IRModule, inputs: Sequence[Array] | Mapping[str, Array]) -> list[Array]:
    """Return the outputs of ``main``, legalized and compiled for this machine by TVM alone.

    What TVM cannot lower, small floats, narrow integers and quantization, the precision phase takes away first.

    Args:
        module: a module of Relax operators; it is not changed.
        inputs: the arrays of the parameters, in order or by the parameters' names.
    """
    main = module["main"]
    ordered = [inputs[p.name] for p in main.params] if isinstance(inputs, Mapping) else list(inputs)
    ordered = [np.asarray(each, order="C") for each in ordered]
    ordered = [each.view(container_of(each.dtype.name)) for each in ordered]
    types = [str(each.dtype) for each in _fields(main.ret_ty)]
    alone = len(module.functions) == 1
    lowered = relax.transform.LegalizeOps({"relax.take": lower_take})(assign_precision(module) if alone else module)
    executable = tvm.compile(lowered, target=tvm.target.Target("llvm"))
    machine = relax.VirtualMachine(executable, tvm.cpu())
    result = machine["main"](*(tvm.runtime.tensor(each) for each in ordered))
    fields = [result] if hasattr(result, "numpy") else list(result)
    return [_viewed(each.numpy(), dtype) for each, dtype in zip(fields, types, strict=True)]


def _viewed(array: Array, dtype: str) -> Array:
    return array.view(np.dtype(dtype)) if dtype in CONTAINED else array


def _fields(ty: Any) -> list[Any]:
    return list(ty.fields) if isinstance(ty, relax.TupleType) else [ty]
