"""Quantized networks as tools write them, for tests; compiled, run, and compared with onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import helper
from onnx_models import import_model, model_of

import tilewright
from tilewright.compiler.phases import PHASES
from tilewright.compiler.pipeline import PhaseContext, run_phases
from tilewright.passes.fusion import workload_of
from tilewright.runtime import load
from tilewright.targets.database import load_target
from tilewright.workload import Workload

Array = NDArray[Any]


def reference(model: onnx.ModelProto, x: Array) -> Array:
    """Return what onnxruntime computes operator by operator: some of its fused kernels round otherwise."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    result: Array = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"x": x})[0]
    return result


class QuantizedNet:
    """A quantized network as tools write it: every tensor goes to its grid and back."""

    def __init__(self, draw: Any, rng: np.random.Generator, signed: bool) -> None:
        self.draw, self.rng, self.kind = draw, rng, "int8" if signed else "uint8"
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}

    def grid(self, name: str, span: float) -> tuple[str, str]:
        """Add a grid that covers about [-span, span], or [0, span]; return the names of scale and zero point."""
        low, high = (-128, 127) if self.kind == "int8" else (0, 255)
        positive = self.draw(st.booleans(), label=f"{name} from zero")
        zero = low if positive else self.draw(st.integers(low + 100, high - 100), label=f"zero of {name}")
        self.constants |= {
            f"{name}_scale": np.float32(span / 255 * (1 if positive else 2)),
            f"{name}_zero": np.asarray(zero, self.kind),
        }
        return f"{name}_scale", f"{name}_zero"

    def quantized(self, source: str, span: float) -> str:
        """Add a tensor's way to its grid and back."""
        scale, zero = self.grid(source, span)
        self.nodes += [
            helper.make_node("QuantizeLinear", [source, scale, zero], [f"{source}_q"]),
            helper.make_node("DequantizeLinear", [f"{source}_q", scale, zero], [f"{source}_d"]),
        ]
        return f"{source}_d"

    def weight(self, name: str, shape: tuple[int, ...], axis: int) -> str:
        """Add weights, with one scale or one for each channel."""
        channels = shape[axis] if self.draw(st.booleans(), label=f"{name} per channel") else 0
        scale = self.rng.uniform(0.5, 1.5, channels or ()).astype(np.float32) / 127
        self.constants |= {
            f"{name}_q": self.rng.integers(-127, 128, shape).astype(np.int8),
            f"{name}_scale": scale,
            f"{name}_zero": np.zeros(scale.shape, np.int8),
        }
        operands = [f"{name}_q", f"{name}_scale", f"{name}_zero"]
        self.nodes.append(helper.make_node("DequantizeLinear", operands, [name], axis=axis))
        return name

    def node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add any other node."""
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output


def groups_of(model: onnx.ModelProto) -> list[Workload]:
    """Return the workloads of the model's kernels in order."""
    module = run_phases(import_model(model).module, PHASES[:4], PhaseContext(load_target("host")), lambda event: None)
    calls = [binding.value for block in module["main"].body.blocks for binding in block.bindings]
    named = [call.op for call in calls if hasattr(call, "op") and hasattr(call.op, "name_hint")]
    found = [workload_of(module[each]) for each in named]
    return [work for work in found if work is not None]


def check_net(
    net: QuantizedNet, x: Array, output: str, unit: str, directory: Path, target: str = "host"
) -> onnx.ModelProto:
    """Compile, run and compare: within one unit of the output's grid, and most elements equal."""
    model = model_of(net.nodes, {"x": x}, net.constants, [output], opset=17)
    path = directory / "model.onnx"
    onnx.save(model, path)
    expected = reference(model, x)
    (result,) = load(tilewright.compile(path, jobs=1, target=target).save(directory / "model.so"))(x=x).values()
    units = np.abs(result - expected) / net.constants[f"{unit}_scale"]
    assert units.max() <= 1.001
    assert np.mean(units > 0.5) < 0.05
    return model
