"""Statements that wait in other sessions while the test goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import psycopg
from support import Connection


class Asked(threading.Thread):
    """A statement in another session, waiting for something."""

    def __init__(self, session: Connection, statement: str) -> None:
        super().__init__()
        self._session, self.statement = session, statement
        self.answer: Any = None
        self.start()

    def run(self) -> None:
        try:
            self.answer = self._session.execute(self.statement).fetchall()
        except psycopg.Error as error:
            self.answer = error.sqlstate


def waits(db: Connection, session: Connection) -> Callable[[], bool]:
    """Whether a session waits for a lock."""
    pid = session.info.backend_pid
    asked = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s"
    return lambda: bool((db.execute(asked, [pid]).fetchone() or (False,))[0])
