"""The documentation's table of operators."""

from __future__ import annotations

from pathlib import Path

import pytest

from tilewright.compiler.frontends.onnx.operator_table import operator_table, with_table

DOCUMENT = Path(__file__).parents[3] / "docs" / "operators.md"


def test_the_table_is_current() -> None:
    text = DOCUMENT.read_text()
    assert with_table(text) == text, f"run: python -m tilewright.compiler.frontends.onnx.operator_table {DOCUMENT}"


def test_rows_of_several_opsets_are_named() -> None:
    assert "`Clip` (1, 11)" in operator_table()
    assert "com.microsoft" in operator_table()


def test_a_document_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks the marks"):
        with_table("nothing")
