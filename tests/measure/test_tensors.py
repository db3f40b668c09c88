from __future__ import annotations

import numpy as np
import pytest

from tilewright import UserError
from tilewright.compiler.tensors import largest, make_tensors
from tilewright.signature import TensorSpec


def made(name: str, dtype: str, *, fill: str = "random", bound: int = 0) -> np.ndarray[tuple[int, ...], np.dtype]:
    return make_tensors([TensorSpec(name, (64, 128), dtype)], fill, 3, {name: bound} if bound else None)[name]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_random_floats_are_normal(dtype: str) -> None:
    array = made("x", dtype)
    assert array.dtype == dtype
    assert abs(float(array.astype(np.float64).mean())) < 0.05
    assert float(array.astype(np.float64).std()) == pytest.approx(1, abs=0.05)


def test_bfloat16_travels_as_bits() -> None:
    assert set(made("x", "bfloat16", fill="ones").ravel()) == {0x3F80}
    values = (made("x", "bfloat16").astype(np.uint32) << 16).view(np.float32)
    assert float(values.std()) == pytest.approx(1, abs=0.05)


def test_indices_stay_below_their_bound_and_reach_it() -> None:
    ids = made("input_ids", "int64", bound=30)
    assert (ids.min(), ids.max()) == (0, 29)
    unknown = made("input_ids", "int32")
    assert unknown.min() >= 0
    assert unknown.max() < 100


def test_masks_end_in_padding_and_flags_are_flags() -> None:
    mask = made("attention_mask", "int64")
    assert (mask[:, :96] == 1).all()
    assert (mask[:, 96:] == 0).all()
    assert set(made("token_type_ids", "int64").ravel()) == {0, 1}
    assert set(made("b", "bool").ravel()) == {False, True}


def test_bytes_take_every_value() -> None:
    assert len(set(made("image", "uint8").ravel())) == 256
    assert made("image", "int8").min() == -128


def test_a_tensor_does_not_depend_on_its_neighbours() -> None:
    x, y = TensorSpec("x", (4,), "float32"), TensorSpec("y", (4,), "float32")
    together, alone = make_tensors([y, x], seed=5), make_tensors([x], seed=5)
    np.testing.assert_array_equal(together["x"], alone["x"])
    assert not np.array_equal(together["x"], together["y"])


def test_scalars_and_empty_tensors_are_made() -> None:
    assert make_tensors([TensorSpec("s", (), "int64")])["s"].shape == ()
    assert make_tensors([TensorSpec("mask", (), "bool")])["mask"].shape == ()
    assert make_tensors([TensorSpec("e", (0, 3), "float32")])["e"].shape == (0, 3)


def test_an_unknown_fill_offers_its_neighbour() -> None:
    with pytest.raises(UserError, match="unknown fill 'zero' .*'zeros'"):
        make_tensors([], "zero")


def test_the_largest_elements_come_first_and_nan_last() -> None:
    array = np.array([[1.0, np.nan], [np.inf, 3.0]], np.float32)
    assert largest(array, 3) == [((1, 0), np.inf), ((1, 1), 3.0), ((0, 0), 1.0)]
    assert largest(np.array(7), 2) == [((), 7.0)]
