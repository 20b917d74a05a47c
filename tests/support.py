"""What several test modules share: names of types, and helpers that are no fixtures."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import psycopg

Connection = psycopg.Connection[Any]
Refused = Callable[..., psycopg.Error]
Notices = list[Any]
Connect = Callable[[Connection], Connection]
AsRole = Callable[[Connection, str], AbstractContextManager[None]]
MakeRole = Callable[..., str]

PATIENCE = 60.0  # seconds after which another session is taken for stuck
EAST = "'[1,0,0]'::vector"


def states(db: Connection, table: str = "product") -> list[str]:
    found = db.execute(f"SELECT pgembed.freshness(embedding, embedding_hash) FROM {table} ORDER BY id").fetchall()
    return [row[0] for row in found]


def counts(db: Connection, table: str = "product") -> dict[str, int]:
    """What pgembed.embeddings counts, zeros left out."""
    names = ("fresh", "stale", "pending", "failed", "null_source")
    row = db.execute(f"SELECT {', '.join(names)} FROM pgembed.embeddings WHERE table_name = %s::regclass", [table]).fetchone()
    assert row is not None
    return {name: number for name, number in zip(names, row, strict=True) if number}


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)


def names(db: Connection, arguments: str) -> list[str]:
    """Names of the spots that a search finds, in order of rank."""
    return [row[0] for row in db.execute(f"SELECT (item).name FROM pgembed.search(NULL::spot, {arguments}) ORDER BY rank").fetchall()]


def grow(db: Connection) -> None:
    """Add spots, far from the east and all different, with an index, and let there seem to be so many that search takes it."""
    db.execute(
        """
        INSERT INTO spot SELECT n, 'filler', n, ARRAY[-1, cos(n), sin(n)]::vector FROM generate_series(6, 12000) AS n;
        CREATE INDEX ON spot USING hnsw (e vector_cosine_ops) WITH (m = 4, ef_construction = 16);
        """
    )
    db.execute("ANALYZE spot; UPDATE pg_class SET reltuples = 1000000 WHERE oid = 'spot'::regclass")


def explained(db: Connection, arguments: str, *, execute: bool = False) -> dict[str, str]:
    """How a search would be answered, or, where it is run, how it was."""
    return dict(db.execute(f"SELECT property, value FROM pgembed.explain_search({arguments}, execute => {execute})").fetchall())


def objects(db: Connection) -> list[Any]:
    """Columns of the table product, and everything in the schema public that is not an extension's."""
    return db.execute(
        """
        SELECT 'column', attname::text FROM pg_attribute WHERE attrelid = to_regclass('product') AND attnum > 0 AND NOT attisdropped
        UNION ALL SELECT 'trigger', tgname::text FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
            WHERE NOT tgisinternal AND relnamespace <> 'pgembed'::regnamespace
        UNION ALL SELECT 'function', proname::text FROM pg_proc AS p WHERE pronamespace = 'public'::regnamespace
            AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e')
        ORDER BY 1, 2
        """
    ).fetchall()


def found_chunks(db: Connection, arguments: str, function: str = "search") -> list[tuple[int, str | None]]:
    """Ids of the documents that a search finds, in order of rank, and their nearest chunks."""
    statement = f"SELECT (item).id, chunk FROM pgembed.{function}(NULL::doc, {arguments}) ORDER BY rank"
    return [(row[0], row[1]) for row in db.execute(statement).fetchall()]


def vacuum(db: Connection, table: str) -> None:
    """VACUUM ANALYZE until every page is known to be visible to all: another session's snapshot, such as autovacuum's, may delay that."""
    end = time.monotonic() + PATIENCE
    while True:
        db.execute(f"VACUUM ANALYZE {table}")
        seen = db.execute("SELECT relallvisible >= relpages FROM pg_class WHERE oid = %s::regclass", [table]).fetchone()
        if seen == (True,):
            return
        assert time.monotonic() < end, f"{table} cannot be vacuumed"
        time.sleep(0.2)
