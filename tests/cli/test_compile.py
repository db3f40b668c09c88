"""`tilewright compile`, end to end on small models, and the other commands on what it makes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from cli.conftest import Call
from onnx import TensorProto, helper, numpy_helper
from plan_builder import Arrays

ENTRY = "from tilewright.compiler.cli.main import main; main()"
PHASES = ("import", "simplify", "precision", "fuse", "layout", "schedule", "plan", "package")


@pytest.fixture
def compiled(call: Call, tiny_model: Path) -> Path:
    result = call("compile", tiny_model, "-q")
    assert (result.code, result.out, result.err) == (0, "", "")
    return Path("tiny.so")


def _save_rounding(path: Path) -> Path:
    """A model whose result no two ways of computing agree on to the last bit, of one symbolic dimension."""
    weight = np.random.default_rng(0).standard_normal((64, 48)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Tanh", ["m"], ["y"])],
        "rounding",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 48])],
        [numpy_helper.from_array(weight, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_the_report_names_phases_and_sizes(call: Call, tiny_model: Path) -> None:
    result = call("compile", tiny_model)
    assert result.code == 0, result.err
    for word in (*PHASES, "kernels", "arena", "weights", "library", "tiny.so"):
        assert word in result.out
    assert result.err == ""
    assert [each.name for each in Path().iterdir()] == ["tiny.so"]


def test_the_library_computes_what_numpy_does(call: Call, compiled: Path, inputs: Arrays) -> None:
    np.savez("x.npz", **inputs)
    assert call("run", compiled, "--inputs", "x.npz", "--outputs", "y.npz").code == 0
    with np.load("y.npz", allow_pickle=False) as outputs:
        np.testing.assert_array_equal(outputs["y"], inputs["x"] * np.array([2, 3, 4], np.float32) + 1)
        assert outputs["total"] == 7
        assert outputs["positive"].tolist() == [True, False, False, True]


def test_inspect_reads_the_library(call: Call, compiled: Path) -> None:
    data = json.loads(call("inspect", compiled, "--check", "--json").out)
    assert data["name"] == "tiny"
    assert data["inputs"] == [
        {"name": "x", "shape": [2, 3], "dtype": "float32"},
        {"name": "input.ids", "shape": [4], "dtype": "int64"},
    ]
    assert [each["name"] for each in data["outputs"]] == ["y", "total", "positive"]
    assert data["file_bytes"] == compiled.stat().st_size
    assert data["lacking"] == []
    assert set(data["versions"]) == {"tilewright", "tvm", "compiler"}
    assert sum(kernel["steps"] for kernel in data["kernels"]) <= data["steps"]
    out = call("inspect", compiled, "-v").out
    for word in ("x: float32 [2, 3]", "input.ids: int64 [4]", "arena", "made with", "sha256 of weights", "kernel"):
        assert word in out


def test_inspecting_a_library_loads_no_compiler(compiled: Path) -> None:
    program = f"import sys, atexit; atexit.register(lambda: print(*sys.modules)); {ENTRY}"
    command = [sys.executable, "-c", program, "inspect", str(compiled)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    modules = {each.partition(".")[0] for each in done.stdout.splitlines()[-1].split()}
    assert "numpy" in modules
    assert not modules & {"tvm", "tvm_ffi", "onnx", "torch"}


def test_inspect_tells_a_library_for_another_machine(call: Call, tiny_model: Path) -> None:
    assert call("compile", tiny_model, "--target", "sapphirerapids", "-q").code == 0
    data = json.loads(call("inspect", "tiny.so", "--json").out)
    assert data["target"] == "sapphirerapids"
    assert "avx512_fp16" in data["features"]
    flags = set(Path("/proc/cpuinfo").read_text().split("flags\t\t: ")[1].splitlines()[0].split())
    assert set(data["lacking"]) == set(data["features"]) - flags


def test_a_changed_byte_is_found(call: Call, compiled: Path) -> None:
    data = bytearray(compiled.read_bytes())
    data[len(data) // 2] ^= 1
    compiled.write_bytes(data)
    assert "tiny.so: is corrupted" in call("inspect", compiled, "--check").sentence
    assert "tiny.so: is corrupted" in call("run", compiled).sentence


def test_verify_shows_how_near_the_outputs_are(call: Call, tiny_model: Path) -> None:
    result = call("compile", tiny_model, "--verify")
    assert result.code == 0, result.err
    for name in ("y", "total", "positive"):
        assert any(line.split()[:1] == [name] and line.endswith("ok") for line in result.out.splitlines())


def test_a_library_that_fails_verification_is_not_written(call: Call) -> None:
    model = _save_rounding(Path("rounding.onnx"))
    words = ("--input-shapes", "x:[32,64]", "--verify")
    assert call("compile", model, *words, "-q").code == 0
    Path("rounding.so").write_bytes(b"what was there before")
    sentence = call("compile", model, *words, "--rtol", "0", "--atol", "0", "-q").sentence
    assert sentence.startswith(
        "rounding.onnx: the library does not compute what onnxruntime computes: 1 of 1 output(s)"
    )
    assert "'y' by " in sentence
    assert "--accuracy exact comes nearer" in sentence
    assert Path("rounding.so").read_bytes() == b"what was there before"
    assert sorted(each.name for each in Path().iterdir()) == ["rounding.onnx", "rounding.so"]


def test_dynamic_dimensions_need_shapes(call: Call) -> None:
    model = _save_rounding(Path("rounding.onnx"))
    sentence = call("compile", model).sentence
    assert "'x' [batch, 64]" in sentence
    assert "--input-shapes" in sentence
    assert not Path("rounding.so").exists()


def test_every_phase_can_be_dumped_and_stopped_after(call: Call, tiny_model: Path) -> None:
    result = call("compile", tiny_model, "--stop-after", "schedule", "--dump", "all")
    assert result.code == 0, result.err
    names = [f"{index:02}-{name}.py" for index, name in enumerate(PHASES[:6])]
    assert sorted(each.name for each in Path("tiny.dump").iterdir()) == names
    assert not Path("tiny.so").exists()
    for name in names:
        text = Path("tiny.dump", name).read_text()
        assert text.startswith(f"# {name[3:-3]}: ")
        compile(text, name, "exec")
    assert "relax.multiply" in Path("tiny.dump/00-import.py").read_text().partition("class")[0]
    assert "call_tir" in Path("tiny.dump/05-schedule.py").read_text()
    assert "simplify" in result.out
    assert "package" not in result.out


def test_one_phase_is_dumped_where_it_is_wanted(call: Call, tiny_model: Path) -> None:
    assert call("compile", tiny_model, "--stop-after", "fuse", "--dump", "fuse", "--dump-dir", "a/b").code == 0
    assert [each.name for each in Path("a/b").iterdir()] == ["03-fuse.py"]


@pytest.mark.parametrize(
    ("kind", "files"),
    [("static", {"libtiny.a", "tiny.h"}), ("obj", {"tiny.o", "tiny.h"}), ("c", {"plan.c", "weights.bin", "Makefile"})],
)
def test_other_formats_are_folders(call: Call, tiny_model: Path, kind: str, files: set[str]) -> None:
    assert call("compile", tiny_model, "--format", kind, "-q").code == 0
    names = {each.name for each in Path(f"tiny-{kind}").iterdir()}
    assert files | {"tilewright.h", "manifest.json"} <= names


def test_a_model_can_be_measured_without_a_library(call: Call, tiny_model: Path) -> None:
    words = ("--against", "onnxruntime", "--repeat", "5", "--json")
    data = json.loads(call("bench", tiny_model, *words).out)
    assert [each["name"].split()[0] for each in data["standings"]] == ["tilewright", "onnxruntime"]
    assert data["standings"][1]["difference"] < 1e-6
    assert list(Path().iterdir()) == []


def test_a_compiled_library_is_profiled(call: Call, compiled: Path) -> None:
    data = json.loads(call("profile", compiled, "--repeat", "3", "--json").out)
    kernels = {each["symbol"] for each in json.loads(call("inspect", compiled, "--json").out)["kernels"]}
    assert {step["kernel"] for step in data["steps"]} <= kernels | {"", "copy"}
    assert len(data["steps"]) >= 3


def test_all_unsupported_operators_are_listed(call: Call) -> None:
    nodes = [
        helper.make_node("Frobnicate", ["x"], ["a"], name="first", domain="com.example"),
        helper.make_node("Defrobnicate", ["a"], ["y"], name="second", domain="com.example"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), "m.onnx")
    sentence = call("compile", "m.onnx").sentence
    for word in ("Frobnicate", "Defrobnicate", "'first'", "'second'"):
        assert word in sentence


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("no.onnx",), "no.onnx: no such file"),
        (("empty.onnx",), "empty.onnx: the file is empty"),
        ((".",), "directory"),
        (("MODEL", "-o", "nowhere/x.so"), "there is no folder 'nowhere'"),
        (("MODEL", "-o", "."), "it is a folder"),
        (("MODEL", "-o", "empty.onnx", "--format", "c"), "it is a file; give the name of a folder"),
        (("MODEL", "-o", "/proc/model.so"), "cannot write '/proc/model.so'"),
        (("MODEL", "--target", "znver44"), "unknown target 'znver44' (did you mean 'znver4'"),
        (("MODEL", "--stop-after", "fuze"), "there is no phase 'fuze' (did you mean 'fuse'?)"),
        (("MODEL", "--dump", "everything"), "there is no phase 'everything': it is one of import, "),
        (("MODEL", "--dump", "fuse", "--dump-dir", "empty.onnx"), "cannot make the folder 'empty.onnx'"),
        (("MODEL", "--input-shapes", "x:[2,0]"), "'0' is not a dimension of 'x'"),
        (("MODEL", "--input-shapes", "z:[2,3]"), "no input is named 'z'"),
        (("MODEL", "--input-shapes", "x:[2,3]", "--input-shapes", "x:[3,2]"), "'x' is given two shapes"),
        (("MODEL", "--name", "9 lives"), "'9 lives' cannot be a model's name"),
        (("MODEL", "-O", "4"), "4 is not in the range"),
        (("MODEL", "--format", "dll"), "there is no format 'dll'"),
        (("MODEL", "--accuracy", "exakt"), "there is no accuracy 'exakt' (did you mean 'exact'"),
        (("MODEL", "--rtol", "1e-3"), "give --verify too"),
        (("MODEL", "--verify", "--format", "c"), "--verify runs the library: it needs --format so"),
        (("MODEL", "--verify", "--stop-after", "fuse"), "and no --stop-after"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(call: Call, tiny_model: Path, words: tuple[str, ...], part: str) -> None:
    Path("empty.onnx").touch()
    result = call("compile", *(str(tiny_model) if word == "MODEL" else word for word in words))
    assert part in result.sentence
    assert [each.name for each in Path().iterdir()] == ["empty.onnx"]


def test_no_compiler_is_one_sentence(call: Call, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    assert "no C compiler for x86_64-linux-gnu was found" in call("compile", tiny_model).sentence
    assert list(Path().iterdir()) == []


def test_verify_without_onnxruntime_is_one_sentence(
    call: Call, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "onnxruntime is not installed" in call("compile", tiny_model, "--verify").sentence
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing_behind(tmp_path: Path, tiny_model: Path, number: signal.Signals) -> None:
    temporary, here = tmp_path / "temporary", tmp_path / "here"
    temporary.mkdir()
    here.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", ENTRY, "compile", str(tiny_model)],
        cwd=here,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    # A terminal sends Ctrl-C to the whole group: the workers that compile kernels, too.
    # Python's tempfile tries a folder with a file of its own first, which nobody can take back in its microseconds.
    while not any(temporary.glob("tilewright-*")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert "Traceback" not in err
    assert list(here.iterdir()) == []
    assert list(temporary.iterdir()) == []


def test_progress_is_shown_to_those_who_watch(call: Call, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert "tiny.onnx" in call("compile", tiny_model, "--stop-after", "simplify").err
    assert call("compile", tiny_model, "--stop-after", "simplify", "-q").err == ""


def test_nodes_to_keep_in_fp32_need_a_precision_and_a_name_of_the_model(call: Call) -> None:
    model = _save_rounding(Path("rounding.onnx"))
    shapes = ("--input-shapes", "x:[32,64]")
    assert "give --precision, too" in call("compile", model, *shapes, "--keep-fp32", "m").sentence
    words = ("--precision", "fp16", "--keep-fp32", "Tanj 'y'")
    assert "has no node 'Tanj 'y''" in call("compile", model, *shapes, *words).sentence
    assert not Path("rounding.so").exists()


def test_a_bundle_names_its_targets(call: Call, tiny_model: Path) -> None:
    for targets, others, said in (
        ("", (), "--bundle names no target"),
        (" , ", (), "--bundle names no target"),
        ("rpi4", ("--target", "rpi2"), "leave --target out"),
    ):
        result = call("compile", tiny_model, "--bundle", targets, *others, "-o", "b.tar")
        assert result.code == 2
        assert said in result.sentence
        assert not Path("b.tar").exists()


def test_verify_is_refused_for_other_machines(call: Call, tiny_model: Path) -> None:
    result = call("compile", tiny_model, "--target", "rv64gc", "--verify", "-o", "o.so")
    assert result.code == 2
    assert "target 'rv64gc' riscv64" in result.sentence
    assert not Path("o.so").exists()
