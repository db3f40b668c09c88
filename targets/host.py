"""The target "host": this machine, from what its kernel tells.

A hypervisor may hide features of the processor below it, so the model name is never trusted: a row is taken only when
every feature it lists is among the flags of /proc/cpuinfo, and features beyond the row are switched on one by one.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from ..errors import UserError
from .target import Facts, Target

#: Rows that fit a machine of any vendor, best first, by what ``uname -m`` says.
_X86 = ("x86-64-v4", "x86-64-v3", "x86-64-v2", "x86-64")
_LEVELS = {
    "x86_64": _X86,
    "AMD64": _X86,
    "aarch64": ("armv8-a",),
    "armv7l": ("armv7-a",),
    "riscv64": ("rv64gcv", "rv64gc"),
}

#: Rows to try on a machine of each vendor, or for ARM's own cores with the number of the part, best first.
_ROWS = {
    "AuthenticAMD": ("znver5", "znver4", "x86-64-v4", "znver3"),
    "GenuineIntel": ("sapphirerapids", "icelake-server", "skylake-avx512", "haswell"),
    "0x41 0xc07": ("cortex-a7",),
    "0x41 0xd03": ("cortex-a53",),
    "0x41 0xd08": ("cortex-a72",),
    "0x41 0xd0b": ("cortex-a76",),
    "0x41 0xd0c": ("neoverse-n1",),
    "0x41 0xd40": ("neoverse-v1", "neoverse-n1"),
    "0x41 0xd49": ("neoverse-n2", "neoverse-n1"),
}

#: Features that generated code gains from when the row does not already have them: Linux's name to LLVM's.
_EXTRAS = {
    "avx512_bf16": "avx512bf16",
    "avx512_bitalg": "avx512bitalg",
    "avx512_fp16": "avx512fp16",
    "avx512_vbmi2": "avx512vbmi2",
    "avx512_vnni": "avx512vnni",
    "avx512_vpopcntdq": "avx512vpopcntdq",
    "avx512ifma": "avx512ifma",
    "avx512vbmi": "avx512vbmi",
    "avx_vnni": "avxvnni",
    "gfni": "gfni",
}

#: What each extra builds on: LLVM switches these on silently with it, so the machine must have them too.
_EXTRA_NEEDS = {name: frozenset({"avx512bw"}) for name in _EXTRAS if name.startswith("avx512")}
_EXTRA_NEEDS |= {"avx_vnni": frozenset({"avx2"}), "gfni": frozenset({"sse2"})}


@dataclass(frozen=True)
class Machine:
    """What the operating system says of a machine.

    Attributes:
        architecture: as ``uname -m`` has it.
        vendor: the CPU's vendor identification; of ARM's, implementer and part ("0x41 0xd08").
        model: the CPU's model name, for people.
        flags: CPU features in Linux's spelling.
        caches: sizes in bytes by cache level (data and unified); empty where they are not known.
        cores: processors that this process may run on.
    """

    architecture: str
    vendor: str
    model: str
    flags: frozenset[str]
    caches: dict[int, int]
    cores: int


@cache
def host_target() -> Target:
    """Return this machine as a target named "host". Raises UserError on a machine that no row describes."""
    return target_of(read_machine())


def target_of(machine: Machine) -> Target:
    """Return the best target whose instructions a machine has, with the machine's own caches and cores.

    Raises UserError when the architecture is not among the rows, or lacks what all of its rows need.
    """
    from .database import load_target

    levels = _LEVELS.get(machine.architecture)
    if levels is None:
        raise UserError(
            f"no target describes this machine ('{machine.architecture}'): "
            "name one of 'tilewright targets' with --target"
        )
    rows = (load_target(name) for name in (*_ROWS.get(machine.vendor, ()), *levels))
    row = next((row for row in rows if row.features <= machine.flags), None)
    if row is None:
        oldest = load_target(levels[-1])
        lacking = ", ".join(sorted(oldest.features - machine.flags))
        raise UserError(
            f"this machine lacks {lacking}, which every {oldest.arch} target needs: name another machine with --target"
        )
    extras = sorted(
        name for name in _EXTRAS if name in machine.flags - row.features and _EXTRA_NEEDS[name] <= row.features
    )
    tvm = dict(row.tvm)
    if extras:
        tvm["mattr"] = tuple(f"+{_EXTRAS[name]}" for name in extras)
    return replace(
        row,
        name="host",
        description=f"This machine: {machine.model or machine.architecture}, as {row.name}",
        tvm=tuple(sorted(tvm.items())),
        features=row.features | frozenset(extras),
        facts=_facts(row.facts, machine),
    )


def read_machine(proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> Machine:
    """Return what /proc and /sys say; a file that is missing leaves its fields empty."""
    cpu = _first_cpu(proc / "cpuinfo")
    return Machine(
        architecture=platform.machine(),
        vendor=cpu.get("vendor_id") or f"{cpu.get('CPU implementer', '')} {cpu.get('CPU part', '')}".strip(),
        model=cpu.get("model name", ""),
        flags=_flags(cpu),
        caches=_caches(sys / "devices/system/cpu/cpu0/cache"),
        cores=len(os.sched_getaffinity(0)),
    )


def _flags(cpu: dict[str, str]) -> frozenset[str]:
    """Return the features under the name that the architecture has for them; RISC-V's are letters behind "rv64"."""
    letters = cpu.get("isa", "").partition("_")[0][len("rv64") :]
    return frozenset((cpu.get("flags") or cpu.get("Features", "")).split()) | frozenset(letters)


def _first_cpu(path: Path) -> dict[str, str]:
    """Return the fields of the first processor of a cpuinfo file."""
    try:
        first = path.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _caches(folder: Path) -> dict[int, int]:
    """Return the sizes in bytes of data and unified caches by level."""
    sizes: dict[int, int] = {}
    for index in sorted(folder.glob("index*")):
        try:
            level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
            if kind != "Instruction":
                sizes[int(level)] = int(size[:-1]) * {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[size[-1]]
        except (OSError, ValueError, KeyError, IndexError):
            continue
    return sizes


def _facts(row: Facts, machine: Machine) -> Facts:
    return replace(
        row,
        l1_bytes=machine.caches.get(1, row.l1_bytes),
        l2_bytes=machine.caches.get(2, row.l2_bytes),
        l3_bytes=machine.caches.get(3, row.l3_bytes),
        cores=machine.cores,
    )
