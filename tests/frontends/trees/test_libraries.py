"""Compiled models against the libraries that trained them, on rows with missing values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import onnxmltools
import pytest
import skl2onnx
import xgboost
from numpy.typing import NDArray
from onnxmltools.convert.common.data_types import FloatTensorType as XgbFloats
from skl2onnx.common.data_types import FloatTensorType
from sklearn import ensemble, linear_model, pipeline, preprocessing, svm, tree

import tilewright
from tilewright import runtime

Array = NDArray[Any]
FEATURES, ROWS = 9, 40
TOLERANCE = 1e-6


def data(missing: bool = True, seed: int = 0) -> tuple[Array, Array]:
    """Return rows, the last two columns categories, and a target."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((600, FEATURES)).astype(np.float32)
    x[:, -2:] = random.integers(0, 12, (600, 2))
    y = x[:, 0] - np.sin(2 * x[:, 1]) * x[:, 2] + (x[:, -1] % 3) + 0.1 * random.standard_normal(600)
    if missing:
        x[random.random(x.shape) < 0.1] = np.nan
    return x, y.astype(np.float32)


def classes(y: Array, count: int) -> Array:
    """Return a target cut into classes of equal size."""
    return np.digitize(y, np.quantile(y, np.arange(1, count) / count))


def run(model: Path, x: Array) -> list[Array]:
    """Return the outputs of a model, compiled for few rows and for many; both must agree."""
    results = []
    name = tilewright_input(model)
    for rows in (3, len(x)):
        library = model.with_suffix(f".{rows}.so")
        tilewright.compile(model, input_shapes={name: (rows, x.shape[1])}).save(library)
        with runtime.load(library, threads=1) as loaded:
            out = {
                each.name: np.full(each.shape, np.nan, each.dtype) for each in loaded.outputs if "f" in each.dtype[:1]
            }
            results.append([np.array(each) for each in loaded(x[:rows], out=out)])
    for few, many in zip(*results, strict=True):
        np.testing.assert_allclose(few, many[:3], rtol=TOLERANCE, atol=TOLERANCE)
    return results[1]


def tilewright_input(model: Path) -> str:
    """Return the name of a model's input."""
    import onnx

    return str(onnx.load(model).graph.input[0].name) if model.suffix == ".onnx" else "x"


def close(found: Array, expected: Array) -> None:
    """Assert that results are within the tolerance, relative to the largest."""
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(found / scale, np.asarray(expected).reshape(found.shape) / scale, rtol=0, atol=TOLERANCE)


XGBOOST: dict[str, dict[str, Any]] = {
    "reg:squarederror": {},
    "binary:logistic": {},
    "multi:softprob": {"num_class": 4},
    "multi:softmax": {"num_class": 3, "max_depth": 3},
    "count:poisson": {},
    "binary:hinge": {},
    "reg:absoluteerror": {"max_depth": 11, "min_child_weight": 0},
    "rank:ndcg": {"max_depth": 8},
}


@pytest.mark.parametrize("objective", XGBOOST)
@pytest.mark.parametrize("suffix", ["json", "ubj"])
def test_xgboost(objective: str, suffix: str, tmp_path: Path) -> None:
    x, y = data()
    options = {"max_depth": 5, **XGBOOST[objective], "objective": objective, "seed": 1, "nthread": 1}
    kinds = {"binary": classes(y, 2), "multi": classes(y, options.get("num_class", 2)), "count": np.abs(y).round()}
    target = kinds.get(objective.split(":")[0], y)
    categorical = xgboost.DMatrix(
        x, target if objective != "rank:ndcg" else classes(y, 5), feature_types=["q"] * (FEATURES - 2) + ["c"] * 2,
        enable_categorical=True, group=[100] * 6 if objective == "rank:ndcg" else None,
    )  # fmt: skip
    booster = xgboost.train(options, categorical, 12)
    model = tmp_path / f"model.{suffix}"
    booster.save_model(model)
    again = xgboost.Booster(model_file=model)
    rows = np.concatenate([x[:ROWS], np.full((1, FEATURES), np.nan, np.float32)])
    rows[1, -1], rows[2, -1], rows[3, -2] = 99.0, -1.0, 3.7
    types = ["q"] * (FEATURES - 2) + ["c"] * 2
    expected = again.predict(
        xgboost.DMatrix(rows, feature_types=types, enable_categorical=True), validate_features=False
    )
    (found,) = run(model, rows)
    close(found, expected)
    if objective == "reg:squarederror":
        np.testing.assert_array_equal(found, expected)


