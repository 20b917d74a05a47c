"""Gradient boosted trees over histograms, in numpy: small, deterministic, unknown values have a side of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]

BINS = 33  # of known values; one more holds what is unknown
FEWEST_COLUMNS = 8  # that a tree sees, where there are so many: fewer have no interactions
_NEVER = 255  # a border that no bin is above


@dataclass(frozen=True)
class Settings:
    """How trees are grown: one setting for all data.

    Attributes:
        trees: how many.
        depth: questions on the way to a leaf.
        rate: share of each tree's correction that is applied.
        ridge: added to each leaf's sum of second derivatives.
        weight: least sum of second derivatives of a leaf.
        rows, columns: share that each tree sees.
        most: rows that a tree sees at most; None: however many there are. Half of them are those with the largest gradients, the rest is
            drawn from the others and counts for all of them (Ke et al., LightGBM, NIPS 2017, "gradient-based one-side sampling").
    """

    trees: int = 60
    depth: int = 4
    rate: float = 0.2
    ridge: float = 4.0
    weight: float = 1.0
    rows: float = 0.7
    columns: float = 0.4
    most: int | None = None


@dataclass(frozen=True)
class Bins:
    """Values as numbers of bins, (columns, rows) uint8: what is unknown is above all known in `upper`, among the least in `lower`.

    Bins know no labels, so many fits can share them, of whichever rows each learns from.
    """

    upper: npt.NDArray[np.uint8]
    lower: npt.NDArray[np.uint8]

    def of(self, rows: Ints | Bools) -> Bins:
        """Those of some rows."""
        return Bins(self.upper[:, rows], self.lower[:, rows])

    def beside(self, other: Bins) -> Bins:
        """These columns and another's."""
        return Bins(np.vstack([self.upper, other.upper]), np.vstack([self.lower, other.lower]))


@dataclass(frozen=True)
class Borders:
    """Where the bins of each column end: what trees need to be asked about values that they have not seen."""

    of_column: list[npt.NDArray[np.floating]]

    def bins(self, values: npt.NDArray[np.floating]) -> Bins:
        """Bins of (rows, columns) values, NaN where unknown."""
        upper = np.empty(values.shape[::-1], dtype=np.uint8)
        lower = np.empty_like(upper)
        for at, borders in enumerate(self.of_column):
            column = np.ascontiguousarray(values[:, at])
            upper[at] = np.searchsorted(borders, column, side="left")
            unknown = np.isnan(column)
            lower[at] = np.where(unknown, 0, upper[at])
            upper[at][unknown] = BINS
        return Bins(upper, lower)


def borders(values: npt.NDArray[np.floating]) -> Borders:
    """So that these (rows, columns) values are as many in each bin of a column."""
    return Borders([_edges(np.ascontiguousarray(values[:, at])) for at in range(values.shape[1])])


def binned(values: npt.NDArray[np.floating], among: Ints | None = None) -> Bins:
    """Bins of (rows, columns) values, NaN where unknown; so that the rows ``among`` (None: all) are as many in each bin of a column."""
    return borders(values if among is None else values[among]).bins(values)


@dataclass(frozen=True)
class Trees:
    """A fitted model.

    Attributes:
        column, border, unknown_right: (trees, 2 ** depth - 1) the question of each node: a row goes right where its bin in `column` is
            above `border`, and, where the value is unknown, where `unknown_right` says so. Nodes are numbered as in a heap.
        leaf: (trees, 2 ** depth) what a leaf adds to the log-odds.
        base: the log-odds before any tree, where no other are given.
    """

    column: Ints
    border: Ints
    unknown_right: Bools
    leaf: Floats
    base: float

    def log_odds(self, bins: Bins, offset: Floats | None = None) -> Floats:
        """The log-odds of each row, beginning with the offset that `fit` was given; bins are those that `fit` had, of any rows."""
        odds = np.full(bins.upper.shape[1], self.base) if offset is None else offset.copy()
        for tree in range(len(self.leaf)):
            odds += self._added(tree, bins)
        return odds

    def _added(self, tree: int, bins: Bins) -> Floats:
        """What one tree adds.

        All questions are asked of all rows, in long passes over bytes: that is quicker than to look up each row's own question.
        """
        node = np.zeros(bins.upper.shape[1], dtype=np.uint8)
        begin, wide = 0, 1
        while begin < self.column.shape[1]:
            answers = []
            for at in range(begin, begin + wide):
                side = bins.upper if self.unknown_right[tree, at] else bins.lower
                answers.append((side[self.column[tree, at]] > self.border[tree, at]).view(np.uint8))
            # Of each row's answers the one of its node: half as many with every bit of the node's number.
            for level in range(wide.bit_length() - 1):
                bit = (node >> level) & 1
                answers = [left ^ ((left ^ right) & bit) for left, right in zip(answers[::2], answers[1::2], strict=True)]
            node = (node << 1) | answers[0]
            begin, wide = begin + wide, 2 * wide
        return np.asarray(self.leaf[tree].take(node))


