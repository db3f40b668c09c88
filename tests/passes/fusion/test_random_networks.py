"""Fusing any network keeps its numbers, its form, and the order of values."""

from groups import group_calls
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import INPUTS, random_network
from relax_modules import assert_computes_the_same, build_module
from tvm import relax

from tilewright.passes.fusion import fuse
from tilewright.passes.fusion.spec import check
from tilewright.passes.spec import check_main_form
from tilewright.workload import Workload


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.data())
def test_fused_networks_compute_the_same(data):
    before = build_module(lambda emit, *inputs: random_network(data.draw, emit, *inputs), *INPUTS)
    after = fuse(before)
    relax.analysis.well_formed(after)
    # Every variable is bound before it is read: there are no cycles.
    check_main_form(after)
    check(after)
    for call in group_calls(after):
        assert Workload.from_json(call.work.to_json()) == call.work
    assert_computes_the_same(before, after, INPUTS, rtol=1e-5, atol=1e-5)
