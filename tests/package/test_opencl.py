"""OpenCL through a CPU implementation (PoCL): whole models, cached programs, and what happens without a device."""

from __future__ import annotations

import ctypes.util
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import helper
from onnx_models import model_of
from small_nets import NETS, export
from torch import nn

import tilewright
from tilewright.errors import UserError
from tilewright.runtime import load
from tilewright.runtime.manifest import read_manifest

Array = NDArray[Any]

#: The template that makes tiles in registers, for the networks that have such products.
TILED = {"transformer": "tiled_matmul", "mobile": "pointwise_conv2d"}

needs_opencl = pytest.mark.skipif(
    not ctypes.util.find_library("OpenCL") and not os.environ.get("TILEWRIGHT_TESTS_NEED_TOOLS"),
    reason="needs pocl-opencl-icd and ocl-icd-libopencl1",
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("TILEWRIGHT_CACHE", str(folder))
    return folder


def compile_to(model: Path, folder: Path, **options: Any) -> Path:
    return tilewright.compile(model, target="opencl", **options).save(folder / "device.so")


def expected(model: Path, inputs: Mapping[str, Array]) -> list[Array]:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return session.run(None, dict(inputs))


def check(library: Path, model: Path, inputs: Mapping[str, Array], tolerance: float = 1e-5) -> None:
    """Assert that a library gives onnxruntime's numbers, in the first run and in the second."""
    wanted = expected(model, inputs)
    with load(library).new_instance() as instance:
        call = instance.bind(dict(inputs))
        for _ in range(2):
            for array in call.outputs.values():
                array.reshape(-1).view(np.uint8).fill(0xFF)
            for got, want in zip(dict(call().items()).values(), wanted, strict=True):
                assert got.shape == want.shape
                np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * float(np.abs(want).max()))


@needs_opencl
@pytest.mark.parametrize("name", NETS)
def test_networks(tmp_path: Path, name: str) -> None:
    model, (x,) = export(name, tmp_path / f"{name}.onnx")
    library = compile_to(model, tmp_path)
    check(library, model, {"x": x})
    templates = {each["template"] for each in read_manifest(library)["kernels"]}
    assert TILED.get(name, "generic") in templates


class MobileNetV2(nn.Module):
    """Inverted residuals and linear bottlenecks (Sandler et al., 2018), all 17 of them."""

    def __init__(self) -> None:
        super().__init__()
        rows = [
            (1, 16, 1, 1),
            (6, 24, 2, 2),
            (6, 32, 3, 2),
            (6, 64, 4, 2),
            (6, 96, 3, 1),
            (6, 160, 3, 2),
            (6, 320, 1, 1),
        ]
        layers: list[nn.Module] = [self.layer(3, 32, 3, 2)]
        channels = 32
        for expansion, outputs, count, stride in rows:
            for index in range(count):
                layers.append(Bottleneck(channels, outputs, stride if index == 0 else 1, expansion))
                channels = outputs
        layers += [self.layer(320, 1280, 1, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 1000)]
        self.layers = nn.Sequential(*layers)

    @staticmethod
    def layer(inputs: int, outputs: int, size: int, stride: int, groups: int = 1) -> nn.Sequential:
        convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU6())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.layers(x)
        return result


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.body = nn.Sequential(
            MobileNetV2.layer(inputs, hidden, 1, 1) if expansion > 1 else nn.Identity(),
            MobileNetV2.layer(hidden, hidden, 3, stride, hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.body(x)
        return x + y if self.residual else y


@needs_opencl
def test_mobilenet_v2(tmp_path: Path) -> None:
    torch.manual_seed(5)
    net, x = MobileNetV2().eval(), torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        net.train()(torch.randn(8, 3, 96, 96))  # statistics with which no layer dies out
    model = tmp_path / "mobilenet_v2.onnx"
    torch.onnx.export(net.eval(), (x,), model, dynamo=False, input_names=["x"], opset_version=17)
    check(compile_to(model, tmp_path), model, {"x": np.asarray(x)})


@needs_opencl
def test_operators_that_no_template_makes(tmp_path: Path) -> None:
    draw = np.random.default_rng(2)
    x = draw.standard_normal((3, 4, 10)).astype("float32")
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        helper.make_node("ArgMax", ["x"], ["a"], axis=2, keepdims=0),
        helper.make_node("Gather", ["x", "rows"], ["g"], axis=1),
        helper.make_node("Softmax", ["x"], ["p"], axis=1),
        helper.make_node("Erf", ["p"], ["e"]),
    ]
    constants = {"rows": np.array([3, 0, 3])}
    made = model_of(nodes, {"x": x}, constants, outputs=["s", "a", "g", "e"])
    onnx.save(made, tmp_path / "operators.onnx")
    check(compile_to(tmp_path / "operators.onnx", tmp_path), tmp_path / "operators.onnx", {"x": x})


@needs_opencl
def test_a_product_whose_transpose_has_its_shape(tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    inputs = {name: draw.standard_normal((16, 16, 16)).astype("float32") for name in "ab"}
    nodes = [helper.make_node("MatMul", ["a", "b"], ["m"]), helper.make_node("Transpose", ["m"], ["y"], perm=(1, 2, 0))]
    onnx.save(model_of(nodes, inputs), tmp_path / "product.onnx")
    check(compile_to(tmp_path / "product.onnx", tmp_path), tmp_path / "product.onnx", inputs)


RUN = """
import sys, numpy as np
from tilewright.runtime import load
from tilewright.runtime.manifest import read_manifest
with load(sys.argv[1]).new_instance() as instance:
    x = np.load(sys.argv[2])
    np.save(sys.argv[3], next(iter(dict(instance.bind({"x": x})().items()).values())))
"""
NO_SOURCES = """
int clCreateProgramWithSource(void) { return 0; }
"""


@needs_opencl
def test_a_second_start_takes_the_kept_program(tmp_path: Path, cache: Path) -> None:
    """The second process has an OpenCL that compiles no source."""
    model, (x,) = export("residual", tmp_path / "residual.onnx")
    library = compile_to(model, tmp_path)
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "stand_in.c").write_text(NO_SOURCES)
    stand_in = tmp_path / "stand_in.so"
    command = ["gcc", "-shared", "-fPIC", "-o", stand_in, tmp_path / "stand_in.c", "-Wl,--no-as-needed"]
    subprocess.run([*command, "-l:libOpenCL.so.1"], check=True)

    def start(**environment: str) -> subprocess.CompletedProcess[str]:
        arguments = [sys.executable, "-c", RUN, library, tmp_path / "x.npy", tmp_path / "y.npy"]
        return subprocess.run(arguments, env={**os.environ, **environment}, capture_output=True, text=True)

    without = start(TILEWRIGHT_OPENCL=str(stand_in))
    assert "does not compile the kernels" in without.stderr
    assert start().returncode == 0
    (kept,) = cache.iterdir()
    (tmp_path / "y.npy").unlink()
    second = start(TILEWRIGHT_OPENCL=str(stand_in))
    assert second.returncode == 0, second.stderr
    (wanted,) = expected(model, {"x": x})
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), wanted, rtol=1e-5, atol=1e-5)
    kept.write_bytes(kept.read_bytes()[:-7])
    third = start()
    assert third.returncode == 0, third.stderr
    assert start(TILEWRIGHT_OPENCL=str(stand_in)).returncode == 0


