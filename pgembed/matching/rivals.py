"""Which pairs a mapping would choose, by how much each leads, and what each left row would be given if its partner were not there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pgembed.matching.contract import Bools, Floats, Ints, MappingKind
from pgembed.matching.curves import rising

LEAST_GAP = 1e-9  # scores nearer than this share of their spread are of equal rows: a table's second copy of a row is no rival
FEWEST_SCORES = 6  # of one row, below which they are not the largest of many
FEWEST_SIGNS = 10  # rows whose gaps can be compared, for anything to be said of all together


@dataclass(frozen=True)
class Chosen:
    """What a mapping makes of candidate pairs; positions among the candidates.

    Attributes:
        pairs: chosen pairs, at most one a left row, ascending.
        decoys: the pair that a left row with a chosen one would have without it (and without others just as good); ascending by left row.
        owner: of each decoy the place in ``pairs`` of its left row's own.
        rest: of all candidates those that remain if every left row's chosen pair, and others just as good, are thought away.
    """

    pairs: Ints
    decoys: Ints
    owner: Ints
    rest: Bools


def chosen(left: Ints, right: Ints, score: Floats, mapping: MappingKind) -> Chosen:
    """Each left row's pair under a mapping, and its decoy: the best other pair that the mapping would let it have.

    Args:
        left, right: positions in the two inputs, any order, no pair twice.
        score: finite, larger is better; equal scores go to the smaller left, then the smaller right row.
        mapping: 'many': each left row's best. 'mutual': pairs that are the best of both their rows. 'one_to_one': the best pair of all,
            then the best of those that are free.

    A row's decoy is what it would be given if its partner were missing from the right table: in a one-to-one mapping its best pair whose
    right row is free or held by a worse pair, among mutual ones its best with a right row that likes no other left row better. Only one
    row is thought away at a time, all others stay, so a decoy meets the competition that a row without a partner really meets. Where
    the mapping leaves nearly no row a decoy (every right row is taken, by better pairs), the best other pair serves, taken or not.
    """
    if not len(left):
        nothing = np.empty(0, dtype=np.int64)
        return Chosen(nothing, nothing, nothing, np.empty(0, dtype=bool))
    rows, columns = int(left.max()) + 1, int(right.max()) + 1
    if mapping == "one_to_one":
        pairs = greedy(left, right, score)
    else:
        keep = _bests(left, right, score)
        if mapping == "mutual":
            keep &= _bests(right, left, score)
        pairs = np.flatnonzero(keep)
    place = np.full(rows, -1, dtype=np.int64)
    place[left[pairs]] = np.arange(len(pairs))
    own = np.full(rows, -np.inf)
    own[left[pairs]] = score[pairs]
    gap = LEAST_GAP * (float(score.std()) or 1.0)
    other = (place[left] >= 0) & (score < own[left] - gap)
    if mapping == "one_to_one":
        held = np.full(columns, -np.inf)
        held[right[pairs]] = score[pairs]
        allowed = other & (score > held[right])
    elif mapping == "mutual":
        allowed = other & (lead(right, score) > 0)
    else:
        allowed = other
    decoys = _first(left, right, score, allowed)
    if len(decoys) < min(10, len(pairs)):
        decoys = _first(left, right, score, other)
    return Chosen(pairs, decoys, place[left[decoys]], ~(np.abs(score - own[left]) <= gap))


def greedy(left: Ints, right: Ints, score: Floats) -> Ints:
    """Places of the pairs of unique mapping clustering, ascending: the best pair of all first, then the best of what is free, and so on.

    In rounds: a pair that is the best left to both its rows is chosen by the greedy order whatever else is, so all such are taken at once.
    """
    order = np.lexsort((right, left, -score))
    rank = np.empty(len(left), dtype=np.int64)
    rank[order] = np.arange(len(left))
    free, found = np.arange(len(left)), [np.empty(0, dtype=np.int64)]
    best_left = np.empty(int(left.max(initial=-1)) + 1, dtype=np.int64)
    best_right = np.empty(int(right.max(initial=-1)) + 1, dtype=np.int64)
    while len(free):
        best_left[:], best_right[:] = len(left), len(left)
        np.minimum.at(best_left, left[free], rank[free])
        np.minimum.at(best_right, right[free], rank[free])
        taken = free[(best_left[left[free]] == rank[free]) & (best_right[right[free]] == rank[free])]
        found.append(taken)
        used_left, used_right = np.zeros(len(best_left), dtype=bool), np.zeros(len(best_right), dtype=bool)
        used_left[left[taken]], used_right[right[taken]] = True, True
        free = free[~used_left[left[free]] & ~used_right[right[free]]]
    return np.sort(np.concatenate(found))


def lead(row: Ints, score: Floats) -> Floats:
    """By how much each pair's score is above the best other one of its row; negative for the others, infinite for a row's only one.

    Pairs as good as the row's best but for rounding count as one with it.
    """
    if not len(row):
        return np.empty(0)
    order = np.lexsort((-score, row))
    rows, scores = row[order], score[order]
    start = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]])
    first = np.repeat(scores[start], np.diff(np.r_[start, len(rows)]))
    tied = scores >= first - LEAST_GAP * (float(score.std()) or 1.0)
    following = np.maximum.reduceat(np.where(tied, -np.inf, scores), start)
    following = np.repeat(following, np.diff(np.r_[start, len(rows)]))
    by = np.empty(len(row))
    by[order] = scores - np.where(tied, following, first)
    return by


@dataclass(frozen=True)
class Leaning:
    """Of each left row whether its best score stands out, and by how much; see `leaning`.

    Attributes:
        sign: 1, -1, or 0 for a row without pairs.
        size: how large the gap is that decides the sign; infinite where a row has too few scores to trust the sign, 0 where it has none.
    """

    sign: Floats
    size: Floats

    def excess(self) -> Floats:
        """By how much rows that stand out are more, at each row's size: between 0 and 1, larger for larger sizes; shape (rows,).

        1 for rows whose sign says nothing: any of them may have a partner.

        Where no row has a partner both signs are as likely at any size, and the sum over rows is next to 0 whatever their number.
        """
        share = np.isinf(self.size).astype(np.float64)
        there = np.flatnonzero((self.size > 0) & np.isfinite(self.size))
        if len(there):
            share[there] = np.clip(rising(self.size[there], self.sign[there], np.ones(len(there))), 0.0, 1.0)
        return share

    def any_match(self) -> float | None:
        """The logarithm of how much likelier the signs are if some row has a partner than if none has; None where they cannot tell.

        If none has, signs are fair coins at every size. If some have, the r largest sizes lean to 1 with an unknown share above one
        half, r being unknown too: the Bayes factor is the mean over both. This is the symmetry by which knockoffs are told from
        what is real (Barber and Candès, Annals of Statistics 2015, https://doi.org/10.1214/15-AOS1337).
        """
        known = np.flatnonzero((self.size > 0) & np.isfinite(self.size))
        if len(known) < FEWEST_SIGNS:
            return None
        ones = np.cumsum(self.sign[known[np.lexsort((self.sign[known], -self.size[known]))]] > 0)
        up_to = np.unique(np.minimum(np.round(2.0 ** np.arange(0.0, 40.0, 0.5)), len(ones))).astype(np.int64)
        right, wrong = ones[up_to - 1][:, None], (up_to - ones[up_to - 1])[:, None]
        share = 0.5 + 0.5 * (np.arange(200) + 0.5) / 200
        log = right * np.log(2.0 * share) + wrong * np.log(2.0 * (1.0 - share))
        return float(np.logaddexp.reduce(log.ravel()) - np.log(log.size))


def leaning(row: Ints, score: Floats) -> Leaning:
    """Whether each row's best score stands out: 1 where it leads the second by more than twice what the second leads the third by, else -1.

    Where all scores of a row are of one kind, both are as likely: the gaps of the largest of many independent draws with an exponential
    tail are independent, the j-th of mean 1 / j (Rényi, On the Theory of Order Statistics, Acta Mathematica 1953,
    https://doi.org/10.1007/BF02127580). So rows without a partner add up to about 0, whatever their scores are, and the larger of the
    lead and twice the second gap, the size, says nothing about the sign. Rows with fewer than three scores count as 1, rows without any
    as 0; of equal scores one counts.
    """
    sign, size = np.zeros(int(row.max(initial=-1)) + 1), np.zeros(int(row.max(initial=-1)) + 1)
    if not len(row):
        return Leaning(sign, size)
    order = np.lexsort((-score, row))
    rows, scores = row[order], score[order]
    fresh = np.ones(len(rows), dtype=bool)
    fresh[1:] = (rows[1:] != rows[:-1]) | (scores[:-1] - scores[1:] > LEAST_GAP * (float(score.std()) or 1.0))
    rows, scores = rows[fresh], scores[fresh]
    start = np.flatnonzero(np.diff(rows, prepend=-1))
    count = np.diff(np.r_[start, len(rows)])
    sign[rows[start]], size[rows[start]] = 1.0, np.inf
    start = start[count >= 3]
    few = count[count >= 3] < FEWEST_SCORES
    lead, second = scores[start] - scores[start + 1], 2.0 * (scores[start + 1] - scores[start + 2])
    sign[rows[start]] = np.where(lead > second, 1.0, -1.0)
    size[rows[start]] = np.where(few, np.inf, np.maximum(lead, second))
    return Leaning(sign, size)


def _bests(row: Ints, other: Ints, score: Floats) -> Bools:
    """Of each row its best pair; of equal ones that of the smaller other row."""
    best = np.zeros(len(row), dtype=bool)
    best[_first(row, other, score, np.ones(len(row), dtype=bool))] = True
    return best


def _first(row: Ints, other: Ints, score: Floats, keep: Bools) -> Ints:
    """Places of each row's best pair among those that are kept, ascending by row."""
    kept = np.flatnonzero(keep)
    kept = kept[np.lexsort((other[kept], -score[kept], row[kept]))]
    return kept[np.r_[True, row[kept][1:] != row[kept][:-1]]] if len(kept) else kept
