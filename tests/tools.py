"""Programs that some tests need besides Python's packages."""

from __future__ import annotations

import os
import shutil

import pytest


def needs(*programs: str, packages: str) -> pytest.MarkDecorator:
    """Skip a test where programs are missing, unless TILEWRIGHT_TESTS_NEED_TOOLS says that their lack is a failure."""
    missing = [each for each in programs if not shutil.which(each)]
    required = bool(os.environ.get("TILEWRIGHT_TESTS_NEED_TOOLS"))
    return pytest.mark.skipif(bool(missing) and not required, reason=f"needs {packages}")
