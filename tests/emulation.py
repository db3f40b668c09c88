"""Foreign processors under qemu's user-mode emulation: which emulator, which C library, which CPU."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

#: The emulator's name for the processor of a target.
CPUS = {
    "cortex-a53": "cortex-a53",
    "cortex-a72": "cortex-a72",
    "rpi4": "cortex-a72",
    "cortex-a76": "cortex-a76",
    "neoverse-n2": "max",
    "cortex-a7": "cortex-a7",
    "armv7-a": "cortex-a9",
    "rv64gc": "rv64,v=false",
    "rv64gcv": "rv64,v=true,vlen=128",
}
_EMULATORS = {
    "aarch64-linux-gnu": "qemu-aarch64",
    "arm-linux-gnueabihf": "qemu-arm",
    "riscv64-linux-gnu": "qemu-riscv64",
}
#: Set where emulators and cross compilers are meant to be installed: then their absence is a failure.
REQUIRED = "TILEWRIGHT_TESTS_NEED_TOOLS"


def emulator(triple: str, cpu: str) -> list[str]:
    """Return the command in front of a foreign program; skip the test, or fail where REQUIRED, if it is not there."""
    program = _EMULATORS[triple]
    missing = [name for name in (program, f"{triple}-gcc") if shutil.which(name) is None]
    if missing:
        sentence = f"{' and '.join(missing)} not installed: apt-get install qemu-user gcc-{triple}"
        if os.environ.get(REQUIRED):
            pytest.fail(sentence)
        pytest.skip(sentence)
    return [program, "-L", f"/usr/{triple}", "-cpu", cpu]


@contextmanager
def board(runner: Path, emulated: list[str], key: str, *options: str) -> Iterator[str]:
    """Start a runner that serves, under an emulator or not; give its address."""
    environment = {**os.environ, "TILEWRIGHT_KEY": key}
    process = subprocess.Popen(
        [*emulated, str(runner), "serve", "-p", "0", *options], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("listening at 127.0.0.1, port "), line
        yield f"127.0.0.1:{line.split()[-1]}"
    finally:
        process.terminate()
        process.wait(timeout=10)
