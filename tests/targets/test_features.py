"""The features a target may name are those that the C runtime finds bits for."""

from __future__ import annotations

import re
from pathlib import Path

import tilewright.runtime
from tilewright.targets.features import KNOWN_FEATURES

SOURCES = Path(tilewright.runtime.__file__).parent / "src"
MACHINES = {"__aarch64__": "aarch64", "__arm__": "arm", "__riscv": "riscv64"}


def test_features_are_those_of_the_runtime() -> None:
    found = {"x86_64": set(re.findall(r'^ +{"(\w+)", (?:0x|\d)', (SOURCES / "cpu_x86.h").read_text(), re.MULTILINE))}
    machine = ""
    for line in (SOURCES / "cpu_hwcap.h").read_text().splitlines():
        if start := re.match(r"#(?:el)?if defined\((\w+)\)", line):
            machine = MACHINES[start[1]]
        if names := re.findall(r'{"(\w+)"', line):
            found.setdefault(machine, set()).update(names)
    assert found == KNOWN_FEATURES