def softmax(odds: Floats, start: Ints) -> Floats:
    """Probabilities of the rows of each group: the groups follow each other, and begin at ``start``; none is empty."""
    if not len(start):
        return np.zeros(0)
    size = np.diff(start, append=len(odds))
    share = np.exp(odds - np.repeat(np.maximum.reduceat(odds, start), size))
    return np.asarray(share / np.repeat(np.add.reduceat(share, start), size))


def fit(
    bins: Bins,
    truth: Bools,
    offset: Floats | None = None,
    *,
    start: Ints | None = None,
    weight: Floats | None = None,
    settings: Settings | None = None,
    seed: int = 0,
    check: Callable[[], None] | None = None,
) -> Trees:
    """Fit trees to the log loss, of each row by itself or of one choice in each group of rows.

    Args:
        bins: of the rows to learn from.
        truth: (rows,).
        start: where the groups begin, of which one row each is true: then odds are compared within a group only (`softmax`; Cao et al.,
            Learning to Rank: From Pairwise Approach to Listwise Approach, ICML 2007, with one right answer: a conditional logit).
            None: each row is true or not by itself.
        offset: the log-odds that each row begins with, from what is known without the trees; None begins with the share of the true.
        weight: how much each row counts, about 1 on average; None: all the same.
        settings, seed: the same give the same trees.
        check: called before each tree.

    Chen and Guestrin, XGBoost: A Scalable Tree Boosting System, KDD 2016, https://arxiv.org/abs/1603.02754 (second-order gain, ridge,
    the better side for unknown values); Ke et al., LightGBM, NIPS 2017 (histograms, a sibling's is what its parent's has more). Every
    tree has all its levels, because one `bincount` then serves all nodes of a level.
    """
    settings = settings or Settings()
    rng = np.random.default_rng(seed)
    useful = np.flatnonzero(bins.upper.min(1) < bins.upper.max(1)) if len(truth) else np.zeros(0, dtype=np.int64)
    share = np.clip(truth.mean(), 1e-6, 1 - 1e-6)
    base = float(np.log(share / (1.0 - share))) if start is None else 0.0
    inner = 2**settings.depth - 1
    trees = settings.trees if len(useful) else 0
    column, border = np.zeros((trees, inner), dtype=np.int64), np.full((trees, inner), _NEVER, dtype=np.int64)
    unknown_right, leaf = np.zeros((trees, inner), dtype=bool), np.zeros((trees, inner + 1))
    odds = np.full(len(truth), base) if offset is None else offset.copy()
    fitted = Trees(column, border, unknown_right, leaf, base)
    by_row, every = np.ascontiguousarray(bins.upper.T), np.arange(len(truth))
    with_unknown = (bins.upper == BINS).any(1)
    for tree in range(trees):
        if check:
            check()
        chance = 1.0 / (1.0 + np.exp(-np.clip(odds, -30.0, 30.0))) if start is None else softmax(odds, start)
        first, second = truth - chance, chance * (1.0 - chance)
        if weight is not None:
            first, second = first * weight, second * weight
        seen = np.flatnonzero(rng.random(len(truth)) < settings.rows) if settings.rows < 1.0 else every
        if settings.most is not None and len(seen) > settings.most:
            seen, times = _telling(first, seen, settings.most, rng)
            first[seen] *= times
            second[seen] *= times
        asked = np.sort(rng.permutation(useful)[: max(FEWEST_COLUMNS, round(settings.columns * len(useful)))])
        # Columns with unknown values first: only those have two questions of a border.
        asked = asked[np.argsort(~with_unknown[asked], kind="stable")]
        place = by_row[seen][:, asked] + np.arange(len(asked)) * (BINS + 1)
        grown = _grow(place, first[seen], second[seen], asked, int(with_unknown[asked].sum()), settings)
        column[tree], border[tree], unknown_right[tree], leaf[tree] = grown
        odds += fitted._added(tree, bins)
    return fitted


def _telling(first: Floats, seen: Ints, most: int, rng: np.random.Generator) -> tuple[Ints, Floats]:
    """Of the rows ``seen`` as many as ``most``, those with the largest gradients first, and for how many each of them counts."""
    large = most // 2
    order = np.argpartition(-np.abs(first[seen]), large)
    others = order[large:]
    drawn = others[np.sort(rng.permutation(len(others))[: most - large])]
    times = np.ones(most)
    times[large:] = len(others) / len(drawn)
    chosen = np.concatenate([order[:large], drawn])
    by_place = np.argsort(chosen)
    return seen[chosen[by_place]], times[by_place]


