"""connection: the Database port over plpy, inside a backend and with the rights of whoever calls."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

import plpy

from pgembed import errors, progress
from pgembed.database import Row

# A look for a cancel costs a statement, as much as embedding a short text does. No call that lasts less than this has any.
LOOK_SECONDS = 0.02
_looked = 0.0


def begin() -> None:
    """PostgreSQL has just called, so it has just looked for a cancel."""
    global _looked
    _looked = time.monotonic()


class PlpyDatabase:
    """The backend's own connection. It has no state: transaction, role and settings are the session's."""

    def execute(self, statement: str, types: Sequence[str] = (), values: Sequence[object] = (), *, keep: bool = False) -> list[Row]:
        """See `pgembed.database.Database.execute`. PostgreSQL's own errors pass through with their SQLSTATE."""
        return list(_plan(statement, tuple(types)).execute(list(values)) if types or keep else plpy.execute(statement))

    def stream(self, statement: str, types: Sequence[str] = (), values: Sequence[object] = (), *, size: int) -> Iterator[list[Row]]:
        """See `pgembed.database.Database.stream`. A STABLE function's sees the snapshot of its statement."""
        global _looked
        cursor = plpy.cursor(_plan(statement, tuple(types)), list(values))
        try:
            while True:
                rows = list(cursor.fetch(size))
                _looked = time.monotonic()
                if not rows:
                    return
                yield rows
        finally:
            cursor.close()

    def prepare(self, statement: str, types: Sequence[str] = ()) -> None:
        """See `pgembed.database.Database.prepare`.

        Raises:
            errors.StatementRefused: PostgreSQL refused the statement; carries its SQLSTATE and words.
        """
        try:
            plpy.prepare(statement, list(types))
        except plpy.SPIError as error:
            raise errors.StatementRefused(str(error), sqlstate=error.sqlstate, hint=error.spidata[2]) from None

    def commit(self) -> bool:
        """See `pgembed.database.Database.commit`."""
        try:
            plpy.commit()
        except plpy.spiexceptions.InvalidTransactionTermination:
            return False
        progress.again(self)
        return True

    def subtransaction(self) -> AbstractContextManager[object]:
        """See `pgembed.database.Database.subtransaction`."""
        context: AbstractContextManager[object] = plpy.subtransaction()
        return context

    def check_interrupts(self) -> None:
        """See `pgembed.database.Database.check_interrupts`: running any statement lets PostgreSQL look."""
        global _looked
        if time.monotonic() - _looked >= LOOK_SECONDS:
            plpy.execute("SELECT 1")
            _looked = time.monotonic()

    def notice(self, message: str, *, hint: str | None = None) -> None:
        """See `pgembed.database.Database.notice`."""
        plpy.notice(message, **({"hint": hint} if hint else {}))

    def warning(self, message: str, *, hint: str | None = None) -> None:
        """See `pgembed.database.Database.warning`."""
        plpy.warning(message, **({"hint": hint} if hint else {}))


DATABASE = PlpyDatabase()


@lru_cache(maxsize=256)
def _plan(statement: str, types: tuple[str, ...]) -> Any:
    return plpy.prepare(statement, list(types))
