"""Depthwise convolution in blocked layout, with its epilogue.

Data [N, C/b, H, W, b], weights [C/b, 1, KH, KW, b], output [N, C/b, OH, OW, b], b the lanes of a vector: every lane is
a channel of its own. A tile of output pixels of one row stays in registers; the taps of a kernel's row are unrolled, so
that a column of data is loaded once for all taps that read it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ...knobs import Knobs
from ...layout import Layout
from ...targets.target import Target
from ...workload import LowTensor, Workload
from ..kernel import writing
from ..template import CPUS, NotApplicable, template
from .conv2d import blocked, epilogue_layouts
from .depthwise_rows import DepthwiseRowsWriter
from .depthwise_writer import DepthwiseWriter
from .register_tile import multiplies_by_lane, tile_shape
from .window import Convolution

if TYPE_CHECKING:
    from tvm.tirx import PrimFunc

#: Data and weights of integer convolutions.
BYTES = ("uint8", "int8")
#: Products of so many bytes sum exactly in single precision: each is under 2^15, their sum under 2^24.
EXACT_TAPS = 512
#: Pixels of a tile where rows of registers do not wait for lanes: most images are multiples of 14 or 7 wide.
PIXELS_BY_LANE = 14
#: Rows of a tile that shares rows of data: two leave registers for a 3x3 window's weights.
TILE_ROWS = 2
#: Taps of a window up to which its weights stay in registers.
TAPS_HELD = 9


def layouts(work: Workload, target: Target) -> Workload:
    """Ask for blocked activations and one vector of weights for each tap."""
    _require_depthwise(work)
    lanes = target.lanes()
    weight = Layout("OIHW", f"OIHW{lanes}o")
    inputs = (blocked(lanes), weight, *epilogue_layouts(work, blocked(lanes)))
    return work.with_layouts(inputs, (blocked(lanes),))


@template("conv2d", arch=CPUS, dtypes=("float32", "uint8", "int8", "int32"), layouts=layouts, symbolic=True)
def depthwise_conv2d(work: Workload, target: Target, knobs: Knobs) -> PrimFunc:
    """Keep a run of pixels of one channel block in registers while the window streams past.

    Order: image > part of the rows > channel block, or the other way round > row > run of columns > kernel row > tap.
    """
    _require_depthwise(work)
    if work.inputs[1].layout is None or work.output.layout is None:
        raise NotApplicable
    conv = Convolution.of(work, depthwise=True)
    rows, _ = tile_shape(target)
    tile = knobs.choice("tile", range(1, 16), default=PIXELS_BY_LANE if multiplies_by_lane(target) else rows)
    with writing(work) as kernel:
        if multiplies_by_lane(target) and _shares_rows(work, conv):
            DepthwiseRowsWriter(kernel, conv, target, TILE_ROWS).write(1, max(1, tile // TILE_ROWS))
        else:
            DepthwiseWriter(kernel, conv, target).write(1, tile)
    assert kernel.function is not None
    return kernel.function


def _require_depthwise(work: Workload) -> None:
    channels = work.inputs[0].shape[1]
    if work.attr("groups") != channels or work.inputs[1].shape[0] != channels or channels == 1:
        raise NotApplicable
    kinds = (work.inputs[0].dtype, work.inputs[1].dtype)
    if kinds != ("float32", "float32") and (kinds != BYTES or math.prod(work.inputs[1].shape[2:]) > EXACT_TAPS):
        raise NotApplicable


def _shares_rows(work: Workload, conv: Convolution) -> bool:
    """Return whether a tile of several rows pays: little to hold, and elements that loads of pairs take as they are."""
    data = work.inputs[0]
    plain = data.dtype == "float32" and not isinstance(data, LowTensor)
    return plain and math.prod(conv.kernel) <= TAPS_HELD and conv.out_height >= TILE_ROWS
