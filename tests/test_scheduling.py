"""What happens to operators that have no kernel, and to those that TVM alone would hand to its runtime library."""

from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from onnx_models import Array, model_of
from tvm import IRModule, relax

import tilewright
from tilewright.compiler.scheduling import schedule
from tilewright.errors import UserError
from tilewright.passes.fusion import fuse
from tilewright.runtime import load
from tilewright.targets.host import host_target


def test_an_operator_without_a_kernel_is_named_with_its_node() -> None:
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((3, 4), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            ordered = builder.emit(relax.op.sort(x, 1), "ordered")
            result = builder.emit_output(relax.Tuple([ordered]))
        builder.emit_func_output(result)
    module: IRModule = fuse(builder.finalize())
    with pytest.raises(UserError, match=r"node Sort 'last': the operator sort has no kernel"):
        schedule(module, host_target(), {"ordered": "Sort 'last'"})


@pytest.mark.parametrize("k", [3, 50])
def test_the_largest_elements_need_no_runtime_library(k: int, tmp_path: Path) -> None:
    x: Array = np.random.default_rng(0).standard_normal((2, 60)).astype("float32")
    nodes = [helper.make_node("TopK", ["x", "k"], ["values", "places"])]
    path = tmp_path / "model.onnx"
    path.write_bytes(model_of(nodes, {"x": x}, {"k": np.array([k])}).SerializeToString())
    tilewright.compile(path).save(tmp_path / "model.so")
    values, places = load(tmp_path / "model.so")(x)
    ranks = np.argsort(-x, 1, kind="stable")[:, :k]
    np.testing.assert_array_equal(places, ranks)
    np.testing.assert_array_equal(values, np.take_along_axis(x, ranks, 1))


@pytest.mark.parametrize(("axis", "indices"), [(0, [2, 0]), (1, [[1, 3], [0, 0], [4, 2]]), (-1, 5)])
def test_gathers_at_constant_places_compile_in_silence(
    axis: int, indices: object, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    x: Array = np.random.default_rng(0).standard_normal((3, 5, 6)).astype("float32")
    path, places = tmp_path / "model.onnx", np.array(indices)
    node = helper.make_node("Gather", ["x", "i"], ["y"], axis=axis)
    path.write_bytes(model_of([node], {"x": x}, {"i": places}).SerializeToString())
    tilewright.compile(path).save(tmp_path / "model.so")
    (result,) = load(tmp_path / "model.so")(x)
    np.testing.assert_array_equal(result, np.take(x, places, axis))
    assert capfd.readouterr().err == ""
