from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packaging_models import Caller, Case, assert_expected, convolution_case, make

from tilewright.compiler.package import kernels
from tilewright.compiler.package.helpers import Request, Work, helpers
from tilewright.compiler.package.kernels import compile_kernels
from tilewright.signature import Signature, TensorSpec
from tilewright.targets.database import load_target
from tilewright.targets.target import Target

V4 = "x86-64-v4"


def tiled_matmul(size: int = 64, scale: float = 1.0) -> Any:
    """A matrix product in 4 x 16 tiles, rows in parallel: broadcasts from one operand, vectors from the other."""
    from tvm import s_tir, te

    a, b = te.placeholder((size, size), name="a"), te.placeholder((size, size), name="b")
    k = te.reduce_axis((0, size), name="k")
    c = te.compute((size, size), lambda i, j: te.sum(a[i, k] * b[k, j] * np.float32(scale), axis=k), name="c")
    schedule = s_tir.Schedule(te.create_prim_func([a, b, c]))
    i, j, inner = schedule.get_loops(schedule.get_sblock("c"))
    i_out, i_in = schedule.split(i, [None, 4])
    j_out, j_in = schedule.split(j, [None, 16])
    schedule.reorder(i_out, j_out, inner, i_in, j_in)
    schedule.vectorize(j_in)
    schedule.unroll(i_in)
    schedule.parallel(i_out)
    return schedule.mod["main"]


def row_scratch(rows: int = 24, width: int = 3000) -> Any:
    """Every parallel row is computed into a buffer of its own first, too large for the stack."""
    from tvm import s_tir, te

    x = te.placeholder((rows, width), name="x")
    squares = te.compute((rows, width), lambda i, j: x[i, j] * x[i, j], name="squares")
    y = te.compute((rows, width), lambda i, j: squares[i, width - 1 - j] + 1.0, name="y")
    schedule = s_tir.Schedule(te.create_prim_func([x, y]))
    outer = schedule.get_loops(schedule.get_sblock("y"))[0]
    schedule.parallel(outer)
    schedule.compute_at(schedule.get_sblock("squares"), outer)
    return schedule.mod["main"]


def disassembly(path: Path) -> str:
    return subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", path], capture_output=True, text=True, check=True
    ).stdout


def test_no_load_or_store_of_a_parameter_needs_alignment(tmp_path: Path) -> None:
    compiled = compile_kernels({"product": tiled_matmul()}, load_target(V4), tmp_path, 1)["product"]
    code = disassembly(compiled.path)
    aligned_accesses = [line for line in code.splitlines() if re.search(r"v?mov(ap|dqa|nt)", line) and "(" in line]
    assert not [line for line in aligned_accesses if "(%rsp" not in line and "(%rbp" not in line]
    assert re.search(r"vfmadd\d+ps .*\(.*\)\{1to16\},%zmm", code), "broadcasts should come from memory"


def test_the_object_needs_only_the_runtime_and_libm(tmp_path: Path) -> None:
    for name, kernel in compile_kernels(convolution_functions(), load_target(V4), tmp_path, 1).items():
        listing = subprocess.run(["nm", "-u", kernel.path], capture_output=True, text=True, check=True).stdout
        undefined = {line.split()[-1] for line in listing.splitlines()}
        assert undefined <= {"expf", "memcpy", "memset"}, name


def convolution_functions() -> dict[str, Any]:
    functions = convolution_case().module.functions_items()
    return {name.name_hint: function for name, function in functions if name.name_hint != "main"}


def test_equal_functions_share_a_kernel(tmp_path: Path) -> None:
    same = tiled_matmul().with_attr("global_symbol", "other").with_attr("tilewright.flops", 3.0)
    functions = {"first": tiled_matmul(), "second": same, "third": tiled_matmul(scale=2.0)}
    compiled = compile_kernels(functions, load_target(V4), tmp_path, 1)
    assert compiled["first"] == compiled["second"]
    assert compiled["third"].symbol != compiled["first"].symbol
    assert len(list(tmp_path.iterdir())) == 2


def test_names_that_look_alike_in_c_stay_apart(tmp_path: Path) -> None:
    functions = {"a.b": tiled_matmul(), "a_b": tiled_matmul(scale=2.0)}
    symbols = [each.symbol for each in compile_kernels(functions, load_target(V4), tmp_path, 1).values()]
    assert symbols == ["tw_kernel_a_b", "tw_kernel_a_b_1"]


