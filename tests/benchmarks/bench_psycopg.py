"""What a client pays to send and to read codes and vectors with psycopg: `pgembed.psycopg` against pgvector's own registration.

Physical limit: bytes are copied once into what libpq sends, and none need be copied of what it has received; numbers of vectors are, for
they cross in the other byte order. The time is the client's CPU's, so that the server's is not in it.

    PGEMBED_URL=$(make -s url) python tests/benchmarks/bench_psycopg.py [--quick]
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import psycopg
import report
from pgvector import Bit, Vector

from pgembed.psycopg import as_numpy, register

BITS, DIM = 384, 384


def per_value(work: Callable[[], object], number: int) -> float:
    """Microseconds of this process's CPU for each value: the best of three."""
    found = []
    for _ in range(3):
        begin = time.process_time()
        work()
        found.append(time.process_time() - begin)
    return min(found) / number * 1e6


def send(connection: psycopg.Connection[Any], column: str, kind: str, values: Callable[[], Iterable[object]]) -> None:
    connection.execute("TRUNCATE sent")
    with connection.cursor().copy(f"COPY sent ({column}) FROM STDIN WITH (FORMAT BINARY)") as copy:
        copy.set_types([kind])
        for value in values():
            copy.write_row((value,))


def read(connection: psycopg.Connection[Any], column: str, *, arrays: bool) -> list[Any]:
    with connection.cursor(binary=True) as cursor:
        if arrays:
            as_numpy(cursor)
        return [row[0] for row in cursor.execute(f"SELECT {column} FROM sent").fetchall()]


def main() -> None:
    parser = argparse.ArgumentParser(description="what a client pays to send and read codes and vectors")
    parser.add_argument("--quick", action="store_true", help="a tenth of the values")
    number = 10_000 if parser.parse_args().quick else 100_000
    url = os.environ.get("PGEMBED_URL")
    if not url:
        sys.exit("PGEMBED_URL is not set: make -s url starts a server and prints it")
    picker = np.random.default_rng(1)
    codes = picker.integers(0, 256, (number, BITS // 8), np.uint8)
    vectors = picker.standard_normal((number // 4, DIM), np.float32)
    rows: list[list[report.Cell]] = []

    def measured(what: str, ours: Callable[[], object], theirs: Callable[[], object], count: int) -> None:
        mine, peer = per_value(ours, count), per_value(theirs, count)
        rows.append([what, mine, peer, mine / peer])

    with psycopg.connect(url) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pgembed CASCADE")
        register(connection)
        connection.execute(f"CREATE TEMP TABLE sent (code pgembed.binvec({BITS}), plain bit({BITS}), v vector({DIM}))")
        measured(
            f"an array of {BITS} packed bits, by COPY in binary",
            lambda: send(connection, "code", "pgembed.binvec", lambda: codes),
            lambda: send(connection, "plain", "bit", lambda: (Bit(code.tobytes()) for code in codes)),
            number,
        )
        measured(
            "an array of packed bits, read",
            lambda: read(connection, "plain", arrays=True),
            # pgvector reads bits as psycopg does, as text
            lambda: [np.packbits(Bit(row[0]).to_numpy()) for row in connection.execute("SELECT plain FROM sent").fetchall()],
            number,
        )
        send(connection, "v", "vector", lambda: (Vector(vector) for vector in vectors))
        measured(
            f"an array of {DIM} numbers of a vector, read",
            lambda: read(connection, "v", arrays=True),
            lambda: [vector.to_numpy() for vector in read(connection, "v", arrays=False)],
            len(vectors),
        )
        connection.rollback()
    header = ["microseconds of the client's CPU", "pgembed.psycopg", "pgvector.psycopg", "ratio"]
    report.show("psycopg", f"{number:,} codes of {BITS} bits and {number // 4:,} vectors over psycopg", header, rows)


if __name__ == "__main__":
    main()
