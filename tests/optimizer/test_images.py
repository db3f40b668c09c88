from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tilewright.optimizer.data import InputSpec, load_samples
from tilewright.optimizer.images import Preprocessing, to_array


def test_pixels_are_scaled_then_normalized() -> None:
    pixels = np.arange(24, dtype="uint8").reshape(2, 4, 3)
    settings = Preprocessing(color="BGR", scale=0.5, mean=(1.0, 2.0, 3.0), std=(2.0, 4.0, 8.0))
    array = to_array(pixels, settings)
    assert array.shape == (1, 3, 2, 4)
    assert array.dtype == np.float32
    for channel in range(3):
        expected = (pixels[..., 2 - channel] * 0.5 - (1, 2, 3)[channel]) / (2, 4, 8)[channel]
        np.testing.assert_allclose(array[0, channel], expected)
    assert to_array(pixels, Preprocessing(layout="NHWC")).shape == (1, 2, 4, 3)


def test_images_are_read_with_their_folders_as_labels(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    pixels = np.arange(6 * 8 * 3, dtype="uint8").reshape(6, 8, 3)
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        image.fromarray(pixels).save(tmp_path / name / "one.png")
    settings = tmp_path / "p.toml"
    settings.write_text("crop = [4, 6]\nscale = 1.0\n")
    spec = InputSpec("x", (1, 3, 4, 6), np.dtype("float32"))
    samples = load_samples(str(tmp_path), [spec], settings)
    assert [int(sample.targets["labels"][0]) for sample in samples] == [0, 1]
    np.testing.assert_array_equal(samples[0].inputs["x"][0], pixels[1:5, 1:7].transpose(2, 0, 1))
