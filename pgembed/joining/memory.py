"""memory: how much of it a join may take, ``pgembed.join_mem``, and what rows and pairs take of it."""

from __future__ import annotations

import re

from pgembed import errors
from pgembed.database import Database

SETTING = "pgembed.join_mem"
DEFAULT = 256 << 20
# Less than this leaves no room for a tile of scores and the rows that made it.
LEAST = 4 << 20
_UNITS = {"": 1 << 10, "B": 1, "kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
_WRITTEN = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-z]*)\s*")

# A pair takes 32 bytes in arrays, and as much again twice while two lists of pairs are merged.
PAIR = 96
# One that is kept to the end: the arrays, and the names of its two rows as Python has them.
GATHERED = 32 + 2 * 72
# The place of a row beside its text, its norm, its group.
ROW = 64
# A thread's tile of scores, what is nominated from it and the vectors that are computed again.
THREAD = 24 << 20


def bound(db: Database) -> int:
    """Bytes that a join may take in Python beside what Python itself takes: the setting ``pgembed.join_mem``, 256 MB by default.

    As with work_mem anybody may SET it, the units are PostgreSQL's, and a number alone is kilobytes.

    Raises:
        errors.InvalidParameter: it is no amount of memory, or less than 4 MB.
    """
    written = db.execute(f"SELECT pg_catalog.current_setting('{SETTING}', true) AS value")[0]["value"]
    return DEFAULT if written is None or not str(written).strip() else parsed(str(written))


def parsed(written: str) -> int:
    """Bytes of an amount of memory as PostgreSQL writes them: ``64MB``, ``1.5 GB``, ``262144`` (kilobytes)."""
    found = _WRITTEN.fullmatch(written)
    if found is None or found[2] not in _UNITS:
        raise errors.InvalidParameter(
            f'{SETTING} is no amount of memory: "{written}"',
            hint=f"SET {SETTING} = '256MB'; units are B, kB, MB, GB and TB, and a number alone is kB.",
        )
    size = int(float(found[1]) * _UNITS[found[2]])
    if size < LEAST:
        raise errors.InvalidParameter(f"{SETTING} must be at least {shown(LEAST)}, not {written.strip()}", hint=f"SET {SETTING} = '256MB'.")
    return size


def shown(size: float) -> str:
    """Bytes for people."""
    for unit in ("GB", "MB", "kB"):
        if size >= _UNITS[unit]:
            return f"{size / _UNITS[unit]:.0f} {unit}"
    return f"{size:.0f} bytes"


def too_many_pairs(rows: float, k: int | None, size: float, most: int) -> errors.LimitExceeded:
    """The error for a result that does not fit."""
    which = f"{k} nearest rows for each of {rows:.0f}" if k is not None else "all pairs within max_distance"
    return errors.LimitExceeded(
        f"{which} take about {shown(size)}, and {SETTING} is {shown(most)}",
        hint=f"Ask for a smaller {'k' if k is not None else 'max_distance'}, join part of the left rows, or SET {SETTING} to more.",
    )
