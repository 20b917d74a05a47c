"""streams: results that SQL takes a part at a time.

A PL/Python function that returns a set would do, but PostgreSQL puts "error fetching next item from iterator" in the place of every error
that comes after the first row. So an iterator waits here between two calls, until it ends or its transaction does.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

from pgembed.udf.connection import DATABASE

_numbers = count(1)
# Number -> the transaction and the role that it belongs to, and what is left of it.
_open: dict[int, tuple[tuple[str, str], Iterator[dict[str, Any]]]] = {}


def opened(parts: Iterator[dict[str, Any]]) -> int:
    """Keep what a later call takes on; what transactions that have ended left behind is forgotten."""
    owner = _owner()
    for number in [number for number, ((began, _), _) in _open.items() if began != owner[0]]:
        del _open[number]
    number = next(_numbers)
    _open[number] = (owner, parts)
    return number


def following(number: int) -> dict[str, Any] | None:
    """The next part; None at the end, or where the role has none of that number."""
    if number not in _open or _open[number][0] != _owner():
        return None
    try:
        return next(_open[number][1])
    except BaseException as error:
        # whatever it was, nothing comes after it
        del _open[number]
        if isinstance(error, StopIteration):
            return None
        raise


def _owner() -> tuple[str, str]:
    found = DATABASE.execute(
        "SELECT pg_catalog.transaction_timestamp()::pg_catalog.text AS began, CURRENT_USER::pg_catalog.text AS role", keep=True
    )[0]
    return str(found["began"]), str(found["role"])
