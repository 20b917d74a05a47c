"""faults: whose an error is, of a row's data or of the server, and what it says, whichever driver raised it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pgembed import errors

KEYS = "A key is given as text, a composite one as a JSON array."


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


def is_lost_name(error: BaseException) -> bool:
    """An error of a table, column or schema that was renamed or dropped since it was described."""
    return sqlstate_of(error) in ("42P01", "42703", "3F000")


def sqlstate_of(error: BaseException) -> str:
    """The SQLSTATE of an error; internal_error where it has none."""
    return str(getattr(error, "sqlstate", None) or "XX000")


def said(error: BaseException) -> str:
    """What an error says, in one line or a few; it may quote a row."""
    told = getattr(getattr(error, "diag", None), "message_primary", None) or getattr(error, "message", None) or str(error)
    kind = "" if getattr(error, "sqlstate", None) else f"{type(error).__name__}: "
    return f"{kind}{told}".replace("\x00", " ").strip()[:2000] or type(error).__name__


@contextmanager
def keys_of(table: str, key: str | None = None) -> Iterator[None]:
    """Run a statement that reads keys which somebody gave as text, and say so where one is none.

    Args:
        table: its name, for the message.
        key: the only one; None where there are several, of which PostgreSQL does not say which it was.
    Raises:
        errors.StatementRefused: a text is no key of the table; with PostgreSQL's SQLSTATE, of class 22.
    """
    try:
        yield
    except errors.PgembedError:
        raise
    except Exception as error:
        sqlstate = sqlstate_of(error)
        if sqlstate[:2] != "22":
            raise
        which = "a key is none" if key is None else f'"{key}" is no key'
        raise errors.StatementRefused(f"{which} of {table}: {error}", sqlstate=sqlstate, hint=KEYS) from None
