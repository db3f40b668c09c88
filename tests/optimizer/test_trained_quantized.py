"""Models that were trained with simulated quantization import as they are, and compute what torch does."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx_models import import_model
from relax_runner import run_module
from torch import nn


class Simulated(nn.Module):
    """A convolution and a dense layer whose weights (per channel) and activations are fake-quantized."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.dense = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        def weight(layer: nn.Module) -> torch.Tensor:
            values = layer.weight
            assert isinstance(values, torch.Tensor)
            scale = values.detach().abs().flatten(1).amax(1) / 127
            zero = torch.zeros(len(scale), dtype=torch.int32)
            return torch.fake_quantize_per_channel_affine(values, scale, zero, 0, -128, 127)

        def activation(values: torch.Tensor, scale: float, zero: int) -> torch.Tensor:
            return torch.fake_quantize_per_tensor_affine(values, scale, zero, 0, 255)

        x = activation(x, 0.03, 128)
        x = torch.relu(nn.functional.conv2d(x, weight(self.conv), self.conv.bias, padding=1))
        x = activation(x, 0.01, 0).mean((2, 3))
        return nn.functional.linear(x, weight(self.dense), self.dense.bias)


def test_fake_quantized_torch(tmp_path: Path) -> None:
    net = Simulated().eval()
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype("float32"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (x,), str(tmp_path / "q.onnx"), opset_version=17, dynamo=False, input_names=["x"])
    model = onnx.load(tmp_path / "q.onnx")
    assert sum(node.op_type == "QuantizeLinear" for node in model.graph.node) >= 2
    with torch.no_grad():
        expected = net(x).numpy()
    session = onnxruntime.InferenceSession(tmp_path / "q.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"x": x.numpy()})[0], expected, rtol=1e-4, atol=2e-3)
    got = run_module(import_model(model).module, {"x": x.numpy()})
    np.testing.assert_allclose(got[0], expected, rtol=1e-4, atol=2e-3)
