"""Templates for every target."""

from . import cumsum, layer_norm, layout_transform, pointwise, pool2d, reduce, softmax, topk, transpose  # noqa: F401
