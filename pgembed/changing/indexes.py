"""indexes: those that the column of the new model lacks, made after those of the old one."""

from __future__ import annotations

from dataclasses import dataclass

from pgembed import columns, indexing
from pgembed.columns import Column, quote
from pgembed.database import Database


@dataclass(frozen=True)
class Missing:
    """An index that is to be built.

    Attributes:
        tail: of CREATE INDEX, from USING on.
        whole: it is over all rows, not partial.
    """

    tail: str
    whole: bool


def missing(db: Database, old: Column, new: Column) -> list[Missing]:
    """The vector indexes of the old column that the new one has no like of; by default the one that refresh builds over a large table."""
    wanted = _like(db, old, new)
    there = {tail for tail, _ in _like(db, new, new)}
    if not wanted and not there and indexing.is_large(db, old):
        wanted = [(f"USING hnsw ({new.sql} {new.vector_schema}.{new.type}_{columns.OPCLASSES[new.metric]})", True)]
    if not indexing.fits(new):
        return []
    return [Missing(tail, whole) for tail, whole in wanted if tail not in there]


def statements(column: Column, found: list[Missing], *, concurrently: bool) -> list[str]:
    """CREATE INDEX, one for each; of a partitioned table PostgreSQL builds none concurrently."""
    how = "CONCURRENTLY " if concurrently and (column.table.relkind != "p" or column.chunks is not None) else ""
    return [f"CREATE INDEX {how}ON {column.place} {one.tail}" for one in found]


def build(db: Database, old: Column, new: Column) -> int:
    """Build what is missing, now; returns how many. Writers of the table wait meanwhile."""
    found = missing(db, old, new)
    if not found:
        return 0
    before = indexing.set_memory(db, indexing.memory(db, new, new.rows if new.chunks is None else new.chunks.lines))
    for statement in statements(new, found, concurrently=False):
        db.execute(statement)
    indexing.set_memory(db, before)
    return len(found)


def _like(db: Database, column: Column, named: Column) -> list[tuple[str, bool]]:
    """Tails of CREATE INDEX of a column's valid vector indexes, as they would be over the column ``named``; and whether they are whole."""
    rows = db.execute(
        "SELECT am.amname, oc.opcname, y.typname, n.nspname, ic.reloptions::pg_catalog.text[] AS options, x.indpred IS NULL AS whole,"
        " pg_catalog.pg_get_expr(x.indpred, x.indrelid) AS condition FROM pg_catalog.pg_index AS x"
        " JOIN pg_catalog.pg_class AS ic ON ic.oid = x.indexrelid JOIN pg_catalog.pg_am AS am ON am.oid = ic.relam"
        " JOIN pg_catalog.pg_opclass AS oc ON oc.oid = x.indclass[0] JOIN pg_catalog.pg_namespace AS n ON n.oid = oc.opcnamespace"
        " JOIN pg_catalog.pg_attribute AS a ON a.attrelid = x.indrelid AND a.attnum = x.indkey[0]"
        " JOIN pg_catalog.pg_type AS y ON y.oid = a.atttypid"
        " WHERE x.indrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass($1) AND (a.attnum = $2 OR $2 IS NULL AND a.attname = $3)"
        " AND x.indnatts = 1 AND x.indisvalid AND am.amname IN ('hnsw', 'ivfflat')"
        # one whose condition reads the column itself would be about the other's vectors
        " AND (x.indpred IS NULL OR x.indpred::pg_catalog.text NOT LIKE pg_catalog.format('%%:varattno %s %%', a.attnum))"
        " ORDER BY x.indpred IS NOT NULL, ic.relname",
        ["pg_catalog.text", "pg_catalog.int4", "pg_catalog.text"],
        # the column of a table of chunks is always called so
        [column.place, column.number, columns.CHUNK_VECTOR],
    )
    made: list[tuple[str, bool]] = []
    for row in rows:
        options = f" WITH ({', '.join(_option(one) for one in row['options'])})" if row["options"] else ""
        where = "" if row["whole"] else f" WHERE {row['condition']}"
        tail = f"USING {row['amname']} ({named.sql} {quote(row['nspname'])}.{quote(row['opcname'])}){options}{where}"
        if (tail, row["whole"]) not in made:
            made.append((tail, row["whole"]))
    return made


def _option(said: str) -> str:
    name, _, value = said.partition("=")
    return f"{quote(name)} = {columns.literal(value)}"
