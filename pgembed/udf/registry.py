"""registry: how checked code writes tables that nobody else may write.

PostgreSQL does not tell a SECURITY DEFINER function who called it: `current_user` is its owner, `session_user` is whoever logged in, and
neither is the role whose rights must be checked. So the check is made outside, in a function with the caller's rights and
`current_user`, and the statement to run is left in the memory of the backend's interpreter, where only our own code can put it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

import plpy

from pgembed import errors
from pgembed.database import Row
from pgembed.udf import boundary
from pgembed.udf.connection import DATABASE

_generation = 0
_pending: tuple[str, tuple[str, ...], tuple[object, ...]] | None = None
_told: list[Row] = []


class Owned(Protocol):
    """A table, or the database."""

    def must_own(self) -> None:
        """Raise where the caller does not own it."""
        ...


def write_for(table: Owned, statement: str, types: Sequence[str], values: Sequence[object]) -> None:
    """Run one statement on the registry with the rights of the extension's owner.

    Args:
        table: the table, or the database, that the line is about.
        statement: one of ours, a constant.
    Raises:
        errors.InsufficientPrivilege: the caller does not own it.
    """
    global _pending, _generation
    table.must_own()
    _generation += 1
    _pending = (statement, tuple(types), tuple(values))
    try:
        DATABASE.execute("SELECT pgembed._write_registry()")
    finally:
        _pending = None


def ask_for(table: Owned, statement: str, types: Sequence[str], values: Sequence[object]) -> list[Row]:
    """As `write_for`, of a statement that returns rows, on tables that say who works on what: no cache is about these."""
    global _pending, _told
    table.must_own()
    _pending = (statement, tuple(types), tuple(values))
    try:
        DATABASE.execute("SELECT pgembed._write_registry()", keep=True)
        return _told
    finally:
        _pending, _told = None, []


def changed() -> None:
    """Say that this session has written what the caches are about, in another way than by `write_for`."""
    global _generation
    _generation += 1


def generation() -> int:
    """A number that changes whenever this session writes the registry, for caches of what it says."""
    return _generation


@boundary
def write() -> int:
    """Body of `pgembed._write_registry`."""
    global _pending, _told
    if _pending is None:
        raise errors.InsufficientPrivilege(
            "pgembed._write_registry() is called by pgembed itself only",
            hint="Use the functions that make, change and drop embeddings, codecs, columns of codes, linkers and models.",
        )
    statement, types, values = _pending
    _pending = None
    done = _plan(statement, types).execute(list(values))
    _told = list(done)
    return int(done.nrows())


@lru_cache(maxsize=64)
def _plan(statement: str, types: tuple[str, ...]) -> Any:
    """Apart from other plans: one keeps the search_path that it was made with."""
    return plpy.prepare(statement, list(types))
