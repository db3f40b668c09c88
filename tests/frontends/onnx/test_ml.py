"""Operators of ai.onnx.ml against onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import skl2onnx
from onnx import TensorProto, helper
from onnx_models import Array, import_model, normal, tensor_input
from relax_runner import run_module
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

import tilewright
from tilewright.compiler.inspect_library import inspect_library
from tilewright.compiler.verify import Tolerance, verify
from tilewright.errors import UserError
from tilewright.runtime import load


def check(op_type: str, inputs: list[Array], outputs: int = 1, opset: int = 3, **attributes: Any) -> None:
    """Assert that a node computes what onnxruntime computes."""
    model = model_of(op_type, inputs, outputs, opset, **attributes)
    imported = import_model(model)
    results = run_module(imported.module, inputs)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    expected = session.run(None, {f"x{at}": each for at, each in enumerate(inputs)})
    for result, wanted in zip(results, expected, strict=True):
        assert result.dtype == wanted.dtype
        assert result.shape == wanted.shape
        np.testing.assert_allclose(result, wanted, rtol=1e-5, atol=1e-6)


def model_of(op_type: str, inputs: list[Array], outputs: int, opset: int, **attributes: Any) -> Any:
    names = [f"x{at}" for at in range(len(inputs))]
    node = helper.make_node(op_type, names, [f"y{at}" for at in range(outputs)], domain="ai.onnx.ml", **attributes)
    kinds = [TensorProto.INT64 if outputs == 2 and not at else TensorProto.FLOAT for at in range(outputs)]
    if op_type in ("LabelEncoder", "ArrayFeatureExtractor", "Binarizer", "Imputer"):
        kinds = [TensorProto.INT64 if attributes.get("values_int64s") else kinds[0]]
    symbols = ["a", "b", "c"]
    rank = inputs[0].ndim + (op_type == "OneHotEncoder")
    ranks = [1 if outputs == 2 and not at else rank for at in range(outputs)]
    graph = helper.make_graph(
        [node],
        "test",
        [tensor_input(name, array) for name, array in zip(names, inputs, strict=True)],
        [
            helper.make_tensor_value_info(f"y{at}", kind, symbols[:rank])
            for at, (kind, rank) in enumerate(zip(kinds, ranks, strict=True))
        ],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


X = normal(7, 4)
HOLES = np.where(np.abs(X) < 0.3, np.float32(np.nan), X)
FEATURES: dict[str, tuple[str, list[Array], dict[str, Any]]] = {
    "scaler": ("Scaler", [X], {"offset": [1.0, 2.0, 3.0, 4.0], "scale": [0.5, 2.0, 1.0, 3.0]}),
    "one scale": ("Scaler", [X], {"offset": [1.0], "scale": [0.5]}),
    "binarizer": ("Binarizer", [X], {"threshold": 0.2}),
    "imputer": ("Imputer", [HOLES], {"imputed_value_floats": [1.0, 2.0, 3.0, 4.0], "replaced_value_float": np.nan}),
    "imputer of a number": ("Imputer", [np.round(X)], {"imputed_value_floats": [9.0], "replaced_value_float": 1.0}),
    "one hot": ("OneHotEncoder", [np.array([[1], [5], [7]])], {"cats_int64s": [5, 1, 3]}),
    "labels": ("LabelEncoder", [np.array([3, 4, 9])], {"keys_int64s": [9, 3], "values_floats": [0.5, 1.5]}),
    "codes": ("LabelEncoder", [np.round(X)], {"keys_floats": [1.0, 0.0], "values_int64s": [7, 8], "default_int64": 5}),
    "columns": ("ArrayFeatureExtractor", [X, np.array([2, 0])], {}),
    "join": ("FeatureVectorizer", [X, normal(7, 2)], {"inputdimensions": [4, 2]}),
    **{f"norm {norm}": ("Normalizer", [np.abs(X)], {"norm": norm}) for norm in ("MAX", "L1", "L2")},
}


@pytest.mark.parametrize("name", FEATURES)
def test_features(name: str) -> None:
    op_type, inputs, attributes = FEATURES[name]
    check(op_type, inputs, opset=2 if op_type == "LabelEncoder" else 1, **attributes)


@pytest.mark.parametrize("kernel", ["LINEAR", "RBF", "POLY", "SIGMOID"])
def test_support_vectors(kernel: str) -> None:
    common = {"kernel_type": kernel, "kernel_params": [0.3, 0.1, 3.0]}
    vectors = {"support_vectors": normal(9, 4, seed=1).reshape(-1).tolist()}
    check(
        "SVMRegressor",
        [X],
        opset=1,
        n_supports=9,
        coefficients=normal(9, seed=2).tolist(),
        rho=[0.4],
        **common,
        **vectors,
    )
    check(
        "SVMClassifier", [X], 2, 1, coefficients=normal(18, seed=3).tolist(), rho=[0.1, -0.2, 0.3],
        vectors_per_class=[2, 3, 4], classlabels_ints=[5, 3, 8], **common, **vectors,
    )  # fmt: skip


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_probabilities_of_support_vectors(classes: int) -> None:
    pairs = classes * (classes - 1) // 2
    check(
        "SVMClassifier", [normal(40, 4, seed=9)], 2, 1, kernel_type="RBF", kernel_params=[0.3, 0.0, 3.0],
        coefficients=normal(3 * classes * (classes - 1), seed=3).tolist(), rho=normal(pairs, seed=4).tolist(),
        vectors_per_class=[3] * classes, classlabels_ints=list(range(7, 7 + classes)),
        support_vectors=normal(3 * classes, 4, seed=1).reshape(-1).tolist(),
        prob_a=(-1 - np.abs(normal(pairs, seed=5))).tolist(), prob_b=normal(pairs, seed=6).tolist(),
    )  # fmt: skip


@pytest.mark.parametrize("transform", ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"])
def test_linear(transform: str) -> None:
    weights = normal(12, seed=4).tolist()
    check("LinearRegressor", [X], opset=1, coefficients=weights, intercepts=[0.1, 0.2, 0.3], targets=3)
    check(
        "LinearClassifier", [X], 2, 1, coefficients=weights, intercepts=[0.1, 0.2, 0.3],
        classlabels_ints=[4, 2, 9], post_transform=transform,
    )  # fmt: skip


def tree_attributes(modes: list[str], targets: int, kind: str) -> dict[str, Any]:
    """Return trees of three levels: every mode in turn, their values among those of the data."""
    random = np.random.default_rng(5)
    lists: dict[str, list[Any]] = {
        name: [] for name in ("tree", "node", "feature", "true", "false", "mode", "value", "missing")
    }
    leaves: dict[str, list[Any]] = {name: [] for name in ("tree", "node", "id", "weight")}
    for tree in range(6):
        for node in range(7):
            leaf = node >= 3
            mode = "LEAF" if leaf else modes[(tree + node) % len(modes)]
            feature = int(random.integers(4))
            row = (tree, node, feature, 0 if leaf else 2 * node + 1, 0 if leaf else 2 * node + 2, mode)
            row += (0.0 if leaf else float(X[random.integers(7), feature]), int(random.integers(2)))
            for values, value in zip(lists.values(), row, strict=True):
                values.append(value)
            for target in range(targets) if leaf else ():
                for values, value in zip(leaves.values(), (tree, node, target, float(random.random())), strict=True):
                    values.append(value)
    names = ("treeids", "nodeids", "featureids", "truenodeids", "falsenodeids", "modes", "values")
    found: dict[str, Any] = {f"nodes_{name}": values for name, values in zip(names, lists.values(), strict=False)}
    found["nodes_missing_value_tracks_true"] = lists["missing"]
    return found | {f"{kind}_{name}": leaves[key] for name, key in
                    (("treeids", "tree"), ("nodeids", "node"), ("ids", "id"), ("weights", "weight"))}  # fmt: skip


@pytest.mark.parametrize(
    "modes", [["BRANCH_LEQ", "BRANCH_LT"], ["BRANCH_GT", "BRANCH_GTE"], ["BRANCH_EQ", "BRANCH_NEQ"]]
)
@pytest.mark.parametrize("aggregate", ["SUM", "AVERAGE", "MIN", "MAX"])
def test_tree_regressors(modes: list[str], aggregate: str) -> None:
    trees = tree_attributes(modes, 2, "target")
    data = [X] if "BRANCH_NEQ" in modes else [HOLES]
    check("TreeEnsembleRegressor", data, n_targets=2, aggregate_function=aggregate, base_values=[0.5, -1.0], **trees)


@pytest.mark.parametrize("transform", ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"])
@pytest.mark.parametrize("classes", [1, 3])
def test_tree_classifiers(transform: str, classes: int) -> None:
    trees = tree_attributes(["BRANCH_LEQ"], classes, "class")
    labels = [4, 9] if classes == 1 else [7, 3, 5]
    check("TreeEnsembleClassifier", [HOLES], 2, classlabels_int64s=labels, post_transform=transform, **trees)


def test_damaged_trees_are_refused() -> None:
    trees = tree_attributes(["BRANCH_LEQ"], 1, "target")
    for name, value, sentence in (
        ("nodes_truenodeids", [0] * 42, "two parents"),
        ("nodes_truenodeids", [99] * 42, "is not listed"),
        ("nodes_featureids", [11] * 42, "beyond the 4"),
        ("target_ids", [5] * 24, "outputs up to 5"),
        ("nodes_values", [1.0], "differ in length"),
    ):
        model = model_of("TreeEnsembleRegressor", [X], 1, 3, **{**trees, name: value})
        with pytest.raises(UserError, match=sentence):
            import_model(model)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("classes", [2, 3])
def test_probabilities_are_those_of_scikit_learn(classes: int, tmp_path: Path) -> None:
    x = normal(120, 4, seed=9) * np.array([1, 30, 400, 0.2], np.float32)
    y = (x @ np.array([2.0, 0.1, 0.004, 1.0]) > 0).astype(int) + (classes - 2) * (x[:, 0] > 0.5)
    fitted = SVC(probability=True, random_state=0, C=2.0).fit(x, y)
    model = skl2onnx.to_onnx(fitted, x[:1], options={"zipmap": False})
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    tilewright.compile(tmp_path / "model.onnx", input_shapes={"X": x.shape}).save(tmp_path / "model.so")
    labels, probabilities = load(tmp_path / "model.so")(x)
    np.testing.assert_array_equal(labels, fitted.predict(x))
    np.testing.assert_allclose(probabilities, fitted.predict_proba(x), atol=1e-6)


CLASSIFIERS = {
    "forest": RandomForestClassifier(5, random_state=0),
    "linear": LogisticRegression(),
    "bayes": GaussianNB(),
    "neighbours": KNeighborsClassifier(3),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("classes", [2, 3])
def test_labels_that_are_strings(name: str, classes: int, tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((60, 4), np.float32)
    y = np.array(["cat", "ant", "bee"])[(x[:, 0] * classes).astype(int)]
    model = skl2onnx.to_onnx(CLASSIFIERS[name].fit(x, y), x[:1], options={"zipmap": False})
    path, library = tmp_path / "model.onnx", tmp_path / "model.so"
    path.write_bytes(model.SerializeToString())
    tilewright.compile(path, input_shapes={"X": x.shape}).save(library)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    wanted, scores = session.run(None, {"X": x})
    loaded = load(library)
    found = loaded(x)
    assert found[0].tolist() == wanted.tolist()
    np.testing.assert_allclose(found[1], scores, atol=1e-6)
    assert loaded.outputs[0].labels == inspect_library(library).outputs[0].labels == tuple(sorted(set(y.tolist())))
    assert all(each.passed for each in verify(library, path, Tolerance()))


def test_labels_are_encoded_again() -> None:
    weights = {"coefficients": normal(12, seed=4).tolist(), "intercepts": [0.1, 0.2, 0.3]}
    words, domain = ["one", "two", "three"], "ai.onnx.ml"
    encode: dict[str, Any] = {"keys_strings": words[::-1], "values_int64s": [30, 20, 10], "domain": domain}
    nodes = [
        helper.make_node("LinearClassifier", ["x"], ["l", "s"], domain=domain, classlabels_strings=words, **weights),
        helper.make_node("LabelEncoder", ["l"], ["y"], **encode),
        helper.make_node("LabelEncoder", ["y"], ["w"], domain=domain, keys_int64s=[10, 20], values_strings=["a", "b"]),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.INT64, [7]),
               helper.make_tensor_value_info("w", TensorProto.STRING, [7])]  # fmt: skip
    graph = helper.make_graph(nodes, "test", [tensor_input("x", X)], outputs)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 2)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    wanted = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": X})
    imported = import_model(model)
    codes, numbers = run_module(imported.module, [X])
    np.testing.assert_array_equal(codes, wanted[0])
    assert [imported.signature.outputs[1].labels[at] for at in numbers] == wanted[1].tolist()
    graph.node[1].CopyFrom(helper.make_node("StringConcat", ["l", "l"], ["y"]))
    graph.output[0].type.tensor_type.elem_type = TensorProto.STRING
    del graph.node[2], graph.output[1]
    opsets[0].version = 20
    with pytest.raises(UserError, match="node StringConcat 'y': libraries hold numbers only, and strings as labels"):
        import_model(helper.make_model(graph, opset_imports=opsets, ir_version=9))
