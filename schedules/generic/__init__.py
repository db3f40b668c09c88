"""Templates for every target."""

from . import layer_norm, layout_transform, pointwise, pool2d, reduce, softmax, transpose  # noqa: F401