def _edges(values: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    known = np.sort(values[~np.isnan(values)])
    different = known[np.flatnonzero(np.diff(known, prepend=-np.inf))]
    if len(different) <= BINS:
        return np.asarray((different[1:] + different[:-1]) / 2)
    return np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1]).astype(values.dtype))


def _grow(place: Ints, first: Floats, second: Floats, asked: Ints, doubtful: int, settings: Settings) -> tuple[Ints, Ints, Bools, Floats]:
    """One tree, level by level: the questions of its inner nodes and the values of its leaves.

    ``place`` is (rows, asked) where each value counts in a histogram of all asked columns; the first ``doubtful`` columns have unknown
    values.
    """
    inner, wide = 2**settings.depth - 1, BINS + 1
    column, border, unknown_right = np.zeros(inner, dtype=np.int64), np.full(inner, _NEVER, dtype=np.int64), np.zeros(inner, dtype=bool)
    rows, many = place.shape
    size, every = many * wide, np.arange(rows)
    node = np.zeros(rows, dtype=np.int64)
    total = np.zeros((2, 1, many, wide))
    for level in range(settings.depth):
        nodes = 2**level
        if level == 0:
            total = _histograms(place, node, first, second, 1, size).reshape(2, 1, many, wide)
        else:
            # Only the smaller child of each node is counted; the larger one is what is left of its parent.
            count = np.bincount(node, minlength=nodes).reshape(-1, 2)
            smaller = count[:, 1] < count[:, 0]
            these = np.flatnonzero((node & 1) == smaller[node >> 1])
            part = _histograms(place[these], node[these] >> 1, first[these], second[these], nodes // 2, size).reshape(2, -1, many, wide)
            rest = total - part
            right = smaller[:, None, None]
            total = np.stack([np.where(right, rest, part), np.where(right, part, rest)], axis=2).reshape(2, nodes, many, wide)
        gain, which, cut, side = _best(total, doubtful, settings)
        splits = gain > 1e-9
        here = slice(nodes - 1, 2 * nodes - 1)
        column[here] = np.where(splits, asked[which], 0)
        border[here] = np.where(splits, cut, _NEVER)
        unknown_right[here] = splits & side
        value = place[every, which[node]] - which[node] * wide
        goes = np.where(value == BINS, side[node], value > cut[node])
        node = 2 * node + (goes & splits[node])
    leaf = np.bincount(node, first, minlength=inner + 1) / (np.bincount(node, second, minlength=inner + 1) + settings.ridge)
    return column, border, unknown_right, settings.rate * leaf


def _histograms(place: Ints, node: Ints, first: Floats, second: Floats, nodes: int, size: int) -> Floats:
    """Sums of both derivatives by node, column and bin: (2, nodes * size)."""
    flat = (place + (node * size)[:, None]).ravel()
    return np.stack([np.bincount(flat, np.repeat(part, place.shape[1]), minlength=nodes * size) for part in (first, second)])


def _best(total: Floats, doubtful: int, settings: Settings) -> tuple[Floats, Ints, Ints, Bools]:
    """Of each node the best question: its gain, column, border, and whether the unknown go right."""
    below = np.cumsum(total[..., :BINS], axis=-1)
    whole = below[..., -1:] + total[..., BINS:]
    stays = _worth(whole, settings)[:, :1, 0]
    gains = [_worth(below, settings) + _worth(whole - below, settings)]
    fits = [(below[1] >= settings.weight) & (whole[1] - below[1] >= settings.weight)]
    if doubtful:
        left, both = below[:, :, :doubtful] + total[:, :, :doubtful, BINS:], whole[:, :, :doubtful]
        gains.append(_worth(left, settings) + _worth(both - left, settings))
        fits.append((left[1] >= settings.weight) & (both[1] - left[1] >= settings.weight))
    nodes = total.shape[1]
    gain = np.concatenate([np.where(fit, gain, 0.0).reshape(nodes, -1) for gain, fit in zip(gains, fits, strict=True)], axis=1)
    at = gain.argmax(1)
    side = at < total.shape[2] * BINS
    at = np.where(side, at, at - total.shape[2] * BINS)
    return gain.max(1) - stays[:, 0], at // BINS, at % BINS, side


def _worth(part: Floats, settings: Settings) -> Floats:
    """What the loss falls by, twice, where a leaf holds these sums of derivatives."""
    return np.asarray(part[0] ** 2 / (part[1] + settings.ridge))
