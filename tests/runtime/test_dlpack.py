"""Tensors of other frameworks, by DLPack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plan_builder import Arrays, PlanBuilder

from tilewright import runtime
from tilewright.errors import UserError

torch = pytest.importorskip("torch")


@pytest.fixture
def model(tiny: Path) -> Any:
    with runtime.load(tiny, threads=1) as model:
        yield model


@pytest.fixture
def tensors(inputs: Arrays) -> dict[str, Any]:
    return {name: torch.from_numpy(array.copy()) for name, array in inputs.items()}


def test_tensors_in_and_out(model: runtime.Model, tensors: dict[str, Any], expected: Arrays) -> None:
    outputs = model(tensors)
    back = torch.from_dlpack(outputs["y"])
    torch.testing.assert_close(back, tensors["x"] * torch.tensor([2.0, 3.0, 4.0]) + 1, rtol=0, atol=0)
    assert back.data_ptr() == outputs["y"].ctypes.data
    np.testing.assert_array_equal(outputs["positive"], expected["positive"])


def test_a_contiguous_tensor_is_not_copied(
    model: runtime.Model, tensors: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    run = model._instance.run
    monkeypatch.setattr(model._instance, "run", lambda i, o, s: (seen.append(i[0]), run(i, o, s)))
    model(tensors)
    assert seen == [tensors["x"].data_ptr()]


def test_a_strided_tensor_is_copied(model: runtime.Model, tensors: dict[str, Any], expected: Arrays) -> None:
    tensors["x"] = tensors["x"].T.contiguous().T
    assert not tensors["x"].is_contiguous()
    np.testing.assert_array_equal(model(tensors)["y"], expected["y"])


def test_out_is_a_tensor(model: runtime.Model, tensors: dict[str, Any], expected: Arrays) -> None:
    y = torch.full((2, 3), float("nan"))
    model(tensors, out={"y": y})
    np.testing.assert_array_equal(y.numpy(), expected["y"])


def test_bool_tensors(builder: PlanBuilder) -> None:
    path = builder.shared("copy_torch_bool", "copy", COPY_CODE=6, COPY_BITS=8, COPY_ELEMENTS=3)
    with runtime.load(path) as model:
        assert model(torch.tensor([True, False, True]))["out"].tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: torch.zeros(2, 3, dtype=torch.float64), "input 'x' is float32, not float64"),
        (lambda: torch.zeros(2, 3, dtype=torch.bfloat16), "input 'x' is given a Tensor that DLPack refuses"),
        (lambda: torch.zeros(2, 3, requires_grad=True), r"Can't export tensors that require gradient"),
        (lambda: torch.zeros(2, 3, device="meta"), "input 'x' is given a Tensor that DLPack refuses"),
        (lambda: torch.zeros(3, 2), r"input 'x' has shape \[2, 3\], not \[3, 2\]"),
    ],
)
def test_refused(model: runtime.Model, tensors: dict[str, Any], make: Any, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        model({**tensors, "x": make()})


class OnAnotherDevice:
    """What a tensor on a GPU looks like (DLPack's kDLCUDA is 2)."""

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)

    def __dlpack__(self, **_: object) -> object:
        raise AssertionError("it must not be exported")


def test_another_device(model: runtime.Model, tensors: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="input 'x' is given a OnAnotherDevice on another device; copy it to the CPU"):
        model({**tensors, "x": OnAnotherDevice()})
