"""Small networks of the kinds that matter, written in torch and exported to ONNX."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Array = NDArray[Any]


class Residual(nn.Module):
    """A basic block of a residual network: batch norms, a sum, a projection where the channels change."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip
        self.skip = nn.Sequential() if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(x) + self.skip(x))


class Inverted(nn.Module):
    """A block of a mobile network: expansion, depthwise convolution, squeeze and excitation, projection."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.expand = nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.BatchNorm2d(hidden), nn.Hardswish())
        self.depthwise = nn.Sequential(nn.Conv2d(hidden, hidden, 5, 1, 2, groups=hidden), nn.ReLU6())
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(hidden, 4, 1), nn.ReLU(), nn.Conv2d(4, hidden, 1))
        self.project = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.depthwise(self.expand(x))
        return x + self.project(y * torch.sigmoid(self.gate(y)))


class Transformer(nn.Module):
    """An encoder layer: attention over heads, layer norms, a perceptron with GELU."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        parts = self.qkv(self.first(x)).reshape(batch, length, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        weights = torch.softmax(q @ k.transpose(-1, -2) / (width // self.heads) ** 0.5, -1)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(batch, length, width))
        return x + self.perceptron(self.second(x))


def residual_net() -> tuple[nn.Module, tuple[int, ...]]:
    body = [nn.Conv2d(3, 16, 7, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1), Residual(16, 16, 1), Residual(16, 24, 2)]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10)), (1, 3, 32, 32)


def mobile_net() -> tuple[nn.Module, tuple[int, ...]]:
    return nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), Inverted(16, 24), Inverted(16, 33)), (2, 3, 17, 15)


def transformer() -> tuple[nn.Module, tuple[int, ...]]:
    return nn.Sequential(Transformer(24, 3), Transformer(24, 3)), (2, 7, 24)


def odd_net() -> tuple[nn.Module, tuple[int, ...]]:
    """Channels that no vector divides, groups, dilation, uneven images, several kinds of pools."""
    return nn.Sequential(
        nn.Conv2d(5, 7, (3, 1), (1, 2), (2, 0)), nn.LeakyReLU(0.1), nn.Conv2d(7, 21, 3, 1, 2, 2, groups=7), nn.Tanh(),
        nn.AvgPool2d(2, 2, 1, count_include_pad=False), nn.ConvTranspose2d(21, 3, 2, 2), nn.Sigmoid(),
    ), (1, 5, 11, 13)  # fmt: skip


NETS: dict[str, Callable[[], tuple[nn.Module, tuple[int, ...]]]] = {
    "residual": residual_net,
    "mobile": mobile_net,
    "transformer": transformer,
    "odd": odd_net,
}


def export(name: str, path: Path) -> tuple[Path, list[Array]]:
    """Write a network of fixed random weights to an ONNX file; returns the file and inputs for it."""
    torch.manual_seed(7)
    net, shape = NETS[name]()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    x = torch.randn(shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net.eval(), (x,), path, dynamo=False, input_names=["x"], opset_version=17)
    return path, [np.asarray(x)]
