"""A model is changed while a table is written and searched: errors, searches that mix two spaces, and what it costs searches.

Rows are made of 2,000 words; the new model is a static one that gives every word the vector which the old one gives its neighbour, so a
query of one space compared with vectors of the other finds the wrong word, at distance 0. Each search asks for one word and must find a row
of it. Writers insert rows, and give others another word. p95 of searches is asked to be at most twice that before.

    PGEMBED_URL=$(make -s url) python tests/benchmarks/bench_change.py [--rows 20000] [--rate 20] [--quick]
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import report

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import shifted

WORDS = 2_000
DIM = 128
DATABASE = "pgembed_bench_change"


@dataclass
class Seen:
    """What clients have met: milliseconds by phase, wrong answers, errors."""

    phase: str = "before"
    searches: dict[str, list[float]] = field(default_factory=dict)
    writes: dict[str, list[float]] = field(default_factory=dict)
    mixed: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)


def word(number: int) -> str:
    return "w" + "".join(chr(97 + number // 26**place % 26) for place in (2, 1, 0))


def prepare(connection: psycopg.Connection[Any], rows: int, sync: str) -> None:
    connection.execute("CREATE EXTENSION pgembed CASCADE")
    shifted.word = word  # more words than the tests need
    shifted.register(connection.execute, "old", "new", dim=DIM, words=WORDS)
    connection.execute("CREATE TABLE bench_change (id int PRIMARY KEY, body text)")
    with connection.cursor().copy("COPY bench_change FROM STDIN") as copy:
        for number in range(rows):
            copy.write_row((number, word(number % WORDS)))
    connection.execute("SELECT pgembed.add_embedding('bench_change', 'body', 'old', sync => %s)", [sync])
    connection.execute("CALL pgembed.refresh('bench_change')")
    connection.execute("VACUUM (ANALYZE) bench_change")


def client(
    url: str, rate: float, seen: Seen, act: Callable[[psycopg.Connection[Any], random.Random], None], kept: dict[str, list[float]]
) -> None:
    """Act so many times a second, whatever an act takes: a late one is not left out."""
    drawn = random.Random(id(act))
    with psycopg.connect(url, dbname=DATABASE, autocommit=True) as connection:
        due = time.perf_counter()
        while not seen.stopped.is_set():
            due += 1 / rate
            time.sleep(max(0.0, due - time.perf_counter()))
            begun, phase = time.perf_counter(), seen.phase
            try:
                act(connection, drawn)
            except psycopg.Error as error:
                seen.errors.append(f"{seen.phase}: {error.sqlstate} {error}")
                if connection.closed:
                    return
            kept.setdefault(phase, []).append(1000 * (time.perf_counter() - begun))


def run(url: str, rows: int, rate: float, seconds: float) -> Seen:
    seen = Seen()

    def search(connection: psycopg.Connection[Any], drawn: random.Random) -> None:
        asked = word(drawn.randrange(WORDS))
        found = connection.execute(
            "SELECT (item).body, distance FROM pgembed.search(NULL::bench_change, %s, k => 5) ORDER BY rank LIMIT 1", [asked]
        ).fetchall()
        if not found or found[0][0] != asked:
            seen.mixed.append(f"{seen.phase}: {asked} found {found}")

    added = iter(range(rows, 1 << 30))

    def write(connection: psycopg.Connection[Any], drawn: random.Random) -> None:
        # rows of every word that is asked for stay as they are: the first WORDS of the table
        if drawn.random() < 0.5:
            connection.execute("INSERT INTO bench_change VALUES (%s, %s)", [next(added), word(drawn.randrange(WORDS))])
        else:
            at = drawn.randrange(WORDS, rows)
            connection.execute("UPDATE bench_change SET body = %s WHERE id = %s", [word(drawn.randrange(WORDS)), at])

    threads = [
        threading.Thread(target=client, args=(url, rate, seen, search, seen.searches)),
        threading.Thread(target=client, args=(url, rate, seen, write, seen.writes)),
    ]
    with psycopg.connect(url, dbname=DATABASE, autocommit=True) as connection:
        for thread in threads:
            thread.start()
        try:
            for phase, act in (
                ("before", lambda: time.sleep(seconds)),
                ("change_model", lambda: change(connection)),
                ("switch and back, 5 times", lambda: exchange(connection, seconds / 10)),
                ("after", lambda: time.sleep(seconds)),
                ("finish", lambda: connection.execute("SELECT pgembed.finish_model_change('bench_change', timeout => '60 s')")),
            ):
                seen.phase = phase
                begun = time.perf_counter()
                act()
                print(f"{phase}: {time.perf_counter() - begun:.1f} s")
        finally:
            seen.stopped.set()
            for thread in threads:
                thread.join()
        check(connection)
    return seen


def change(connection: psycopg.Connection[Any]) -> None:
    """With the index built concurrently, as somebody would who cannot let writers wait."""
    connection.execute("CALL pgembed.change_model('bench_change', 'new', build_index => false, switch => false)")
    for (statement,) in connection.execute("SELECT pgembed.model_change_indexes('bench_change')").fetchall():
        connection.execute(statement)
    connection.execute("CALL pgembed.change_model('bench_change', 'new')")


def exchange(connection: psycopg.Connection[Any], pause: float) -> None:
    for _ in range(5):
        connection.execute("SELECT pgembed.rollback_model('bench_change', timeout => '60 s')")
        time.sleep(pause)
        connection.execute("SELECT pgembed.switch_model('bench_change', allow_missing => true, timeout => '60 s')")
        time.sleep(pause)


def check(connection: psycopg.Connection[Any]) -> None:
    """Every vector is its row's, of the new model, or the row says that it is not."""
    connection.execute("CALL pgembed.refresh('bench_change')")
    (wrong,) = connection.execute(
        "SELECT count(*) FROM bench_change JOIN (SELECT w, v FROM (SELECT array_agg(DISTINCT body) AS all_words FROM bench_change) AS a,"
        " LATERAL ROWS FROM (unnest(a.all_words), unnest(pgembed.embed(a.all_words, 'new'))) AS u (w, v)) AS m ON m.w = body"
        " WHERE embedding IS NULL OR (embedding <=> v) > 1e-6"
    ).fetchone() or (None,)
    print(f"vectors that are not their row's text by the new model: {wrong}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rate", type=float, default=20.0, help="writes, and searches, a second")
    parser.add_argument("--seconds", type=float, default=10.0, help="before, and after")
    parser.add_argument("--sync", default="auto")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    options = parser.parse_args()
    if options.quick:
        options.rows, options.seconds = 2_500, 0.5
    url = os.environ["PGEMBED_URL"]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
        connection.execute(f"CREATE DATABASE {DATABASE}")
        try:
            with psycopg.connect(url, dbname=DATABASE, autocommit=True) as inside:
                prepare(inside, options.rows, options.sync)
            seen = run(url, options.rows, options.rate, options.seconds)
        finally:
            with psycopg.connect(url, dbname=DATABASE, autocommit=True) as inside:
                inside.execute("DROP TABLE IF EXISTS bench_change")
                shifted.forget(inside.execute)
            connection.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")

    def figures(kept: dict[str, list[float]], phase: str) -> list[float | int | None]:
        times = sorted(kept.get(phase, []))
        if not times:
            return [0, None, None, None]
        return [len(times), statistics.median(times), times[int(0.95 * (len(times) - 1))], times[-1]]

    lines = [
        [phase, *figures(seen.searches, phase), *figures(seen.writes, phase)[1:]]
        for phase in ("before", "change_model", "switch and back, 5 times", "after", "finish")
    ]
    report.show(
        "change",
        f"A model changed under {options.rate:g} writes and {options.rate:g} searches a second, {options.rows:,} rows",
        ["phase", "searches", "median ms", "p95 ms", "longest", "write median", "p95", "longest"],
        lines,
        f"searches that found another word: {len(seen.mixed)}; errors: {len(seen.errors)}",
    )
    for line in (seen.mixed + seen.errors)[:10]:
        print("  " + line)


if __name__ == "__main__":
    main()
