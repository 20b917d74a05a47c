"""history: how fresh embedded columns were, now and then, for whoever asks later; read through the view ``pgembed.freshness_log``.

Counting costs what it costs to go through a table, or its indexes, once. So it is done at the end of what has read it anyway, and never
takes more than a hundredth of the time. The lines are bounded: of the last day the last of each minute, of the last 30 days the last of
each hour, and of a time in which nothing changed the first and the last.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from pgembed import errors, faults, freshness
from pgembed.columns import Column, Table
from pgembed.database import Database, Row

# Writes one statement on the registry and returns its rows, where the caller owns the table.
Ask = Callable[[Table, str, Sequence[str], Sequence[object]], list[Row]]

KEPT = "30 days"
# Between two lines of a worker that has much to do.
APART_SECONDS = 60.0
# Of the time that is between two lines, how many times what it takes to count.
_TIMES = 100

_LAST = (
    "SELECT EXISTS (SELECT FROM pgembed._freshness_log AS l WHERE l.table_name = $1::pg_catalog.oid AND l.column_name = $2"
    " AND l.at <= pg_catalog.clock_timestamp()"
    " AND l.at > pg_catalog.clock_timestamp()"
    f" - greatest($3::interval, pg_catalog.make_interval(secs => {_TIMES} * l.ms / 1000))) AS is_soon"
)
# What stands in the way is left out; whoever thins the same lines now does it for both. A line in the middle of three alike says nothing.
_WRITE = f"""
    WITH new (rows, fresh, stale, pending, failed, null_source) AS (VALUES ($3, $4, $5, $6, $7, $8)), old AS (
        SELECT o.ctid AS place, row_number() OVER w AS back, o.at, lag(o.at) OVER w AS later,
            ROW(o.rows, o.fresh, o.stale, o.pending, o.failed, o.null_source) IS NOT DISTINCT FROM ROW(n.*) AS is_like,
            ROW(lead(o.rows) OVER w, lead(o.fresh) OVER w, lead(o.stale) OVER w, lead(o.pending) OVER w, lead(o.failed) OVER w,
                lead(o.null_source) OVER w) IS NOT DISTINCT FROM ROW(n.*) AS was_like
        FROM pgembed._freshness_log AS o, new AS n
        WHERE o.table_name = $1::oid::regclass AND o.column_name = $2 AND o.at <= clock_timestamp()
        WINDOW w AS (ORDER BY o.at DESC)
    ), thinned AS (
        DELETE FROM pgembed._freshness_log AS d
        WHERE d.ctid IN (
            SELECT f.ctid FROM pgembed._freshness_log AS f
            WHERE f.ctid = ANY (ARRAY (
                SELECT place FROM old
                WHERE at < clock_timestamp() - interval '{KEPT}'
                    OR back = 1 AND (is_like AND was_like OR date_trunc('minute', at) = date_trunc('minute', clock_timestamp()))
                    OR at < clock_timestamp() - interval '1 day' AND date_trunc('hour', at) = date_trunc('hour', later)
            ))
            FOR UPDATE SKIP LOCKED
        )
    )
    INSERT INTO pgembed._freshness_log (table_name, column_name, rows, fresh, stale, pending, failed, null_source, ms)
    SELECT $1::oid::regclass, $2, n.*, $9 FROM new AS n
    WHERE EXISTS (SELECT FROM pgembed._embedding AS e WHERE e.table_name = $1::oid::regclass AND e.column_name = $2)
    RETURNING 1 AS one
"""


def note(db: Database, ask: Ask, column: Column, apart: str = "0") -> bool:
    """Write down how fresh a column is, as the caller counts it; whether that was done.

    Args:
        ask: writes for an owner.
        apart: an interval; nothing is counted where a line is younger, or younger than a hundred times what it took to count for it.
    Raises:
        errors.InsufficientPrivilege: the caller does not own the table.
    """
    column.table.must_own()
    place = [column.table.oid, column.name]
    # only the extension's owner reads the log itself
    if ask(column.table, _LAST, ["oid", "name", "text"], [*place, apart])[0]["is_soon"]:
        return False
    begun = time.perf_counter()
    counted = freshness.states(db, column)
    if counted is None:
        return False
    took = 1000 * (time.perf_counter() - begun)
    counts = [counted[name] for name in ("rows", *freshness.STATES)]
    return bool(ask(column.table, _WRITE, ["oid", "name", *["int8"] * 6, "float8"], [*place, *counts, took]))


def noted(db: Database, table: int, name: str, apart: str = "0") -> None:
    """The same for whoever has done something else, which does not fail because of it.

    Args:
        table: its OID.
    """
    try:
        with db.subtransaction():
            db.execute(
                "SELECT pgembed._note_freshness($1, $2, $3)",
                ["pg_catalog.regclass", "pg_catalog.name", "pg_catalog.interval"],
                [str(table), name, apart],
            )
    except Exception as error:
        # dropped or renamed meanwhile, or not the caller's: there is nothing to be told of it
        if faults.sqlstate_of(error)[:2] != "42" and not isinstance(error, errors.PgembedError):
            raise
