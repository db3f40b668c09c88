"""Optimizer steps, against onnx's reference."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_models import check_reference, normal

_DOMAIN = "ai.onnx.preview.training"


def _operands(kinds: int, count: int, step: int) -> dict[str, np.ndarray]:
    scalars = {"r": np.array(0.1, np.float32), "t": np.array(step)}
    tensors = {
        f"{kind}{at}": np.abs(normal(3, 2 + at, seed=3 * kind + at)) for kind in range(kinds) for at in range(count)
    }
    return scalars | tensors


@pytest.mark.parametrize("step", [0, 3])
@pytest.mark.parametrize("count", [1, 2])
def test_steps(step: int, count: int) -> None:
    check_reference("Adagrad", _operands(3, count, step), outputs=2 * count, domain=_DOMAIN, norm_coefficient=0.01,
                    epsilon=1e-4, decay_factor=0.1)  # fmt: skip
    # Of one parameter the reference evaluator gives double precision.
    check_reference("Adam", _operands(4, 2, step), outputs=6, domain=_DOMAIN, alpha=0.9, beta=0.8,
                    epsilon=1e-4, norm_coefficient=0.01, norm_coefficient_post=0.02)  # fmt: skip
    for mode in ("standard", "nesterov"):
        check_reference("Momentum", _operands(3, count, step), outputs=2 * count, domain=_DOMAIN, alpha=0.9, beta=0.7,
                        norm_coefficient=0.01, mode=mode)  # fmt: skip
