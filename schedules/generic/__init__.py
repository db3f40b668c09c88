"""Templates for every target."""

from . import layer_norm, pointwise, pool2d, softmax  # noqa: F401
