"""Small PyTorch modules, as a user would write them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

FACTORY = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Dropout(0.5), torch.nn.GELU())
        self.head = torch.nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.body(x))

def make():
    torch.manual_seed(7)
    return Net(), (torch.ones(2, 6),)

def dynamic():
    return (*make(), {"x": {0: torch.export.Dim("rows", max=5)}})

def nothing():
    return None
"""


class TwoHeads(torch.nn.Module):
    """A convolution with batch normalization; its results are nested, and one is of integers."""

    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU())
        self.head = torch.nn.Linear(8, 4)

    def forward(self, x: torch.Tensor, scale: torch.Tensor) -> dict[str, Any]:
        pooled = self.body(x).mean((2, 3))
        return {"logits": self.head(pooled) * scale, "aux": (pooled, pooled.argmax(1))}


class Bessel(torch.nn.Module):
    """What no ONNX operator computes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.special.bessel_j0(x)


class Branch(torch.nn.Module):
    """What torch.export cannot trace."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2 if x.sum() > 0 else x


def write_factory(folder: Path) -> Path:
    """Write a file of factories and return it."""
    path = folder / "net.py"
    path.write_text(FACTORY)
    return path


def made_by(path: Path, name: str = "make") -> tuple[Any, ...]:
    """Return what a factory of such a file makes."""
    scope: dict[str, Callable[[], tuple[Any, ...]]] = {}
    exec(path.read_text(), scope)
    return scope[name]()
