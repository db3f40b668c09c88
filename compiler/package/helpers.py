"""Processes that help to compile kernels, each fed by a thread of this process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Request:
    """A kernel to compile; the arguments of :func:`.lowering.compile_kernel`."""

    text: str
    symbol: str
    target: dict[str, Any]
    path: Path


@dataclass
class Work:
    """What is still to compile, the scratch of what has been, and what went wrong."""

    waiting: deque[Request]
    scratch: dict[str, int] = field(default_factory=dict)
    failures: list[Exception] = field(default_factory=list)

    def next(self) -> Request | None:
        """Take a request; None when there are no more or one has failed."""
        try:
            return None if self.failures else self.waiting.popleft()
        except IndexError:
            return None


@contextmanager
def helpers(work: Work, count: int) -> Iterator[Callable[[], None]]:
    """Start processes that take part in the work; none of them is left afterwards, whatever happened.

    Gives a function that waits until they have finished what they took. One that has not got ready by then is not
    waited for.
    """
    running: list[_Helper] = []

    def finish() -> None:
        for helper in running:
            helper.finish()

    try:
        running.extend(_Helper(work) for _ in range(count))
        yield finish
    finally:
        for helper in running:
            helper.process.kill()
        for helper in running:
            helper.close()


class _Helper:
    def __init__(self, work: Work) -> None:
        self._work = work
        self._ready = False
        # The child finds modules where this process does; -P keeps the current folder out of it.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", f"{__package__}.worker"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait for the request in progress, now that no more are waiting."""
        if not self._ready:
            self.process.kill()
        self._thread.join()

    def close(self) -> None:
        """Release what is left of a process that was killed."""
        self.process.wait()
        self._thread.join()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()

    def _feed(self) -> None:
        self._ready = bool(self._answer())
        while self._ready and (request := self._work.next()):
            answer = self._ask(request)
            if "scratch" in answer:
                self._work.scratch[request.symbol] = answer["scratch"]
            else:
                cause = f"kernel {request.symbol}: {answer.get('error', 'the process that compiled it ended')}"
                number = answer.get("errno")
                self._work.failures.append(OSError(number, cause) if number else RuntimeError(cause))

    def _ask(self, request: Request) -> dict[str, Any]:
        assert self.process.stdin
        try:
            self.process.stdin.write(json.dumps({**asdict(request), "path": str(request.path)}) + "\n")
            self.process.stdin.flush()
        except OSError:
            return {}
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        """The process's next line; an empty one when it has ended."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line.endswith("\n") else {}
        return answer
