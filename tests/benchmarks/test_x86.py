"""The comparison with peers, on a small model made here and onnxruntime alone."""

from __future__ import annotations

import dataclasses
import json
import os
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks import cell as cell_module
from benchmarks import isolation, report
from benchmarks.cell import Cell, Order, Standing, measure_cell
from benchmarks.isolation import Died, Failed, Tell, isolated
from benchmarks.models import MODELS
from benchmarks.page import html_page
from benchmarks.peers import PEERS
from benchmarks.x86 import measure_model, parse, record, write
from tilewright.compiler.measure.ceiling import Ceiling
from tilewright.compiler.measure.profile import ProfiledStep
from tilewright.compiler.measure.statistics import Latency, Ratio

MACHINE = {"cpu": "a <fast> CPU", "cores": 2, "versions": {"tilewright": "1"}}
CEILING = Ceiling(1, 1e11, ((1 << 14, 4e11), (1 << 27, 2e10)))
STEPS = (
    ProfiledStep(3, "conv <a>", "k_conv", 6e-3, 0.9, 3e8, 1e6, 0.5, "compute"),
    ProfiledStep(1, "add", "k_add", 5e-4, 0.07, 1e5, 1e6, 0.1, "memory"),
    ProfiledStep(0, "copy", "k_copy", 2e-4, 0.03, 0.0, 0.0, 0.0, ""),
)


def latency(seconds: float) -> Latency:
    return Latency(9, seconds, seconds, seconds, seconds, seconds, 1 / seconds)


def cell(model: str = "resnet50", ours: float = 0.05, error: float = 1e-6) -> Cell:
    def peer(name: str, seconds: float) -> Standing:
        ratio = seconds / ours
        return Standing(name, f"{name} 1.0", latency(seconds), Ratio(ratio, ratio - 0.1, ratio + 0.1), 1e-6)

    standings = (
        Standing("tilewright", "tilewright", latency(ours), None, error),
        peer("onnxruntime", 0.08),
        peer("openvino", 0.06),
        Standing("ncnn", failure="RuntimeError: a|b <c>"),
    )
    return Cell(model, 1, standings, STEPS, CEILING, 0.5)


def test_the_ratio_is_to_the_fastest_peer_that_was_measured() -> None:
    found = cell()
    assert found.best_peer is not None
    assert found.best_peer.contender == "openvino"
    assert report.ratio_to_best(found) == pytest.approx(1.2)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (cell(), True),
        (cell(ours=0.055), False),
        (cell(error=9e-5), True),
        (cell(error=2e-4), False),
        (cell("bert_base", error=9e-5), False),
        (cell("minilm", ours=0.5), True),
    ],
)
def test_a_cell_passes_by_its_floor_and_its_error(found: Cell, expected: bool) -> None:
    assert report.passed(found) is expected


def test_a_model_that_tilewright_cannot_run_fails() -> None:
    found = cell()
    refused = dataclasses.replace(found, standings=(Standing("tilewright", failure="no"), *found.standings[1:]))
    assert not report.passed(refused)


def test_every_default_model_has_floors() -> None:
    options = parse(["--threads", "1"])
    assert {name for name, _ in report.FLOORS} == set(options.models)


def test_the_table_tells_ratio_failure_and_heavy_steps() -> None:
    text = report.markdown([cell()], MACHINE)
    assert "**1.20x** (1.10-1.30) openvino" in text
    assert "| resnet50 | 1 | ncnn | RuntimeError: a\\|b <c> |" in text
    assert "| 3 | conv <a> | 90.0% | 50% | compute | `k_conv` |" in text
    columns = {line.replace("\\|", "").count("|") for line in text.split("##")[0].splitlines() if line.startswith("|")}
    assert len(columns) == 1


