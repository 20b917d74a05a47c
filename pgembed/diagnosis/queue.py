"""queue: rows that wait to be embedded and for whom nobody comes, columns that are put off, rows that failed."""

from __future__ import annotations

from collections.abc import Iterator

from pgembed import freshness
from pgembed.columns import VECTOR_TYPES, Column
from pgembed.database import Database
from pgembed.diagnosis.findings import ERROR, NOTE, WARNING, Finding, named, text


def workers(db: Database) -> Iterator[Finding]:
    """Workers that leave columns to others, of the caller's or for the caller's tables: what they say names these."""
    rows = db.execute(
        "SELECT w.name, w.host, w.problem FROM pgembed.workers AS w JOIN pg_catalog.pg_stat_activity AS a ON a.pid = w.pid"
        " WHERE w.problem IS NOT NULL AND w.state <> 'gone' AND (pg_catalog.pg_has_role(a.usesysid, 'USAGE') OR EXISTS ("
        "SELECT FROM pgembed._embedding AS e JOIN pg_catalog.pg_class AS t ON t.oid OPERATOR(pg_catalog.=) e.table_name"
        " WHERE pg_catalog.pg_has_role(t.relowner, 'USAGE') AND pg_catalog.pg_has_role(a.usesysid, t.relowner, 'USAGE'))) ORDER BY 1"
    )
    for row in rows:
        yield Finding(
            WARNING,
            f"worker {row['name']}",
            f"{row['problem']}; its log on {row['host'] or 'its machine'} says more",
            # what it can do here the server can do: whatever is wrong there, and shows here too if it is not that machine's fault
            "CALL pgembed.work()",
        )


def of(db: Database, column: Column) -> Iterator[Finding]:
    """What is wrong with the work on a column. Nothing is said of columns that are refreshed by hand alone, but for failed rows."""
    if column.type not in VECTOR_TYPES or column.source_function is None:
        return
    call = f"{named(column.table)}, {text(column.name)}"
    state = db.execute(
        "SELECT q.* FROM pgembed._queue AS q"
        " WHERE q.table_name OPERATOR(pg_catalog.=) $1::pg_catalog.oid::pg_catalog.regclass AND q.column_name = $2",
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
