from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tilewright import UserError
from tilewright.compiler.verify import Tolerance, compare, compare_all, require_passed, sizes_to_try
from tilewright.signature import TensorSpec

REFERENCE = np.array([[-8.0, 0.5], [2.0, 4.0]], np.float32)


def test_equal_outputs_pass_with_no_error() -> None:
    error = compare("y", REFERENCE.copy(), REFERENCE, Tolerance())
    assert error.passed
    assert (error.absolute, error.relative) == (0.0, 0.0)


def test_errors_are_relative_to_the_largest_element() -> None:
    got = REFERENCE.copy()
    got[0, 1] += 4e-3
    error = compare("y", got, REFERENCE, Tolerance())
    assert error.absolute == pytest.approx(4e-3, rel=1e-4)
    assert error.relative == pytest.approx(5e-4, rel=1e-4)
    assert not error.passed
    assert compare("y", got, REFERENCE, Tolerance(rtol=6e-4)).passed
    assert compare("y", got, REFERENCE, Tolerance(precision="fp16")).passed
    assert not compare("y", got, REFERENCE, Tolerance(rtol=4e-4, atol=0, precision="fp16")).passed
    assert not compare("y", got, REFERENCE, Tolerance(rtol=4e-4, atol=0)).passed
    assert compare("y", got, REFERENCE, Tolerance(rtol=0, atol=5e-3)).passed


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_must_stand_in_the_same_place(value: float) -> None:
    wrong = REFERENCE.copy()
    wrong[1, 0] = value
    assert compare("y", wrong, REFERENCE, Tolerance(rtol=1e9)).absolute == np.inf
    assert compare("y", REFERENCE, wrong, Tolerance(rtol=1e9)).absolute == np.inf
    assert compare("y", wrong, wrong.copy(), Tolerance()).passed


def test_opposite_infinities_differ() -> None:
    assert not compare("y", np.array([np.inf]), np.array([-np.inf]), Tolerance(rtol=1e9)).passed


def test_integers_and_flags_must_be_equal() -> None:
    ids = np.array([3, 2**60])
    assert compare("y", ids.copy(), ids, Tolerance()).passed
    assert not compare("y", ids + [1, 0], ids, Tolerance(rtol=1.0, atol=10.0)).passed
    assert not compare("y", ids + [0, 1], ids, Tolerance()).passed
    assert not compare("y", np.array([True]), np.array([False]), Tolerance()).passed


def test_another_shape_or_element_type_is_an_error() -> None:
    assert not compare("y", REFERENCE.ravel(), REFERENCE, Tolerance(rtol=1e9)).passed
    assert not compare("y", REFERENCE.astype(np.float64), REFERENCE, Tolerance(rtol=1e9)).passed


def test_empty_outputs_agree() -> None:
    empty = np.zeros((0, 3), np.float32)
    assert compare("y", empty, empty.copy(), Tolerance()).passed


def test_a_missing_output_is_an_error_and_the_worst_is_named() -> None:
    near = REFERENCE + np.float32(1e-3)
    errors = compare_all({"y": near}, {"y": REFERENCE, "z": REFERENCE}, Tolerance())
    assert [each.passed for each in errors] == [False, False]
    with pytest.raises(UserError, match=r"m\.onnx: .* 2 of 2 output\(s\) differ, 'z' by inf"):
        require_passed(Path("m.onnx"), errors)
    require_passed(Path("m.onnx"), errors[:0])


def test_sizes_that_differ_from_run_to_run_are_tried_at_several() -> None:
    specs = [TensorSpec("x", ("batch", "past + 1", 4), "float32", (5, 9, 4)), TensorSpec("p", ("past",), "int64", (8,))]
    tried = [[each.shape for each in made] for made in sizes_to_try(specs)]
    assert tried == [[(5, 9, 4), (8,)], [(3, 5, 4), (4,)], [(1, 2, 4), (1,)]]
    assert [[each.shape for each in made] for made in sizes_to_try([TensorSpec("x", (2,), "int8")])] == [[(2,)]]