class Page(HTMLParser):
    """Checks that elements close in order and none names another place."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.counts: dict[str, int] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        assert tag not in ("script", "link", "img")
        assert not {"src", "href"} & {name for name, _ in attrs}
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_stands_alone() -> None:
    text = html_page([cell(), cell("lstm")], MACHINE)
    page = Page()
    page.feed(text)
    assert page.open == []
    assert page.counts["circle"] == 2 * 2, "a step without counted operations has no place in a roofline"
    assert page.counts["polyline"] == 2 * 2
    assert "<c>" not in text
    assert "nan" not in text


def test_the_record_is_json(tmp_path: Path) -> None:
    write([cell()], tmp_path)
    assert json.loads((tmp_path / "x86.json").read_text())["cells"] == json.loads(json.dumps(record([cell()])))["cells"]
    assert {path.name for path in tmp_path.iterdir()} == {"x86.json", "x86.md", "x86.html"}


def test_unknown_names_and_too_many_threads_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--models", "vgg"], ["--peers", "caffe"], ["--threads", "0"], ["--threads", "4096"]):
        with pytest.raises(SystemExit):
            parse(arguments)
    assert "4096" not in parse(["--seconds", "1"]).threads
    assert "processor(s)" in capsys.readouterr().err


def answer(value: int, tell: Tell) -> tuple[int, int]:
    tell("answering")
    return value, len(os.sched_getaffinity(0))


def refuse(_tell: Tell) -> None:
    raise ValueError("no such thing\nand more")


def crash(_value: int, tell: Tell) -> None:
    tell("crashing")
    os.abort()


def test_a_process_of_its_own_stays_on_its_processors() -> None:
    assert isolated(answer, 5, processors=1) == (5, 1)


def test_what_goes_wrong_in_a_process_of_its_own_is_told(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="^ValueError: no such thing$"):
        isolated(refuse)
    with pytest.raises(Died, match="SIGABRT") as found:
        isolated(crash, 1, log=tmp_path / "log")
    assert found.value.stage == "crashing"


def small_onnx(path: Path, factor: float = 1.0) -> Path:
    """Write y = relu(x w) * factor for the inputs and output of the model "lstm"."""
    weight = np.random.default_rng(0).standard_normal((128, 256)).astype("float32") * factor
    nodes = [
        onnx.helper.make_node("MatMul", ["sequence", "w"], ["h"]),
        onnx.helper.make_node("Relu", ["h"], ["states"]),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "small",
        [onnx.helper.make_tensor_value_info("sequence", onnx.TensorProto.FLOAT, (1, 50, 128))],
        [onnx.helper.make_tensor_value_info("states", onnx.TensorProto.FLOAT, (1, 50, 256))],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_a_model_is_compiled_and_measured_beside_its_peers(tmp_path: Path) -> None:
    small_onnx(tmp_path / "lstm.onnx")
    options = parse(["--models", "lstm", "--peers", "onnxruntime", "--threads", "1", "--seconds", "0.05"])
    options.out, options.folder = tmp_path / "out", tmp_path
    (found,) = measure_model("lstm", options)
    assert [each.failure for each in found.standings] == ["", ""]
    assert all(each.error is not None and each.error < 1e-5 for each in found.standings)
    assert report.ratio_to_best(found) is not None
    assert found.steps
    assert found.ceiling is not None
    assert sum(step.share for step in found.steps) == pytest.approx(1)


def test_a_library_that_computes_something_else_is_not_measured(tmp_path: Path) -> None:
    from tilewright import compile as compile_model

    library = compile_model(small_onnx(tmp_path / "other.onnx", 1.5)).save(tmp_path / "other.so")
    order = Order("lstm", small_onnx(tmp_path / "lstm.onnx"), library, tmp_path, 1, 0.05, ("onnxruntime",))
    found = measure_cell(order, tmp_path / "log")
    assert found.ours.latency is None
    assert "outputs lie 5.0e-01" in found.ours.failure
    assert found.best_peer is not None
    assert report.ratio_to_best(found) is None


def test_a_model_without_a_library_still_measures_the_peers(tmp_path: Path) -> None:
    order = Order("lstm", small_onnx(tmp_path / "lstm.onnx"), None, tmp_path, 1, 0.05, ("onnxruntime",))
    found = measure_cell(order, tmp_path / "log")
    assert found.ours.failure
    assert found.standings[1].latency is not None


def test_a_peer_that_ends_the_process_is_reported_and_the_others_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, ...]] = []

    def die_with_ncnn(_function: object, order: Order, **_options: object) -> Cell:
        calls.append(order.peers)
        if "ncnn" in order.peers:
            raise Died("ncnn", "the process was ended by SIGSEGV")
        standings = tuple(Standing(name, name, latency(0.01)) for name in ("tilewright", *order.peers))
        return Cell("lstm", 1, standings, (), None, 0.0)

    monkeypatch.setattr(cell_module, "isolated", die_with_ncnn)
    order = Order("lstm", tmp_path / "m.onnx", tmp_path / "m.so", tmp_path, 1, 0.05, ("ncnn", "onnxruntime"))
    found = measure_cell(order, tmp_path / "log")
    assert calls == [("ncnn", "onnxruntime"), ("onnxruntime",)]
    assert [each.contender for each in found.standings] == ["tilewright", "ncnn", "onnxruntime"]
    assert "SIGSEGV" in found.standings[1].failure


def test_every_peer_names_itself_and_imports_nothing_before_it_is_used() -> None:
    import subprocess
    import sys

    assert set(PEERS) == {"onnxruntime", "openvino", "ncnn", "mnn", "torch"}
    program = (
        "import sys, benchmarks.x86; print(*[n for n in ('torch', 'ncnn', 'MNN', 'openvino') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_batch_holds_as_many_samples_as_it_says() -> None:
    for name in ("lstm", "resnet50_b8", "bert_base_b8"):
        model = MODELS[name]
        arrays = model.inputs().values()
        assert {array.shape[0] for array in arrays} == {model.batch}
    rows = MODELS["bert_base_b8"].inputs()["input_ids"]
    assert len({row.tobytes() for row in rows}) == 8


def test_boxes_and_scores_are_compared_apart() -> None:
    found = np.ones((1, 84, 8400), "float32")
    parts = MODELS["yolov5m"].parts({"detections": found})
    assert {name: array.shape for name, array in parts.items()} == {"boxes": (1, 4, 8400), "scores": (1, 80, 8400)}


def test_the_first_line_of_an_exception_is_its_sentence() -> None:
    assert isolation.sentence(KeyError()) == "KeyError"
    assert len(isolation.sentence(ValueError("x" * 1000))) == 300
