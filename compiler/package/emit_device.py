"""Write the plan of a device as C: tables of buffers, launches and steps that a driver of the runtime follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...errors import UserError
from ...signature import Signature
from .calls import COPY, INPUT, WEIGHT
from .drivers import Driver
from .emit_c import HEAD, array, c_string, root, step_row, tensors
from .lowering import DEVICE_ALIGNMENT, aligned, itemsize
from .plan import OUTPUT, Place, Plan, Step
from .source.launches import Launch
from .source.printing import Printed


@dataclass
class _Tables:
    """The rows of the tables, and the places of inputs and outputs behind the arena."""

    input_offsets: list[int]
    output_offsets: list[int]
    arena_bytes: int
    buffers: dict[tuple[int, int, int], int] = field(default_factory=dict)
    operands: list[int] = field(default_factory=list)
    launches: list[Launch | None] = field(default_factory=list)
    steps: list[tuple[int, int, int, int]] = field(default_factory=list)

    def add(self, step: Step, kernel: Printed | None) -> None:
        """Add a step: a kernel's launches, or a copy."""
        places = [*step.reads, *step.writes]
        if kernel:
            sizes = [*kernel.operands, *([kernel.scratch] if kernel.scratch else [])]
            launches: list[Launch | None] = list(kernel.launches)
        else:
            sizes, launches = [step.size, step.size], [None]
        first = (len(self.operands), len(places), len(self.launches), len(launches))
        for place, size in zip(places, sizes, strict=True):
            key = (int(place.space == WEIGHT), self._offset(place), max(1, size))
            self.operands.append(self.buffers.setdefault(key, len(self.buffers)))
        self.launches += launches
        self.steps.append(first)

    def _offset(self, place: Place) -> int:
        offsets = {INPUT: self.input_offsets, OUTPUT: self.output_offsets}.get(place.space)
        return (offsets[place.offset] if offsets else place.offset) + place.inner


def emit_device_plan(
    plan: Plan,
    name: str,
    target: str,
    signature: Signature,
    kernels: Mapping[str, Printed],
    driver: Driver,
    program_bytes: int,
) -> str:
    """Return the C source of a device's plan.

    Args:
        kernels: by their symbols.
        program_bytes: the size of the program that ``tw_program`` is.

    Raises UserError for control flow and for sizes that only a run knows.
    """
    _refuse(plan, name, signature)
    tables = _tables(plan, signature)
    for step in plan.steps:
        tables.add(step, None if step.kernel == COPY else kernels[step.kernel])
    parts = [
        HEAD.format(name=name),
        "extern const uint8_t tw_program[];\n",
        *array("tilewright_step", "steps", [step_row(step) for step in plan.steps]),
        *tensors("inputs", signature.inputs),
        *tensors("outputs", signature.outputs),
        *array("char* const", "cpu_features", ["NULL"]),
        *array("struct tw_buffer", "buffers", [f"{{{row[0]}, {row[1]}u, {row[2]}u}}" for row in tables.buffers]),
        *array("int32_t", "operands", list(map(str, tables.operands))),
        *array("struct tw_launch", "launches", list(map(_launch, tables.launches))),
        *array("struct tw_device_step", "device_steps", [f"{{{', '.join(map(str, row))}}}" for row in tables.steps]),
        *array("uint64_t", "input_offsets", [f"{each}u" for each in tables.input_offsets]),
        *array("uint64_t", "output_offsets", [f"{each}u" for each in tables.output_offsets]),
        _device(tables, driver, program_bytes),
        root(plan, name, target, signature, [f".driver = &{driver.symbol}", ".device = &device"]),
    ]
    return "\n".join(parts)


def _refuse(plan: Plan, name: str, signature: Signature) -> None:
    dynamic = [each.name for each in (*signature.inputs, *signature.outputs) if not each.is_static]
    if dynamic or plan.variants or any(step.sizes for step in plan.steps):
        which = f"'{dynamic[0]}'" if dynamic else "an intermediate result"
        raise UserError(
            f"model '{name}': the size of {which} is known at run time only, which devices do not do: "
            "give --input-shapes without ranges"
        )
    if plan.turns:
        raise UserError(
            f"model '{name}' has branches or loops that a run decides, which devices do not do: "
            "name a CPU with --target"
        )


def _tables(plan: Plan, signature: Signature) -> _Tables:
    end = plan.arena_bytes
    offsets: list[list[int]] = [[], []]
    for found, specs in zip(offsets, (signature.inputs, signature.outputs), strict=True):
        for spec in specs:
            found.append(end)
            end = aligned(end + max(1, spec.elements * itemsize(spec.dtype)), DEVICE_ALIGNMENT)
    return _Tables(offsets[0], offsets[1], end)


def _launch(launch: Launch | None) -> str:
    if launch is None:
        return "{NULL, {0, 0, 0}, {0, 0, 0}}"
    grid, block = (", ".join(map(str, each)) for each in (launch.grid, launch.block))
    return f"{{{c_string(launch.function)}, {{{grid}}}, {{{block}}}}}"


def _device(tables: _Tables, driver: Driver, program_bytes: int) -> str:
    return f"""\
static const struct tw_device_plan device = {{
    .program = tw_program,
    .program_bytes = {program_bytes}u,
    .options = {c_string(driver.options)},
    .arena_bytes = {tables.arena_bytes}u,
    .alignment = {DEVICE_ALIGNMENT},
    .buffers = buffers,
    .num_buffers = {len(tables.buffers)},
    .operands = operands,
    .launches = launches,
    .num_launches = {len(tables.launches)},
    .steps = device_steps,
    .input_offsets = input_offsets,
    .output_offsets = output_offsets,
}};
"""
