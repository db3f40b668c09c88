from __future__ import annotations

import numpy as np
import pytest
from quantization_models import DIGITS, Array, Digits
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Digits:
    folder = tmp_path_factory.mktemp("digits")
    data = load_digits()
    pixels = (data.images[:, None] / 16).astype("float32")
    train, test, _, labels = train_test_split(pixels, data.target, test_size=0.3, random_state=7, stratify=data.target)
    np.savez(folder / "calibration.npz", image=train[:100])
    np.savez(folder / "validation.npz", image=test, labels=labels)
    return Digits(DIGITS, folder / "calibration.npz", folder / "validation.npz")


@pytest.fixture
def images() -> list[Array]:
    draw = np.random.default_rng(1)
    return [draw.standard_normal((1, 3, 8, 8)).astype("float32") for _ in range(12)]
