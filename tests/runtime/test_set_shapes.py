"""The C functions of run-time sizes: at 1, at the bound, beyond it, and after a refusal, on poisoned buffers."""

from __future__ import annotations

import ctypes

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import tilewright
from tilewright.runtime import interface
from tilewright.runtime.library import Library

_ROWS, _WIDTH = 9, 20
_WEIGHTS = np.random.default_rng(0).standard_normal((_WIDTH, 7)).astype("float32")
_INT64S = ctypes.POINTER(ctypes.c_int64)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    folder = tmp_path_factory.mktemp("sizes")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Relu", ["p"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "sizes",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", _WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 7])],
        [numpy_helper.from_array(_WEIGHTS, "w")],
    )
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    shapes = {"x": (f"rows<={_ROWS}", _WIDTH)}
    made = tilewright.compile(path, input_shapes=shapes, target="x86-64-v3", jobs=1)
    return Library(made.save(folder / "model.so"), verify=True)


def _pointers(*shapes: tuple[int, ...]) -> object:
    arrays = [(ctypes.c_int64 * len(shape))(*shape) for shape in shapes]
    return (_INT64S * len(arrays))(*(ctypes.cast(each, _INT64S) for each in arrays))


def _run(library: Library, instance: int, rows: int) -> NDArray[np.float32]:
    """Run on guarded, poisoned memory; return the result after the guard was found untouched."""
    x = np.random.default_rng(rows).standard_normal((rows, _WIDTH)).astype("float32")
    out = np.full(_ROWS * 7 + 16, np.nan, np.float32)
    addresses = [(ctypes.c_void_p * 1)(each.ctypes.data) for each in (x, out)]
    library.run(instance, *addresses)
    assert np.isnan(out[rows * 7 :]).all()
    np.testing.assert_allclose(out[: rows * 7].reshape(rows, 7), np.maximum(x @ _WEIGHTS, 0), rtol=1e-5, atol=1e-5)
    return out


@pytest.mark.parametrize("threads", [1, 2])
def test_sizes_from_one_to_the_bound_and_beyond(library: Library, threads: int) -> None:
    instance = library.create(threads)
    set_shapes, error = (library._functions[f"tilewright_{name}"] for name in ("set_shapes", "error"))
    assert library.output_shape(instance, 0) == (_ROWS, 7)  # told nothing, it runs at the bounds
    _run(library, instance, _ROWS)
    for rows in (1, _ROWS, 4):
        assert set_shapes(instance, _pointers((rows, _WIDTH))) == interface.OK
        assert library.output_shape(instance, 0) == (rows, 7)
        _run(library, instance, rows)
    for shape, words in (
        ((_ROWS + 1, _WIDTH), b"has 10 elements along axis 0, but 'rows' is from 1 to 9"),
        ((0, _WIDTH), b"has 0 elements along axis 0"),
        ((2**62, _WIDTH), b"'rows' is from 1 to 9"),
        ((4, _WIDTH + 1), b"has 21 elements along axis 1, but that axis is 20"),
    ):
        assert set_shapes(instance, _pointers(shape)) != interface.OK
        assert words in error(instance)
        assert library.output_shape(instance, 0) == (4, 7)
        _run(library, instance, 4)
    assert set_shapes(instance, None) != interface.OK
    assert b"is given no shape" in error(instance)
    assert set_shapes(instance, _pointers((_ROWS, _WIDTH))) == interface.OK
    _run(library, instance, _ROWS)
    library._functions["tilewright_free"](instance)
