"""A profile as one self-contained HTML page: no script, no style or picture from elsewhere."""

from __future__ import annotations

from html import escape

from .profile import Profile, ProfiledStep

_BAR_WIDTH = 240
_BAR_HEIGHT = 14
_COLOURS = {"compute": "#3b6fb6", "memory": "#c9802b", "": "#8a8f98"}

_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
body { color: #1c2128; background: #fff; }
h1 { font-size: 1.4rem; margin-bottom: .2rem; }
p { margin: .3rem 0 1rem; color: #57606a; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .25rem .6rem; text-align: left; border-bottom: 1px solid #d8dee4; vertical-align: middle; }
th { position: sticky; top: 0; background: #f6f8fa; font-weight: 600; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
code { font-size: .85em; color: #57606a; overflow-wrap: anywhere; }
.key { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin: 0 .3em 0 1em; }
@media (prefers-color-scheme: dark) {
  body { color: #e6edf3; background: #0d1117; } th { background: #161b22; } th, td { border-color: #30363d; }
  p, code { color: #9198a1; }
}
"""


def html_page(profile: Profile) -> str:
    """Return the page: a summary, and a row for each step with a bar for its time, the heaviest first.

    The filled part of a bar is the least time that the machine could need for the step.
    """
    ceiling = profile.ceiling
    longest = max((step.seconds for step in profile.steps), default=0.0)
    rows = "\n".join(_row(step, longest) for step in profile.steps)
    title = f"Profile of {escape(profile.name)}"
    keys = "".join(
        f'<span class="key" style="background:{_COLOURS[bound]}"></span>{text}'
        for bound, text in (("compute", "bound by arithmetic"), ("memory", "bound by memory"), ("", "not counted"))
    )
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>{_STYLE}</style></head>
<body>
<h1>{title}</h1>
<p>{profile.seconds * 1e3:.3f} ms in {len(profile.steps)} steps (medians of {profile.runs} runs),
{ceiling.threads} thread(s). This machine: {ceiling.flops * 1e-9:.0f} GFLOP/s,
{ceiling.bandwidths[-1][1] * 1e-9:.0f} GB/s from memory.</p>
<p>The full colour of a bar is the least time this machine could need for the step, the pale part what it takes
beyond.{keys}</p>
<table>
<thead><tr><th class="n">step</th><th>operators</th><th>time</th><th class="n">ms</th><th class="n">share</th>
<th class="n">GFLOP/s</th><th class="n">GB/s</th><th class="n">of ceiling</th><th>kernel</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
</body>
</html>
"""


def _row(step: ProfiledStep, longest: float) -> str:
    reached = f"{step.ceiling:.0%}" if step.bound else ""
    return (
        f'<tr><td class="n">{step.index}</td><td>{escape(step.name)}</td><td>{_bar(step, longest)}</td>'
        f'<td class="n">{step.seconds * 1e3:.4f}</td><td class="n">{step.share:.1%}</td>'
        f'<td class="n">{_rate(step.flops, step.seconds)}</td><td class="n">{_rate(step.bytes, step.seconds)}</td>'
        f'<td class="n">{reached}</td><td><code>{escape(step.kernel)}</code></td></tr>'
    )


def _bar(step: ProfiledStep, longest: float) -> str:
    width = _BAR_WIDTH * step.seconds / longest if longest else 0.0
    full = width * min(1.0, step.ceiling)
    colour = _COLOURS[step.bound]
    return (
        f'<svg width="{_BAR_WIDTH}" height="{_BAR_HEIGHT}" role="img" aria-label="{step.share:.1%} of the time">'
        f'<rect width="{max(width, 1):.1f}" height="{_BAR_HEIGHT}" rx="2" fill="{colour}" opacity=".35"/>'
        f'<rect width="{full:.1f}" height="{_BAR_HEIGHT}" rx="2" fill="{colour}"/></svg>'
    )


def _rate(amount: float, seconds: float) -> str:
    return f"{amount / seconds * 1e-9:.1f}" if amount and seconds else ""
