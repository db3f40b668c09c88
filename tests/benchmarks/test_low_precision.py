"""The comparison in low precision, on a small model made here, beside onnxruntime in single precision."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cell import Cell, Standing
from benchmarks.low_precision import SCHEMES, Bar, Scheme
from benchmarks.low_precision.int8 import samples
from benchmarks.low_precision.measure import LowCell
from benchmarks.low_precision.page import html_page
from benchmarks.low_precision.report import markdown, missed
from benchmarks.low_precision.run import measure_model, parse, write
from tests.benchmarks.test_x86 import MACHINE, Page, latency, small_onnx
from tilewright.compiler.measure.difference import relative_norm
from tilewright.compiler.measure.statistics import Ratio


def low_cell(ours: float = 0.05, error: float = 1e-3, size: int = 50) -> LowCell:
    ratio = 0.06 / ours
    standings = (
        Standing("tilewright", "tilewright", latency(ours), None, error),
        Standing("openvino", "openvino 1", latency(0.06), Ratio(ratio, ratio, ratio), 2e-3),
    )
    own = Standing("tilewright fp32", "tilewright", latency(0.1), Ratio(0.1 / ours, 1.0, 3.0), 1e-7)
    return LowCell("bf16", Cell("resnet50", 1, standings, (), None, 0.5), own, (size, 100))


def test_speed_error_and_size_must_all_hold() -> None:
    assert missed(low_cell()) == []
    assert missed(low_cell(ours=0.056)) == ["under 1.1x"]
    assert missed(low_cell(error=3e-3)) == ["error above openvino's"]
    assert missed(low_cell(size=60)) == ["over 55% of the size"]


def test_what_we_cannot_run_is_missed() -> None:
    low = low_cell()
    refused = replace(low.cell, standings=(Standing("tilewright", failure="no"), *low.cell.standings[1:]))
    assert missed(replace(low, cell=refused)) == ["not measured"]


def test_table_page_and_record(tmp_path: Path) -> None:
    cells = [low_cell(), low_cell(ours=0.07)]
    text = markdown(cells, MACHINE)
    assert "**1.20x** (1.20-1.20) openvino, bar 1.1x" in text
    assert "**under 1.1x**" in text
    page = Page()
    page.feed(html_page(cells, MACHINE))
    assert page.open == []
    assert page.counts["rect"] == 6, "ours, ours in single precision, and the peer's"
    write(cells, tmp_path)
    assert json.loads((tmp_path / "low_precision.json").read_text())["cells"][0]["size"] == [50, 100]
    assert {path.name for path in tmp_path.iterdir()} == {f"low_precision.{kind}" for kind in ("json", "md", "html")}


def test_a_model_is_compiled_in_a_scheme_and_measured(tmp_path: Path) -> None:
    small_onnx(tmp_path / "lstm.onnx")
    options = parse(["--models", "lstm", "--threads", "1", "--seconds", "0.05"])
    options.out, options.folder = tmp_path / "out", tmp_path
    (low,) = measure_model("bf16", "lstm", options)
    assert low.cell.ours.failure == ""
    assert low.cell.ours.error is not None
    assert low.cell.ours.error < 1e-2
    assert low.fp32.ratio is not None
    assert low.fp32.error is not None
    assert low.fp32.error < 1e-6
    assert low.size[0] > 0


def test_every_scheme_names_its_models() -> None:
    for name in SCHEMES:
        assert SCHEMES[name].models
    assert Scheme("x", "", {}, {}, {("a", 1): Bar(1), ("a", 2): Bar(1), ("b", 1): Bar(1)}).models == ("a", "b")


def test_the_norm_of_a_difference() -> None:
    reference = np.array([3.0, 4.0])
    assert relative_norm(np.array([3.0, 4.5]), reference) == pytest.approx(0.1)
    assert relative_norm(np.array([3.0, np.nan]), reference) == np.inf


def test_samples_of_int8_are_like_the_inputs() -> None:
    inputs = {"x": np.zeros((2, 3), np.float32), "ids": np.array([[5, 90]]), "mask": np.ones((1, 2), np.int64)}
    made = list(samples(inputs))
    assert len(made) > 1
    for sample in made:
        assert {name: (each.shape, each.dtype) for name, each in sample.items()} == {
            name: (each.shape, each.dtype) for name, each in inputs.items()
        }
        assert sample["ids"].min() >= 5
        assert sample["ids"].max() <= 90
        assert (sample["mask"] == 1).all()
        assert sample["x"].std() > 0
