"""How fast a dense join is inside a server: against LATERAL over pgvector's HNSW, against numpy's bare product, and in how much memory.

Right side: 63,166 Debian packages as 'name: description'; left side: the bare descriptions of 10,000 of them. Everything is run in turns,
so that a machine that is busy otherwise slows all alike; what counts is the ratio of the sums.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import corpora
import numpy as np
import numpy.typing as npt
import psycopg

from pgembed.models import threads

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from joined import FUNCTION

Vectors = npt.NDArray[np.float32]
Connection = psycopg.Connection[Any]

LATERAL = (
    "SELECT l.id, n.id FROM (SELECT * FROM {left} ORDER BY id LIMIT {rows}) AS l"
    " CROSS JOIN LATERAL (SELECT r.id FROM {right} AS r ORDER BY r.embedding <=> l.embedding LIMIT {k}) AS n"
)


def product(left: Vectors, right: Vectors) -> None:
    """The bare product in blocks, in as many threads as a join takes."""
    with threads.arithmetic(threads.thread_count()):
        for start in range(0, len(left), 1_000):
            left[start : start + 1_000] @ right.T


def store(connection: Connection, table: str, matrix: Vectors) -> None:
    """A table of vectors, embedded as far as pgembed knows."""
    dim = matrix.shape[1]
    connection.execute(f"DROP TABLE IF EXISTS {table}")
    connection.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, embedding vector({dim}))")
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN (FORMAT binary)") as copy:
        copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8))
        for i, row in enumerate(matrix.astype(">f4")):
            copy.write(struct.pack("!hiiihh", 2, 4, i, 4 + 4 * dim, dim, 0) + row.tobytes())
        copy.write(b"\xff\xff")
    connection.execute("SELECT pgembed.adopt_embedding(%s::regclass, 'embedding')", [table])
    connection.execute(f"VACUUM ANALYZE {table}")


def turns(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Least seconds of each, all run in turns."""
    took = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            took[name] = min(took[name], time.perf_counter() - began)
    return took


def packages() -> tuple[Vectors, Vectors]:
    corpus = corpora.packages()
    descriptions = [text.split(": ", 1)[1] for text in corpus.texts[:10_000]]
    return corpora._vectors(descriptions, corpora.MODEL), corpus.documents


def against_lateral(connection: Connection, left: Vectors, right: Vectors, rounds: int) -> None:
    """10,000 left rows, k = 1 and 10: exact, at a recall of .995, and LATERAL."""
    connection.execute("SET hnsw.ef_search = 40")

    def lateral(k: int) -> list[tuple[int, int]]:
        return connection.execute(LATERAL.format(left="join_left", right="join_right", rows=len(left), k=k)).fetchall()

    def joined(k: int, recall: float) -> list[tuple[int, int]]:
        return connection.execute(
            "SELECT l.id, r.id FROM joined('join_left', 'join_right', k => %s, search_recall => %s) AS j,"
            " unnest(left_places, right_places) AS p (left_place, right_place)"
            " JOIN join_left AS l ON l.ctid = substring(left_place FROM '\\(.*')::tid"
            " JOIN join_right AS r ON r.ctid = substring(right_place FROM '\\(.*')::tid",
            [k, recall],
        ).fetchall()

    for k in (1, 10):
        truth = set(joined(k, 1.0))
        took = turns(
            {
                "bare product": lambda: product(left, right),
                "exact": lambda k=k: joined(k, 1.0),  # type: ignore[misc]
                "recall .995": lambda k=k: joined(k, 0.995),  # type: ignore[misc]
                "LATERAL": lambda k=k: lateral(k),  # type: ignore[misc]
            },
            rounds,
        )
        recalls = {"recall .995": joined(k, 0.995), "LATERAL": lateral(k)}
        print(f"\n{len(left)} x {len(right)}, k = {k}, reading and both rows' keys included")
        for name, seconds in took.items():
            found = len(truth & set(recalls[name])) / len(truth) if name in recalls else 1.0
            print(
                f"  {name:14}{seconds:8.2f} s   {took['LATERAL'] / seconds:5.2f} times as fast as LATERAL,"
                f" {took['bare product'] / seconds:5.2f} of the product's rate, recall {found:.4f}"
            )


