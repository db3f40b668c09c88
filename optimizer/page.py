"""Reports as one self-contained HTML file: no script, no style or picture from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
body { color: #1c2128; background: #fff; }
h1 { font-size: 1.4rem; margin-bottom: .2rem; }
h2 { font-size: 1.1rem; margin-top: 1.6rem; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .25rem .6rem; text-align: left; border-bottom: 1px solid #d8dee4; overflow-wrap: anywhere; }
th { background: #f6f8fa; font-weight: 600; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
@media (prefers-color-scheme: dark) {
  body { color: #e6edf3; background: #0d1117; } th { background: #161b22; } th, td { border-color: #30363d; }
}
"""


def table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table under a title; a head that starts with ``>`` stands over numbers. No rows give no table."""
    kinds = [' class="n"' if head.startswith(">") else "" for head in heads]
    body = "\n".join(
        "<tr>" + "".join(f"<td{kind}>{escape(cell)}</td>" for kind, cell in zip(kinds, row, strict=True)) + "</tr>"
        for row in rows
    )
    if not body:
        return ""
    top = "".join(f"<th{kind}>{escape(head.lstrip('>'))}</th>" for kind, head in zip(kinds, heads, strict=True))
    return f"<h2>{escape(title)}</h2>\n<table>\n<thead><tr>{top}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"


def page(title: str, parts: Iterable[str]) -> str:
    """Return a whole page."""
    body = "\n".join(part for part in parts if part)
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>
<style>{_STYLE}</style></head>
<body>
<h1>{escape(title)}</h1>
{body}
</body>
</html>
"""
