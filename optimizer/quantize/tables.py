"""The tables of a report, as text: a terminal and a page show the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..page import page, table
from .report import LayerReport, Report


@dataclass(frozen=True)
class Table:
    """A table; a head that starts with ``>`` stands over numbers."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def report_tables(report: Report, most_layers: int | None = None) -> list[Table]:
    """Return the tables that have rows: the layers with most noise, the trials, what was reverted."""
    layers = tuple((each.name, each.operator, each.precision, *_measured(each)) for each in report.layers[:most_layers])
    steps = tuple((str(step.floats), f"{step.figure:.6g}", f"{step.drop:.3g}") for step in report.steps)
    tables = (
        Table("Layers", ("layer, worst first", "operator", "precision", ">multiply-adds", ">SQNR"), layers),
        Table("Search", (">layers reverted", f">{report.metric}", ">drop"), steps),
        Table("Reverted", ("reverted", "why"), report.reverted),
    )
    return [each for each in tables if each.rows]


def _measured(layer: LayerReport) -> tuple[str, str]:
    """Return what samples told of a layer: dashes where there were none."""
    return str(layer.multiply_adds or "-"), "-" if math.isnan(layer.sqnr) else f"{layer.sqnr:.1f} dB"


def report_figures(report: Report) -> list[tuple[str, str]]:
    """Return accuracy, size and speed before and after, and the notes."""
    rows = [("method", report.method)]
    if report.before is not None and report.after is not None:
        rows.append((report.metric, f"{report.before:.6g} -> {report.after:.6g}"))
    ratio = report.quantized_bytes / report.float_bytes
    rows.append(("bytes", f"{report.float_bytes} -> {report.quantized_bytes} ({ratio:.1%})"))
    if report.float_seconds and report.quantized_seconds:
        speedup = report.float_seconds / report.quantized_seconds
        rows.append(
            (
                "latency",
                f"{report.float_seconds * 1e3:.4g} ms -> {report.quantized_seconds * 1e3:.4g} ms ({speedup:.2f}x)",
            )
        )
    if any(layer.multiply_adds for layer in report.layers):
        rows.append(("estimate", f"{report.estimated_speedup:.2f}x by the layers' multiply-adds alone"))
    rows += [("note", note) for note in report.notes]
    return [*rows, ("written", str(report.written))]


def report_page(report: Report) -> str:
    """Return the whole report as one HTML page."""
    figures: Sequence[tuple[str, str]] = report_figures(report)
    parts = [table("Figures", ("what", "value"), figures)]
    parts += [table(each.title, each.heads, each.rows) for each in report_tables(report)]
    return page(f"Quantization of {report.model}", parts)
