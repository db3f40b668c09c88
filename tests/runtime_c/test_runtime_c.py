"""The parts of the C runtime, each tested by a C program of its own."""

from __future__ import annotations

import platform
import re
import subprocess
from pathlib import Path

import pytest

from tilewright.targets.database import known_targets, load_target

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "runtime" / "src"
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror"]
X86 = platform.machine() == "x86_64"


def compiled(folder: Path, test: str, *sources: str, flags: tuple[str, ...] = ()) -> Path:
    files = [HERE / f"{test}.c", *(SOURCES / each for each in sources)]
    command = ["gcc", "-std=c11", "-O2", "-g", *WARNINGS, *flags, f"-I{SOURCES}", f"-I{SOURCES.parent / 'include'}"]
    subprocess.run([*command, *map(str, files), "-pthread", "-o", test], cwd=folder, check=True)
    return folder / test


@pytest.mark.parametrize("flags", [(), ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")])
def test_pool(tmp_path: Path, flags: tuple[str, ...]) -> None:
    program = compiled(tmp_path, "pool_test", "pool.c", "workspace.c", flags=flags)
    done = subprocess.run([program], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def lacking(folder: Path, *names: str) -> tuple[int, set[str]]:
    program = compiled(folder, "cpu_test", "cpu.c", flags=("-fsanitize=address,undefined",))
    count, _, text = subprocess.run([program, *names], capture_output=True, text=True, check=True).stdout.partition(" ")
    return int(count), {each for each in text.strip().split(", ") if each}


def table() -> set[str]:
    """Every feature that the runtime knows for this architecture."""
    file = "cpu_x86.h" if X86 else "cpu_hwcap.h"
    return set(re.findall(r'^    \{"(\w+)", ', (SOURCES / file).read_text(), re.MULTILINE))


def flags_of_this_cpu() -> set[str]:
    text = Path("/proc/cpuinfo").read_text()
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    assert found
    return set(found[1].split())


def test_cpu_features_are_what_linux_says(tmp_path: Path) -> None:
    # Linux has its own names for two of them, and does not list what it does not use.
    aliases = {"sse3": "pni", "lzcnt": "abm"}
    unlisted = {"avx_vnni_int8", "avx_vnni_int16", "avx_ne_convert", "avx_ifma", "amx_fp16"}
    known = table() - unlisted
    assert len(known) > 10
    count, names = lacking(tmp_path, *sorted(known))
    assert names == {each for each in known if aliases.get(each, each) not in flags_of_this_cpu()}
    assert count == len(names)


def test_unknown_features_are_lacking(tmp_path: Path) -> None:
    assert lacking(tmp_path, "quantum", "sse17") == (2, {"quantum", "sse17"})
    assert lacking(tmp_path) == (0, set())


#: Where the runtime's table of an architecture stands: the file, and the line that opens it there.
TABLES = {
    "x86_64": ("cpu_x86.h", "static const struct"),
    "aarch64": ("cpu_hwcap.h", "#if defined(__aarch64__)"),
    "arm": ("cpu_hwcap.h", "#elif defined(__arm__)"),
    "riscv64": ("cpu_hwcap.h", "#elif defined(__riscv)"),
}


@pytest.mark.parametrize("name", known_targets())
def test_the_runtime_knows_every_feature_of_every_target(name: str) -> None:
    target = load_target(name)
    if target.arch == "c":
        assert not target.features
        return
    file, opening = TABLES[target.triple.split("-")[0]]
    text = (SOURCES / file).read_text().split(opening)[1].split("#el")[0]
    assert target.features <= set(re.findall(r'\{"(\w+)", ', text))
