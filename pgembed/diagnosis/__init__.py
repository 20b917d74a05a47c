"""diagnosis: what is wrong in a database, each with the statement that mends it. It changes nothing.

Told is what the caller can mend: of the tables that are the caller's own, or those of a role that the caller is a member of.
"""

from __future__ import annotations

from collections.abc import Iterator

from pgembed import columns
from pgembed.columns import Column
from pgembed.database import Database
from pgembed.diagnosis import embedded, installation, linked, measured, queue
from pgembed.diagnosis.findings import SEVERITIES, Finding

__all__ = ["Finding", "examine", "other_version"]

other_version = installation.other_version


def examine(db: Database) -> list[Finding]:
    """All that is wrong, errors first; [] where nothing is."""
    found = [*installation.of(db), *embedded.unregistered(db)]
    for column in _columns(db):
        found += [*embedded.of(db, column), *queue.of(db, column)]
    found += [*embedded.invalid_indexes(db), *measured.codecs(db), *measured.codes(db), *measured.calibrations(db)]
    found += [*measured.adapters(db), *linked.of(db), *queue.workers(db)]
    return sorted(found, key=lambda one: SEVERITIES.index(one.severity))


def _columns(db: Database) -> Iterator[Column]:
    rows = db.execute(
        "SELECT DISTINCT t.oid, t.relname FROM pgembed._embedding AS e"
        " JOIN pg_catalog.pg_class AS t ON t.oid OPERATOR(pg_catalog.=) e.table_name"
        " WHERE pg_catalog.pg_has_role(t.relowner, 'USAGE') ORDER BY t.relname, t.oid"
    )
    for row in rows:
        yield from columns.table(db, str(row["oid"]))[1]
