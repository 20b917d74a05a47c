"""Embedding inside the database against the same model called directly, in one run.

Physical limit: the arithmetic of the model is the same on both sides, so the ratio cannot exceed 1. What the database adds to a row is
reading the text, 1.5 kB of vector across the border and into the heap, and the index, where there is one.

    PGEMBED_URL=$(make -s url) python tests/benchmarks/bench_embed.py
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import psycopg

from pgembed import demo, models


def texts(n: int) -> list[str]:
    """n real texts of mixed lengths: Debian's package catalogue where there is one, else what PostgreSQL says of its functions."""
    found = [f"{name}: {description}" for name, _, _, _, description in demo.debian_packages()]
    if len(found) >= n:
        return random.Random(0).sample(found, n)
    words = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "while", "rain", "falls", "on", "an", "old", "bridge"]
    picker = random.Random(0)
    return [f"{i}: " + " ".join(picker.choices(words, k=picker.randint(4, 24))) for i in range(n)]


def seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def one_text(connection: psycopg.Connection[Any], model: str, rounds: int) -> tuple[float, float]:
    """Milliseconds for one short text never seen before: in the database (round trip included), and directly."""
    direct = models.load(model)
    inside, outside = [], []
    for position in range(rounds + 5):
        text = f"a light waterproof jacket for children, number {position}"
        inside.append(seconds(lambda text=text: connection.execute("SELECT pgembed.embed(%s, %s)", [text, model], binary=True).fetchone()))
        outside.append(seconds(lambda text=text: direct.encode([text])))
    return 1000 * statistics.median(inside[5:]), 1000 * statistics.median(outside[5:])


def refresh(connection: psycopg.Connection[Any], model: str, rows: list[str], *, index: bool) -> tuple[float, float]:
    """Rows a second: refresh of a fresh table, and the model directly on the same texts."""
    connection.execute("DROP TABLE IF EXISTS bench_embed")
    connection.execute("CREATE TABLE bench_embed (id int PRIMARY KEY, body text)")
    with connection.cursor().copy("COPY bench_embed FROM STDIN") as copy:
        for position, text in enumerate(rows):
            copy.write_row((position, text))
    connection.execute("SELECT pgembed.add_embedding('bench_embed', 'body', model => %s)", [model])
    direct = models.load(model)
    direct.encode(rows[:64])
    outside_before = seconds(lambda: direct.encode(rows))
    inside = seconds(lambda: connection.execute("CALL pgembed.refresh('bench_embed', build_index => %s)", [index]))
    outside_after = seconds(lambda: direct.encode(rows))
    connection.execute("DROP TABLE bench_embed")
    return len(rows) / inside, len(rows) / statistics.mean((outside_before, outside_after))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    options = parser.parse_args()
    if options.quick:
        options.rows, options.rounds = 100, 5
    rows = texts(options.rows)
    with psycopg.connect(os.environ["PGEMBED_URL"], autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pgembed CASCADE")
        print(f"{'what':<44}{'database':>12}{'direct':>12}{'ratio':>8}")
        for info in models.installed():
            inside, outside = one_text(connection, info.name, options.rounds)
            print(f"{'one short text, ms: ' + info.name:<44}{inside:>12.2f}{outside:>12.2f}{outside / inside:>8.2f}", flush=True)
        for info in models.installed():
            for index in (False, True):
                inside, outside = refresh(connection, info.name, rows, index=index)
                what = f"refresh, rows/s{', index' if index else ''}: {info.name}"
                print(f"{what:<44}{inside:>12.0f}{outside:>12.0f}{inside / outside:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
