"""Retrieval through SQL with every kind of model: nDCG@10 on SciFact (train queries) and Cranfield.

The reference for each is the same model in this process and an exact product of matrices in numpy: what SQL finds must not differ.
nDCG: Järvelin and Kekäläinen 2002, https://doi.org/10.1145/582415.582418, gain = relevance.

    PGEMBED_URL=$(make -s url) python tests/benchmarks/bench_quality.py [--data DIR]
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import report

from pgembed import models

FULL, SMALL = "all-minilm-l6-v2", "all-minilm-l6-v2-int8"
PLAIN, WEIGHTED = "bench-static", "bench-static-{corpus}"
SHOWN = {PLAIN: "static, distilled"}
SETS = (("scifact", "qrels_train.tsv"), ("cranfield", "qrels.tsv"))
SHOWN |= {WEIGHTED.format(corpus=corpus): "static, distilled with this corpus" for corpus, _ in SETS}


def ndcg(ranked: Sequence[str], relevance: dict[str, int]) -> float:
    """nDCG@10 of one ranking."""

    def dcg(grades: Sequence[int]) -> float:
        return sum(grade / math.log2(place + 2) for place, grade in enumerate(grades[:10]))

    best = dcg(sorted(relevance.values(), reverse=True))
    return dcg([relevance.get(document, 0) for document in ranked]) / best if best else 0.0


def read(folder: Path, qrels: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]], dict[str, dict[str, int]]]:
    """Documents and queries as (id, text), and the relevance of documents by query."""
    with gzip.open(folder / "corpus.jsonl.gz", "rt", encoding="utf-8") as file:
        documents = [(found["_id"], f"{found['title']} {found['text']}".strip()) for found in map(json.loads, file)]
    relevance: dict[str, dict[str, int]] = defaultdict(dict)
    for line in (folder / qrels).read_text(encoding="utf-8").splitlines():
        query, document, grade = line.split("\t")[:3]
        if grade.lstrip("-").isdigit():
            relevance[query][document] = int(grade)
    with (folder / "queries.jsonl").open(encoding="utf-8") as file:
        queries = [(found["_id"], found["text"]) for found in map(json.loads, file) if found["_id"] in relevance]
    return [document for document in documents if document[1]], queries, relevance


def through_sql(connection: psycopg.Connection[Any], model: str, queries: list[tuple[str, str]]) -> list[list[str]]:
    """The ten nearest documents of each query, from a column of the model."""
    connection.execute("DROP TABLE IF EXISTS bench_quality")
    connection.execute("CREATE TABLE bench_quality (id text PRIMARY KEY, body text)")
    connection.execute("INSERT INTO bench_quality SELECT id, body FROM bench_document")
    connection.execute("SELECT pgembed.add_embedding('bench_quality', 'body', model => %s)", [model])
    connection.execute("CALL pgembed.refresh('bench_quality', build_index => false)")
    statement = "SELECT key FROM pgembed.search_keys('bench_quality', %s, k => 10, exact => true) ORDER BY rank"
    found = [[row[0] for row in connection.execute(statement, [text]).fetchall()] for _, text in queries]
    connection.execute("DROP TABLE bench_quality")
    return found


def plainly(model: models.Model, documents: list[tuple[str, str]], queries: list[tuple[str, str]]) -> list[list[str]]:
    """The same by the model and numpy alone."""
    stored = model.encode([text for _, text in documents]).vectors
    asked = model.encode([text for _, text in queries], role="query").vectors
    return [[documents[place][0] for place in np.argsort(-row, kind="stable")[:10]] for row in asked @ stored.T]


def distill(name: str, corpus: str | None, database: str) -> None:
    """Run the command that a user would; its output is part of the benchmark's."""
    command = [sys.executable, "-m", "pgembed.cli", "model", "distill", name, "--from", FULL, "--database", database]
    subprocess.run([*command, *(["--corpus", corpus] if corpus else [])], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    beside = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    parser.add_argument("--data", type=Path, default=beside, help="folder with ir/scifact and ir/cranfield")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    options = parser.parse_args()
    if not (options.data / "ir").is_dir():
        print(f'quality: no data in "{options.data}"')
        return
    url = os.environ["PGEMBED_URL"]
    made = []
    lines = []
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS pgembed CASCADE")
            for corpus, qrels in SETS:
                documents, queries, relevance = read(options.data / "ir" / corpus, qrels)
                chosen = [FULL, SMALL]
                if options.quick:
                    documents, queries, chosen = documents[:40], queries[:5], [SMALL]
                connection.execute("DROP TABLE IF EXISTS bench_document")
                connection.execute("CREATE TABLE bench_document (id text PRIMARY KEY, body text)")
                with connection.cursor().copy("COPY bench_document FROM STDIN") as copy:
                    for document in documents:
                        copy.write_row(document)
                if not options.quick:
                    for name, source in ((PLAIN, None), (WEIGHTED.format(corpus=corpus), "bench_document.body")):
                        if name not in made:
                            distill(name, source, url)
                            made.append(name)
                        chosen.append(name)
                for name in chosen:
                    inside, outside = through_sql(connection, name, queries), plainly(models.load(name), documents, queries)
                    scores = [
                        statistics.mean(ndcg(ranked, relevance[query]) for ranked, (query, _) in zip(found, queries, strict=True))
                        for found in (inside, outside)
                    ]
                    lines.append([corpus, SHOWN.get(name, name), *scores, abs(scores[0] - scores[1])])
                    print(f"{corpus}: {name}: {scores[0]:.4f}, plainly {scores[1]:.4f}", flush=True)
                connection.execute("DROP TABLE bench_document")
    finally:
        for name in made:
            subprocess.run([sys.executable, "-m", "pgembed.cli", "model", "remove", name, "--force"], check=False)
    header = ["documents and queries", "model", "nDCG@10 through SQL", "plain Python", "difference"]
    report.show("quality", "retrieval through SQL, nDCG@10", header, lines)


if __name__ == "__main__":
    main()
