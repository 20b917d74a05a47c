"""Claims of rows as SQL makes them, and what is kept of rows that failed."""

from __future__ import annotations

from support import Connection

Claimed = tuple[int, list[str], int]


def claim(db: Connection, worker: str = "me", *, batch_size: int = 5, lease: str = "5 min", target: str | None = None) -> Claimed | None:
    row = db.execute(
        "SELECT claim, keys, attempts FROM pgembed._claim_work(%s, %s, batch_size => %s, lease => %s::interval)",
        [worker, target, batch_size, lease],
    ).fetchone()
    return None if row is None else (row[0], list(row[1]), row[2])


def must_claim(db: Connection, worker: str = "me", *, batch_size: int = 5, lease: str = "5 min") -> Claimed:
    found = claim(db, worker, batch_size=batch_size, lease=lease)
    assert found is not None
    return found


def failures(db: Connection) -> list[tuple[str | None, int, str, bool]]:
    """Key, attempts, SQLSTATE and whether it is parked."""
    return [
        tuple(row) for row in db.execute("SELECT key, attempts, sqlstate, next_try IS NULL FROM pgembed.failures ORDER BY key").fetchall()
    ]
