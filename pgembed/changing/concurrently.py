"""concurrently: which indexes a worker is to build while the table is read and written.

Those that the column of a new model lacks, once it is filled; and the first one of a large column that workers have filled, which refresh
would have built. Who builds has a lock, `pgembed.indexing.take_turn`; what somebody left unfinished goes first.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from pgembed import columns, errors, following, indexing
from pgembed.changing import catalogue, indexes
from pgembed.columns import Column, Table
from pgembed.database import Database

# So long a call waits for a worker to begin with an index, where some are alive; while one builds, it waits on.
PATIENCE_SECONDS = 30.0
LOOK_SECONDS = 0.2
# A table that is written all the time is never quite full: one row of so many may be missing.
_ONE_OF = 100


@dataclass(frozen=True)
class Job:
    """What is to be built of a column.

    Attributes:
        statements: CREATE INDEX CONCURRENTLY, for the table's owner.
        is_full: rows that lack a vector are few enough to begin.
        leftovers: indexes of the column, in SQL, that are not valid.
        memory: for maintenance_work_mem.
    """

    table: Table
    label: str
    statements: tuple[str, ...]
    is_full: bool
    leftovers: tuple[str, ...]
    memory: str


def changes(db: Database, target: int | None) -> list[tuple[int, str]]:
    """OID of the table and name of the column, of changes whose index may be built by a worker of this role.

    Args:
        target: OID of the only table that counts; None for all.
    """
    rows = db.execute(
        "SELECT c.table_name::pg_catalog.oid::pg_catalog.int8 AS target, c.column_name::pg_catalog.text AS name"
        " FROM pgembed._model_change AS c JOIN pg_catalog.pg_class AS t ON t.oid OPERATOR(pg_catalog.=) c.table_name"
        " WHERE c.state IN ('filling', 'indexing') AND c.build_index AND t.relkind <> 'p' AND pg_catalog.pg_has_role(t.relowner, 'USAGE')"
        " AND ($1 IS NULL OR c.table_name OPERATOR(pg_catalog.=) $1::pg_catalog.oid) ORDER BY 1, 2",
        ["pg_catalog.int8"],
        [target],
    )
    return [(int(row["target"]), str(row["name"])) for row in rows]


def due(db: Database, target: int, name: str, *, alone: bool = False) -> Job | None:
    """What is to be built of a column; None where nothing is.

    Args:
        name: of the column that searches mean.
        alone: the table is locked until the transaction ends against others who build or drop an index; without, there are no leftovers.
    Raises:
        Exception: alone, and somebody is at it all the time (SQLSTATE 55P03).
    """
    try:
        found, known = columns.table(db, str(target))
    except errors.UnknownTable:
        return None
    column = next((one for one in known if one.name == name and one.role == "current" and one.type), None)
    if column is None or not found.may_own or found.relkind == "p":
        return None
    change = catalogue.find(db, column)
    meant = column
    if change is not None:
        if change.switched or change.other is None:
            return None
        meant = change.other
    with following.as_owner(db, found):
        if alone:
            db.execute(f"LOCK TABLE {meant.place} IN SHARE UPDATE EXCLUSIVE MODE")
        if change is not None:
            statements = indexes.statements(meant, indexes.missing(db, column, meant), concurrently=True)
        else:
            statements = [indexing.statement(db, column, concurrently=True)] if _lacks_first(db, column) else []
        if not statements:
            return None
        rows = meant.rows if meant.chunks is None else meant.chunks.lines
        left = _leftovers(db, meant) if alone else ()
        return Job(found, meant.label, tuple(statements), _is_full(db, meant), left, indexing.memory(db, meant, rows))


def leftovers(db: Database, job: Job, target: int, name: str) -> list[str]:
    """Indexes of the column that are not valid, once the job has failed."""
    try:
        _, known = columns.table(db, str(target))
    except errors.UnknownTable:
        return []
    return [index for one in known if name in (one.name, one.change_of) and one.label == job.label for index in _leftovers(db, one)]


def by_worker(db: Database, table: Table, is_missing: Callable[[], bool]) -> bool | None:
    """Let a worker build the indexes of a table, and wait for it; the caller can commit.

    Args:
        is_missing: whether there are indexes left to build.
    Returns:
        Whether all are built; None where no worker is alive that could.
    """
    if table.relkind == "p" or not _has_workers(db, table):
        return None
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        if indexing.is_being_built(db, table.oid):
            end = time.monotonic() + PATIENCE_SECONDS
        elif not is_missing():
            return True
        elif time.monotonic() >= end:
            return False
        else:
            db.execute("SELECT pgembed._wake_workers()")
        db.commit()
        # no statement: whoever builds waits for all that have a snapshot
        time.sleep(LOOK_SECONDS)
        db.check_interrupts()


def _has_workers(db: Database, table: Table) -> bool:
    """Whether a worker is alive that may build indexes of a table."""
    rows = db.execute(
        "SELECT EXISTS (SELECT FROM pgembed._worker AS w, LATERAL pg_catalog.pg_stat_get_activity(w.pid) AS a"
        " WHERE w.seen_at OPERATOR(pg_catalog.>) (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) '1 minute'::pg_catalog.interval)"
        " AND pg_catalog.pg_has_role(a.usesysid, $1::pg_catalog.name, 'USAGE')) AS yes",
        ["pg_catalog.text"],
        [table.owner],
    )
    return bool(rows[0]["yes"])


def _lacks_first(db: Database, column: Column) -> bool:
    """Whether a column is large and has no index, nor codes that have one."""
    if column.index_name is not None or column.source_function is None or column.sync == "manual" or not indexing.fits(column):
        return False
    served = db.execute(
        "SELECT FROM pgembed._describe_codes($1) AS c WHERE c.embedding_column = $2 AND c.is_active AND c.is_filled"
        " AND coalesce(c.index_name, c.covering_index) IS NOT NULL",
        ["pg_catalog.oid", "pg_catalog.text"],
        [column.table.oid, column.name],
    )
    return not served and indexing.is_large(db, column)


def _is_full(db: Database, column: Column) -> bool:
    allowed = int(max(0.0, column.rows) / _ONE_OF)
    left = db.execute(
        f"SELECT pg_catalog.count(*) AS n FROM (SELECT FROM {column.table.sql} AS t WHERE {column.freshness('t')} = 'pending'"
        f" LIMIT {allowed + 1}) AS c"
    )
    return int(left[0]["n"]) <= allowed


def _leftovers(db: Database, column: Column) -> tuple[str, ...]:
    rows = db.execute(
        "SELECT pg_catalog.format('%I.%I', n.nspname, i.relname) AS index FROM pg_catalog.pg_index AS x"
        " JOIN pg_catalog.pg_class AS i ON i.oid = x.indexrelid JOIN pg_catalog.pg_namespace AS n ON n.oid = i.relnamespace"
        " JOIN pg_catalog.pg_am AS m ON m.oid = i.relam"
        " JOIN pg_catalog.pg_attribute AS a ON a.attrelid = x.indrelid AND a.attnum = x.indkey[0]"
        " WHERE x.indrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass($1) AND x.indnatts = 1 AND NOT x.indisvalid"
        " AND m.amname IN ('hnsw', 'ivfflat')"
        " AND a.attname = $2 ORDER BY 1",
        ["pg_catalog.text", "pg_catalog.text"],
        [column.place, columns.unquoted(column.sql)],
    )
    return tuple(str(row["index"]) for row in rows)
