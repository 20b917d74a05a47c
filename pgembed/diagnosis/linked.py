"""linked: what can be wrong with linkers: what they read is gone, has changed, or does not say any more when it changes."""

from __future__ import annotations

from collections.abc import Iterator

from pgembed import columns
from pgembed.database import Database
from pgembed.diagnosis.findings import ERROR, WARNING, Finding, named, text
from pgembed.linkers import following


def of(db: Database) -> Iterator[Finding]:
    """Findings about the linkers of the caller's tables."""
    rows = db.execute(
        "SELECT l.name, l.status, l.trained_at IS NOT NULL AS trained FROM pgembed.linkers AS l"
        " WHERE l.status OPERATOR(pg_catalog.<>) 'ready' AND (SELECT pg_catalog.bool_and(pg_catalog.pg_has_role(c.relowner, 'USAGE'))"
        " FROM pg_catalog.pg_class AS c WHERE c.oid OPERATOR(pg_catalog.=) ANY (l.targets)) ORDER BY l.name"
    )
    for row in rows:
        what, _, how = str(row["status"]).partition(": ")
        if what == "model of its column changed":
            said = "it was trained with vectors of another model, and links as if it were untrained"
            yield Finding(WARNING, row["name"], said, f"CALL pgembed.train_linker({text(row['name'])})")
        else:
            # what is to be read instead only people know
            said = f"{what}, so it links nothing. pgembed.{how}() mends that; the remedy forgets the linker and what it has learned"
            yield Finding(ERROR, row["name"], said, f"SELECT pgembed.drop_linker({text(row['name'])})")
    for oid in following.untold(db):
        table = columns.table(db, str(oid))[0]
        yield Finding(
            WARNING,
            table.name,
            "triggers that tell linkers of changed rows are gone or disabled, so every call of theirs compares all rows",
            f"SELECT * FROM pgembed.repair({named(table)})",
        )
