"""Models that other tools quantized import as they are and run in integer kernels; missing tools are skipped."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import tilewright
from tilewright.compiler.frontends import ModelSource, import_model
from tilewright.compiler.phases import PHASES
from tilewright.compiler.pipeline import PhaseContext, run_phases
from tilewright.passes.fusion import workload_of
from tilewright.runtime import load
from tilewright.targets.database import load_target

pytestmark = pytest.mark.slow


def _products(model: Path) -> list[tuple[str, str]]:
    """Return the element types that convolutions and products read."""
    imported = import_model(ModelSource(model))
    module = run_phases(imported.module, PHASES[:3], PhaseContext(load_target("host")), lambda event: None)
    works = [work for _, each in module.functions_items() if (work := workload_of(each)) is not None]
    found = [work for work in works if work.family in ("conv2d", "matmul")]
    return [(work.inputs[0].dtype, work.inputs[1].dtype) for work in found]


def _run(model: Path, x: NDArray[Any]) -> NDArray[Any]:
    library = load(tilewright.compile(model).save(model.with_suffix(".so")))
    (result,) = library(**{library.inputs[0].name: x}).values()
    return np.asarray(result)


def test_pt2e(tmp_path: Path) -> None:
    """torch.export, quantized after training, exported to ONNX: what torch computes, on bytes."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("torchao", reason="needs torchao: pip install torchao")
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

    class Net(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = torch.nn.Conv2d(3, 16, 3, padding=1), torch.nn.Conv2d(16, 16, 3, padding=1)
            self.dense = torch.nn.Linear(16, 10)

        def forward(self, x: Any) -> Any:
            x = torch.relu(self.a(x))
            return self.dense(torch.max_pool2d(torch.relu(self.b(x) + x), 2).mean((2, 3)))

    torch.manual_seed(0)
    x = torch.randn(2, 3, 16, 16)
    quantizer = x86.X86InductorQuantizer()
    quantizer.set_global(x86.get_default_x86_inductor_quantization_config())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared = prepare_pt2e(torch.export.export(Net().eval(), (x,)).module(), quantizer)
        prepared(x)
        converted = convert_pt2e(prepared)
        model = tmp_path / "pt2e.onnx"
        torch.onnx.export(torch.export.export(converted, (x,)), (x,), dynamo=True, verbose=False).save(model)
    assert _products(model) == [("uint8", "int8")] * 3
    np.testing.assert_allclose(_run(model, x.numpy()), converted(x).detach().numpy(), rtol=1e-5, atol=2e-3)


@pytest.mark.parametrize("trained", [False, True], ids=["after training", "while training"])
def test_tflite(trained: bool, tmp_path: Path) -> None:
    """Calibrated by representative data, or with ranges that simulated quantization learned: TFLite's own numbers."""
    tf = pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'tilewright[tensorflow]'")
    layers = tf.keras.layers

    def ranged(tensor: Any, low: float, high: float) -> Any:
        if not trained:
            return tensor
        return layers.Lambda(lambda each: tf.quantization.fake_quant_with_min_max_vars(each, low, high))(tensor)

    def convolution(tensor: Any, kind: Any, *sizes: int, **options: Any) -> Any:
        return ranged(kind(*sizes, padding="same", **options)(tensor), -6.0, 6.0)

    tf.keras.utils.set_random_seed(0)
    picture = tf.keras.Input((16, 16, 3), batch_size=1, name="picture")
    first = convolution(ranged(picture, -3.0, 3.0), layers.Conv2D, 16, 3, strides=2, activation="relu")
    second = convolution(first, layers.DepthwiseConv2D, 3, activation="relu6")
    total = ranged(layers.Add()([first, convolution(second, layers.Conv2D, 16, 1)]), -6.0, 6.0)
    converter = tf.lite.TFLiteConverter.from_keras_model(tf.keras.Model(picture, layers.MaxPooling2D(2)(total)))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    rng = np.random.default_rng(0)
    samples = rng.standard_normal((20, 1, 16, 16, 3)).astype(np.float32)
    if not trained:
        converter.representative_dataset = lambda: ([each] for each in samples)
    model = tmp_path / "net.tflite"
    model.write_bytes(converter.convert())
    interpreter = tf.lite.Interpreter(str(model))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], samples[0])
    interpreter.invoke()
    expected = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    assert set(_products(model)) == {("uint8", "int8")}
    unit = np.diff(np.unique(expected)).min()
    assert np.abs(_run(model, samples[0]) - expected).max() <= 1.001 * unit
