from __future__ import annotations

import json
from pathlib import Path

from cli.conftest import Call

from tilewright.targets.database import known_targets, load_target


def test_all_targets_are_listed(call: Call) -> None:
    out = call("targets").out
    for name in known_targets():
        assert f" {name} " in out
        assert load_target(name).description in out


def test_a_word_is_searched_in_names_descriptions_and_features(call: Call) -> None:
    found = [each["name"] for each in json.loads(call("targets", "list", "avx512_vnni", "--json").out)]
    assert found == [name for name in known_targets() if "avx512_vnni" in load_target(name).features]
    assert "znver4" in found
    assert "haswell" not in found
    assert "haswell" in call("targets", "list", "HASWELL").out
    assert "znver4" in call("targets", "list", "epyc 9004").out


def test_one_target_is_shown_whole(call: Call) -> None:
    out = call("targets", "show", "znver4").out
    target = load_target("znver4")
    assert target.description in out
    assert " ".join(sorted(target.features)) in out
    assert "32 registers of 512 bit" in out
    data = json.loads(call("targets", "show", "znver4", "--json").out)
    assert data["facts"]["vector_bits"] == 512
    assert data["tvm"]["mcpu"] == "znver4"


def test_the_host_and_a_file_can_be_shown(call: Call) -> None:
    assert "This machine" in call("targets", "show", "host").out
    Path("mine.toml").write_text('inherits = "znver4"\ndescription = "My machine"\n')
    assert "My machine" in call("targets", "show", "mine.toml").out


def test_an_unknown_target_offers_its_neighbours(call: Call) -> None:
    assert "unknown target 'znver44' (did you mean 'znver4'" in call("targets", "show", "znver44").sentence


def test_an_unknown_subcommand_is_one_sentence(call: Call) -> None:
    assert "shw" in call("targets", "shw").sentence
