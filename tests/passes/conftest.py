"""Around every walk of a rewrite: the function before and the function after are well formed and in main's form."""

import pytest
import tvm
from tvm import relax

from tilewright.passes import rewrite
from tilewright.passes.spec import check_main_form


@pytest.fixture(autouse=True)
def _well_formed_around_every_walk(monkeypatch):
    walk = rewrite._walk

    def checked(function, table):
        relax.analysis.well_formed(tvm.IRModule({"main": function}))
        after, fired = walk(function, table)
        module = tvm.IRModule({"main": after})
        relax.analysis.well_formed(module)
        check_main_form(module)
        return after, fired

    monkeypatch.setattr(rewrite, "_walk", checked)
