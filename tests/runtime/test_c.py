"""C and C++ programs around libraries: the examples and the C++ header, plain and under valgrind."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from packaging_models import Case, assert_expected, make, poison, types_case
from plan_builder import RUNTIME, PlanBuilder

EXAMPLES = RUNTIME.parent / "examples" / "c"
SOURCES = Path(__file__).parent
CXX = ("g++", "-std=c++17", "-g", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I", str(RUNTIME / "include"))
VALGRIND = (
    "valgrind", "--quiet", "--error-exitcode=99", "--leak-check=full", "--show-leak-kinds=definite,indirect,possible",
    "--errors-for-leak-kinds=definite,indirect,possible", "--fair-sched=yes",
)  # fmt: skip
PLAIN: tuple[str, ...] = ()

#: Programs run twice: as they are, and under valgrind, which .ci/run installs where it can.
ways = pytest.mark.parametrize(
    "way",
    [
        pytest.param(PLAIN, id="plain"),
        pytest.param(
            VALGRIND,
            id="valgrind",
            marks=pytest.mark.skipif(not shutil.which("valgrind"), reason="valgrind is not installed"),
        ),
    ],
)


def run(*command: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([str(each) for each in command], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == code, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the example programs, built as their Makefile says."""
    folder = tmp_path_factory.mktemp("programs")
    run("make", "-C", EXAMPLES, f"OUT={folder}", "CFLAGS=-O1 -g", "CXXFLAGS=-O1 -g")
    return folder


@pytest.mark.skipif(not shutil.which("valgrind"), reason="valgrind is not installed")
@pytest.mark.parametrize("fault", ["malloc(10) == stdin", "((char*)calloc(10, 1))[10]", "*(int*)malloc(4) ? 3 : 4"])
def test_valgrind_finds_faults(tmp_path: Path, fault: str) -> None:
    """A leak, a read past the end, a branch on what was never written: each must fail the runs below."""
    text = f"#include <stdio.h>\n#include <stdlib.h>\nint main(void) {{ volatile int x = {fault}; return x * 0; }}\n"
    (tmp_path / "fault.c").write_text(text)
    run("gcc", "-O0", "-w", tmp_path / "fault.c", "-o", tmp_path / "fault")
    run(*VALGRIND, tmp_path / "fault", code=99)


@ways
@pytest.mark.parametrize("threads", [1, 3])
def test_run_model_computes_what_numpy_does(
    programs: Path, compiled: Path, case: Case, tmp_path: Path, threads: int, way: tuple[str, ...]
) -> None:
    files = []
    for index, array in enumerate(case.inputs):
        array.tofile(tmp_path / f"in{index}.bin")
        files.append(tmp_path / f"in{index}.bin")
    options = ("-t", str(threads), "-r", "3", "-o", tmp_path / "out")
    done = run(*way, programs / "run_model", *options, compiled, *files)
    outputs = [poison(each) for each in case.expected]
    for index, like in enumerate(outputs):
        outputs[index] = np.fromfile(tmp_path / f"out{index}.bin", like.dtype).reshape(like.shape)
    assert_expected(case, outputs)
    assert re.search(r"^y4: float32 \[5\] = 0 1 2 3 4$", done.stdout, re.MULTILINE)
    assert re.search(r"^model for x86-64-v3: [\d.]+ ms \(best of 3\)$", done.stdout, re.MULTILINE)


@ways
def test_run_model_with_made_up_inputs(programs: Path, tiny: Path, way: tuple[str, ...]) -> None:
    """The pattern is i % 17 / 16 - 0.5 for x and i % 2 for the integers."""
    done = run(*way, programs / "run_model", "-t", "2", tiny)
    assert done.stdout.splitlines()[:3] == [
        "y: float32 [2, 3] = 0 -0.3125 -0.5 0.375 0.25 0.25",
        "total: int64 [] = 2",
        "positive: bool8 [4] = 0 1 0 1",
    ]


