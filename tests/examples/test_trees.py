"""The walk-through of trees runs, and its library agrees with XGBoost."""

from __future__ import annotations

import runpy
from pathlib import Path


def test_trees(tmp_path: Path) -> None:
    example = runpy.run_path(str(Path(__file__).parents[2] / "examples/trees/trees.py"))
    assert example["main"](tmp_path) <= 1e-6
