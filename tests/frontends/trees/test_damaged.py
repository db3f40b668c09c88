"""Damaged files of tree libraries end in a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost

from tilewright.compiler.frontends.trees import import_trees
from tilewright.errors import UserError

SHAPES = {"x": (2, 4)}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Small models, one of each format, by suffix."""
    folder = tmp_path_factory.mktemp("models")
    random = np.random.default_rng(0)
    x, y = random.standard_normal((200, 4)).astype(np.float32), random.standard_normal(200)
    booster = xgboost.train({"max_depth": 2, "nthread": 1}, xgboost.DMatrix(x, y), 2)
    for suffix in ("json", "ubj"):
        booster.save_model(folder / f"model.{suffix}")
    lightgbm.train({"verbose": -1, "num_threads": 1}, lightgbm.Dataset(x, y), 2).save_model(folder / "model.txt")
    return {suffix: (folder / f"model.{suffix}").read_bytes() for suffix in ("json", "ubj", "txt")}


@pytest.mark.parametrize("suffix", ["json", "ubj", "txt"])
def test_cut_off_and_scribbled_on(suffix: str, files: dict[str, bytes], tmp_path: Path) -> None:
    whole, path = files[suffix], tmp_path / f"model.{suffix}"
    random = np.random.default_rng(1)
    refused = 0
    for at in range(60):
        data = bytearray(whole)
        if at < 20:
            del data[int(random.integers(len(data))) :]
        else:
            for place in random.integers(len(data), size=3):
                data[place] = (
                    int(random.integers(256)) if suffix == "ubj" else ord(random.choice(list('0-9[]{}",e=\n')))
                )
        path.write_bytes(data)
        try:
            import_trees(path, SHAPES)
        except UserError as error:
            refused += str(error).startswith(str(path))
    assert refused >= 20


def changed(files: dict[str, bytes], path: Path, *names: Any, value: Any) -> Path:
    """Write the JSON model with one value changed."""
    document = json.loads(files["json"])
    inner = document
    for name in names[:-1]:
        inner = inner[name]
    inner[names[-1]] = value
    path.write_text(json.dumps(document))
    return path


MODEL = ("learner", "gradient_booster", "model")


@pytest.mark.parametrize(
    ("names", "value", "sentence"),
    [
        (("learner", "objective", "name"), "reg:squarederorr", "did you mean|not supported"),
        (("learner", "gradient_booster", "name"), "gblinear", "not made of trees"),
        ((*MODEL, "trees"), [], "no trees"),
        ((*MODEL, "tree_info"), [0, 7], "belongs to output 7"),
        ((*MODEL, "trees", 0, "left_children", 0), 0, "two parents"),
        ((*MODEL, "trees", 0, "split_indices", 0), 9, "beyond the 4"),
        ((*MODEL, "trees", 0, "split_conditions"), ["a"], "something else than numbers"),
        (("learner", "learner_model_param", "base_score"), "[1,2,3]", "does not fit"),
    ],
)
def test_what_is_wrong_is_said(
    names: tuple[Any, ...], value: Any, sentence: str, files: dict[str, bytes], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=sentence):
        import_trees(changed(files, tmp_path / "model.json", *names, value=value), SHAPES)


def test_shapes_are_asked_for(files: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "model.ubj"
    path.write_bytes(files["ubj"])
    for shapes, sentence in (
        ({}, r"--input-shapes \"x:\[1,4\]\""),
        ({"x": (2, 5)}, "is .batch, 4."),
        ({"y": (1, 4)}, "'y'"),
    ):
        with pytest.raises(UserError, match=sentence):
            import_trees(path, shapes)
    path.write_bytes(b"[" * 5000)
    with pytest.raises(UserError, match="nested deeper"):
        import_trees(path, SHAPES)