def test_run_model_shows_every_element_type(programs: Path, tmp_path: Path) -> None:
    library = make(types_case()).save(tmp_path / "types.so")
    lines = run(programs / "run_model", library).stdout.splitlines()
    assert lines[0] == "y0: int64 [6, 9] = 0 3 0 3 0 3 0 3 ..."
    assert lines[1].startswith("y1: float16 [6, 9] = 0x3c00 0x3c00")  # 0.5 + 0.5
    assert lines[2] == "y2: bool8 [6, 9] = 0 0 0 0 0 0 0 0 ..."
    assert lines[3] == "y3: int8 [6, 9] = 0 1 0 1 0 1 0 1 ..."
    np.array([-7] * 54).tofile(tmp_path / "a.bin")
    np.zeros(54, np.float16).tofile(tmp_path / "b.bin")
    lines = run(programs / "run_model", library, tmp_path / "a.bin", tmp_path / "b.bin").stdout.splitlines()
    assert lines[0].startswith("y0: int64 [6, 9] = -21 -21")
    assert lines[3].startswith("y3: int8 [6, 9] = -7 -7")


def test_run_model_says_what_is_wrong(programs: Path, tiny: Path, builder: PlanBuilder, tmp_path: Path) -> None:
    program = programs / "run_model"
    (tmp_path / "short.bin").write_bytes(bytes(5))
    (tmp_path / "ids.bin").write_bytes(bytes(32))
    needy = builder.shared("c_needy", TINY_FEATURE='"no_such_feature"')
    newer = builder.shared("c_newer", TINY_ABI=3)
    failing = builder.shared("c_failing", TINY_FAILURE=-1)
    for arguments, sentence in (
        (("/no/such.so",), "/no/such.so: cannot open shared object file"),
        (("libm.so.6",), "not a library made by Tilewright: it has no tilewright_info"),
        ((newer,), "c_newer.so has version 3 of the interface, this program has 2"),
        ((needy,), "this CPU lacks no_such_feature"),
        ((failing,), "step 1 ('sum, greater') found no memory"),
        ((tiny, tmp_path / "ids.bin"), "the model has 2 inputs and 1 files are given"),
        ((tiny, tmp_path / "short.bin", tmp_path / "ids.bin"), "input 'x' takes exactly 24 bytes"),
        ((tiny, tmp_path / "ids.bin", tmp_path / "ids.bin"), "input 'x' takes exactly 24 bytes"),
        ((tiny, "absent.bin", "absent.bin"), "absent.bin: No such file"),
        (("-t", "-3", tiny), "is no number of threads"),
    ):
        assert sentence in run(program, *arguments, code=1).stderr
    assert run(program, code=2).stderr.startswith("usage: ")


@ways
def test_cpp_example(programs: Path, tiny: Path, compiled: Path, way: tuple[str, ...]) -> None:
    lines = run(*way, programs / "run_model_cpp", tiny).stdout.splitlines()
    assert lines[0] == "y: float32 [2, 3] = 0 -0.3125 -0.5 0.375 0.25 0.25"
    assert re.fullmatch(r" *[\d.]+ us  multiply, add", lines[3])
    assert "y4: float32 [5] = 0 1 2 3 4" in run(*way, programs / "run_model_cpp", compiled).stdout
    assert "cannot open shared object file" in run(programs / "run_model_cpp", "/no/such.so", code=1).stderr


@ways
def test_static_link(programs: Path, case: Case, tmp_path: Path, way: tuple[str, ...]) -> None:
    product = make(case, name="linked", target="x86-64-v3", format="static").save(tmp_path / "linked")
    archive = product / "liblinked.a"
    run("make", "-C", EXAMPLES, "static_link", f"OUT={tmp_path}", "MODEL=linked", f"ARCHIVE={archive}", "CFLAGS=-g")
    done = run(*way, tmp_path / "static_link")
    assert "y4: float32 [5] = 0 1 2 3 4" in done.stdout
    shared = run(programs / "run_model", make(case, target="x86-64-v3").save(tmp_path / "model.so"))
    assert done.stdout.splitlines() == shared.stdout.splitlines()[:-1]


