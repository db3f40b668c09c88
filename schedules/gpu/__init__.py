"""Templates for graphics processors: a thread computes a tile in registers; no work is shared through local memory."""

from . import conv2d as conv2d
from . import matmul as matmul
