"""Small networks written out in torch: a U-Net, a generator, embedding bags, recurrent and temporal networks."""

from __future__ import annotations

from typing import Any

from .small_model import Sizes, SmallModel, image


def _unet() -> Any:
    """Ronneberger et al. 2015, two levels."""
    import torch
    from torch import nn

    def double(channels: int, out: int) -> nn.Sequential:
        first, second = nn.Conv2d(channels, out, 3, padding=1), nn.Conv2d(out, out, 3, padding=1)
        return nn.Sequential(first, nn.BatchNorm2d(out), nn.ReLU(), second, nn.GroupNorm(4, out), nn.SiLU())

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down, self.middle, self.up = double(3, 8), double(8, 16), double(24, 8)
            self.grow = nn.ConvTranspose2d(16, 8, 2, 2)
            self.smooth = nn.Upsample(scale_factor=2, mode="bilinear")
            self.head = nn.Conv2d(8, 2, 1)

        def forward(self, pixel_values: Any) -> Any:
            kept = self.down(pixel_values)
            deep = self.middle(nn.functional.max_pool2d(kept, 2))
            joined = torch.cat([kept, self.grow(deep), self.smooth(deep)[:, :8]], 1)
            return self.head(self.up(joined))

    return UNet()


def _generator() -> Any:
    """Radford et al. 2016 (DCGAN)."""
    from torch import nn

    return nn.Sequential(
        nn.ConvTranspose2d(16, 32, 4, 1, 0, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.ConvTranspose2d(32, 16, 4, 2, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.LeakyReLU(0.2),
        nn.Upsample(scale_factor=2, mode="nearest"),
        nn.PixelShuffle(2),
        nn.ReflectionPad2d(1),
        nn.Conv2d(4, 3, 3),
        nn.InstanceNorm2d(3, affine=True),
        nn.Tanh(),
    )


def _noise(sizes: Sizes) -> dict[str, Any]:
    import torch

    return {"input": torch.randn(sizes["batch"], 16, 1, 1)}


def _dlrm() -> Any:
    """Naumov et al. 2019: bags of embeddings and dense features, which interact by products of pairs."""
    import torch
    from torch import nn

    class Dlrm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bags = nn.ModuleList(nn.EmbeddingBag(50, 8, mode=mode) for mode in ("sum", "mean"))
            self.bottom = nn.Sequential(nn.Linear(13, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU())
            self.top = nn.Sequential(nn.Linear(8 + 3, 16), nn.ReLU(), nn.Linear(16, 1), nn.Sigmoid())

        def forward(self, dense: Any, sparse: Any) -> Any:
            low = self.bottom(dense)
            features = torch.stack([low, *(bag(sparse[:, i]) for i, bag in enumerate(self.bags))], 1)
            pairs = torch.bmm(features, features.transpose(1, 2))
            row, column = torch.tril_indices(3, 3, -1)
            return self.top(torch.cat([low, pairs[:, row, column]], 1))

    return Dlrm()


def _clicks(sizes: Sizes) -> dict[str, Any]:
    import torch

    return {"dense": torch.randn(sizes["batch"], 13), "sparse": torch.randint(0, 50, (sizes["batch"], 2, 4))}


def _recurrent(kind: str, **options: Any) -> Any:
    from torch import nn

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cells = getattr(nn, kind)(8, 12, batch_first=True, **options)
            self.head = nn.Linear(24 if options.get("bidirectional") else 12, 5)

        def forward(self, sequence: Any) -> Any:
            states, _ = self.cells(sequence)
            return self.head(states[:, -1])

    return Recurrent()


def _steps(sizes: Sizes) -> dict[str, Any]:
    import torch

    return {"sequence": torch.randn(sizes["batch"], sizes["seq"], 8)}


def _temporal() -> Any:
    """Bai et al. 2018: dilated causal convolutions with residuals."""
    from torch import nn

    class Block(nn.Module):
        def __init__(self, channels: int, out: int, dilation: int) -> None:
            super().__init__()
            self.dilation = dilation
            self.first = nn.Conv1d(channels, out, 3, dilation=dilation)
            self.second = nn.Conv1d(out, out, 3, dilation=dilation)
            self.same = nn.Conv1d(channels, out, 1)

        def forward(self, x: Any) -> Any:
            pad = (2 * self.dilation, 0)
            y = self.first(nn.functional.pad(x, pad)).relu()
            y = self.second(nn.functional.pad(y, pad)).relu()
            return (y + self.same(x)).relu()

    class Temporal(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.Sequential(Block(8, 16, 1), Block(16, 16, 2), Block(16, 16, 4))
            self.head = nn.Linear(16, 5)

        def forward(self, sequence: Any) -> Any:
            return self.head(self.blocks(sequence.transpose(1, 2))[..., -1])

    return Temporal()


_BATCH = {"batch": 2}
_LINES = {"batch": 2, "seq": 9}
# torch.export unrolls recurrent layers, whose steps are then a number.
_ROWS = {"sequence": {0: "batch"}}
_STEPS = {"sequence": {0: "batch", 1: "seq"}}
_BOUNDS = {"batch": 3, "seq": 12}
PLAIN = (
    SmallModel("U-Net", _unet, image(16), _BATCH, {"pixel_values": {0: "batch"}}, _BOUNDS),
    SmallModel("GAN generator", _generator, _noise, _BATCH, {"input": {0: "batch"}}, _BOUNDS),
    SmallModel("DLRM", _dlrm, _clicks, _BATCH, {"dense": {0: "batch"}, "sparse": {0: "batch"}}, _BOUNDS),
    SmallModel("LSTM", lambda: _recurrent("LSTM", num_layers=2), _steps, _LINES, _ROWS, _BOUNDS),
    SmallModel("LSTM, both ways", lambda: _recurrent("LSTM", bidirectional=True), _steps, _LINES, _ROWS, _BOUNDS),
    SmallModel("GRU", lambda: _recurrent("GRU"), _steps, _LINES, _ROWS, _BOUNDS),
    SmallModel("TCN", _temporal, _steps, _LINES, _STEPS, _BOUNDS),
)
