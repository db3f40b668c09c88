"""What the comparison with the multiply-adds of one core counts."""

import pytest
import torch

from benchmarks.ceiling import CASES, convolution, operations, product
from tilewright.schedules.template import choose_layouts
from tilewright.targets.database import load_target
from tilewright.winograd import WinogradLayout


@pytest.mark.parametrize(("size", "kernel", "stride"), [(5, 1, 1), (5, 3, 1), (8, 3, 2), (4, 5, 1)])
def test_taps_on_padding_do_not_count(size, kernel, stride):
    work = choose_layouts(convolution((7, 20), size, kernel, stride), load_target("x86-64-v3"), "exact")
    data, weight = torch.ones(1, 7, size, size), torch.ones(20, 7, kernel, kernel)
    taps = torch.nn.functional.conv2d(data, weight, stride=stride, padding=kernel // 2).sum()
    assert operations(work) == 2 * taps


def test_products_count_two_for_each_multiply_add():
    assert operations(product(3, 5, 7)) == 2 * 3 * 5 * 7


@pytest.mark.parametrize("case", [each for each in CASES if not each.bar], ids=lambda case: case.name)
@pytest.mark.parametrize("level", ["x86-64-v2", "x86-64-v3", "x86-64-v4"])
def test_winograd_is_measured_where_it_is_named(case, level):
    work = choose_layouts(case.work, load_target(level), case.accuracy)
    assert isinstance(work.inputs[1].layout, WinogradLayout)
    assert operations(work) < operations(choose_layouts(case.work, load_target(level), "exact"))