def small(connection: Connection, rounds: int) -> None:
    """Few left rows: what the choice by cost takes, beside LATERAL with the index and without."""
    print("\nfew left rows, milliseconds            LATERAL, HNSW   at .95    LATERAL, compared   exact")
    for rows in (1, 5, 20, 50):
        connection.execute("DROP TABLE IF EXISTS join_few")
        connection.execute(f"CREATE TABLE join_few AS SELECT * FROM join_left ORDER BY id LIMIT {rows}")
        connection.execute("SELECT pgembed.adopt_embedding('join_few', 'embedding')")
        connection.execute("ANALYZE join_few")
        statement = LATERAL.format(left="join_few", right="join_right", rows=rows, k=1)

        def compared(statement: str = statement) -> None:
            connection.execute("SET enable_indexscan = off")
            connection.execute(statement)
            connection.execute("SET enable_indexscan = on")

        def joined(recall: float) -> Callable[[], object]:
            return lambda: connection.execute("SELECT * FROM joined('join_few', 'join_right', search_recall => %s)", [recall])

        took = turns(
            {"lateral": lambda s=statement: connection.execute(s), "at": joined(0.95), "compared": compared, "exact": joined(1.0)},  # type: ignore[misc]
            rounds,
        )
        chosen = connection.execute("SELECT took FROM joined('join_few', 'join_right')").fetchone()
        cells = "".join(f"{1000 * took[name]:14.1f}" for name in ("lateral", "at", "compared", "exact"))
        print(f"  {rows:3} rows{'':26}{cells}   exact by {chosen[0] if chosen else ''}")


def large(connection: Connection, rows: int, dim: int = 384) -> None:
    """As many rows on both sides, in bounded memory."""
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(rows // 20, dim))
    for table in ("join_big_left", "join_big_right"):
        made = centres[rng.integers(len(centres), size=rows)] + 0.7 * rng.normal(size=(rows, dim))
        store(connection, table, made.astype(np.float32))
    for memory in ("256MB", "64MB"):
        connection.execute("SELECT set_config('pgembed.join_mem', %s, false)", [memory])
        began = time.perf_counter()
        found = connection.execute(
            "SELECT parts, peak, array_length(ranks, 1) FROM joined('join_big_left', 'join_big_right', watch => true)"
        ).fetchone()
        assert found is not None
        print(
            f"\n{rows} x {rows}, {dim} dimensions, join_mem {memory}: {time.perf_counter() - began:.1f} s, {found[2]} pairs in"
            f" {found[0]} parts; the backend's memory grew by {found[1] / 1024:.0f} MB at most, with all pairs' places as Python has them"
        )
    connection.execute("RESET pgembed.join_mem")
    connection.execute("DROP TABLE join_big_left, join_big_right")


def measure(rounds: int = 3, big: int = 100_000) -> None:
    """All of it; on the server of PGEMBED_URL."""
    with psycopg.connect(os.environ["PGEMBED_URL"], autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pgembed CASCADE")
        connection.execute(FUNCTION)
        left, right = packages()
        store(connection, "join_left", left)
        store(connection, "join_right", right)
        connection.execute("SET maintenance_work_mem = '512MB'")
        connection.execute("CREATE INDEX ON join_right USING hnsw (embedding vector_cosine_ops)")
        against_lateral(connection, left, right, rounds)
        small(connection, 2 * rounds)
        if big:
            large(connection, big)
        connection.execute("DROP TABLE join_left, join_right, join_few")


if __name__ == "__main__":
    measure(int(sys.argv[1]) if len(sys.argv) > 1 else 3, int(sys.argv[2]) if len(sys.argv) > 2 else 100_000)
