"""memory: giving back what loading a model has used and freed."""

from __future__ import annotations

import ctypes


def trim_memory() -> None:
    """Let the C library return freed memory to the system; does nothing where it has no such call (glibc has).

    Loading allocates and frees in pieces that stay the process's otherwise: 5 MB a backend for a transformer. Takes a millisecond.
    """
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # musl, macOS
        return
    trim(ctypes.c_size_t(0))
