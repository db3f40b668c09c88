"""Attention and rotary embeddings against onnx's evaluator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import helper
from onnx.reference import ReferenceEvaluator
from onnx_models import import_model, model_of
from relax_runner import run_module

Array = NDArray[Any]


def _check(node: Any, inputs: dict[str, Array], opset: int = 24) -> None:
    model = model_of([node], inputs, outputs=[name for name in node.output if name], opset=opset)
    wanted = ReferenceEvaluator(model).run(None, inputs)
    imported = import_model(model)
    results = run_module(imported.module, [inputs[spec.name] for spec in imported.signature.inputs])
    for expected, result in zip(wanted, results, strict=True):
        assert result.dtype == expected.dtype
        rtol, atol = (1e-2, 4e-3) if expected.dtype == np.float16 else (1e-5, 1e-6)
        np.testing.assert_allclose(result.astype(float), expected.astype(float), rtol=rtol, atol=atol)


def _normal(*shape: int, dtype: str = "float32") -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("heads", [(4, 4), (6, 2)])
@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize(
    "options",
    [{}, {"is_causal": 1, "softcap": 2.0, "qk_matmul_output_mode": 1}, {"scale": 0.3, "qk_matmul_output_mode": 3}],
)
def test_attention(dtype: str, heads: tuple[int, int], flat: bool, options: dict[str, Any]) -> None:
    queries, groups = heads
    past = {f"past_{name}": _normal(2, groups, 3, size, dtype=dtype) for name, size in (("key", 8), ("value", 5))}
    shapes = {"q": (queries, 4, 8), "k": (groups, 6, 8), "v": (groups, 6, 5)}
    inputs = {}
    for name, (count, length, size) in shapes.items():
        inputs[name] = (
            _normal(2, length, count * size, dtype=dtype) if flat else _normal(2, count, length, size, dtype=dtype)
        )
    inputs = {**inputs, "mask": _normal(4, 9, dtype=dtype), **past}
    counts = {"q_num_heads": queries, "kv_num_heads": groups} if flat else {}
    _check(helper.make_node("Attention", list(inputs), ["y", "pk", "pv", "qk"], **counts, **options), inputs, opset=23)


def test_padding_of_each_sequence_and_truth_values() -> None:
    inputs = {
        "q": _normal(2, 3, 2, 8),
        "k": _normal(2, 3, 6, 8),
        "v": _normal(2, 3, 6, 8),
        "mask": np.random.default_rng(0).random((2, 1, 2, 6)) < 0.7,
        "lengths": np.array([4, 6], np.int64),
    }
    node = helper.make_node("Attention", ["q", "k", "v", "mask", "", "", "lengths"], ["y"], is_causal=1)
    _check(node, inputs)


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("size", [0, 4])
@pytest.mark.parametrize("positions", [True, False])
def test_rotary_embedding(interleaved: int, size: int, positions: bool) -> None:
    half = (size or 8) // 2
    shape = (20, half) if positions else (2, 3, half)
    inputs = {"x": _normal(2, 4, 3, 8), "cos": _normal(*shape), "sin": _normal(*shape)}
    if positions:
        inputs["at"] = np.array([[0, 5, 19], [7, 7, 1]], np.int64)
    node = helper.make_node("RotaryEmbedding", list(inputs), ["y"], interleaved=interleaved, rotary_embedding_dim=size)
    _check(node, inputs)
