"""A static model: many short texts, in this process and through SQL, against the package model2vec and the tokenizer alone.

All get the same texts, the same tokenizer and the same table of random numbers: how fast a mean is does not depend on what it means.

Physical limit on one core of some 4 GHz: a text of 19 tokens and 83 characters gathers 19 rows of 1 kB from the second or third level
of cache (0.9 us at 20 GB/s) and adds them (0.6 us); its words must be made and looked up, 13 small objects (0.9 us). 2.4 us a text would be
400,000 texts/s. Through SQL a text comes in as a Python string and goes out as 1 kB through three copies, 2 us at least. model2vec spreads
its tokenizer over all cores and, from 10,000 texts on, its batches over threads.

    PGEMBED_URL=$(make -s url) python tests/benchmarks/bench_static.py [--texts 64000]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import report
import tokenizers
from safetensors.numpy import save_file

from pgembed import demo, models
from pgembed.models import static_folder, store

TEACHER, NAME, DIM = "all-minilm-l6-v2", "bench-static-speed", 256


def texts(n: int) -> list[str]:
    """n real texts, 'name: description' of Debian's packages where apt has them (some more than once if need be), else invented ones."""
    chance = random.Random(3)
    found = [f"{name}: {description}" for name, _, _, _, description in demo.debian_packages()]
    if not found:
        words = [
            "library",
            "for",
            "parsing",
            "and",
            "a",
            "fast",
            "terminal",
            "mail",
            "client",
            "files",
            "development",
            "libfoo2",
            "python3",
        ]
        found = [" ".join(chance.choices(words, k=chance.randrange(6, 22))) for _ in range(n)]
    chance.shuffle(found)
    return (found * (n // len(found) + 1))[:n]


def folder(place: Path) -> Path:
    """A Model2Vec folder: the default model's tokenizer, a table of random numbers."""
    tokenizer = json.loads((models.models_dir() / TEACHER / "current" / "tokenizer.json").read_text(encoding="utf-8"))
    rows = max(tokenizer["model"]["vocab"].values()) + 1
    (place / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    (place / "config.json").write_text(json.dumps({"normalize": True, "max_length": 512}), encoding="utf-8")
    save_file({"embeddings": np.random.default_rng(1).standard_normal((rows, DIM)).astype(np.float32)}, place / "model.safetensors")
    return place


@contextmanager
def installed() -> Iterator[Path]:
    """The static model of that folder, installed for a while."""
    with tempfile.TemporaryDirectory() as scratch:
        source = folder(Path(scratch))
        static_folder.install_folder(source, models.models_dir(), NAME, source_label="a benchmark", report=lambda line: None)
        try:
            yield source
        finally:
            store.remove(models.models_dir(), NAME)


def in_turns(rounds: int, runs: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Median seconds of each, taken in turns, after a first run of each that is not counted."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for counted in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if counted:
                found[name].append(time.perf_counter() - start)
    return {name: statistics.median(each) for name, each in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=64_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    options = parser.parse_args()
    if options.quick:
        options.texts, options.rounds = 500, 1
    rows = texts(options.texts)
    with installed() as source:
        measure(source, rows, options.rounds)


def measure(source: Path, rows: list[str], rounds: int) -> None:
    model = models.load(NAME)
    tokenizer = tokenizers.Tokenizer.from_file(str(source / "tokenizer.json"))
    runs: dict[str, Callable[[], Any]] = {}
    try:
        from model2vec import StaticModel
    except ImportError:
        print("model2vec is not installed: pip install model2vec")
    else:
        peer = StaticModel.from_pretrained(source)
        difference = np.abs(peer.encode(rows) - model.encode(rows).vectors).max()
        print(f"largest difference to model2vec's vectors: {difference:.1e}")
        # model2vec switches the tokenizer's threads off in its process, for everybody after it.
        runs["model2vec"] = lambda: peer.encode(rows)
    os.environ["TOKENIZERS_PARALLELISM"] = "true"

    def tokens_alone() -> None:
        os.environ["TOKENIZERS_PARALLELISM"] = "true"
        tokenizer.encode_batch(rows, add_special_tokens=False)

    runs["the tokenizer alone, all cores"] = tokens_alone
    runs["pgembed, the model alone"] = lambda: model.encode(rows)
    with psycopg.connect(os.environ["PGEMBED_URL"], autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pgembed CASCADE")
        connection.execute("CREATE TEMPORARY TABLE bench_static (body text)")
        with connection.cursor().copy("COPY bench_static FROM STDIN") as copy:
            for row in rows:
                copy.write_row((row,))
        # The array is built and the vectors are made; nothing is sent to the client.
        through = "SELECT cardinality(pgembed.embed(array_agg(body), %s)) FROM bench_static"
        runs["pgembed, through SQL"] = lambda: connection.execute(through, [NAME]).fetchone()
        seconds = in_turns(rounds, runs)
        one = single(connection, model, rows[:200])
    peer_seconds = seconds.get("model2vec")
    lines = [
        [
            name,
            int(len(rows) / took),
            1e6 * took / len(rows),
            peer_seconds / took if peer_seconds else None,
            seconds["the tokenizer alone, all cores"] / took,
        ]
        for name, took in seconds.items()
    ]
    header = ["", "texts/s", "us a text", "to model2vec", "to the tokenizer"]
    tokens = statistics.mean(len(found.ids) for found in tokenizer.encode_batch(rows[:1000], add_special_tokens=False))
    note = f"{len(rows):,} texts, {tokens:.1f} tokens each"
    report.show("static", "many short texts with a static model", header, lines, note)
    report.show("static_one", "one short text with a static model, warm, ms", ["", "ms"], [[name, took] for name, took in one.items()])


def single(connection: psycopg.Connection[Any], model: models.Model, rows: list[str]) -> dict[str, float]:
    """Milliseconds for one text that was not embedded before: this process, the server's own time, and a first call on a new connection."""
    statement = "EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) SELECT pgembed.embed(%s || random()::text, %s)"
    direct, server, first = [], [], []
    for row in rows:
        start = time.perf_counter()
        model.encode([row + "?"])
        direct.append(1e3 * (time.perf_counter() - start))
        plan = connection.execute(statement, [row, NAME]).fetchall()[0][0][0]
        server.append(float(plan["Execution Time"]))
    for _ in range(5):
        with psycopg.connect(os.environ["PGEMBED_URL"], autocommit=True) as fresh:
            fresh.execute("SELECT 1")
            start = time.perf_counter()
            fresh.execute("SELECT pgembed.embed('a short text', %s)", [NAME])
            first.append(1e3 * (time.perf_counter() - start))
    named = {"encode in this process": direct, "execution time of the statement": server, "first embed of a connection": first}
    return {name: statistics.median(times) for name, times in named.items()}


if __name__ == "__main__":
    main()
