"""The demo: the trained network that the repository carries, and the program that compiles it."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from house.repository import ROOT

FOLDER = ROOT / "examples/digits"
MOST_BYTES = 1_000_000


def test_the_carried_files_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir() if path.is_file()) < MOST_BYTES


def test_the_carried_network_is_trained() -> None:
    with np.load(FOLDER / "test.npz") as data:
        images, labels = data["images"], data["labels"]
    assert images.shape == (540, 1, 8, 8)
    assert images.max() == 16
    session = onnxruntime.InferenceSession(str(FOLDER / "digits.onnx"), providers=["CPUExecutionProvider"])
    pixels = images[:, None].astype("float32") / 16
    guesses = [session.run(None, {"image": image})[0].argmax() for image in pixels]
    assert np.mean(guesses == labels) >= 0.99


def test_the_demo_runs_and_is_as_accurate_as_onnxruntime(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, FOLDER / "demo.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    ours, theirs = re.findall(r"(\d+\.\d+)%", done.stdout)
    assert float(ours) == float(theirs) >= 99
    assert (tmp_path / "build/demo/digits.so").is_file()
