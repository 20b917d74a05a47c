"""connection: the Database port over plpy, inside a backend and with the rights of whoever calls."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

import plpy

from pgembed import errors
from pgembed.database import Row


class PlpyDatabase:
    """The backend's own connection. It has no state: transaction, role and settings are the session's."""

    def execute(self, statement: str, types: Sequence[str] = (), values: Sequence[object] = ()) -> list[Row]:
        """See `pgembed.database.Database.execute`. PostgreSQL's own errors pass through with their SQLSTATE."""
        return list(_plan(statement, tuple(types)).execute(list(values)) if types else plpy.execute(statement))

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
        return True

    def subtransaction(self) -> AbstractContextManager[object]:
        """See `pgembed.database.Database.subtransaction`."""
        context: AbstractContextManager[object] = plpy.subtransaction()
        return context

    def check_interrupts(self) -> None:
        """See `pgembed.database.Database.check_interrupts`: running any statement lets PostgreSQL look."""
        plpy.execute("SELECT 1")

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
