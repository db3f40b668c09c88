"""Run a Relax module by TVM's own lowering: the reference that needs none of the schedules under test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax

Array = NDArray[Any]


def run_module(module: tvm.IRModule, inputs: Sequence[Array] | Mapping[str, Array]) -> list[Array]:
    """Return the outputs of ``main``, legalized and compiled for this machine by TVM alone.

    Args:
        module: a module of Relax operators; it is not changed.
        inputs: the arrays of the parameters, in order or by the parameters' names.
    """
    main = module["main"]
    ordered = [inputs[p.name] for p in main.params] if isinstance(inputs, Mapping) else list(inputs)
    lowered = relax.transform.LegalizeOps()(module)
    executable = tvm.compile(lowered, target=tvm.target.Target("llvm"))
    machine = relax.VirtualMachine(executable, tvm.cpu())
    result = machine["main"](*(tvm.runtime.tensor(np.asarray(each, order="C")) for each in ordered))
    fields = [result] if hasattr(result, "numpy") else list(result)
    return [each.numpy() for each in fields]
