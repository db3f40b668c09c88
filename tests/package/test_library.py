"""Libraries made of scheduled modules, called through C and compared with numpy."""

from __future__ import annotations

import ctypes
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from packaging_models import (
    Caller,
    Case,
    addresses,
    assert_expected,
    convolution_case,
    make,
    placed,
    poison,
    types_case,
)

from tilewright.runtime import interface
from tilewright.targets.database import load_target

FUNCTIONS = ("info", "create", "set_shapes", "output_shape", "run", "profile", "error", "free")
DOCUMENTED = {f"tilewright_{each}" for each in FUNCTIONS}
INVALID_ARGUMENT = -1
BUSY = -5


@pytest.fixture(scope="module")
def case() -> Case:
    return convolution_case()


@pytest.fixture(scope="module")
def library(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(case).save(tmp_path_factory.mktemp("library") / "model.so")


@pytest.fixture(scope="module")
def caller(library: Path) -> Caller:
    return Caller(library)


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("offset", [0, 4, 20, 60])
def test_numpy_agrees(caller: Caller, case: Case, threads: int, offset: int) -> None:
    instance = caller.instance(threads)
    for _ in range(3):
        assert_expected(case, caller.outputs(instance, case, offset=offset))
    caller.free(instance)


def test_element_types(tmp_path: Path) -> None:
    case = types_case()
    caller = Caller(make(case).save(tmp_path / "types.so"))
    tensors = [*caller.model.inputs[:2], *caller.model.outputs[:4]]
    kinds = [(each.dtype.code, each.dtype.bits, each.dtype.lanes) for each in tensors]
    assert kinds == [(0, 64, 1), (2, 16, 1), (0, 64, 1), (2, 16, 1), (6, 8, 1), (0, 8, 1)]
    instance = caller.instance(2)
    assert_expected(case, caller.outputs(instance, case, offset=8))
    caller.free(instance)


def test_results_do_not_depend_on_what_was_in_the_arena(caller: Caller, case: Case) -> None:
    size = caller.model.arena_bytes
    arena = np.empty(size + 64, "uint8")
    start = -arena.ctypes.data % 64
    results = []
    for filling in (0x00, 0xFF):
        arena[:] = filling
        made = ctypes.c_void_p()
        assert caller.create(1, arena.ctypes.data + start, ctypes.byref(made)) == interface.OK
        assert made.value
        results.append(caller.outputs(made.value, case))
        caller.free(made)
        assert (arena[:start] == filling).all()
        assert (arena[start + size :] == filling).all()
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


def test_profile_times_every_step(caller: Caller, case: Case) -> None:
    instance = caller.instance(2)
    inputs = [placed(each, 0) for each in case.inputs]
    outputs = [placed(poison(each), 0) for each in case.expected]
    seconds = (ctypes.c_double * caller.model.num_steps)(*[-1.0] * caller.model.num_steps)
    assert caller.profile(instance, addresses(inputs), addresses(outputs), seconds) == interface.OK
    assert_expected(case, outputs)
    assert all(0 <= each < 1 for each in seconds)
    names = [caller.model.steps[i].name.decode() for i in range(caller.model.num_steps)]
    assert names[0].startswith("fused_conv2d")
    assert names[-3:] == ["copy"] * 3
    assert caller.profile(instance, addresses(inputs), addresses(outputs), None) == INVALID_ARGUMENT
    assert b"seconds" in caller.error(instance)
    caller.free(instance)


def test_bad_buffers_are_refused_by_name(caller: Caller, case: Case) -> None:
    instance = caller.instance(1)
    inputs = [placed(each, 0) for each in case.inputs]
    outputs = [placed(poison(each), 0) for each in case.expected]

    def refusal(x: int | None, y: list[int]) -> str:
        code = caller.run(instance, (ctypes.c_void_p * 1)(x), (ctypes.c_void_p * 5)(*y))
        assert code == INVALID_ARGUMENT
        return str(caller.error(instance).decode())

    x, y = inputs[0].ctypes.data, [each.ctypes.data for each in outputs]
    assert refusal(None, y) == "input 0 ('x0') is a null pointer"
    assert refusal(x + 2, y) == "input 0 ('x0') is not aligned to its element"
    assert refusal(x, [y[0], x + 4, *y[2:]]) == "output 1 ('y1') overlaps an input"
    assert refusal(x, [y[0], y[1], y[0] + 8, *y[3:]]) == "output 2 ('y2') overlaps another output"
    assert caller.run(instance, None, addresses(outputs)) == INVALID_ARGUMENT
    assert all((each.view("uint8") == 0xFF).all() for each in outputs), "a refused run wrote to an output"
    assert_expected(case, caller.outputs(instance, case))
    assert caller.error(instance) == b""
    caller.free(instance)


def test_create_refuses_what_it_cannot_use(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    made = ctypes.c_void_p(1)
    assert caller.create(-1, None, ctypes.byref(made)) == INVALID_ARGUMENT
    assert made.value is None
    assert b"-1" in caller.error(None)
    assert caller.create(1, 8, ctypes.byref(made)) == INVALID_ARGUMENT
    assert b"aligned to 64" in caller.error(None)
    assert caller.create(1, None, None) == INVALID_ARGUMENT
    monkeypatch.setenv("TILEWRIGHT_NUM_THREADS", "many")
    assert caller.create(0, None, ctypes.byref(made)) == INVALID_ARGUMENT
    assert b"'many'" in caller.error(None)
    monkeypatch.setenv("TILEWRIGHT_NUM_THREADS", "3")
    before = threads_of_this_process()
    assert caller.create(0, None, ctypes.byref(made)) == interface.OK
    assert threads_of_this_process() == before + 2
    caller.free(made)
    assert threads_of_this_process() == before


def threads_of_this_process() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def test_an_instance_serves_one_caller_at_a_time(caller: Caller, case: Case) -> None:
    instance = caller.instance(1)
    codes: list[int] = []

    def call() -> None:
        inputs = [placed(each, 0) for each in case.inputs]
        outputs = [placed(each, 0) for each in case.expected]
        pointers = addresses(inputs), addresses(outputs)
        for _ in range(300):
            code = caller.run(instance, *pointers)
            codes.append(code)
            if code == BUSY:
                assert b"another thread" in caller.error(instance)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(codes) == {interface.OK, BUSY}
    assert_expected(case, caller.outputs(instance, case))
    caller.free(instance)


def test_eight_threads_with_four_instances_agree(caller: Caller, case: Case) -> None:
    instances = [(caller.instance(1 + index % 3), threading.Lock()) for index in range(4)]
    expected = caller.outputs(instances[0][0], case)
    different: list[int] = []

    def call(index: int) -> None:
        for turn in range(25):
            instance, lock = instances[(index + turn) % 4]
            with lock:
                outputs = caller.outputs(instance, case)
            if not all(np.array_equal(a, b) for a, b in zip(outputs, expected, strict=True)):
                different.append(turn)

    threads = [threading.Thread(target=call, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not different
    for instance, _ in instances:
        caller.free(instance)


def test_exports_and_needs(library: Path) -> None:
    symbols = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True).stdout
    assert {line.split()[-1] for line in symbols.splitlines()} == DOCUMENTED
    needed = subprocess.run(["ldd", library], capture_output=True, text=True, check=True).stdout
    names = {line.split()[0].rsplit("/", 1)[-1] for line in needed.splitlines()}
    assert {each.split(".so")[0] for each in names} <= {"linux-vdso", "libc", "libm", "ld-linux-x86-64"}
    sections = subprocess.run(["objdump", "-h", library], capture_output=True, text=True, check=True).stdout
    assert ".debug" not in sections
    assert library.stat().st_size < 100_000


def test_a_cpu_without_the_features_is_refused(case: Case, tmp_path: Path) -> None:
    host = load_target("host")
    target = replace(host, name="future", features=host.features | {"avx2048f", "quantum"})
    caller = Caller(make(case, target=target).save(tmp_path / "future.so"))
    made = ctypes.c_void_p(1)
    assert caller.create(1, None, ctypes.byref(made)) == interface.UNSUPPORTED_CPU
    assert made.value is None
    assert caller.error(None) == (
        b"'model' was compiled for future; this CPU lacks avx2048f, quantum: compile it for this machine"
    )


def test_weights_beyond_the_small_code_model(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tilewright.compiler.package.products.LARGE_BYTES", 0)
    path = make(case).save(tmp_path / "large.so")
    headers = subprocess.run(["readelf", "-SW", path], capture_output=True, text=True, check=True).stdout
    assert ".lrodata" in headers
    caller = Caller(path)
    instance = caller.instance(1)
    assert_expected(case, caller.outputs(instance, case))
    caller.free(instance)
