"""CUDA without a GPU: cubins by NVRTC where it is installed, and programs run on the CPU.

The program's own text is compiled as C++ behind a stand-in for the driver, which the library opens as if it were
NVIDIA's.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from house.repository import ROOT
from numpy.typing import NDArray
from onnx import helper
from onnx_models import model_of
from small_nets import NETS, export

import tilewright
from tilewright.compiler.package import drivers, nvrtc
from tilewright.errors import UserError
from tilewright.runtime import load
from tilewright.runtime.manifest import read_manifest

Array = NDArray[Any]
STAND_IN = ROOT / "tests/cuda"
ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_87", "sm_90")
#: The head of an ELF file for CUDA, as far as the stand-in looks at it.
EMPTY_CUBIN = b"\x7fELF" + bytes(14) + bytes([190, 0]) + bytes(44)

needs_nvrtc = pytest.mark.skipif(not nvrtc.is_available(), reason="needs the extra 'cuda' (nvidia-cuda-nvrtc-cu12)")


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts of the programs that are compiled; the cubins are empty."""
    texts: list[str] = []

    def compile_cubin(source: str, architecture: str) -> bytes:
        assert architecture == "sm_86"
        texts.append(source)
        return EMPTY_CUBIN

    monkeypatch.setattr(drivers, "compile_cubin", compile_cubin)
    return texts


def stand_in(source: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile the program as C++, and let it take the place of the driver's."""
    kernels = re.findall(r'extern "C" __global__ void (\w+)\(([^)]*)\) \{(.*?)^\}', source, re.DOTALL | re.MULTILINE)
    known = "".join(
        f'extern "C" const int {name}_arity = {text.count(",") + 1}, {name}_waits = {int("__syncthreads" in body)};\n'
        for name, text, body in kernels
    )
    (folder / "kernels.cpp").write_text(f'#include "as_cpp.h"\n{source}\n{known}')
    command = ["g++", "-std=c++17", "-O1", "-w", "-fPIC", "-shared", f"-I{STAND_IN}", "kernels.cpp", "-o", "kernels.so"]
    subprocess.run(command, cwd=folder, check=True)
    driver = ["gcc", "-std=gnu11", "-O1", "-Wall", "-fPIC", "-shared", str(STAND_IN / "stand_in.c"), "-o", "libcuda.so"]
    subprocess.run(driver, cwd=folder, check=True)
    monkeypatch.setenv("TILEWRIGHT_CUDA", str(folder / "libcuda.so"))
    monkeypatch.setenv("STAND_IN_KERNELS", str(folder / "kernels.so"))


def check(library: Path, model: Path, inputs: Mapping[str, Array], tolerance: float = 1e-5) -> None:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    wanted = session.run(None, dict(inputs))
    with load(library).new_instance() as instance:
        call = instance.bind(dict(inputs))
        for _ in range(2):
            for array in call.outputs.values():
                array.reshape(-1).view(np.uint8).fill(0xFF)
            for got, want in zip(dict(call().items()).values(), wanted, strict=True):
                np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * float(np.abs(want).max()))


@pytest.mark.parametrize("name", NETS)
def test_networks_through_the_stand_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sources: list[str], name: str
) -> None:
    model, (x,) = export(name, tmp_path / f"{name}.onnx")
    library = tilewright.compile(model, target="sm_86").save(tmp_path / "device.so")
    stand_in(sources[0], tmp_path, monkeypatch)
    check(library, model, {"x": x})


