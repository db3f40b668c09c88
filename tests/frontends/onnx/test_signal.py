"""Fourier transforms, against onnx's reference."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper
from onnx_models import check_node, check_reference, import_model, model_of, normal

from tilewright.errors import UserError


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("length", [None, 6, 9])
@pytest.mark.parametrize("inverse", [0, 1])
def test_dft(parts: int, length: int | None, inverse: int) -> None:
    constants = {} if length is None else {"n": np.array(length)}
    if inverse and parts == 1:
        check_reference("DFT", {"x": normal(2, 8, 3, parts)}, constants, opset=17, axis=1)
    else:
        check_reference("DFT", {"x": normal(2, 8, 3, parts)}, constants, opset=17, axis=1, inverse=inverse)


@pytest.mark.parametrize("length", [7, 8])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_sided(length: int, dtype: str) -> None:
    constants = {"n": np.array(length), "a": np.array(-2)}
    check_reference("DFT", {"x": normal(2, 8, 1, dtype=dtype)}, constants, opset=20, onesided=1)
    half = {"x": normal(2, length // 2 + 1, 2, dtype=dtype)}
    check_reference("DFT", half, constants, opset=20, onesided=1, inverse=1)


def test_stft() -> None:
    signal, window = normal(2, 50, 1), np.hanning(16).astype(np.float32)
    check_node("STFT", {"s": signal}, {"f": np.array(5), "w": window}, atol=1e-4)
    check_node("STFT", {"s": signal}, {"f": np.array(7), "n": np.array(16)}, order=["s", "f", "", "n"], onesided=0,
               atol=1e-4)  # fmt: skip


def test_three_parts_are_refused() -> None:
    with pytest.raises(UserError, match="must hold the real and imaginary parts"):
        import_model(model_of([helper.make_node("DFT", ["x"], ["y"])], {"x": normal(2, 8, 3)}))
