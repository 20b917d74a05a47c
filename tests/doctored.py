"""What doctor says of a database, and its remedies, run as they stand."""

from __future__ import annotations

from support import Connection


def found(db: Connection, subject: str = "") -> list[tuple[str, str, str, str]]:
    """Lines of doctor whose subject or finding contains a text."""
    lines = db.execute("SELECT * FROM pgembed.doctor()").fetchall()
    return [line for line in lines if subject in line[1] or subject in line[2]]


def mended(db: Connection, said: str) -> str:
    """Run the remedy of the one finding that says this; then it is gone. The remedy."""
    (line,) = [line for line in found(db) if said in line[2]]
    db.execute(line[3].encode())
    assert [line for line in found(db) if said in line[2]] == []
    return str(line[3])
