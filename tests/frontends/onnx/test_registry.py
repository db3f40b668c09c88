"""The table of rows."""

from __future__ import annotations

import onnx
import pytest

from tilewright.compiler.frontends.onnx.registry import find_row, operator, rows


def test_the_newest_row_not_newer_than_the_opset_is_found() -> None:
    old, new = find_row("", "Softmax", 12), find_row("ai.onnx", "Softmax", 13)
    assert old is not None
    assert new is not None
    assert (old.since, new.since) == (1, 13)
    assert find_row("", "Gelu", 20) is not None
    assert find_row("com.example", "Gelu", 20) is None
    assert find_row("", "Resize", 9) is None


def test_a_row_is_registered_once() -> None:
    with pytest.raises(ValueError, match="operator 'Conv' since opset 1 is registered twice"):
        operator("Conv")(lambda node: node)


#: What onnxruntime writes into onnx's own domain.
_WRITTEN_BY_ONNXRUNTIME = {"SimplifiedLayerNormalization"}


def test_every_row_names_an_operator_of_onnx_and_says_what_it_does() -> None:
    table = rows()
    assert len(table) > 120
    for row in (each for each in table if not each.domain.startswith("com.microsoft")):
        assert onnx.defs.has(row.name, domain=row.domain) or row.name in _WRITTEN_BY_ONNXRUNTIME, row.name
