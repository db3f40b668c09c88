"""The walk-through for a Raspberry Pi: every command of it, with an emulated board behind ssh and scp."""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from emulation import CPUS, emulator
from house.repository import ROOT

FOLDER = ROOT / "examples/edge"
#: Copies files to the board; programs get a script in front that starts the emulator.
SCP = """#!/bin/bash
for file in "${@:1:$#-1}"; do
  name=$(basename "$file")
  cp "$file" "$HOME_OF_PI/$name"
  [ -x "$file" ] || continue
  mv "$HOME_OF_PI/$name" "$HOME_OF_PI/.$name"
  printf '#!/bin/sh\\nexec %s %s "$@"\\n' "$EMULATOR" "$HOME_OF_PI/.$name" > "$HOME_OF_PI/$name"
  chmod +x "$HOME_OF_PI/$name"
done
"""
SSH = """#!/bin/bash
shift
cd "$HOME_OF_PI" && eval "exec env $*"
"""


def commands() -> str:
    text = (FOLDER / "README.md").read_text()
    return "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))


@pytest.fixture
def board(tmp_path: Path) -> dict[str, str]:
    emulated = emulator("aarch64-linux-gnu", CPUS["rpi4"])
    emulator("arm-linux-gnueabihf", CPUS["cortex-a7"])
    tools, home = tmp_path / "tools", tmp_path / "pi"
    home.mkdir()
    tools.mkdir()
    for name, text in (("scp", SCP), ("ssh", SSH)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    (tools / "python").symlink_to(sys.executable)
    path = f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "HOME_OF_PI": str(home), "EMULATOR": " ".join(emulated)}


def test_every_command_of_the_walk_through_works(board: dict[str, str], tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = commands().replace("BOARD=raspberrypi.local", "BOARD=127.0.0.1").replace("PORT=9180", f"PORT={port}")
    assert str(port) in script
    done = subprocess.run(
        ["bash", "-e", "-m", "-c", script], cwd=tmp_path / "examples/edge", env=board, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    (label,) = (line.split()[-1] for line in lines if line.startswith("image.bin: a "))
    # Alone on its line is what the program on the board says; the library there gives the place of the largest score.
    assert label in lines
    assert any(re.fullmatch(rf"\s+\[0, {label}\] \S+", line) for line in lines)
    assert any("rpi2/digits.so" in line for line in lines)
