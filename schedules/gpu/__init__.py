"""Templates for graphics processors: a thread computes a tile in registers, alone or as a part of its block's."""

from . import conv2d as conv2d
from . import matmul as matmul
