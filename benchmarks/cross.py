"""Every CPU target under emulation: numbers against onnxruntime, and instructions for each multiply-add.

    python -m benchmarks.cross                       all targets and models, 1 and 2 threads
    python -m benchmarks.cross --toolchain zig       the same with zig as the only toolchain
    python -m benchmarks.cross --count cortex-a72    instructions that kernels execute, counted by a plugin of qemu

Needs qemu-user and, unless --toolchain zig is given, Debian's cross compilers. Models come from benchmarks.zoo's
folder (build/models) where they are there; the digits model is always.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tilewright.compiler.api import CompileRequest, compile_model
from tilewright.compiler.package.runner import build_runner
from tilewright.targets.database import load_target

Array = NDArray[Any]

_ROOT = Path(__file__).resolve().parents[1]
_MODELS = {
    "digits ResNet": _ROOT / "examples/digits/digits.onnx",
    "MobileNetV2": _ROOT / "build/models/mobilenet_v2.onnx",
    "LSTM": _ROOT / "build/models/lstm.onnx",
}
#: The emulator's program and its name for the CPU.
_EMULATED = {
    "cortex-a53": ("qemu-aarch64", "cortex-a53"),
    "cortex-a72": ("qemu-aarch64", "cortex-a72"),
    "cortex-a76": ("qemu-aarch64", "cortex-a76"),
    "neoverse-n2": ("qemu-aarch64", "max"),
    "cortex-a7": ("qemu-arm", "cortex-a7"),
    "rv64gc": ("qemu-riscv64", "rv64,v=false"),
    "rv64gcv": ("qemu-riscv64", "rv64,v=true,vlen=128"),
}
_ALLOWED = 1e-5


@dataclass(frozen=True)
class Board:
    """An emulated processor with a runner on it."""

    target: str
    emulator: tuple[str, ...]
    runner: Path
    toolchain: str | None

    @staticmethod
    def of(target: str, folder: Path, toolchain: str | None) -> Board:
        """Build the runner for a target."""
        program, cpu = _EMULATED[target]
        triple = load_target(target).triple
        runner = build_runner(load_target(target), folder / f"runner-{target}", toolchain)
        return Board(target, (program, "-L", f"/usr/{triple}", "-cpu", cpu), runner, toolchain)

    def compile(self, model: Path, folder: Path, accuracy: str = "default") -> tuple[Path, int]:
        """Compile a model for this processor; return the library, and its bytes without the weights."""
        request = CompileRequest(model, self.target, accuracy=accuracy, toolchain=self.toolchain)
        artifact = compile_model(request)
        assert artifact is not None
        path = artifact.save(folder / f"{model.stem}-{self.target}-{accuracy}.so")
        return path, artifact.report.library_bytes - artifact.report.weight_bytes

    def run(self, library: Path, folder: Path, inputs: list[Array], options: list[str]) -> str:
        """Run a library on inputs; outputs go to y<i>.bin in the folder. Returns what it wrote to standard error."""
        files = [folder / f"x{at}.bin" for at in range(len(inputs))]
        for file, array in zip(files, inputs, strict=True):
            array.tofile(file)
        command = [*self.emulator, self.runner, "run", library, *options, "-o", folder / "y", *files]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, errors="replace")
        if done.returncode:
            raise RuntimeError(f"{self.target}: {done.stderr.strip()}")
        return done.stderr


def random_inputs(session: onnxruntime.InferenceSession) -> list[Array]:
    """Return inputs of the shapes a model states."""
    rng = np.random.default_rng(0)
    return [rng.standard_normal(each.shape).astype(np.float32) for each in session.get_inputs()]


def encoder_layer(path: Path, rows: int = 64, width: int = 768, heads: int = 12) -> Path:
    """Write a layer of BERT-base's sizes: attention over heads, layer norms, a perceptron with GELU."""
    import torch
    from torch import nn

    class Layer(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
            self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = self.qkv(x).reshape(1, rows, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
            weights = torch.softmax(q @ k.transpose(-1, -2) / (width // heads) ** 0.5, -1)
            x = self.first(x + self.out((weights @ v).transpose(1, 2).reshape(1, rows, width)))
            return self.second(x + self.perceptron(x))

    torch.manual_seed(0)
    torch.onnx.export(Layer().eval(), (torch.randn(1, rows, width),), path, dynamo=False, opset_version=17)
    return path


def check_models(targets: list[str], toolchain: str | None) -> Iterator[tuple[str, ...]]:
    """Yield a row for each target, model and number of threads."""
    with tempfile.TemporaryDirectory(prefix="tilewright-") as name:
        folder = Path(name)
        models = {title: path for title, path in _MODELS.items() if path.is_file()}
        models["BERT layer"] = encoder_layer(folder / "bert_layer.onnx")
        for target in targets:
            board = Board.of(target, folder, toolchain)
            for title, path in models.items():
                session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
                inputs = random_inputs(session)
                names = [each.name for each in session.get_inputs()]
                expected = session.run(None, dict(zip(names, inputs, strict=True)))
                library, code_bytes = board.compile(path, folder)
                worst = [_error(board, library, folder, inputs, expected, threads) for threads in (1, 2)]
                verdict = "ok" if max(worst) <= _ALLOWED else "TOO FAR"
                yield target, title, *(f"{each:.1e}" for each in worst), f"{code_bytes >> 10} KiB", verdict
                library.unlink()


def _error(
    board: Board, library: Path, folder: Path, inputs: list[Array], expected: list[Array], threads: int
) -> float:
    """Return the largest error, relative to the largest element of the output; NaN is infinitely far."""
    for at, array in enumerate(expected):
        np.full(array.shape, np.nan, np.float32).tofile(folder / f"y{at}.bin")
    board.run(library, folder, inputs, ["-t", str(threads)])
    worst = 0.0
    for at, array in enumerate(expected):
        found = np.fromfile(folder / f"y{at}.bin", array.dtype).reshape(array.shape)
        error = float(np.abs(found - array).max() / np.abs(array).max())
        worst = max(worst, error if np.isfinite(error) else np.inf)
    return worst


@dataclass(frozen=True)
class Kernel:
    """An operator whose result has the shape of its input, so that several make a chain.

    Attributes:
        node: its ONNX operator and attributes.
        weight: the shape of its weights.
        shape: that of its input and output.
        multiply_adds: of its definition, those of padded taps too.
    """

    title: str
    node: tuple[str, dict[str, Any]]
    weight: tuple[int, ...]
    shape: tuple[int, ...]
    multiply_adds: int
    accuracy: str = "exact"

    def write(self, path: Path, length: int) -> Path:
        """Write a model of a chain of this operator."""
        rng = np.random.default_rng(0)
        operator, attributes = self.node
        nodes = [helper.make_node(operator, [f"x{at}", f"w{at}"], [f"x{at + 1}"], **attributes) for at in range(length)]
        weights = [rng.standard_normal(self.weight).astype(np.float32) * np.float32(0.05) for _ in range(length)]
        initial = [numpy_helper.from_array(each, f"w{at}") for at, each in enumerate(weights)]
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, self.shape) for name in ("x0", f"x{length}")]
        graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], initial)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        return path


