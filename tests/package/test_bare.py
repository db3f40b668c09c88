"""Bare C: sources without warnings, onnxruntime's numbers, and Thumb code that classifies on emulated boards."""

from __future__ import annotations

import ctypes
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import control_flow_models as flow
import numpy as np
import onnx
import onnxruntime
import pytest
from house.repository import ROOT
from numpy.typing import NDArray
from onnx import helper
from onnx_models import model_of
from small_nets import NETS, export
from tools import needs

import tilewright
from tilewright.errors import UserError

Array = NDArray[Any]
STRICT = ["gcc", "-std=c11", "-pedantic", "-Wall", "-Wextra", "-Werror"]
DIGITS = ROOT / "examples/digits"
BOARD = ROOT / "tests/bare"
MOST_THUMB_BYTES = 64 << 10


def compile_bare(model: Path, folder: Path, **options: Any) -> Path:
    made = tilewright.compile(model, target="c-generic", format="c", **options)
    return made.save(folder / "c")


def shared(folder: Path, name: str, *flags: str) -> ctypes.CDLL:
    """Compile the sources for this machine; with the sanitizer a read out of bounds ends the process."""
    sources = [each.name for each in folder.glob("*.c")]
    command = [*STRICT, "-O2", *flags, "-fPIC", "-shared", *sources, "-lm", "-o", f"{name}.so"]
    subprocess.run(command, cwd=folder, check=True)
    return ctypes.CDLL(str(folder / f"{name}.so"))


