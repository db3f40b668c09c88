"""Paddle models with random weights: ``python paddle_models.py FOLDER``; the files are those of tensorflow_models."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn


class _Recurrent(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.LSTM(6, 10, num_layers=2, direction="bidirect")
        self.score = nn.Linear(20, 3)

    def forward(self, x: Any) -> Any:
        """[N, T, 6] --> [N, T, 3]."""
        return self.score(self.recurrent(x)[0])


def _encoder() -> Any:
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64), 2)


def main() -> None:
    """Make everything in the folder named."""
    folder = Path(sys.argv[1])
    paddle.seed(0)
    random = np.random.default_rng(0)
    models = {
        "resnet18": (paddle.vision.models.resnet18(), "x", [1, 3, 64, 64]),
        "encoder": (_encoder(), "src", [2, 10, 32]),
        "lstm": (_Recurrent(), "x", [2, 12, 6]),
    }
    cases = []
    for name, (model, argument, shape) in models.items():
        model.eval()
        spec = paddle.static.InputSpec(shape, "float32", argument)
        paddle.jit.save(paddle.jit.to_static(model, input_spec=[spec]), str(folder / name))
        x = random.standard_normal(shape).astype(np.float32)
        # Paddle numbers outputs: "*" stands for the only one.
        np.savez(folder / f"{name}.npz", **{f"in.{argument}": x, "out.*": model(paddle.to_tensor(x)).numpy()})
        cases.append({"name": name, "file": f"{name}.json"})
    (folder / "cases.json").write_text(json.dumps(cases), encoding="utf-8")


if __name__ == "__main__":
    main()
