"""Files that are no library of ours: each is refused with a sentence, and none reaches dlopen that would die there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from plan_builder import PLANS, PlanBuilder

from tilewright import runtime
from tilewright.errors import UserError


def refused(path: Path, sentence: str) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(f'{path}: {sentence}')}"):
        runtime.load(path)


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def compile_c(path: Path, text: str, *flags: str) -> Path:
    subprocess.run(["gcc", "-x", "c", "-", "-o", str(path), *flags], input=text, text=True, check=True)
    return path


def test_not_a_library(tmp_path: Path) -> None:
    refused(tmp_path / "absent.so", "no such file; 'tilewright compile' makes a library from a model")
    refused(tmp_path / "absent" / "model.so", "no such file")
    refused(tmp_path, "is a directory")
    refused(write(tmp_path / "empty.so", b""), "the file is empty; compile the model again")
    refused(write(tmp_path / "text.so", b"INPUT(libc.so.6) and more text"), "is not a shared library")
    refused(write(tmp_path / "short.so", b"\x7fELF"), "is not a shared library")
    refused(Path("/dev/null"), "is not a regular file")
    os.mkfifo(tmp_path / "pipe.so")
    refused(tmp_path / "pipe.so", "is not a regular file")


def test_unreadable() -> None:
    refused(Path("/proc/self/mem"), "cannot be read: Input/output error")


def test_other_kinds_of_elf(tmp_path: Path) -> None:
    refused(compile_c(tmp_path / "model.o", "int f;", "-c"), "is an object file, not a shared library")
    refused(compile_c(tmp_path / "model", "int main(void){return 0;}", "-no-pie"), "is a program, not a shared library")


def test_anothers_library_does_not_run_its_constructors(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    text = f'#include <stdio.h>\n__attribute__((constructor)) void f(void) {{ fclose(fopen("{mark}", "w")); }}'
    path = compile_c(tmp_path / "other.so", text, "-shared", "-fPIC")
    refused(path, "is not a library made by Tilewright (it has no section .tilewright)")
    assert not mark.exists()


def test_library_without_our_functions(tmp_path: Path) -> None:
    text = f'#include "{PLANS}/manifest_section.h"\nMANIFEST_SECTION("{{}}");'
    path = compile_c(tmp_path / "hollow.so", text, "-shared", "-fPIC")
    refused(path, "is not a library made by Tilewright (it has no tilewright_info)")


def test_truncated_at_every_length(tmp_path: Path, tiny: Path) -> None:
    """In a process of its own: a length that slips through would kill it."""
    data = tiny.read_bytes()
    script = (
        "import sys; from pathlib import Path; from tilewright import UserError, runtime\n"
        "path = Path(sys.argv[1]); data = Path(sys.argv[2]).read_bytes()\n"
        "for length in sorted({*range(1, 600), *range(600, len(data), 97), len(data) - 1}):\n"
        "    path.write_bytes(data[:length])\n"
        "    try: runtime.load(path)\n"
        "    except UserError as error: sentence = str(error)\n"
        "    else: sys.exit(f'{length} of {len(data)} bytes were loaded')\n"
        "    assert 'truncated' in sentence or 'is not a shared library' in sentence, (length, sentence)\n"
        "print('all refused')"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "cut.so"), str(tiny)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "all refused\n"), done.stderr
    assert len(data) > 10000


def test_damage_anywhere_is_found(tmp_path: Path, tiny: Path) -> None:
    """What a broken disk or download leaves: the right size, other bytes. In a process of its own, as above."""
    script = (
        "import sys; from pathlib import Path; from tilewright import UserError, runtime\n"
        "path = Path(sys.argv[1]); data = Path(sys.argv[2]).read_bytes()\n"
        "for at in [*range(0, 64), *range(64, len(data), 61), len(data) - 1]:\n"
        "    path.write_bytes(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1:])\n"
        "    try: runtime.load(path)\n"
        "    except UserError as error: assert str(error).startswith(f'{path}: '), error\n"
        "    else: sys.exit(f'byte {at} of {len(data)} may be anything')\n"
        "path.write_bytes(data[:4000] + bytes(len(data) - 4000))\n"
        "try: runtime.load(path)\n"
        "except UserError: print('all refused')"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "damaged.so"), str(tiny)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "all refused\n"), done.stderr


def test_the_hash_is_compared_unless_told_not_to(tmp_path: Path, tiny: Path) -> None:
    data = bytearray(tiny.read_bytes())
    at = data.index(b"multiply, add")
    data[at : at + 8] = b"division"
    path = write(tmp_path / "edited.so", bytes(data))
    refused(path, "is corrupted (its bytes have changed since it was made)")
    with runtime.load(path, verify=False) as model:
        assert model.steps[0].name == "division, add"


FOREIGN = {62: "x86_64", 183: "aarch64", 40: "arm", 243: "riscv64", 8: "ELF machine 8"}


@pytest.mark.parametrize("machine", [each for each in FOREIGN if FOREIGN[each] != os.uname().machine])
def test_another_architecture(tmp_path: Path, tiny: Path, machine: int) -> None:
    data = bytearray(tiny.read_bytes())
    data[18:20] = machine.to_bytes(2, sys.byteorder)
    path = write(tmp_path / "foreign.so", bytes(data))
    refused(
        path,
        f"was made for {FOREIGN[machine]} and this process runs on {os.uname().machine}; compile the model for this",
    )


def test_32_bit_library(tmp_path: Path) -> None:
    header = b"\x7fELF\x01\x01\x01" + bytes(9) + (3).to_bytes(2, "little") + (40).to_bytes(2, "little")
    path = write(tmp_path / "arm.so", header + bytes(32))
    refused(path, "was made for arm and this process runs on")


def test_interface_version(builder: PlanBuilder) -> None:
    newer = builder.shared("newer", TINY_ABI=3)
    refused(newer, "has version 3 of the library interface and this tilewright speaks version 2; update tilewright")
    refused(
        builder.shared("older", TINY_ABI=0),
        "has version 0 of the library interface and this tilewright speaks version 2; compile the model again",
    )


def test_cpu_without_a_needed_feature(builder: PlanBuilder) -> None:
    path = builder.shared("needy", TINY_FEATURE='"no_such_feature"')
    refused(path, "'tiny' was compiled for test; this CPU lacks no_such_feature")


def test_arena_that_does_not_fit(builder: PlanBuilder) -> None:
    with pytest.raises(MemoryError, match="giant.so: no memory for the arena of 4611686018427387904 bytes"):
        runtime.load(builder.shared("giant", TINY_ARENA=1 << 62))


def test_damaged_manifest(builder: PlanBuilder) -> None:
    refused(builder.shared("damaged", TINY_MANIFEST='"{"'), "is corrupted (its manifest cannot be read); copy it again")


def test_unknown_element_type(builder: PlanBuilder) -> None:
    path = builder.shared("copy_complex", "copy", COPY_CODE=5, COPY_BITS=64, COPY_ELEMENTS=1)
    refused(path, "'x' has an element type this tilewright does not know (DLPack (5, 64))")


def test_missing_dependency_is_the_systems_sentence(tmp_path: Path, tiny: Path) -> None:
    compile_c(tmp_path / "libgone.so", "int gone(void){return 1;}", "-shared", "-fPIC", "-Wl,-soname,libgone.so.9")
    call = "int gone(void); int f(void) { return gone(); }"
    text = f'#include "{PLANS}/manifest_section.h"\nMANIFEST_SECTION("{{}}");\n{call}'
    path = compile_c(tmp_path / "model.so", text, "-shared", "-fPIC", f"-L{tmp_path}", "-lgone")
    refused(path, "the system cannot load it: libgone.so.9: cannot open shared object file")


@pytest.mark.parametrize("threads", [-1, 1.0, "2", True, None])
def test_threads_are_a_number(tiny: Path, threads: object) -> None:
    with pytest.raises(UserError, match=r"tiny.so: threads is .*; it is a number of threads, or 0"):
        runtime.load(tiny, threads=threads)  # type: ignore[arg-type]


def test_too_many_threads(tiny: Path) -> None:
    with pytest.raises(UserError, match=r"tiny.so: 100000 is no number of threads"):
        runtime.load(tiny, threads=100000)


def test_a_failed_load_leaves_nothing_mapped(builder: PlanBuilder) -> None:
    for name, defines in {"left_newer": {"TINY_ABI": 9}, "left_needy": {"TINY_FEATURE": '"none"'}}.items():
        with pytest.raises(UserError):
            runtime.load(builder.shared(name, **defines))
        assert f"{name}.so" not in Path("/proc/self/maps").read_text()
