"""freshness: how true the vectors of embedded columns are, counted, and waited for."""

from __future__ import annotations

import time

from pgembed import chunked, columns, errors
from pgembed.columns import Column, quote
from pgembed.database import Database, Row
from pgembed.following import workindex

STATES = ("fresh", "stale", "pending", "failed", "null_source")
# Between two looks at the rows, in seconds: soon at first, then no more than a tenth of the time goes into looking.
FIRST_PAUSE, LAST_PAUSE, SHARE_OF_LOOKING = 0.005, 0.5, 0.1


def states(db: Database, column: Column) -> Row | None:
    """Counts of a column's rows by state, as the caller sees them; None where the caller may not read them.

    Where row security is active for the caller nothing is counted: neither would hidden rows be told apart, nor should a policy of
    somebody else's run because a view of ours was read.
    """
    found = column.table
    hashed = [column.hash_column] if column.hash_column else []
    allowed = db.execute(
        "SELECT pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE') AND c.relispopulated"
        " AND NOT pg_catalog.row_security_active(c.oid)"
        " AND (SELECT pg_catalog.bool_and(pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT'))"
        " FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = c.oid AND a.attname = ANY ($2)) AS yes"
        " FROM pg_catalog.pg_class AS c WHERE c.oid = $1",
        ["pg_catalog.oid", "pg_catalog.text[]"],
        [found.oid, [*hashed] if column.chunks else [column.name, *hashed]],
    )
    if not allowed or not allowed[0]["yes"]:
        return None
    counted = dict(db.execute(counting(column, indexed=_is_indexed(db, column)))[0])
    counted["fresh"] = counted["rows"] - sum(counted[state] for state in STATES if state != "fresh")
    counted["chunks"] = None if column.chunks is None else chunked.count(db, column.chunks)
    return counted


def _is_indexed(db: Database, column: Column) -> bool:
    if column.work_index is None or column.hash_column is None:
        return False
    found = db.execute(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_index AS i WHERE i.indrelid = $1 AND i.indisvalid AND i.indnatts = i.indnkeyatts"
        " AND pg_catalog.pg_get_expr(i.indpred, i.indrelid) = $2) AS yes",
        ["pg_catalog.oid", "pg_catalog.text"],
        [column.table.oid, f"(octet_length({_as_postgresql_writes(db, column.hash_column)}) = ANY (ARRAY[0, 1, 17]))"],
    )
    return bool(found[0]["yes"])


def _as_postgresql_writes(db: Database, name: str) -> str:
    return str(db.execute("SELECT pg_catalog.quote_ident($1) AS name", ["pg_catalog.text"], [name])[0]["name"])


def counting(column: Column, *, indexed: bool) -> str:
    """The statement that counts a column's rows by state; how many are fresh is what the others leave.

    Args:
        indexed: there are indexes over the rows that need work and over those that say something of their own; else all are read.
    """
    table = column.table.sql
    if column.hash_column is None:
        zeros = ", ".join(f"0::pg_catalog.int8 AS {name}" for name in ("stale", "failed", "null_source", "truncated", "by_hand"))
        return (
            f"SELECT pg_catalog.count(*) AS rows, pg_catalog.count(*) - pg_catalog.count(t.{column.sql}) AS pending, {zeros}"
            f" FROM {table} AS t"
        )
    hashed = f"t.{quote(column.hash_column)}"
    each = {state: f"s = '{state}'" for state in STATES if state != "fresh"}
    marks = {"truncated": "pgembed.truncated(h)", "by_hand": "pgembed.by_hand(h)"}

    def counts(of: dict[str, str]) -> str:
        return ", ".join(f"pg_catalog.count(*) FILTER (WHERE {condition}) AS {name}" for name, condition in of.items())

    seen = f"(SELECT {column.freshness('t')} AS s, {hashed} AS h FROM {table} AS t"
    if not indexed:
        return f"SELECT pg_catalog.count(*) AS rows, {counts(each | marks)} FROM {seen} OFFSET 0) AS counted"
    needy = {state: each.pop(state) for state in ("stale", "pending")}
    return (
        "SELECT a.rows, w.*, o.*"
        f" FROM (SELECT pg_catalog.count(*) AS rows FROM {table}) AS a,"
        f" (SELECT {counts(needy)} FROM {seen} WHERE {column.freshness('t')} IN ('pending', 'stale') OFFSET 0) AS counted) AS w,"
        f" (SELECT {counts(each | marks)} FROM {seen} WHERE {workindex.marked(hashed)} OFFSET 0) AS counted) AS o"
    )