def test_a_process_gives_the_same_bytes_as_this_one(tmp_path: Path) -> None:
    functions = {f"k{index}": tiled_matmul(scale=float(index + 1)) for index in range(3)}
    here = compile_kernels(functions, load_target(V4), tmp_path, 1)
    bytes_here = {each.symbol: (each.scratch, each.path.read_bytes()) for each in here.values()}
    symbols = {each.symbol: functions[name] for name, each in here.items()}
    folder = tmp_path / "process"
    folder.mkdir()
    work = Work(deque(kernels._requests(symbols, load_target(V4), folder)))
    with helpers(work, 1):
        deadline = time.monotonic() + 60
        while len(work.scratch) < 3 and not work.failures and time.monotonic() < deadline:
            time.sleep(0.05)
    assert not work.failures
    assert {name: (size, (folder / f"{name}.o").read_bytes()) for name, size in work.scratch.items()} == bytes_here


def test_an_error_in_a_process_names_the_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_KERNELS_PER_PROCESS", 1)
    target = load_target(V4)
    broken = Target(**{**target.__dict__, "tvm": (("kind", "llvm"), ("mcpu", 3))})
    with pytest.raises(Exception, match="mcpu|kernel tw_kernel_k"):
        compile_kernels({f"k{i}": tiled_matmul(scale=float(i)) for i in range(3)}, broken, tmp_path, 3)


def test_scratch_inside_a_parallel_loop(tmp_path: Path) -> None:
    from tvm import relax
    from tvm.ir import GlobalVar

    builder = relax.BlockBuilder()
    kernel: GlobalVar = builder.add_func(row_scratch().without_attr("global_symbol"), "rows")
    x = relax.Var("x", relax.TensorType((24, 3000), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            result = builder.emit(relax.call_tir(kernel, [x], relax.TensorType((24, 3000), "float32")))
            output = builder.emit_output(relax.Tuple([result]))
        builder.emit_func_output(output)
    values = np.random.default_rng(0).standard_normal((24, 3000), dtype="float32")
    spec = TensorSpec("x", values.shape, "float32")
    case = Case(builder.finalize(), Signature((spec,), (spec,)), [values], [(values * values)[:, ::-1] + 1])
    caller = Caller(make(case).save(tmp_path / "rows.so"))
    assert caller.model.arena_bytes == 0
    for threads in (1, 4):
        instance = caller.instance(threads)
        for _ in range(4):
            assert_expected(case, caller.outputs(instance, case))
        caller.free(instance)


def test_an_interrupt_leaves_no_process_and_no_file(tmp_path: Path) -> None:
    program = Path(__file__).with_name("interrupted.py")
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(program.parents[1])}
    process = subprocess.Popen(
        [sys.executable, str(program)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "compiling\n"
    deadline = time.monotonic() + 60
    while len(workers := children(process.pid)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(workers) == 2
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    deadline = time.monotonic() + 5
    while (left := [pid for pid in workers if Path(f"/proc/{pid}").exists()]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left
    assert list(tmp_path.iterdir()) == []


def children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(each) for each in listed.split()]


def test_an_error_comes_back_with_its_traceback(tmp_path: Path) -> None:
    work = Work(deque([Request("this is no function", "lost", {}, tmp_path / "lost.o")]))
    with helpers(work, 1):
        deadline = time.monotonic() + 60
        while not work.failures and time.monotonic() < deadline:
            time.sleep(0.05)
    assert isinstance(work.failures[0], RuntimeError)
    assert "kernel lost" in str(work.failures[0])
    assert "Traceback" in str(work.failures[0])


def test_a_full_disk_is_told_apart_from_a_bug(tmp_path: Path) -> None:
    (request,) = kernels._requests({"k": tiled_matmul()}, load_target(V4), tmp_path)
    work = Work(deque([replace(request, path=Path("/dev/full"))]))
    with helpers(work, 1):
        deadline = time.monotonic() + 60
        while not work.failures and time.monotonic() < deadline:
            time.sleep(0.05)
    assert isinstance(work.failures[0], OSError)
    assert work.failures[0].errno == errno.ENOSPC


def test_nobody_waits_for_a_process_that_has_nothing_to_do() -> None:
    start = time.monotonic()
    with helpers(Work(deque()), 2) as finish:
        finish()
    assert time.monotonic() - start < 1.0
