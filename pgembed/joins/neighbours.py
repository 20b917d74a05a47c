"""The k nearest right rows of each left row: exact, in blocks, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from pgembed.errors import DimensionMismatch, InvalidParameter
from pgembed.models import threads

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Vectors: TypeAlias = npt.NDArray[np.float32]
Metric: TypeAlias = Literal["cosine", "l2", "inner_product"]
Check: TypeAlias = Callable[[], None]

METRICS = ("cosine", "l2", "inner_product")
BLOCK_BYTES = 32 << 20  # of one block of float32 scores; the whole of a join's working memory is about five times that
TILE = 8192  # right rows a block: wide enough for BLAS, narrow enough that blocks stay hundreds of left rows tall


@dataclass(frozen=True)
class Pairs:
    """Pairs of a left and a right row, ordered by left row, then distance, then right row.

    ``left`` and ``right`` are positions in the two inputs, ``rank`` counts a left row's pairs from 1; all arrays have one length.
    """

    left: Ints
    right: Ints
    distance: Floats
    rank: Ints

    def __len__(self) -> int:
        return len(self.left)

    def where(self, keep: Bools) -> Pairs:
        """The pairs for which keep is true, with the ranks they had."""
        return Pairs(self.left[keep], self.right[keep], self.distance[keep], self.rank[keep])


def nearest(
    left: Vectors,
    right: Vectors,
    k: int = 1,
    *,
    metric: Metric = "cosine",
    max_distance: float | None = None,
    same: bool = False,
    check: Check | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Pairs:
    """The k nearest right rows of every left row.

    Args:
        left, right: float32, shapes (n, dim) and (m, dim), finite; either may be empty, then there are no pairs.
        k: pairs per left row, at least 1; where k > m there are m.
        metric: pgvector's distance: cosine is 1 - cosine, l2 Euclidean, inner_product the negative inner product of ``<#>``.
            Under cosine a zero vector has no distance (NaN in pgvector), hence no pair.
        max_distance: pairs farther than this are left out; None keeps all k.
        same: both sides are the same rows in the same order, and no row is its own neighbour.
        check: called between blocks, a few times a second, so that a cancel takes effect.
        block_bytes: the size of one block of scores.
    Returns:
        Exactly the pairs that sorting all n * m distances would give; equal distances are ordered by right row.
    Raises:
        InvalidParameter: k < 1 or an unknown metric.
        DimensionMismatch: the sides' dims differ.
    """
    groups = distinct(left, right, metric)
    if k < 1:
        raise InvalidParameter(f"k must be at least 1, not {k}", hint="k is the number of right rows for each left row.")
    pairs = groups.rows(search(groups, k + same, check, block_bytes), k + same)
    if same:
        pairs = best(pairs.left, pairs.right, pairs.distance, k, pairs.left != pairs.right)
    return pairs if max_distance is None else pairs.where(pairs.distance <= max_distance)


def among(
    left: Vectors,
    right: Vectors,
    listed: tuple[Sequence[int], Sequence[int]],
    *,
    metric: Metric = "cosine",
    same: bool = False,
    check: Check | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Pairs:
    """The distances of listed pairs, in the order and with the ranks of `nearest`.

    Args:
        listed: positions on the left and on the right, of one length, each pair once.
    """
    left, right = checked(left, right, metric)
    rows, columns = (np.asarray(side, dtype=np.int64) for side in listed)
    distances = np.empty(len(rows))
    for part in blocks(len(rows), max(1, block_bytes // (16 * max(1, left.shape[-1])))):
        distances[part] = exact(left[rows[part]], right[columns[part]], metric)
        if check:
            check()
    keep = ~np.isnan(distances) & ~(same & (rows == columns))
    return best(rows, columns, distances, max(1, len(right)), keep)


@dataclass(frozen=True)
class Groups:
    """Both sides of a join with equal vectors counted once, since one search serves them all.

    Without this a table with thousands of equal texts would put them all forward for every row that is near to them.
    ``*_first`` is the position of the first row of every group, ``*_group`` each row's group, -1 for a vector without distance.
    """

    metric: Metric
    left: Vectors
    right: Vectors
    left_first: Ints
    left_group: Ints
    right_first: Ints
    right_group: Ints

    def rows(self, pairs: Pairs, k: int) -> Pairs:
        """The k nearest pairs of every left row, from pairs of groups."""
        at, member = _members(pairs.right, self.right_group, k)
        pairs = best(pairs.left[at], member, pairs.distance[at], k)
        at, member = _members(pairs.left, self.left_group, len(self.left))
        return best(member, pairs.right[at], pairs.distance[at], k)

    def turned(self) -> Groups:
        """The same join seen from the right."""
        return Groups(self.metric, self.right, self.left, self.right_first, self.right_group, self.left_first, self.left_group)


def distinct(left: Vectors, right: Vectors, metric: Metric) -> Groups:
    """Check both sides and group their equal vectors."""
    left, right = checked(left, right, metric)
    return Groups(metric, left, right, *_distinct(left, metric), *_distinct(right, metric))


def search(groups: Groups, k: int, check: Check | None = None, block_bytes: int = BLOCK_BYTES) -> Pairs:
    """The k nearest right groups of each left group.

    A float32 matrix product only nominates: every pair whose score is within the product's rounding error of the k-th best is
    computed again in float64 from the two vectors themselves, and these values decide.
    """
    left, right, metric = groups.left, groups.right, groups.metric
    if not len(groups.left_first) or not len(groups.right_first):
        return numbered(*_nothing())
    prepare = _preparation(left, right, metric)
    height = max(1, block_bytes // (4 * min(TILE, len(groups.right_first))))
    found: list[Pairs] = []
    for block in blocks(len(groups.left_first), height):
        mine = left[groups.left_first[block]]
        query, query_norm, _ = prepare(mine)
        leading = numbered(*_nothing())
        for tile in blocks(len(groups.right_first), TILE):
            theirs = right[groups.right_first[tile]]
            target, target_norm, half_square = prepare(theirs)
            with threads.arithmetic(threads.thread_count()):
                scores = query @ target.T
            if metric == "l2":
                scores -= half_square
            rows, columns = _nominated(scores, query_norm, target_norm, half_square, k, left.shape[1])
            distances = np.empty(len(rows))
            for part in blocks(len(rows), max(1, block_bytes // (16 * left.shape[1]))):
                distances[part] = exact(mine[rows[part]], theirs[columns[part]], metric)
            leading = merged([leading, Pairs(rows + block.start, columns + tile.start, distances, rows)], k)
            if check:
                check()
        found.append(leading)
    return merged(found, k)


def checked(left: Vectors, right: Vectors, metric: str) -> tuple[Vectors, Vectors]:
    """Both sides as native float32, also from pgvector's big-endian wire form."""
    if metric not in METRICS:
        raise InvalidParameter(f'metric "{metric}" does not exist', hint=f"Known metrics: {', '.join(METRICS)}.")
    left, right = (np.ascontiguousarray(side, dtype=np.float32) for side in (left, right))
    if len(left) and len(right) and left.shape[1] != right.shape[1]:
        raise DimensionMismatch(f"different vector dimensions {left.shape[1]} and {right.shape[1]}")
    return left, right


