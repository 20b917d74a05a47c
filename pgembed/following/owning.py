"""owning: running what belongs to a table's owner with the owner's rights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pgembed.columns import Table
from pgembed.database import Database

_depth = 0


@contextmanager
def by_ourselves() -> Iterator[None]:
    """While pgembed alters tables itself, and writes the registry with it, `pgembed.renaming` follows nothing."""
    global _depth
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1


def is_by_ourselves() -> bool:
    """Whether an ALTER of now is one of pgembed's own."""
    return _depth > 0


@contextmanager
def as_owner(db: Database, found: Table) -> Iterator[None]:
    """Run what belongs to the table's owner with the owner's rights, whoever calls, and put the role back.

    Raises:
        errors.InsufficientPrivilege: the caller may not become the owner.
    """
    found.must_own()
    before = db.execute("SELECT current_user::pg_catalog.text AS is_now, pg_catalog.current_setting('role') AS role")[0]
    with by_ourselves():
        if before["is_now"] == found.owner:
            yield
            return
        set_role(db, found.owner)
        try:
            yield
        finally:
            set_role(db, str(before["role"]))


def set_role(db: Database, role: str) -> None:
    """Become a role for the rest of the transaction; ``none`` is the session's own."""
    db.execute("SELECT pg_catalog.set_config('role', $1, true)", ["pg_catalog.text"], [role])
