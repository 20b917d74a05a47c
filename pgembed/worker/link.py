"""link: a worker's connections. One that breaks is made again, after waits that grow."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import conninfo

from pgembed import __version__, errors
from pgembed.psycopgdb import PsycopgDatabase
from pgembed.worker.rota import Rota
from pgembed.worker.settings import Settings

CONNECT_SECONDS = 15
# A server that answers no more is given up after some 30 s, also where nobody closes the connection; libpq takes all as seconds.
_KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4, "tcp_user_timeout": 30_000}
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 15.0
# Of a hand: a writer's lock must not keep it from all other tables. Of a role: it may be impatient with people, and strict with them: at
# other isolation levels no rows can be claimed, and writers would fail for what a worker says of itself.
_SESSION = (
    "SET search_path = pg_catalog, pg_temp; SET lock_timeout = '10s'; SET statement_timeout = 0; SET idle_session_timeout = 0;"
    " SET default_transaction_isolation = 'read committed'"
)
# Classes of SQLSTATE that speak of the session, not of what it did; and the server's shutdown and start.
_SESSION_CLASSES = ("08", "57P")


def connect(settings: Settings, rota: Rota, *, autocommit: bool = False) -> PsycopgDatabase:
    """A connection that works.

    Raises:
        psycopg.Error: there is none.
        errors.NotReady, errors.NotSupported: there is one, to a database where no worker can work.
    """
    given = conninfo.conninfo_to_dict(settings.url)
    usual = {key: value for key, value in ({"connect_timeout": CONNECT_SECONDS} | _KEEPALIVES).items() if key not in given}
    parameters = conninfo.make_conninfo(settings.url, application_name=f"pgembed worker {settings.name}", client_encoding="UTF8", **usual)
    connection: psycopg.Connection[Any] = psycopg.connect(parameters, autocommit=True)
    try:
        connection.execute(_SESSION)
        _must_be_ready(connection)
        connection.autocommit = autocommit
    except BaseException:
        connection.close()
        raise
    # Notices of functions that hands call are about their rows, not about the worker.
    return PsycopgDatabase(connection, tell=lambda severity, message, hint: _tell(rota, severity, message, hint), check=rota.check)


def is_lost(error: BaseException, database: PsycopgDatabase) -> bool:
    """Whether the connection is what failed."""
    sqlstate = getattr(error, "sqlstate", None) or ""
    return database.connection.closed or sqlstate.startswith(_SESSION_CLASSES)


def close(database: PsycopgDatabase | None) -> None:
    """Close a connection, in whatever state it is."""
    if database is not None:
        with suppress(psycopg.Error):
            database.connection.close()


def words(error: BaseException) -> str:
    """The first line of an error's words."""
    if isinstance(error, errors.PgembedError):
        return error.message
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    lines = (primary or str(error)).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).removeprefix("pgembed: ")


class Backoff:
    """Seconds to wait before the next try, a little different for each, so that not all come back at once."""

    def __init__(self) -> None:
        self._next = _FIRST_WAIT

    def wait(self) -> float:
        """How long now; the next wait is longer."""
        now, self._next = self._next, min(self._next * 2, _LONGEST_WAIT)
        return now * random.uniform(0.75, 1.25)

    def reset(self) -> None:
        """It worked."""
        self._next = _FIRST_WAIT


def _tell(rota: Rota, severity: str, message: str, hint: str | None) -> None:
    if severity in ("NOTICE", "WARNING"):  # the end of a session comes as one of FATAL, and is told by whoever loses it
        rota.say(message, hint)


def _must_be_ready(connection: psycopg.Connection[Any]) -> None:
    database = connection.info.dbname
    if connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,):
        raise errors.NotSupported("the server is a standby, which can't be written", hint="Let the worker connect to the primary.")
    if connection.execute("SELECT to_regclass('pgembed._worker') IS NULL").fetchone() == (True,):
        raise errors.NotReady(
            f'database "{database}" has no pgembed, or one of an older version',
            hint="CREATE EXTENSION pgembed CASCADE; or: pgembed install URL.",
        )
    row = connection.execute("SELECT pgembed.version()").fetchone()
    if row != (__version__,):
        raise errors.NotReady(
            f'pgembed in database "{database}" is of version {row and row[0]}, this worker of {__version__}',
            hint="Run ALTER EXTENSION pgembed UPDATE, or install the matching package and start the worker again.",
        )
