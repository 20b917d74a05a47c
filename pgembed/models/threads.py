"""Signals and threads: how a library may start threads in a PostgreSQL backend that never run PostgreSQL's handlers, and how many."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache

# By default. A refresh of many rows would use more, and leave the other backends none.
MOST_THREADS = 8

# PostgreSQL's own BlockSig leaves these open (src/backend/libpq/pqsignal.c): they tell of a fault in the running
# thread itself.
_FAULTS = {"SIGTRAP", "SIGABRT", "SIGILL", "SIGFPE", "SIGSEGV", "SIGBUS", "SIGSYS", "SIGCONT"}


_limit: int | None = None

# What OpenBLAS, which multiplies for numpy, looks for when it is loaded, and what it exports, by the way it was built.
_BLAS_VARIABLE = "OPENBLAS_NUM_THREADS"
_BLAS_PREFIXES, _BLAS_SUFFIXES = ("scipy_", ""), ("64_", "")


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Block all signals around an import or a session's creation, then restore the mask found.

    A new thread inherits the mask of the one that starts it. A thread of OpenBLAS or onnxruntime with an open mask
    may be the one that the kernel picks for SIGUSR1 or SIGTERM, and would then run PostgreSQL's handler outside of
    the main thread. Signals that arrive meanwhile stay pending and are delivered at the end. May be nested.

    Where numpy is not loaded yet it is told to multiply in one thread, unless OPENBLAS_NUM_THREADS says otherwise. OpenBLAS splits every
    product among all cores, and its threads spin while they wait for each other: where other backends have the cores, three trainings of
    an OPQ codec side by side took 93 s on two cores with two threads each, and 16 s with one. `arithmetic` gives a large product more.
    """
    blocked = {s for s in signal.valid_signals() if not (isinstance(s, signal.Signals) and s.name in _FAULTS)}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    told = "numpy" not in sys.modules and _BLAS_VARIABLE not in os.environ
    if told:
        os.environ[_BLAS_VARIABLE] = "1"
    try:
        yield
    finally:
        if told:
            os.environ.pop(_BLAS_VARIABLE, None)  # what the server's COPY ... TO PROGRAM starts is none of ours
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def arithmetic(count: int) -> Iterator[None]:
    """Let numpy multiply in so many threads meanwhile: for products so large that no thread waits for another one. Where numpy has another
    library than OpenBLAS, or an administrator has set OPENBLAS_NUM_THREADS, nothing changes."""
    found = None if _BLAS_VARIABLE in os.environ else _openblas()
    if found is None:
        yield
        return
    read, write = found
    before = read()
    with signals_blocked():
        write(count)
    try:
        yield
    finally:
        write(before)


@lru_cache(maxsize=1)
def _openblas() -> tuple[Callable[[], int], Callable[[int], None]] | None:
    """What reads and writes the number of threads of the OpenBLAS that numpy has loaded; None where it has none."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
            paths = sorted(set(re.findall(r"/.*openblas.*\.so.*", maps.read())))
        libraries = [ctypes.CDLL(path) for path in paths]
    except OSError:
        return None
    for library in libraries:
        for prefix in _BLAS_PREFIXES:
            for suffix in _BLAS_SUFFIXES:
                read = getattr(library, f"{prefix}openblas_get_num_threads{suffix}", None)
                write = getattr(library, f"{prefix}openblas_set_num_threads{suffix}", None)
                if read is not None and write is not None:
                    write.argtypes, write.restype = [ctypes.c_int], None
                    return read, write
    return None


def thread_count() -> int:
    """How many threads a model may use: what ``limit`` was told; else half of the cores this process may run on, for the server has other
    backends, two where there are two, and at most ``MOST_THREADS``."""
    cores = len(os.sched_getaffinity(0))
    return _limit or min(cores, max(2, cores // 2), MOST_THREADS)


def limit(count: int | None) -> None:
    """Let models use so many threads from now on; None for the default."""
    global _limit
    _limit = count
