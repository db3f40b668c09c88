"""Recurrences against numpy in float64: any sizes, kinds, options, machines, knobs; and their assembly."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cpu_kernels import LEVELS, build, machines, template_named
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_runner import Array, assembly, run_workload
from recurrences import recur

from tilewright.knobs import Knobs
from tilewright.recurrent import BACKWARDS, KINDS, Recurrence
from tilewright.recurrent_activations import ACTIVATIONS, Activation
from tilewright.schedules.template import candidates
from tilewright.targets.target import Target
from tilewright.workload import TensorType, Workload

RULES = settings(max_examples=12, deadline=None, derandomize=True)
UNITS = st.one_of(st.integers(1, 9), st.integers(1, 70), st.sampled_from((16, 32, 64, 100)))


def default(kind: str, direction: str = "forward") -> Recurrence:
    """A recurrence with the default activations and no options."""
    return Recurrence(kind, direction, (tuple(map(Activation, KINDS[kind].activations)),) * len(BACKWARDS[direction]))


@st.composite
def recurrences(draw: Any) -> Recurrence:
    """Draw a recurrence of any kind with any options."""
    plain = default(draw(st.sampled_from(tuple(KINDS))), draw(st.sampled_from(tuple(BACKWARDS))))
    resets = plain.kind == "gru" and draw(st.booleans())
    possible = ["bias"] * resets + ["initial_h"] + ["initial_c", "peephole"] * plain.cell + ["lengths"]
    return replace(
        plain,
        operands=tuple(name for name in possible if draw(st.booleans())),
        clip=draw(st.sampled_from((0.0, 0.4))),
        input_forget=plain.cell and draw(st.booleans()),
        linear_before_reset=resets,
    )


def workload(recurrence: Recurrence, steps: int, batch: int, units: int, dtype: str = "float32") -> Workload:
    """The workload of a recurrence."""
    directions, gates = len(recurrence.backwards), recurrence.gates
    state = (directions, batch, units)
    optional = {
        "bias": TensorType((directions, units), dtype),
        "initial_h": TensorType(state, dtype),
        "initial_c": TensorType(state, dtype),
        "peephole": TensorType((directions, 3, units), dtype),
        "lengths": TensorType((batch,), "int32"),
    }
    inputs = [
        TensorType((steps, batch, directions, gates, units), dtype),
        TensorType((directions, gates, units, units), dtype),
        *(optional[name] for name in recurrence.operands),
    ]
    outputs = [
        TensorType((steps, batch, directions, units), dtype),
        *[TensorType(state, dtype)] * (1 + recurrence.cell),
    ]
    return Workload("recurrent", tuple(inputs), tuple(outputs), recurrence.attributes(), len(inputs))


def arrays(work: Workload) -> list[Array]:
    """Inputs of a few units, weights that neither fade nor explode, lengths from nothing to all steps."""
    generator = np.random.default_rng(0)
    found: list[Array] = [generator.standard_normal(each.shape).astype(each.dtype) for each in work.inputs]
    found[1] = (found[1] / np.sqrt(work.inputs[1].shape[-1])).astype(work.inputs[1].dtype)
    for at, each in enumerate(work.inputs):
        if each.dtype == "int32":
            found[at] = generator.integers(0, work.inputs[0].shape[0] + 1, each.shape, "int32")
    return found


def check(kernel: Any, work: Workload, target: Target, tolerance: float = 1e-5) -> None:
    """Run a kernel and compare it with the reference, relative to one: states of default cells are below it."""
    recurrence, inputs = Recurrence.of(dict(work.attrs)), arrays(work)
    optional = dict(zip(recurrence.operands, inputs[2:], strict=True))
    expected = recur(recurrence, inputs[0], inputs[1], optional)
    for result, wanted in zip(run_workload(kernel, work, inputs, target), expected, strict=True):
        np.testing.assert_allclose(result, wanted, rtol=tolerance, atol=tolerance)


@RULES
@given(st.data(), machines(), recurrences(), st.integers(1, 5), st.integers(1, 8), UNITS)
def test_packed(data, target, recurrence, steps, batch, units):
    work = workload(recurrence, steps, batch, units)
    template = template_named("packed_recurrent", work, target)
    assert template.layouts is not None
    work = template.layouts(work, target)
    check(build(data.draw, template, work, target), work, target)


@RULES
@given(recurrences(), st.integers(1, 4), st.integers(1, 3), st.integers(1, 20), st.sampled_from(("float32", "float64")))
def test_plain(recurrence, steps, batch, units, dtype):
    """What makes recurrences where weights are not packed; in double precision to its last digits."""
    work = workload(recurrence, steps, batch, units, dtype)
    kernel = template_named("plain_recurrent", work, LEVELS[-1]).build(work, LEVELS[-1], Knobs())
    check(kernel, work, LEVELS[-1], 1e-12 if dtype == "float64" else 1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_is_computed_in_single(kind: str) -> None:
    """Only inputs and results are rounded: the state goes from step to step in single precision."""
    work = workload(default(kind), 20, 2, 24, "float16")
    kernel = template_named("plain_recurrent", work, LEVELS[-1]).build(work, LEVELS[-1], Knobs())
    check(kernel, work, LEVELS[-1], 2.0**-11)


@pytest.mark.parametrize("name", ACTIVATIONS.names())
def test_activations(name: str) -> None:
    """Each direction has its own."""
    target = LEVELS[-1]
    parameters = tuple(0.4 + 0.2 * at for at in range(len(ACTIVATIONS[name].defaults)))
    ours = (Activation(name, parameters),) * 3
    plain = default("lstm", "bidirectional")
    work = workload(replace(plain, activations=(plain.activations[0], ours)), 3, 2, 21)
    template = template_named("packed_recurrent", work, target)
    assert template.layouts is not None
    work = template.layouts(work, target)
    check(template.build(work, target, Knobs()), work, target)


def test_packed_comes_before_plain() -> None:
    names = [each.name for each in candidates(workload(default("lstm"), 2, 1, 16), LEVELS[-1])]
    assert names == ["packed_recurrent", "plain_recurrent"]


@pytest.mark.parametrize(("kind", "batch"), [("lstm", 1), ("lstm", 6), ("gru", 1), ("rnn", 4)])
@pytest.mark.parametrize("target", LEVELS, ids=lambda each: each.name)
def test_sums_stay_in_registers(kind: str, batch: int, target: Target) -> None:
    """No block of the assembly that multiplies with weights over and over reads or writes the stack."""
    target = replace(target, facts=replace(target.facts, cores=1))
    work = workload(default(kind), 4, batch, 128)
    template = template_named("packed_recurrent", work, target)
    assert template.layouts is not None
    text = assembly(template.build(template.layouts(work, target), target, Knobs()), target)
    loops = [loop for block in re.split(r"\n(?=\.LBB)", text) if _multiplies(loop := _own_loop(block))]
    assert loops
    assert not [line for loop in loops for line in loop if "(%rsp" in line]


def _own_loop(block: str) -> list[str]:
    """Return the instructions from a block's label to the jump back to it, none when there is no such jump."""
    label = block.split(":")[0].strip()
    found = re.search(rf"^(.*?)\tj\w+\t{re.escape(label)}$", block, re.DOTALL | re.MULTILINE)
    return [line for line in found.group(1).splitlines() if line.startswith("\t")] if found else []


def _multiplies(loop: list[str]) -> bool:
    """Return whether a loop is one of products with weights: it mostly multiplies, which copies and cells do not."""
    products = [line for line in loop if re.search(r"\tv?(fmadd231|mul)ps", line)]
    return len(products) >= 4 and len(products) > len(loop) / 4
