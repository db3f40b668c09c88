"""Templates for CPUs: register tiles by the facts of the target; what needs an instruction says which."""

from . import attention as attention
from . import byte_table as byte_table
from . import conv2d as conv2d
from . import conv2d_chain as conv2d_chain
from . import depthwise_conv2d as depthwise_conv2d
from . import integer_conv2d as integer_conv2d
from . import integer_matmul as integer_matmul
from . import matmul as matmul
from . import matmul_nbits as matmul_nbits
from . import narrow_conv2d as narrow_conv2d
from . import strassen as strassen
from . import take_nbits as take_nbits
from . import transposed_conv2d as transposed_conv2d
from . import tree_ensemble as tree_ensemble
from . import winograd as winograd
