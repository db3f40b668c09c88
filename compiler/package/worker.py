"""A process that compiles kernels: one JSON request a line on its input, one JSON answer a line on its output.

It answers ``{"ready": true}`` once it can work.
Request: ``{"text": PrimFunc as JSON, "symbol": ..., "target": {...}, "path": object file}``.
Answer: ``{"scratch": bytes}`` or ``{"error": traceback, "errno": number or null}``.
The end of the input ends the process.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import traceback
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Answer requests until there are no more."""
    # The parent decides when an interrupt ends the work; it closes the pipe or kills this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # An interrupt can hit the parent before it knows this process, which then must not outlive it.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not look like an answer
    import tvm  # noqa: F401 - its two seconds come before the first request, not within it

    from .lowering import compile_kernel

    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            scratch = compile_kernel(request["text"], request["symbol"], request["target"], Path(request["path"]))
            answer: dict[str, object] = {"scratch": scratch}
        except Exception as error:
            answer = {"error": traceback.format_exc(), "errno": getattr(error, "errno", None)}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
