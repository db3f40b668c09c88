"""Strassen-Winograd products: any halves, how far they round, when they are chosen, and what a NaN reaches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cpu_kernels import LEVELS, Shape, build, machines, orders, stored, template_named
from epilogues import assert_kernel_computes, epilogues
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_runner import Array, run_workload
from onnx import helper
from onnx_models import model_of

import tilewright
from tilewright.compiler.inspect_library import inspect_library
from tilewright.runtime import load
from tilewright.schedules.cpu.strassen import STRASSEN
from tilewright.schedules.template import build_kernel, choose_layouts
from tilewright.targets.database import load_target
from tilewright.targets.target import Target
from tilewright.workload import TensorType, Workload, attributes

RULES = settings(max_examples=25, deadline=None, derandomize=True)
#: What docs/design/0003-cpu-kernels.md promises of one product, relative to the largest output.
BOUND = 5e-6


def product(a: Shape, columns: int, b_axes: Shape = (0, 1), constant: bool = True) -> Workload:
    """A [..., M, K] times constant weights [K, N], which are stored transposed by ``b_axes``."""
    axes = tuple(range(len(a)))
    attrs = {"a_axes": axes, "b_axes": b_axes, "out_axes": axes, "constant_weight": constant}
    weights = stored((a[-1], columns), b_axes)
    inputs = (TensorType(a, "float32"), TensorType(weights, "float32"))
    return Workload("matmul", inputs, (TensorType((*a[:-1], columns), "float32"),), attributes(attrs), 2)


def asked(work: Workload, target: Target) -> Workload:
    """The workload as the template wants it."""
    layouts = template_named("strassen_matmul", work, target).layouts
    assert layouts is not None
    return layouts(work, target)


def run(work: Workload, a: Array, b: Array, target: Target) -> Array:
    kernel = build_kernel(work, target)
    assert kernel is not None
    assert kernel.attrs["tilewright.template"] == "strassen_matmul"
    result: Array = run_workload(kernel, work, [a, b], target)[0]
    return result


def reference(work: Workload) -> Any:
    return lambda a, b: a @ b.transpose(work.attr("b_axes"))


@RULES
@given(
    st.data(),
    machines(),
    st.sampled_from(((), (1,), (3,), (2, 3))),
    st.one_of(st.integers(2, 40), st.integers(60, 70), st.sampled_from((128, 197))),
    st.one_of(st.integers(1, 40), st.sampled_from((64, 96))),
    st.one_of(st.integers(17, 90), st.sampled_from((32, 64, 96, 128))),
)
def test_any_halves(data, target, batch, rows, half_depth, columns):
    """Odd rows, blocks and halves of the depth; groups of rows; epilogues; parts of the depth in small caches."""
    plain = product((*batch, rows, 2 * half_depth), columns, data.draw(st.sampled_from(((0, 1), (1, 0)))))
    out_axes = data.draw(orders(len(batch) + 2))
    epilogue = data.draw(epilogues(plain.output.shape))
    transposed = TensorType(tuple(plain.output.shape[axis] for axis in out_axes), "float32")
    work = replace(
        plain,
        inputs=(*plain.inputs, *epilogue.operands),
        outputs=(transposed,),
        attrs=attributes({**dict(plain.attrs), "out_axes": out_axes}),
        epilogue=epilogue.program,
    )
    wish = asked(work, target)
    kernel = build(data.draw, template_named("strassen_matmul", work, target), wish, target)
    assert_kernel_computes(kernel, wish, target, reference(work), out_axes=out_axes)


def scales(shape: Shape, seed: int) -> Array:
    """Powers of ten from 1e-3 to 1e3."""
    return np.float32(10.0) ** np.random.default_rng(seed).integers(-3, 4, shape).astype("float32")


@pytest.mark.parametrize("target", LEVELS, ids=lambda target: target.name)
@pytest.mark.parametrize("scaled", ["evenly", "rows", "columns", "depth"])
def test_the_error_is_bounded_by_the_largest_output(target: Target, scaled: str) -> None:
    """Small rows next to large ones lose digits, but never more than the bound of the largest output."""
    rows, depth, columns = 128, 1536, 96
    generator = np.random.default_rng(7)
    a, b = (generator.standard_normal(shape).astype("float32") for shape in ((rows, depth), (depth, columns)))
    if scaled == "rows":
        a *= scales((rows, 1), 1)
    if scaled == "columns":
        b *= scales((1, columns), 2)
    if scaled == "depth":
        a *= scales((1, depth), 3)
    wish = asked(product((rows, depth), columns), target)
    exact = a.astype("float64") @ b.astype("float64")
    error = np.abs(run(wish, a, b, target) - exact).max() / np.abs(exact).max()
    assert error < BOUND


def test_a_nan_stays_in_its_entry_of_the_batch() -> None:
    target = LEVELS[-1]
    generator = np.random.default_rng(0)
    a = generator.standard_normal((3, 65, 64)).astype("float32")
    b = generator.standard_normal((64, 64)).astype("float32")
    wish = asked(product(a.shape, 64), target)
    clean = run(wish, a, b, target)
    a[1, 5, 7] = np.nan
    spoilt = run(wish, a, b, target)
    assert np.isnan(spoilt[1, 5]).all()
    np.testing.assert_array_equal(spoilt[[0, 2]], clean[[0, 2]])


@pytest.mark.parametrize(
    ("work", "chosen"),
    [
        (product((8, 128, 768), 768), True),
        (product((8, 128, 768), 3072), True),
        (product((8, 128, 3072), 768), True),
        (product((1, 197, 768), 3072), True),
        (product((1, 197, 768), 768, (1, 0)), True),
        (product((1024, 1024), 1024), True),
        (product((1, 128, 768), 3072), False),
        (product((1, 128, 3072), 768), False),
        (product((16, 768), 768), False),
        (product((1, 1024), 1000), False),
        (product((1024, 768), 16), False),
        (product((1024, 33), 768), False),
        (product((1024, 32), 768), False),
        (product((8, 128, 768), 768, constant=False), False),
    ],
    ids=lambda value: (
        "x".join(map(str, (*value.inputs[0].shape, *value.output.shape[-1:]))) if isinstance(value, Workload) else ""
    ),
)
def test_when_it_is_chosen(work: Workload, chosen: bool) -> None:
    target = load_target("x86-64-v4")
    target = replace(target, facts=replace(target.facts, cores=2))
    for accuracy in ("default", "fast"):
        wish = choose_layouts(work, target, accuracy)
        assert wish is not None
        assert (STRASSEN in wish.attrs) is chosen
    exact = choose_layouts(work, target, "exact")
    assert exact is not None
    assert STRASSEN not in exact.attrs


def test_many_cores_take_it_only_where_tiles_suffice() -> None:
    """T is formed again for every chunk of rows: what cores need is a part of the estimate."""
    target = load_target("x86-64-v4")
    many = replace(target, facts=replace(target.facts, cores=64))
    small, large = (choose_layouts(product((rows, 768), 768), many) for rows in (256, 8192))
    assert small is not None
    assert STRASSEN not in small.attrs
    assert large is not None
    assert STRASSEN in large.attrs


@pytest.mark.parametrize("accuracy", ["exact", "default"])
def test_a_model_computes_on_one_thread_and_on_two(accuracy: str, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    x = generator.standard_normal((2, 257, 512)).astype("float32")
    weights = {
        "w": generator.standard_normal((512, 1040)).astype("float32") / 16,
        "v": generator.standard_normal((1040, 512)).astype("float32") / 16,
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["positive"]),
        helper.make_node("MatMul", ["positive", "v"], ["projected"]),
        helper.make_node("Add", ["projected", "x"], ["y"]),
    ]
    path = tmp_path / "model.onnx"
    path.write_bytes(model_of(nodes, {"x": x}, weights).SerializeToString())
    tilewright.compile(path, accuracy=accuracy).save(tmp_path / "model.so")
    used = {each.template for each in inspect_library(tmp_path / "model.so").kernels}
    assert used == {"packed_matmul" if accuracy == "exact" else "strassen_matmul"}
    wide = {name: array.astype("float64") for name, array in weights.items()}
    expected = np.maximum(x.astype("float64") @ wide["w"], 0) @ wide["v"] + x
    for threads in (1, 2):
        (y,) = load(tmp_path / "model.so", threads=threads)(x)
        assert np.abs(y - expected).max() < BOUND * np.abs(expected).max()
