"""Compile and measure models in low precisions."""

import sys

from .run import main

if __name__ == "__main__":
    sys.exit(main())
