"""Rows that have several vectors, of their chunks: two rows are as near as the nearest pair of their chunks.

A row that is among the k nearest of a left row is among the k nearest of one of its chunks: those that are nearer to this chunk are nearer
to the row, too. So each chunk on the left looks for chunks on the right until these are of k different rows, and what all chunks of a row
have found is put together. Nothing is missed, and no pair of chunks is kept that no pair of rows could come from.
"""

from __future__ import annotations

import numpy as np

from pgembed.joins import neighbours
from pgembed.joins.pairing import Check, Ints, Metric, Pairs, Vectors, blocks, concatenated, numbered

# How many more chunks than rows are looked at first, and again where they are of too few rows.
DEEPER = 4
# Pairs of chunks that are compared at a time where pairs of rows are given.
LISTED = 1 << 20


def nearest(
    left: Vectors,
    right: Vectors,
    rows: tuple[Ints, Ints],
    k: int | None = 1,
    *,
    metric: Metric = "cosine",
    max_distance: float | None = None,
    same: bool = False,
    codes: tuple[Ints, Ints] | None = None,
    check: Check | None = None,
) -> Pairs:
    """The k nearest right rows of each left row, or all within max_distance; exact.

    Args:
        left, right: float32 (chunks, dim), as in `neighbours.nearest`.
        rows: of each chunk on the left and on the right the row that it is of, from 0.
        k: None: all within max_distance, which is then required.
        same: both sides are the same rows, and no row is its own neighbour.
        codes: of each chunk; only chunks of equal codes are compared.
    Returns:
        Pairs of rows, as `neighbours.nearest` orders them.
    """
    mine, theirs = rows
    if k is None:
        found = neighbours.nearest(left, right, None, metric=metric, max_distance=max_distance, codes=codes, check=check)
        return _folded(mine[found.left], theirs[found.right], found, None, same)
    wanted = k + same  # a row itself comes up too
    open_chunks, depth = np.arange(len(left)), wanted if len(np.unique(theirs)) == len(theirs) else wanted * DEEPER
    done: list[Pairs] = []
    while len(open_chunks):
        own = None if codes is None else (codes[0][open_chunks], codes[1])
        depth = min(depth, max(1, len(right)))
        near = neighbours.nearest(left[open_chunks], right, depth, metric=metric, max_distance=max_distance, codes=own, check=check)
        seen = np.bincount(near.left, minlength=len(open_chunks))
        of_rows = _folded(near.left, theirs[near.right], near, wanted, False)
        enough = (np.bincount(of_rows.left, minlength=len(open_chunks)) >= wanted) | (seen < depth) | (depth == len(right))
        kept = of_rows.where(enough[of_rows.left])
        done.append(Pairs(open_chunks[kept.left], kept.right, kept.distance, kept.rank))
        open_chunks, depth = open_chunks[~enough], depth * DEEPER
    together = concatenated(done)
    return _folded(mine[together.left], together.right, together, k, same)


def among(
    left: Vectors,
    right: Vectors,
    rows: tuple[Ints, Ints],
    pairs: tuple[Ints, Ints],
    *,
    metric: Metric = "cosine",
    same: bool = False,
    check: Check | None = None,
) -> Pairs:
    """The same of given pairs of rows."""
    orders = [np.argsort(one, kind="stable") for one in rows]
    sizes = [np.bincount(one, minlength=int(max(of.max(initial=-1), one.max(initial=-1))) + 1) for one, of in zip(rows, pairs, strict=True)]
    begins = [np.cumsum(size) - size for size in sizes]
    wide = max(1, int(sizes[0].max(initial=1)) * int(sizes[1].max(initial=1)))
    found: list[Pairs] = []
    for part in blocks(len(pairs[0]), max(1, LISTED // wide)):
        at_left, at_right = pairs[0][part], pairs[1][part]
        count = sizes[0][at_left] * sizes[1][at_right]
        which = np.repeat(np.arange(len(count)), count)
        place = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
        across = sizes[1][at_right][which]
        one = orders[0][begins[0][at_left][which] + place // np.maximum(across, 1)]
        other = orders[1][begins[1][at_right][which] + place % np.maximum(across, 1)]
        near = neighbours.among(left, right, (one, other), metric=metric, check=check)
        found.append(_folded(rows[0][near.left], rows[1][near.right], near, None, same))
    together = concatenated(found)
    return _folded(together.left, together.right, together, None, same)


def _folded(left: Ints, right: Ints, found: Pairs, k: int | None, same: bool) -> Pairs:
    """Each pair once, with its least distance; the k nearest of each left one."""
    keep = left != right if same else np.ones(len(left), dtype=bool)
    left, right, distance = left[keep], right[keep], found.distance[keep]
    order = np.lexsort((distance, right, left))
    first = np.ones(len(order), dtype=bool)
    first[1:] = (left[order][1:] != left[order][:-1]) | (right[order][1:] != right[order][:-1])
    kept = order[first]
    left, right, distance = left[kept], right[kept], distance[kept]
    order = np.lexsort((right, distance, left))
    pairs = numbered(left[order], right[order], distance[order])
    return pairs if k is None else pairs.where(pairs.rank <= k)
