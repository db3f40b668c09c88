"""Small vision models of ``transformers``: few layers and channels, but every kind of layer of the architecture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .small_model import Sizes, SmallModel, image, words

_BATCH = {"batch": 2}
_BOUNDS = {"batch": 3, "seq": 12}
_PIXELS = {"pixel_values": {0: "batch"}}
_WIDE = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64, "num_hidden_layers": 2}


def _of(model: str, config: str, **options: Any) -> Callable[[], Any]:
    """Return what builds a class of transformers from a configuration, its result a tuple of tensors."""

    def build() -> Any:
        import transformers

        return getattr(transformers, model)(getattr(transformers, config)(**options))

    return build


def _detr() -> Any:
    import transformers

    backbone = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", out_features=["stage2"]
    )
    config = transformers.DetrConfig(
        backbone_config=backbone, d_model=32, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=64,
        decoder_ffn_dim=64, encoder_attention_heads=4, decoder_attention_heads=4, num_queries=5, num_labels=4,
    )  # fmt: skip
    return transformers.DetrForObjectDetection(config)


def _clip() -> Any:
    import transformers

    text = {**_WIDE, "vocab_size": 99, "max_position_embeddings": 16, "eos_token_id": 98, "bos_token_id": 0}
    vision = {**_WIDE, "image_size": 32, "patch_size": 8}
    return transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=16))


def _captions(sizes: Sizes) -> dict[str, Any]:
    import torch

    tokens = words(98, "input_ids")(sizes)
    tokens["input_ids"][:, -1] = 98
    return {**tokens, **image(32)(sizes), "attention_mask": torch.ones_like(tokens["input_ids"])}


def _classifier(name: str, family: str, side: int, **options: Any) -> SmallModel:
    build = _of(f"{family}ForImageClassification", f"{family}Config", num_labels=5, **options)
    return SmallModel(name, build, image(side), _BATCH, _PIXELS, _BOUNDS)


VISION = (
    _classifier("ResNet", "ResNet", 64, embedding_size=8, hidden_sizes=[16, 32], depths=[2, 2]),
    _classifier("MobileNetV2", "MobileNetV2", 64, depth_multiplier=0.25),
    _classifier(
        "EfficientNet", "EfficientNet", 64, width_coefficient=0.25, depth_coefficient=0.3, hidden_dim=320, image_size=64
    ),
    _classifier("ViT", "ViT", 32, image_size=32, patch_size=8, **_WIDE),
    _classifier(
        "Swin", "Swin", 32, image_size=32, patch_size=2, embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=4
    ),
    _classifier("ConvNeXt", "ConvNext", 64, hidden_sizes=[8, 16, 32, 64], depths=[1, 1, 2, 1]),
    SmallModel(
        "SegFormer",
        _of(
            "SegformerForSemanticSegmentation", "SegformerConfig", num_labels=5, depths=[1, 1, 1, 1],
            hidden_sizes=[8, 16, 24, 32], num_attention_heads=[1, 2, 3, 4], decoder_hidden_size=16,
        ),
        image(64), _BATCH, _PIXELS, _BOUNDS,
    ),
    SmallModel("DETR", _detr, image(64), _BATCH, _PIXELS, _BOUNDS),
    SmallModel(
        "YOLOS",
        _of(
            "YolosForObjectDetection", "YolosConfig", image_size=[32, 32], patch_size=8, num_detection_tokens=5,
            num_labels=4, use_mid_position_embeddings=False, **_WIDE,
        ),
        image(32), _BATCH, _PIXELS, _BOUNDS,
    ),
    SmallModel(
        "CLIP", _clip, _captions, {"batch": 2, "seq": 7},
        {"input_ids": {0: "batch", 1: "seq"}, "pixel_values": {0: "batch"}, "attention_mask": {0: "batch", 1: "seq"}},
        _BOUNDS,
    ),
)  # fmt: skip
