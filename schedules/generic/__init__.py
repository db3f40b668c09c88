"""Templates for every target."""

from . import pointwise  # noqa: F401
