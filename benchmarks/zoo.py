"""Architectures nobody tuned for, beside onnxruntime on one thread: ``python -m benchmarks.zoo``.

Every option of ``benchmarks.x86`` may be given, too: other models, peers and numbers of threads.
"""

from __future__ import annotations

import sys

from . import x86
from .zoo_models import ZOO

DEFAULTS = ["--models", *ZOO, "--peers", "onnxruntime", "--threads", "1", "--seconds", "3", "--out", "build/zoo"]

if __name__ == "__main__":
    sys.exit(x86.main([*DEFAULTS, *sys.argv[1:]]))
