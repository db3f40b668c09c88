import stat
from dataclasses import replace
from pathlib import Path

import pytest

from tilewright.errors import UserError
from tilewright.targets.database import known_targets, load_target
from tilewright.targets.toolchain import TOOLCHAINS, find_toolchain

TARGET = load_target("x86-64-v3")


def fake_compiler(folder: Path, name: str, machine: str) -> None:
    """Write a program that answers as a C compiler for a machine does."""
    path = folder / name
    answers = f'case "$1" in -dumpmachine) echo {machine};; *) echo "{name} 1.2.3"; echo more;; esac'
    path.write_text(f"#!/bin/sh\n{answers}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def path_with_binutils(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("ar", "objcopy"):
        fake_compiler(tmp_path, name, "none")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    return tmp_path


def test_every_row_names_toolchains_that_exist() -> None:
    for name in known_targets():
        for toolchain in load_target(name).toolchain:
            assert toolchain in TOOLCHAINS


def test_this_machines_compiler_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    found = find_toolchain(TARGET)
    assert found.name == "native"
    assert Path(found.ar).is_file()
    assert Path(found.objcopy).is_file()
    assert found.version


def test_the_first_candidate_that_exists_is_taken(path_with_binutils: Path) -> None:
    fake_compiler(path_with_binutils, "clang", "x86_64-pc-linux-gnu")
    found = find_toolchain(TARGET)
    assert (found.cc, found.version) == (("clang",), "clang 1.2.3")
    assert found.ar == str(path_with_binutils / "ar")


def test_a_compiler_for_another_machine_is_passed_over(path_with_binutils: Path) -> None:
    fake_compiler(path_with_binutils, "gcc", "aarch64-linux-gnu")
    fake_compiler(path_with_binutils, "x86_64-linux-gnu-gcc", "x86_64-linux-gnu")
    for name in ("ar", "objcopy"):
        fake_compiler(path_with_binutils, f"x86_64-linux-gnu-{name}", "none")
    found = find_toolchain(TARGET)
    assert (found.name, found.cc) == ("x86_64-linux-gnu", ("x86_64-linux-gnu-gcc",))
    assert found.ar.endswith("x86_64-linux-gnu-ar")


def test_cc_comes_first_and_may_have_arguments(path_with_binutils: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_compiler(path_with_binutils, "gcc", "x86_64-linux-gnu")
    wrapper = path_with_binutils / "wrapper"
    answers = 'if [ "$1" = -dumpmachine ]; then echo x86_64-linux-gnu; else echo wrapped; fi'
    wrapper.write_text(f"#!/bin/sh\nshift\n{answers}\n")
    wrapper.chmod(0o755)
    monkeypatch.setenv("CC", "wrapper 'the compiler'")
    found = find_toolchain(TARGET)
    assert (found.cc, found.version) == (("wrapper", "the compiler"), "wrapped")


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("no-such-compiler -m64", "$CC is 'no-such-compiler -m64', which is no C compiler for x86_64-linux-gnu"),
        ("foreign", "$CC is 'foreign', which is no C compiler for x86_64-linux-gnu"),
        ("'open", "$CC has an unclosed quotation mark"),
    ],
)
def test_a_wrong_cc_is_an_error_rather_than_ignored(
    path_with_binutils: Path, monkeypatch: pytest.MonkeyPatch, value: str, complaint: str
) -> None:
    fake_compiler(path_with_binutils, "gcc", "x86_64-linux-gnu")
    fake_compiler(path_with_binutils, "foreign", "riscv64-linux-gnu")
    monkeypatch.setenv("CC", value)
    with pytest.raises(UserError) as raised:
        find_toolchain(TARGET)
    assert complaint in str(raised.value)


def test_no_compiler_says_what_was_tried_and_what_to_do(path_with_binutils: Path) -> None:
    with pytest.raises(UserError) as raised:
        find_toolchain(TARGET)
    assert str(raised.value) == (
        "no C compiler for x86_64-linux-gnu was found (tried gcc, cc, clang, x86_64-linux-gnu-gcc): "
        "install gcc and binutils, or name a compiler in $CC"
    )


def test_missing_binutils_are_named(path_with_binutils: Path) -> None:
    fake_compiler(path_with_binutils, "gcc", "x86_64-linux-gnu")
    (path_with_binutils / "objcopy").unlink()
    with pytest.raises(UserError, match="the program 'objcopy' was not found: install binutils"):
        find_toolchain(TARGET)


def test_an_unknown_toolchain_offers_its_neighbours() -> None:
    with pytest.raises(UserError, match=r"unknown toolchain 'nativ' \(did you mean 'native'\?\)"):
        find_toolchain(replace(TARGET, toolchain=("nativ",)))
