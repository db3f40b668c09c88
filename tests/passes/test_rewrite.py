"""The machinery of rewrites: use counts, types, termination."""

from dataclasses import dataclass

import pytest
from relax_modules import build_module
from tvm import relax
from tvm.relax import op

from tilewright.passes.rewrite import PASSES, RewritePass, register_pass, rewrite_to_fixed_point
from tilewright.passes.scope import Scope
from tilewright.passes.simplify import REWRITES


def nested(module):
    return [str(each.value.op.name) for each in module["main"].body.blocks[0].bindings[:-1]]


@dataclass(frozen=True)
class ExpToTanhOfNegative(RewritePass):
    name = "test"
    roots = ("exp",)

    def rewrite(self, value, scope):
        return op.tanh(op.negative(value.args[0]))


def test_nested_results_are_bound_under_the_name_of_their_root():
    module = build_module(lambda emit, x: emit(op.exp(x), "activation"), (3,))
    after, fired = rewrite_to_fixed_point(module, [ExpToTanhOfNegative()])
    assert nested(after) == ["relax.negative", "relax.tanh"]
    assert {str(each.var.name) for each in after["main"].body.blocks[0].bindings[:-1]} == {"activation"}
    assert fired == {"test": 1}


def test_a_module_without_matches_keeps_its_structure():
    module = build_module(lambda emit, x: emit(op.sin(x)), (3,))
    after, fired = rewrite_to_fixed_point(module, [ExpToTanhOfNegative()])
    assert nested(after) == ["relax.sin"]
    assert not fired


def test_a_rewrite_that_changes_the_type_is_a_bug():
    @dataclass(frozen=True)
    class Halve(RewritePass):
        name = "halve"
        roots = ("exp",)

        def rewrite(self, value, scope):
            return op.strided_slice(value.args[0], [0], [0], [1])

    with pytest.raises(AssertionError, match="halve turned 'activation' from"):
        Halve()(build_module(lambda emit, x: emit(op.exp(x), "activation"), (3,)))


def test_rewrites_without_end_are_a_bug():
    @dataclass(frozen=True)
    class Swap(RewritePass):
        name = "swap"
        roots = ("add",)

        def rewrite(self, value, scope):
            return op.add(value.args[1], value.args[0])

    with pytest.raises(RuntimeError, match="rewrites of 'sum' find no end: {'swap': 101}"):
        Swap()(build_module(lambda emit, x, y: emit(op.add(x, y), "sum"), (3,), (3,)))


def test_use_counts_follow_rewrites_within_a_walk():
    """The sigmoid is read twice in the file; once the identity is gone, by two readers still."""
    seen = []

    @dataclass(frozen=True)
    class Watch(RewritePass):
        name = "watch"
        roots = ("tanh",)

        def rewrite(self, value, scope: Scope):
            seen.append(scope.used_once(value.args[0]))

    def build(emit, x):
        gate = emit(op.sigmoid(x))
        alias = emit(op.reshape(gate, (3,)))
        return [op.tanh(alias), op.exp(gate)]

    def alone(emit, x):
        alias = emit(op.reshape(emit(op.sigmoid(x)), (3,)))
        return op.tanh(alias)

    rewrite_to_fixed_point(build_module(build, (3,)), [*REWRITES, Watch()])
    assert set(seen) == {False}
    seen.clear()
    rewrite_to_fixed_point(build_module(alone, (3,)), [*REWRITES, Watch()])
    assert set(seen) == {True}


def test_a_pass_is_registered_once():
    with pytest.raises(ValueError, match="pass 'remove-identity' is registered twice"):
        register_pass("remove-identity")(PASSES["remove-identity"])


def test_an_alias_of_a_result_is_followed():
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((3,), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            pair = builder.emit(relax.Tuple([builder.emit(op.exp(x))]))
            output = builder.emit_output(pair)
        builder.emit_func_output(output)
    after, _ = rewrite_to_fixed_point(builder.finalize(), [])
    assert nested(after) == ["relax.exp"]
