"""Which algorithm and layouts are chosen for typical workloads, as text: ``python tests/algorithm_choices.py``.

The text lies beside, in ``algorithm_choices.txt``; a change of the cost model shows there as a change of lines.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from workloads import step, tensor, workload

from tilewright.conv_chain import chain_of
from tilewright.schedules.cpu.chain_cost import saved_cycles
from tilewright.schedules.template import ACCURACIES, build_kernel, choose_layouts
from tilewright.targets.database import load_target
from tilewright.targets.target import Target
from tilewright.workload import PointwiseProgram, Workload

TABLE = Path(__file__).with_suffix(".txt")
TARGETS = ("x86-64-v4", "x86-64-v3")
BIAS_RELU = PointwiseProgram(2, (step("add", 0, 1), step("nn.relu", 2)))


def conv(i: int, o: int, size: int, kernel: int, stride: int = 1, groups: int = 1, batch: int = 1) -> Workload:
    """A convolution with bias and relu whose padding keeps the image's size, but for the stride."""
    out = -(-size // stride)
    inputs = [tensor(batch, i, size, size), tensor(o, i // groups, kernel, kernel), tensor(1, o, 1, 1)]
    attrs = {
        "strides": (stride, stride), "padding": (kernel // 2,) * 4, "dilation": (1, 1), "groups": groups,
        "constant_weight": True,
    }  # fmt: skip
    return workload("conv2d", inputs, tensor(batch, o, out, out), 2, BIAS_RELU, **attrs)


def transposed(i: int, o: int, size: int, kernel: int, stride: int, groups: int = 1) -> Workload:
    """A transposed convolution with bias and relu to ``stride`` times the image's size."""
    inputs = [tensor(1, i, size, size), tensor(i, o // groups, kernel, kernel), tensor(1, o, 1, 1)]
    attrs = {
        "strides": (stride, stride), "padding": ((kernel - stride) // 2,) * 4, "dilation": (1, 1), "groups": groups,
    }  # fmt: skip
    return workload("conv2d_transpose", inputs, tensor(1, o, size * stride, size * stride), 2, BIAS_RELU, **attrs)


def matmul(rows: int, depth: int, columns: int, batch: tuple[int, ...] = ()) -> Workload:
    """A product with bias and relu; without a batch its second operand is a weight."""
    axes = tuple(range(len(batch) + 2))
    inputs = [tensor(*batch, rows, depth), tensor(*batch, depth, columns), tensor(columns)]
    attrs = {"a_axes": axes, "b_axes": axes, "out_axes": axes, "constant_weight": not batch}
    return workload("matmul", inputs, tensor(*batch, rows, columns), 2, BIAS_RELU, **attrs)


def pool(channels: int, size: int) -> Workload:
    """A maximum over 3 x 3 pixels by 2."""
    attrs = {
        "kind": "max", "window": (3, 3), "strides": (2, 2), "padding": (1, 1, 1, 1), "dilation": (1, 1),
        "count_include_pad": False,
    }  # fmt: skip
    return workload("pool2d", [tensor(1, channels, size, size)], tensor(1, channels, size // 2, size // 2), **attrs)


WORKLOADS = {
    "stem 7x7 by 2, 3 -> 64 @224": conv(3, 64, 224, 7, 2),
    "stem 3x3 by 2, 3 -> 32 @224": conv(3, 32, 224, 3, 2),
    "3x3 64 -> 64 @56": conv(64, 64, 56, 3),
    "3x3 64 -> 64 @56, batch 8": conv(64, 64, 56, 3, batch=8),
    "3x3 128 -> 128 @28": conv(128, 128, 28, 3),
    "3x3 256 -> 256 @14": conv(256, 256, 14, 3),
    "3x3 512 -> 512 @7": conv(512, 512, 7, 3),
    "3x3 64 -> 32 @224": conv(64, 32, 224, 3),
    "3x3 by 2, 128 -> 128 @56": conv(128, 128, 56, 3, 2),
    "3x3 17 -> 33 @30": conv(17, 33, 30, 3),
    "1x1 64 -> 256 @56": conv(64, 256, 56, 1),
    "1x1 2048 -> 512 @7": conv(2048, 512, 7, 1),
    "1x1 by 2, 256 -> 512 @56": conv(256, 512, 56, 1, 2),
    "depthwise 3x3, 96 @112": conv(96, 96, 112, 3, groups=96),
    "depthwise 7x7, 96 @56": conv(96, 96, 56, 7, groups=96),
    "3x3 128 in 8 groups @28": conv(128, 128, 28, 3, groups=8),
    "3x3 128 in 32 groups @28": conv(128, 128, 28, 3, groups=32),
    "transposed 2x2 by 2, 512 -> 256 @28": transposed(512, 256, 28, 2, 2),
    "transposed 4x4 by 2, 128 -> 64 @56": transposed(128, 64, 56, 4, 2),
    "transposed depthwise 4x4 by 2, 64 @56": transposed(64, 64, 56, 4, 2, 64),
    "product 128 x 768 x 3072": matmul(128, 768, 3072),
    "product 1024 x 768 x 3072": matmul(1024, 768, 3072),
    "product 1 x 2048 x 1000": matmul(1, 2048, 1000),
    "product 197 x 64 x 197, 12 of them": matmul(197, 64, 197, (12,)),
    "pool 64 @112": pool(64, 112),
    "pool 3 @224": pool(3, 224),
}


def choice(work: Workload, target: Target, accuracy: str) -> str:
    """Return the template and how operands and result are stored."""
    stored = choose_layouts(work, target, accuracy)
    kernel = build_kernel(stored or work, target)
    name = str(kernel.attrs["tilewright.template"]) if kernel is not None else "generic"
    if stored is None:
        return f"{name}, rows"
    layouts = [_layout(each.layout) for each in (*stored.inputs[: work.anchor_arity], stored.output)]
    return f"{name}, {' '.join(layouts[:-1])} -> {layouts[-1]}"


def _layout(layout: object) -> str:
    if layout is None:
        return "rows"
    tile = getattr(layout, "tile", None)
    return f"F({tile}x{tile})" if tile else str(getattr(layout, "name", layout))


#: Blocks around a depthwise convolution: (channels, hidden, result, size, kernel, stride); a stem has three channels.
BLOCKS = {
    "stem 3 -> 32, depthwise 3x3 -> 16 @224": (3, 32, 16, 224, 3, 1),
    "16 -> 96, depthwise 3x3 by 2 -> 24 @112": (16, 96, 24, 112, 3, 2),
    "24 -> 144, depthwise 3x3 -> 24 @56": (24, 144, 24, 56, 3, 1),
    "40 -> 240, depthwise 5x5 -> 40 @28": (40, 240, 40, 28, 5, 1),
    "64 -> 384, depthwise 3x3 -> 64 @14": (64, 384, 64, 14, 3, 1),
    "160 -> 960, depthwise 3x3 -> 160 @7": (160, 960, 160, 7, 3, 1),
}
CORES = (1, 2, 8, 64)


def chained(block: tuple[int, int, int, int, int, int], target: Target) -> str:
    """Return which stages of a block one kernel makes: those of the chain that saves most, if one does."""
    channels, hidden, result, size, kernel, stride = block
    expand = conv(channels, hidden, size, 3, 2) if channels == 3 else conv(channels, hidden, size, 1)
    size = expand.output.shape[2]
    middle = conv(hidden, hidden, size, kernel, stride, groups=hidden)
    project = conv(hidden, result, middle.output.shape[2], 1)
    saved = {"apart": 0.0}
    for name, stages in {
        "all": (expand, middle, project),
        "expand+depthwise": (expand, middle),
        "depthwise+project": (middle, project),
    }.items():
        stored = choose_layouts(chain_of(stages), target)
        saved[name] = saved_cycles(stored, target) if stored else 0.0
    return max(saved, key=lambda name: saved[name])


def chains() -> list[str]:
    """Return the choices for all blocks and numbers of cores."""
    lines = []
    for name, block in BLOCKS.items():
        lines.append(name)
        for target in map(load_target, TARGETS):
            machines = {cores: replace(target, facts=replace(target.facts, cores=cores)) for cores in CORES}
            found = ", ".join(f"{cores}: {chained(block, machine)}" for cores, machine in machines.items())
            lines.append(f"    {target.name:<10} {found}")
    return lines


def table() -> str:
    """Return the choices for all workloads, targets and accuracies; those of several accuracies joined."""
    lines = chains()
    for name, work in WORKLOADS.items():
        lines.append(name)
        for target in map(load_target, TARGETS):
            found = {accuracy: choice(work, target, accuracy) for accuracy in ACCURACIES}
            for chosen in dict.fromkeys(found.values()):
                levels = " ".join(accuracy for accuracy in ACCURACIES if found[accuracy] == chosen)
                lines.append(f"    {target.name:<10} {levels:<20} {chosen}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TABLE.write_text(table(), encoding="utf-8")
