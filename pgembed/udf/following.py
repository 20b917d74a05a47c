"""Keys that row triggers leave to the trigger at the end of their statement: bodies of ``sql/functions/following.sql``.

They are called once a row, so they run no SQL and import nothing.
"""

from __future__ import annotations

# Column, depth of triggers -> keys; of one transaction.
_touched: dict[tuple[str, int], list[str]] = {}
_transaction = ""


def touch(label: str, transaction: str, depth: int, key: str, most: int | None) -> None:
    """Body of `pgembed._touch`."""
    global _transaction
    if transaction != _transaction:
        _touched.clear()
        _transaction = transaction
    keys = _touched.setdefault((label, depth), [])
    if most is None or len(keys) <= most:
        keys.append(key)


def take_touched(label: str, transaction: str, depth: int) -> list[str]:
    """Body of `pgembed._take_touched`."""
    if transaction != _transaction:
        return []
    return list(dict.fromkeys(_touched.pop((label, depth), [])))
