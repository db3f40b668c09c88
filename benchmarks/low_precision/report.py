"""What the comparison says, in words: verdicts and a Markdown table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..cell import Standing
from ..report import failures, ratio_to_best, row
from .measure import LowCell
from .scheme import SCHEMES


def missed(low: LowCell) -> list[str]:
    """Return what a cell misses, in words; empty where it passes."""
    cell, bar = low.cell, low.bar
    if cell.ours.failure:
        return ["not measured"]
    found = []
    best, ratio, own = cell.best_peer, ratio_to_best(cell), low.fp32.ratio
    if SCHEMES[low.scheme].as_exact and best and (cell.ours.error or 0.0) > (best.error or 0.0):
        found.append(f"error above {best.contender}'s")
    if bar and ratio and ratio < bar.speed:
        found.append(f"under {bar.speed}x")
    if bar and own and own.median < bar.own:
        found.append(f"under {bar.own}x our fp32")
    if bar and low.size[0] > bar.size * low.size[1]:
        found.append(f"over {bar.size:.0%} of the size")
    return found


def line(low: LowCell) -> str:
    """Return one line of progress."""
    ratio, own = ratio_to_best(low.cell), low.fp32.ratio
    said = f"{ratio:.2f}x the best peer" if ratio else "no ratio"
    against = f", {own.median:.2f}x our fp32" if own else ""
    words = [f"{each.contender} {_short(each)} ms (error {_error(each)})" for each in low.cell.standings]
    return f"  {low.cell.threads} thread(s): {said}{against}; {', '.join(words)}"


def markdown(cells: Sequence[LowCell], machine: dict[str, Any]) -> str:
    """Return a table for each scheme, then what was not measured."""
    lines = [
        f"Measured on {machine['cpu']}, {machine['cores']} cores. Medians in ms; a ratio is the other's time over "
        "ours, with the quartiles over all turns. Errors are norms of the difference from the outputs in single "
        "precision, relative to the norm of those.",
    ]
    for scheme in dict.fromkeys(low.scheme for low in cells):
        mine = [low for low in cells if low.scheme == scheme]
        peers = [each.contender for each in mine[0].cell.standings[1:]]
        heads = [
            "model",
            "threads",
            "ours",
            "our fp32",
            *peers,
            "to the best peer",
            "to our fp32",
            "errors",
            "size",
            "",
        ]
        lines += ["", f"## {scheme}: {SCHEMES[scheme].description}", "", row(heads), row(["---"] * len(heads))]
        lines += [_cell_row(low) for low in mine]
    versions = sorted({each.version for low in cells for each in low.cell.standings if each.version})
    return "\n".join([*lines, "", f"Runtimes: {', '.join(versions)}.", *failures([low.cell for low in cells])]) + "\n"


def _cell_row(low: LowCell) -> str:
    cell, ratio, best = low.cell, ratio_to_best(low.cell), low.cell.best_peer
    to_best = "-"
    if ratio and best and best.ratio:
        floor = f", bar {low.bar.speed}x" if low.bar else ""
        to_best = f"**{ratio:.2f}x** ({best.ratio.low:.2f}-{best.ratio.high:.2f}) {best.contender}{floor}"
    own = f"{low.fp32.ratio.median:.2f}x" if low.fp32.ratio else "-"
    errors = ", ".join(f"{each.contender} {_error(each)}" for each in cell.standings if each.error is not None)
    size = f"{low.size[0] / 1e6:.1f} MB, {low.size[0] / low.size[1]:.0%}" if low.size[1] else "-"
    verdict = ", ".join(missed(low))
    return row([
        cell.model, str(cell.threads), _short(cell.ours), _short(low.fp32), *map(_short, cell.standings[1:]),
        to_best, own, errors, size, f"**{verdict}**" if verdict else "ok",
    ])  # fmt: skip


def _short(standing: Standing) -> str:
    return f"{standing.latency.median * 1e3:.3f}" if standing.latency else "failed"


def _error(standing: Standing) -> str:
    return "-" if standing.error is None else f"{standing.error:.2e}"
