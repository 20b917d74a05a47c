"""isolation: the level at which work is done, whatever the session's default is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pgembed.database import Database


@contextmanager
def read_committed(db: Database) -> Iterator[None]:
    """Run a block whose transactions are at READ COMMITTED, whatever the session's default is; it begins and ends with a commit.

    At the other levels a transaction would not see what others have claimed, and one writer beside it would end the whole.
    """
    name = "default_transaction_isolation"
    before = str(db.execute("SELECT pg_catalog.current_setting($1) AS level", ["pg_catalog.text"], [name])[0]["level"])
    if before == "read committed":
        yield
        return
    try:
        _set(db, name, "read committed")
        db.commit()
        yield
    finally:
        # committed, or an error on its way would take it back
        _set(db, name, before)
        db.commit()


def _set(db: Database, name: str, value: str) -> None:
    db.execute("SELECT pg_catalog.set_config($1, $2, false)", ["pg_catalog.text", "pg_catalog.text"], [name, value])
