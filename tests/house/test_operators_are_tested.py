"""Every operator of the registry is named by a test."""

import re
from pathlib import Path

from tilewright.compiler.frontends.onnx.registry import rows

TESTS = Path(__file__).parent.parent


def test_every_operator_is_named_by_a_test() -> None:
    texts = [path.read_text() for path in TESTS.rglob("*.py") if path != Path(__file__)]
    named = {word for text in texts for word in re.findall(r"[\"']([A-Z]\w*)[\"']", text)}
    assert sorted({row.name for row in rows()} - named) == []