def wait_for(db: Database, target: str | None, column_name: str | None, seconds: float | None) -> bool:
    """Wait until no row that a worker would take is pending or stale; see `pgembed.wait_for` in SQL.

    Args:
        column_name: None for all that workers embed.
        seconds: from now; 0 looks once.
    Returns:
        Whether all rows are embedded; False where the time was over before.
    Raises:
        errors.NullNotAllowed, errors.InvalidParameter: the time is none.
        errors.UnknownObject: the table has no such embedded column.
        errors.NotSupported: rows wait for nobody, because the column has no source, or is of sync manual; or the transaction would
            never see what others do.
    """
    if seconds is None:
        raise errors.NullNotAllowed("timeout is NULL", hint="Say how long to wait: '1 min' is the default.")
    if not seconds >= 0:
        raise errors.InvalidParameter(f"timeout must not be negative, but is {seconds:g} s", hint="0 looks once and does not wait.")
    _must_see_others(db)
    waited = _embedded_by_workers(db, target, column_name)
    statements = [_waiting(db, column) for column in waited]
    end = time.monotonic() + seconds
    pause, told = FIRST_PAUSE, False
    while True:
        begun = time.monotonic()
        while statements and not (left := db.execute(statements[0])):
            # what was empty once was true once: nobody waits for what is written meanwhile
            statements.pop(0)
            waited.pop(0)
        if not statements:
            return True
        column = waited[0]
        if left[0]["mine"]:
            raise errors.NotSupported(
                f"rows of {column.label} were written in this transaction, and no worker sees them before it is committed",
                hint="Commit first, then wait.",
            )
        now = time.monotonic()
        if not told:
            told = True
            _tell_hopeless(db, column)
        if now >= end:
            return False
        db.execute("SELECT pg_catalog.pg_sleep($1)", ["pg_catalog.float8"], [min(pause, end - now)])
        # a look goes through what was embedded since the statement began, which no vacuum has taken away
        pause = max(min(2 * pause, LAST_PAUSE), (now - begun) / SHARE_OF_LOOKING)


def _must_see_others(db: Database) -> None:
    level = str(db.execute("SELECT pg_catalog.current_setting('transaction_isolation') AS level")[0]["level"])
    if level not in ("read committed", "read uncommitted"):
        raise errors.NotSupported(
            f"in a transaction of isolation level {level} this would wait for ever: it sees nothing that others commit",
            hint="Wait outside of it, or at READ COMMITTED.",
        )


def _embedded_by_workers(db: Database, target: str | None, column_name: str | None) -> list[Column]:
    if column_name is not None:
        column = columns.column(db, target, column_name)
        _must_be_embedded(column)
        return [column]
    table, known = columns.table(db, target)
    current = [column for column in known if column.role == "current"]
    if not current:
        columns.chosen(table, current, None)  # raises: there is none
    waited = [column for column in current if column.source is not None and column.sync != "manual" and column.type in columns.VECTOR_TYPES]
    if not waited:
        _must_be_embedded(columns.chosen(table, current, current[0].name))
    return waited


def _must_be_embedded(column: Column) -> None:
    if column.source is None:
        raise errors.NotSupported(
            f"{column.label} has no source, so nobody embeds its rows",
            hint="It was adopted without one; pgembed.alter_embedding(..., source => '...') gives it one.",
        )
    if column.sync == "manual":
        raise errors.NotSupported(
            f"{column.label} is of sync manual, so no worker embeds its rows",
            hint=f"CALL pgembed.refresh('{column.table.shown}', '{column.name}') does, and ends when it is done.",
        )


def _waiting(db: Database, column: Column) -> str:
    """A row that is pending or stale, and whether this transaction wrote it; no line where there is none."""
    mine = "false"
    # what asks for it asks for the right to read the table whole
    asked = db.execute(
        "SELECT pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL AND pg_catalog.has_table_privilege($1, 'SELECT') AS yes",
        ["pg_catalog.oid"],
        [column.table.oid],
    )
    if asked[0]["yes"]:
        # Visible, and not ended: so it is this one, or a savepoint of it. None of those is older; what is may be too old to ask for.
        own = "pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text::pg_catalog.int8"
        written = f"({own} - pg_catalog.age(t.xmin))::pg_catalog.text::pg_catalog.xid8"
        mine = f"CASE WHEN pg_catalog.age(t.xmin) <= 0 THEN pg_catalog.pg_xact_status({written}) = 'in progress' ELSE false END"
    return f"SELECT {mine} AS mine FROM {column.table.sql} AS t WHERE {column.freshness('t')} IN ('pending', 'stale') LIMIT 1"


def _tell_hopeless(db: Database, column: Column) -> None:
    """Say so where nobody seems to be there to embed rows. A call of `pgembed.work` in another session is not seen."""
    alive = db.execute("SELECT 1 AS one FROM pgembed.workers AS w WHERE w.state <> 'gone' LIMIT 1")
    if not alive and column.sync != "immediate":
        db.notice(
            f"no worker is there to embed rows of {column.label}",
            hint=f"Start \"pgembed worker\", or CALL pgembed.work() in another session, or CALL pgembed.refresh('{column.table.shown}').",
        )
