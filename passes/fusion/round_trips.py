"""Programs without conversions to bytes and back that change nothing."""

from __future__ import annotations

from dataclasses import replace

from ...workload import PointwiseProgram, PointwiseStep

_RANGES = {"uint8": (0.0, 255.0), "int8": (-128.0, 127.0)}
#: The least and the largest value, and whether all values are whole numbers.
_Span = tuple[float, float, bool]


def without_round_trips(program: PointwiseProgram) -> PointwiseProgram:
    """Return the program that keeps whole numbers in the range of a byte as the floats they are.

    astype(astype(clip(round(x), 0, 255), uint8), float32)  -->  clip(round(x), 0, 255)
    """
    spans: list[_Span | None] = [None] * program.operands
    instead: dict[int, int] = {}
    for place, step in enumerate(program.steps, program.operands):
        spans.append(_span(program, step, spans))
        source = _wide_source(program, place, spans)
        if source is not None:
            instead[place] = instead.get(source, source)
    if not instead:
        return program
    steps = [replace(each, args=tuple(instead.get(arg, arg) for arg in each.args)) for each in program.steps]
    return _live(PointwiseProgram(program.operands, tuple(steps)))


def _step(program: PointwiseProgram, place: int) -> PointwiseStep | None:
    return program.steps[place - program.operands] if place >= program.operands else None


def _wide_source(program: PointwiseProgram, place: int, spans: list[_Span | None]) -> int | None:
    """Return the float value that the value at a place is, by way of a byte."""
    step = _step(program, place)
    narrow = _step(program, step.args[0]) if step and step.op == "astype" and step.dtype == "float32" else None
    if narrow is None or narrow.op != "astype" or narrow.dtype not in _RANGES:
        return None
    source, (low, high) = narrow.args[0], _RANGES[narrow.dtype]
    made, span = _step(program, source), spans[source]
    if made is None or made.dtype != "float32" or span is None:
        return None
    return source if span[2] and low <= span[0] and span[1] <= high else None


def _span(program: PointwiseProgram, step: PointwiseStep, spans: list[_Span | None]) -> _Span | None:
    attrs = dict(step.attrs)
    if step.op == "const" and step.dtype == "float32":
        value = float(attrs["value"])  # type: ignore[arg-type]
        return value, value, value.is_integer()
    if step.op == "clip":
        low, high = float(attrs["min"]), float(attrs["max"])  # type: ignore[arg-type]
        inner = spans[step.args[0]]
        whole = inner is not None and inner[2] and low.is_integer() and high.is_integer()
        return low, high, whole
    known = [spans[arg] for arg in step.args]
    if step.op == "round":
        limits = known[0] or (float("-inf"), float("inf"), False)
        return float(_rounded(limits[0])), float(_rounded(limits[1])), True
    if step.op == "add" and step.dtype == "float32":
        one, other = known
        return (one[0] + other[0], one[1] + other[1], one[2] and other[2]) if one and other else None
    return None


def _rounded(value: float) -> float:
    return round(value) if abs(value) != float("inf") else value


def _live(program: PointwiseProgram) -> PointwiseProgram:
    """Return the program without steps that nothing reads."""
    last = program.operands + len(program.steps) - 1
    live = {last}
    for place in range(last, program.operands - 1, -1):
        if place in live:
            live.update(program.steps[place - program.operands].args)
    kept = [place for place in range(program.operands, last + 1) if place in live]
    number = {place: program.operands + at for at, place in enumerate(kept)}
    number |= {place: place for place in range(program.operands)}
    steps = [program.steps[place - program.operands] for place in kept]
    return PointwiseProgram(
        program.operands, tuple(replace(each, args=tuple(number[arg] for arg in each.args)) for each in steps)
    )
