from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tilewright.compiler.index_bounds import index_bounds


def test_bounds_follow_the_indices_to_the_tables(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["ids"], ["wide"], to=TensorProto.INT64),
        helper.make_node("Gather", ["words", "wide"], ["a"]),
        helper.make_node("Unsqueeze", ["wide", "axes"], ["more"]),
        helper.make_node("Gather", ["places", "more"], ["b"], axis=1),
        helper.make_node("Gather", ["data", "fixed"], ["c"]),
        helper.make_node("Cast", ["flags"], ["d"], to=TensorProto.FLOAT),
    ]
    tables = {"words": (50, 4), "places": (4, 20), "fixed": (1,), "axes": (1,)}
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info("ids", TensorProto.INT32, [7]),
            helper.make_tensor_value_info("flags", TensorProto.INT64, [7]),
            helper.make_tensor_value_info("data", TensorProto.INT64, [7]),
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "abcd"],
        [numpy_helper.from_array(np.zeros(shape, np.float32), name) for name, shape in tables.items()],
    )
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph), path)
    assert index_bounds(path) == {"ids": 20}
