"""Gradient boosted trees over histograms, in numpy: small, deterministic, unknown values have a side of their own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pgembed.matching.contract import Bools, Floats, Ints

BINS = 33  # of known values; one more holds what is unknown
FEWEST_COLUMNS = 8  # that a tree sees, where there are so many: fewer have no interactions


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
    """

    trees: int = 150
    depth: int = 4
    rate: float = 0.08
    ridge: float = 4.0
    weight: float = 1.0
    rows: float = 0.7
    columns: float = 0.4


@dataclass(frozen=True)
class Trees:
    """A fitted model.

    Attributes:
        edges: for each column the inner borders of its bins, ascending.
        column, border, unknown_right: (trees, 2 ** depth - 1) the question of each node: a row goes right where its bin in `column` is
            above `border`, and, where the value is unknown, where `unknown_right` says so. Nodes are numbered as in a heap.
        leaf: (trees, 2 ** depth) what a leaf adds to the log-odds.
        base: the log-odds before any tree, where no other are given.
    """

    edges: tuple[Floats, ...]
    column: Ints
    border: Ints
    unknown_right: Bools
    leaf: Floats
    base: float

    def log_odds(self, values: npt.NDArray[np.floating], offset: Floats | None = None) -> Floats:
        """The log-odds of each row of (rows, columns) values, beginning with the offset that `fit` was given."""
        bins = np.ascontiguousarray(_binned(values, self.edges).T)
        odds = np.full(len(values), self.base) if offset is None else offset.copy()
        for tree in range(len(self.leaf)):
            odds += self._added(tree, bins)
        return odds

    def _added(self, tree: int, bins: npt.NDArray[np.uint8]) -> Floats:
        """What one tree adds; bins are (columns, rows)."""
        rows, inner = bins.shape[1], self.column.shape[1]
        every = np.arange(rows)
        node = np.zeros(rows, dtype=np.int64)
        for _ in range(inner.bit_length()):
            value = bins[self.column[tree].take(node), every]
            right = value > self.border[tree].take(node)
            unknown = value == BINS
            if unknown.any():
                right[unknown] = self.unknown_right[tree][node[unknown]]
            node = 2 * node + 1 + right
        return np.asarray(self.leaf[tree].take(node - inner))


def fit(
    values: npt.NDArray[np.floating],
    truth: Bools,
    offset: Floats | None = None,
    *,
    signs: tuple[int, ...] | None = None,
    settings: Settings | None = None,
    seed: int = 0,
) -> Trees:
    """Fit trees to the log loss.

    Args:
        values: (rows, columns), NaN where unknown.
        truth: (rows,).
        offset: the log-odds that each row begins with, from what is known without the trees; None begins with the share of the true.
        signs: for each column 1 where more of it may only raise the log-odds, -1 where only lower, 0 where either; None for 0.
        settings, seed: the same give the same trees.

    Chen and Guestrin, XGBoost: A Scalable Tree Boosting System, KDD 2016, https://arxiv.org/abs/1603.02754 (second-order gain, ridge,
    the better side for unknown values); Ke et al., LightGBM, NIPS 2017 (histograms). Every tree has all its levels, because one
    `bincount` then serves all nodes of a level.
    """
    settings = settings or Settings()
    rng = np.random.default_rng(seed)
    edges = tuple(_edges(values[:, column]) for column in range(values.shape[1]))
    bins = _binned(values, edges)
    useful = np.array([column for column, border in enumerate(edges) if len(border) or (bins[:, column] == BINS).any()], dtype=np.int64)
    share = np.clip(truth.mean(), 1e-6, 1 - 1e-6)
    base = float(np.log(share / (1.0 - share)))
    inner = 2**settings.depth - 1
    trees = settings.trees if len(useful) else 0
    column, border = np.zeros((trees, inner), dtype=np.int64), np.full((trees, inner), BINS, dtype=np.int64)
    unknown_right, leaf = np.zeros((trees, inner), dtype=bool), np.zeros((trees, inner + 1))
    slope = np.zeros(values.shape[1], dtype=np.int64) if signs is None else np.array(signs, dtype=np.int64)
    odds = np.full(len(truth), base) if offset is None else offset.copy()
    fitted, turned = Trees(edges, column, border, unknown_right, leaf, base), np.ascontiguousarray(bins.T)
    every = np.arange(len(truth))
    for tree in range(trees):
        chance = 1.0 / (1.0 + np.exp(-np.clip(odds, -30.0, 30.0)))
        first, second = truth - chance, chance * (1.0 - chance)
        seen = np.flatnonzero(rng.random(len(truth)) < settings.rows) if settings.rows < 1.0 else every
        asked = np.sort(rng.permutation(useful)[: max(FEWEST_COLUMNS, round(settings.columns * len(useful)))])
        grown = _grow(bins, first, second, seen, asked, slope, settings)
        column[tree], border[tree], unknown_right[tree], leaf[tree] = grown
        odds += fitted._added(tree, turned)
    return fitted