def test_without_a_driver_there_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = export("odd", tmp_path / "odd.onnx")
    library = load(compile_to(model, tmp_path))
    assert [each.name for each in library.inputs] == ["x"]
    monkeypatch.setenv("TILEWRIGHT_OPENCL", "/no/such/library.so")
    with pytest.raises(UserError, match="no OpenCL here: '/no/such/library.so' cannot be opened; install"):
        library.new_instance()


def test_what_devices_do_not_do_is_refused(tmp_path: Path) -> None:
    x = np.zeros((2, 3), "float32")
    made = model_of([helper.make_node("Relu", ["x"], ["y"])], {"x": x})
    for each in (*made.graph.input, *made.graph.output):
        each.type.tensor_type.shape.dim[0].dim_param = "n"
    onnx.save(made, tmp_path / "any.onnx")
    with pytest.raises(UserError, match="its sizes are known at run time only, which devices do not do"):
        compile_to(tmp_path / "any.onnx", tmp_path, input_shapes={"x": ("n<=4", 3)})
    made = model_of(
        [helper.make_node("LSTM", ["x", "w", "r"], ["", "h"], hidden_size=2)],
        {"x": np.zeros((4, 1, 3), "float32")},
        {"w": np.ones((1, 8, 3), "float32"), "r": np.ones((1, 8, 2), "float32")},
        outputs=["h"],
    )
    onnx.save(made, tmp_path / "lstm.onnx")
    with pytest.raises(UserError, match="recurrent has no kernel for 'opencl': name a CPU"):
        compile_to(tmp_path / "lstm.onnx", tmp_path)


@pytest.mark.parametrize("target", ["mali-g52", "mali-g610"])
def test_mali_libraries_are_linked_for_their_cpu(tmp_path: Path, target: str) -> None:
    from tilewright.targets.database import load_target
    from tilewright.targets.toolchain import find_toolchain

    try:
        find_toolchain(load_target(target))
    except UserError:
        if os.environ.get("TILEWRIGHT_TESTS_NEED_TOOLS"):
            raise
        pytest.skip("needs gcc-aarch64-linux-gnu or ziglang")
    model, _ = export("residual", tmp_path / "residual.onnx")
    library = tilewright.compile(model, target=target).save(tmp_path / "mali.so")
    assert library.read_bytes()[18] == 183  # the ELF number of 64-bit Arm
    assert b"__kernel void tw_kernel" in library.read_bytes()
