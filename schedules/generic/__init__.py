"""Templates for every target."""

from . import (  # noqa: F401
    byte_table,
    cumsum,
    layer_norm,
    layout_transform,
    pointwise,
    pool2d,
    rearrange,
    recurrent,
    reduce,
    resample,
    rms_norm,
    softmax,
    topk,
    transpose,
    tree_ensemble,
)
