"""queue: rows that wait to be embedded and for whom nobody comes, columns that are put off, rows that failed."""

from __future__ import annotations

from collections.abc import Iterator

from pgembed import freshness
from pgembed.columns import VECTOR_TYPES, Column
from pgembed.database import Database
from pgembed.diagnosis.findings import ERROR, NOTE, WARNING, Finding, named, text


def of(db: Database, column: Column) -> Iterator[Finding]:
    """What is wrong with the work on a column. Nothing is said of columns that are refreshed by hand alone, but for failed rows."""
    if column.type not in VECTOR_TYPES or column.source_function is None:
        return
    call = f"{named(column.table)}, {text(column.name)}"
    state = db.execute(
        "SELECT q.* FROM pgembed._queue AS q WHERE q.table_name = $1::pg_catalog.oid::pg_catalog.regclass AND q.column_name = $2",
        ["pg_catalog.oid", "pg_catalog.name"],
        [column.table.oid, column.name],
    )
    if not state:
        return
    line = state[0]
    if line["paused_because"] is not None:
        yield Finding(
            ERROR,
            column.label,
            f"work on it is put off until {line['paused_until']}, after {line['pauses']} attempts: {line['paused_because']}",
            f"CALL pgembed.refresh({call})",
        )
    counts = freshness.states(db, column) or {}
    if counts.get("failed"):
        detail = f", {line['parked']} of them for good" if line["parked"] else ""
        yield Finding(
            WARNING,
            column.label,
            f"{counts['failed']} rows failed{detail}; pgembed.failures says why, then what it names is to be mended",
            f"CALL pgembed.refresh({call})",
        )
    waiting = (counts.get("pending") or 0) + (counts.get("stale") or 0)
    if line["expired"]:
        yield Finding(
            WARNING,
            column.label,
            f"{line['expired']} batches were begun and never ended, the oldest at {line['oldest']}: whoever did them has died",
            f"CALL pgembed.work({call})",
        )
    elif waiting and line["paused_because"] is None and not line["workers"]:
        severity, who = (NOTE, "is refreshed by hand") if column.sync == "manual" else (WARNING, "has no worker")
        yield Finding(
            severity,
            column.label,
            f"{waiting} rows wait to be embedded, and the column {who}: pgembed worker, or a job of pg_cron, would do it from now on",
            f"CALL pgembed.work({call})",
        )
