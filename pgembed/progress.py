"""progress: what a long call has done so far, for other sessions to see.

It stands in the session's application_name, which everybody sees at once in pg_stat_activity and in the view `pgembed.progress`, whether
the call commits as it goes or not, on a standby too, and which dies with the backend: nothing to clean up. It is set for the transaction
alone, so that PostgreSQL itself puts the old name back at every commit and after every error.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from pgembed.database import Database

# PostgreSQL cuts an application_name there (NAMEDATALEN - 1).
MOST = 63
# How often a long call also tells its caller.
NOTICE_SECONDS = 5.0
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"

# What is shown now: what, target, when it began; and as what.
_shown: tuple[str, str, float] | None = None
_name = ""


def name(what: str, target: str, done: int, total: int | None, started: float) -> str:
    """What the session is called meanwhile: ``pgembed refresh product.embedding 1200/20000 @t5i8g0``.

    Args:
        what, target: the call, in one word, and what it works on, cut where there is no room.
        total: None while it is not known.
        started: seconds since 1970, which stand there to the base of 36.
    """
    begin, end = f"pgembed {what} ", f" {done}/{'?' if total is None else total} @{_base36(int(started))}"
    room = MOST - len(begin) - len(end)
    # PostgreSQL shows other characters as question marks or as bytes
    shown = "".join(character if " " <= character <= "~" else "?" for character in target)
    return begin + (shown if len(shown) <= room else shown[: max(0, room - 1)] + "~") + end


@contextmanager
def shown(db: Database, what: str, target: str) -> Iterator[None]:
    """Show a call to other sessions while a block runs, which calls `tell` now and then."""
    global _shown
    before = str(db.execute("SELECT pg_catalog.current_setting('application_name') AS name")[0]["name"])
    outer, _shown = _shown, (what, target, time.time())
    try:
        tell(db, 0)
        yield
        # only here: after an error the transaction takes it back
        _set(db, before)
    finally:
        _shown = outer


def tell(db: Database, done: int, total: int | None = None) -> None:
    """Say how far the call is that is shown; nothing where none is.

    Args:
        done, total: rows, queries or steps; total is None while nobody knows.
    """
    global _name
    if _shown is not None:
        what, target, started = _shown
        _name = name(what, target, done, total, started)
        _set(db, _name)


def again(db: Database) -> None:
    """Show the same once more; adapters call it after each commit, with which it has gone."""
    if _shown is not None:
        _set(db, _name)


def _set(db: Database, value: str) -> None:
    db.execute("SELECT pg_catalog.set_config('application_name', $1, true)", ["pg_catalog.text"], [value])


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits or "0"
