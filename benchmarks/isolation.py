"""Run a function in a process of its own, so that a runtime that crashes ends nothing but its own measurement."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

#: Told what the function is about to do.
Tell = Callable[[str], None]

_PATIENCE_SECONDS = 1800.0


class Died(Exception):
    """The process ended without a result.

    Attributes:
        stage: what it was about to do, in the words it told last; "" when it told nothing.
    """

    def __init__(self, stage: str, reason: str) -> None:
        super().__init__(reason)
        self.stage = stage


class Failed(Exception):
    """The function raised an exception; the message is its last line."""


def isolated(function: Callable[..., Any], *arguments: Any, processors: int = 0, log: Path | None = None) -> Any:
    """Return what ``function(*arguments, tell)`` returns in a new process.

    Args:
        function: of a module; it, its arguments and its result must be picklable.
        processors: the process, and every thread it starts, stays on this many processors; 0 for all.
        log: a file for what it prints, appended to; None for the usual places.

    Raises:
        Failed: the function raised.
        Died: the process crashed, or was silent for half an hour.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    worker = context.Process(target=_work, args=(theirs, function, arguments, processors, log))
    worker.start()
    theirs.close()
    try:
        return _listen(ours, worker)
    finally:
        if worker.is_alive():
            worker.kill()
        worker.join()
        ours.close()


def _listen(pipe: Connection, worker: Any) -> Any:
    stage = ""
    while True:
        if not pipe.poll(_PATIENCE_SECONDS):
            raise Died(stage, f"no sign of life for {_PATIENCE_SECONDS / 60:.0f} minutes")
        try:
            kind, value = pipe.recv()
        except EOFError:
            worker.join()
            raise Died(stage, _ending(worker.exitcode)) from None
        if kind == "result":
            return value
        if kind == "failure":
            raise Failed(value)
        stage = value


def _ending(code: int) -> str:
    return f"the process was ended by {signal.Signals(-code).name}" if code < 0 else f"the process ended with {code}"


def _work(
    pipe: Connection, function: Callable[..., Any], arguments: tuple[Any, ...], processors: int, log: Path | None
) -> None:
    if processors:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:processors])
        os.environ["OMP_NUM_THREADS"] = str(processors)
    if log:
        _redirect(log)
    try:
        message = ("result", function(*arguments, lambda stage: pipe.send(("stage", stage))))
    except Exception as error:  # whatever it is, it is told to the other side
        message = ("failure", sentence(error))
    pipe.send(message)
    pipe.close()
    sys.stdout.flush()
    sys.stderr.flush()
    if processors:
        # Several runtimes in one process may hang or crash when they are torn down; the result is out.
        os._exit(0)


def _redirect(log: Path) -> None:
    """Send what Python and native libraries print to a file."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    os.close(descriptor)


def sentence(error: BaseException) -> str:
    """Return the first line of an exception's message, at most 300 characters, or its class where it has none."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}"[:300] if lines else type(error).__name__
