"""Every scalar operation with others behind it: what the analyzer concludes of one must not break the next."""

import numpy as np
import pytest
from kernel_runner import run_workload, runnable_targets
from workloads import step, tensor, workload

from tilewright.schedules import scalar  # noqa: F401 - registers the operations
from tilewright.schedules.template import build_kernel
from tilewright.workload import PointwiseProgram

TARGET = runnable_targets()[-1]
SHAPE = (3, 21)
ATTRIBUTES = {
    "clip": {"min": -1.0, "max": 1.5},
    "nn.leakyrelu": {"alpha": 0.1},
    "nn.softplus": {"beta": 1.0, "threshold": 20.0},
    "astype": {"dtype": "float32"},
}
UNARY = [
    *("abs", "negative", "sign", "ceil", "floor", "round", "trunc", "sqrt", "rsqrt", "square", "exp", "log", "sin"),
    *("cos", "tan", "asin", "atan", "sinh", "tanh", "sigmoid", "erf", "astype", "clip", "nn.relu", "nn.leakyrelu"),
    *("nn.gelu", "nn.gelu_tanh", "nn.silu", "nn.selu", "nn.softplus", "nn.relu6"),
]
BINARY = [
    *("add", "subtract", "multiply", "divide", "floor_divide", "mod", "floor_mod", "power", "maximum", "minimum"),
    *("nn.prelu", "atan2", "log_add_exp"),
]


def run(operands, *steps):
    """Run a pointwise program on float32 operands; the first two are x and y in 0.1..0.9."""
    program = PointwiseProgram(operands, steps)
    work = workload("pointwise", [tensor(*SHAPE)] * operands, tensor(*SHAPE), 0, program)
    random = np.random.default_rng(0)
    arrays = [random.uniform(0.1, 0.9, SHAPE).astype("float32") for _ in range(operands)]
    kernel = build_kernel(work, TARGET)
    assert kernel is not None
    (result,) = run_workload(kernel, work, arrays, TARGET)
    return arrays, result


def assert_chains(*first):
    """The last of some steps on (x, y), then * y, - x, / y, against numpy on the steps' own result."""
    (x, y), value = run(2, *first)
    last = 1 + len(first)
    behind = [step("multiply", last, 1), step("subtract", last + 1, 0), step("divide", last + 2, 1)]
    _, result = run(2, *first, *behind)
    np.testing.assert_allclose(result, (value * y - x) / y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", UNARY)
def test_unary(name):
    assert_chains(step(name, 0, **ATTRIBUTES.get(name, {})))


@pytest.mark.parametrize("name", BINARY)
def test_binary(name):
    assert_chains(step(name, 0, 1))


@pytest.mark.parametrize("name", ["greater", "less_equal", "equal", "not_equal"])
def test_selection(name):
    assert_chains(step(name, 0, 1, dtype="bool"), step("where", 2, 1, 0))


@pytest.mark.parametrize("name", ["isnan", "isinf", "logical_not"])
def test_conditions_as_numbers(name):
    assert_chains(step(name, 0, dtype="bool"), step("astype", 2))