def _edges(values: npt.NDArray[np.floating]) -> Floats:
    known = np.unique(values[~np.isnan(values)].astype(np.float64))
    if len(known) < 2:
        return np.zeros(0)
    if len(known) <= BINS:
        return np.asarray((known[1:] + known[:-1]) / 2)
    everything = values[~np.isnan(values)].astype(np.float64)
    return np.unique(np.quantile(everything, np.linspace(0, 1, BINS + 1)[1:-1]))


def _binned(values: npt.NDArray[np.floating], edges: tuple[Floats, ...]) -> npt.NDArray[np.uint8]:
    bins = np.empty(values.shape, dtype=np.uint8)
    for column, border in enumerate(edges):
        bins[:, column] = np.searchsorted(border, values[:, column], side="left")
    bins[np.isnan(values)] = BINS
    return bins


def _grow(
    bins: npt.NDArray[np.uint8], first: Floats, second: Floats, seen: Ints, asked: Ints, slope: Ints, settings: Settings
) -> tuple[Ints, Ints, Bools, Floats]:
    """One tree, level by level: the questions of its inner nodes and the values of its leaves."""
    inner, wide = 2**settings.depth - 1, BINS + 1
    column, border, unknown_right = np.zeros(inner, dtype=np.int64), np.full(inner, BINS, dtype=np.int64), np.zeros(inner, dtype=bool)
    place = bins[np.ix_(seen, asked)].astype(np.int64) + np.arange(len(asked)) * wide
    size = len(asked) * wide
    g, h = first[seen], second[seen]
    gs, hs = np.repeat(g, len(asked)), np.repeat(h, len(asked))
    node = np.zeros(len(seen), dtype=np.int64)
    # What a leaf below each node may be at least and at most, so that a monotone column stays monotone.
    low, high = np.full(1, -np.inf), np.full(1, np.inf)
    for level in range(settings.depth):
        nodes = 2**level
        flat = (place + (node * size)[:, None]).ravel()
        sums = [np.bincount(flat, part, minlength=nodes * size).reshape(nodes, len(asked), wide) for part in (gs, hs)]
        total = np.stack(sums).astype(np.float64)
        gain, values = _gains(total, slope[asked], low, high, settings)
        best = gain.reshape(nodes, -1).argmax(1)
        at = np.arange(nodes)
        which, cut = best // (BINS * 2), best % (BINS * 2)
        side, cut = cut % 2, cut // 2
        splits = gain.reshape(nodes, -1)[at, best] > 1e-9
        begin = nodes - 1
        column[begin : begin + nodes] = np.where(splits, asked[which], 0)
        border[begin : begin + nodes] = np.where(splits, cut, BINS)
        unknown_right[begin : begin + nodes] = splits & (side == 1)
        sign = np.where(splits, slope[asked][which], 0)
        middle = values.reshape(2, nodes, -1)[:, at, best].mean(0)
        low, high = (
            np.column_stack([np.where(sign < 0, middle, low), np.where(sign > 0, middle, low)]).ravel(),
            np.column_stack([np.where(sign > 0, middle, high), np.where(sign < 0, middle, high)]).ravel(),
        )
        value = bins[seen, column[begin + node]]
        node = 2 * node + np.where(value == BINS, unknown_right[begin + node], value > border[begin + node])
    leaf = np.bincount(node, g, minlength=inner + 1) / (np.bincount(node, h, minlength=inner + 1) + settings.ridge)
    return column, border, unknown_right, settings.rate * np.clip(leaf, low, high)


def _gains(total: Floats, slope: Ints, low: Floats, high: Floats, settings: Settings) -> tuple[Floats, Floats]:
    """Gain of each question (node, column, border, where the unknown go) and the values of both sides."""
    below = np.cumsum(total[..., :BINS], axis=-1)
    unknown, whole = total[..., BINS:], total.sum(-1, keepdims=True)
    left = np.stack([below + unknown, below], axis=-1)
    right = whole[..., None] - left
    bound = (low[:, None, None, None], high[:, None, None, None])
    value = np.stack([np.clip(part[0] / (part[1] + settings.ridge), *bound) for part in (left, right)])
    # What the loss falls by where a side of gradient g and curvature h takes the value v: g v - (h + ridge) v^2 / 2.
    worth = sum(part[0] * v - 0.5 * (part[1] + settings.ridge) * v**2 for part, v in zip((left, right), value, strict=True))
    v = np.clip(whole[0, ..., None] / (whole[1, ..., None] + settings.ridge), *bound)
    gain = worth - (whole[0, ..., None] * v - 0.5 * (whole[1, ..., None] + settings.ridge) * v**2)
    fits = (left[1] >= settings.weight) & (right[1] >= settings.weight)
    fits &= (value[1] - value[0]) * slope[None, :, None, None] >= 0
    return np.where(fits, gain, 0.0), value
