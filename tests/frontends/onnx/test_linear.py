"""Matrix products against onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import check_node, normal, operator_names

ATOL = 1e-5


@pytest.mark.parametrize(
    ("a", "b"), [((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((2, 1, 3, 4), (6, 4, 5)), ((4,), (4, 5)), ((3, 4), (4,))]
)
def test_matmul(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    check_node("MatMul", {"a": normal(*a), "b": normal(*b, seed=1)}, atol=ATOL)


@settings(max_examples=8, deadline=None)
@given(
    st.booleans(), st.booleans(), st.sampled_from([1.0, 0.5]), st.sampled_from([1.0, 0.0, 2.0]),
    st.sampled_from([None, (5,), (1, 5), (3, 1), (3, 5), ()]),
)  # fmt: skip
def test_gemm(trans_a: bool, trans_b: bool, alpha: float, beta: float, bias: tuple[int, ...] | None) -> None:
    constants = {"b": normal(*((5, 4) if trans_b else (4, 5)), seed=1)}
    if bias is not None:
        constants["c"] = normal(*bias, seed=2) if bias else np.array(0.5, "float32")
    data = normal(*((4, 3) if trans_a else (3, 4)))
    check_node(
        "Gemm", {"a": data}, constants, atol=ATOL, transA=int(trans_a), transB=int(trans_b), alpha=alpha, beta=beta
    )


def test_gemm_with_a_constant_weight_is_matmul_and_add() -> None:
    imported = check_node("Gemm", {"a": normal(3, 4)}, {"b": normal(5, 4), "c": normal(5)}, atol=ATOL, transB=1)
    assert operator_names(imported) == ["matmul", "add"]


@pytest.mark.parametrize("equation", ["bij,bjk->bik", "bhqd,bhkd->bhqk", "bij, bjk -> bki"])
def test_einsum(equation: str) -> None:
    shapes = {"bij,bjk->bik": ((2, 3, 4), (2, 4, 5)), "bhqd,bhkd->bhqk": ((2, 2, 3, 4), (2, 2, 5, 4))}
    a, b = shapes.get(equation, ((2, 3, 4), (2, 4, 5)))
    check_node("Einsum", {"a": normal(*a), "b": normal(*b, seed=1)}, atol=ATOL, equation=equation)
