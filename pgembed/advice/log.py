"""log: how often filters of one shape were used, counted in the session and written down now and then.

Off by default. A search that is counted adds to a dictionary of its session; the first one and then one in FLUSH_SECONDS or FLUSH_SEARCHES
also writes, in one statement, and only where that cannot hinder anybody: not in a read-only or serializable transaction nor on a standby,
and not while another transaction that has written is still open, whose lines would be locked. Then counts stay in the session until a later
search. A session that ends takes along what it has not written, so counts are a lower bound. Nothing here makes a search fail.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgembed import errors
from pgembed.columns import Column
from pgembed.database import Database

if TYPE_CHECKING:
    from pgembed.advice.shapes import Shape

MOST_SHAPES = 200  # of a table; the least used is forgotten
FLUSH_SECONDS, FLUSH_SEARCHES = 30.0, 1000
LOOK_SECONDS = 10.0  # after which a session looks again whether the log is on
MOST_CACHED = 512
MOST_PACKED = 10_000  # characters of a shape's terms; what is longer was generated, and is not counted
# The transaction that holds this lock is the one that writes.
LOCK = 1885824876


@dataclass
class _Count:
    shape: Shape
    searches: int = 0
    rows: float = 0.0
    ms: float = 0.0


_on, _looked = False, -LOOK_SECONDS
_known: OrderedDict[tuple[int, str], Shape | None] = OrderedDict()
_counts: dict[tuple[int, str, str], _Count] = {}
_flushed, _since = -FLUSH_SECONDS, 0


def is_on(db: Database) -> bool:
    """Whether this database has its log on; a session may know it LOOK_SECONDS late."""
    global _on, _looked
    now = time.monotonic()
    if now - _looked >= LOOK_SECONDS:
        _looked = now
        found = db.execute("SELECT FROM pgembed._setting WHERE name OPERATOR(pg_catalog.=) 'filter_log'")
        _on = bool(found)
    return _on


def switch(db: Database, on: bool | None) -> None:
    """Body of `pgembed.set_filter_log`; what was written stays."""
    global _looked
    if on is None:
        raise errors.NullNotAllowed("filter_log is NULL", hint="true counts which filters searches use, false does not.")
    if on:
        db.execute("INSERT INTO pgembed._setting (name, value) VALUES ('filter_log', 'on') ON CONFLICT (name) DO NOTHING")
    else:
        db.execute("DELETE FROM pgembed._setting WHERE name OPERATOR(pg_catalog.=) 'filter_log'")
        _counts.clear()
    _looked = -LOOK_SECONDS


def note(db: Database, column: Column, condition: str, rows: float, ms: float = 0.0) -> None:
    """Count a search by its filter's shape, where the log is on.

    Args:
        column: the embedded column that was searched; of a view, it is counted for the table under it.
        condition: as `planner.proven` returned it.
        rows: that pass the filter, estimated.
        ms: that the search took, where it is known.
    """
    global _since
    if not (_on if time.monotonic() - _looked < LOOK_SECONDS else is_on(db)) or condition == "true":
        return
    found = _shape(db, column, condition)
    if found is None or not found.terms:
        return
    home = column.home or column
    key = (home.table.oid, home.name, found.text)
    count = _counts.get(key)
    if count is None:
        if len(_counts) >= MOST_CACHED:
            return
        count = _counts[key] = _Count(found)
    count.searches += 1
    count.rows += rows
    count.ms += ms
    _since += 1
    if _since >= FLUSH_SEARCHES or time.monotonic() - _flushed >= FLUSH_SECONDS:
        flush(db)


def flush(db: Database) -> None:
    """Write what is counted, with the rights of the extension's owner, where that hinders nobody."""
    global _flushed, _since
    if not _counts:
        return
    _flushed, _since = time.monotonic(), 0
    _harmless(lambda: db.execute("SELECT pgembed._flush_filter_log()"))


