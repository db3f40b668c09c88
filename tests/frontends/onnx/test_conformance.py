"""Onnx's own backend tests: a sample in every run, all of them with ``-m slow``."""

from __future__ import annotations

import collections
import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tilewright.compiler.frontends.onnx.registry import rows

#: Cases that differ for a known reason: a rounding of half-precision arithmetic in another order than numpy's, a few
#: units in the last place near zero, or onnxruntime, which we follow where it and onnx disagree (see the end).
KNOWN_DIFFERENCES = {
    "test_celu_bfloat16": "bfloat16",
    "test_celu_bfloat16_expanded": "bfloat16",
    "test_mish": "1e-6 near zero, against an absolute tolerance of 1e-7",
    "test_mish_expanded": "1e-6 near zero, against an absolute tolerance of 1e-7",
    "test_bitshift_left_int32_negative_shift": "undefined",
    "test_bitshift_right_int32_negative_shift": "undefined",
    "test_mod_float_edge_cases_fmod_0_float16": "remainders by infinity",
    "test_mod_float_edge_cases_fmod_0_float32": "remainders by infinity",
    "test_mod_float_edge_cases_fmod_0_float64": "remainders by infinity",
    "test_resize_downsample_scales_linear_align_corners": "onnxruntime",
    "test_resize_downsample_scales_cubic_align_corners": "onnxruntime",
    "test_top_k_uint64": "TVM's sort takes no uint64",
}
#: One case in this many is in the sample.
STRIDE = 16


@cache
def _sweep() -> ModuleType:
    path = Path(__file__).parents[3] / "benchmarks" / "conformance.py"
    spec = importlib.util.spec_from_file_location("conformance", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _registered() -> list[Any]:
    known = {row.name for row in rows()}
    return [case for case in _sweep().cases() if known.issuperset(_sweep().operators_of(case))]


def _failures(cases: list[Any], folder: Path) -> tuple[list[str], collections.Counter[str]]:
    verdicts: collections.Counter[str] = collections.Counter()
    failures = []
    for case in cases:
        verdict = _sweep().run_case(case, folder)
        verdicts[verdict.split(":")[0]] += 1
        if verdict.startswith(("wrong", "failed")) and case.name not in KNOWN_DIFFERENCES:
            failures.append(f"{case.name}: {verdict.splitlines()[0]}")
    return failures, verdicts


def test_a_sample(tmp_path: Path) -> None:
    sample = _registered()[::STRIDE]
    failures, verdicts = _failures(sample, tmp_path)
    assert failures == []
    assert verdicts["passed"] > 0.9 * (len(sample) - verdicts["inapplicable"])


@pytest.mark.slow
def test_all(tmp_path: Path) -> None:
    cases = _registered()
    failures, verdicts = _failures(cases, tmp_path)
    print(f"\n{len(cases)} cases of registered operators: {dict(verdicts)}")
    assert failures == []
    assert verdicts["passed"] > 0.9 * (len(cases) - verdicts["inapplicable"])
