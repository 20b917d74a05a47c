"""Which pairs of a join are matches: a threshold from the shape of the distances themselves, without labels.

A left row's nearest right row competes with a decoy: what its nearest would be like if it had no match. The share of decoys that score
as well as t estimates the share of wrong pairs among those that score t or better. The idea is the false discovery rate of mass
spectrometry: Elias and Gygi, Target-Decoy Search Strategy for Increased Confidence in Large-Scale Protein Identifications by Mass
Spectrometry, Nature Methods 2007, https://doi.org/10.1038/nmeth1019. Departs from it: decoys are made of a row's next neighbours instead
of made-up sequences. Where the nearest is a match, the second is the decoy as it stands. Where it is none, the second is too far off to
stand for it, because the nearest of many is nearer than the second; the law of spacings says by how much: around a point in D dimensions
(d1/d2)^D and (d2/d3)^2D are distributed alike, so d2 * (d2/d3)^2 stands for d1, whatever D is (Levina and Bickel, Maximum Likelihood
Estimation of Intrinsic Dimension, NIPS 2004, https://papers.nips.cc/paper/2577, use the same law).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pgembed.joins.neighbours import Floats, Ints, Metric, Pairs, numbered

# Distances are wanted to this rank: the match, its decoy, and what comes after the decoy.
DEPTH = 3
LEAST = 1e-9  # distance of rows that are equal but for rounding
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

    A pair's score is d * (d / next), in logarithms, where next is the distance of the next nearest row (on either side, where pairs
    must be mutual): nearness alone mistakes crowded places for matches, and the ratio alone far-off places.
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
    seconds = _scores(decoyed, second, third, suitor, metric)
    near_by, next_by = _value(second.distance[decoyed], metric), _value(third.distance[decoyed], metric)
    spaced = np.where(seconds < np.inf, near_by - 4.0 * (next_by - near_by), np.inf)
    # Which of the two a row's decoy is depends on whether it has a match. The first threshold takes all for matches and is too lenient
    # where few are; it tells well enough which rows have one, and the second threshold counts.
    has_match = np.zeros(len(first.index), dtype=bool)
    has_match[rows[_within(targets, seconds, precision)]] = True
    chosen = rows[_within(targets, np.where(has_match[decoyed], seconds, spaced), precision)]
    return chosen, first.index[chosen]


def _within(targets: Floats, decoys: Floats, precision: float) -> Ints:
    """Positions of the best targets, as many as the decoys allow with that precision."""
    order = np.argsort(targets, kind="stable")
    # Where a condition leaves some rows fewer than three candidates, they have no decoy and the others' speak for them.
    wrong = np.searchsorted(np.sort(decoys), targets[order], side="right") * (len(targets) / len(decoys))
    good = np.flatnonzero((wrong <= (1.0 - precision) * np.arange(1, len(order) + 1)) & (targets[order] < np.inf))
    return order[: good[-1] + 1 if len(good) else 0]


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
    return np.where(mutual, 2.0 * _value(distance, metric) - _value(after, metric), np.inf)


def _value(distance: Floats, metric: Metric) -> Floats:
    """Distances on a scale on which a ratio is a difference; inner products may be negative and are taken as they are."""
    if metric == "inner_product":
        return distance
    return np.asarray(np.log(np.maximum(distance, LEAST)))