def test_xgboost_dart(tmp_path: Path) -> None:
    x, y = data()
    booster = xgboost.train({"booster": "dart", "rate_drop": 0.3, "nthread": 1}, xgboost.DMatrix(x, y), 12)
    booster.save_model(tmp_path / "dart.json")
    (found,) = run(tmp_path / "dart.json", x[:ROWS])
    close(found, booster.predict(xgboost.DMatrix(x[:ROWS])))


LIGHTGBM: dict[str, dict[str, Any]] = {
    "regression": {},
    "binary": {"zero_as_missing": True},
    "multiclass": {"num_class": 3},
    "multiclassova": {"num_class": 3, "use_missing": False},
    "poisson": {"num_leaves": 60, "max_depth": -1},
    "regression_l1": {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6},
}


@pytest.mark.parametrize("objective", LIGHTGBM)
def test_lightgbm(objective: str, tmp_path: Path) -> None:
    x, y = data()
    x[::7, 0] = 0.0
    options = {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 3, **LIGHTGBM[objective], "objective": objective}
    target = {"binary": classes(y, 2), "poisson": np.abs(y).round()}.get(objective, y)
    target = classes(y, 3) if "num_class" in options else target
    booster = lightgbm.train(options, lightgbm.Dataset(x, target, categorical_feature=[7, 8]), 12)
    model = tmp_path / "model.txt"
    booster.save_model(model)
    rows = x[: ROWS + 1].copy()
    rows[1, -1], rows[2, -1], rows[3, -2], rows[4, -2] = 99.0, -1.0, 3.7, -0.5
    (found,) = run(model, rows)
    close(found, booster.predict(rows))


SKLEARN: dict[str, tuple[Any, int, bool]] = {
    "forest regressor": (ensemble.RandomForestRegressor(10, random_state=0), 0, False),
    "deep forest of classes": (ensemble.RandomForestClassifier(10, random_state=0), 3, False),
    "forest of two classes": (ensemble.ExtraTreesClassifier(10, max_depth=4, random_state=0), 2, False),
    "booster": (ensemble.GradientBoostingRegressor(n_estimators=20, random_state=0), 0, False),
    "booster of two classes": (ensemble.GradientBoostingClassifier(n_estimators=20, random_state=0), 2, False),
    "tree": (tree.DecisionTreeClassifier(random_state=0), 4, False),
    "logistic": (linear_model.LogisticRegression(max_iter=500), 3, False),
    "scaled ridge": (pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.Ridge()), 0, False),
    "decisions of pairs": (pipeline.make_pipeline(preprocessing.Normalizer(), svm.SVC()), 2, False),
}


@pytest.mark.parametrize("name", SKLEARN)
def test_sklearn(name: str, tmp_path: Path) -> None:
    estimator, count, missing = SKLEARN[name]
    x, y = data(missing)
    estimator.fit(x, classes(y, count) + 3 if count else y)
    options = {"zipmap": False} if count and name != "logistic" else {}
    converted = skl2onnx.to_onnx(
        estimator, initial_types=[("X", FloatTensorType([None, FEATURES]))],
        options={id(estimator): options} if options else None, target_opset={"": 17, "ai.onnx.ml": 3},
    )  # fmt: skip
    model = tmp_path / "model.onnx"
    model.write_bytes(converted.SerializeToString())
    found = run(model, x[:ROWS])
    if not count:
        close(found[0], estimator.predict(x[:ROWS]))
        return
    np.testing.assert_array_equal(found[0], estimator.predict(x[:ROWS]))
    if hasattr(estimator, "predict_proba"):
        close(found[1], estimator.predict_proba(x[:ROWS]))


@pytest.mark.parametrize("count", [0, 2, 3])
def test_xgboost_through_onnx(count: int, tmp_path: Path) -> None:
    x, y = data()
    kind = xgboost.XGBClassifier if count else xgboost.XGBRegressor
    estimator = kind(n_estimators=8, max_depth=5, n_jobs=1).fit(x, classes(y, count) if count else y)
    converted = onnxmltools.convert_xgboost(estimator, initial_types=[("X", XgbFloats([None, FEATURES]))])
    model = tmp_path / "model.onnx"
    model.write_bytes(converted.SerializeToString())
    found = run(model, x[:ROWS])
    close(found[-1], estimator.predict_proba(x[:ROWS]) if count else estimator.predict(x[:ROWS]))
