"""A program that compiles for long enough to be interrupted: many kernels, in this process and two more."""

from __future__ import annotations

from typing import Any

import numpy as np
from packaging_models import scheduled

from tilewright.compiler.package import kernels
from tilewright.compiler.package.build import build
from tilewright.targets.database import load_target


def many(builder: Any, x: Any) -> list[Any]:
    """Sums over slices of different lengths: no two are the same kernel."""
    from tvm import relax

    parts = [relax.op.strided_slice(x, axes=[1], begin=[0], end=[index + 1]) for index in range(300)]
    return [builder.emit(relax.op.sum(builder.emit(part), axis=[1])) for part in parts]


if __name__ == "__main__":
    kernels._KERNELS_PER_PROCESS = 1
    data = np.zeros((8, 400), "float32")
    case = scheduled([data], many, lambda x: [x[:, : index + 1].sum(1) for index in range(300)])
    print("compiling", flush=True)
    build(case.module, case.signature, name="long", target=load_target("host"), jobs=3)
    print("finished", flush=True)
