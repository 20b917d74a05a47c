"""Candidates of a join: how many known matches are among the k first of their left row, and what finding them takes.

A script, not a test: ``python tests/benchmarks/bench_candidates.py [--data DIR] [--rows 10000] [--skip-speed] [--skip-recall]``. Recall is
of four benchmarks of entity resolution (see bench_joins.py), all attributes as one text; known matches are the positives of train and
valid, and no method sees them. A match is found at k where fewer than k right rows score higher: rows of equal texts cannot be told apart.
In brackets: where they are put in an order, that of their rows.
"""

from __future__ import annotations

import argparse
import csv
import resource
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pgembed import lexical, models
from pgembed.joins import Pairs, hubs, hybrid, neighbours
from pgembed.lexical import sparse

MODEL = "all-minilm-l6-v2-int8"
SETS = ("abt_buy", "amazon_google", "dblp_acm", "fodors_zagats")
AT_LEAST = {"abt_buy": (0.965, 0.999), "amazon_google": (0.725, 0.997), "dblp_acm": (0.999, 1.0), "fodors_zagats": (None, None)}
DEEP = 30

Vectors = npt.NDArray[np.float32]


def read(folder: Path) -> tuple[list[str], list[str], list[tuple[int, int]]]:
    """Both sides' texts, and the known matches as positions."""
    texts, places = [], []
    for side in "AB":
        with (folder / f"table{side}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        texts.append([" ".join(value for name, value in row.items() if name != "id" and value) for row in rows])
        places.append({row["id"]: position for position, row in enumerate(rows)})
    known = []
    for part in ("train", "valid"):
        with (folder / f"matches_{part}.csv").open(encoding="utf-8", newline="") as file:
            known += [(places[0][a], places[1][b]) for a, b, label in list(csv.reader(file))[1:] if label == "1"]
    return texts[0], texts[1], known


def shown(left: npt.NDArray[np.int64], right: npt.NDArray[np.int64], score: npt.NDArray[np.float64], known: list[tuple[int, int]]) -> str:
    """Recall at 1 and 10 of pairs in order of rank."""
    rows: dict[int, list[tuple[int, float]]] = {}
    for i, j, value in zip(left.tolist(), right.tolist(), score.tolist(), strict=True):
        rows.setdefault(i, []).append((j, value))
    higher, before = [], []
    for i, j in known:
        mine = rows.get(i, [])
        at = next((place for place, (other, _) in enumerate(mine) if other == j), None)
        before.append(DEEP if at is None else at)
        higher.append(DEEP if at is None else sum(value > mine[at][1] + 1e-6 for _, value in mine))
    (one, ten), (first, tenth) = ([np.mean(np.asarray(ranks) < k) for k in (1, 10)] for ranks in (higher, before))
    return f"{one:.4f} ({first:.4f}) {ten:.4f} ({tenth:.4f})"


def recall(data: Path) -> None:
    """The table of one setting for all, beside its parts."""
    model = models.load(MODEL)
    print("recall of known matches at k = 1 and 10")
    for name in SETS:
        left, right, known = read(data / name)
        a, b = (model.encode(texts).vectors for texts in (left, right))
        start = time.perf_counter()
        fused = hybrid.candidates(left, right, a, b, k=DEEP)
        took = time.perf_counter() - start
        texts = hybrid.candidates(left, right, k=DEEP)
        mine, theirs = lexical.rows(left, right)["characters"]
        i, j = lexical.nearest(mine, theirs, DEEP)
        alike = lexical.scores(mine, theirs, i, j)
        order = np.lexsort((j, -alike, i))
        print(f"  {name}: {len(left)} x {len(right)} rows, {len(known)} matches; at least {AT_LEAST[name][0]} {AT_LEAST[name][1]}")

        def of(pairs: Pairs, known: list[tuple[int, int]] = known) -> str:
            return shown(pairs.left, pairs.right, -pairs.rank.astype(float), known)

        near = neighbours.nearest(a, b, DEEP)
        print(f"    {'vectors alone':34}{shown(near.left, near.right, -near.distance, known)}")
        for method in hubs.CORRECTIONS:
            print(f"    {'vectors, ' + method:34}{of(hubs.nearest(a, b, hubs.hubness(b, a, method), DEEP, method))}")
        print(f"    {'character n-grams alone':34}{shown(i[order], j[order], alike[order], known)}")
        print(f"    {'texts (candidates => lexical)':34}{shown(texts.left, texts.right, texts.score, known)}")
        print(f"    {'texts and vectors (hybrid)':34}{shown(fused.left, fused.right, fused.score, known)}   {took:.2f} s")


def speed(rows: int) -> None:
    """Packages' descriptions against themselves: parts, beside the bare product of 384 dimensions."""
    import corpora

    corpus = corpora.packages()
    right, vectors = corpus.texts, corpus.documents
    left, queries = right[:rows], vectors[:rows]
    print(f"\n{len(left)} x {len(right)} descriptions of packages, seconds")

    def now() -> tuple[float, float]:
        return time.perf_counter(), time.process_time()

    def took(what: str, start: tuple[float, float]) -> None:
        wall, cpu = (b - a for a, b in zip(start, now(), strict=True))
        print(f"    {what:52}{wall:8.2f}{cpu:8.2f} CPU{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10:8} MB peak")

    start = now()
    for first in range(0, len(queries), 500):
        queries[first : first + 500] @ vectors.T
    took(f"bare float32 product, {vectors.shape[1]} dimensions", start)
    start = now()
    parts = lexical.rows(left, right)
    took("texts as sparse rows", start)
    mine, theirs = (sparse.beside([both[side] for both in parts.values()], [1.0] * len(parts)) for side in (0, 1))
    touched = float(np.bincount(mine.term, minlength=mine.width).astype(float) @ np.bincount(theirs.term, minlength=mine.width))
    print(f"    postings: {touched:.3g}, {len(theirs.term) / len(theirs):.0f} terms a row")
    start = now()
    lexical.nearest(mine, theirs, 10)
    took("lexical: the 10 best of each left row", start)
    start = now()
    neighbours.nearest(queries, vectors, 10)
    took("vectors: the 10 nearest of each left row", start)
    start = now()
    hybrid.candidates(left, right, k=10)
    took("candidates, texts only, k = 10", start)
    start = now()
    hybrid.candidates(left, right, queries, vectors, k=10)
    took("candidates, texts and vectors, k = 10", start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[3] / "shared" / "data" / "er")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--skip-speed", action="store_true")
    parser.add_argument("--skip-recall", action="store_true")
    options = parser.parse_args()
    if not options.skip_recall:
        recall(options.data)
    if not options.skip_speed:
        speed(options.rows)


if __name__ == "__main__":
    main()
