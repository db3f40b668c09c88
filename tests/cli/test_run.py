"""`tilewright run`, on a library from a hand-written plan."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from cli.conftest import Call
from plan_builder import Arrays


def test_outputs_are_what_numpy_computes(call: Call, tiny: Path, inputs: Arrays) -> None:
    np.savez("x.npz", **inputs)
    result = call("run", tiny, "--inputs", "x.npz", "--outputs", "y.npz")
    assert result.code == 0, result.err
    with np.load("y.npz", allow_pickle=False) as outputs:
        np.testing.assert_array_equal(outputs["y"], inputs["x"] * np.array([2, 3, 4], np.float32) + 1)
        assert outputs["total"] == 7
        assert outputs["positive"].tolist() == [True, False, False, True]
    assert "y: float32 [2, 3]" in result.out


def test_compressed_files_are_read(call: Call, tiny: Path, inputs: Arrays) -> None:
    np.savez_compressed("x.npz", **inputs)
    assert call("run", tiny, "--inputs", "x.npz").code == 0


def test_top_elements_come_largest_first(call: Call, tiny: Path, inputs: Arrays) -> None:
    np.savez("x.npz", **inputs)
    lines = call("run", tiny, "--inputs", "x.npz", "--print-top", "2").out.splitlines()
    start = lines.index("y: float32 [2, 3]")
    assert lines[start + 1 : start + 3] == ["  [1, 2] 21", "  [1, 1] 13"]


def test_equal_seeds_give_equal_outputs(call: Call, tiny: Path) -> None:
    for seed, name in ((7, "a.npz"), (7, "b.npz"), (8, "c.npz")):
        assert call("run", tiny, "--seed", seed, "--outputs", name).code == 0
    a, b, c = (np.load(name)["y"] for name in ("a.npz", "b.npz", "c.npz"))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


@pytest.mark.parametrize(("fill", "expected"), [("zeros", [1.0, 1.0, 1.0]), ("ones", [3.0, 4.0, 5.0])])
def test_fills(call: Call, tiny: Path, fill: str, expected: list[float]) -> None:
    assert call("run", tiny, "--fill", fill, "--outputs", "y.npz").code == 0
    assert np.load("y.npz")["y"].tolist() == [expected, expected]


def test_repeat_is_timed(call: Call, tiny: Path) -> None:
    assert "25 run(s), median " in call("run", tiny, "--repeat", "25", "--threads", "2").out


def test_quiet_prints_what_was_asked_for_only(call: Call, tiny: Path) -> None:
    assert call("run", tiny, "-q").out == ""
    assert len(call("run", tiny, "-q", "--print-top", "1").out.splitlines()) == 3


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"x": None}, "'x.npz' has no array 'x', which the model needs: it holds 'input.ids'"),
        ({"z": np.zeros(1)}, "'x.npz' holds 'z', which is no input of the model"),
        ({"input.idz": np.zeros(1)}, "which is no input of the model (did you mean 'input.ids'?)"),
        ({"x": np.zeros((2, 3))}, "has the element type float64, the model takes float32: convert it with .astype"),
        ({"x": np.zeros((3, 2), np.float32)}, "has the shape (3, 2), the model takes (2, 3)"),
        ({"x": np.zeros((2, 3, 1), np.float32)}, "has the shape (2, 3, 1), the model takes (2, 3)"),
        ({"x": np.full((2, 3), np.nan, np.float32)}, "array 'x' is filled with NaN"),
        ({"x": np.array([[None] * 3] * 2)}, "array 'x' holds pickled Python objects"),
        ({"x": np.zeros((2, 3), ">f4")}, "has the element type >f4, the model takes float32"),
    ],
)
def test_bad_inputs_are_one_sentence(call: Call, tiny: Path, inputs: Arrays, change: Arrays, part: str) -> None:
    changed = {name: array for name, array in {**inputs, **change}.items() if array is not None}
    np.savez("x.npz", **changed)
    result = call("run", tiny, "--inputs", "x.npz", "--outputs", "y.npz")
    assert part in result.sentence
    assert not Path("y.npz").exists()


def test_columns_first_arrays_are_read_rightly(call: Call, tiny: Path, inputs: Arrays) -> None:
    np.savez("x.npz", **{**inputs, "x": np.asfortranarray(inputs["x"])})
    assert call("run", tiny, "--inputs", "x.npz", "--outputs", "y.npz").code == 0
    np.testing.assert_array_equal(np.load("y.npz")["y"], inputs["x"] * np.array([2, 3, 4], np.float32) + 1)


def _truncated(path: Path, inputs: Arrays) -> None:
    np.savez(path, **inputs)
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda path, inputs: None, "cannot read 'x.npz': No such file"),
        (lambda path, inputs: path.mkdir(), "cannot read 'x.npz': Is a directory"),
        (lambda path, inputs: path.write_bytes(b""), "'x.npz' is not a valid .npz file"),
        (lambda path, inputs: path.write_bytes(b"\x80\x04K\x01."), "'x.npz' is not a valid .npz file"),
        (lambda path, inputs: np.save(path.open("wb"), inputs["x"]), "'x.npz' is not a valid .npz file"),
        (_truncated, "'x.npz' is not a valid .npz file"),
    ],
)
def test_damaged_files_are_one_sentence(call: Call, tiny: Path, inputs: Arrays, make: object, part: str) -> None:
    make(Path("x.npz"), inputs)  # type: ignore[operator]
    assert part in call("run", tiny, "--inputs", "x.npz").sentence


def test_a_header_that_promises_too_much_takes_no_memory(call: Call, tiny: Path, inputs: Arrays) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (2**40, 3)})
    with zipfile.ZipFile("x.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue())
        ids = io.BytesIO()
        np.save(ids, inputs["input.ids"])
        archive.writestr("input.ids.npy", ids.getvalue())
    assert "has the shape (1099511627776, 3)" in call("run", tiny, "--inputs", "x.npz").sentence


def test_a_short_array_is_one_sentence(call: Call, tiny: Path, inputs: Arrays) -> None:
    np.savez("whole.npz", **inputs)
    with zipfile.ZipFile("whole.npz") as whole, zipfile.ZipFile("x.npz", "w") as archive:
        for name in whole.namelist():
            data = whole.read(name)
            archive.writestr(name, data[:-4] if name == "x.npy" else data)
    assert "has 20 bytes of data where its shape needs 24" in call("run", tiny, "--inputs", "x.npz").sentence


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("nowhere/y.npz", "cannot write 'nowhere/y.npz': there is no folder 'nowhere'"),
        (".", "it is a folder"),
    ],
)
def test_outputs_that_cannot_be_written_are_refused_first(call: Call, path: str, part: str) -> None:
    assert part in call("run", "no-such.so", "--outputs", path).sentence


def test_a_full_disk_leaves_nothing(call: Call, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tilewright.compiler.tensors.np.lib.format.write_array", full)
    sentence = call("run", tiny, "--outputs", "y.npz").sentence
    assert sentence == "cannot write 'y.npz': No space left on device"
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("no.so", None, "no.so: no such file"),
        ("empty.so", b"", "the file is empty"),
        ("model.onnx", b"\x08\x07\x12\x00" * 9, "is not a shared library"),
    ],
)
def test_what_is_no_library_is_one_sentence(call: Call, name: str, content: bytes | None, part: str) -> None:
    if content is not None:
        Path(name).write_bytes(content)
    assert part in call("run", name).sentence


def test_a_truncated_library_is_one_sentence(call: Call, tiny: Path) -> None:
    Path("cut.so").write_bytes(tiny.read_bytes()[:9000])
    assert "cut.so" in call("run", "cut.so").sentence


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("--fill", "rnadom"), "there is no fill 'rnadom' (did you mean 'random'?)"),
        (("--seed", "-1"), "--seed"),
        (("--repeat", "0"), "--repeat"),
        (("--threads", "many"), "--threads"),
        (("--print-top", "0"), "--print-top"),
    ],
)
def test_bad_options_are_one_sentence(call: Call, words: tuple[str, ...], part: str) -> None:
    assert part in call("run", "model.so", *words).sentence
