"""Embedding inside the database against the same model in a plain process, in one run.

Physical limit: the arithmetic of the model is the same on both sides, so the ratio cannot exceed 1. What the database adds to a row is
reading the text, cutting it into tokens, 1.5 kB of vector across the border and into the heap, and the index, where there is one. What it
adds to one text is a statement: parsing, planning, one call of PL/Python, one look at the registry.

    PGEMBED_URL=$(make -s url) python tests/benchmarks/bench_embed.py
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import time
from collections.abc import Callable
from itertools import groupby
from typing import Any

import numpy as np
import psycopg
import report

from pgembed import demo, models
from pgembed.models import runtime, threads, transformer

BATCH = 1000  # rows, refresh's default


def texts(n: int) -> list[str]:
    """n real texts of mixed lengths: Debian's package catalogue where there is one, else generated ones."""
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


def one_text(connection: psycopg.Connection[Any], model: str, rounds: int) -> tuple[float, float, float]:
    """Milliseconds for one short text never seen before: a client's statement, the same inside the server, and a plain process."""
    direct = models.load(model)
    statement, server, plain = [], [], []
    inside = "SELECT pgembed.embed(%s, %s)"
    connection.execute(
        """
        CREATE OR REPLACE FUNCTION pg_temp.embed_ms(content text, model text) RETURNS float8 LANGUAGE plpgsql AS $$
        DECLARE began timestamptz := clock_timestamp(); made vector;
        BEGIN
            made := pgembed.embed(content, model);
            RETURN 1000 * extract(epoch FROM clock_timestamp() - began);
        END $$
        """
    )
    for position in range(rounds + 5):
        said = [f"a light waterproof jacket for children, number {position}{suffix}" for suffix in "abc"]
        statement.append(1000 * seconds(lambda said=said: connection.execute(inside, [said[0], model], binary=True).fetchone()))
        plain.append(1000 * seconds(lambda said=said: direct.encode([said[1]])))
        server.append(float(connection.execute("SELECT pg_temp.embed_ms(%s, %s)", [said[2], model]).fetchall()[0][0]))
    return statistics.median(statement[5:]), statistics.median(server[5:]), statistics.median(plain[5:])


def first_use(url: str, model: str, rounds: int) -> float:
    """Milliseconds of the first embed on a new connection, the connection itself not counted."""
    found = []
    for _ in range(rounds):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SELECT 1")
            found.append(1000 * seconds(lambda: connection.execute("SELECT pgembed.embed('a short text', %s)", [model])))
    return statistics.median(found)


def batches(model: Any, rows: list[str]) -> list[Any]:
    """The very calls of onnxruntime that a refresh of these rows makes."""
    made = []
    for start in range(0, len(rows), BATCH):
        tokens, _ = model._tokenize(rows[start : start + BATCH], models.no_check)
        for length, group in groupby(sorted(tokens, key=len), key=len):
            same = list(group)
            step = max(1, transformer.BATCH_TOKENS // length)
            made += [np.array(same[at : at + step], np.int64) for at in range(0, len(same), step)]
    return made


def bare_session(model: str) -> Any:
    """onnxruntime on the model's graph, nothing of ours around it."""
    onnxruntime = runtime.imported()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads.thread_count()
    options.log_severity_level = 3
    path = str(models.models_dir() / model / "current" / "model.onnx")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def refresh(connection: psycopg.Connection[Any], model: str, rows: list[str], *, index: bool) -> tuple[float, float]:
    """Rows a second: refresh of a fresh table, and onnxruntime in this process on the same batches."""
    connection.execute("DROP TABLE IF EXISTS bench_embed")
    connection.execute("CREATE TABLE bench_embed (id int PRIMARY KEY, body text)")
    with connection.cursor().copy("COPY bench_embed FROM STDIN") as copy:
        for position, text in enumerate(rows):
            copy.write_row((position, text))
    connection.execute("SELECT pgembed.add_embedding('bench_embed', 'body', model => %s)", [model])
    connection.execute("SELECT pgembed.embed('warm', %s)", [model])
    session = bare_session(model)
    feeds = [{"input_ids": ids, "attention_mask": np.ones_like(ids)} for ids in batches(models.load(model), rows)]

    def plain() -> None:
        for feed in feeds:
            session.run(["embedding"], feed)

    for feed in feeds[:20]:
        session.run(["embedding"], feed)
    before = seconds(plain)
    inside = seconds(lambda: connection.execute("CALL pgembed.refresh('bench_embed', build_index => %s)", [index]))
    after = seconds(plain)
    connection.execute("DROP TABLE bench_embed")
    return len(rows) / inside, len(rows) / statistics.mean((before, after))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--models", nargs="*", help="which (default: all that are installed)")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    options = parser.parse_args()
    if options.quick:
        options.rows, options.rounds = 100, 5
    rows = texts(options.rows)
    url = os.environ["PGEMBED_URL"]
    chosen = [info for info in models.installed() if not options.models or info.name in options.models]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pgembed CASCADE")
        lines = []
        for info in chosen:
            statement, server, plain = one_text(connection, info.name, options.rounds)
            first = first_use(url, info.name, max(3, options.rounds // 20))
            lines.append([info.name, statement, server, plain, server - plain, first])
        report.show(
            "one_text",
            "one short text, milliseconds, median",
            ["model", "statement", "in the server", "plain process", "server - plain", "first on a connection"],
            lines,
        )
        lines = []
        for info in [info for info in chosen if info.kind == "transformer"]:
            for index in (False, True):
                inside, plain = refresh(connection, info.name, rows, index=index)
                lines.append([info.name + (", with its index" if index else ""), inside, plain, inside / plain])
        note = "the plain process only runs the graph, on batches of token numbers that are ready"
        header = ["model", "refresh, rows/s", "onnxruntime, rows/s", "ratio"]
        report.show("refresh", f"refresh of {len(rows):,} rows against onnxruntime with the same batches", header, lines, note)


if __name__ == "__main__":
    main()
