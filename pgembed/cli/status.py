"""status: the command ``pgembed status``: how fresh all embedded columns are, who works on them, and how far they are."""

from __future__ import annotations

import argparse

from pgembed.cli import connecting
from pgembed.cli.parsing import Group
from pgembed.cli.private import NOT_THERE
from pgembed.cli.showing import show_parts, tell

_EMBEDDINGS = ("table_name", "column_name", "model", "rows", "fresh", "stale", "pending", "failed", "sync")
_WORKERS = ("name", "host", "state", "doing", "rows_done", "rows_failed", "problem", "seen_at")
_PROGRESS = ("pid", "role", "what", "target", "done", "total", "started_at", "eta")


def add_commands(commands: Group) -> None:
    """The command."""
    commands.verb(
        "status",
        _status,
        "say how fresh the embedded columns of a database are, which workers it has, and how far long calls are",
        example=["status postgresql://localhost/shop", "status --json | jq '.embeddings[] | select(.pending > 0).table_name'"],
        database="",
        json=True,
    )


def _status(options: argparse.Namespace) -> int:
    with connecting.session(options) as session:
        embeddings = session.rows("SELECT * FROM pgembed.embeddings ORDER BY table_name::text, column_name")
        workers = session.rows("SELECT * FROM pgembed.workers ORDER BY name")
        progress = session.rows("SELECT * FROM pgembed.progress ORDER BY pid")
    parts = {"embeddings": (embeddings, _EMBEDDINGS), "workers": (workers, _WORKERS), "progress": (progress, _PROGRESS)}
    show_parts(options, parts)
    if not embeddings:
        tell("no column is embedded\nhint: pgembed embedding add TABLE SOURCE gives a table one.")
        return NOT_THERE
    failed = [f"{row['table_name']}.{row['column_name']}" for row in embeddings if row["failed"] or row["last_error"]]
    if failed:
        tell(f"rows have failed: {', '.join(failed)}\nhint: SELECT * FROM pgembed.failures says why; pgembed.retry_failed() tries again.")
    return int(bool(failed))
