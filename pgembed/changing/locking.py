"""locking: a table for ourselves, for a moment, without anybody queueing behind us for long."""

from __future__ import annotations

import time

from pgembed import errors, following
from pgembed.columns import Table, Writer
from pgembed.database import Database

# Whoever comes after a waiting exclusive lock waits too. Shorter than PostgreSQL's deadlock_timeout, so it is us who give way.
LOCK_MILLISECONDS = 150
# An autovacuum gives way, but only to somebody who has waited for deadlock_timeout: where nobody else stands in the way, we do.
_AUTOVACUUM_LOCK = "ShareUpdateExclusiveLock"
_PAUSE_SECONDS = 0.25
_LOCK_NOT_AVAILABLE = "55P03"
_DEADLOCK = "40P01"


def take(db: Database, write: Writer, found: Table, mode: str, seconds: float) -> None:
    """Lock a table until the transaction ends.

    The lines of the registry come first: who claims work locks one of them and then reads the table. Its tables of chunks come last, and
    only where they are wanted for ourselves: somebody may read one of them alone.

    Args:
        mode: of LOCK TABLE.
        seconds: for how long it is tried.
    Raises:
        errors.TableBusy: somebody has used it all the time.
    """
    end = time.monotonic() + seconds
    patience = LOCK_MILLISECONDS
    before = db.execute("SELECT pg_catalog.current_setting('lock_timeout') AS value")[0]["value"]
    while True:
        try:
            with db.subtransaction():
                _set(db, f"{patience}ms")
                write(
                    found,
                    "SELECT FROM pgembed._embedding WHERE table_name OPERATOR(pg_catalog.=) $1::oid::regclass"
                    " ORDER BY column_name FOR UPDATE",
                    ["oid"],
                    [found.oid],
                )
                with following.as_owner(db, found):
                    db.execute(f"LOCK TABLE {found.sql} IN {mode} MODE")
                    if mode == "ACCESS EXCLUSIVE":
                        _also_chunks(db, found)
                _set(db, str(before))
            return
        except Exception as error:
            if getattr(error, "sqlstate", None) not in (_LOCK_NOT_AVAILABLE, _DEADLOCK):
                raise
        if time.monotonic() >= end:
            raise errors.TableBusy(
                f'table "{found.name}" was in use all the time for {seconds:g} s: it is needed for itself for a moment',
                hint="Nothing was changed. Is a transaction left open? SELECT * FROM pg_stat_activity shows it. Then call again.",
            )
        patience = _patience(db, found)
        db.execute("SELECT pg_catalog.pg_sleep($1)", ["pg_catalog.float8"], [_PAUSE_SECONDS])


def _patience(db: Database, found: Table) -> int:
    """Milliseconds that the next attempt may wait: longer where it is a vacuum alone that has the table, or its chunks."""
    found_one = db.execute(
        "SELECT pg_catalog.bool_and(l.mode = $2) AS alone, (SELECT s.setting::pg_catalog.int4 FROM pg_catalog.pg_settings AS s"
        " WHERE s.name = 'deadlock_timeout') AS gives_way"
        " FROM pg_catalog.pg_locks AS l WHERE l.locktype = 'relation' AND l.granted AND l.pid <> pg_catalog.pg_backend_pid()"
        " AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database())"
        " AND (l.relation = $1 OR l.relation IN (SELECT e.chunk_table FROM pgembed._embedding AS e"
        " WHERE e.table_name OPERATOR(pg_catalog.=) $1::pg_catalog.oid::pg_catalog.regclass))",
        ["pg_catalog.oid", "pg_catalog.text"],
        [found.oid, _AUTOVACUUM_LOCK],
    )[0]
    return int(found_one["gives_way"]) + LOCK_MILLISECONDS if found_one["alone"] else LOCK_MILLISECONDS


def _also_chunks(db: Database, found: Table) -> None:
    """Lock the tables of chunks of a table that is locked, so that their names are theirs."""
    rows = db.execute(
        "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS chunks FROM pgembed._embedding AS e"
        " JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) e.chunk_table"
        " JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE e.table_name OPERATOR(pg_catalog.=) $1::pg_catalog.oid::pg_catalog.regclass ORDER BY c.oid",
        ["pg_catalog.oid"],
        [found.oid],
    )
    for row in rows:
        db.execute(f"LOCK TABLE {row['chunks']} IN ACCESS EXCLUSIVE MODE")


def _set(db: Database, value: str) -> None:
    db.execute("SELECT pg_catalog.set_config('lock_timeout', $1, true)", ["pg_catalog.text"], [value])
