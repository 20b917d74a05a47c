"""indexing: the vector index that refresh builds once a large column is full."""

from __future__ import annotations

from pgembed import columns, expressions
from pgembed.columns import Column, quote
from pgembed.database import Database

# Below this, comparing every vector is faster than an index scan and cannot miss.
INDEX_ROWS = 5_000
INDEX_MEMORY_LIMIT = 1 << 20  # kB of maintenance_work_mem taken for building an index, where fewer are set


def build(db: Database, column: Column) -> None:
    """Build the vector index once the column is full: row by row it would cost several times as much."""
    if column.index_name is not None:
        return
    counted = db.execute(f"SELECT pg_catalog.count({column.sql}) AS n FROM {column.place}")[0]["n"]
    dim = column.dim or 0
    limit = 2000 if column.type == "vector" else 4000  # pgvector's own
    if counted < INDEX_ROWS or not 0 < dim <= limit:
        return
    name = expressions.clip(f"{column.table.name}_{column.name}", "_idx")
    taken = db.execute(
        "SELECT FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE n.nspname = $1 AND c.relname = $2",
        ["pg_catalog.text", "pg_catalog.text"],
        [column.table.schema, name],
    )
    if taken:
        name = ""  # PostgreSQL finds a free one
    needed = counted * (dim * 4 + 512) // 1024  # kB: vectors and some 32 neighbours each
    before = db.execute(
        "SELECT pg_catalog.current_setting('maintenance_work_mem') AS now, setting::pg_catalog.int8 AS kb"
        " FROM pg_catalog.pg_settings WHERE name = 'maintenance_work_mem'"
    )[0]
    wanted = min(INDEX_MEMORY_LIMIT, max(int(before["kb"]), needed))
    _set(db, "maintenance_work_mem", f"{wanted}kB")
    db.execute(
        f"CREATE INDEX {quote(name) if name else ''} ON {column.place} USING hnsw"
        f" ({column.sql} {column.vector_schema}.{column.type}_{columns.OPCLASSES[column.metric]})"
    )
    _set(db, "maintenance_work_mem", str(before["now"]))
    db.notice(f"built an hnsw index over {counted} {'rows' if column.chunks is None else 'chunks'} of {column.label}")


def _set(db: Database, name: str, value: str) -> None:
    db.execute("SELECT pg_catalog.set_config($1, $2, true)", ["pg_catalog.text", "pg_catalog.text"], [name, value])
