"""The methods on a trained network, judged on images it never saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from quantization_models import Digits

from tilewright.errors import UserError
from tilewright.optimizer.quantize.job import Request
from tilewright.optimizer.quantize.run import quantize_model


def request(digits: Digits, output: Path, method: str, **more: object) -> Request:
    values = {"calibration": str(digits.calibration), "validation": str(digits.validation), "samples": 540, **more}
    return Request(digits.model, output, method, **values)  # type: ignore[arg-type]


def test_default_keeps_the_accuracy_under_integer_arithmetic(digits: Digits, tmp_path: Path) -> None:
    report = quantize_model(request(digits, tmp_path / "q.onnx", "default"))
    assert report.metric == "top1"
    assert report.before is not None
    assert report.after is not None
    assert report.before > 0.98
    assert report.before - report.after <= 0.004
    assert report.quantized_bytes < 0.3 * report.float_bytes
    assert {layer.precision for layer in report.layers} == {"int8"}
    assert min(layer.sqnr for layer in report.layers) > 30
    # The report simulates the pairs in floats; onnxruntime's own integer kernels must agree with it.
    session = onnxruntime.InferenceSession(str(tmp_path / "q.onnx"), providers=["CPUExecutionProvider"])
    data = np.load(digits.validation)
    scores = np.concatenate([session.run(None, {"image": image[None]})[0] for image in data["image"]])
    assert abs(np.mean(scores.argmax(1) == data["labels"]) - report.after) <= 0.004


def test_accuracy_aware_reverts_until_the_bound_holds(digits: Digits, tmp_path: Path) -> None:
    base = request(digits, tmp_path / "q.onnx", "default", metric="mse")
    all_integers = quantize_model(base)
    assert all_integers.after is not None
    bound = all_integers.after / 3
    report = quantize_model(request(digits, tmp_path / "a.onnx", "accuracy-aware", metric="mse", max_drop=bound))
    assert report.after is not None
    assert report.after <= bound
    assert 0 < len(report.reverted) < len(report.layers)
    floats = {layer.name for layer in report.layers if layer.precision == "float32"}
    assert floats == {name for name, _ in report.reverted}
    assert report.steps[0].floats == 0
    assert report.steps[0].drop > bound


def test_a_bound_that_cannot_be_kept_writes_nothing(digits: Digits, tmp_path: Path) -> None:
    impossible = request(digits, tmp_path / "q.onnx", "accuracy-aware", metric="mse", max_drop=0.0)
    with pytest.raises(UserError, match="cannot be kept within 0: .*nothing was written"):
        quantize_model(impossible)
    assert not (tmp_path / "q.onnx").exists()
    report = quantize_model(
        request(digits, tmp_path / "q.onnx", "accuracy-aware", metric="mse", max_drop=0.0, best_effort=True)
    )
    assert (tmp_path / "q.onnx").exists()
    assert any("does not hold" in note for note in report.notes)


def test_mixed_leaves_layers_for_bfloat16(digits: Digits, tmp_path: Path) -> None:
    whole = quantize_model(request(digits, tmp_path / "d.onnx", "default", metric="mse"))
    assert whole.after is not None
    report = quantize_model(request(digits, tmp_path / "m.onnx", "mixed", metric="mse", max_drop=whole.after / 2))
    assert report.after is not None
    assert report.after <= whole.after / 2
    assert report.reverted
    assert any("--precision bf16" in note for note in report.notes)
    kinds = {node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node}
    assert "Cast" not in kinds


@pytest.mark.parametrize(("method", "share"), [("weights-only", 0.3), ("dynamic", 1.0)])
def test_methods_without_data(digits: Digits, tmp_path: Path, method: str, share: float) -> None:
    quantize_model(Request(digits.model, tmp_path / "plain.onnx", method))
    report = quantize_model(request(digits, tmp_path / "q.onnx", method))
    assert (tmp_path / "plain.onnx").read_bytes() == (tmp_path / "q.onnx").read_bytes()
    assert report.before is not None
    assert report.after is not None
    assert report.before - report.after <= 0.004
    assert report.quantized_bytes < share * report.float_bytes
