"""Signals and threads: how a library may start threads in a PostgreSQL backend that never run PostgreSQL's handlers."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

# By default. A refresh of many rows would use more, and leave the other backends none.
MOST_THREADS = 8

# PostgreSQL's own BlockSig leaves these open (src/backend/libpq/pqsignal.c): they tell of a fault in the running
# thread itself.
_FAULTS = {"SIGTRAP", "SIGABRT", "SIGILL", "SIGFPE", "SIGSEGV", "SIGBUS", "SIGSYS", "SIGCONT"}


_limit: int | None = None


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Block all signals around an import or a session's creation, then restore the mask found.

    A new thread inherits the mask of the one that starts it. A thread of OpenBLAS or onnxruntime with an open mask
    may be the one that the kernel picks for SIGUSR1 or SIGTERM, and would then run PostgreSQL's handler outside of
    the main thread. Signals that arrive meanwhile stay pending and are delivered at the end. May be nested.
    """
    blocked = {s for s in signal.valid_signals() if not (isinstance(s, signal.Signals) and s.name in _FAULTS)}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def thread_count() -> int:
    """How many threads a model may use: what ``limit`` was told; else half of the cores this process may run on, for the server has other
    backends, two where there are two, and at most ``MOST_THREADS``."""
    cores = len(os.sched_getaffinity(0))
    return _limit or min(cores, max(2, cores // 2), MOST_THREADS)


def limit(count: int | None) -> None:
    """Let models use so many threads from now on; None for the default."""
    global _limit
    _limit = count
