"""Embedding bags: every mode, with padding and weights, against torch."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import tilewright
from tilewright.compiler.frontends import LiveModel, ModelSource, import_model


class Bags(nn.Module):
    """Bags of every kind, side by side."""

    def __init__(self) -> None:
        super().__init__()
        modes = [("sum", None), ("mean", None), ("max", None), ("sum", 1), ("mean", 1), ("max", 1)]
        self.bags = nn.ModuleList(nn.EmbeddingBag(9, 5, mode=mode, padding_idx=pad) for mode, pad in modes)
        self.weighted = nn.EmbeddingBag(9, 5, mode="sum")

    def forward(self, x: torch.Tensor, w: torch.Tensor) -> list[torch.Tensor]:
        return [*(bag(x) for bag in self.bags), self.weighted(x, per_sample_weights=w)]


@pytest.fixture(scope="module")
def module() -> Bags:
    torch.manual_seed(5)
    return Bags().eval()


def test_every_kind_of_bag(module: Bags, tmp_path: Path) -> None:
    x = torch.tensor([[1, 2, 3, 8], [1, 1, 1, 1], [0, 1, 1, 7]])
    weights = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    rows = torch.export.Dim("rows", max=4)
    artifact = tilewright.compile(module, (x, weights), dynamic_shapes={"x": {0: rows}, "w": {0: rows}})
    with tilewright.runtime.load(artifact.save(tmp_path / "bags.so")) as model:
        for count in (3, 2):
            got = model(x[:count].numpy(), weights[:count].contiguous().numpy())
            for each, wanted in zip(got, module(x[:count], weights[:count]), strict=True):
                np.testing.assert_allclose(each, wanted.detach().numpy(), rtol=1e-6, atol=1e-6)


def test_a_program_computes_what_it_did(module: Bags) -> None:
    inputs = torch.tensor([[1, 2, 3], [1, 1, 1]]), torch.ones(2, 3)
    program = torch.export.export(module, inputs)
    before = program.module()(*inputs)
    import_model(ModelSource(Path("bags"), live=LiveModel(program)))
    for got, wanted in zip(program.module()(*inputs), before, strict=True):
        torch.testing.assert_close(got, wanted)
