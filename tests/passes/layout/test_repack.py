"""A change of layout as Relax operators is what Layout.pack and Layout.unpack compute."""

import numpy as np
import pytest
from hypothesis import given, settings
from layouts import layouts_and_shapes
from relax_runner import run_module
from tvm import relax

from tilewright.passes.layout.repack import emit_pack, emit_unpack
from tilewright.winograd import WinogradLayout

RULES = settings(max_examples=15, deadline=None, derandomize=True)


def run(emit, array):
    """Run one emitted value of one input."""
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType(array.shape, str(array.dtype)))
    with builder.function("main", [x]):
        with builder.dataflow():
            output = builder.emit_output(emit(builder, x))
        builder.emit_func_output(output)
    (result,) = run_module(builder.finalize(), [array])
    return result


@RULES
@given(layouts_and_shapes())
def test_pack(drawn):
    layout, shape = drawn
    array = np.random.default_rng(0).standard_normal(shape).astype("float32")
    result = run(lambda builder, x: emit_pack(builder, x, layout), array)
    np.testing.assert_array_equal(result, layout.pack(array), strict=True)


@RULES
@given(layouts_and_shapes())
def test_unpack(drawn):
    """Whatever lies in the padding is left out."""
    layout, shape = drawn
    stored = np.random.default_rng(0).standard_normal(layout.stored_shape(shape)).astype("float32")
    result = run(lambda builder, x: emit_unpack(builder, x, layout, shape), stored)
    np.testing.assert_array_equal(result, layout.unpack(stored, shape), strict=True)


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("tile", [2, 4])
@pytest.mark.parametrize("shape", [(16, 3, 3, 3), (17, 4, 3, 3)])
def test_transformed_weights_are_recovered(tile, shape, pairs):
    """Up to rounding: what the transform of the weights keeps of them."""
    layout = WinogradLayout.of(tile, 8, pairs)
    weight = np.random.default_rng(0).standard_normal(shape).astype("float32")
    result = run(lambda builder, x: emit_unpack(builder, x, layout, shape), layout.pack(weight))
    np.testing.assert_allclose(result, weight, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(layout.unpack(layout.pack(weight), shape), weight, rtol=1e-5, atol=1e-5)
