"""Models beyond those that are compared by name: other families of architectures, to show what is general.

Importing this module adds them to ``MODELS``. Configurations are the published ones of the smallest size; DenseNet and
the U-Net are written out, because ``transformers`` has none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .models import MODELS, Arrays, BenchModel, calibrated, image, images, seeded

_PIXELS = ("pixel_values",)
_LOGITS = ("logits",)
_TOKENS = 128
_SEED = 20240229


def _efficientnet_b0() -> Any:
    from transformers import EfficientNetConfig, EfficientNetForImageClassification

    config = EfficientNetConfig(
        num_labels=1000, width_coefficient=1.0, depth_coefficient=1.0, image_size=224, hidden_dim=1280
    )
    return calibrated(seeded(lambda: EfficientNetForImageClassification(config), _PIXELS), [], [images(8)])


def _regnet_x_400mf() -> Any:
    from transformers import RegNetConfig, RegNetForImageClassification

    config = RegNetConfig(
        num_labels=1000, layer_type="x", embedding_size=32, hidden_sizes=[32, 64, 160, 400], depths=[1, 2, 7, 12],
        groups_width=16,
    )  # fmt: skip
    return calibrated(seeded(lambda: RegNetForImageClassification(config), _PIXELS), [], [images(8)])


def _convnext_tiny() -> Any:
    from transformers import ConvNextConfig, ConvNextForImageClassification

    return seeded(lambda: ConvNextForImageClassification(ConvNextConfig(num_labels=1000)), _PIXELS)


def _swin_tiny() -> Any:
    from transformers import SwinConfig, SwinForImageClassification

    return seeded(lambda: SwinForImageClassification(SwinConfig(num_labels=1000)), _PIXELS)


def _segformer_b0() -> Any:
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    config = SegformerConfig(num_labels=150)
    return calibrated(seeded(lambda: SegformerForSemanticSegmentation(config), _PIXELS), [], [images(4)])


def _whisper_tiny_encoder() -> Any:
    from transformers import WhisperConfig, WhisperModel

    config = WhisperConfig(d_model=384, encoder_layers=4, encoder_attention_heads=6, encoder_ffn_dim=1536)
    return seeded(lambda: WhisperModel(config).encoder, ("input_features",))


def _spectrogram() -> Arrays:
    draw = np.random.default_rng(_SEED)
    return {"input_features": draw.standard_normal((1, 80, 3000)).astype("float32")}


def _gpt2() -> Any:
    """GPT-2 of half the layers, the logits of all tokens, without the cache."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = GPT2LMHeadModel(GPT2Config(n_layer=6, use_cache=False))

        def forward(self, input_ids: Any) -> Any:
            # With a mask given, transformers does not look for sequences packed into one, which no exporter knows.
            return self.body(input_ids, attention_mask=torch.ones_like(input_ids)).logits

    return seeded(Logits, ("input_ids",))


def _words() -> Arrays:
    return {"input_ids": np.random.default_rng(_SEED).integers(0, 50257, (1, _TOKENS))}


def _densenet121() -> Any:
    """Huang et al., "Densely Connected Convolutional Networks", CVPR 2017."""
    import torch
    from torch import nn

    def convolution(channels: int, out: int, size: int) -> nn.Sequential:
        padded = nn.Conv2d(channels, out, size, padding=size // 2, bias=False)
        return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), padded)

    class Dense(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.body = nn.Sequential(convolution(channels, 128, 1), convolution(128, 32, 3))

        def forward(self, x: Any) -> Any:
            return torch.cat([x, self.body(x)], 1)

    def network() -> nn.Sequential:
        channels = 64
        stem = nn.Conv2d(3, channels, 7, 2, 3, bias=False)
        layers = [stem, nn.BatchNorm2d(channels), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        for stage, depth in enumerate((6, 12, 24, 16)):
            if stage:
                layers += [convolution(channels, channels // 2, 1), nn.AvgPool2d(2)]
                channels //= 2
            for _ in range(depth):
                layers.append(Dense(channels))
                channels += 32
        head = [nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000)]
        return nn.Sequential(*layers, *head)

    return calibrated(_positional(seeded(network, _PIXELS)), [], [images(8)])


def _positional(module: Any) -> Any:
    """Return a module that takes its inputs by their names."""
    import torch

    class Named(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = module
            self.main_input_names = module.main_input_names

        def forward(self, pixel_values: Any) -> Any:
            return self.body(pixel_values)

    return Named().eval()


def _unet() -> Any:
    """Ronneberger et al. 2015 with padded convolutions; it grows by transposed convolutions, at the end bilinearly."""
    import torch
    from torch import nn

    def double(channels: int, out: int) -> nn.Sequential:
        first, second = nn.Conv2d(channels, out, 3, padding=1), nn.Conv2d(out, out, 3, padding=1)
        return nn.Sequential(first, nn.BatchNorm2d(out), nn.ReLU(), second, nn.BatchNorm2d(out), nn.ReLU())

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            sizes = (32, 64, 128, 256, 512)
            self.down = nn.ModuleList(double(i, o) for i, o in zip((3, *sizes), sizes, strict=False))
            pairs = list(zip(sizes[:0:-1], sizes[-2::-1], strict=True))
            bilinear = nn.Upsample(scale_factor=2, mode="bilinear")
            self.grow = nn.ModuleList(nn.ConvTranspose2d(i, o, 2, 2) for i, o in pairs[:-1])
            self.grow.append(nn.Sequential(bilinear, nn.Conv2d(64, 32, 1)))
            self.up = nn.ModuleList(double(2 * o, o) for _, o in pairs)
            self.head = nn.Conv2d(32, 2, 1)

        def forward(self, pixel_values: Any) -> Any:
            x, kept = self.down[0](pixel_values), []
            for layer in list(self.down)[1:]:
                kept.append(x)
                x = layer(nn.functional.max_pool2d(x, 2))
            for grow, layer in zip(self.grow, self.up, strict=True):
                x = layer(torch.cat([kept.pop(), grow(x)], 1))
            return self.head(x)

    return calibrated(seeded(UNet, _PIXELS), [], [images(4)])


ZOO = {
    model.name: model
    for model in (
        BenchModel("efficientnet_b0", "EfficientNet-B0, 224 x 224", _efficientnet_b0, image, _LOGITS),
        BenchModel("regnet_x_400mf", "RegNetX-400MF, 224 x 224", _regnet_x_400mf, image, _LOGITS),
        BenchModel("densenet121", "DenseNet-121, 224 x 224", _densenet121, image, _LOGITS),
        BenchModel("convnext_tiny", "ConvNeXt-T, 224 x 224", _convnext_tiny, image, _LOGITS),
        BenchModel("swin_tiny", "Swin-T, 224 x 224", _swin_tiny, image, _LOGITS),
        BenchModel("segformer_b0", "SegFormer-B0, 224 x 224", _segformer_b0, image, _LOGITS),
        BenchModel("unet", "U-Net of 32 to 512 channels, 224 x 224", _unet, image, _LOGITS),
        BenchModel(
            "whisper_tiny_encoder", "encoder of Whisper tiny, 30 s", _whisper_tiny_encoder, _spectrogram,
            ("last_hidden_state",),
        ),
        BenchModel("gpt2", "GPT-2 of 6 layers, 128 tokens, logits of all", _gpt2, _words, _LOGITS),
    )
}  # fmt: skip
MODELS.update(ZOO)
