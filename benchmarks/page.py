"""The comparison as one self-contained HTML page: bars of speed against the best peer, and rooflines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

from tilewright.compiler.measure.ceiling import Ceiling
from tilewright.compiler.measure.profile import ProfiledStep

from .cell import OURS, Cell, Standing
from .report import HEAVY_SHARE, floor_of, passed, ratio_to_best, title_of

_BAR_WIDTH, _BAR_HEIGHT = 420, 18
_PLOT_WIDTH, _PLOT_HEIGHT, _MARGIN = 720, 360, 46
_COLOURS = {"compute": "#3b6fb6", "memory": "#c9802b"}
_OUR_COLOUR, _PEER_COLOUR = "#2f855a", "#8a8f98"
_MOST_RADIUS = 14.0

_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 68rem; padding: 0 1rem; }
body { color: #1c2128; background: #fff; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .4rem; } p { color: #57606a; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; }
td, th { padding: .2rem .6rem; text-align: left; vertical-align: middle; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.steps td, .steps th { border-bottom: 1px solid #d8dee4; } .missed { color: #c0392b; } code { font-size: .85em; }
svg text { font: 11px system-ui, sans-serif; fill: #57606a; } .axis { stroke: #8a8f98; stroke-width: 1; fill: none; }
.grid { stroke: #8a8f98; stroke-opacity: .2; } .roof { stroke: #c0392b; stroke-width: 1.5; fill: none; }
@media (prefers-color-scheme: dark) {
  body { color: #e6edf3; background: #0d1117; } p { color: #9198a1; } svg text { fill: #9198a1; }
  .steps td, .steps th { border-color: #30363d; }
}
"""


def html_page(cells: Sequence[Cell], machine: dict[str, Any]) -> str:
    """Return the page: a section for each model and number of threads; no script, no part of it from elsewhere."""
    intro = (
        "All runtimes of a section took turns in one process on the same inputs. A bar is speed relative to the best "
        "peer, which stands at 1: longer is faster."
    )
    sections = "\n".join(_section(cell) for cell in cells)
    return document("Tilewright and its peers, single precision", machine, intro, sections)


def document(title: str, machine: dict[str, Any], intro: str, sections: str) -> str:
    """Return a page of sections that are HTML already; the other words are not."""
    told = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Tilewright and its peers</title>
<style>{_STYLE}</style></head>
<body>
<h1>{escape(title)}</h1>
<p>{escape(machine["cpu"])}, {machine["cores"]} cores; {escape(told)}. {escape(intro)}</p>
{sections}
</body>
</html>
"""


def _section(cell: Cell) -> str:
    ratio, floor = ratio_to_best(cell), floor_of(cell)
    said = f"{ratio:.2f} times as fast as the best peer" if ratio else "no ratio to a peer"
    if floor:
        said += f" (floor: {floor})"
    error = "" if cell.ours.error is None else f", outputs within {cell.ours.error:.1e} of the reference"
    mark = "" if passed(cell) else ' <span class="missed">missed</span>'
    roofline = _roofline(cell.steps, cell.ceiling) if cell.ceiling and cell.steps else ""
    return f"""<section>
