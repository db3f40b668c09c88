"""A sample of the architectures; ``python -m benchmarks.architectures`` checks them all."""

import pytest

from benchmarks.architectures import LIMIT, SMALL_MODELS, check


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ViT", "GPT-2, cache", "DLRM", "U-Net"])
@pytest.mark.parametrize("dynamic", [False, True])
def test_a_model_computes_what_torch_computes(name: str, dynamic: bool) -> None:
    (model,) = (each for each in SMALL_MODELS if each.name == name)
    outcome = check(model, dynamic=dynamic)
    assert outcome.detail == ""
    assert outcome.error is not None
    assert outcome.error <= LIMIT
