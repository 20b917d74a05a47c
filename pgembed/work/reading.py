"""reading: rows by their keys, with their source texts, which are evaluated with the rights of the table's owner."""

from __future__ import annotations

from collections.abc import Sequence

from pgembed import errors
from pgembed.columns import Column, quote
from pgembed.database import Database, Row

# What stands before a hash in the hash column; see sql/functions/freshness.sql.
STALE, CUT, STALE_CUT, HAND, STALE_HAND, FAILED = b"\x00", b"\x01", b"\x02", b"\x03", b"\x04", b"\xff"
NEEDY = "'pending', 'stale'"
_KEYS = ["pg_catalog.text[]"]


def source_call(column: Column) -> str:
    """SQL for the source text of the row t."""
    assert column.source_function is not None  # checked before any work begins
    return column.source_function.call("t", without=[column.name, str(column.hash_column)])


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
        f"SELECT m.key, t.{quote(str(column.hash_column))} AS hash, {source_call(column)} AS source"
        f" FROM {_listed(column)} WHERE {is_in(column, 't', states)} ORDER BY m.position"
    )
    try:
        with db.subtransaction():
            return evaluate(db, column, statement, _KEYS, [list(keys)])
    except Exception as error:
        if not is_data_error(error):
            raise
        if version is not None:
            failed = {"sqlstate": sqlstate_of(error), "error": said(error), "version": version}
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


def evaluate(db: Database, column: Column, statement: str, types: Sequence[str], values: Sequence[object]) -> list[Row]:
    """Run a statement that evaluates the source, where that has no rights but the table owner's.

    Having become the owner is not enough: what runs under SET ROLE may RESET it, but not inside of a SECURITY DEFINER function. The
    owner could have changed the function, also while an earlier statement evaluated it.
    """
    assert column.source_function is not None
    found = db.execute(
        "SELECT p.prosecdef AND p.proowner = t.relowner AS fenced FROM pg_catalog.pg_proc AS p, pg_catalog.pg_class AS t"
        " WHERE p.oid = $1::pg_catalog.regproc AND t.oid = $2",
        ["pg_catalog.text", "pg_catalog.oid"],
        [column.source_function.name, column.table.oid],
    )
    if not found or not found[0]["fenced"]:
        raise errors.NotReady(
            f"the source of {column.label} would not be evaluated with the rights of the table's owner",
            hint=f"After a change of owner: ALTER ROUTINE {column.source_function.name} OWNER TO {quote(column.table.owner)}, and so for"
            f" {column.trigger_function}. Else pgembed.alter_embedding(..., source => '...') makes the function anew.",
        )
    return db.execute(statement, types, values)


def is_data_error(error: Exception) -> bool:
    """An error of the row's data or of the source's own code, not of the server, a lock, a limit or a cancel."""
    sqlstate = getattr(error, "sqlstate", None)
    return isinstance(sqlstate, str) and sqlstate[:2] in ("22", "23", "38", "39", "P0", "2F", "21")


def is_servers(error: Exception) -> bool:
    """An error that says nothing of row, source or model: a cancel, a lock, a conflict, a full disk, a lost connection, a bug of ours."""
    sqlstate = getattr(error, "sqlstate", None)
    if isinstance(error, errors.PgembedError) or not isinstance(sqlstate, str):
        return False
    return sqlstate[:2] in ("08", "25", "40", "53", "55", "57", "58", "72", "XX")


def sqlstate_of(error: BaseException) -> str:
    """The SQLSTATE of an error; internal_error where it has none."""
    return str(getattr(error, "sqlstate", None) or "XX000")


def said(error: BaseException) -> str:
    """What an error says, in one line or a few; it may quote a row."""
    told = getattr(getattr(error, "diag", None), "message_primary", None) or getattr(error, "message", None) or str(error)
    kind = "" if getattr(error, "sqlstate", None) else f"{type(error).__name__}: "
    return f"{kind}{told}".replace("\x00", " ").strip()[:2000] or type(error).__name__
