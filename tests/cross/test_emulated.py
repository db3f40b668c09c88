"""Libraries for foreign processors, run under emulation: onnxruntime's numbers, and a sentence on the wrong CPU."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from emulation import CPUS, emulator
from house.repository import ROOT

from tilewright.compiler.api import CompileRequest, compile_model
from tilewright.compiler.package.runner import build_runner
from tilewright.runtime.manifest import read_manifest
from tilewright.targets.database import load_target

MODEL = ROOT / "examples/digits/digits.onnx"
Find = Callable[[str], Path]


def run(
    emulated: list[str], runner: Path, library: Path, folder: Path, threads: int
) -> subprocess.CompletedProcess[str]:
    rng = np.random.default_rng(3)
    (shape,) = (each["shape"] for each in read_manifest(library)["signature"]["inputs"])
    x = rng.standard_normal(shape).astype(np.float32)
    x.tofile(folder / "x.bin")
    np.save(folder / "x.npy", x)
    command = [
        *emulated,
        str(runner),
        "run",
        str(library),
        "-t",
        str(threads),
        "-o",
        str(folder / "y"),
        str(folder / "x.bin"),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("name", ["cortex-a72", "cortex-a7", "rv64gc", "rv64gcv"])
def test_a_library_computes_what_onnxruntime_does(name: str, runner: Find, digits: Find, tmp_path: Path) -> None:
    triple = load_target(name).triple
    emulated = emulator(triple, CPUS[name])
    session = onnxruntime.InferenceSession(str(MODEL), providers=["CPUExecutionProvider"])
    for threads in (1, 2):
        np.full(10, np.nan, np.float32).tofile(tmp_path / "y0.bin")
        done = run(emulated, runner(triple), digits(name), tmp_path, threads)
        assert done.returncode == 0, done.stderr
        (expected,) = session.run(None, {session.get_inputs()[0].name: np.load(tmp_path / "x.npy")})
        found = np.fromfile(tmp_path / "y0.bin", np.float32).reshape(expected.shape)
        assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("name", ["cortex-a72", "cortex-a7"])
def test_a_library_in_float16(name: str, runner: Find, tmp_path: Path) -> None:
    triple = load_target(name).triple
    emulated = emulator(triple, CPUS[name])
    artifact = compile_model(CompileRequest(MODEL, name, jobs=1, precision="fp16", strict=True))
    assert artifact is not None
    np.full(10, np.nan, np.float32).tofile(tmp_path / "y0.bin")
    done = run(emulated, runner(triple), artifact.save(tmp_path / "digits.so"), tmp_path, 1)
    assert done.returncode == 0, done.stderr
    session = onnxruntime.InferenceSession(str(MODEL), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {session.get_inputs()[0].name: np.load(tmp_path / "x.npy")})
    found = np.fromfile(tmp_path / "y0.bin", np.float32).reshape(expected.shape)
    assert 0 < np.abs(found - expected).max() <= 3e-3 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("name", "cpu", "lacking"),
    [
        ("cortex-a76", "cortex-a72", "asimddp, asimdhp, asimdrdm, atomics, fphp"),
        ("cortex-a7", "cortex-a9", "idiva, idivt, vfpv4"),
        ("rv64gcv", "rv64,v=false", "v"),
    ],
)
def test_the_wrong_processor_gets_a_sentence(
    name: str, cpu: str, lacking: str, runner: Find, digits: Find, tmp_path: Path
) -> None:
    triple = load_target(name).triple
    done = run(emulator(triple, cpu), runner(triple), digits(name), tmp_path, 1)
    assert done.returncode == 1
    sentence = f"'digits' was compiled for {name}; this CPU lacks {lacking}: compile it for this machine"
    assert done.stderr.strip() == f"{digits(name)}: {sentence}"


def test_an_interface_of_another_version_is_refused(runner: Find, digits: Find, tmp_path: Path) -> None:
    emulated = emulator("aarch64-linux-gnu", "cortex-a72")
    source = tmp_path / "old.c"
    names = ["create", "set_shapes", "output_shape", "run", "profile", "error", "free"]
    functions = "".join(f"int tilewright_{name}(void) {{ return 0; }}\n" for name in names)
    source.write_text(f"static unsigned version = 1;\nvoid* tilewright_info(void) {{ return &version; }}\n{functions}")
    library = tmp_path / "old.so"
    subprocess.run(["aarch64-linux-gnu-gcc", "-shared", "-fPIC", source, "-o", library], check=True)
    command = [*emulated, str(runner("aarch64-linux-gnu")), "run", str(library)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "the library has version 1 of the interface and this runner has 2: build both anew" in done.stderr


@pytest.mark.slow
def test_zig_alone_links_and_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("ziglang") is None and shutil.which("zig") is None:
        pytest.skip("zig is not installed: pip install ziglang")
    emulated = emulator("aarch64-linux-gnu", CPUS["rpi4"])
    programs = [name for name in ("zig", emulated[0]) if shutil.which(name)]
    (tmp_path / "bin").mkdir()
    for name in programs:
        (tmp_path / "bin" / name).symlink_to(shutil.which(name) or "")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("CC", raising=False)
    artifact = compile_model(CompileRequest(MODEL, "rpi4", jobs=1))
    assert artifact is not None
    assert artifact.manifest["versions"]["compiler"].startswith("zig ")
    program = build_runner(load_target("rpi4"), tmp_path / "runner")
    done = run(emulated, program, artifact.save(tmp_path / "digits.so"), tmp_path, 2)
    assert done.returncode == 0, done.stderr
