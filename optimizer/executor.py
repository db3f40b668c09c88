"""Running a model under onnxruntime, with any of its inner tensors as outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, ValueInfoProto

from ..errors import UserError
from .graph import copy_of

Array = NDArray[Any]


class Executor:
    """A model that can be run on samples.

    Quantize and dequantize nodes are computed as they are written, in floats: what the model means, not what one
    machine's integer instructions make of it.

    Args:
        model: the model.
        wanted: names of tensors to return; the model's outputs when left out.
        name: what to call the model in errors.

    Raises:
        UserError: onnxruntime is not installed or refuses the model.
    """

    def __init__(self, model: ModelProto, wanted: Sequence[str] | None = None, name: str = "the model") -> None:
        ort = _onnxruntime()
        self.outputs = [value.name for value in model.graph.output]
        self.wanted = list(dict.fromkeys(self.outputs if wanted is None else wanted))
        self._name = name
        extra = [each for each in self.wanted if each not in self.outputs]
        if extra:
            model = copy_of(model)
            model.graph.output.extend(ValueInfoProto(name=each) for each in extra)
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        try:
            self._session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions have no common base
            raise UserError(f"onnxruntime refuses {name}: {_first_line(error)}") from error

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return the wanted tensors of one run, by name. Raises UserError when onnxruntime cannot run the sample."""
        try:
            values = self._session.run(self.wanted, dict(inputs))
        except Exception as error:
            raise UserError(f"onnxruntime cannot run {self._name}: {_first_line(error)}") from error
        return {name: np.asarray(value) for name, value in zip(self.wanted, values, strict=True)}


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError("quantizing needs onnxruntime: run \"pip install 'tilewright[quantize]'\"") from error
    return onnxruntime


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
