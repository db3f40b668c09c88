"""Processes that run many small jobs, so that one that crashes or hangs costs its own job and nothing else."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any

#: A worker is replaced after so many jobs: libraries that were loaded stay in memory.
JOBS_PER_WORKER = 150

#: Makes the function that does the jobs, once in each worker.
Setup = Callable[[], Callable[[Any], Any]]


class Crashed(Exception):
    """The worker died; the message is its exit status."""


class _Worker:
    def __init__(self, setup: Setup) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, setup), daemon=True)
        self.process.start()
        theirs.close()
        self.done = 0

    def run(self, job: Any, limit: float) -> Any:
        """Return a job's result. Raises TimeoutError or Crashed; the worker must then be stopped."""
        try:
            self.pipe.send(job)
            # The first job waits for the setup, too.
            if not self.pipe.poll(limit + (120 if self.done == 0 else 0)):
                raise TimeoutError
            result = self.pipe.recv()
        except (EOFError, ConnectionError) as error:
            self.process.join(5)
            raise Crashed(f"exit status {self.process.exitcode}") from error
        self.done += 1
        return result

    def stop(self) -> None:
        """End the process."""
        if not self.process.is_alive():
            return
        self.pipe.close()
        self.process.join(1)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def run_jobs(setup: Setup, jobs: Iterable[Any], workers: int, limit: float) -> Iterator[Any]:
    """Yield the jobs' results in order: an exception, Crashed or TimeoutError, where a job gave none.

    Args:
        setup: picklable; returns the function that does a job, whose results must be picklable.
        workers: how many processes.
        limit: the most seconds of a job.
    """
    local = threading.local()
    started: list[_Worker] = []

    def run(job: Any) -> Any:
        worker: _Worker | None = getattr(local, "worker", None)
        if worker is None or worker.done >= JOBS_PER_WORKER:
            if worker is not None:
                worker.stop()
            worker = local.worker = _Worker(setup)
            started.append(worker)
        try:
            return worker.run(job, limit)
        except (TimeoutError, Crashed) as error:
            worker.stop()
            local.worker = None
            return error

    with ThreadPoolExecutor(workers) as pool:
        try:
            yield from pool.map(run, jobs)
        finally:
            pool.shutdown(cancel_futures=True)
            for worker in started:
                worker.stop()


def _work(pipe: Connection, setup: Setup) -> None:
    do = setup()
    while True:
        try:
            pipe.send(do(pipe.recv()))
        except (EOFError, BrokenPipeError):
            return  # nobody waits any more
