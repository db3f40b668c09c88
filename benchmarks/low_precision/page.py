"""The comparison as one self-contained HTML page: bars of speed against the best peer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html import escape
from typing import Any

from ..page import bars, document
from ..report import ratio_to_best, title_of
from .measure import LowCell
from .report import missed
from .scheme import SCHEMES


def html_page(cells: Sequence[LowCell], machine: dict[str, Any]) -> str:
    """Return the page: a section for each cell; no script, no part of it from elsewhere."""
    intro = (
        "All contenders of a section took turns in one process on the same inputs. A bar is speed relative to the "
        "fastest peer, which stands at 1: longer is faster. Errors are norms of the difference from the outputs in "
        "single precision, relative to the norm of those."
    )
    return document("Tilewright and its peers, low precision", machine, intro, "\n".join(map(_section, cells)))


def _section(low: LowCell) -> str:
    cell, ratio = low.cell, ratio_to_best(low.cell)
    said = f"{ratio:.2f} times as fast as the best peer" if ratio else "no ratio to a peer"
    if low.fp32.ratio:
        said += f", {low.fp32.ratio.median:.2f} times as fast as in single precision"
    if low.size[1]:
        said += f"; library {low.size[0] / 1e6:.1f} MB, {low.size[0] / low.size[1]:.0%} of that in single precision"
    verdict = ", ".join(missed(low))
    mark = f' <span class="missed">{escape(verdict)}</span>' if verdict else ""
    # Our own library in single precision stands among the bars, but is no peer to be compared with.
    table = bars(cell, (cell.ours, replace(low.fp32, version=low.fp32.contender), *cell.standings[1:]))
    return f"""<section>
<h2>{escape(title_of(cell))}: {escape(SCHEMES[low.scheme].description)}{mark}</h2>
<p>Tilewright: {escape(said)}. System load before: {cell.load:.1f}.</p>
{table}
</section>"""
