"""Kernels of tree ensembles against the walk from node to node, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from forests import Shape, random_forest, rows_for, workload_of
from kernel_runner import run_workload, runnable_targets
from relax_runner import run_module

from tilewright.forest import predict
from tilewright.schedules.template import build_kernel, choose_layouts
from tilewright.targets.database import load_target
from tilewright.tree_packing import pack

SHAPES = {
    "one output": Shape(),
    "classes": Shape(trees=70, outputs=3),
    "vectors of leaves": Shape(depth=5, outputs=3, vector=True),
    "two words of ranks": Shape(trees=40, depth=8, features=3, grid=400),
    "128 columns": Shape(trees=20, depth=6, features=60, sets=0.02),
    "more columns": Shape(trees=20, depth=6, features=60, sets=0.5),
    "one level": Shape(depth=1, sets=0.0),
    "maximum": Shape(outputs=2, vector=True, aggregate="max"),
    "minimum": Shape(outputs=2, vector=True, aggregate="min"),
    "deep": Shape(trees=5, depth=13, outputs=2),
    "deep vectors, double": Shape(trees=5, depth=10, outputs=3, vector=True, dtype="float64", values="float64"),
    "double": Shape(dtype="float64", values="float64"),
}


@pytest.mark.parametrize(
    ("name", "rows"), [*((name, rows) for name in SHAPES for rows in (2, 70)), ("classes", 600), ("deep", 600)]
)
def test_kernels(name: str, rows: int) -> None:
    forest = random_forest(SHAPES[name])
    data = rows_for(forest, rows)
    expected = predict(forest, data)
    plain, operands = workload_of(forest, rows)
    # The oldest target, and this machine's own with whatever it has.
    for target in (runnable_targets()[0], load_target("host")):
        work = choose_layouts(plain, target) or plain
        kernel = build_kernel(work, target)
        assert kernel is not None
        (result,) = run_workload(kernel, work, [data, *operands], target)
        np.testing.assert_array_equal(result, expected, err_msg=f"{target.name}, {kernel.attrs['tilewright.template']}")


@pytest.mark.parametrize("name", SHAPES)
def test_plain_operators(name: str) -> None:
    import tvm
    from tvm import relax

    from tilewright.passes.tree_ensemble import tree_ensemble

    forest = random_forest(SHAPES[name])
    data = rows_for(forest, 9)
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType(data.shape, forest.dtype))
    with builder.function("main", [x]):
        with builder.dataflow():
            ensemble, operands = pack(forest)
            result = builder.emit(tree_ensemble(ensemble, x, operands))
            output = builder.emit_output(relax.Tuple([result]))
        builder.emit_func_output(output)
    module: tvm.IRModule = builder.finalize()
    (result,) = run_module(module, [data])
    np.testing.assert_allclose(result, predict(forest, data), rtol=1e-5, atol=1e-5)


def test_rows_of_boundaries_meet_both_sides() -> None:
    """A test of the tests: rows reach the boundaries themselves, and missing values go both ways."""
    forest = random_forest(Shape())
    data = rows_for(forest, 600)
    bounds = forest.threshold[~np.isnan(forest.threshold)]
    assert np.isin(data, bounds).sum() > 100
    assert np.isnan(data).sum() > 100
    assert 0.2 < forest.missing_right.mean() < 0.8
