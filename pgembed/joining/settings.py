"""settings: settings of PostgreSQL's that hold while a block runs, changed and put back in one statement each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pgembed.database import Database

# What was set is read before it is set: the inner query is done first, row by row.
_STATEMENT = (
    "SELECT b.name, b.before, pg_catalog.set_config(b.name, b.wanted, true) FROM (SELECT w.name, w.wanted,"
    " pg_catalog.current_setting(w.name, true) AS before FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2))"
    " AS w (name, wanted) OFFSET 0) AS b"
)


@contextmanager
def changed(db: Database, wanted: Mapping[str, str]) -> Iterator[None]:
    """Settings while a block runs; after an error the transaction takes them back."""
    before = {row["name"]: row["before"] for row in _set(db, wanted)}
    yield
    # one that was not there before has no value to go back to; it ends with the transaction
    _set(db, {name: value for name, value in before.items() if value})


def _set(db: Database, wanted: Mapping[str, str]) -> list[dict[str, str]]:
    return [dict(row) for row in db.execute(_STATEMENT, ["pg_catalog.text[]"] * 2, [list(wanted), list(wanted.values())])]
