"""Candidates of a join: how many known matches are among the k first of their left row, and what finding them takes.

All attributes as one text; known matches are the positives of train and valid, and no method sees them. A match is found at k where fewer
than k right rows score higher: rows of equal texts cannot be told apart. What is asked for is also told with the tied ones put in the order
of their rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import corpora
import join_data
import numpy as np
import numpy.typing as npt
import report
from join_data import Ints, Tables

from pgembed import demo, lexical
from pgembed.joins import hubs, hybrid, neighbours
from pgembed.lexical import sparse

AT_LEAST = {"abt_buy": (0.965, 0.999), "amazon_google": (0.725, 0.997), "dblp_acm": (0.999, 1.0)}
DEEP = 30
KS = (1, 10)
OURS = "texts and vectors (candidates => 'hybrid')"


def recall(
    left: Ints, right: Ints, score: npt.NDArray[Any], known: Sequence[tuple[int, int]]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Recall at 1 and at 10 of pairs in order of rank; and with those of equal scores in the order of their rows."""
    rows: dict[int, list[tuple[int, float]]] = {}
    for i, j, value in zip(left.tolist(), right.tolist(), score.tolist(), strict=True):
        rows.setdefault(i, []).append((j, value))
    higher, before = [], []
    for i, j in known:
        mine = rows.get(i, [])
        at = next((place for place, (other, _) in enumerate(mine) if other == j), None)
        before.append(DEEP if at is None else at)
        higher.append(DEEP if at is None else sum(value > mine[at][1] + 1e-6 for _, value in mine))
    (one, ten), (first, tenth) = ([float(np.mean(np.asarray(ranks) < k)) for k in KS] for ranks in (higher, before))
    return (one, ten), (first, tenth)


def methods(tables: Tables) -> dict[str, Callable[[], tuple[Ints, Ints, npt.NDArray[Any]]]]:
    """Ways to find the candidates of both sides: left, right and score."""
    texts, vectors = (tables.left.texts, tables.right.texts), (tables.left.vectors, tables.right.vectors)

    def by_vectors() -> tuple[Ints, Ints, npt.NDArray[Any]]:
        near = neighbours.nearest(*vectors, DEEP)
        return near.left, near.right, -near.distance

    def by_corrected(method: Any) -> tuple[Ints, Ints, npt.NDArray[Any]]:
        near = hubs.nearest(*vectors, hubs.hubness(vectors[1], vectors[0], method), DEEP, method)
        return near.left, near.right, -near.rank.astype(float)

    def by_characters() -> tuple[Ints, Ints, npt.NDArray[Any]]:
        mine, theirs = lexical.rows(*texts)["characters"]
        left, right = lexical.nearest(mine, theirs, DEEP)
        alike = lexical.scores(mine, theirs, left, right)
        order = np.lexsort((right, -alike, left))
        return left[order], right[order], alike[order]

    def fused(*sides: Any) -> tuple[Ints, Ints, npt.NDArray[Any]]:
        found = hybrid.candidates(*sides, k=DEEP)
        return found.left, found.right, found.score

    return {
        "vectors alone": by_vectors,
        **{f"vectors, {method}": lambda method=method: by_corrected(method) for method in hubs.CORRECTIONS},  # type: ignore[misc]
        "character n-grams alone": by_characters,
        "texts (candidates => 'lexical')": lambda: fused(*texts),
        OURS: lambda: fused(*texts, *vectors),
    }


def show_recall(quick: bool) -> None:
    """One setting for all, beside its parts."""
    sets = join_data.tables(quick=quick)
    cells: dict[str, list[report.Cell]] = {}
    kept = []
    for tables in sets:
        for method, find in methods(tables).items():
            start = time.perf_counter()
            found, in_order = recall(*find(), tables.matches)
            took = time.perf_counter() - start
            cells.setdefault(method, []).extend(found)
            if method == OURS and tables.name in AT_LEAST:
                size = f"{len(tables.left.texts):,} x {len(tables.right.texts):,} rows in {took:.1f} s"
                for place, k in enumerate(KS):
                    what = f"{tables.shown}, k = {k}"
                    note = f"tied rows in order {in_order[place]:.4f}; {size}"
                    kept.append(report.Promise(what, AT_LEAST[tables.name][place], found[place], note=note))
    report.show(
        "joins_recall",
        "share of the known matches among the k first of their left row",
        ["candidates by", *(f"{tables.shown}, k = {k}" for tables in sets for k in KS)],
        [[method, *values] for method, values in cells.items()],
        "all attributes as one text; in Amazon-Google rows have several matches and one first, so that k = 1 ends at 0.876",
    )
    report.promises("joins_recall_asked", "recall of candidates, one setting for all", kept)


def show_speed(rows: int, quick: bool) -> None:
    """Packages against themselves: parts, beside the bare product of 384 dimensions."""
    if quick:
        right = [f"{name}: {description}" for name, _, _, _, description in demo.debian_packages()][:1_000]
        vectors = join_data.made(len(right), 384, 0)
    else:
        corpus = corpora.packages()
        right, vectors = corpus.texts, corpus.documents
    if not right:
        return
    left, queries = right[:rows], vectors[:rows]
    lines: list[list[report.Cell]] = []

    def timed(what: str, run: Callable[[], Any]) -> Any:
        growth, wall, cpu = join_data.Growth(), time.perf_counter(), time.process_time()
        made = run()
        lines.append([what, time.perf_counter() - wall, time.process_time() - cpu, growth.megabytes])
        return made

    def product() -> None:
        for first in range(0, len(queries), 500):
            queries[first : first + 500] @ vectors.T

    timed(f"bare float32 product, {vectors.shape[1]} dimensions", product)
    parts = timed("texts as sparse rows", lambda: lexical.rows(left, right))
    mine, theirs = (sparse.beside([both[side] for both in parts.values()], [1.0] * len(parts)) for side in (0, 1))
    touched = float(np.bincount(mine.term, minlength=mine.width).astype(float) @ np.bincount(theirs.term, minlength=mine.width))
    timed("texts alike: the 10 first of each left row", lambda: lexical.nearest(mine, theirs, 10))
    timed("vectors: the 10 nearest of each left row", lambda: neighbours.nearest(queries, vectors, 10))
    timed("candidates => 'lexical', k = 10", lambda: hybrid.candidates(left, right, k=10))
    timed("candidates => 'hybrid', k = 10", lambda: hybrid.candidates(left, right, queries, vectors, k=10))
    report.show(
        "joins_candidates",
        f"candidates of {len(left):,} x {len(right):,} packages, arrays only",
        ["", "seconds", "of processors", "MB more at most"],
        lines,
        f"{touched:.3g} postings, {len(theirs.term) / len(theirs):.0f} terms a row",
    )


def run(*, quick: bool = False) -> None:
    """The part of bench_joins.py."""
    show_recall(quick)
    show_speed(200 if quick else 10_000, quick)
