"""The schema of tuning records fits the workloads that the compiler writes, and every record fits the schema."""

import copy
import json
from typing import Any

import pytest
from house.repository import ROOT
from jsonschema import Draft202012Validator

from tilewright.layout import Layout
from tilewright.workload import PointwiseProgram, PointwiseStep, TensorType, Workload

LOGS = ROOT / "autotune_logs"
SCHEMA = json.loads((LOGS / "record.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)


def record() -> dict[str, Any]:
    """Return a record of a convolution with bias, residual add and a clip."""
    blocked = Layout("NCHW", "NCHW16c")
    work = Workload(
        family="conv2d",
        inputs=(
            TensorType((1, 64, 56, 56), "float32", blocked),
            TensorType((64, 64, 3, 3), "float32", Layout("OIHW", "OIHW16i16o")),
            TensorType((64, 1, 1), "float32"),
            TensorType((1, 64, 56, 56), "float32", blocked),
        ),
        outputs=(TensorType((1, 64, 56, 56), "float32", blocked),),
        attrs=(("dilation", (1, 1)), ("groups", 1), ("padding", (1, 1, 1, 1)), ("strides", (1, 1))),
        anchor_arity=2,
        epilogue=PointwiseProgram(
            3,
            (
                PointwiseStep("add", (0, 1), "float32"),
                PointwiseStep("add", (3, 2), "float32"),
                PointwiseStep("clip", (4,), "float32", (("max", 6.0), ("min", 0.0))),
                PointwiseStep("nn.relu", (5,), "float32"),
            ),
        ),
    )
    return {
        "format": 1,
        "workload": json.loads(work.to_json()),
        "target": {"name": "znver4", "fingerprint": "0" * 64},
        "template": "conv2d_nchw16c",
        "knobs": {"tile_width": 14, "unroll": True, "order": "o_hw"},
        "median_seconds": 1.5e-4,
        "versions": {"tilewright": "0.1.0", "tvm": "0.27.0", "llvm": "22"},
    }


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_a_record_of_a_real_workload_fits() -> None:
    VALIDATOR.validate(record())
    scale = PointwiseProgram(1, (PointwiseStep("nn.relu", (0,), "float16"),))
    work = Workload("attention", (TensorType((), "bool"),), (TensorType((), "float16"),), inner=(scale, scale))
    VALIDATOR.validate({**record(), "workload": json.loads(work.to_json())})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("format",), 2),
        (("median_seconds",), 0),
        (("median_seconds",), "1 ms"),
        (("template",), "conv2d; rm"),
        (("knobs", "tile_width"), 1.5),
        (("knobs", "Tile"), 1),
        (("target", "fingerprint"), "abc"),
        (("versions", "tvm"), ""),
        (("workload", "family"), ""),
        (("workload", "inputs", 0, "layout", "name"), "nchw"),
        (("workload", "inputs", 0, "shape"), [-1]),
        (("workload", "epilogue", "steps", 0, "args"), ["0"]),
        (("workload", "attrs", 0), ["dilation"]),
        (("workload", "unknown"), 1),
        (("comment",), "fast"),
    ],
)
def test_a_damaged_record_does_not_fit(path: tuple[str | int, ...], value: object) -> None:
    damaged: Any = copy.deepcopy(record())
    inner = damaged
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    assert not VALIDATOR.is_valid(damaged)


@pytest.mark.parametrize("key", sorted(SCHEMA["required"]))
def test_every_field_is_required(key: str) -> None:
    assert not VALIDATOR.is_valid({name: value for name, value in record().items() if name != key})


def test_every_record_in_the_logs_fits() -> None:
    from tilewright.targets.database import known_targets

    for path in LOGS.glob("**/*.jsonl"):
        assert path.parent.name in known_targets(), path
        for number, line in enumerate(path.read_text().splitlines(), 1):
            errors = [error.message for error in VALIDATOR.iter_errors(json.loads(line))]
            assert not errors, f"{path.relative_to(ROOT)}:{number}: {errors[0]}"
