"""What a wrong call says: one sentence that names the file and the input, and how to mend it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plan_builder import Arrays, PlanBuilder

from tilewright import runtime
from tilewright.errors import UserError

X = np.zeros((2, 3), np.float32)
IDS = np.zeros(4, np.int64)


@pytest.fixture
def model(tiny: Path) -> Any:
    with runtime.load(tiny, threads=1) as model:
        yield model


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"x": X}, "no array is given for input 'input.ids'"),
        ({}, "no array is given for input 'x', 'input.ids'"),
        (
            {"x": X, "input_ids": IDS},
            "its inputs has none named 'input_ids' (did you mean 'input.ids'?); they are x, input.ids",
        ),
        ({"x": X, "input.ids": IDS, "extra": X}, "its inputs has none named 'extra'; they are x, input.ids"),
        (
            {"x": X[0], "input.ids": IDS},
            "input 'x' has shape [2, 3], not [3]; reshape the array, "
            "or compile the model for that shape with --input-shapes",
        ),
        (
            {"x": X.astype(np.float64), "input.ids": IDS},
            "input 'x' is float32, not float64; pass x.astype('float32')",
        ),
        ({"x": X.astype(object), "input.ids": IDS}, "input 'x' is float32, not object; pass x.astype('float32')"),
        (
            {"x": X, "input.ids": IDS.astype(np.int32)},
            "input 'input.ids' is int64, not int32; pass x.astype('int64')",
        ),
        (
            {"x": X.astype(">f4"), "input.ids": IDS},
            "input 'x' is given in foreign byte order; pass x.astype('float32')",
        ),
        (
            {"x": [[0.0] * 3] * 2, "input.ids": IDS},
            "input 'x' is given a list, which is not an array; pass numpy.asarray(value, dtype='float32')",
        ),
        (
            {"x": None, "input.ids": IDS},
            "input 'x' is given a NoneType, which is not an array; pass numpy.asarray(value, dtype='float32')",
        ),
    ],
)
def test_inputs(model: runtime.Model, tiny: Path, given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(f'{tiny}: {sentence}')}$"):
        model(given)


def test_too_many_and_twice(model: runtime.Model) -> None:
    with pytest.raises(UserError, match=r"its inputs takes 2 \(x, input.ids\), not 3"):
        model(X, IDS, X)
    with pytest.raises(UserError, match="'x' is given twice, by place and by name"):
        model(X, x=X)


@pytest.mark.parametrize(
    ("out", "sentence"),
    [
        ({"z": X}, "its outputs has none named 'z'; they are y, total, positive"),
        ([X, X, X, X], "its outputs takes 3 (y, total, positive), not 4"),
        ({"y": np.zeros((3, 2), np.float32)}, "output 'y' has shape [2, 3], not [3, 2]"),
        ({"y": np.zeros((2, 3))}, "output 'y' is float32, not float64"),
        ({"y": np.zeros((2, 6), np.float32)[:, ::2]}, "output 'y' needs a buffer that is writeable, C-contiguous and"),
        ({"y": np.broadcast_to(np.float32(0), (2, 3))}, "output 'y' needs a buffer that is writeable"),
        ({"y": "text"}, "output 'y' is given a str, which is not an array"),
    ],
)
def test_out(model: runtime.Model, out: Any, sentence: str) -> None:
    with pytest.raises(UserError, match=re.escape(sentence)):
        model(X, IDS, out=out)


def test_shared_memory_is_refused(model: runtime.Model, builder: PlanBuilder) -> None:
    x = X.copy()
    with pytest.raises(UserError, match="output 'y' and .*input 'x' share memory; give the output a buffer of its own"):
        model(x, IDS, out={"y": x})
    block = np.zeros(40, np.uint8)
    both = {"y": block[:24].view(np.float32).reshape(2, 3), "positive": block[20:24].view(bool)}
    with pytest.raises(UserError, match="output 'positive' and .*output 'y' share memory"):
        model(x, IDS, out=both)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_check_finite(tiny: Path, bad: float, inputs: Arrays) -> None:
    inputs["x"][1, 2] = bad
    with runtime.load(tiny, threads=1, check_finite=True) as model:
        sentence = f"input 'x' holds {bad} at [1, 2] (1 of its 6 elements are not finite); mend the data"
        with pytest.raises(UserError, match=re.escape(f"{tiny}: {sentence}")):
            model(inputs)
        assert np.array_equal(model.new_instance(check_finite=False)(inputs)["y"][1, 2], bad, equal_nan=True)


def test_nan_is_computed_with_by_default(model: runtime.Model, inputs: Arrays) -> None:
    y = model({**inputs, "x": np.full((2, 3), np.nan, np.float32)})["y"]
    assert np.isnan(y).all()


def test_closed(tiny: Path, inputs: Arrays) -> None:
    model = runtime.load(tiny)
    model.close()
    model.close()
    assert model.closed
    for use in (lambda: model(inputs), model.new_instance, lambda: model.profile(inputs)):
        with pytest.raises(UserError, match="tiny.so: the model is closed; load it again"):
            use()


def test_failing_step_is_named(builder: PlanBuilder, inputs: Arrays) -> None:
    with (
        runtime.load(builder.shared("failing", TINY_FAILURE=-1)) as model,
        pytest.raises(RuntimeError, match=r"failing.so: step 1 \('sum, greater'\) found no memory"),
    ):
        model(inputs)