def run(library: ctypes.CDLL, name: str, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
    arrays = [np.ascontiguousarray(each) for each in inputs]
    library[f"{name}_run"](*(ctypes.c_void_p(each.ctypes.data) for each in (*arrays, *outputs)))


def expected(model: Path, inputs: Sequence[Array]) -> list[Array]:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return session.run(None, {each.name: array for each, array in zip(session.get_inputs(), inputs, strict=True)})


def check(model: Path, folder: Path, inputs: Sequence[Array]) -> Path:
    """Assert that the sources give onnxruntime's numbers, twice: nothing is left over from a run."""
    made = compile_bare(model, folder)
    library = shared(made, model.stem)
    wanted = expected(model, inputs)
    for _ in range(2):
        outputs = [np.full(each.shape, 255, "uint8").repeat(each.itemsize, -1).view(each.dtype)
                   if each.ndim else np.array(0, each.dtype) for each in wanted]  # fmt: skip
        run(library, model.stem, inputs, outputs)
        for got, want in zip(outputs, wanted, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5 * float(np.abs(want).max()))
    return made


@pytest.mark.parametrize("name", NETS)
def test_networks(tmp_path: Path, name: str) -> None:
    model, inputs = export(name, tmp_path / f"{name}.onnx")
    check(model, tmp_path, inputs)


def test_recurrent_layers_of_both_directions(tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    constants = {
        name: draw.standard_normal(shape).astype("float32") / 4
        for name, shape in {"w": (2, 48, 9), "r": (2, 48, 12), "b": (2, 96)}.items()
    }
    node = helper.make_node("LSTM", ["x", "w", "r", "b"], ["y", "h", "c"], hidden_size=12, direction="bidirectional")
    x = draw.standard_normal((6, 2, 9)).astype("float32")
    made = model_of([node], {"x": x}, constants)
    onnx.save(made, tmp_path / "lstm.onnx")
    check(tmp_path / "lstm.onnx", tmp_path, [x])


def test_integers_booleans_and_two_outputs(tmp_path: Path) -> None:
    draw = np.random.default_rng(4)
    x, n = draw.standard_normal((3, 5)).astype("float32"), draw.integers(-9, 9, (3, 5))
    nodes = [
        helper.make_node("Greater", ["x", "zero"], ["positive"]),
        helper.make_node("Where", ["positive", "n", "most"], ["chosen"]),
        helper.make_node("Erf", ["x"], ["e"]),
        helper.make_node("Cast", ["e"], ["small"], to=onnx.TensorProto.INT8),
        helper.make_node("ReduceMin", ["chosen"], ["least"], axes=[1], keepdims=0),
    ]
    constants = {"zero": np.zeros((), "float32"), "most": np.full((1, 5), -(1 << 63), "int64")}
    made = model_of(nodes, {"x": x, "n": n}, constants, outputs=["positive", "small", "least"])
    onnx.save(made, tmp_path / "kinds.onnx")
    check(tmp_path / "kinds.onnx", tmp_path, [x, n])


def test_control_flow(tmp_path: Path) -> None:
    inner = flow.body(
        [helper.make_node("Add", ["h", "half"], ["k"]), helper.make_node("Identity", ["going"], ["on"])],
        [flow.value("i", flow.INT64), flow.value("going", flow.BOOL), flow.value("h", flow.FLOAT, (2,))],
        [flow.value("on", flow.BOOL), flow.value("k", flow.FLOAT, (2,))],
        {"half": np.array([0.5, 0.25], "float32")},
    )
    nodes = [helper.make_node("Loop", ["trips", "", "x"], ["y"], body=inner)]
    x, trips = np.array([1, 2], "float32"), np.array(5, "int64")
    onnx.save(flow.model(nodes, {"x": x, "trips": trips}, [flow.value("y", flow.FLOAT, (2,))]), tmp_path / "loop.onnx")
    check(tmp_path / "loop.onnx", tmp_path, [x, trips])


def test_weights_from_a_file_and_no_access_out_of_bounds(tmp_path: Path) -> None:
    model, inputs = export("odd", tmp_path / "odd.onnx")
    made = compile_bare(model, tmp_path)
    (wanted,) = expected(model, inputs)
    program = f"""
#include <stdio.h>
#include "odd.h"
static _Alignas(8) unsigned char weights[ODD_WEIGHT_BYTES];
static float x[{inputs[0].size}], y[{wanted.size}];
int main(void) {{
  FILE* file = fopen("odd_weights.bin", "rb");
  if (!file || fread(weights, 1, sizeof weights, file) != sizeof weights) return 1;
  if (fread(x, sizeof *x, {inputs[0].size}, stdin) != {inputs[0].size}) return 2;
  odd_set_weights(weights);
  odd_run(x, y);
  return fwrite(y, sizeof *y, {wanted.size}, stdout) != {wanted.size};
}}
"""
    (made / "main.c").write_text(program)
    flags = ["-DODD_WEIGHTS_EXTERNAL", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover"]
    subprocess.run([*STRICT, *flags, "main.c", "odd.c", "-lm", "-o", "main"], cwd=made, check=True)
    done = subprocess.run(["./main"], cwd=made, input=inputs[0].tobytes(), capture_output=True)
    assert done.returncode == 0, done.stderr
    got = np.frombuffer(done.stdout, "float32").reshape(wanted.shape)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


def test_sources_use_no_heap_threads_or_files(tmp_path: Path) -> None:
    model, _ = export("transformer", tmp_path / "transformer.onnx")
    made = compile_bare(model, tmp_path)
    subprocess.run([*STRICT, "-Os", "-c", "transformer.c"], cwd=made, check=True)
    listed = subprocess.run(["nm", "-u", "transformer.o"], cwd=made, capture_output=True, text=True, check=True)
    known = {"memcpy", "memset", "transformer_weights", "expf", "sqrtf", "erff", "tanhf", "_GLOBAL_OFFSET_TABLE_"}
    assert {line.split()[-1] for line in listed.stdout.splitlines()} <= known


def test_shared_libraries_are_refused() -> None:
    with pytest.raises(UserError, match="no shared libraries: give --format c, static or obj"):
        tilewright.compile(DIGITS / "digits.onnx", target="cortex-m4")
    with pytest.raises(UserError, match="no shared libraries: give --format c$"):
        tilewright.compile(DIGITS / "digits.onnx", target="c-generic")
    with pytest.raises(UserError, match="'c-generic' names no compiler: give --format c"):
        tilewright.compile(DIGITS / "digits.onnx", target="c-generic", format="static")


def test_sizes_of_run_time_are_refused(tmp_path: Path) -> None:
    x = np.zeros((2, 3), "float32")
    made = model_of([helper.make_node("Relu", ["x"], ["y"])], {"x": x})
    for each in (*made.graph.input, *made.graph.output):
        each.type.tensor_type.shape.dim[0].dim_param = "n"
    onnx.save(made, tmp_path / "any.onnx")
    with pytest.raises(UserError, match="the size of 'x' is known at run time only: give --input-shapes"):
        compile_bare(tmp_path / "any.onnx", tmp_path, input_shapes={"x": ("n<=4", 3)})
    assert not (tmp_path / "c").exists()


def classified(folder: Path, processor: str, board: str, images: Array) -> tuple[str, int]:
    """Return the digits that a board sees in images, and the bytes of the model's Thumb code."""
    made = tilewright.compile(DIGITS / "digits.onnx", target=processor, format="static").save(folder / "model")
    rows = ",\n".join("{" + ", ".join(map(str, image.reshape(-1))) + "}" for image in images)
    (folder / "images.h").write_text(
        f"#define IMAGES {len(images)}\nstatic const unsigned char images[IMAGES][64] = {{{rows}}};\n"
    )
    flags = [f"-mcpu={processor}", "-mthumb", "-mfloat-abi=hard", "-Imodel", "-I.", "-nostartfiles"]
    sources = [str(BOARD / "startup.c"), str(BOARD / "digits.c"), "model/libdigits.a", "-lm"]
    command = ["arm-none-eabi-gcc", "-std=gnu11", "-Os", *flags, "-T", str(BOARD / "board.ld"), *sources]
    subprocess.run([*command, "-o", "digits.elf"], cwd=folder, check=True)
    machine = ["qemu-system-arm", "-M", board, "-nographic", "-semihosting-config", "enable=on,target=native"]
    done = subprocess.run([*machine, "-kernel", "digits.elf"], cwd=folder, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    said = (done.stdout + done.stderr).strip()
    return said, json.loads((made / "manifest.json").read_text())["bytes"]["code"]


def onnxruntime_says(images: Array) -> str:
    session = onnxruntime.InferenceSession(str(DIGITS / "digits.onnx"), providers=["CPUExecutionProvider"])
    pixels = images.reshape(-1, 1, 1, 8, 8).astype("float32") / 16
    return "".join(str(session.run(None, {"image": each})[0].argmax()) for each in pixels)


@needs("arm-none-eabi-gcc", "qemu-system-arm", packages="gcc-arm-none-eabi, libnewlib-arm-none-eabi, qemu-system-arm")
@pytest.mark.parametrize(
    ("processor", "board", "every"), [("cortex-m4", "mps2-an386", 1), ("cortex-m7", "mps2-an500", 30)]
)
def test_digits_on_a_board(tmp_path: Path, processor: str, board: str, every: int) -> None:
    with np.load(DIGITS / "test.npz") as data:
        images = data["images"][::every]
    said, code_bytes = classified(tmp_path, processor, board, images)
    assert said == onnxruntime_says(images)
    assert len(said) == len(images)
    assert 0 < code_bytes <= MOST_THUMB_BYTES
