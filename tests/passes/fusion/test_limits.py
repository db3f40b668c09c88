"""How large a group may become: in operators, and in what its expressions grow to when they are written out."""

import pytest
from groups import fused, group_calls
from relax_modules import build_module, scalar
from tvm.relax import op

from tilewright.passes.fusion import fuse
from tilewright.passes.fusion.group import REGION_LIMIT


def test_a_region_has_a_limit():
    def before(emit, x):
        for _ in range(REGION_LIMIT + 7):
            x = emit(op.negative(x))
        return x

    assert [len(each.operators) for each in group_calls(fused(before, (5,)))] == [REGION_LIMIT, 7]


@pytest.mark.parametrize(
    ("step", "longest"),
    [
        (lambda x, y: op.nn.gelu(x), 2),
        (lambda x, y: op.maximum(x, y), 3),
        (lambda x, y: op.multiply(x, x), 11),
        (lambda x, y: op.log(x), 1),
        (lambda x, y: op.maximum(x, scalar(0.5)), 12),
    ],
)
def test_long_expressions_are_cut(step, longest):
    """Written out, such a chain grows exponentially, and so would the time to compile it."""

    def before(emit, x, y):
        for _ in range(12):
            x = emit(step(x, y))
        return emit(op.tanh(x))

    module = build_module(before, (5,), (5,))
    sizes = [len(each.operators) for each in group_calls(fuse(module))]
    assert sum(sizes) == 13
    assert max(sizes[:-1], default=sizes[0]) <= longest + (len(sizes) == 1)
