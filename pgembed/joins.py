"""Semantic join: pairs of rows of two tables whose embeddings are near, exact, in bounded memory.

Distances are pgvector's: cosine distance is 1 - cosine, l2 is Euclidean, inner_product is the negative inner product of ``<#>``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from pgembed.errors import DimensionMismatch, InvalidParameter

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
    check: Check | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Pairs:
    """The k nearest right rows of every left row.

    Args:
        left, right: float32, shapes (n, dim) and (m, dim), finite; either may be empty, then there are no pairs.
        k: pairs per left row, at least 1; where k > m there are m.
        metric: pgvector's distance, see above. Under cosine a zero vector has no distance (NaN in pgvector) and no pair.
        max_distance: pairs farther than this are left out; None keeps all k.
        check: called between blocks, a few times a second, so that a cancel takes effect.
        block_bytes: the size of one block of scores.
    Returns:
        Exactly the pairs that sorting all n * m distances would give; equal distances are ordered by right row.
    Raises:
        InvalidParameter: k < 1 or an unknown metric.
        DimensionMismatch: the sides' dims differ.

    A float32 matrix product only nominates: every pair whose score is within the product's rounding error of the k-th best is
    computed again in float64 from the difference or the product of the two vectors, and these values decide.
    """
    left, right = _checked(left, right, metric)
    if k < 1:
        raise InvalidParameter(f"k must be at least 1, not {k}")
    if not len(left) or not len(right):
        return _pairs(*_none())
    # Rows with the same vector (the same text) are searched once: without this a table with thousands of equal rows would
    # nominate all of them for every left row that is near to them.
    left_first, left_group = _distinct(left, metric)
    right_first, right_group = _distinct(right, metric)
    rows, columns, distances = _search(left, right, left_first, right_first, k, metric, check, block_bytes)
    pairs, member = _members(columns, right_group, k)
    pairs_of_group = _best(rows[pairs], member, distances[pairs], k)
    if max_distance is not None:
        pairs_of_group = pairs_of_group.where(pairs_of_group.distance <= max_distance)
    pairs, member = _members(pairs_of_group.left, left_group, len(left))
    return _best(member, pairs_of_group.right[pairs], pairs_of_group.distance[pairs], k)


def one_to_one(
    left: Vectors,
    right: Vectors,
    *,
    metric: Metric = "cosine",
    max_distance: float | None = None,
    check: Check | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Pairs:
    """Pair rows so that none is used twice: the nearest pair of all first, then the nearest among what is still free, and so on.

    Arguments, errors and order are those of `nearest`. Every row of the smaller side gets a partner, unless max_distance
    (or a zero vector) forbids it; rank is always 1. Equal distances go to the smaller left, then the smaller right row.

    This is unique mapping clustering, which precision and recall favour when both tables list a thing once: Papadakis et al.,
    Bipartite Graph Matching Algorithms for Clean-Clean Entity Resolution, EDBT 2022, https://arxiv.org/abs/2112.14030. The
    optimal assignment (least sum of distances) would part two nearly equal rows whenever that brings rows without any true
    partner, which are common in tables, a little nearer. Departs from the paper: candidate lists are lengthened until no row
    asks for more, so the result is that of all n * m distances and no list length has to be guessed. Since "nearer wins" is an
    order both sides agree upon, the greedy result is the one stable matching, and deferred acceptance finds it whatever
    the order of proposals: Gale and Shapley, College Admissions and the Stability of Marriage, 1962,
    https://doi.org/10.2307/2312726.
    """
    left, right = _checked(left, right, metric)
    # Costs are whole multiples of a billionth of the largest possible distance, so that a pair costs the same whichever
    # of the two computations below brings it up, and equal texts are equal.
    quantum = 1e-9 * max(1e-300, {"cosine": 1.0, "l2": _largest(left, right), "inner_product": _largest(left, right) ** 2}[metric])
    worst = np.inf if max_distance is None else np.rint(max_distance / quantum) + 1
    reach = np.full(len(right), worst)  # what a right row's next suitor has to undercut
    holder = np.full(len(right), len(left), dtype=np.int64)
    depth = 16
    first = nearest(left, right, depth, metric=metric, max_distance=max_distance, check=check, block_bytes=block_bytes)
    rows, columns, costs = first.left, first.right, np.rint(first.distance / quantum)
    while len(rows):
        unlucky = _propose(rows, columns, costs, reach, holder, len(left))
        depth *= 2
        willing = _willing(left, right, unlucky, reach, holder, depth, quantum, metric, check, block_bytes)
        rows, columns, costs = willing.left, willing.right, willing.distance
    taken = np.flatnonzero(holder < len(left))
    rows = holder[taken]
    pairs = _best(rows, taken, _exact(left[rows], right[taken], metric), 1)
    return pairs if max_distance is None else pairs.where(pairs.distance <= max_distance)


def _propose(rows: Ints, columns: Ints, costs: Floats, reach: Floats, holder: Ints, nobody: int) -> Ints:
    """Deferred acceptance over sorted candidate lists, into reach and holder; returns the left rows whose list ran out."""
    row, start, count = np.unique(rows, return_index=True, return_counts=True)
    place = dict(zip(row.tolist(), start.tolist(), strict=True))
    end = dict(zip(row.tolist(), (start + count).tolist(), strict=True))
    column, cost = columns.tolist(), costs.tolist()
    asking, unlucky = row.tolist()[::-1], []
    while asking:
        suitor = asking.pop()
        for at in range(place.get(suitor, 0), end.get(suitor, 0)):
            target = column[at]
            if (cost[at], suitor) < (reach[target], holder[target]):
                place[suitor] = at + 1
                if holder[target] != nobody:
                    asking.append(int(holder[target]))
                reach[target], holder[target] = cost[at], suitor
                break
        else:
            unlucky.append(suitor)
    return np.asarray(sorted(unlucky), dtype=np.int64)


def _checked(left: Vectors, right: Vectors, metric: str) -> tuple[Vectors, Vectors]:
    if metric not in METRICS:
        raise InvalidParameter(f'metric "{metric}" does not exist', hint=f"Known metrics: {', '.join(METRICS)}.")
    left, right = (np.asarray(side, dtype=np.float32) for side in (left, right))  # also from pgvector's big-endian wire form
    if len(left) and len(right) and left.shape[1] != right.shape[1]:
        raise DimensionMismatch(f"different vector dimensions {left.shape[1]} and {right.shape[1]}")
    return left, right


def _none() -> tuple[Ints, Ints, Floats]:
    return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64)


def _pairs(rows: Ints, columns: Ints, distances: Floats) -> Pairs:
    """Number the pairs of each row; they are sorted by row and distance."""
    _, start, count = np.unique(rows, return_index=True, return_counts=True)
    return Pairs(rows, columns, distances, np.arange(len(rows)) - np.repeat(start, count) + 1)


def _best(rows: Ints, columns: Ints, distances: Floats, k: int) -> Pairs:
    order = np.lexsort((columns, distances, rows))
    pairs = _pairs(rows[order], columns[order], distances[order])
    return pairs.where(pairs.rank <= k)


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


def _blocks(n: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def _search(
    left: Vectors, right: Vectors, left_at: Ints, right_at: Ints, k: int, metric: str, check: Check | None, block_bytes: int
) -> tuple[Ints, Ints, Floats]:
    """k best of the right rows at right_at for each left row at left_at; positions are counted in these two arrays."""
    prepare = _preparation(left, right, metric)
    height = max(1, block_bytes // (4 * min(TILE, max(1, len(right_at)))))
    found: list[tuple[Ints, Ints, Floats]] = []
    for block in _blocks(len(left_at), height):
        mine = left[left_at[block]]
        query, query_norm, _ = prepare(mine)
        best = _none()
        for tile in _blocks(len(right_at), TILE):
            theirs = right[right_at[tile]]
            target, target_norm, half_square = prepare(theirs)
            scores = query @ target.T
            if metric == "l2":
                scores -= half_square
            rows, columns = _nominated(scores, query_norm, target_norm, half_square, k, left.shape[1])
            distances = np.empty(len(rows))
            for part in _blocks(len(rows), max(1, block_bytes // (16 * left.shape[1]))):
                distances[part] = _exact(mine[rows[part]], theirs[columns[part]], metric)
            merged = (np.append(best[0], rows), np.append(best[1], columns + tile.start), np.append(best[2], distances))
            pairs = _best(*merged, k)
            best = (pairs.left, pairs.right, pairs.distance)
            if check:
                check()
        found.append((best[0] + block.start, best[1], best[2]))
    return _joined(found)


def _joined(found: list[tuple[Ints, Ints, Floats]]) -> tuple[Ints, Ints, Floats]:
    rows, columns, distances = zip(*found, strict=True) if found else ([], [], [])
    return np.concatenate([*rows, _none()[0]]), np.concatenate([*columns, _none()[1]]), np.concatenate([*distances, _none()[2]])


def _largest(left: Vectors, right: Vectors) -> float:
    """The largest absolute component, 1 where all are zero."""
    return max(float(np.abs(side).max(initial=0.0)) for side in (left, right)) or 1.0


def _willing(
    left: Vectors,
    right: Vectors,
    suitors: Ints,
    reach: Floats,
    holder: Ints,
    depth: int,
    quantum: float,
    metric: str,
    check: Check | None,
    block_bytes: int,
) -> Pairs:
    """For each suitor its nearest right rows, at most depth, that would have it; distances in quanta."""
    height = max(1, block_bytes // (8 * min(TILE, max(1, len(right)))))
    centre = right.mean(axis=0, dtype=np.float64)
    found: list[tuple[Ints, Ints, Floats]] = []
    for block in _blocks(len(suitors), height):
        mine, best = suitors[block], _none()
        for tile in _blocks(len(right), TILE):
            cost = np.rint(_table(left[mine], right[tile], centre, metric) / quantum)
            cost[(cost > reach[tile]) | ((cost == reach[tile]) & (mine[:, None] >= holder[tile]))] = np.inf
            cost[np.isnan(cost)] = np.inf  # zero vectors under cosine
            rows = np.repeat(np.arange(len(mine)), min(depth, cost.shape[1]))
            columns = np.argpartition(cost, min(depth, cost.shape[1]) - 1, axis=1)[:, :depth].ravel()
            asked = np.flatnonzero(cost[rows, columns] < np.inf)
            rows, columns = rows[asked], columns[asked]
            costs = np.append(best[2], cost[rows, columns])
            pairs = _best(np.append(best[0], mine[rows]), np.append(best[1], columns + tile.start), costs, depth)
            best = (pairs.left, pairs.right, pairs.distance)
            if check:
                check()
        found.append(best)
    return _pairs(*_joined(found))


def _table(left: Vectors, right: Vectors, centre: Floats, metric: str) -> Floats:
    """Distance of every left and right row in float64, shape (n, m); for l2 with the error of a matrix product."""
    a, b = left.astype(np.float64), right.astype(np.float64)
    if metric == "inner_product":
        return -(a @ b.T)
    if metric == "cosine":
        with np.errstate(invalid="ignore"):
            return 1.0 - np.clip((a / np.linalg.norm(a, axis=1)[:, None]) @ (b / np.linalg.norm(b, axis=1)[:, None]).T, -1.0, 1.0)
    a, b = a - centre, b - centre
    square = np.einsum("ij,ij->i", a, a)[:, None] + np.einsum("ij,ij->i", b, b)
    distant = square - 2.0 * (a @ b.T)
    return np.sqrt(np.where(distant < 1e-14 * square, 0.0, distant))


def _preparation(left: Vectors, right: Vectors, metric: str) -> Callable[[Vectors], tuple[Vectors, Vectors, Vectors]]:
    """How rows are brought into the form in which the largest (product - half square) is the nearest.

    Returns float32 rows, their norms and half squared norms. Cosine: unit length. Otherwise divided by the largest component,
    which changes no order and keeps squares finite; for l2 also moved to the right side's mean, because the rounding error
    grows with the distance from the origin while the distances do not.
    """
    largest = _largest(left, right)
    centre = right.mean(axis=0, dtype=np.float64) if metric == "l2" else np.zeros(1)

    def prepare(side: Vectors) -> tuple[Vectors, Vectors, Vectors]:
        wide = (side.astype(np.float64) - centre) / largest
        norm = np.sqrt(np.einsum("ij,ij->i", wide, wide))
        if metric == "cosine":
            wide /= norm[:, None]
            norm = np.ones(len(side))
        return wide.astype(np.float32), norm.astype(np.float32), (norm**2 / 2).astype(np.float32)

    return prepare


def _nominated(
    scores: Vectors, query_norm: Vectors, target_norm: Vectors, half_square: Vectors, k: int, dim: int
) -> tuple[Ints, Ints]:
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


def _exact(left: Vectors, right: Vectors, metric: str) -> Floats:
    """Distance of left[i] and right[i] in float64."""
    a, b = left.astype(np.float64), right.astype(np.float64)
    if metric == "l2":
        a -= b
        return np.sqrt(np.einsum("ij,ij->i", a, a))
    product = np.einsum("ij,ij->i", a, b)
    if metric == "inner_product":
        return -product
    norms = np.sqrt(np.einsum("ij,ij->i", a, a) * np.einsum("ij,ij->i", b, b))
    return 1.0 - np.clip(product / norms, -1.0, 1.0)
