"""Linking to a table of 107,525 rows by SQL: the synsets of Open English WordNet, their relations, and an embedded column as context.

A part of bench_linking.py; a script by itself too: ``PGEMBED_URL=$(make -s url) python tests/benchmarks/link_wordnet.py [--quick]``.

Seconds to embed, to index and to declare are wall time, in whole: what somebody waits for until the first link. Texts are WordNet's own
examples, which describe no row here; each is linked by a statement of its own over a connection, and the first call of a session reads and
compiles all rows. A row is changed by another session, which is noted by a trigger; the call after that sees it.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
import random
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import link_data
import psycopg
from report import Promise, promises, show

Connection = psycopg.Connection[Any]

MODEL = "all-minilm-l6-v2-int8"
TABLES = """
DROP TABLE IF EXISTS bench_relation, bench_synset;
CREATE TABLE bench_synset (id text PRIMARY KEY, name text, others text[], kind text, definition text);
CREATE TABLE bench_relation (synset text REFERENCES bench_synset, relation text, target text REFERENCES bench_synset);
"""
DECLARED = """
SELECT pgembed.create_linker('bench_wordnet', 'bench_synset', names => 'name', aliases => 'others', types => 'kind',
    context => 'embedding', relations => '[{"table": "bench_relation", "from": "synset", "to": "target", "relation": "relation"}]')
"""
LINK = "SELECT mention, (entity).id, decision FROM pgembed.link(NULL::bench_synset, %s)"


def lines(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def load(connection: Connection, folder: Path, most: int | None) -> list[str]:
    """Fill the tables; the examples, in an order that the seed gives."""
    connection.execute("CREATE EXTENSION IF NOT EXISTS pgembed CASCADE")
    known, examples = set(), []
    connection.execute("SELECT pgembed.drop_linker(name) FROM pgembed.linkers WHERE name = 'bench_wordnet'")
    connection.execute(TABLES.encode())
    with connection.cursor().copy("COPY bench_synset FROM STDIN") as copy:
        for row in lines(folder / "synsets.csv.gz"):
            if most is not None and len(known) == most:
                break
            known.add(row["synset"])
            first, *others = row["lemmas"].split("|")
            copy.write_row((row["synset"], first, others, row["lexfile"].split(".")[-1], row["definition"]))
            examples += [text for text in row["examples"].split("|") if len(text.split()) > 3]
    with connection.cursor().copy("COPY bench_relation FROM STDIN") as copy:
        for row in lines(folder / "relations.csv.gz"):
            if row["synset"] in known and row["target"] in known:
                copy.write_row((row["synset"], row["relation"].replace("_", " "), row["target"]))
    connection.execute(
        "CREATE INDEX ON bench_relation (synset); CREATE INDEX ON bench_relation (target); ANALYZE bench_relation, bench_synset"
    )
    random.Random(5).shuffle(examples)
    return examples


def seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def wordnet(*, quick: bool, data: Path = link_data.DATA) -> list[Promise]:
    """Run it; what was asked beside what came of it.

    Raises:
        SystemExit: no server is named, or the data is absent.
    """
    url, folder = os.environ.get("PGEMBED_URL"), data / "kg" / "oewn"
    if not url or not folder.is_dir():
        print("skipped: needs PGEMBED_URL" if not url else f"skipped: {folder} is absent")
        raise SystemExit(0)
    n = 20 if quick else 200
    with psycopg.connect(url, autocommit=True) as connection, psycopg.connect(url, autocommit=True) as writer:
        texts = load(connection, folder, 3_000 if quick else None)
        count = connection.execute("SELECT count(*) FROM bench_synset").fetchone()
        connection.execute("SELECT pgembed.add_embedding('bench_synset', 'definition', %s)", [MODEL])
        steps = {"embed": seconds(lambda: connection.execute("CALL pgembed.refresh('bench_synset')"))}
        connection.execute("SET maintenance_work_mem = '512MB'")
        steps["index"] = seconds(lambda: connection.execute("CREATE INDEX ON bench_synset USING hnsw (embedding vector_cosine_ops)"))
        steps["declare"] = seconds(lambda: connection.execute(DECLARED.encode()))
        with psycopg.connect(url, autocommit=True) as reader:

            def ask(text: str) -> float:
                began = time.perf_counter()
                found.append([decision for _, _, decision in reader.execute(LINK, [text]).fetchall()])
                return time.perf_counter() - began

            found: list[list[str]] = []
            first = ask(texts[0])
            for text in texts[1:20]:
                ask(text)
            found.clear()
            took = sorted(1e3 * ask(text) for text in texts[20 : 20 + n])
            mentions, linked = sum(map(len, found)) / n, sum(said.count("link") for said in found) / n
            changed = []
            for text in texts[: 3 if quick else 5]:
                writer.execute("UPDATE bench_synset SET name = name || 'x' WHERE id = (SELECT max(id) FROM bench_synset)")
                changed.append(1e3 * ask(text))
            memory = reader.execute("SELECT pg_backend_pid()").fetchone()
            resident = _resident(memory[0]) if memory else None
        connection.execute("SELECT pgembed.drop_linker('bench_wordnet')")
        connection.execute("DROP TABLE bench_relation, bench_synset")
    median, late = statistics.median(took), took[int(0.95 * len(took))]
    rows = f"{count[0]:,} rows" if count else ""
    show(
        "linking_wordnet",
        f"WordNet by SQL: {rows}, {n} texts, {mentions:.1f} mentions each, {linked:.1f} linked; wall time",
        ("", "measured", ""),
        [
            *((f"to {step}", value, "s") for step, value in steps.items()),
            ("first call of a session", first, "s"),
            ("one text, median", median, "ms"),
            ("one text, 95 in 100", late, "ms"),
            ("the call after one row was changed, median", statistics.median(changed), "ms"),
            ("memory of the session", resident, "MB"),
        ],
        "asked: embedded, indexed and declared within 10 minutes; a text in 60 ms",
    )
    return [
        Promise("WordNet by SQL: embed, index, declare, minutes", 10, sum(steps.values()) / 60, at_most=True),
        Promise("WordNet by SQL: one text, ms", 60, median, at_most=True, note=f"95 in 100: {late:.0f}"),
    ]


def _resident(pid: int) -> float | None:
    """Resident memory of a process of this machine, in MB; None where it is on another."""
    try:
        said = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in said.splitlines() if line.startswith("VmRSS")), None)


def main() -> None:
    """Run it by itself."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    options = parser.parse_args()
    promises("linking_wordnet_asked", "WordNet by SQL: asked beside measured", wordnet(quick=options.quick))


if __name__ == "__main__":
    main()
