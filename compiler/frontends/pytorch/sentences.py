"""What torch says at length, in one sentence."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in [^\n]+\n\s*(?P<code>[^\n]+)')
_LONGEST = 240


@contextmanager
def quiet() -> Iterator[None]:
    """Keep torch's exporters from talking: what matters comes as an exception."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message and the first point listed below it, each shortened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    first = lines[0].split(" For more information, run with")[0]
    points = [line.removeprefix("- ") for line in lines[1:] if line.startswith("- ")][:1]
    return " ".join(text[:_LONGEST].rstrip(".:") for text in (first, *points))


def traced_line(error: BaseException) -> str:
    """Return " at FILE:LINE (CODE)", the line of the module's code that an error of torch.export is about, or ""."""
    frames = list(_FRAME.finditer(str(error)))
    if not frames:
        return ""
    return f" at {frames[-1]['file']}:{frames[-1]['line']} ({frames[-1]['code'].strip()})"
