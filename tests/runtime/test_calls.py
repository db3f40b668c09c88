"""Calling a loaded model: ways to pass inputs, to take outputs, what is copied, what a profile tells."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plan_builder import Arrays, PlanBuilder

from tilewright import runtime


@pytest.fixture
def model(tiny: Path) -> Any:
    with runtime.load(tiny, threads=1) as model:
        yield model


def assert_equal(outputs: runtime.Outputs, expected: Arrays) -> None:
    assert list(outputs.keys()) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(outputs[name], array, strict=True)


def test_inputs_by_place_by_name_and_as_a_mapping(model: runtime.Model, inputs: Arrays, expected: Arrays) -> None:
    x, ids = inputs.values()
    assert_equal(model(x, ids), expected)
    assert_equal(model(inputs), expected)
    assert_equal(model(**inputs), expected)
    assert_equal(model(x, **{"input.ids": ids}), expected)


def test_description(model: runtime.Model) -> None:
    assert model.name == "tiny"
    assert model.inputs == (
        runtime.TensorSpec("x", (2, 3), "float32"),
        runtime.TensorSpec("input.ids", (4,), "int64"),
    )
    assert model.outputs[1] == runtime.TensorSpec("total", (), "int64")
    assert model.manifest == {"name": "tiny", "cpu_features": []}
    assert (model.threads, model.arena_bytes, model.weight_bytes) == (1, 64, 12)
    assert [step.kernel for step in model.steps] == ["scale", "count"]
    assert "x: float32[2, 3]" in repr(model)


def test_outputs_unpack_index_and_map(model: runtime.Model, inputs: Arrays, expected: Arrays) -> None:
    outputs = model(inputs)
    y, total, positive = outputs
    assert y is outputs["y"] is outputs[0]
    assert positive is outputs[-1]
    assert total.shape == ()
    assert outputs[1:] == (total, positive)
    assert dict(outputs)["total"] is total
    assert len(outputs) == 3
    assert "y" in outputs
    assert "x" not in outputs
    assert [name for name, _ in outputs.items()] == ["y", "total", "positive"]
    assert repr(outputs) == "Outputs(y: float32[2, 3], total: int64[], positive: bool[4])"
    with pytest.raises(KeyError, match="no output 'totals' .did you mean 'total'"):
        outputs["totals"]
    with pytest.raises(IndexError):
        outputs[3]
    assert_equal(pickle.loads(pickle.dumps(outputs)), expected)


def test_a_run_gives_new_arrays(model: runtime.Model, inputs: Arrays, expected: Arrays) -> None:
    first = model(inputs)
    model({**inputs, "x": inputs["x"] + 1})
    assert_equal(first, expected)


@pytest.mark.parametrize("kind", ["mapping", "sequence", "earlier outputs"])
def test_out_writes_into_the_callers_buffers(model: runtime.Model, inputs: Arrays, expected: Arrays, kind: str) -> None:
    buffers = {"y": np.full((2, 3), np.nan, np.float32), "total": np.full((), -1), "positive": np.ones(4, bool)}
    out: Any = {"mapping": buffers, "sequence": list(buffers.values())}.get(kind)
    outputs = model(inputs, out=runtime.Outputs(list(buffers), list(buffers.values())) if out is None else out)
    assert_equal(outputs, expected)
    for name, buffer in buffers.items():
        assert np.shares_memory(outputs[name], buffer)


def test_out_may_leave_outputs_away(model: runtime.Model, inputs: Arrays, expected: Arrays) -> None:
    y = np.full((2, 3), np.nan, np.float32)
    assert_equal(model(inputs, out={"y": y}), expected)
    np.testing.assert_array_equal(y, expected["y"])
    y[:] = np.nan
    assert_equal(model(inputs, out=y), expected)
    np.testing.assert_array_equal(y, expected["y"])


@pytest.mark.parametrize(
    "arrange",
    [
        lambda x: np.asfortranarray(x),
        lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        lambda x: np.frombuffer(b"-" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape),
        lambda x: _read_only(x),
        lambda x: x.view(np.ma.MaskedArray),
    ],
    ids=["column-major", "strided", "unaligned", "read-only", "subclass"],
)
def test_any_memory_is_read(model: runtime.Model, inputs: Arrays, expected: Arrays, arrange: Any) -> None:
    assert_equal(model({**inputs, "x": arrange(inputs["x"])}), expected)


def test_broadcast_views_are_copied(model: runtime.Model, inputs: Arrays) -> None:
    wide = np.broadcast_to(np.array([1, 2, 3], np.float32), (2, 3))
    np.testing.assert_array_equal(model({**inputs, "x": wide})["y"], [[3, 7, 13], [3, 7, 13]])


def test_contiguous_input_is_not_copied(builder: PlanBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    with runtime.load(builder.shared("copy_f32", "copy", COPY_CODE=2, COPY_BITS=32, COPY_ELEMENTS=5)) as model:
        run = model._instance.run
        monkeypatch.setattr(model._instance, "run", lambda i, o, s: (seen.extend((i[0], o[0])), run(i, o, s)))
        x, buffer = np.arange(5, dtype=np.float32), np.full(5, np.nan, np.float32)
        outputs = model(x, out=buffer)
    assert seen == [x.ctypes.data, buffer.ctypes.data]
    np.testing.assert_array_equal(outputs[0], x)


@pytest.mark.parametrize(
    ("dtype", "code", "bits"),
    [
        ("int8", 0, 8),
        ("int16", 0, 16),
        ("int32", 0, 32),
        ("uint8", 1, 8),
        ("uint16", 1, 16),
        ("uint32", 1, 32),
        ("uint64", 1, 64),
        ("float16", 2, 16),
        ("float64", 2, 64),
        ("bool", 6, 8),
    ],
)
def test_element_types(builder: PlanBuilder, dtype: str, code: int, bits: int) -> None:
    path = builder.shared(f"copy_{dtype}", "copy", COPY_CODE=code, COPY_BITS=bits, COPY_ELEMENTS=5)
    x = np.array([0, 1, 1, 0, 1], dtype)
    with runtime.load(path) as model:
        assert model.inputs[0].dtype == dtype
        np.testing.assert_array_equal(model(x)["out"], x, strict=True)


def test_bfloat16_travels_as_its_bits(builder: PlanBuilder) -> None:
    path = builder.shared("copy_bfloat16", "copy", COPY_CODE=4, COPY_BITS=16, COPY_ELEMENTS=3)
    bits = np.array([0x3F80, 0xC000, 0x7FC0], np.uint16)
    with runtime.load(path) as model:
        assert model.inputs[0].dtype == "bfloat16"
        np.testing.assert_array_equal(model(bits)["out"], bits, strict=True)
        with pytest.raises(runtime.UserError, match="is bfloat16, not float32; pass its bits as uint16"):
            model(np.ones(3, np.float32))


def test_empty_tensors(builder: PlanBuilder) -> None:
    path = builder.shared("copy_empty", "copy", COPY_CODE=2, COPY_BITS=32, COPY_ELEMENTS=0)
    with runtime.load(path) as model:
        assert model(np.empty(0, np.float32))["out"].shape == (0,)


def test_an_input_may_be_called_like_a_parameter(builder: PlanBuilder) -> None:
    path = builder.shared("copy_i8", "copy", COPY_CODE=0, COPY_BITS=8, COPY_ELEMENTS=2)
    with runtime.load(path) as model:
        buffer = np.zeros(2, np.int8)
        assert model({"x": np.array([1, 2], np.int8)}, out={"out": buffer})["out"].base is buffer


def test_a_bound_call_reads_and_writes_the_same_memory_each_time(
    model: runtime.Model, inputs: Arrays, expected: Arrays
) -> None:
    x = inputs["x"].copy()
    y = np.full((2, 3), np.nan, np.float32)
    call = model.bind({**inputs, "x": x}, out={"y": y})
    assert np.isnan(y).all()
    assert call()["y"] is call.outputs["y"]
    np.testing.assert_array_equal(y, expected["y"])
    x += 1
    call()
    np.testing.assert_array_equal(y, expected["y"] + np.array([2, 3, 4], np.float32))
    with pytest.raises(runtime.UserError, match="no array is given for input 'x'"):
        model.bind({"input.ids": inputs["input.ids"]})


def test_a_bound_call_keeps_its_arrays_alive(model: runtime.Model, inputs: Arrays, expected: Arrays) -> None:
    call = model.bind({name: array.copy() for name, array in inputs.items()})
    junk = [np.full((2, 3), -1, np.float32) for _ in range(1000)]
    np.testing.assert_array_equal(call()["y"], expected["y"])
    assert len(junk) == 1000


def test_profile(model: runtime.Model, inputs: Arrays) -> None:
    times = model.profile(inputs, repeat=3)
    assert [(each.name, each.kernel, each.flops, each.bytes) for each in times] == [
        ("multiply, add", "scale", 12.0, 60.0),
        ("sum, greater", "count", 0.0, 76.0),
    ]
    assert all(0 <= each.seconds < 1 for each in times)
    with pytest.raises(runtime.UserError, match="repeat is 0; it is at least 1"):
        model.profile(inputs, repeat=0)


def test_profile_tells_the_slow_step(builder: PlanBuilder, inputs: Arrays) -> None:
    with runtime.load(builder.shared("slow_step", TINY_MICROSECONDS=20000), threads=1) as model:
        slow, quick = model.profile(inputs, repeat=2, warmup=0)
    assert slow.seconds >= 0.02
    assert quick.seconds < 0.02


def _read_only(array: Any) -> Any:
    view = array.view()
    view.flags.writeable = False
    return view
