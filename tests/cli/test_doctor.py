from __future__ import annotations

import importlib.metadata
import json
import stat
import sys
from pathlib import Path

import pytest
from cli.conftest import Call


def findings(call: Call, code: int = 0) -> dict[str, dict[str, str]]:
    result = call("doctor", "--json")
    assert result.code == code, result.err
    return {each["subject"]: each for each in json.loads(result.out)}


@pytest.fixture
def quick_tvm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing TVM takes seconds; one test does it in earnest."""
    from tilewright.compiler import doctor

    monkeypatch.setattr(doctor, "_tvm", lambda: doctor.Finding("tvm loads", "ok", ""))


def test_this_machine_is_well(call: Call) -> None:
    found = findings(call)
    assert {each["verdict"] for each in found.values()} <= {"ok", "missing"}
    assert found["tvm loads"]["detail"].startswith("0.27.0")
    assert found["apache-tvm-ffi"]["detail"] == importlib.metadata.version("apache-tvm-ffi")
    assert sys.executable in found["python"]["detail"]
    assert "gcc" in found["C compiler"]["detail"]
    assert found["linking"]["verdict"] == "ok"
    assert "L1" in found["caches"]["detail"]


@pytest.mark.usefixtures("quick_tvm")
def test_targets_without_a_compiler_are_no_row(call: Call) -> None:
    subjects = [each["subject"] for each in json.loads(call("doctor", "--json").out)]
    assert "for aarch64-linux-gnu" in subjects
    assert "for any" not in subjects


def test_no_compiler_is_bad(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    found = findings(call, code=2)
    assert found["C compiler"]["verdict"] == "bad"
    assert "install gcc" in found["C compiler"]["detail"]
    quiet = call("doctor", "-q")
    assert quiet.code == 2
    assert quiet.out.splitlines()[0].startswith("C compiler  BAD")
    assert len(quiet.out.splitlines()) == 1


@pytest.mark.usefixtures("quick_tvm")
def test_a_compiler_without_headers_is_bad(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "gcc"
    broken.write_text(
        '#!/bin/sh\ncase "$1" in\n-dumpmachine) echo x86_64-linux-gnu;;\n--version) echo gcc 1;;\n'
        '*) echo "fatal error: math.h: No such file" >&2; exit 1;;\nesac\n'
    )
    broken.chmod(broken.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CC", str(broken))
    found = findings(call, code=2)
    assert found["C compiler"]["verdict"] == "ok"
    assert found["linking"]["verdict"] == "bad"
    assert found["linking"]["detail"].startswith("fatal error: math.h: No such file: install the C library's headers")


@pytest.mark.usefixtures("quick_tvm")
def test_missing_and_wrong_packages_are_told_apart(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name in ("openvino", "rich"):
            raise importlib.metadata.PackageNotFoundError(name)
        return "0.1.99" if name == "apache-tvm-ffi" else real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    found = findings(call, code=2)
    assert found["openvino"]["verdict"] == "missing"
    assert found["rich"]["verdict"] == "bad"
    assert found["rich"]["detail"].startswith("not installed; pip install 'rich")
    assert found["apache-tvm-ffi"]["verdict"] == "bad"
    assert "0.1.99, but 0.1.14" in found["apache-tvm-ffi"]["detail"]


@pytest.mark.usefixtures("quick_tvm")
def test_a_build_of_the_pinned_version_is_ok(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: ["numpy==1.2.3", "rich==1.2"])
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.2.3+cpu")
    found = findings(call, code=2)
    assert found["numpy"]["verdict"] == "ok"
    assert found["rich"]["verdict"] == "bad"


def test_a_tvm_that_dies_is_bad(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tvm.py").write_text("raise ImportError('libtvm.so: cannot open')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = findings(call, code=2)
    assert found["tvm loads"] == {
        "subject": "tvm loads",
        "verdict": "bad",
        "detail": "ImportError: libtvm.so: cannot open",
    }
