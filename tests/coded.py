"""What the tests of searching with codes share: a small table of clustered vectors, and an exact answer to compare with."""

from __future__ import annotations

from typing import Any

import numpy as np
import psycopg

Connection = psycopg.Connection[Any]

DIM, ROWS, CLUSTERS = 16, 600, 12
_RNG = np.random.default_rng(7)
_CENTRES = _RNG.standard_normal((CLUSTERS, DIM))
VECTORS = (_CENTRES[np.arange(ROWS) % CLUSTERS] + 0.4 * _RNG.standard_normal((ROWS, DIM))).astype(np.float32)
QUERIES = (_CENTRES[np.arange(20) % CLUSTERS] + 0.4 * _RNG.standard_normal((20, DIM))).astype(np.float32)


def text(vector: Any) -> str:
    return "[" + ",".join(map(repr, map(float, vector))) + "]"


def fill(db: Connection, table: str, columns: str = "id, section, e") -> None:
    """Rows 0 .. ROWS - 1; the section is the id modulo 10."""
    with db.cursor() as cursor, cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
        for i, vector in enumerate(VECTORS):
            copy.write_row((i, i % 10, text(vector)))


def exact(query: Any, k: int, passes: Any = None) -> list[int]:
    """Ids of the k rows nearest by cosine among those that pass, computed here."""
    ids = np.arange(ROWS) if passes is None else np.flatnonzero(passes)
    held = VECTORS[ids] / np.linalg.norm(VECTORS[ids], axis=1, keepdims=True)
    return [int(i) for i in ids[np.argsort(-(held @ query), kind="stable")[:k]]]


def measured(db: Connection, codec: str, hamming: str = '{"50": 0.999}') -> None:
    """Say what was measured of a codec, instead of measuring."""
    db.execute(
        "UPDATE pgembed._codec SET measured = jsonb_build_object('k', 10, 'hamming', %s::jsonb, 'asymmetric', %s::jsonb,"
        " 'asymmetric_rescore', jsonb_build_object('0.99', 50)) WHERE name = %s",
        [hamming, hamming, codec],
    )


def seem_large(db: Connection, table: str, rows: int = 1_000_000) -> None:
    """Let PostgreSQL estimate so many rows: few are compared exactly, whatever indexes there are."""
    db.execute(f"ANALYZE {table}")
    db.execute("UPDATE pg_class SET reltuples = %s WHERE oid = %s::regclass", [rows, table])
