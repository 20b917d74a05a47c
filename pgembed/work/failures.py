"""failures: rows that could not be embedded, and columns that nobody can work on for now; when either is tried again.

The tables `pgembed._failure` and `pgembed._pause` hold them. Errors may quote rows, so they are the owner's; `last_error` in the registry,
which everybody reads, never does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pgembed import following
from pgembed.columns import Column, quote
from pgembed.database import Database, Row
from pgembed.work import reading

# A row that failed is tried again after 2, 4, 8 and 16 seconds; then it is parked.
TRIES = 5
FIRST_WAIT = 2
# A column is tried again after 1, 2, 4, ... seconds, at most this many.
LONGEST_PAUSE = 300


class Owned(Protocol):
    """What a statement is about."""

    def must_own(self) -> None:
        """Raise where the caller does not own it."""
        ...


# Runs one statement on the tables of work with the rights of the extension's owner: (table, statement, types, values) -> rows.
Ask = Callable[[Owned, str, Sequence[str], Sequence[object]], list[Row]]

_COLUMN = ("oid", "name")
_OF = "table_name OPERATOR(pg_catalog.=) $1::oid::regclass AND column_name = $2"


@dataclass(frozen=True)
class Failure:
    """A row that could not be embedded.

    Attributes:
        error: may quote the row.
        public: what everybody may read.
    """

    key: str
    sqlstate: str
    error: str
    public: str = "see pgembed.failures"


class Unusable(Exception):
    """Nothing of a column can be embedded for now, and no row is to blame; ``cause`` is why."""

    def __init__(self, sqlstate: str, message: str, cause: Exception | None = None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.message = message
        self.cause = cause


def settle(db: Database, ask: Ask, column: Column, keys: Sequence[str], failed: Sequence[Failure]) -> None:
    """Keep what became of a claim's rows: those that failed again are tried later, the others are forgotten here.

    Args:
        keys: of the claim, which is ended already.
    """
    gone = sorted({*keys} - {failure.key for failure in failed})
    lock(ask, column, gone, failed)
    sweep(db, ask, column, gone)
    record(ask, column, failed)
    if len(failed) < len(keys):
        resume(ask, column)
    if not failed:
        ask(
            column.table,
            f"UPDATE pgembed._embedding SET last_error = NULL WHERE {_OF} AND last_error IS NOT NULL"
            f" AND NOT EXISTS (SELECT FROM pgembed._failure WHERE {_OF}) AND NOT EXISTS (SELECT FROM pgembed._pause WHERE {_OF})",
            _COLUMN,
            [column.table.oid, column.name],
        )


def lock(ask: Ask, column: Column, keys: Sequence[str], failed: Sequence[Failure]) -> None:
    """Lock the registry's line of a column, where anything is to be written of failures: whoever claims has it before theirs, too, and two
    who take them in different orders would wait for each other.

    Args:
        keys: rows whose failures may be forgotten; as a rule they have none.
    """
    ask(
        column.table,
        f"SELECT FROM pgembed._embedding WHERE {_OF} AND ($3 OR EXISTS (SELECT FROM pgembed._failure AS f"
        " WHERE f.table_name OPERATOR(pg_catalog.=) $1::oid::regclass AND f.column_name = $2 AND f.key = ANY ($4))) FOR NO KEY UPDATE",
        [*_COLUMN, "bool", "text[]"],
        [column.table.oid, column.name, bool(failed), list(keys)],
    )


def record(ask: Ask, column: Column, failed: Sequence[Failure], *, tells: bool = True) -> None:
    """Keep rows that failed, one try more for each.

    Args:
        tells: everybody may read of it; False in a writer's transaction, which must not hold the registry's line until it ends.
    """
    if not failed:
        return
    ask(
        column.table,
        "INSERT INTO pgembed._failure AS f (table_name, column_name, key, attempts, sqlstate, error, next_try)"
        f" SELECT $1::oid::regclass, $2, m.key, 1, m.sqlstate, m.error, clock_timestamp() + interval '{FIRST_WAIT} s'"
        " FROM unnest($3, $4, $5) AS m (key, sqlstate, error)"
        " ON CONFLICT (table_name, column_name, key) DO UPDATE SET attempts = f.attempts + 1, sqlstate = excluded.sqlstate,"
        f" error = excluded.error, failed_at = clock_timestamp(), next_try = CASE WHEN f.attempts + 1 < {TRIES}"
        f" THEN clock_timestamp() + interval '{FIRST_WAIT} s' * 2 ^ f.attempts END",
        [*_COLUMN, "text[]", "text[]", "text[]"],
        [
            *(column.table.oid, column.name),
            [failure.key for failure in failed],
            [failure.sqlstate for failure in failed],
            [failure.error for failure in failed],
        ],
    )
    if tells:
        tell_all(ask, column, f"SQLSTATE {failed[-1].sqlstate}, {failed[-1].public}")


def park(db: Database, ask: Ask, column: Column, key: str, attempts: int) -> None:
    """Give up a row at which whoever embedded it died, every time."""
    with following.as_owner(db, column.table):
        db.execute(
            f"UPDATE {column.table.sql} AS t SET {quote(str(column.hash_column))} = '\\xff'::pg_catalog.bytea"
            f" WHERE {column.table.key_matches('t', '$1')} AND {reading.is_in(column, 't', reading.NEEDY)}",
            ["pg_catalog.text"],
            [key],
        )
    ask(
        column.table,
        "INSERT INTO pgembed._failure AS f (table_name, column_name, key, attempts, sqlstate, error, next_try)"
        " VALUES ($1::oid::regclass, $2, $3, $4, '58000', $5, NULL) ON CONFLICT (table_name, column_name, key)"
        " DO UPDATE SET attempts = excluded.attempts, sqlstate = excluded.sqlstate, error = excluded.error, failed_at = clock_timestamp(),"
        " next_try = NULL",
        [*_COLUMN, "text", "int4", "text"],
        [
            *(column.table.oid, column.name, key, attempts),
            f"the process that embedded this row died, or was too slow for its lease, {attempts} times, at last with this row alone;"
            " pgembed.retry_failed() tries it again",
        ],
    )
    tell_all(ask, column, "SQLSTATE 58000, see pgembed.failures")


def pause(ask: Ask, column: Column, sqlstate: str, error: str) -> None:
    """Let nobody work on a column for a while, the longer the more often in a row."""
    ask(
        column.table,
        "INSERT INTO pgembed._pause AS p (table_name, column_name, attempts, sqlstate, error, until)"
        " VALUES ($1::oid::regclass, $2, 1, $3, $4, clock_timestamp() + interval '1 s')"
        " ON CONFLICT (table_name, column_name) DO UPDATE SET attempts = p.attempts + 1, sqlstate = excluded.sqlstate,"
        " error = excluded.error, failed_at = clock_timestamp(),"
        f" until = clock_timestamp() + interval '1 s' * least({LONGEST_PAUSE}, 2 ^ least(p.attempts, 20))"
        # others that failed with it say nothing new
        " WHERE p.until <= clock_timestamp()",
        [*_COLUMN, "text", "text"],
        [column.table.oid, column.name, sqlstate, error],
    )
    tell_all(ask, column, f"SQLSTATE {sqlstate}, the column as a whole cannot be embedded for now, see pgembed.failures")


def resume(ask: Ask, column: Column) -> None:
    """End a column's pause."""
    ask(column.table, f"DELETE FROM pgembed._pause WHERE {_OF}", _COLUMN, [column.table.oid, column.name])


