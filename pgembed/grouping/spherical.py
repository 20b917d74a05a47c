"""spherical: k-means of directions (Dhillon and Modha, 2001, https://doi.org/10.1023/A:1007612920971), begun by k-means++.

Before it the mean is taken off, for the vectors of a model share a direction that says nothing of any of them, and what is left is cut to
its first principal components, which find the categories of papers as well as all dimensions do.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pgembed.grouping.labels import unit
from pgembed.models import threads

Vectors = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

COMPONENTS = 50
ROUNDS = 30
STARTS = 3
FITTED = 20_000  # rows that centres are fitted to; the others are only assigned
BLOCK = 8192


def prepared(rows: Vectors, rng: np.random.Generator) -> Vectors:
    """Rows without their mean, cut to their first principal components, of length 1; rows without direction stay zero."""
    directed = unit(rows)
    there = np.flatnonzero(directed.any(axis=1))
    some = directed[np.sort(rng.permutation(there)[:FITTED])]
    if not len(some):
        return directed
    mean = some.mean(axis=0)
    if min(some.shape) <= COMPONENTS:
        made = directed - mean
    else:
        with threads.arithmetic(threads.thread_count()):
            _, axes = np.linalg.eigh(((some - mean).T @ (some - mean)).astype(np.float64))
        made = (directed - mean) @ axes[:, ::-1][:, :COMPONENTS].astype(np.float32)
    made[~directed.any(axis=1)] = 0
    return unit(made)


def cluster(rows: Vectors, n: int, rng: np.random.Generator, check: Callable[[], None] = lambda: None) -> tuple[Vectors, float]:
    """n centres of rows of length 1, and the mean cosine of the rows with theirs; the best of several starts."""
    best: tuple[Vectors, float] | None = None
    for _ in range(STARTS):
        centres = _begin(rows, n, rng)
        before = -1.0
        for _ in range(ROUNDS):
            label, near = assign(rows, centres)
            sums = np.stack([np.bincount(label, weights=column, minlength=n) for column in rows.T], axis=1)
            empty = np.flatnonzero(np.bincount(label, minlength=n) == 0)
            if len(empty):
                sums[empty] = rows[np.argsort(near, kind="stable")[: len(empty)]]
            centres = unit(sums)
            mean = float(near.mean())
            check()
            if mean - before < 1e-4:
                break
            before = mean
        if best is None or mean > best[1]:
            best = centres, mean
    assert best is not None
    return best


def assign(rows: Vectors, centres: Vectors) -> tuple[Ints, Floats]:
    """The nearest centre of each row, and the cosine with it."""
    label, near = np.empty(len(rows), dtype=np.int64), np.empty(len(rows))
    for start in range(0, len(rows), BLOCK):
        part = slice(start, start + BLOCK)
        product = rows[part] @ centres.T
        label[part] = product.argmax(axis=1)
        near[part] = product.max(axis=1)
    return label, near


def silhouette(rows: Vectors, centres: Vectors) -> float:
    """Mean over the rows of how much nearer they are to their centre than to the next: (b - a) / max(a, b), of distances to centres.

    The simplified silhouette of Hruschka, de Castro and Campello, 2004, https://doi.org/10.1109/ICDM.2004.10073.
    """
    near = np.partition(1 - rows @ centres.T, 1, axis=1)[:, :2]
    return float(np.mean((near[:, 1] - near[:, 0]) / np.maximum(near[:, 1], 1e-9)))


def _begin(rows: Vectors, n: int, rng: np.random.Generator) -> Vectors:
    """k-means++: Arthur and Vassilvitskii, 2007, https://dl.acm.org/doi/10.5555/1283383.1283494; of several draws the best."""
    chosen = [int(rng.integers(len(rows)))]
    far = np.maximum(1 - rows @ rows[chosen[0]], 0).astype(np.float64)
    draws = 2 + int(np.log(n))
    while len(chosen) < n:
        total = far.sum()
        if total <= 0:
            chosen.append(int(rng.integers(len(rows))))
            continue
        drawn = np.minimum(np.searchsorted(np.cumsum(far), rng.random(draws) * total), len(rows) - 1)
        then = np.minimum(far, np.maximum(1 - rows[drawn] @ rows.T, 0))
        best = int(then.sum(axis=1).argmin())
        chosen.append(int(drawn[best]))
        far = then[best]
    return rows[chosen]
