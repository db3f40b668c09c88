"""Libraries from the compiler, run from Python."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from packaging_models import Case, assert_expected, make, poison, types_case

from tilewright import runtime


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_numpy_agrees(compiled: Path, case: Case, threads: int) -> None:
    with runtime.load(compiled, threads=threads) as model:
        for _ in range(3):
            buffers = [poison(each).copy() for each in case.expected]
            assert_expected(case, model(*case.inputs, out=buffers).values())
            assert_expected(case, buffers)
            assert_expected(case, model(*case.inputs).values())


def test_description_equals_the_manifest(compiled: Path) -> None:
    with runtime.load(compiled) as model:
        signature = model.manifest["signature"]
        for specs, rows in ((model.inputs, signature["inputs"]), (model.outputs, signature["outputs"])):
            assert [(each.name, list(each.shape), each.dtype) for each in specs] == [
                (row["name"], row["shape"], row["dtype"]) for row in rows
            ]
        assert len(model.steps) == model.manifest["steps"]
        assert model.weight_bytes == model.manifest["bytes"]["weights"] > 0
        assert model.arena_bytes == model.manifest["bytes"]["arena"] > 0
        times = model.profile(np.zeros((1, 3, 14, 14), np.float32), repeat=2)
        assert [each.name for each in times] == [each.name for each in model.steps]


def test_element_types(tmp_path: Path) -> None:
    case = types_case()
    with runtime.load(make(case).save(tmp_path / "types.so"), check_finite=True) as model:
        assert_expected(case, model(*case.inputs).values())
        bad = case.inputs[1].copy()
        bad[5, 8] = np.inf
        with pytest.raises(runtime.UserError, match=r"input 'x1' holds inf at \[5, 8\]"):
            model(case.inputs[0], bad)


def test_eight_threads_on_four_instances(compiled: Path, case: Case) -> None:
    """200 runs in each of eight threads give the bits of the first run."""
    first = runtime.load(compiled, threads=2)
    models = [first, *(first.new_instance() for _ in range(3))]
    expected = [each.tobytes() for each in first(*case.inputs)]

    def work(thread: int) -> int:
        buffers = [poison(each).copy() for each in case.expected]
        equal = 0
        for _ in range(200):
            for buffer, like in zip(buffers, case.expected, strict=True):
                buffer[...] = poison(like)
            outputs = models[thread % 4](*case.inputs, out=buffers)
            equal += [each.tobytes() for each in outputs] == expected
        return equal

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [200] * 8