def blocks(n: int, size: int) -> Iterator[slice]:
    """Slices of at most size that cover n."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def numbered(rows: Ints, columns: Ints, distances: Floats) -> Pairs:
    """Pairs that are in order, with their ranks."""
    _, start, count = np.unique(rows, return_index=True, return_counts=True)
    return Pairs(rows, columns, distances, np.arange(len(rows)) - np.repeat(start, count) + 1)


def best(rows: Ints, columns: Ints, distances: Floats, k: int, keep: Bools | None = None) -> Pairs:
    """The k nearest pairs of each row, in order; of those for which keep is true."""
    if keep is not None:
        rows, columns, distances = rows[keep], columns[keep], distances[keep]
    order = np.lexsort((columns, distances, rows))
    pairs = numbered(rows[order], columns[order], distances[order])
    return pairs.where(pairs.rank <= k)


def merged(several: list[Pairs], k: int) -> Pairs:
    """The k nearest of all, for each left row."""
    several = [numbered(*_nothing()), *several]
    rows, columns, distances = (np.concatenate([getattr(p, of) for p in several]) for of in ("left", "right", "distance"))
    return best(rows, columns, distances, k)


def exact(left: Vectors, right: Vectors, metric: str) -> Floats:
    """Distance of left[i] and right[i] in float64; NaN under cosine where one is a zero vector."""
    a, b = left.astype(np.float64), right.astype(np.float64)
    if metric == "l2":
        a -= b
        distance: Floats = np.sqrt(np.einsum("ij,ij->i", a, a))
        return distance
    product: Floats = np.einsum("ij,ij->i", a, b)
    if metric == "cosine":
        with np.errstate(invalid="ignore"):
            cosine = product / np.sqrt(np.einsum("ij,ij->i", a, a) * np.einsum("ij,ij->i", b, b))
        return np.asarray(1.0 - np.clip(cosine, -1.0, 1.0))
    return -product


def _nothing() -> tuple[Ints, Ints, Floats]:
    return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64)


def _distinct(side: Vectors, metric: str) -> tuple[Ints, Ints]:
    """First position of every different vector that can have a distance, and each row's place among these (-1 for none)."""
    group = np.full(len(side), -1, dtype=np.int64)
    seen: dict[bytes, int] = {}
    first: list[int] = []
    for index, row in enumerate(side):
        # The square in float32, because that is where pgvector's own norm becomes zero.
        if metric == "cosine" and not row @ row:
            continue
        place = seen.setdefault(row.tobytes(), len(first))
        if place == len(first):
            first.append(index)
        group[index] = place
    return np.asarray(first, dtype=np.int64), group


