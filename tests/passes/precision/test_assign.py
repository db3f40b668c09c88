"""The precision phase."""

import pytest
from relax_modules import build_module
from tvm.relax import op

from tilewright.errors import UserError
from tilewright.passes.precision import assign_precision, check


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "bool"])
def test_types_stay_as_the_file_says(dtype):
    module = build_module(lambda emit, x: emit(op.where(x, x, x) if dtype == "bool" else op.add(x, x)), ((3,), dtype))
    assert assign_precision(module) is module
    check(module)


def test_a_type_that_no_target_computes_is_refused():
    module = build_module(lambda emit, x: emit(op.astype(x, "float6_e2m3fn"), "quantized"), (3,))
    with pytest.raises(AssertionError, match="'quantized' is float6_e2m3fn"):
        check(module)
    with pytest.raises(UserError) as caught:
        assign_precision(module)
    assert str(caught.value) == (
        "'quantized' holds elements of type float6_e2m3fn, which no target computes: convert the model to float32"
    )
