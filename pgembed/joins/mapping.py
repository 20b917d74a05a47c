"""One-to-one mapping: every row of either side in at most one pair."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pgembed.joins import neighbours
from pgembed.joins.neighbours import BLOCK_BYTES, Check, Floats, Ints, Metric, Pairs, Vectors

FIRST_DEPTH = 16  # candidates of the first round; rows that need more ask again


def one_to_one(
    left: Vectors,
    right: Vectors,
    *,
    metric: Metric = "cosine",
    max_distance: float | None = None,
    listed: tuple[Sequence[int], Sequence[int]] | None = None,
    same: bool = False,
    check: Check | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Pairs:
    """Pair rows so that none is used twice: the nearest pair of all first, then the nearest among what is still free, and so on.

    Arguments, errors and order are those of `neighbours.nearest`; listed, positions on both sides, are the only pairs allowed.
    Every row of the smaller side gets a partner, unless max_distance, listed or a zero vector forbids it; rank is always 1.
    Equal distances go to the smaller left, then the smaller right row.

    This is unique mapping clustering, which precision and recall favour when both tables list a thing once: Papadakis et al.,
    Bipartite Graph Matching Algorithms for Clean-Clean Entity Resolution, EDBT 2022, https://arxiv.org/abs/2112.14030. The
    optimal assignment (least sum of distances) would part two nearly equal rows whenever that brings rows without any true
    partner, which are common in tables, a little nearer. Departs from the paper: candidate lists are lengthened until no row
    asks for more, so the result is that of all n * m distances and no list length has to be guessed. Since "nearer wins" is an
    order both sides agree upon, the greedy result is the one stable matching, and deferred acceptance finds it whatever
    the order of proposals: Gale and Shapley, College Admissions and the Stability of Marriage, 1962,
    https://doi.org/10.2307/2312726.
    """
    left, right = neighbours.checked(left, right, metric)
    # Costs are whole multiples of a billionth of the largest component, so that a pair costs the same whichever of the two
    # computations below brings it up, and equal texts are equal.
    largest = neighbours.largest_component(left, right)
    quantum = 1e-9 * {"cosine": 1.0, "l2": largest, "inner_product": largest**2}[metric]
    reach = np.full(len(right), np.inf)  # what a right row's next suitor has to undercut
    holder = np.full(len(right), len(left), dtype=np.int64)
    if listed is not None:
        asking = neighbours.among(left, right, listed, metric=metric, same=same, check=check, block_bytes=block_bytes)
    else:
        asking = neighbours.nearest(left, right, FIRST_DEPTH, metric=metric, same=same, check=check, block_bytes=block_bytes)
    if max_distance is not None:
        asking = asking.where(asking.distance <= max_distance)
        reach[:] = np.rint(max_distance / quantum) + 1
    rows, columns, costs = asking.left, asking.right, np.rint(asking.distance / quantum)
    depth = FIRST_DEPTH
    while len(rows):
        unlucky = _propose(rows, columns, costs, reach, holder, len(left))
        if listed is not None:
            break  # the lists were complete
        depth *= 2
        willing = _willing(left, right, unlucky, reach, holder, depth, quantum, metric, same, check, block_bytes)
        rows, columns, costs = willing.left, willing.right, willing.distance
    taken = np.flatnonzero(holder < len(left))
    rows = holder[taken]
    pairs = neighbours.best(rows, taken, neighbours.exact(left[rows], right[taken], metric), 1)
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


def _willing(
    left: Vectors,
    right: Vectors,
    suitors: Ints,
    reach: Floats,
    holder: Ints,
    depth: int,
    quantum: float,
    metric: str,
    same: bool,
    check: Check | None,
    block_bytes: int,
) -> Pairs:
    """For each suitor its nearest right rows, at most depth, that would have it; distances in quanta."""
    height = max(1, block_bytes // (8 * min(neighbours.TILE, max(1, len(right)))))
    centre = right.mean(axis=0, dtype=np.float64)
    found: list[Pairs] = []
    for block in neighbours.blocks(len(suitors), height):
        mine = suitors[block]
        for tile in neighbours.blocks(len(right), neighbours.TILE):
            cost = np.rint(_table(left[mine], right[tile], centre, metric) / quantum)
            cost[(cost > reach[tile]) | ((cost == reach[tile]) & (mine[:, None] >= holder[tile]))] = np.inf
            cost[np.isnan(cost)] = np.inf  # zero vectors under cosine
            if same:
                cost[mine[:, None] == np.arange(tile.start, tile.stop)] = np.inf
            width = min(depth, cost.shape[1])
            rows = np.repeat(np.arange(len(mine)), width)
            columns = np.argpartition(cost, width - 1, axis=1)[:, :width].ravel()
            asked = np.flatnonzero(cost[rows, columns] < np.inf)
            rows, columns = rows[asked], columns[asked]
            found.append(Pairs(mine[rows], columns + tile.start, cost[rows, columns], rows))
            if check:
                check()
        found = [neighbours.merged(found, depth)]
    return neighbours.merged(found, depth)


def _table(left: Vectors, right: Vectors, centre: Floats, metric: str) -> Floats:
    """Distance of every left and right row in float64, shape (n, m); for l2 with the error of a matrix product."""
    a, b = left.astype(np.float64), right.astype(np.float64)
    if metric == "inner_product":
        return np.asarray(-(a @ b.T))
    if metric == "cosine":
        with np.errstate(invalid="ignore"):
            return np.asarray(
                1.0 - np.clip((a / np.linalg.norm(a, axis=1)[:, None]) @ (b / np.linalg.norm(b, axis=1)[:, None]).T, -1.0, 1.0)
            )
    a, b = a - centre, b - centre
    square = np.einsum("ij,ij->i", a, a)[:, None] + np.einsum("ij,ij->i", b, b)
    distant = square - 2.0 * (a @ b.T)
    return np.asarray(np.sqrt(np.where(distant < 1e-14 * square, 0.0, distant)))