def write(db: Database) -> int:
    """Body of `pgembed._flush_filter_log`, which takes nothing from its caller: lines written."""
    may = db.execute(
        "SELECT CASE WHEN pg_catalog.current_setting('transaction_read_only') = 'off'"
        " AND pg_catalog.current_setting('transaction_isolation') <> 'serializable'"
        " THEN pg_catalog.pg_try_advisory_xact_lock($1, 0) ELSE false END AS may",
        ["pg_catalog.int4"],
        [LOCK],
    )[0]["may"]
    if not may or not _counts:
        return 0
    lines = list(_counts.items())
    columns = ["{" + ",".join(_element(name) for name in count.shape.columns) + "}" for _, count in lines]
    written = db.execute(
        "INSERT INTO pgembed._filter_log AS l (target, column_name, shape, columns, terms, searches, rows_sum, ms_total)"
        " SELECT g.target, g.column_name, g.shape, g.columns::pg_catalog.name[], g.terms::pg_catalog.jsonb, g.searches, g.rows_sum,"
        " g.ms_total FROM ROWS FROM (" + ", ".join(f"pg_catalog.unnest(${n})" for n in range(1, 9)) + ")"
        " AS g (target, column_name, shape, columns, terms, searches, rows_sum, ms_total)"
        " JOIN pg_catalog.pg_class AS c ON c.oid = g.target"
        " ON CONFLICT (target, column_name, shape) DO UPDATE SET searches = l.searches + excluded.searches,"
        " rows_sum = l.rows_sum + excluded.rows_sum, ms_total = l.ms_total + excluded.ms_total,"
        " last_used = pg_catalog.clock_timestamp() RETURNING l.target",
        [f"pg_catalog.{kind}[]" for kind in ("oid", "name", "text", "text", "text", "int8", "float8", "float8")],
        [
            [key[0] for key, _ in lines],
            [key[1] for key, _ in lines],
            [key[2] for key, _ in lines],
            columns,
            [count.shape.packed() for _, count in lines],
            [count.searches for _, count in lines],
            [count.rows for _, count in lines],
            [count.ms for _, count in lines],
        ],
    )
    _counts.clear()
    # what this transaction has just written was used last, and is not the first to be forgotten
    db.execute(
        "DELETE FROM pgembed._filter_log AS l USING (SELECT o.target, o.column_name, o.shape, pg_catalog.row_number() OVER"
        " (PARTITION BY o.target ORDER BY o.last_used >= pg_catalog.statement_timestamp() DESC, o.searches DESC, o.last_used DESC) AS place"
        " FROM pgembed._filter_log AS o WHERE o.target = ANY ($1)) AS o"
        " WHERE o.place > $2 AND (l.target, l.column_name, l.shape) = (o.target, o.column_name, o.shape)",
        ["pg_catalog.oid[]", "pg_catalog.int8"],
        [sorted({key[0] for key, _ in lines}), MOST_SHAPES],
    )
    return len(written)


def _shape(db: Database, column: Column, condition: str) -> Shape | None:
    """The shape of a filter, from the session's cache where another differs from it in constants only; None where it has none to tell."""
    from pgembed.advice import shapes  # which a session without the log need not read

    key = (column.table.oid, shapes.key(condition))
    if key in _known:
        _known.move_to_end(key)
        return _known[key]
    found: list[Shape] = []
    _harmless(lambda: found.append(shapes.shape(db, column.table, condition)))
    while len(_known) >= MOST_CACHED:
        _known.popitem(last=False)
    _known[key] = found[0] if found and len(found[0].packed()) <= MOST_PACKED else None
    return _known[key]


def _harmless(work: Callable[[], object]) -> None:
    """Do something that may fail without the search; a cancel is obeyed."""
    try:
        work()
    except Exception as error:
        if str(getattr(error, "sqlstate", ""))[:2] in ("57", "53"):
            raise


def _element(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
