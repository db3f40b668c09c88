"""A sample of onnx's own backend tests, compiled and run; ``make conformance`` runs all of them."""

from __future__ import annotations

from pathlib import Path

from benchmarks.backend_tests import Case, Result, cases, run_case
from benchmarks.conformance import run_all

#: One test in this many is in the sample.
STRIDE = 20
#: Verdicts that a test may have: right but for rounding, refused with a sentence, or without defined values.
HARMLESS = ("pass", "rounding", "refused", "undefined")


def _harmful(results: list[Result]) -> list[Result]:
    return [each for each in results if each.verdict not in HARMLESS]


def test_a_sample(tmp_path: Path) -> None:
    results = [run_case(case, tmp_path) for case in list(cases())[::STRIDE]]
    assert _harmful(results) == []
    assert sum(each.verdict == "pass" for each in results) > 0.9 * len(results)


def test_a_test_that_hangs_is_one_line_of_the_table() -> None:
    case = next(case for case in cases(["simple"]) if case.name == "test_sign_model")
    (result,) = run_all([Case("simple", case.name, case.model, [], 0, 0)], limit=-120.0)
    assert (result.verdict, result.operators) == ("timeout", "Sign")
