"""Templates for x86."""

from . import attention as attention
from . import conv2d as conv2d
from . import depthwise_conv2d as depthwise_conv2d
from . import matmul as matmul
from . import strassen as strassen
from . import transposed_conv2d as transposed_conv2d
from . import tree_ensemble as tree_ensemble
from . import winograd as winograd