def tell_all(ask: Ask, column: Column, last_error: str | None) -> None:
    """Write what everybody may read of a column's errors."""
    ask(
        column.table,
        f"UPDATE pgembed._embedding SET last_error = $3 WHERE {_OF} AND last_error IS DISTINCT FROM $3",
        [*_COLUMN, "text"],
        [column.table.oid, column.name, last_error],
    )


def sweep(db: Database, ask: Ask, column: Column, among: Sequence[str] | None = None) -> None:
    """Forget failed rows that are gone or have another state by now.

    Args:
        among: only these; None for all.
    """
    rows = ask(
        column.table,
        "SELECT key, extract(epoch FROM failed_at)::text AS failed_at FROM pgembed._failure"
        f" WHERE {_OF} AND ($3 IS NULL OR key = ANY ($3))",
        [*_COLUMN, "text[]"],
        [column.table.oid, column.name, None if among is None else list(among)],
    )
    known = {str(row["key"]): row["failed_at"] for row in rows}
    if not known:
        return
    with following.as_owner(db, column.table):
        kept = set(reading.still(db, column, reading.quoted("failed"), list(known)))
    gone = {key: failed_at for key, failed_at in known.items() if key not in kept}
    if gone:
        # One that has failed again meanwhile has another time. A writer that forgets it, too, may wait for rows that the caller holds.
        ask(
            column.table,
            "DELETE FROM pgembed._failure AS d WHERE d.ctid = ANY (ARRAY(SELECT f.ctid FROM pgembed._failure AS f"
            f" JOIN unnest($3, $4) AS m (key, failed_at) ON f.key = m.key WHERE {_OF}"
            " AND extract(epoch FROM f.failed_at) = m.failed_at::numeric FOR UPDATE OF f SKIP LOCKED))",
            [*_COLUMN, "text[]", "text[]"],
            [column.table.oid, column.name, list(gone), list(gone.values())],
        )


def forget_keys(ask: Ask, column: Column, keys: Sequence[str]) -> None:
    """Forget that rows have failed."""
    if keys:
        ask(
            column.table,
            f"DELETE FROM pgembed._failure WHERE {_OF} AND key = ANY ($3)",
            [*_COLUMN, "text[]"],
            [column.table.oid, column.name, list(keys)],
        )


def retry(db: Database, ask: Ask, column: Column, key: str | None) -> int:
    """Let failed rows be embedded again; return how many they are.

    Args:
        key: of one row, as search_keys writes it; None for all.
    """
    chosen = f" AND {column.table.key_matches('t', '$1')}" if key is not None else ""
    with following.as_owner(db, column.table):
        rows = db.execute(
            f"UPDATE {column.table.sql} AS t SET {quote(str(column.hash_column))} = '\\x00'::pg_catalog.bytea"
            f" WHERE {reading.is_in(column, 't', reading.quoted('failed'))}{chosen} RETURNING {column.table.key_text('t')} AS key",
            ["pg_catalog.text"] if key is not None else [],
            [key] if key is not None else [],
        )
    if key is None:
        ask(column.table, f"DELETE FROM pgembed._failure WHERE {_OF}", _COLUMN, [column.table.oid, column.name])
        resume(ask, column)
    else:
        forget_keys(ask, column, [key, *(str(row["key"]) for row in rows)])
    return len(rows)
