"""`tilewright profile`, on a library from a hand-written plan."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli.conftest import Call


def test_steps_are_listed_heaviest_first(call: Call, tiny: Path) -> None:
    data = json.loads(call("profile", tiny, "--repeat", "5", "--json").out)
    assert data["runs"] == 5
    assert sorted(step["index"] for step in data["steps"]) == [0, 1]
    seconds = [step["seconds"] for step in data["steps"]]
    assert seconds == sorted(seconds, reverse=True)
    assert sum(step["share"] for step in data["steps"]) == pytest.approx(1)
    assert data["ceiling"]["flops"] > 1e9


def test_the_table_holds_every_step_and_the_machine(call: Call, tiny: Path) -> None:
    data = json.loads(call("profile", tiny, "--json").out)
    out = call("profile", tiny).out
    assert "tiny: " in out
    assert "GFLOP/s" in out
    for step in data["steps"]:
        assert step["kernel"] in out
    assert len(call("profile", tiny, "--top", "1").out.splitlines()) == len(out.splitlines()) - 1


def test_the_page_is_written_whole(call: Call, tiny: Path) -> None:
    result = call("profile", tiny, "--html", "page.html", "-q")
    assert (result.code, result.out) == (0, "")
    page = Path("page.html").read_text()
    assert page.startswith("<!doctype html>")
    assert page.endswith("</html>\n")
    assert page.count("<svg") == 2


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("no.so",), "no.so: no such file"),
        (("no.so", "--html", "nowhere/page.html"), "there is no folder 'nowhere'"),
        (("no.so", "--top", "0"), "--top"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(call: Call, words: tuple[str, ...], part: str) -> None:
    assert part in call("profile", *words).sentence


def test_no_compiler_is_one_sentence(call: Call, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    assert "no C compiler for x86_64-linux-gnu was found" in call("profile", tiny).sentence
