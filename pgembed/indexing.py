"""indexing: the vector index of a large column, which refresh builds once the column is full, and a worker concurrently."""

from __future__ import annotations

from pgembed import columns, naming
from pgembed.columns import Column, quote
from pgembed.database import Database

# Below this, comparing every vector is faster than an index scan and cannot miss.
INDEX_ROWS = 5_000
INDEX_MEMORY_LIMIT = 1 << 20  # kB of maintenance_work_mem taken for building an index, where fewer are set
MOST_DIMS = {"vector": 2000, "halfvec": 4000}  # pgvector's own
# Whoever builds an index concurrently holds this advisory lock of the table. Not a number that another program would choose.
_LOCK = 1_347_570_757
_BIG = "pg_catalog.int8"


def build(db: Database, column: Column) -> None:
    """Build the vector index once the column is full: row by row it would cost several times as much."""
    if column.index_name is not None:
        return
    counted = db.execute(f"SELECT pg_catalog.count({column.sql}) AS n FROM {column.place}")[0]["n"]
    if counted < INDEX_ROWS or not fits(column):
        return
    if not take_turn_until_commit(db, column.table.oid):
        db.notice(f"a worker builds the index of {column.label}")
        return
    before = set_memory(db, memory(db, column, counted))
    db.execute(statement(db, column))
    set_memory(db, before)
    db.notice(f"built an hnsw index over {counted} {'rows' if column.chunks is None else 'chunks'} of {column.label}")


def fits(column: Column) -> bool:
    """Whether pgvector can index vectors of that type and dimension."""
    return 0 < (column.dim or 0) <= MOST_DIMS.get(column.type, 0)


def is_large(db: Database, column: Column) -> bool:
    """Whether a column has so many vectors that an index serves."""
    counted = db.execute(
        f"SELECT pg_catalog.count(*) AS n FROM (SELECT FROM {column.place} AS t WHERE t.{column.sql} IS NOT NULL LIMIT {INDEX_ROWS}) AS c"
    )
    return int(counted[0]["n"]) >= INDEX_ROWS


def statement(db: Database, column: Column, *, concurrently: bool = False) -> str:
    """CREATE INDEX, by a name that says what it is of, where that is free."""
    name = naming.clip(f"{column.table.name}_{column.name}", "_idx")
    taken = db.execute(
        "SELECT FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE n.nspname = $1 AND c.relname = $2",
        ["pg_catalog.text", "pg_catalog.text"],
        [column.table.schema, name],
    )
    called = "" if taken else f"{quote(name)} "  # PostgreSQL finds a free one
    opclass = f"{column.vector_schema}.{column.type}_{columns.OPCLASSES[column.metric]}"
    how = "CONCURRENTLY " if concurrently else ""
    return f"CREATE INDEX {how}{called}ON {column.place} USING hnsw ({column.sql} {opclass})"


def memory(db: Database, column: Column, rows: float) -> str:
    """maintenance_work_mem for building an index: for the vectors and some 32 neighbours each, and what is set where that is more."""
    needed = int(max(0.0, rows) * ((column.dim or 0) * 4 + 512) / 1024)
    found = db.execute("SELECT setting::pg_catalog.int8 AS kb FROM pg_catalog.pg_settings WHERE name = 'maintenance_work_mem'")
    return f"{min(INDEX_MEMORY_LIMIT, max(int(found[0]['kb']), needed))}kB"


def set_memory(db: Database, value: str) -> str:
    """Set maintenance_work_mem for the transaction; what it was."""
    before = db.execute("SELECT pg_catalog.current_setting('maintenance_work_mem') AS now")[0]["now"]
    db.execute("SELECT pg_catalog.set_config('maintenance_work_mem', $1, true)", ["pg_catalog.text"], [value])
    return str(before)


def key(number: int) -> str:
    """SQL for the second half of an advisory lock's key, the OID in parameter ``number``, which may be above what an int4 has."""
    return f"(${number} - CASE WHEN ${number} > 2147483647 THEN 4294967296 ELSE 0 END)::pg_catalog.int4"


def take_turn(db: Database, table: int) -> bool:
    """Whether this session may build indexes of a table concurrently now; until it ends, nobody else of ours does."""
    asked = f"SELECT pg_catalog.pg_try_advisory_lock($1, {key(2)}) AS got"
    return bool(db.execute(asked, ["pg_catalog.int4", _BIG], [_LOCK, table])[0]["got"])


def take_turn_until_commit(db: Database, table: int) -> bool:
    """The same for whoever builds in its own transaction, with whose end the turn ends. Looking whether somebody has it is not enough: a
    worker that has just looked itself would build the same index again."""
    asked = f"SELECT pg_catalog.pg_try_advisory_xact_lock($1, {key(2)}) AS got"
    return bool(db.execute(asked, ["pg_catalog.int4", _BIG], [_LOCK, table])[0]["got"])


def end_turn(db: Database, table: int) -> None:
    """The opposite of `take_turn`."""
    db.execute(f"SELECT pg_catalog.pg_advisory_unlock($1, {key(2)})", ["pg_catalog.int4", _BIG], [_LOCK, table])


def is_being_built(db: Database, table: int) -> bool:
    """Whether some session has the turn."""
    asked = (
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks AS l WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.classid = $1"
        " AND l.objid = $2 AND l.granted AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d"
        " WHERE d.datname = pg_catalog.current_database())) AS yes"
    )
    return bool(db.execute(asked, ["pg_catalog.oid", "pg_catalog.oid"], [_LOCK, table])[0]["yes"])
