"""k-means of few dimensions and many rows: the codebooks of product quantisation.

Lloyd's algorithm (https://doi.org/10.1109/TIT.1982.1056489) from a sampled start: choosing 256 of 32,768 rows by k-means++ takes
longer than 20 rounds of it, and loses as much in the end (.284 of the variance). A cluster that nobody belongs to is set on the rows
that are worst off.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Labels = NDArray[np.intp]

_BLOCK_BYTES = 1 << 19  # of distances at a time: they are read again at once, from the processor's own cache


def table(centroids: Floats) -> Floats:
    """What rows with a 1 behind them are multiplied by: gives the squared distances but for the rows' own squares.

    Args:
        centroids: float32, shape (..., k, dim).
    Returns:
        float32, shape (..., dim + 1, k).
    """
    squares = np.einsum("...kd,...kd->...k", centroids, centroids)
    return np.ascontiguousarray(np.concatenate([-2 * np.swapaxes(centroids, -1, -2), squares[..., None, :]], axis=-2), dtype=np.float32)


def assign(rows: Floats, centroids: Floats) -> tuple[Labels, Floats]:
    """The nearest centroid of each row, of equal ones the first.

    Args:
        rows: float32, shape (n, dim).
        centroids: float32, shape (k, dim), k at least 1.
    Returns:
        Labels, shape (n,), and squared distances, float32, shape (n,).
    """
    multiplied = table(centroids)
    n, width = rows.shape
    one_behind = np.ones((n, width + 1), dtype=np.float32)
    one_behind[:, :width] = rows
    labels = np.empty(n, dtype=np.intp)
    found = np.empty(n, dtype=np.float32)
    step = max(1, _BLOCK_BYTES // (4 * len(centroids)))
    for first in range(0, n, step):
        distances = one_behind[first : first + step] @ multiplied
        nearest = distances.argmin(axis=1)
        labels[first : first + step] = nearest
        found[first : first + step] = distances[np.arange(len(nearest)), nearest]
    found += np.einsum("ij,ij->i", rows, rows)
    return labels, np.maximum(found, 0, out=found)


def update(rows: Floats, labels: Labels, distances: Floats, k: int) -> Floats:
    """The mean of each cluster's rows. A cluster without rows is set on a row that is far from its own centroid.

    Args:
        distances: squared, of each row to the centroid it belongs to.
    Returns:
        float32, shape (k, dim).
    """
    counts = np.bincount(labels, minlength=k)
    sums = np.stack([np.bincount(labels, weights=column, minlength=k) for column in rows.T], axis=1)
    made = (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
    empty = np.flatnonzero(counts == 0)
    if len(empty):
        farthest = np.argsort(-distances, kind="stable")[: len(empty)]
        made[empty[: len(farthest)]] = rows[farthest]
        made[empty[len(farthest) :]] = rows[0]
    return made


def start(rows: Floats, k: int, rng: np.random.Generator) -> Floats:
    """k rows to begin with, different ones where there are as many.

    Where there are fewer, all of them, and then the first again: of equal centroids only the first is ever the nearest.
    """
    drawn = rows[rng.choice(len(rows), min(k, len(rows)), replace=False)]
    if len(np.unique(drawn, axis=0)) == k:
        return drawn
    different = np.unique(rows, axis=0)
    if len(different) > k:
        return different[rng.choice(len(different), k, replace=False)]
    return np.concatenate([different, np.repeat(different[:1], k - len(different), axis=0)])


def kmeans(
    rows: Floats,
    k: int,
    rng: np.random.Generator,
    rounds: int,
    begin: Floats | None = None,
    check: Callable[[], None] = lambda: None,
) -> Floats:
    """k centroids of rows.

    Args:
        rows: float32, shape (n, dim), n at least 1, finite; around 0, or float32 loses their distances.
        rounds: at most; fewer where no row changes its cluster.
        begin: centroids to begin with, shape (k, dim); None: see `start`.
        check: called once a round; what it raises passes through.
    Returns:
        float32, shape (k, dim). Of no more than k different rows: those themselves.
    """
    centroids = start(rows, k, rng) if begin is None else begin
    before: Labels | None = None
    for _ in range(rounds):
        check()
        labels, distances = assign(rows, centroids)
        if before is not None and np.array_equal(labels, before):
            break
        centroids, before = update(rows, labels, distances, k), labels
    return centroids
