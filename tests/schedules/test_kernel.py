"""How loops are cut, and what workloads cost."""

from hypothesis import given
from hypothesis import strategies as st
from workloads import step, tensor, workload

from tilewright.layout import Layout
from tilewright.schedules.cost import flops, operand_bytes
from tilewright.schedules.kernel import balanced, starts, unrolled_loop
from tilewright.workload import PointwiseProgram

RELU = PointwiseProgram(2, (step("const"), step("add", 0, 1), step("maximum", 3, 2)))


@given(st.integers(1, 500), st.integers(1, 40))
def test_balanced_pieces(extent, limit):
    runs = balanced(extent, limit)
    sizes = [size for size, count in runs for _ in range(count)]
    assert sum(sizes) == extent
    assert len(sizes) == -(-extent // limit)
    assert max(sizes) <= limit
    assert max(sizes) - min(sizes) <= 1
    assert len(runs) <= 2
    places = [first + at * size for first, size, count in starts(runs) for at in range(count)]
    assert places == [sum(sizes[:at]) for at in range(len(sizes))]


def test_balanced_examples():
    assert balanced(17, 14) == [(9, 1), (8, 1)]
    assert balanced(56, 14) == [(14, 4)]
    assert balanced(3, 14) == [(3, 1)]


@given(st.integers(1, 500), st.integers(1, 16))
def test_unrolled_loops_cover_the_extent_once(extent, unroll):
    steps = [start + at * width + inner for start, count, width in unrolled_loop(extent, unroll)
             for at in range(count) for inner in range(width)]  # fmt: skip
    assert steps == list(range(extent))


def test_costs_of_convolutions():
    conv = workload(
        "conv2d", [tensor(2, 8, 5, 5), tensor(6, 4, 3, 3), tensor(1, 6, 1, 1)], tensor(2, 6, 5, 5), 2, RELU,
        groups=2, strides=(1, 1), padding=(1, 1, 1, 1), dilation=(1, 1),
    )  # fmt: skip
    outputs = 2 * 6 * 5 * 5
    assert flops(conv) == 2 * outputs * 4 * 9 + 2 * outputs
    assert operand_bytes(conv) == 4 * (2 * 8 * 25 + 6 * 4 * 9 + 6 + outputs)


def test_costs_of_products_read_transposed():
    axes = {"a_axes": (0, 2, 1), "b_axes": (1, 0), "out_axes": (0, 1, 2)}
    product = workload("matmul", [tensor(3, 7, 5), tensor(4, 7)], tensor(3, 5, 4), 2, **axes)
    assert flops(product) == 2 * 3 * 5 * 4 * 7


def test_bytes_are_those_in_memory():
    """Padding counts, and so does the width of the elements."""
    work = workload("layout_transform", [tensor(1, 9, 2)], tensor(1, 9, 2, layout=Layout("NCW", "NCW8c")))
    assert operand_bytes(work) == 4 * (18 + 32)
    half = workload("pointwise", [tensor(5, dtype="float16")], tensor(5, dtype="bool"), 0, None)
    assert operand_bytes(half) == 5 * 2 + 5
    assert operand_bytes(workload("opaque", [tensor(5, dtype="bfloat16")], tensor(5))) == 10 + 20