#: (data, weights, attributes): strides, dilations, padding of one side, groups, odd sizes, one tap; the last fills all
#: cores with the larger tiles.
CONVOLUTIONS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 5, 11, 13), (9, 5, 3, 3), {"pads": [1, 1, 1, 1]}),
    ((1, 6, 17, 9), (35, 6, 5, 2), {"strides": [2, 1], "pads": [0, 2, 3, 1]}),
    ((1, 8, 12, 12), (40, 4, 3, 3), {"dilations": [2, 3], "group": 2, "pads": [2, 0, 0, 3]}),
    ((3, 17, 7, 7), (33, 17, 1, 1), {"strides": [2, 2]}),
    ((2, 19, 6, 6), (16, 19, 1, 1), {}),
    ((1, 3, 58, 49), (70, 3, 3, 3), {"pads": [1, 1, 1, 1]}),
]
#: (a, its transpose, b, its transpose, the result's transpose).
Axes = tuple[int, ...] | None
PRODUCTS: list[tuple[tuple[int, ...], Axes, tuple[int, ...], Axes, Axes]] = [
    ((33, 19), None, (19, 45), None, None),
    ((2, 3, 17, 18), None, (2, 3, 17, 18), (0, 1, 3, 2), None),
    ((2, 21, 3, 16), (0, 2, 1, 3), (16, 20), None, (0, 2, 1, 3)),
    ((16, 16, 16), (0, 2, 1), (1, 16, 16), None, (1, 2, 0)),
    ((3, 1, 40, 24), None, (2, 24, 31), None, None),
]


def to_tf32(values: Array) -> Array:
    """Round float32 to 10 bits of fraction, to the nearest."""
    return ((values.view(np.uint32) + 0x1000) & 0xFFFFE000).astype(np.uint32).view(np.float32)


def products(model: Path, made: Callable[[Array], Array] = lambda values: values) -> dict[str, Array]:
    """Write a model of all these, each with an operator to fuse behind it; returns inputs for it.

    Args:
        made: makes factors from random numbers.
    """
    draw = np.random.default_rng(8)
    inputs: dict[str, Array] = {}
    constants: dict[str, Array] = {}
    nodes, outputs = [], []

    def transposed(name: str, axes: Axes, made: str) -> str:
        if axes is None:
            return name
        nodes.append(helper.make_node("Transpose", [name], [made], perm=axes))
        return made

    for at, (data, weight, attributes) in enumerate(CONVOLUTIONS):
        inputs[f"x{at}"] = made(draw.standard_normal(data).astype("float32"))
        constants[f"w{at}"] = made(draw.standard_normal(weight).astype("float32"))
        constants[f"c{at}"] = draw.standard_normal(weight[0]).astype("float32")
        nodes.append(helper.make_node("Conv", [f"x{at}", f"w{at}", f"c{at}"], [f"conv{at}"], **attributes))
        nodes.append(helper.make_node("LeakyRelu", [f"conv{at}"], [f"y{at}"], alpha=0.3))
        outputs.append(f"y{at}")
    for at, (a, a_axes, b, b_axes, out_axes) in enumerate(PRODUCTS):
        inputs[f"a{at}"] = made(draw.standard_normal(a).astype("float32"))
        inputs[f"b{at}"] = made(draw.standard_normal(b).astype("float32"))
        operands = [transposed(f"a{at}", a_axes, f"at{at}"), transposed(f"b{at}", b_axes, f"bt{at}")]
        nodes.append(helper.make_node("MatMul", operands, [f"m{at}"]))
        nodes.append(helper.make_node("Tanh", [f"m{at}"], [f"t{at}"]))
        outputs.append(transposed(f"t{at}", out_axes, f"z{at}"))
    onnx.save(model_of(nodes, inputs, constants, outputs=outputs), model)
    return inputs


def test_products_in_shared_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sources: list[str]) -> None:
    model = tmp_path / "products.onnx"
    inputs = products(model)
    library = tilewright.compile(model, target="sm_86").save(tmp_path / "device.so")
    stand_in(sources[0], tmp_path, monkeypatch)
    check(library, model, inputs)
    templates = [each["template"] for each in read_manifest(library)["kernels"]]
    assert templates.count("implicit_gemm_conv2d") == len(CONVOLUTIONS)
    assert templates.count("shared_matmul") == len(PRODUCTS)


def test_products_on_tensor_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sources: list[str]) -> None:
    """Factors that tf32 holds give float32's numbers; others are rounded."""
    model = tmp_path / "products.onnx"
    inputs = products(model, to_tf32)
    library = tilewright.compile(model, target="sm_86", accuracy="fast").save(tmp_path / "device.so")
    stand_in(sources[0], tmp_path, monkeypatch)
    check(library, model, inputs)
    templates = [each["template"] for each in read_manifest(library)["kernels"]]
    assert templates.count("tensor_core_conv2d") == len(CONVOLUTIONS)
    assert templates.count("tensor_core_matmul") == len(PRODUCTS)
    longer = {name: values * np.float32(1 + 2**-13) for name, values in inputs.items()}
    check(library, model, longer, tolerance=1e-3)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check(library, model, longer)


