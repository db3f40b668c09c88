"""An instance of a library: its arena and its threads. It serves one call at a time."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import UserError
from .library import Library

_THREADS_VARIABLE = "TILEWRIGHT_NUM_THREADS"
_renewing = threading.Lock()


def _after_fork_in_child() -> None:
    global _renewing
    _renewing = threading.Lock()  # another thread of the parent may have held it


os.register_at_fork(after_in_child=_after_fork_in_child)


class Instance:
    """One instance, released with :meth:`close` or when it is collected.

    Calls from several threads wait for one another. After a fork the child's first call makes a new instance: threads
    do not survive a fork, so the parent's cannot be used there, nor released; its memory stays with the child.

    Args:
        library: what to run.
        threads: how many threads a run uses, the caller's included; 0 for what TILEWRIGHT_NUM_THREADS says, else for
            every processor of the affinity mask.
    """

    def __init__(self, library: Library, threads: int) -> None:
        if isinstance(threads, bool) or not isinstance(threads, int) or threads < 0:
            raise UserError(
                f"{library.path}: threads is {threads!r}; it is a number of threads, or 0 for all processors"
            )
        self.library = library
        self._requested = threads
        self._create()

    def _create(self) -> None:
        process = os.getpid()
        self._address: int | None = self.library.create(self._requested)
        self.threads = self._requested or int(os.environ.get(_THREADS_VARIABLE) or len(os.sched_getaffinity(0)))
        self._release = weakref.finalize(self, self.library.free, self._address, process)
        self._release.atexit = False  # the process gives its memory back, and a run may still go on in a daemon thread
        self._lock = threading.Lock()
        self._process = process

    @property
    def closed(self) -> bool:
        """Whether the instance was released."""
        return self._address is None

    def run(self, inputs: Any, outputs: Any, shapes: Any = None) -> None:
        """Run once on arrays of addresses, as :meth:`Library.run`, at the sizes that the inputs' shapes say."""
        if self._process != os.getpid():
            self._renew()
        with self._lock:  # as _ready, whose cost small models feel
            address = self._open_address()
            if shapes is not None:
                self.library.set_shapes(address, shapes)
            self.library.run(address, inputs, outputs)

    def profile(self, inputs: Any, outputs: Any, shapes: Any = None) -> list[float]:
        """Run once and return the seconds of each step."""
        with self._ready() as address:
            if shapes is not None:
                self.library.set_shapes(address, shapes)
            return self.library.profile(address, inputs, outputs)

    def run_and_measure(self, inputs: Any, outputs: Any, shapes: Any) -> list[tuple[int, ...]]:
        """Run once and return the outputs' shapes, which the data may have decided."""
        with self._ready() as address:
            self.library.set_shapes(address, shapes)
            self.library.run(address, inputs, outputs)
            return [self.library.output_shape(address, at) for at in range(len(self.library.outputs))]

    def output_shapes(self, shapes: Any) -> list[tuple[int, ...]]:
        """Return the outputs' shapes for inputs of these shapes. Raises UserError for sizes that do not fit."""
        with self._ready() as address:
            self.library.set_shapes(address, shapes)
            return [self.library.output_shape(address, at) for at in range(len(self.library.outputs))]

    def sibling(self, threads: int | None) -> Instance:
        """Return another instance of the library, by default with as many threads."""
        with self._ready():
            return Instance(self.library, self._requested if threads is None else threads)

    def close(self) -> None:
        """Release the instance after the call that is going on, if any; closing twice is allowed."""
        if self._process != os.getpid():
            self._lock = threading.Lock()
        with self._lock:
            self._address = None
            self._release()

    @contextmanager
    def _ready(self) -> Iterator[int]:
        """Hold the lock of this process's instance; yields its address. Raises UserError when it is closed."""
        if self._process != os.getpid():
            self._renew()
        with self._lock:
            yield self._open_address()

    def _open_address(self) -> int:
        if self._address is None:
            raise UserError(f"{self.library.path}: the model is closed; load it again")
        return self._address

    def _renew(self) -> None:
        """Make an instance of this process in place of the one that its parent made."""
        with _renewing:
            if self._process != os.getpid() and not self.closed:
                self._release()
                self._create()
