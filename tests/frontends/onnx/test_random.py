"""Random numbers: seeded ones are those of onnx's reference, unseeded ones are refused."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper
from onnx_models import check_reference, import_model, model_of, normal
from relax_runner import run_module

from tilewright.errors import UserError


def test_seeded_numbers_are_the_reference_evaluators() -> None:
    data = {"x": normal(3, 4)}
    check_reference("RandomNormalLike", data, seed=7.0, mean=2.0, scale=0.5)
    check_reference("RandomUniformLike", data, seed=7.0, low=-1.0, high=3.0, dtype=11)


def test_dropout_in_training() -> None:
    constants = {"r": np.array(0.4, np.float32), "t": np.array(True)}
    check_reference("Dropout", {"x": normal(5, 6)}, constants, outputs=2, seed=3)
    constants["r"] = np.array(0, np.float32)
    check_reference("Dropout", {"x": normal(5, 6)}, constants, outputs=2)


def test_without_a_seed_is_refused() -> None:
    with pytest.raises(UserError, match="without a seed .*: set its attribute 'seed', or make"):
        check_reference("RandomNormalLike", {"x": normal(3, 4)})


def _drawn(op_type: str, data: np.ndarray, **attributes: object) -> np.ndarray:
    node = helper.make_node(op_type, ["x"], ["y"], seed=1.0, **attributes)
    return run_module(import_model(model_of([node], {"x": data})).module, [data])[0]


def test_bernoulli_follows_its_probabilities() -> None:
    chance = np.repeat(np.array([0.0, 0.2, 0.9, 1.0], np.float32), 4000).reshape(4, 4000)
    drawn = _drawn("Bernoulli", chance)
    assert set(np.unique(drawn)) == {0.0, 1.0}
    np.testing.assert_allclose(drawn.mean(axis=1), [0, 0.2, 0.9, 1], atol=0.03)


def test_multinomial_follows_its_probabilities() -> None:
    chance = np.array([[0.1, 0.6, 0.3], [0.5, 0.5, 0.0]], np.float32)
    with np.errstate(divide="ignore"):
        drawn = _drawn("Multinomial", np.log(chance), sample_size=8000)
    assert drawn.dtype == np.int32
    shares = [np.bincount(row, minlength=3) / 8000 for row in drawn]
    np.testing.assert_allclose(shares, chance, atol=0.03)
