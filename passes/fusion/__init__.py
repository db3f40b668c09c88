"""Fusion: groups of operators that become one kernel each."""

from . import order_anchors as order_anchors
from . import rearrange_anchors as rearrange_anchors
from .fuse import fuse as fuse
from .fuse import workload_of as workload_of
