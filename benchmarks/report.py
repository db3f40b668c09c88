"""What the comparison says, in words: verdicts and a Markdown table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tilewright.compiler.measure.profile import ProfiledStep

from .cell import Cell, Standing
from .models import MODELS

#: The least speed against the best peer, by model and threads.
FLOORS = {
    ("resnet50", 1): 1.12, ("resnet50", 2): 1.1,
    ("mobilenet_v2", 1): 1.12, ("mobilenet_v2", 2): 1.25,
    ("vit_b16", 1): 1.04, ("vit_b16", 2): 1.04,
    ("bert_base", 1): 1.04, ("bert_base", 2): 1.04,
    ("yolov5m", 1): 1.12, ("yolov5m", 2): 1.1,
    ("lstm", 1): 1.1, ("lstm", 2): 1.0,
    ("resnet50_b8", 1): 1.05, ("resnet50_b8", 2): 1.05,
    ("bert_base_b8", 1): 1.05, ("bert_base_b8", 2): 1.05,
}  # fmt: skip
#: How far outputs may lie from the reference's, relative to the largest: sums in another order, or, in networks of 3x3
#: convolutions, Winograd's F(4x4) transforms.
_MOST_ERROR, _MOST_WINOGRAD_ERROR = 1e-5, 1e-4
_WINOGRAD_MODELS = ("resnet50", "resnet50_b8", "yolov5m")
#: A step that takes more of the time than this should come closer to its ceiling than that.
HEAVY_SHARE, NEAR_CEILING = 0.02, 0.85


def ratio_to_best(cell: Cell) -> float | None:
    """Return how many times as long the best peer takes as Tilewright; None when either is missing."""
    best = cell.best_peer
    return best.ratio.median if best and best.ratio else None


def floor_of(cell: Cell) -> float | None:
    """Return the floor for the ratio to the best peer, where there is one."""
    return FLOORS.get((cell.model, cell.threads))


def most_error(cell: Cell) -> float:
    """Return how far Tilewright's outputs may lie from the reference's."""
    return _MOST_WINOGRAD_ERROR if cell.model in _WINOGRAD_MODELS else _MOST_ERROR


def passed(cell: Cell) -> bool:
    """Return whether Tilewright runs the model, is exact enough and reaches the floor where there is one."""
    if cell.ours.failure or cell.ours.error is None or cell.ours.error > most_error(cell):
        return False
    ratio, floor = ratio_to_best(cell), floor_of(cell)
    return ratio is None or floor is None or ratio >= floor


def far_from_ceiling(cell: Cell) -> list[ProfiledStep]:
    """Return the heavy steps that leave much of the machine unused, heaviest first."""
    return [step for step in cell.steps if step.share > HEAVY_SHARE and step.ceiling < NEAR_CEILING]


def cell_line(cell: Cell) -> str:
    """Return one line of progress."""
    ratio, best = ratio_to_best(cell), cell.best_peer
    said = f"{ratio:.2f}x {best.version}" if ratio and best else "no ratio"
    words = [f"{each.contender} {_short(each)}" for each in cell.standings]
    return f"  {cell.threads} thread(s): {said}; {', '.join(words)}"


def markdown(cells: Sequence[Cell], machine: dict[str, Any]) -> str:
    """Return the tables: latencies with ratios, then what failed, then the heavy steps far from their ceiling."""
    names = [each.contender for each in cells[0].standings] if cells else []
    heads = ["model", "threads", *names, "to the best peer", "floor", "error", ""]
    lines = [
        f"Measured on {machine['cpu']}, {machine['cores']} cores. Medians in ms; the ratio is the best peer's time "
        "over Tilewright's, with the quartiles over all turns.",
        "",
        row(heads),
        row(["---"] * len(heads)),
        *(_cell_row(cell) for cell in cells),
    ]
    versions = sorted({each.version for cell in cells for each in cell.standings if each.version})
    lines += ["", f"Runtimes: {', '.join(versions)}.", *failures(cells), *_heavy_steps(cells)]
    return "\n".join(lines) + "\n"


def _cell_row(cell: Cell) -> str:
    best, ratio, floor = cell.best_peer, ratio_to_best(cell), floor_of(cell)
    to_best = "-"
    if ratio and best and best.ratio:
        to_best = f"**{ratio:.2f}x** ({best.ratio.low:.2f}-{best.ratio.high:.2f}) {best.contender}"
    error = "-" if cell.ours.error is None else f"{cell.ours.error:.1e}"
    times = [_short(each) for each in cell.standings]
    verdict = "ok" if passed(cell) else "**missed**"
    return row([cell.model, str(cell.threads), *times, to_best, f"{floor}x" if floor else "", error, verdict])


def _short(standing: Standing) -> str:
    return f"{standing.latency.median * 1e3:.3f}" if standing.latency else "failed"


def failures(cells: Sequence[Cell]) -> list[str]:
    """Return the lines of a table of what was not measured; none where all was."""
    failed = [(cell, each) for cell in cells for each in cell.standings if each.failure]
    if not failed:
        return []
    rows = [row([cell.model, str(cell.threads), each.contender, each.failure]) for cell, each in failed]
    return ["", "## Not measured", "", row(["model", "threads", "runtime", "why"]), row(["---"] * 4), *rows]


def _heavy_steps(cells: Sequence[Cell]) -> list[str]:
    found = [(cell, step) for cell in cells for step in far_from_ceiling(cell)]
    if not found:
        return []
    title = f"## Steps over {HEAVY_SHARE:.0%} of the time and under {NEAR_CEILING:.0%} of their ceiling"
    heads = ["model", "threads", "step", "operators", "share", "of ceiling", "bound by", "kernel"]
    rows = [
        row([
            cell.model, str(cell.threads), str(step.index), step.name, f"{step.share:.1%}",
            f"{step.ceiling:.0%}" if step.bound else "not counted", step.bound, f"`{step.kernel}`",
        ])
        for cell, step in found
    ]  # fmt: skip
    return ["", title, "", row(heads), row(["---"] * len(heads)), *rows]


def row(words: Sequence[str]) -> str:
    """Return a row of a Markdown table."""
    return "| " + " | ".join(word.replace("|", "\\|") for word in words) + " |"


def title_of(cell: Cell) -> str:
    """Return the model's description and the number of threads."""
    threads = "one thread" if cell.threads == 1 else f"{cell.threads} threads"
    return f"{MODELS[cell.model].description}, {threads}"
