"""Storing tensors in 16 bits: which are, and that small models stay near what they compute in float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from relax_modules import build_module, constant
from tvm import relax
from tvm.relax import op

from tilewright.passes.expressions import operator_name
from tilewright.passes.fusion import fuse, workload_of
from tilewright.passes.precision import assign_precision, check
from tilewright.workload import Workload


def workloads(module: Any) -> list[Workload]:
    """Return the workloads of a lowered and fused module, in order of their calls."""
    fused = fuse(module)
    values = [binding.value for block in fused["main"].body.blocks for binding in block.bindings]
    calls = [each for each in values if isinstance(each, relax.Call) and not operator_name(each)]
    found = [workload_of(fused[each.op]) for each in calls]
    return [each for each in found if each]


def types(work: Workload) -> tuple[str, ...]:
    short = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
    return tuple(short[each.dtype] for each in (*work.inputs, *work.outputs))


def convolutions(emit: Any, x: Any) -> Any:
    y = emit(op.nn.conv2d(x, constant((32, 3, 3, 3)), padding=1))
    y = emit(op.nn.relu(emit(op.add(y, constant((32, 1, 1))))))
    z = emit(op.nn.conv2d(y, constant((32, 32, 3, 3)), padding=1))
    z = emit(op.nn.relu(emit(op.add(z, y))))
    return emit(op.mean(z, [2, 3]))


@pytest.mark.parametrize(("precision", "low"), [("bf16", "bf16")])
def test_a_residual_network_is_low_between_its_kernels(precision: str, low: str) -> None:
    module = assign_precision(build_module(convolutions, (1, 3, 8, 8)), precision=precision)
    check(module)
    first, second, mean = workloads(module)
    assert types(first) == ("f32", "f32", "f32", low)  # three channels: computed and stored as they are
    assert types(second) == (low, low, low, low)  # data, weight, residual, result
    assert types(mean) == (low, "f32")


def block(emit: Any, x: Any) -> Any:
    y = emit(op.matmul(x, constant((32, 32))))
    total = emit(op.add(y, x))
    normal = emit(op.nn.layer_norm(total, constant((32,)), constant((32,)), [-1]))
    hidden = emit(op.nn.gelu(emit(op.matmul(normal, constant((32, 64))))))
    return emit(op.add(emit(op.matmul(hidden, constant((64, 32)))), normal))


def test_the_sums_of_a_transformer_stay_wide() -> None:
    found = workloads(assign_precision(build_module(block, (4, 32)), precision="bf16"))
    kinds = [(each.family, types(each)) for each in found]
    assert ("matmul", ("bf16", "bf16", "f32", "f32")) in kinds  # the sum before the normalization
    assert ("layer_norm", ("f32", "f32", "f32", "f32")) in kinds
    assert ("matmul", ("bf16", "bf16", "bf16")) in kinds
    assert kinds[-1] == ("matmul", ("bf16", "bf16", "f32", "f32"))  # the sum of unrounded parts, a result of main


def heads(emit: Any, x: Any) -> Any:
    parts = []
    for seed in range(2):
        y = emit(op.reshape(emit(op.matmul(x, constant((32, 32), seed))), (8, 2, 16)))
        parts.append(emit(op.permute_dims(y, [1, 2, 0] if seed else [1, 0, 2])))
    return emit(op.nn.softmax(emit(op.matmul(*parts)), 2))


def test_products_read_through_transposes_of_low_tensors() -> None:
    *_, product, softmax = workloads(assign_precision(build_module(heads, (8, 32)), precision="bf16"))
    assert types(product) == ("bf16", "bf16", "bf16")
    assert product.attr("b_axes") == (1, 2, 0)
    assert types(softmax) == ("bf16", "f32")


def test_weights_of_products_are_constants_of_half_the_size() -> None:
    module = assign_precision(
        build_module(lambda emit, x: emit(op.matmul(x, constant((32, 8)))), (4, 32)), precision="bf16"
    )
    constants = [
        each
        for block in module["main"].body.blocks
        for binding in block.bindings
        for each in getattr(binding.value, "args", ())
        if hasattr(each, "value") and hasattr(each.value, "numpy")
    ]
    assert [str(each.ty.dtype) for each in constants] == ["bfloat16"]
    rounded = constants[0].value.numpy().astype(np.float32)
    assert np.abs(rounded - constant((32, 8)).value.numpy()).max() <= 2.0**-8
