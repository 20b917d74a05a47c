"""reading: rows by their keys, with their source texts, which are evaluated with the rights of the table's owner."""

from __future__ import annotations

from collections.abc import Sequence

from pgembed import faults
from pgembed.columns import Column, quote
from pgembed.database import Database, Row
from pgembed.following import evaluating

# What stands before a hash in the hash column; see sql/functions/freshness.sql.
STALE, CUT, STALE_CUT, HAND, STALE_HAND, FAILED = b"\x00", b"\x01", b"\x02", b"\x03", b"\x04", b"\xff"
NEEDY = "'pending', 'stale'"
_KEYS = ["pg_catalog.text[]"]


def is_in(column: Column, alias: str, states: str) -> str:
    """SQL that is true for the rows in some states, as the predicate of the work index says it."""
    return f"{column.freshness(alias)} IN ({states})"


def count(db: Database, column: Column) -> int:
    """How many rows refresh would embed."""
    rows = db.execute(
        f"SELECT pg_catalog.count(*) AS n FROM {column.table.sql} AS t WHERE {is_in(column, 't', NEEDY + ', ' + quoted('failed'))}"
    )
    return int(rows[0]["n"])


def quoted(state: str) -> str:
    """A state in SQL."""
    return f"'{state}'"


def page(db: Database, column: Column, states: str, after: str | None, limit: int) -> list[Row]:
    """Keys of the next rows in some states, in the order of the key, each with whether it has failed; sources are not evaluated.

    Args:
        after: the key of the last row before; None from the beginning.
    """
    names = ", ".join(f"t.{name}" for name, _ in column.table.keys)
    beyond = f" AND ({names}) > ({_key_values(column, '$1')})" if after is not None else ""
    return db.execute(
        f"SELECT {column.table.key_text('t')} AS key, {column.freshness('t')} = 'failed' AS has_failed FROM {column.table.sql} AS t"
        f" WHERE {is_in(column, 't', states)}{beyond} ORDER BY {names} LIMIT {limit}",
        ["pg_catalog.text"] if after is not None else [],
        [after] if after is not None else [],
        keep=True,
    )


def still(db: Database, column: Column, states: str, keys: Sequence[str]) -> list[str]:
    """Those of some rows that are in some states, in the order of ``keys``."""
    rows = db.execute(
        f"SELECT m.key FROM {_listed(column)} WHERE {is_in(column, 't', states)} ORDER BY m.position",
        _KEYS,
        [list(keys)],
    )
    return [str(row["key"]) for row in rows]


def rows(db: Database, column: Column, keys: Sequence[str], states: str, version: str | None = None) -> list[Row]:
    """The rows of some keys that are in some states: key, source, stored hash. One whose source fails has error and sqlstate instead, and
    its version, which is another one as soon as somebody writes the row.
    """
    statement = (
        f"SELECT m.key, t.{quote(str(column.hash_column))} AS hash, {evaluating.source_call(column)} AS source"
        f" FROM {_listed(column)} WHERE {is_in(column, 't', states)} ORDER BY m.position"
    )
    try:
        with db.subtransaction():
            return evaluating.evaluate(db, column, statement, _KEYS, [list(keys)])
    except Exception as error:
        if not faults.is_data_error(error):
            raise
        if version is not None:
            failed = {"sqlstate": faults.sqlstate_of(error), "error": faults.said(error), "version": version}
            return [{"key": keys[0], "hash": None, "source": None, **failed}]
    # Some row's source fails.
    if len(keys) == 1:
        # it fails in this version, if not in one that is newer still
        found = db.execute(f"SELECT t.xmin::pg_catalog.text AS version FROM {_listed(column)}", _KEYS, [list(keys)])
        return rows(db, column, keys, states, found[0]["version"]) if found else []
    middle = len(keys) // 2
    return [*rows(db, column, keys[:middle], states), *rows(db, column, keys[middle:], states)]


def lock(db: Database, column: Column, keys: Sequence[str], how: str) -> list[str]:
    """Lock rows as an update does, and return the keys of those that are.

    Args:
        how: ``SKIP LOCKED``, or '' to wait for others.
    """
    found = db.execute(f"SELECT m.key FROM {_listed(column)} FOR NO KEY UPDATE OF t {how}", _KEYS, [list(keys)])
    return [str(row["key"]) for row in found]


def _listed(column: Column) -> str:
    """The rows of the keys in the parameter $1, as t, beside key and position, as m."""
    return (
        "ROWS FROM (pg_catalog.unnest($1)) WITH ORDINALITY AS m (key, position)"
        f" JOIN {column.table.sql} AS t ON {column.table.key_matches('t', 'm.key')}"
    )


def _key_values(column: Column, parameter: str) -> str:
    """The values of a key that a parameter holds as text."""
    keys = column.table.keys
    if len(keys) == 1:
        return f"{parameter}::{keys[0][1]}"
    return ", ".join(f"({parameter}::pg_catalog.jsonb->>{position})::{kind}" for position, (_, kind) in enumerate(keys))
