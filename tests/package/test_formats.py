"""The formats beside the shared library, and that equal inputs give equal bytes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from packaging_models import Caller, assert_expected, convolution_case, make, types_case

from tilewright.errors import UserError

PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "left.h"
#include "right.h"

#define RUN(model)                                                                                  \
  static int run_##model(void) {                                                                    \
    const tilewright_model* info = model##_tilewright_info();                                       \
    const void* inputs[8];                                                                          \
    void* outputs[8];                                                                               \
    for (int i = 0; i < info->num_inputs; ++i) {                                                    \
      void* memory = malloc(info->inputs[i].bytes);                                                 \
      if (fread(memory, 1, info->inputs[i].bytes, stdin) != info->inputs[i].bytes) return 1;        \
      inputs[i] = memory;                                                                           \
    }                                                                                               \
    for (int i = 0; i < info->num_outputs; ++i) {                                                   \
      outputs[i] = malloc(info->outputs[i].bytes);                                                  \
      memset(outputs[i], 0xff, info->outputs[i].bytes);                                             \
    }                                                                                               \
    tilewright_instance* instance;                                                                  \
    if (model##_tilewright_create(2, NULL, &instance)) return 2;                                    \
    if (model##_tilewright_run(instance, inputs, outputs)) return 3;                                \
    for (int i = 0; i < info->num_outputs; ++i) fwrite(outputs[i], 1, info->outputs[i].bytes, stdout); \
    model##_tilewright_free(instance);                                                              \
    return 0;                                                                                       \
  }
RUN(left)
RUN(right)
int main(void) { return run_left() || run_right(); }
"""


def test_two_static_models_in_one_program(tmp_path: Path) -> None:
    import numpy as np

    left, right = convolution_case(), types_case()
    make(left, name="left", format="static").save(tmp_path / "left")
    make(right, name="right", format="obj").save(tmp_path / "right")
    (tmp_path / "main.c").write_text(PROGRAM)
    libraries = ["left/libleft.a", "right/right.o"]
    command = ["gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-Ileft", "-Iright", "main.c", *libraries]
    subprocess.run([*command, "-pthread", "-lm", "-o", "main"], cwd=tmp_path, check=True)
    data = b"".join(each.tobytes() for each in (*left.inputs, *right.inputs))
    done = subprocess.run(["./main"], cwd=tmp_path, input=data, capture_output=True, check=True)
    at = 0
    for case in (left, right):
        outputs = []
        for each in case.expected:
            outputs.append(np.frombuffer(done.stdout, each.dtype, each.size, at).reshape(each.shape))
            at += each.nbytes
        assert_expected(case, outputs)
    assert at == len(done.stdout)


@pytest.mark.parametrize("format", ["static", "obj"])
def test_linked_formats_define_only_the_documented_functions(tmp_path: Path, format: str) -> None:
    folder = make(types_case(), name="toy", format=format).save(tmp_path / "toy")
    (library,) = [*folder.glob("*.a"), *folder.glob("*.o")]
    listing = subprocess.run(["nm", "--defined-only", "-g", library], capture_output=True, text=True, check=True).stdout
    functions = {line.split()[-1] for line in listing.splitlines() if len(line.split()) == 3}
    documented = ("info", "create", "set_shapes", "output_shape", "run", "profile", "error", "free")
    assert functions == {f"toy_tilewright_{each}" for each in documented}


@pytest.mark.parametrize("command", [["make"], ["sh", "-c", "cmake . && make toy"]])
def test_the_c_folder_builds(tmp_path: Path, command: list[str]) -> None:
    case = types_case()
    folder = make(case, name="toy", format="c").save(tmp_path / "sources")
    assert "step_0" in (folder / "plan.c").read_text()
    subprocess.run(command, cwd=folder, capture_output=True, check=True)
    caller = Caller(folder / "toy.so")
    instance = caller.instance(2)
    assert_expected(case, caller.outputs(instance, case))
    caller.free(instance)


def test_generated_c_has_no_warnings(tmp_path: Path) -> None:
    folder = make(convolution_case(), format="c").save(tmp_path / "sources")
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror", "-fsyntax-only"]
    for source in sorted(folder.glob("*.c")):
        subprocess.run(["gcc", *flags, source.name], cwd=folder, check=True)


_BUILD = """
import sys
from packaging_models import convolution_case, make
make(convolution_case(), jobs=int(sys.argv[2])).save(sys.argv[1])
"""


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    digests = set()
    for index, jobs in enumerate(("1", "8")):
        folder = tmp_path / f"some folder {index}"
        folder.mkdir()
        (folder / "temporary").mkdir()
        environment = {
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "PYTHONHASHSEED": str(index),
            "TMPDIR": str(folder / "temporary"),
        }
        subprocess.run(
            [sys.executable, "-c", _BUILD, f"model{index}.so", jobs], cwd=folder, env=environment, check=True
        )
        digests.add(hashlib.sha256((folder / f"model{index}.so").read_bytes()).hexdigest())
        assert list((folder / "temporary").iterdir()) == []
    assert len(digests) == 1


def test_folders_replace_only_their_own_kind(tmp_path: Path) -> None:
    artifact = make(types_case(), name="toy", format="static")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="not empty"):
        artifact.save(mine)
    assert [each.name for each in mine.iterdir()] == ["thesis.txt"]
    (tmp_path / "empty").mkdir()
    for _ in range(2):
        artifact.save(tmp_path / "empty")
        assert (tmp_path / "empty" / "libtoy.a").is_file()
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(UserError, match="is a file"):
        artifact.save(file)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["empty", "file", "mine"]
