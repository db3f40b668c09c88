import importlib.util
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
    answers = (
        f'case "$1" in -dumpmachine) echo {machine};; *) echo "{name} 1.2.3"; [ "$1" = version ] || echo more;; esac'
    )
    path.write_text(f"#!/bin/sh\n{answers}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def path_with_binutils(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    fake_compiler(tmp_path, "ar", "none")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.delenv("CC", raising=False)
    return tmp_path


def test_every_row_names_toolchains_that_exist() -> None:
    for name in known_targets():
        target = load_target(name)
        assert set(target.toolchain) <= set(TOOLCHAINS)
        assert target.arch == "c" or {"native", "zig"} <= set(target.toolchain)


def test_this_machines_compiler_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    found = find_toolchain(TARGET)
    assert found.name == "native"
    assert Path(found.ar[0]).is_file()
    assert found.version


def test_the_first_candidate_that_exists_is_taken(path_with_binutils: Path) -> None:
    fake_compiler(path_with_binutils, "clang", "x86_64-pc-linux-gnu")
    found = find_toolchain(TARGET)
    assert (found.cc, found.version) == (("clang",), "clang 1.2.3")
    assert found.ar == (str(path_with_binutils / "ar"),)


def test_a_compiler_for_another_machine_is_passed_over(path_with_binutils: Path) -> None:
    fake_compiler(path_with_binutils, "gcc", "aarch64-linux-gnu")
    fake_compiler(path_with_binutils, "x86_64-linux-gnu-gcc", "x86_64-linux-gnu")
    fake_compiler(path_with_binutils, "x86_64-linux-gnu-ar", "none")
    found = find_toolchain(TARGET)
    assert (found.name, found.cc) == ("x86_64-linux-gnu", ("x86_64-linux-gnu-gcc",))
    assert found.ar[0].endswith("x86_64-linux-gnu-ar")


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
        "no C compiler for x86_64-linux-gnu was found (tried gcc, cc, clang, x86_64-linux-gnu-gcc, zig): "
        "install gcc and binutils, or name a compiler in $CC, or install Debian's gcc-x86-64-linux-gnu, "
        "or install the Python package ziglang (pip install ziglang)"
    )


@pytest.mark.parametrize(
    ("target", "triple", "package"),
    [
        ("rpi4", "aarch64-linux-gnu", "gcc-aarch64-linux-gnu"),
        ("rpi2", "arm-linux-gnueabihf", "gcc-arm-linux-gnueabihf"),
        ("rv64gc", "riscv64-linux-gnu", "gcc-riscv64-linux-gnu"),
    ],
)
def test_a_cross_compiler_is_found_or_its_package_named(
    path_with_binutils: Path, target: str, triple: str, package: str
) -> None:
    fake_compiler(path_with_binutils, "gcc", "x86_64-linux-gnu")
    with pytest.raises(UserError) as raised:
        find_toolchain(load_target(target))
    assert f"no C compiler for {triple} was found" in str(raised.value)
    assert f"install Debian's {package}" in str(raised.value)
    fake_compiler(path_with_binutils, f"{triple}-gcc", triple)
    fake_compiler(path_with_binutils, f"{triple}-ar", "none")
    found = find_toolchain(load_target(target))
    assert (found.name, found.cc) == (triple, (f"{triple}-gcc",))


def test_a_soft_float_compiler_is_no_hard_float_one(path_with_binutils: Path) -> None:
    fake_compiler(path_with_binutils, "gcc", "arm-linux-gnueabi")
    with pytest.raises(UserError, match="no C compiler for arm-linux-gnueabihf"):
        find_toolchain(load_target("rpi2"))


def test_cc_for_this_machine_does_not_hinder_cross_compilation(
    path_with_binutils: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_compiler(path_with_binutils, "own", "x86_64-linux-gnu")
    fake_compiler(path_with_binutils, "zig", "none")
    monkeypatch.setenv("CC", "own")
    assert find_toolchain(load_target("rpi4")).name == "zig"


@pytest.mark.parametrize(
    ("wanted", "target", "triple"),
    [
        ("zig", "rpi4", "aarch64-linux-gnu"),
        ("zig:musl", "rpi4", "aarch64-linux-musl"),
        ("zig:musl", "rpi2", "arm-linux-musleabihf"),
        ("zig:2.17", "rpi4", "aarch64-linux-gnu.2.17"),
    ],
)
def test_zig_takes_its_c_library_from_the_variant(
    path_with_binutils: Path, wanted: str, target: str, triple: str
) -> None:
    fake_compiler(path_with_binutils, "zig", "none")
    found = find_toolchain(load_target(target), wanted)
    assert (found.name, found.cc, found.ar) == (wanted, ("zig", "cc", "-target", triple), ("zig", "ar"))
    assert found.version == "zig zig 1.2.3"


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        ("zigg", "unknown toolchain 'zigg' (did you mean 'zig'?)"),
        ("zig:glibc", "toolchain 'zig:glibc': the variant is 'musl' or a version of glibc such as 2.17"),
        ("native:musl", "toolchain 'native:musl': only 'zig' has variants"),
        ("zig", "no C compiler for x86_64-linux-gnu was found (tried zig): install the Python package ziglang"),
    ],
)
def test_a_wanted_toolchain_that_there_is_not(path_with_binutils: Path, wanted: str, complaint: str) -> None:
    with pytest.raises(UserError) as raised:
        find_toolchain(TARGET, wanted)
    assert complaint in str(raised.value)


def test_missing_binutils_are_named(path_with_binutils: Path) -> None:
    fake_compiler(path_with_binutils, "gcc", "x86_64-linux-gnu")
    (path_with_binutils / "ar").unlink()
    with pytest.raises(UserError, match="the program 'ar' was not found: install binutils"):
        find_toolchain(TARGET)


def test_an_unknown_toolchain_offers_its_neighbours() -> None:
    with pytest.raises(UserError, match=r"unknown toolchain 'nativ' \(did you mean 'native'\?\)"):
        find_toolchain(replace(TARGET, toolchain=("nativ",)))
