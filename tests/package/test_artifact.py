from __future__ import annotations

import errno
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from packaging_models import convolution_case, make, types_case

import tilewright
from tilewright.compiler.package import products
from tilewright.compiler.package.artifact import Artifact
from tilewright.compiler.package.build import build
from tilewright.compiler.pipeline import PhaseEvent
from tilewright.errors import UserError
from tilewright.runtime.manifest import read_manifest
from tilewright.targets.database import load_target


@pytest.fixture(scope="module")
def artifact() -> Artifact:
    return make(convolution_case())


def test_phases_and_report() -> None:
    case = types_case()
    events: list[PhaseEvent] = []
    made = build(case.module, case.signature, name="toy", target=load_target("host"), jobs=1, observe=events.append)
    assert [(each.name, each.module) for each in events] == [("plan", None), ("package", None)]
    assert made.report.phases == tuple((each.name, each.seconds) for each in events)
    assert (made.report.kernels, made.report.steps) == (4, 4)
    assert made.report.arena_bytes == 0
    assert made.report.weight_bytes == 0 or made.report.weight_bytes % 64 == 0
    assert made.report.library_bytes > 10_000


def test_equal_constants_are_stored_once(artifact: Artifact) -> None:
    sizes = [8 * 3 * 3 * 3 * 4, 8 * 8 * 3 * 3 * 4, 5 * 4]
    assert artifact.report.weight_bytes == sum(-(-each // 64) * 64 for each in sizes)


def test_the_manifest_is_the_same_everywhere(artifact: Artifact, tmp_path: Path) -> None:
    path = artifact.save(tmp_path / "model.so")
    manifest = read_manifest(path, verify=True)
    assert manifest == artifact.manifest == json.loads(json.dumps(artifact.manifest))
    with tilewright.runtime.load(path) as model:
        assert model.manifest == manifest
    assert manifest["signature"]["inputs"] == [{"name": "x0", "shape": [1, 3, 14, 14], "dtype": "float32"}]
    assert manifest["versions"]["tilewright"] == tilewright.__version__
    assert manifest["bytes"]["arena"] == artifact.report.arena_bytes
    assert "sse2" in manifest["target"]["features"]


def test_a_manifest_is_read_for_another_cpu(tmp_path: Path) -> None:
    path = make(types_case(), target="sapphirerapids").save(tmp_path / "model.so")
    assert read_manifest(path)["target"]["name"] == "sapphirerapids"


def corruptions() -> dict[str, Any]:
    def flip(data: bytearray, at: int) -> bytes:
        data[at] ^= 0x40
        return bytes(data)

    return {
        "cut": (lambda data: bytes(data[:-100]), "truncated|corrupted"),
        "cut in half": (lambda data: bytes(data[: len(data) // 2]), "truncated|corrupted"),
        "longer": (lambda data: bytes(data) + b"x", "corrupted"),
        "a bit of code": (lambda data: flip(data, 0x2000), "its bytes have changed"),
        "a bit of the manifest": (lambda data: flip(data, data.index(b'"abi_version"') + 3), "its bytes have changed"),
        "the manifest's brace": (lambda data: flip(data, data.index(b'{"abi_version"')), "corrupted|changed"),
        "the magic": (lambda data: flip(data, data.index(b"TILEWRGT")), "not a library made by Tilewright"),
        "text": (lambda data: b"#!/bin/sh\n", "not a shared library"),
        "nothing": (lambda data: b"", "empty"),
    }


@pytest.mark.parametrize("kind", corruptions())
def test_corrupted_libraries_are_told_apart(artifact: Artifact, tmp_path: Path, kind: str) -> None:
    change, sentence = corruptions()[kind]
    path = artifact.save(tmp_path / "model.so")
    path.write_bytes(change(bytearray(path.read_bytes())))
    with pytest.raises(UserError, match=sentence) as caught:
        read_manifest(path, verify=True)
    assert str(path) in str(caught.value)


def test_another_library_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "other.c").write_text("int other(void) { return 1; }\n")
    subprocess.run(["gcc", "-shared", "-fPIC", "other.c", "-o", "other.so"], cwd=tmp_path, check=True)
    with pytest.raises(UserError, match="not a library made by Tilewright"):
        read_manifest(tmp_path / "other.so")


def test_save_replaces_a_file_and_leaves_nothing_else(artifact: Artifact, tmp_path: Path) -> None:
    path = tmp_path / "model.so"
    path.write_bytes(b"before")
    artifact.save(path)
    artifact.save(tmp_path / "again.so")
    assert path.read_bytes() == (tmp_path / "again.so").read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_save_refuses_folders_and_missing_folders(artifact: Artifact, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="it is a folder"):
        artifact.save(tmp_path)
    with pytest.raises(UserError, match="there is no folder"):
        artifact.save(tmp_path / "nowhere" / "model.so")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no full device")
def test_a_full_disk_while_saving(artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        with open("/dev/full", "wb", buffering=0) as device:
            device.write(b"x")

    monkeypatch.setattr("shutil.copyfileobj", full)
    with pytest.raises(UserError, match="No space left on device"):
        artifact.save(tmp_path / "model.so")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_while_building(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(products, "write_weights", full)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(UserError, match="no space is left in"):
        make(types_case())
    assert list(tmp_path.iterdir()) == []


def test_the_temporary_folder_goes_with_the_artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = make(types_case())
    (folder,) = tmp_path.iterdir()
    assert [each.name for each in folder.iterdir()] == ["model.so"]
    del made
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "3d", "a-b", "a.b", "naïve"])
def test_names_that_c_cannot_have(name: str) -> None:
    with pytest.raises(UserError, match="cannot be a model's name"):
        make(types_case(), name=name)


def test_unknown_format() -> None:
    with pytest.raises(UserError, match="unknown format 'dll'"):
        make(types_case(), format="dll")
