"""Templates for graphics processors: a thread computes a tile in registers, and shares nothing with others."""

from . import conv2d as conv2d
from . import matmul as matmul
