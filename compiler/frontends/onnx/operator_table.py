"""The table of operators in the documentation: ``python -m tilewright.compiler.frontends.onnx.operator_table PATH``."""

from __future__ import annotations

import inspect
import sys
from collections import defaultdict
from pathlib import Path

from .registry import Row, rows

BEGIN, END = "<!-- operators -->\n", "<!-- end of operators -->\n"


def operator_table() -> str:
    """Return the operators that have rows as a Markdown table, one line for each domain and family."""
    families: dict[tuple[str, str], dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows():
        module = inspect.getmodule(row.convert)
        title = (inspect.getdoc(module) or "").split("\n")[0].rstrip(".") if module else ""
        families[row.domain or "ai.onnx", title][row.name].append(row)
    lines = ["| domain | family | operators |", "|---|---|---|"]
    for (domain, title), operators in sorted(families.items()):
        listed = ", ".join(_entry(name, found) for name, found in sorted(operators.items()))
        lines.append(f"| {domain} | {title} | {listed} |")
    return "\n".join(lines) + "\n"


def with_table(text: str) -> str:
    """Return a document with the table between its marks brought up to date. Raises ValueError without the marks."""
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"the document lacks the marks {BEGIN.strip()} and {END.strip()}")
    return before + BEGIN + operator_table() + END + after


def _entry(name: str, found: list[Row]) -> str:
    opsets = [row.since for row in found]
    return f"`{name}`" if opsets == [1] else f"`{name}` ({', '.join(map(str, opsets))})"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(with_table(path.read_text()))
