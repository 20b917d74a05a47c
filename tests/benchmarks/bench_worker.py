"""The worker process: its rate against the model's own, two workers against one, and what waking a worker costs writers.

Physical limit: the arithmetic of the model is the same on both sides, so a worker cannot be faster than the model by itself in a plain
process. What it adds, claims, reading and writing, is done by one thread while the model computes for another.

    PGEMBED_URL=$(make -s url) python tests/benchmarks/bench_worker.py [--rows 20000] [--model all-minilm-l6-v2]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import report
from bench_embed import texts
from psycopg import conninfo

from pgembed import models, postgres

PAGE = 1000
CLIENTS = 16
PATIENCE = 3600.0

Connection = psycopg.Connection[Any]


@contextlib.contextmanager
def database(url: str) -> Iterator[str]:
    """A database of this run's own; its URL."""
    name = f"pgembed_bench_worker_{os.getpid()}"
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        try:
            yield conninfo.make_conninfo(url, dbname=name)
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextlib.contextmanager
def workers(db: Connection, url: str, count: int, *arguments: str) -> Iterator[None]:
    """So many workers, ready; they end with the block."""
    made = [
        subprocess.Popen(
            [sys.executable, "-P", "-m", "pgembed.cli", "worker", url, "--name", f"w{number}", *arguments], stderr=subprocess.DEVNULL
        )
        for number in range(count)
    ]
    try:
        until(db, f"SELECT count(*) = {count} FROM pgembed.workers WHERE state <> 'gone'")
        yield
    finally:
        for process in made:
            process.send_signal(signal.SIGTERM)
        for process in made:
            process.wait()


def until(db: Connection, condition: str) -> None:
    """Wait until a query says true."""
    end = time.monotonic() + PATIENCE
    while db.execute(condition).fetchone() != (True,):
        if time.monotonic() > end:
            raise TimeoutError(condition)
        time.sleep(0.1)


def plain(name: str, found: list[str]) -> float:
    """Texts a second of the model in this process."""
    model = models.load(name)
    model.encode(found[:100])
    begun = time.perf_counter()
    for at in range(0, len(found), PAGE):
        model.encode(found[at : at + PAGE])
    return len(found) / (time.perf_counter() - begun)


def rate(db: Connection, url: str, model: str, found: list[str], count: int, rest: float) -> tuple[float, int]:
    """Rows a second of so many workers that have their models loaded, and how often a row was written.

    Args:
        rest: seconds until backends have told their counts, which they do now and then.
    """
    db.execute("CREATE TABLE thing (id int PRIMARY KEY, body text)")
    db.execute("SELECT pgembed.add_embedding('thing', 'body', %s, sync => 'queued')", [model])
    db.execute("INSERT INTO thing SELECT -n, 'to load the model ' || n FROM generate_series(1, %s) AS n", [100 * count])
    fresh = "SELECT NOT EXISTS (SELECT FROM thing WHERE pgembed.freshness(embedding, embedding_hash) IN ('pending', 'stale'))"
    updates = "SELECT pg_stat_clear_snapshot(), pg_stat_get_tuples_updated('thing'::regclass)"
    with workers(db, url, count, "--batch-size", "50"):
        until(db, fresh)
    with workers(db, url, count):
        db.execute("UPDATE thing SET body = body || '.' WHERE id < 0")
        until(db, fresh)
        time.sleep(rest)
        before = counted(db, updates)
        with db.cursor().copy("COPY thing (id, body) FROM STDIN") as copy:
            for number, text in enumerate(found):
                copy.write_row((number, text))
        begun = time.perf_counter()
        until(db, fresh)
        took = time.perf_counter() - begun
    time.sleep(rest)
    written = counted(db, updates) - before
    db.execute("SELECT pgembed.drop_embedding('thing', 'embedding')")
    db.execute("DROP TABLE thing")
    return len(found) / took, written


def counted(db: Connection, statement: str) -> int:
    row = db.execute(statement).fetchone()
    assert row is not None
    return int(row[-1])