def _convolution(title: str, channels: int, size: int, window: int, groups: int = 1, **more: str) -> Kernel:
    attributes = {"group": groups, "kernel_shape": [window] * 2, "pads": [window // 2] * 4}
    weight = (channels, channels // groups, window, window)
    multiply_adds = channels * channels // groups * window * window * size * size
    return Kernel(title, ("Conv", attributes), weight, (1, channels, size, size), multiply_adds, **more)


KERNELS = (
    _convolution("3x3 convolution, 64 channels at 28x28, direct", 64, 28, 3),
    _convolution("3x3 convolution, 64 channels at 28x28, Winograd", 64, 28, 3, accuracy="default"),
    _convolution("1x1 convolution, 128 channels at 28x28", 128, 28, 1),
    Kernel("matrix product, 128 x 256 x 256", ("MatMul", {}), (256, 256), (128, 256), 128 * 256 * 256),
    _convolution("depthwise 3x3 convolution, 96 channels at 56x56", 96, 56, 3, 96),
)


def count(target: str, toolchain: str | None) -> Iterator[tuple[str, ...]]:
    """Yield a row for each kernel: instructions of a run for each vector multiply-add of its definition.

    What starting takes cancels out between one run and four, conversions of layouts between chains of one and three.
    """
    with tempfile.TemporaryDirectory(prefix="tilewright-") as name:
        folder = Path(name)
        board = Board.of(target, folder, toolchain)
        plugin = folder / "count.so"
        source = Path(__file__).with_name("count_instructions.c")
        subprocess.run(["gcc", "-O2", "-shared", "-fPIC", source, "-o", plugin], check=True)
        counting = Board(target, (*board.emulator, "-plugin", str(plugin)), board.runner, toolchain)
        lanes = load_target(target).lanes()
        for kernel in KERNELS:
            one, three = (_executed(counting, kernel, length, folder) for length in (1, 3))
            yield kernel.title, f"{(three - one) / 2 / kernel.multiply_adds * lanes:.2f}", "1.00"


def _executed(board: Board, kernel: Kernel, length: int, folder: Path) -> float:
    """Return the instructions of one run of a chain."""
    library, _ = board.compile(kernel.write(folder / f"chain{length}.onnx", length), folder, kernel.accuracy)
    inputs = [np.random.default_rng(0).standard_normal(kernel.shape).astype(np.float32)]
    once, more = (_instructions(board.run(library, folder, inputs, ["-t", "1", "-r", str(n)])) for n in (1, 4))
    return (more - once) / 3


def _instructions(text: str) -> int:
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("instructions ")))


def main() -> int:
    """Print the rows as they are found; return 1 if one is too far."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", action="append", choices=list(_EMULATED), help="only this one; may be repeated")
    parser.add_argument("--toolchain", help="in place of the target's own")
    parser.add_argument("--count", metavar="TARGET", choices=list(_EMULATED), help="count instructions")
    options = parser.parse_args()
    rows = (
        count(options.count, options.toolchain)
        if options.count
        else check_models(options.target or list(_EMULATED), options.toolchain)
    )
    failed = False
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)
        failed |= row[-1] == "TOO FAR"
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
