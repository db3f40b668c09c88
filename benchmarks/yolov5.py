"""YOLOv5m with the anchor-free head, as ultralytics defines it ("yolov5m.yaml"), in plain torch.

Backbone and neck are those of YOLOv5 v6.0: CSP bottlenecks joined by a path aggregation network (Liu et al., "Path
Aggregation Network for Instance Segmentation", CVPR 2018). The head predicts each side's distance from its cell as a
distribution over 16 bins (Li et al., "Generalized Focal Loss", NeurIPS 2020). Written anew so that a benchmark needs
neither the package nor the image libraries it brings.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

CLASSES = 80
_BINS = 16
_STRIDES = (8, 16, 32)
#: Channels at strides 2 to 32, and bottlenecks of each stage, of the size "m".
_WIDTHS = (48, 96, 192, 384, 768)
_DEPTHS = (2, 4, 6, 2)
_NECK_DEPTH = 2


def _conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, padding: int | None = None) -> nn.Sequential:
    """Convolution, normalization, SiLU."""
    pad = kernel // 2 if padding is None else padding
    norm = nn.BatchNorm2d(outputs, eps=1e-3)
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, pad, bias=False), norm, nn.SiLU())


class Bottleneck(nn.Module):
    """1x1 and 3x3 convolutions of one width, with or without a residual connection."""

    def __init__(self, width: int, residual: bool) -> None:
        super().__init__()
        self.residual = residual
        self.reduce = _conv(width, width)
        self.spatial = _conv(width, width, 3)

    def forward(self, x: Any) -> Any:
        """Map [N, width, H, W] to the same shape."""
        y = self.spatial(self.reduce(x))
        return x + y if self.residual else y


class Stage(nn.Module):
    """Half of the channels pass bottlenecks, half pass none; a 1x1 convolution joins them."""

    def __init__(self, inputs: int, outputs: int, depth: int, residual: bool = True) -> None:
        super().__init__()
        half = outputs // 2
        self.deep = _conv(inputs, half)
        self.shallow = _conv(inputs, half)
        self.join = _conv(2 * half, outputs)
        self.bottlenecks = nn.Sequential(*(Bottleneck(half, residual) for _ in range(depth)))

    def forward(self, x: Any) -> Any:
        """Map [N, inputs, H, W] to [N, outputs, H, W]."""
        return self.join(torch.cat((self.bottlenecks(self.deep(x)), self.shallow(x)), 1))


class Pyramid(nn.Module):
    """Maxima over windows of 5, 9 and 13, by pooling thrice."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduce = _conv(width, width // 2)
        self.join = _conv(2 * width, width)
        self.pool = nn.MaxPool2d(5, stride=1, padding=2)

    def forward(self, x: Any) -> Any:
        """Map [N, width, H, W] to the same shape."""
        levels = [self.reduce(x)]
        for _ in range(3):
            levels.append(self.pool(levels[-1]))
        return self.join(torch.cat(levels, 1))


class Head(nn.Module):
    """Boxes and scores from features at three strides, for images of one size."""

    def __init__(self, widths: tuple[int, ...], size: int) -> None:
        super().__init__()
        box, score = max(16, widths[0] // 4, 4 * _BINS), max(widths[0], CLASSES)
        self.boxes = nn.ModuleList(_branch(width, box, 4 * _BINS) for width in widths)
        self.scores = nn.ModuleList(_branch(width, score, CLASSES) for width in widths)
        centres, scales = zip(*(_grid(size // stride, stride) for stride in _STRIDES), strict=True)
        self.register_buffer("centres", torch.cat(centres, 1)[None])
        self.register_buffer("scales", torch.cat(scales)[None, None])
        self.register_buffer("bins", torch.arange(_BINS, dtype=torch.float32).reshape(1, _BINS, 1, 1))

    def forward(self, features: list[Any]) -> Any:
        """Return [N, 4 + classes, cells]: centre, width and height in pixels, then scores of 0 to 1."""
        boxes = torch.cat([branch(x).flatten(2) for branch, x in zip(self.boxes, features, strict=True)], 2)
        scores = torch.cat([branch(x).flatten(2) for branch, x in zip(self.scores, features, strict=True)], 2)
        cells = self.scales.shape[-1]
        chances = boxes.reshape(-1, 4, _BINS, cells).transpose(1, 2).softmax(1)
        before, beyond = nn.functional.conv2d(chances, self.bins).squeeze(1).split(2, 1)
        low, high = self.centres - before, self.centres + beyond
        return torch.cat((torch.cat(((low + high) / 2, high - low), 1) * self.scales, scores.sigmoid()), 1)


def _branch(inputs: int, width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(_conv(inputs, width, 3), _conv(width, width, 3), nn.Conv2d(width, outputs, 1))


def _grid(cells: int, stride: int) -> tuple[Any, Any]:
    """Return the centres [2, cells * cells] in units of the stride, and the stride of each."""
    steps = torch.arange(cells, dtype=torch.float32) + 0.5
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack((x.flatten(), y.flatten())), torch.full((cells * cells,), float(stride))


class YoloV5m(nn.Module):
    """The network for square images of one size, a multiple of 32 pixels."""

    def __init__(self, size: int = 640) -> None:
        super().__init__()
        stem, *widths = _WIDTHS
        self.stem = _conv(3, stem, 6, 2, 2)
        steps = zip((stem, *widths), widths, _DEPTHS, strict=False)
        self.stages = nn.ModuleList(
            nn.Sequential(_conv(before, width, 3, 2), Stage(width, width, depth)) for before, width, depth in steps
        )
        self.pyramid = Pyramid(widths[3])
        near, middle, far = widths[1:]
        self.narrow_far, self.narrow_middle = _conv(far, middle), _conv(middle, near)
        self.up_middle = Stage(2 * middle, middle, _NECK_DEPTH, residual=False)
        self.up_near = Stage(2 * near, near, _NECK_DEPTH, residual=False)
        self.shrink_near, self.shrink_middle = _conv(near, near, 3, 2), _conv(middle, middle, 3, 2)
        self.down_middle = Stage(2 * near, middle, _NECK_DEPTH, residual=False)
        self.down_far = Stage(2 * middle, far, _NECK_DEPTH, residual=False)
        self.enlarge = nn.Upsample(scale_factor=2.0, mode="nearest")
        self.head = Head((near, middle, far), size)

    def forward(self, images: Any) -> Any:
        """Map images [N, 3, size, size] to detections [N, 84, cells]."""
        levels = []
        x = self.stem(images)
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        _, near, middle, far = levels
        far = self.narrow_far(self.pyramid(far))
        middle = self.narrow_middle(self.up_middle(torch.cat((self.enlarge(far), middle), 1)))
        near = self.up_near(torch.cat((self.enlarge(middle), near), 1))
        middle = self.down_middle(torch.cat((self.shrink_near(near), middle), 1))
        far = self.down_far(torch.cat((self.shrink_middle(middle), far), 1))
        return self.head([near, middle, far])

    def residual_norms(self) -> list[Any]:
        """Return the last normalization of each residual branch."""
        return [each.spatial[1] for each in self.modules() if isinstance(each, Bottleneck) and each.residual]
