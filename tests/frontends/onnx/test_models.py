"""Whole models, exported by both of PyTorch's exporters, against onnxruntime."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx_models import Array, operator_names
from relax_runner import run_module

from tilewright.compiler.frontends.model import ImportedModel
from tilewright.compiler.frontends.onnx import import_onnx

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


class _First(torch.nn.Module):  # type: ignore[name-defined,misc]
    """A model of several outputs, cut down to the first."""

    def __init__(self, model: Any, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: Any) -> Any:
        return self.model(**dict(zip(self.names, inputs, strict=True)))[0]


def _export(model: Any, inputs: dict[str, Any], path: Path, dynamo: bool) -> None:
    names = tuple(inputs)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _First(model.eval(), names), tuple(inputs.values()), path, dynamo=dynamo, input_names=list(names),
            opset_version=20 if dynamo else 17, verbose=False,
        )  # fmt: skip


def _check(path: Path, inputs: dict[str, Array]) -> ImportedModel:
    imported = import_onnx(path, {})
    (result,) = run_module(imported.module, [inputs[spec.name] for spec in imported.signature.inputs])
    (expected,) = onnxruntime.InferenceSession(str(path)).run(None, inputs)
    assert np.abs(result - expected).max() <= 1e-5 * np.abs(expected).max()
    return imported


def _resnet() -> tuple[Any, dict[str, Any]]:
    config = transformers.ResNetConfig(embedding_size=16, hidden_sizes=[16, 32, 64, 64], depths=[1, 1, 2, 1])
    return transformers.ResNetForImageClassification(config), {"pixel_values": torch.randn(1, 3, 64, 64)}


def _bert() -> tuple[Any, dict[str, Any]]:
    config = transformers.BertConfig(
        num_hidden_layers=2, hidden_size=64, intermediate_size=128, num_attention_heads=4, vocab_size=500
    )
    mask = torch.ones(2, 16, dtype=torch.int64)
    mask[1, 9:] = 0
    return transformers.BertModel(config), {"input_ids": torch.randint(0, 500, (2, 16)), "attention_mask": mask}


def _vit() -> tuple[Any, dict[str, Any]]:
    config = transformers.ViTConfig(
        num_hidden_layers=2, hidden_size=64, intermediate_size=128, num_attention_heads=4, image_size=64
    )
    return transformers.ViTForImageClassification(config), {"pixel_values": torch.randn(1, 3, 64, 64)}


def _mobilenet() -> tuple[Any, dict[str, Any]]:
    config = transformers.MobileNetV2Config(image_size=64, depth_multiplier=0.5)
    return transformers.MobileNetV2ForImageClassification(config), {"pixel_values": torch.randn(1, 3, 64, 64)}


@pytest.mark.parametrize("dynamo", [False, True], ids=["torchscript", "dynamo"])
@pytest.mark.parametrize("make", [_resnet, _bert, _vit, _mobilenet])
def test_exports(make: Callable[[], tuple[Any, dict[str, Any]]], dynamo: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, inputs = make()
    path = tmp_path / "model.onnx"
    _export(model, inputs, path, dynamo)
    imported = _check(path, {name: tensor.numpy() for name, tensor in inputs.items()})
    names = set(operator_names(imported))
    assert not names & {"full", "arange", "shape_of"}
    assert {"resnet": "nn.conv2d", "bert": "nn.layer_norm", "vit": "nn.softmax", "mobilenet": "nn.conv2d"}[
        make.__name__.removeprefix("_")
    ] in names


def test_symbolic_batch_and_length(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, inputs = _bert()
    path = tmp_path / "model.onnx"
    axes = {name: {0: "batch", 1: "length"} for name in inputs}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _First(model.eval(), tuple(inputs)), tuple(inputs.values()), path, dynamo=False,
            input_names=list(inputs), dynamic_axes=axes, opset_version=17, verbose=False,
        )  # fmt: skip
    imported = import_onnx(path, {"input_ids": (3, 8)})
    assert [spec.shape for spec in imported.signature.inputs] == [(3, 8), (3, 8)]
    data = {name: tensor.numpy()[[0, 1, 1], :8].copy() for name, tensor in inputs.items()}
    (result,) = run_module(imported.module, [data[spec.name] for spec in imported.signature.inputs])
    (expected,) = onnxruntime.InferenceSession(str(path)).run(None, data)
    assert np.abs(result - expected).max() <= 1e-5 * np.abs(expected).max()
