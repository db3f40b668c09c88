"""``tilewright quantize``: read, quantize by a method, measure, write."""

from __future__ import annotations

from dataclasses import replace

from ...compiler.files import check_writable
from ...errors import UserError
from ..data import Sample, input_specs, load_samples
from ..graph import read_model, save_model
from ..metrics import find_metric
from .job import Job, Request, Result, Tell
from .methods import METHODS
from .report import Report, layer_reports, measure_latency

_NOISE_SAMPLES = 16
_FEW = 8


def quantize_model(request: Request, tell: Tell = lambda what: None) -> Report:
    """Quantize a model file, write the result and report.

    Args:
        tell: hears what is being done.

    Raises:
        UserError: for whatever the user can mend: the model, the data, a bound that cannot be kept.
    """
    method = METHODS[request.method]
    check_writable(request.output)
    if (method.needs_data or request.rounding == "gptq") and request.calibration is None:
        what = f"method '{request.method}'" if method.needs_data else "rounding by gptq"
        raise UserError(f"{what} needs samples: give --calibration with a folder or module:function")
    tell("reading")
    model = read_model(request.model)
    specs = input_specs(model)

    def samples_of(source: str | None) -> list[Sample]:
        return load_samples(source, specs, request.preprocessing, request.samples) if source else []

    calibration = samples_of(request.calibration)
    validation = samples_of(request.validation) or calibration
    metric = find_metric(request.metric, [sample.targets for sample in validation])
    job = Job(request, model, calibration, validation, metric, tell)
    result = method.run(job)
    tell("measuring")
    report = _report(job, result)
    if method.bounded and not result.met and not request.best_effort:
        raise UserError(_unmet(request, report))
    save_model(result.model, request.output)
    report = replace(report, written=request.output)
    return _with_latency(request, report, tell) if request.latency else report


def _report(job: Job, result: Result) -> Report:
    request = job.request
    known = bool(job.validation)
    notes = list(result.notes)
    if len(job.calibration) == 1:
        notes.append("one sample only was given to calibrate with: the ranges may be far too narrow, give some dozens")
    elif 0 < len(job.calibration) < _FEW:
        notes.append(f"{len(job.calibration)} samples are few to calibrate with: some dozens give steadier ranges")
    if known and request.validation is None:
        notes.append("accuracy was measured on the calibration samples: give --validation for others")
    if not result.met:
        notes.append(f"the bound of {request.max_drop:g} does not hold: this is the best that was found")
    return Report(
        request.model.name,
        request.method,
        job.metric.name,
        job.before if known else None,
        job.figure(result.judged or result.model) if known else None,
        job.model.ByteSize(),
        result.model.ByteSize(),
        layer_reports(
            result.reference, result.model, request.model, (job.calibration or job.validation)[:_NOISE_SAMPLES]
        ),
        result.reverted,
        result.steps,
        tuple(notes),
    )


def _unmet(request: Request, report: Report) -> str:
    assert report.before is not None
    assert report.after is not None
    return (
        f"{request.model}: {report.metric} cannot be kept within {request.max_drop:g}: it is {report.before:.6g} in "
        f"floats, and {report.after:.6g} is the best of {len(report.steps)} trials ({len(report.reverted)} of "
        f"{len(report.layers)} layers reverted); nothing was written: raise --max-drop, or give --best-effort"
    )


def _with_latency(request: Request, report: Report, tell: Tell) -> Report:
    tell("compiling both models")
    try:
        before, after = measure_latency(request.model, request.output)
    except UserError as error:
        return replace(report, notes=(*report.notes, f"latency was not measured: {error}"))
    return replace(report, float_seconds=before, quantized_seconds=after)
