"""Freshness as callers see it: bodies of ``sql/functions/freshness_seen.sql``."""

from __future__ import annotations

from typing import Any

from pgembed import columns, freshness, history
from pgembed.udf import boundary, registry
from pgembed.udf.connection import DATABASE


@boundary
def states() -> list[dict[str, Any]]:
    """Body of `pgembed._embeddings`."""
    tables = DATABASE.execute(
        # by number: to name a table of a schema that the caller may not enter is an error
        "SELECT DISTINCT t.oid FROM pgembed._embedding AS e JOIN pg_catalog.pg_class AS t ON t.oid OPERATOR(pg_catalog.=) e.table_name"
    )
    described = [column for row in tables for column in columns.table(DATABASE, str(row["oid"]))[1]]
    lines = []
    for column in described:
        if column.type not in columns.VECTOR_TYPES:
            continue
        counts = freshness.states(DATABASE, column)
        if counts is not None:
            lines.append({"table_name": str(column.table.oid), "column_name": column.name, **counts})
    return lines


@boundary
def wait_for(target: str | None, timeout: str | None, column_name: str | None) -> bool:
    """Body of `pgembed.wait_for`."""
    seconds = None
    if timeout is not None:
        given = DATABASE.execute("SELECT EXTRACT(epoch FROM $1)::pg_catalog.float8 AS seconds", ["pg_catalog.interval"], [timeout])
        seconds = given[0]["seconds"]
    return freshness.wait_for(DATABASE, target, column_name, seconds)


@boundary
def note(target: str | None, column_name: str | None, apart: str | None) -> bool:
    """Body of `pgembed._note_freshness`."""
    return history.note(DATABASE, registry.ask_for, columns.column(DATABASE, target, column_name), apart or "0")
