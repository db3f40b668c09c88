"""Sizes of which torch cannot prove something: taken where it holds for every size, refused where it does not."""

from pathlib import Path

import numpy as np
import pytest
import torch

import tilewright
from tilewright.errors import UserError
from tilewright.runtime import load


class SharedHeads(torch.nn.Module):
    """A cache of two heads that grows and is repeated for four: torch asks which of two strides is the smaller."""

    def forward(self, new: torch.Tensor, past: torch.Tensor) -> torch.Tensor:
        present = torch.cat([past, new], 2)
        batch, heads, length, size = present.shape
        wide = present[:, :, None].expand(batch, heads, 2, length, size).reshape(batch, 2 * heads, length, size)
        return torch.nn.functional.scaled_dot_product_attention(torch.cat([new, new], 1), wide, wide)


class OddSizes(torch.nn.Module):
    """Its result depends on a size in a way that no range of sizes decides."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2 if x.shape[0] ** 2 % 3 == 1 else x


def test_what_holds_for_every_size_is_taken(tmp_path: Path) -> None:
    dims = {"new": None, "past": {2: torch.export.Dim("past", min=1, max=9)}}
    module = SharedHeads().eval()
    example = torch.randn(1, 2, 1, 8), torch.randn(1, 2, 4, 8)
    artifact = tilewright.compile(module, example, dynamic_shapes=dims, target="x86-64-v3", jobs=1)
    model = load(artifact.save(tmp_path / "model.so"), threads=1)
    for past in (1, 4, 9):
        inputs = torch.randn(1, 2, 1, 8), torch.randn(1, 2, past, 8)
        np.testing.assert_allclose(model(*inputs)[0], module(*inputs), rtol=1e-5, atol=1e-6)


def test_what_holds_for_some_sizes_is_refused() -> None:
    dims = {"x": {0: torch.export.Dim("rows", min=1, max=9)}}
    with pytest.raises(UserError, match="torch.export cannot trace the module"):
        tilewright.compile(OddSizes(), (torch.ones(4, 3),), dynamic_shapes=dims)