def test_turing_has_no_tf32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drivers, "compile_cubin", lambda source, architecture: EMPTY_CUBIN)
    model = tmp_path / "products.onnx"
    products(model)
    library = tilewright.compile(model, target="sm_75", accuracy="fast").save(tmp_path / "device.so")
    assert not {each["template"] for each in read_manifest(library)["kernels"]} & {
        "tensor_core_conv2d",
        "tensor_core_matmul",
    }


FAILURES = {
    "cuInit": r"CUDA has no device here \(CUDA's error 100\)",
    "cuDeviceGetCount": "CUDA has no device here",
    "cuModuleLoadData": "was compiled for sm_86, which 'stand-in' is not: compile it for this device",
    "cuGraphInstantiateWithFlags": "'stand-in' records no steps: CUDA's error 801",
    "cuMemAlloc": "no [0-9]+ bytes on 'stand-in': CUDA's error 2",
}


def test_failures_have_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sources: list[str]) -> None:
    model, (x,) = export("odd", tmp_path / "odd.onnx")
    path = tilewright.compile(model, target="sm_86").save(tmp_path / "device.so")
    monkeypatch.setenv("TILEWRIGHT_CUDA", "/no/such/library.so")
    with pytest.raises(UserError, match="no CUDA here: '/no/such/library.so' cannot be opened; install NVIDIA"):
        load(path)
    stand_in(sources[0], tmp_path, monkeypatch)
    for failing, sentence in FAILURES.items():
        monkeypatch.setenv("STAND_IN_FAILS", failing)
        with pytest.raises((UserError, RuntimeError, MemoryError), match=sentence):
            load(path)
    monkeypatch.delenv("STAND_IN_FAILS")
    with load(path).new_instance() as instance:
        monkeypatch.setenv("STAND_IN_FAILS", "cuStreamSynchronize")
        call = instance.bind({"x": x})
        with pytest.raises(RuntimeError, match="the run failed on 'stand-in': CUDA's error 700"):
            call()
    monkeypatch.delenv("STAND_IN_FAILS")
    check(path, model, {"x": x})


def test_without_a_compiler_there_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = export("odd", tmp_path / "odd.onnx")
    monkeypatch.setenv(nvrtc.ENVIRONMENT, "/no/such/library.so")
    nvrtc._library.cache_clear()
    try:
        with pytest.raises(UserError, match=r"no NVRTC was found .* pip install 'tilewright\[cuda\]'"):
            tilewright.compile(model, target="sm_86")
    finally:
        nvrtc._library.cache_clear()


@needs_nvrtc
@pytest.mark.parametrize(("name", "accuracy"), [("transformer", "exact"), ("products", "exact"), ("products", "fast")])
def test_cubins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, accuracy: str) -> None:
    """Every kernel of a model is a function of the cubin, for every architecture; tf32 from Ampere on."""
    made: list[tuple[str, bytes]] = []

    def compile_cubin(source: str, name: str) -> bytes:
        made.append((source, nvrtc.compile_cubin(source, name)))
        return made[0][1]

    monkeypatch.setattr(drivers, "compile_cubin", compile_cubin)
    model = tmp_path / "model.onnx"
    _ = products(model) if name == "products" else export(name, model)
    library = tilewright.compile(model, target="sm_86", accuracy=accuracy).save(tmp_path / "device.so")
    ((source, own),) = made
    assert own in library.read_bytes()
    kernels = re.findall(r"__global__ void (\w+)", source)
    assert kernels
    for architecture in ARCHITECTURES[accuracy == "fast" :]:
        cubin = nvrtc.compile_cubin(source, architecture)
        assert cubin[:4] == b"\x7fELF"
        assert int.from_bytes(cubin[18:20], "little") == 190
        assert all(f".text.{name}".encode() in cubin for name in kernels)