<h2>{escape(title_of(cell))}{mark}</h2>
<p>Tilewright: {said}{error}. System load before: {cell.load:.1f}.</p>
{bars(cell, cell.standings)}
{roofline}
</section>"""


def bars(cell: Cell, standings: Sequence[Standing]) -> str:
    """Return a table with a bar for each standing, relative to the best peer of the cell."""
    rows = "\n".join(_bar_row(each, cell, standings) for each in standings)
    return f"<table>{rows}</table>"


def _bar_row(standing: Standing, cell: Cell, standings: Sequence[Standing]) -> str:
    name = escape(standing.version or standing.contender)
    best = cell.best_peer
    if standing.latency is None:
        return f'<tr><td>{name}</td><td colspan="4">not measured: {escape(standing.failure)}</td></tr>'
    base = best.latency.median if best and best.latency else standing.latency.median
    speeds = [base / each.latency.median for each in standings if each.latency]
    speed = base / standing.latency.median
    scale = _BAR_WIDTH / max(1.0, *speeds)
    colour = _OUR_COLOUR if standing.contender == OURS else _PEER_COLOUR
    return (
        f'<tr><td>{name}</td><td><svg width="{_BAR_WIDTH}" height="{_BAR_HEIGHT}" role="img" '
        f'aria-label="{speed:.2f} of the best peer"><rect width="{max(1.0, speed * scale):.1f}" '
        f'height="{_BAR_HEIGHT}" rx="2" fill="{colour}"/><line x1="{scale:.1f}" x2="{scale:.1f}" '
        f'y2="{_BAR_HEIGHT}" class="axis"/></svg></td>'
        f'<td class="n">{speed:.2f}x</td><td class="n">{standing.latency.median * 1e3:.3f} ms</td>'
        f'<td class="n">error {standing.error or 0:.0e}</td></tr>'
    )


class _Axes:
    """Logarithmic axes: operations for each byte moved, and operations a second."""

    def __init__(self, steps: Sequence[ProfiledStep], ceiling: Ceiling) -> None:
        across = [step.flops / step.bytes for step in steps] + [0.1, 1000.0]
        rates = [step.flops / step.seconds for step in steps] + [ceiling.flops, ceiling.flops / 1000]
        self.left, self.right = (_decade(each(across), up) for each, up in ((min, False), (max, True)))
        self.bottom, self.top = (_decade(each(rates), up) for each, up in ((min, False), (max, True)))

    def x(self, intensity: float) -> float:
        """Return the place of so many operations for each byte."""
        part = math.log10(intensity / self.left) / math.log10(self.right / self.left)
        return _MARGIN + part * (_PLOT_WIDTH - 2 * _MARGIN)

    def y(self, rate: float) -> float:
        """Return the place of so many operations a second."""
        part = math.log10(rate / self.bottom) / math.log10(self.top / self.bottom)
        return _PLOT_HEIGHT - _MARGIN - part * (_PLOT_HEIGHT - 2 * _MARGIN)


def _decade(value: float, up: bool) -> float:
    return float(10.0 ** (math.ceil if up else math.floor)(math.log10(value)))


def _roofline(steps: Sequence[ProfiledStep], ceiling: Ceiling) -> str:
    """Return the plot and the table of the heavy steps."""
    counted = [step for step in steps if step.flops and step.bytes and step.seconds]
    axes = _Axes(counted, ceiling)
    heavy = "\n".join(_step_row(step) for step in steps if step.share > HEAVY_SHARE)
    return f"""<svg width="{_PLOT_WIDTH}" height="{_PLOT_HEIGHT}" role="img" aria-label="roofline">
{_grid(axes)}
{_roofs(axes, ceiling)}
{"".join(_dot(step, axes) for step in reversed(counted))}
</svg>
<p>Roofline: a circle is a step, its area the part of the time it takes; blue is bound by arithmetic, orange by memory.
The lines are this machine's ceilings, measured in the same process: {ceiling.flops * 1e-9:.0f} GFLOP/s, and the
bandwidth of its smallest and largest working sets. Steps over {HEAVY_SHARE:.0%} of the time:</p>
<table class="steps"><tr><th class="n">step</th><th>operators</th><th class="n">ms</th><th class="n">share</th>
<th class="n">GFLOP/s</th><th class="n">GB/s</th><th class="n">of ceiling</th><th>kernel</th></tr>
{heavy}
</table>"""


def _grid(axes: _Axes) -> str:
    parts = []
    bottom, right = _PLOT_HEIGHT - _MARGIN, _PLOT_WIDTH - _MARGIN
    for power in range(round(math.log10(axes.left)), round(math.log10(axes.right)) + 1):
        x = axes.x(10.0**power)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_MARGIN}" y2="{bottom}" class="grid"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 15}" text-anchor="middle">{10.0**power:g}</text>')
    for power in range(round(math.log10(axes.bottom)), round(math.log10(axes.top)) + 1):
        y = axes.y(10.0**power)
        parts.append(f'<line x1="{_MARGIN}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        parts.append(f'<text x="{_MARGIN - 6}" y="{y + 4:.1f}" text-anchor="end">{10.0 ** (power - 9):g}</text>')
    parts.append(f'<text x="{right}" y="{bottom + 32}" text-anchor="end">FLOP for each byte</text>')
    parts.append(f'<text x="{_MARGIN}" y="{_MARGIN - 14}" text-anchor="middle">GFLOP/s</text>')
    return "\n".join(parts)


def _roofs(axes: _Axes, ceiling: Ceiling) -> str:
    parts = []
    for size, bandwidth in (ceiling.bandwidths[0], ceiling.bandwidths[-1]):
        knee = min(max(ceiling.flops / bandwidth, axes.left), axes.right)
        start = max(axes.left, axes.bottom / bandwidth)
        points = [(start, start * bandwidth), (knee, knee * bandwidth), (axes.right, ceiling.flops)]
        path = " ".join(f"{axes.x(x):.1f},{axes.y(y):.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" class="roof"/>')
        named = f"{_size(size)}: {bandwidth * 1e-9:.0f} GB/s"
        x, y = axes.x(start * 1.5), axes.y(start * 1.5 * bandwidth)
        parts.append(f'<text x="{x:.1f}" y="{y - 6:.1f}">{named}</text>')
    return "\n".join(parts)


def _dot(step: ProfiledStep, axes: _Axes) -> str:
    radius = max(1.5, _MOST_RADIUS * math.sqrt(step.share))
    x, y = axes.x(step.flops / step.bytes), axes.y(step.flops / step.seconds)
    label = escape(f"{step.index} {step.name}: {step.share:.1%} of the time, {step.ceiling:.0%} of its ceiling")
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{_COLOURS[step.bound]}" fill-opacity=".6">'
        f"<title>{label}</title></circle>"
    )


def _step_row(step: ProfiledStep) -> str:
    reached = f"{step.ceiling:.0%}" if step.bound else ""
    return (
        f'<tr><td class="n">{step.index}</td><td>{escape(step.name)}</td><td class="n">{step.seconds * 1e3:.3f}</td>'
        f'<td class="n">{step.share:.1%}</td><td class="n">{step.flops / step.seconds * 1e-9:.1f}</td>'
        f'<td class="n">{step.bytes / step.seconds * 1e-9:.1f}</td><td class="n">{reached}</td>'
        f"<td><code>{escape(step.kernel)}</code></td></tr>"
    )


def _size(count: int) -> str:
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count >> 10} KiB"
