"""The phase as a whole: promises, names, cost, and random modules."""

import time

import numpy as np
import pytest
import tvm
from relax_modules import assert_computes_the_same, build_module, constant, scalar
from tvm import relax
from tvm.relax import op

from tilewright.passes.expressions import operator_name
from tilewright.passes.rewrite import PASSES
from tilewright.passes.simplify import REWRITES, check, simplify


def operators(module):
    return [operator_name(each.value) for each in module["main"].body.blocks[0].bindings[:-1]]


def test_every_rewrite_is_registered_under_its_name():
    assert all(PASSES[rewrite.name] is type(rewrite) for rewrite in REWRITES)
    assert len({rewrite.name for rewrite in REWRITES}) == len(REWRITES)


def test_simplify_keeps_names_params_and_attributes():
    def before(emit, x):
        kept = emit(op.exp(x), "exponential")
        return emit(op.squeeze(emit(op.add(kept, scalar(0)), "nothing"), [0]), "thinner")

    module = build_module(before, (1, 3)).with_attr("origin", "test")
    module["main"] = module["main"].with_attr("note", "kept")
    after = simplify(module)
    names = [str(each.var.name) for each in after["main"].body.blocks[0].bindings]
    assert names[:-1] == ["exponential", "thinner"]
    assert str(after["main"].params[0].name) == "x0"
    assert after["main"].attrs["note"] == "kept"
    assert after.attrs["origin"] == "test"


def test_dead_bindings_are_dropped():
    def before(emit, x):
        emit(op.exp(emit(op.tanh(x))))
        return op.nn.relu(x)

    assert operators(simplify(build_module(before, (3,)))) == ["nn.relu"]


def test_an_output_may_be_an_input_or_a_constant():
    def before(emit, x):
        return [emit(op.reshape(x, (3,))), emit(op.add(scalar(1), scalar(2))), emit(op.exp(x))]

    module = build_module(before, (3,))
    after = simplify(module)
    check(after)
    assert operators(after) == ["exp"]
    assert_computes_the_same(module, after, [(3,)])


def test_outputs_bound_outside_a_tuple_come_out_in_form():
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((3,), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            a = builder.emit_output(op.exp(x))
            b = builder.emit_output(op.tanh(x))
        builder.emit_func_output(relax.Tuple([a, b]))
    after = simplify(builder.finalize())
    check(after)
    assert operators(after) == ["exp", "tanh"]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda emit, x: op.nn.relu(emit(op.squeeze(x, [0]))), "still a squeeze"),
        (lambda emit, x: op.nn.relu(emit(op.add(x, scalar(0)))), "fixed point"),
        (lambda emit, x: op.nn.relu(emit(op.permute_dims(x, [0, 1]))), "remove-identity"),
    ],
)
def test_check_refuses_what_simplify_would_change(build, message):
    module = build_module(build, (1, 3))
    with pytest.raises(AssertionError, match=message):
        check(module)
    check(simplify(module))


def test_check_refuses_a_symbolic_shape():
    n = tvm.tirx.Var("n", "int64")
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((n,), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            output = builder.emit_output(relax.Tuple([builder.emit(op.exp(x))]))
        builder.emit_func_output(output)
    with pytest.raises(AssertionError, match="'x' has a dimension that no symbols explain: 'n'"):
        check(builder.finalize())


def test_a_module_with_a_thousand_bindings_is_quick():
    def before(emit, x):
        for layer in range(100):
            product = emit(op.add(emit(op.matmul(x, constant((16, 16), layer))), constant((16,))))
            scaled = emit(op.divide(product, scalar(8)))
            heads = emit(op.permute_dims(emit(op.reshape(scaled, (4, 4, 2, 8))), [0, 2, 1, 3]))
            back = emit(op.reshape(emit(op.permute_dims(heads, [0, 2, 1, 3])), (4, 4, 16)))
            x = emit(op.add(emit(op.nn.relu(emit(op.add(back, x)))), scalar(0)))
        return op.nn.relu(x)

    module = build_module(before, (4, 4, 16))
    start = time.perf_counter()
    after = simplify(module)
    seconds = time.perf_counter() - start
    assert operators(after) == ["matmul", "add", "add", "nn.relu"] * 100 + ["nn.relu"]
    # A guard against quadratic cost, far above what the walks take.
    assert seconds < 20


def _random_step(generator, emit, x):
    """Append one random operator that keeps the shape (2, 4, 6, 6)."""
    seed = int(generator.integers(1 << 30))
    channels = (1, 4, 1, 1)
    steps = [
        lambda: op.nn.conv2d(x, constant((4, 4, 3, 3), seed, -0.3, 0.3), padding=1),
        lambda: op.nn.conv2d(emit(op.nn.pad(x, (0, 0, 0, 0, 1, 1, 1, 1))), constant((4, 1, 3, 3), seed), groups=4),
        lambda: op.multiply(x, constant(channels, seed)),
        lambda: op.add(constant(channels, seed), x),
        lambda: op.subtract(x, scalar(0.5)),
        lambda: op.divide(x, scalar(3)),
        lambda: op.nn.relu(x),
        lambda: op.multiply(x, emit(op.sigmoid(x))),
        lambda: op.multiply(emit(op.multiply(x, scalar(0.5))), emit(op.add(emit(op.erf(x)), scalar(1)))),
        lambda: op.permute_dims(emit(op.nn.relu(emit(op.permute_dims(x, [0, 2, 3, 1])))), [0, 3, 1, 2]),
        lambda: op.permute_dims(x, [0, 1, 3, 2]),
        lambda: op.reshape(emit(op.flatten(x)), (2, 4, 6, 6)),
        lambda: op.add(x, emit(op.mean(x, [2, 3], True))),
        lambda: op.add(x, emit(op.broadcast_to(constant((4, 1, 1), seed), (2, 4, 6, 6)))),
        lambda: op.multiply(emit(op.tanh(x)), x),
        lambda: relax.TupleGetItem(
            emit(op.nn.batch_norm(x, *(constant((4,), seed + each) for each in range(4)), axis=1, training=False)),
            0,
        ),
    ]
    return emit(steps[int(generator.integers(len(steps)))]())


@pytest.mark.parametrize("seed", range(16))
def test_random_modules_compute_the_same(seed):
    def before(emit, x):
        generator = np.random.default_rng(seed)
        values = [x]
        for _ in range(14):
            source = values[int(generator.integers(max(0, len(values) - 2), len(values)))]
            value = _random_step(generator, emit, source)
            # Keeps magnitudes where rounding errors can be compared.
            values.append(emit(op.clip(value, -4, 4)) if generator.random() < 0.3 else value)
        return [values[-1], emit(op.add(values[-2], values[-1]))]

    module = build_module(before, (2, 4, 6, 6))
    after = simplify(module)
    check(after)
    assert len(operators(after)) <= len(operators(module))
    assert_computes_the_same(module, after, [(2, 4, 6, 6)], rtol=1e-4, atol=1e-5)
