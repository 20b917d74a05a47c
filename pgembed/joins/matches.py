"""Which pairs of a join are matches: a threshold from the shape of the distances themselves, without labels.

A left row's nearest right row competes with a decoy, the right row that would be nearest if that one did not exist. A decoy of a
row that has a true match is wrong for certain, and it came to be in the same way as the nearest row of a row that has none. So the
share of decoys that score as well as t estimates the share of wrong pairs among those that score t or better. The idea is
the false discovery rate of mass spectrometry: Elias and Gygi, Target-Decoy Search Strategy for Increased Confidence in
Large-Scale Protein Identifications by Mass Spectrometry, Nature Methods 2007, https://doi.org/10.1038/nmeth1019. Departs
from it: decoys are second-best rows instead of made-up ones, and the score sees how far away the next row is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pgembed.joins.neighbours import Floats, Ints, Metric, Pairs, numbered

# Distances are wanted to this rank: the match, its decoy, and what comes after the decoy.
DEPTH = 3
# Fewer different left rows than this have no shape to speak of; then nothing is said.
FEWEST_ROWS = 10


def judge(near: Pairs, back: Pairs | None, metric: Metric, precision: float) -> tuple[Ints, Ints] | None:
    """The pairs that are matches, such that about `precision` of them are true.

    Args:
        near: each left row's nearest right rows, at least `DEPTH` of them where there are so many.
        back: each right row's nearest left rows, two at least: then only mutual nearest neighbours are matches, as suits a
            one-to-one mapping; None where several left rows may match one right row.
        precision: wanted share of true pairs among the matches, between 0 and 1.
    Returns:
        Positions on the left and on the right; None where there is too little to judge by: fewer than ten left
        rows that have neighbours, or no row that has three.

    A pair's score is d * (d / next), where next is the distance of the next nearest row on either side: nearness alone
    mistakes crowded places for matches, and the ratio alone far-off places.
    Measured on four benchmarks of entity resolution in tests/benchmarks/bench_joins.py.
    """
    near = _told_apart(near)
    rows_listed = int(near.left.max(initial=-1)) + 1
    first, second, third = (_ranked(near, rank, rows_listed) for rank in range(1, DEPTH + 1))
    rows = np.flatnonzero(first.index >= 0)
    decoyed = np.flatnonzero(third.index >= 0)
    if len(rows) < FEWEST_ROWS or not len(decoyed):
        return None
    suitor = None if back is None else _told_apart(back)
    targets = _scores(rows, first, second, suitor, metric)
    decoys = np.sort(_scores(decoyed, second, third, suitor, metric))
    order = np.argsort(targets, kind="stable")
    # Where a condition leaves some rows fewer than three candidates, they have no decoy and the others' speak for them.
    wrong = np.searchsorted(decoys, targets[order], side="right") * (len(rows) / len(decoyed))
    good = np.flatnonzero((wrong <= (1.0 - precision) * np.arange(1, len(order) + 1)) & (targets[order] < np.inf))
    chosen = rows[order[: good[-1] + 1 if len(good) else 0]]
    return chosen, first.index[chosen]


@dataclass(frozen=True)
class _Ranked:
    """The right row that each left row has at one rank, -1 for none, and its distance, infinite for none."""

    index: Ints
    distance: Floats


def _ranked(pairs: Pairs, rank: int, size: int) -> _Ranked:
    at = pairs.where(pairs.rank == rank)
    index, distance = np.full(size, -1, dtype=np.int64), np.full(size, np.inf)
    index[at.left], distance[at.left] = at.right, at.distance
    return _Ranked(index, distance)


def _told_apart(pairs: Pairs) -> Pairs:
    """Without pairs as far as the one before: a table's second copy of a row is no decoy."""
    fresh = np.ones(len(pairs), dtype=bool)
    fresh[1:] = (np.diff(pairs.left) != 0) | (np.diff(pairs.distance) > 1e-9 * np.abs(pairs.distance[1:]))
    return numbered(pairs.left[fresh], pairs.right[fresh], pairs.distance[fresh])


def _scores(rows: Ints, place: _Ranked, following: _Ranked, back: Pairs | None, metric: Metric) -> Floats:
    """Score of each row's pair, smaller is better, infinite where it must not match because it is not mutual."""
    distance, after = place.distance[rows], following.distance[rows]
    mutual = np.ones(len(rows), dtype=bool)
    if back is not None:
        partner, size = place.index[rows], max(int(place.index.max()), int(back.left.max(initial=-1))) + 1
        mutual = _ranked(back, 1, size).index[partner] == rows
        after = np.minimum(after, _ranked(back, 2, size).distance[partner])
    after = np.where(after < np.inf, np.maximum(after, distance), distance)
    if metric == "inner_product":
        score = 2.0 * distance - after  # what the product below is on a scale that may be negative
    else:
        least = 1e-6 * max(float(after.max(initial=0.0)), 1e-300)
        score = 2.0 * np.log(np.maximum(distance, least)) - np.log(np.maximum(after, least))
    return np.where(mutual, score, np.inf)
