"""Einstein summation, against numpy by way of onnxruntime; and features of integers."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_models import check_node, check_reference, normal

from tilewright.errors import UserError

_EQUATIONS = [
    ("ij,jk->ik", [(3, 4), (4, 5)]),
    ("ij,jk", [(3, 4), (4, 5)]),
    ("...ij,...jk->...ik", [(2, 3, 4), (2, 4, 5)]),
    ("...ij,...jk", [(1, 3, 4), (2, 4, 5)]),
    ("ii->i", [(4, 4)]),
    ("ii", [(4, 4)]),
    ("...ii->...i", [(2, 3, 3)]),
    ("iij->ij", [(3, 3, 2)]),
    ("i,j->ij", [(3,), (4,)]),
    ("ij->", [(3, 4)]),
    ("ba", [(3, 4)]),
    ("i...->...", [(2, 3, 4)]),
    ("bij,bjk,bkl->bil", [(2, 3, 4), (2, 4, 5), (2, 5, 3)]),
    ("abc,cd,ae->bde", [(2, 3, 4), (4, 5), (2, 6)]),
    ("bhwc,hkc->bhwk", [(2, 3, 4, 5), (3, 6, 5)]),
    ("i,i,i->", [(4,), (4,), (4,)]),
]


@pytest.mark.parametrize(("equation", "shapes"), _EQUATIONS)
def test_equations(equation: str, shapes: list[tuple[int, ...]]) -> None:
    check_node("Einsum", {f"x{at}": normal(*shape, seed=at) for at, shape in enumerate(shapes)}, equation=equation,
               atol=1e-5)  # fmt: skip


def test_an_equation_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match="node Einsum 'y0'"):
        check_node("Einsum", {"x": normal(3, 4)}, equation="ijk->i")


def test_determinants() -> None:
    check_node("Det", {"x": normal(2, 3, 5, 5)}, rtol=1e-4)
    singular = np.zeros((3, 4, 4), np.float32)
    singular[1] = np.eye(4)[[1, 0, 3, 2]]
    check_node("Det", {"x": singular})


@pytest.mark.parametrize("mode", ["TF", "IDF", "TFIDF"])
@pytest.mark.parametrize("shape", [(12,), (3, 8)])
def test_features_of_integers(mode: str, shape: tuple[int, ...]) -> None:
    data = np.random.default_rng(0).integers(0, 4, shape)
    check_node("TfIdfVectorizer", {"x": data}, mode=mode, min_gram_length=1, max_gram_length=3, max_skip_count=2,
               ngram_counts=[0, 3, 7], ngram_indexes=[0, 1, 5, 3, 2, 4], pool_int64s=[1, 2, 3, 1, 2, 3, 0, 1, 2, 3],
               weights=[0.5, 1.0, 2.0, 0.25, 3.0, 4.0])  # fmt: skip


def test_bits() -> None:
    check_reference("BitCast", {"x": normal(3, 4)}, opset=26, to=6)
    check_reference("BitCast", {"x": np.arange(-3, 3, dtype=np.int8)}, opset=26, to=2)


@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("exclusive", [0, 1])
def test_running_products(reverse: int, exclusive: int) -> None:
    for axis in (0, -2):
        check_reference("CumProd", {"x": normal(2, 5, 3)}, {"a": np.array(axis)}, opset=26, reverse=reverse,
                        exclusive=exclusive)  # fmt: skip
