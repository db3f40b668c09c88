"""One entry of the zoo of small models: every kind of layer that an architecture has, in a size that exports fast."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Sizes = Mapping[str, int]
_SEED = 20240229


@dataclass(frozen=True)
class SmallModel:
    """A model and its inputs.

    Attributes:
        name: the architecture, and the part of it.
        build: returns the torch module, with random weights.
        inputs: returns the arguments of one call, by name, for sizes by symbol; it may draw from torch's generator.
        sizes: the sizes of a static model.
        dynamic: symbols by axis of each input that has some; empty where only static shapes make sense.
        bounds: the largest size of each symbol.
    """

    name: str
    build: Callable[[], Any]
    inputs: Callable[[Sizes], dict[str, Any]]
    sizes: Sizes = field(default_factory=dict)
    dynamic: Mapping[str, Any] = field(default_factory=dict)
    bounds: Sizes = field(default_factory=dict)

    def module(self) -> Any:
        """Return the module in inference mode, its weights, biases and running statistics drawn with a fixed seed."""
        import torch

        torch.manual_seed(_SEED)
        module = self.build().eval()
        for name, parameter in module.named_parameters():
            if parameter.ndim == 1:
                parameter.data.add_(torch.randn_like(parameter), alpha=0.1 if name.endswith("weight") else 0.02)
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.1)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
        return module

    def draw(self, sizes: Sizes, seed: int = 0) -> dict[str, Any]:
        """Return inputs of given sizes."""
        import torch

        torch.manual_seed(_SEED + 1 + seed)
        return self.inputs(sizes)


def image(side: int, name: str = "pixel_values") -> Callable[[Sizes], dict[str, Any]]:
    """Return what draws images [batch, 3, side, side]."""

    def draw(sizes: Sizes) -> dict[str, Any]:
        import torch

        return {name: torch.randn(sizes["batch"], 3, side, side)}

    return draw


def words(vocabulary: int, *names: str) -> Callable[[Sizes], dict[str, Any]]:
    """Return what draws tokens [batch, seq], each of the names with tokens of its own."""

    def draw(sizes: Sizes) -> dict[str, Any]:
        import torch

        return {name: torch.randint(0, vocabulary, (sizes["batch"], sizes["seq"])) for name in names}

    return draw


def masked(draw: Callable[[Sizes], dict[str, Any]], tokens: str = "input_ids") -> Callable[[Sizes], dict[str, Any]]:
    """Return what draws tokens and an attention mask of them, whose last column is hidden in the first row."""

    def both(sizes: Sizes) -> dict[str, Any]:
        import torch

        inputs = draw(sizes)
        mask = torch.ones_like(inputs[tokens])
        mask[0, sizes["seq"] // 2 + 1 :] = 0
        return {**inputs, "attention_mask": mask}

    return both
