"""Templates for every target."""

from . import layer_norm, pointwise, softmax  # noqa: F401
