"""Archives, objects, sources and bundles for foreign processors: what they hold, read on this one."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from emulation import CPUS, emulator
from house.repository import ROOT

from tilewright.compiler.api import CompileRequest, compile_model
from tilewright.compiler.inspect_library import inspect_library
from tilewright.compiler.package.artifact import Artifact
from tilewright.compiler.package.bundle import read_bundle, write_bundle
from tilewright.errors import UserError

MODEL = ROOT / "examples/digits/digits.onnx"
FUNCTIONS = {"info", "create", "set_shapes", "output_shape", "run", "profile", "error", "free"}


def global_symbols(triple: str, path: Path) -> set[str]:
    """The functions and data that a program linked with this could use."""
    command = [f"{triple}-nm", "-g", "--defined-only", path]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {line.split()[-1] for line in text.splitlines() if " " in line}


def product(target: str, kind: str, path: Path) -> Path:
    artifact = compile_model(CompileRequest(MODEL, target, format=kind, jobs=1))
    assert artifact is not None
    return artifact.save(path)


def test_an_archive_is_linked_into_a_static_program(tmp_path: Path) -> None:
    emulated = emulator("aarch64-linux-gnu", CPUS["rpi4"])
    folder = product("rpi4", "static", tmp_path / "digits")
    for path in (folder, folder / "libdigits.a"):
        found = inspect_library(path)
        assert (found.name, found.target, found.triple) == ("digits", "rpi4", "aarch64-linux-gnu")
    defined = global_symbols("aarch64-linux-gnu", folder / "libdigits.a")
    assert {each.removeprefix("digits_tilewright_") for each in defined} == FUNCTIONS
    program = tmp_path / "program"
    sources = [ROOT / "examples/c/static_link.c", ROOT / "examples/c/tensors.c"]
    command = ["aarch64-linux-gnu-gcc", "-std=c11", "-static", "-DTILEWRIGHT_MODEL=digits", f"-I{folder}"]
    libraries = [folder / "libdigits.a", "-lm", "-pthread"]
    subprocess.run([*command, f"-I{ROOT}/examples/c", *sources, *libraries, "-o", program], check=True)
    done = subprocess.run([emulated[0], *emulated[3:], program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "float32" in done.stdout or "[" in done.stdout


def test_an_object_of_32_bits_exports_the_models_functions_only(tmp_path: Path) -> None:
    emulator("arm-linux-gnueabihf", CPUS["cortex-a7"])
    folder = product("cortex-a7", "obj", tmp_path / "digits")
    assert inspect_library(folder / "digits.o").target == "cortex-a7"
    defined = global_symbols("arm-linux-gnueabihf", folder / "digits.o")
    assert {each.removeprefix("digits_tilewright_") for each in defined} == FUNCTIONS


def test_sources_are_built_by_their_makefile(tmp_path: Path) -> None:
    emulator("riscv64-linux-gnu", CPUS["rv64gc"])
    folder = product("rv64gc", "c", tmp_path / "digits")
    assert "add_library(digits SHARED" in (folder / "CMakeLists.txt").read_text()
    subprocess.run(["make", "-s", "-C", folder, "CC=riscv64-linux-gnu-gcc"], check=True)
    assert inspect_library(folder / "digits.so").target == inspect_library(folder).target == "rv64gc"


@pytest.fixture
def libraries(digits: Callable[[str], Path]) -> Callable[[str], Artifact]:
    """Make artifacts whose libraries were compiled for other tests of the session."""

    class Compiled(Artifact):
        def __init__(self, target: str) -> None:
            self.path = digits(target)
            about = inspect_library(self.path)
            self.manifest = {
                "name": about.name,
                "target": {"name": about.target, "triple": about.triple, "features": about.features},
            }

        def save(self, path: str | Path) -> Path:
            Path(path).write_bytes(self.path.read_bytes())
            return Path(path)

    return Compiled


def test_a_bundle_holds_a_library_for_each_target(libraries: Callable[[str], Artifact], tmp_path: Path) -> None:
    emulator("aarch64-linux-gnu", "cortex-a72")
    paths = [tmp_path / "boards.tar", tmp_path / "again.tar"]
    made = [write_bundle(libraries, ["cortex-a72", "x86-64-v2"], path) for path in paths]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    found = read_bundle(paths[0], check=True)
    assert found == made[0]
    assert [each.triple for each in found.libraries] == ["aarch64-linux-gnu", "x86_64-linux-gnu"]
    with tarfile.open(paths[0]) as archive:
        names = archive.getnames()
        archive.extractall(tmp_path / "out", filter="data")
    assert names == ["manifest.json", "tilewright.h", "cortex-a72/digits.so", "x86-64-v2/digits.so"]
    assert inspect_library(tmp_path / "out/cortex-a72/digits.so", check=True).target == "cortex-a72"


def test_a_bundle_of_one_target_twice_is_refused(libraries: Callable[[str], Artifact], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the target 'rpi4' is named twice"):
        write_bundle(libraries, ["rpi4", "rpi4"], tmp_path / "boards.tar")
    assert not list(tmp_path.iterdir())


def bundle_with(path: Path, manifest: bytes, **files: bytes) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in {"manifest.json": manifest, **files}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


LIBRARY = {"target": "t", "triple": "x", "features": [], "file": "lib", "bytes": 3, "sha256": "0"}


@pytest.mark.parametrize(
    ("manifest", "complaint"),
    [
        (b"{", "the manifest of the bundle is damaged"),
        (b'{"version": 2}', "the bundle has version 2, this Tilewright reads version 1"),
        (b'{"version": 1, "name": "x", "libraries": [{}]}', "the manifest of the bundle is damaged"),
        (json.dumps({"version": 1, "name": "x", "libraries": [LIBRARY]}).encode(), "'lib' has changed"),
    ],
)
def test_a_damaged_bundle_is_a_user_error(tmp_path: Path, manifest: bytes, complaint: str) -> None:
    path = bundle_with(tmp_path / "boards.tar", manifest, lib=b"abc")
    with pytest.raises(UserError, match=complaint):
        read_bundle(path, check=True)


@pytest.mark.parametrize("data", [b"", b"no archive", b"\0" * 2048])
def test_what_is_no_bundle_is_a_user_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "boards.tar"
    path.write_bytes(data)
    with pytest.raises(UserError, match="is no bundle made by Tilewright, or is damaged"):
        read_bundle(path)
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_bundle(tmp_path / "none.tar")


@pytest.mark.parametrize("data", [b"!<arch>\n", b"\x7fELF" + b"TILEWRGT" + b"\1\0\0\0\xff\xff\xff\xff", b"x" * 100])
def test_what_has_no_manifest_is_a_user_error(tmp_path: Path, data: bytes) -> None:
    for name in ("a.a", "a.o"):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=r"has no manifest of Tilewright: give the folder"):
            inspect_library(tmp_path / name)
