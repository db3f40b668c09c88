"""A request to quantize, and what one method needs to serve it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from onnx import ModelProto

from ..data import Sample
from ..executor import Executor
from ..metrics import Metric, Runs
from .accuracy import Step
from .preparation import Prepared, Recipe, prepare

#: Told what is being done, in a few words.
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What to quantize, and how.

    Attributes:
        model: the float model's file.
        output: the file to write.
        method: a row of ``METHODS``.
        calibration: samples to find ranges with (see ``load_samples``); None for methods that need none.
        validation: samples to measure the metric on; None for the calibration's.
        preprocessing: how images become arrays.
        samples: how many samples of each source to take at most.
        metric: a row of ``METRICS`` or ``module:function``; None to choose by the targets.
        max_drop: by how much the metric may become worse: 0.005 is half a point of an accuracy.
        best_effort: write the best model even where the bound does not hold.
        bits, group: of the weights-only method.
        rounding: of the weights-only method: "nearest", or "gptq" (with feedback, for inputs like the calibration's).
        latency: compile both models and measure them.
    """

    model: Path
    output: Path
    method: str = "default"
    calibration: str | None = None
    validation: str | None = None
    preprocessing: Path | None = None
    samples: int = 300
    metric: str | None = None
    max_drop: float = 0.005
    best_effort: bool = False
    bits: int = 8
    group: int = 32
    rounding: str = "nearest"
    recipe: Recipe = field(default_factory=Recipe)
    latency: bool = False


@dataclass(frozen=True)
class Result:
    """What a method made.

    Attributes:
        model: the quantized model.
        reference: the float model whose inner tensors it should reproduce.
        judged: the model that was measured, where the one written leaves a precision to the compiler.
        reverted: layers that were given more precision, each with the reason.
        steps: the trials of a search.
        met: whether the bound holds, where the method has one.
        notes: sentences for the report.
    """

    model: ModelProto
    reference: ModelProto
    judged: ModelProto | None = None
    reverted: tuple[tuple[str, str], ...] = ()
    steps: tuple[Step, ...] = ()
    met: bool = True
    notes: tuple[str, ...] = ()


@dataclass
class Job:
    """A request with its model and samples read.

    Attributes:
        model: the float model as read.
        calibration, validation: the samples; both empty for a method without data.
    """

    request: Request
    model: ModelProto
    calibration: Sequence[Sample]
    validation: Sequence[Sample]
    metric: Metric
    tell: Tell

    @cached_property
    def prepared(self) -> Prepared:
        """The calibrated model."""
        self.tell("calibrating")
        return prepare(self.model, self.request.model, self.calibration, self.request.recipe)

    @cached_property
    def references(self) -> Runs:
        """The float model's outputs on the validation samples."""
        run = Executor(self.model)
        return [run(sample.inputs) for sample in self.validation]

    @cached_property
    def before(self) -> float:
        """The float model's figure."""
        return self._measure(self.references)

    def figure(self, model: ModelProto) -> float:
        """Return a model's figure on the validation samples."""
        run = Executor(model)
        return self._measure([run(sample.inputs) for sample in self.validation])

    def judge(self, model: ModelProto) -> tuple[float, float]:
        """Return a model's figure and by how much it is worse than the float model's."""
        figure = self.figure(model)
        return figure, self.metric.drop(self.before, figure)

    def _measure(self, outputs: Runs) -> float:
        return float(self.metric.measure(outputs, self.references, [sample.targets for sample in self.validation]))
