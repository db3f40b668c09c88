"""Look-ups of bytes against numpy, on every level this machine runs, in rows and in blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cpu_kernels import LEVELS
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_runner import assembly, call, run_workload
from workloads import blocked, shapes, step, tensor, workload

from tilewright.schedules.template import build_kernel
from tilewright.targets.database import load_target
from tilewright.targets.host import read_machine
from tilewright.workload import PointwiseProgram

_TARGETS = [*LEVELS, *(row for row in [load_target("host")] if row.features <= read_machine().flags)]
_DTYPES = st.sampled_from(["uint8", "int8"])


@settings(max_examples=20, deadline=None)
@given(shapes(3, elements=1 << 12), _DTYPES, _DTYPES, st.sampled_from(_TARGETS), st.booleans())
def test_rows(shape: list[int], data: str, result: str, target: Any, epilogue: bool) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, shape).astype(np.uint8).view(data)
    table = rng.integers(0, 256, 256).astype(np.uint8).view(result)
    halved = PointwiseProgram(1, (step("const", value=0.5), step("astype", 0, dtype="float32"), step("multiply", 2, 1)))
    output = tensor(*shape, dtype="float32" if epilogue else result)
    inputs = [tensor(*shape, dtype=data), tensor(256, dtype=result)]
    work = workload("byte_table", inputs, output, 2, halved if epilogue else None)
    (found,) = run_workload(build_kernel(work, target), work, [x, table], target)
    expected = table[x.view(np.uint8)]
    np.testing.assert_array_equal(found, expected * np.float32(0.5) if epilogue else expected)


@pytest.mark.parametrize("target", _TARGETS, ids=lambda each: each.name)
def test_padding_of_blocks_stays_zero(target: Any) -> None:
    layout, lanes = blocked(target), target.lanes()
    work = workload(
        "byte_table",
        [tensor(2, lanes + 1, 3, 5, layout=layout, dtype="uint8"), tensor(256, dtype="uint8")],
        tensor(2, lanes + 1, 3, 5, layout=layout, dtype="uint8"),
        2,
    )
    table = np.arange(256, dtype=np.uint8)[::-1].copy()
    x = np.random.default_rng(0).integers(0, 256, (2, lanes + 1, 3, 5)).astype(np.uint8)
    stored = layout.pack(x)
    (found,) = call(build_kernel(work, target), [stored, table], [(stored.shape, "uint8")], target)
    np.testing.assert_array_equal(found, layout.pack(table[x]))


def test_the_table_stays_in_registers() -> None:
    target = load_target("host")
    if "avx512vbmi" not in target.features:
        pytest.skip("no permutation of bytes on this machine")
    data, table = tensor(1 << 12, dtype="uint8"), tensor(256, dtype="uint8")
    text = assembly(build_kernel(workload("byte_table", [data, table], data, 2), target), target)
    assert text.count("vpermi2b") + text.count("vpermt2b") >= 2