def transactions(url: str, seconds: int, rounds: int) -> float:
    """Transactions a second of 16 clients that insert one row each; in no seconds each makes a few."""
    system = postgres.Postgres.find()
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write("INSERT INTO written (body) VALUES ('x');\n")
        script.flush()
        best = 0.0
        for _ in range(rounds):
            command = [
                str(Path(system.bindir) / "pgbench"),
                "-n",
                "-c",
                str(CLIENTS),
                "-j",
                "2",
                *(("-T", str(seconds)) if seconds else ("-t", "10")),
                "-f",
                script.name,
                url,
            ]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            found = re.search(r"tps = ([\d.]+)", said)
            assert found is not None, said
            best = max(best, float(found[1]))
    return best


def waking(db: Connection, url: str, seconds: int, rounds: int) -> None:
    """What it costs 16 writers to wake a worker."""
    db.execute("CREATE TABLE written (id bigserial PRIMARY KEY, body text)")
    db.execute("CREATE FUNCTION ring() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NOTIFY pgembed_bench; RETURN NULL; END'")
    trigger = "CREATE OR REPLACE TRIGGER t AFTER INSERT ON written FOR EACH STATEMENT EXECUTE FUNCTION"
    lines: list[tuple[str, float]] = []

    def measure(label: str) -> None:
        lines.append((label, transactions(url, seconds, rounds)))
        db.execute("TRUNCATE written")

    measure("no trigger")
    condition = "NOT pg_catalog.pg_try_advisory_xact_lock_shared(1885824365, 2002873189)"  # as embedded tables have it
    db.execute(f"{trigger} pgembed._wake_after()".replace("EXECUTE", f"WHEN ({condition}) EXECUTE"))
    measure("no worker")
    with workers(db, url, 1, "--awake", "10000"):
        measure("a worker that is awake")
    with workers(db, url, 1, "--awake", "1"):
        until(db, "SELECT bool_and(state = 'asleep') FROM pgembed.workers")
        measure("a worker that sleeps when they begin")
    db.execute(f"{trigger} ring()")
    measure("a notification in every transaction")
    first = lines[0][1]
    report.show(
        "worker_waking",
        f"{CLIENTS} writers of single rows: transactions a second (best of {rounds} runs of {seconds} s)",
        ("", "a second", "share"),
        [(label, found, found / first) for label, found in lines],
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--model", default="all-minilm-l6-v2")
    parser.add_argument("--seconds", type=int, default=5, help="of each run of pgbench")
    parser.add_argument("--rounds", type=int, default=3, help="of pgbench; the best counts")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=("rate", "waking"))
    options = parser.parse_args()
    rows, seconds, rounds, rest = (40, 0, 1, 0.0) if options.quick else (options.rows, options.seconds, options.rounds, 12.0)
    url = os.environ.get("PGEMBED_URL")
    if not url:
        raise SystemExit("PGEMBED_URL is not set: PGEMBED_URL=$(make -s url) python tests/benchmarks/bench_worker.py")
    runs: list[Callable[[Connection, str], None]] = []
    if options.only != "waking":
        runs.append(lambda db, own: rates(db, own, options.model, rows, rest))
    if options.only != "rate":
        runs.append(lambda db, own: waking(db, own, seconds, rounds))
    with database(url) as own, psycopg.connect(own, autocommit=True) as db:
        db.execute("CREATE EXTENSION pgembed CASCADE")
        for run in runs:
            run(db, own)


def rates(db: Connection, url: str, model: str, rows: int, rest: float) -> None:
    """Workers against the model by itself."""
    found = texts(rows)
    alone = plain(model, found)
    one, once = rate(db, url, model, found, 1, rest)
    two, twice = rate(db, url, model, found, 2, rest)
    again = plain(model, found[: rows // 4])
    report.show(
        "worker_rate",
        f"{rows} rows of {model}: texts a second",
        ("", "a second", "share", "writes of a row"),
        [
            ("the model by itself", alone, 1.0, None),
            ("one worker", one, one / alone, once / rows),
            ("two workers", two, two / alone, twice / rows),
            ("the model by itself, a quarter, at the end", again, again / alone, None),
        ],
    )


if __name__ == "__main__":
    main()
