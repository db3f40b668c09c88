"""A process that compiles kernels: one JSON request a line on its input, one JSON answer a line on its output.

Request: ``{"text": PrimFunc as JSON, "symbol": ..., "target": {...}, "path": object file}``.
Answer: ``{"scratch": bytes}`` or ``{"error": traceback}``. The end of the input ends the process.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from pathlib import Path


def main() -> None:
    """Answer requests until there are no more."""
    # The parent decides when an interrupt ends the work; it closes the pipe or kills this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not look like an answer
    from .lowering import compile_kernel

    for line in sys.stdin:
        request = json.loads(line)
        try:
            scratch = compile_kernel(request["text"], request["symbol"], request["target"], Path(request["path"]))
            answer: dict[str, object] = {"scratch": scratch}
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
