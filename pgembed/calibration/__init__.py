"""calibration: what recall the access paths reach on a column with which settings, and what they take on this server.

Sampled queries are answered by the statements that searches run, with and without filters. A path gives candidates in an order, and a
search that takes fewer sees the first of them: so one run with the most candidates tells the recall of every number. What is true is found
by comparing every row with every query once. The planner takes from the curves what a recall needs (`pgembed.planner.curves`), and from
the times what a path costs (`pgembed.planner.costs`).

A random subset is an easy filter: what passes has no more in common than all rows have. Values of a column are harder, for rows of one
section are near each other and their codes tie (on 63,000 packages 100 candidates by code contain .998 of the 10 nearest without a filter,
and .988 of those of a section of 7 %). So filters are made of the table's own columns as far as indexes say which ones are filtered by.
"""

from __future__ import annotations

from pgembed import columns, errors, progress
from pgembed.calibration.measuring import measure
from pgembed.calibration.storing import keep
from pgembed.columns import Column, Writer
from pgembed.database import Database

LEAST_QUERIES, MOST_QUERIES = 10, 2_000
# Of .995 a thousand queries prove .993 to be kept, and two hundred .991: what is not proven is paid for in each search.
QUERIES = 1_000


def calibrate(
    db: Database,
    write: Writer,
    target: str | None,
    column_name: str | None,
    queries: tuple[str | None, str | None],
    sample: int | None,
    seed: int | None,
) -> None:
    """Measure and keep what was found; see `pgembed.calibrate` in SQL.

    Args:
        target: a table, as regclass writes it; None for all columns of the caller's that lack a calibration or have changed since.
        queries: table, as regclass writes it, and its column of texts or vectors; (None, None) draws them from the column itself.
        sample: queries, 1,000 where it is None.
        seed: draws the same queries and filters again.
    Raises:
        errors.NullNotAllowed, errors.UnknownTable, errors.UnknownObject, errors.AmbiguousColumn: target or queries say nothing.
        errors.InvalidParameter: sample is out of range, or there are too few vectors.
        errors.InsufficientPrivilege: the caller does not own the table.
        errors.NotSupported: the column is over chunks.
    """
    most = QUERIES if sample is None else sample
    if not LEAST_QUERIES <= most <= MOST_QUERIES:
        raise errors.InvalidParameter(
            f"sample must be {LEAST_QUERIES} to {MOST_QUERIES}, not {most}",
            hint="It is the number of queries: 200 tell a recall to about half a hundredth, 1000 to a fifth of one.",
        )
    if target is None:
        if column_name is not None or queries != (None, None):
            raise errors.NullNotAllowed("target is NULL", hint="Name the table that column_name and queries are for.")
        _all(db, write, most, seed or 1)
        return
    column = columns.column(db, target, column_name)
    column.table.must_own()
    column.one_vector("a calibration")
    _one(db, write, column, queries, most, seed or 1)


def _all(db: Database, write: Writer, most: int, seed: int) -> None:
    """Each column by itself: one that cannot be measured does not stand in the way of others."""
    found = [
        (row["table_name"], row["column_name"])
        for row in db.execute(
            "SELECT e.table_name::pg_catalog.oid::pg_catalog.text AS table_name, e.column_name::pg_catalog.text AS column_name"
            " FROM pgembed._embedding AS e JOIN pg_catalog.pg_class AS t ON t.oid OPERATOR(pg_catalog.=) e.table_name"
            " LEFT JOIN LATERAL pgembed._calibrated(e.table_name, e.column_name) AS c ON true"
            " WHERE pg_catalog.pg_has_role(CURRENT_USER, t.relowner, 'USAGE') AND e.chunk_tokens IS NULL"
            " AND (c.stale IS NULL OR c.stale OPERATOR(pg_catalog.<>) '{}') ORDER BY t.relname, e.table_name, e.column_name"
        )
    ]
    for table, name in found:
        try:
            column = columns.column(db, table, name)
            with db.subtransaction():
                _one(db, write, column, (None, None), most, seed)
        except errors.PgembedError as error:
            db.warning(f"{name} of table with OID {table} was not calibrated: {error.message}", hint=error.hint)
            continue
        db.commit()
    if not found:
        db.notice("every column is calibrated, and none has changed since")


def _one(db: Database, write: Writer, column: Column, queries: tuple[str | None, str | None], most: int, seed: int) -> None:
    with progress.shown(db, "calibrate", column.label):
        found = measure(db, column, queries, most, seed)
    keep(db, write, column, found)
    db.notice(
        f"{column.label}: {len(found.points)} measurements of {', '.join(dict.fromkeys(point.path for point in found.points)) or 'no path'}"
        f" with {found.queries} queries over {found.rows} rows in {found.seconds:.1f} s",
        hint="SELECT * FROM pgembed.calibrations shows them; searches choose by them from now on.",
    )