def _members(groups: Ints, group: Ints, limit: int) -> tuple[Ints, Ints]:
    """For each of groups its first members, at most limit: which of groups it is, and the member's position in group."""
    order = np.argsort(group, kind="stable")
    start = np.searchsorted(group[order], groups)
    count = np.minimum(np.searchsorted(group[order], groups, side="right") - start, limit)
    place = np.repeat(np.arange(len(groups)), count)
    within = np.arange(len(place)) - np.repeat(np.cumsum(count) - count, count)
    return place, order[start[place] + within]


def _preparation(left: Vectors, right: Vectors, metric: str) -> Callable[[Vectors], tuple[Vectors, Vectors, Vectors]]:
    """How rows are brought into the form in which the largest (product - half square) is the nearest.

    Returns float32 rows, their norms and half squared norms. Cosine: unit length. Otherwise divided by the largest component,
    which changes no order and keeps squares finite; for l2 also moved to the right side's mean, because the rounding error
    grows with the distance from the origin while the distances do not.
    """
    largest = largest_component(left, right)
    centre = right.mean(axis=0, dtype=np.float64) if metric == "l2" else np.zeros(1)

    def prepare(side: Vectors) -> tuple[Vectors, Vectors, Vectors]:
        wide = (side.astype(np.float64) - centre) / largest
        norm = np.sqrt(np.einsum("ij,ij->i", wide, wide))
        if metric == "cosine":
            wide /= norm[:, None]
            norm = np.ones(len(side))
        return wide.astype(np.float32), norm.astype(np.float32), (norm**2 / 2).astype(np.float32)

    return prepare


def largest_component(left: Vectors, right: Vectors) -> float:
    """The largest absolute component, 1 where all are zero."""
    return max(float(np.abs(side).max(initial=0.0)) for side in (left, right)) or 1.0


def _nominated(scores: Vectors, query_norm: Vectors, target_norm: Vectors, half_square: Vectors, k: int, dim: int) -> tuple[Ints, Ints]:
    """Positions that can be among a row's k highest scores, given how wrong a float32 product can be."""
    width = scores.shape[1]
    if k >= width:
        rows, columns = np.indices(scores.shape).reshape(2, -1)
        return rows, columns
    # The a-priori bound of a product of two rows, with the rounding of the rows themselves and of the half square.
    unit = np.float32((dim + 8) * 2.0**-24)
    error = query_norm[:, None] * (unit * target_norm) + np.float32(2.0**-22) * half_square
    low = scores - error
    # The k-th highest of the maxima of many small groups is at most the k-th highest of all, nearly equal to it, and
    # much cheaper than a partition of the whole row.
    groups = min(width, max(64, 8 * k))
    starts = np.linspace(0, width, groups, endpoint=False).astype(np.int64)
    peaks = np.maximum.reduceat(low, starts, axis=1)
    floor = np.partition(peaks, groups - k, axis=1)[:, groups - k]
    rows, columns = np.nonzero(scores + error >= floor[:, None])
    return rows, columns
