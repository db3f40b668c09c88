"""Train boosted trees with XGBoost, compile the file that it saves, and compare both on rows with missing values.

python examples/trees/trees.py [FOLDER]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import xgboost

import tilewright
from tilewright import runtime


def main(folder: Path) -> float:
    """Return the largest difference between the library and XGBoost."""
    random = np.random.default_rng(0)
    x = random.standard_normal((2000, 12)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] + x[:, 2] > 0).astype(int)
    x[random.random(x.shape) < 0.1] = np.nan
    classifier = xgboost.XGBClassifier(n_estimators=60, max_depth=5).fit(x, y)
    classifier.save_model(folder / "trees.json")
    tilewright.compile(folder / "trees.json", input_shapes={"x": (100, 12)}).save(folder / "trees.so")
    with runtime.load(folder / "trees.so") as model:
        (probability,) = model(x[:100])
        difference = float(np.abs(probability - classifier.predict_proba(x[:100])[:, 1]).max())
    size = (folder / "trees.so").stat().st_size
    print(f"100 rows, largest difference {difference:.2g}, library of {size / 1024:.0f} KB")
    return difference


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