@pytest.fixture(scope="module")
def wrapper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test program of the C++ header; a second file includes it too, as programs of several files do."""
    folder = tmp_path_factory.mktemp("wrapper")
    (folder / "second.cpp").write_text(
        '#include "tilewright.hpp"\nint second() { return sizeof(tilewright::Library); }\n'
    )
    run(*CXX, SOURCES / "wrapper.cpp", folder / "second.cpp", "-ldl", "-pthread", "-o", folder / "wrapper")
    return folder / "wrapper"


@ways
def test_cpp_wrapper(wrapper: Path, tiny: Path, builder: PlanBuilder, way: tuple[str, ...]) -> None:
    """The arguments are files with what loading them says, then the library to test on."""
    newer = builder.shared("cpp_newer", TINY_ABI=3)
    done = run(
        *way, wrapper,
        "/no/such.so", "cannot open shared object file",
        "relative.so", "./relative.so: cannot open shared object file",
        newer, "the library has version 3 of the interface and this program was compiled for version 2",
        builder.folder / "not_ours.so", "is not a library made by Tilewright (it has no tilewright_info)",
        tiny,
    )  # fmt: skip
    assert done.stdout == ""


@pytest.fixture(scope="module", autouse=True)
def not_ours(builder: PlanBuilder) -> None:
    (builder.folder / "empty.c").write_text("int nothing;\n")
    run("gcc", "-shared", "-fPIC", builder.folder / "empty.c", "-o", builder.folder / "not_ours.so")


@ways
def test_two_models_in_one_program(tmp_path: Path, way: tuple[str, ...]) -> None:
    products = [
        make(types_case(), name=name, target="x86-64-v3", format="static").save(tmp_path / name)
        for name in ("first", "second")
    ]
    includes = [f"-I{each}" for each in products]
    archives = [next(each.glob("*.a")) for each in products]
    run(
        *CXX, *includes, SOURCES / "two_models.cpp", *archives, "-pthread", "-ldl", "-lm", "-o", tmp_path / "two_models"
    )
    assert run(*way, tmp_path / "two_models").stdout == "first\nsecond\n"


@pytest.mark.parametrize("standard", ["c99", "c11", "c17"])
def test_header_is_plain_c(tmp_path: Path, standard: str) -> None:
    (tmp_path / "a.c").write_text('#include "tilewright.h"\nint unused;\n')
    strict = ("-Wall", "-Wextra", "-Wpedantic", "-Wstrict-prototypes", "-Werror")
    run("gcc", f"-std={standard}", *strict, "-I", RUNTIME / "include", "-c", tmp_path / "a.c", "-o", tmp_path / "a.o")


@pytest.mark.parametrize("standard", ["c++17", "c++20"])
def test_header_is_plain_cpp(tmp_path: Path, standard: str) -> None:
    (tmp_path / "a.cpp").write_text('#include "tilewright.hpp"\n')
    strict = ("-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Wold-style-cast", "-Werror")
    run("g++", f"-std={standard}", *strict, "-I", RUNTIME / "include", "-c", tmp_path / "a.cpp", "-o", tmp_path / "a.o")


@pytest.mark.parametrize(("language", "compiler"), [("c", ("gcc", "-std=c11", *CXX[2:])), ("cpp", CXX)])
def test_the_code_in_the_manual_compiles(tmp_path: Path, language: str, compiler: tuple[str, ...]) -> None:
    manual = (RUNTIME.parent / "docs" / "c-api.md").read_text()
    blocks = re.findall(rf"^```{language}$(.*?)^```$", manual, re.MULTILINE | re.DOTALL)
    assert blocks
    for index, block in enumerate(blocks):
        source = tmp_path / f"block{index}.{language}"
        source.write_text(block)
        run(*compiler, "-c", source, "-o", tmp_path / "block.o")
