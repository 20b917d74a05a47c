"""What the other candidates of a pair's two rows look like: a pair is rarely right where a better one stands beside it."""

from __future__ import annotations

import numpy as np

from pgembed.matching.contract import Bools, Floats, Ints, MappingKind


def best_of_others(score: Floats, group: Ints) -> Floats:
    """The best score among the other pairs of the same group; NaN where there is no other. NaN scores are the worst of all."""
    out = np.full(len(score), np.nan)
    if not len(score):
        return out
    score = np.where(np.isnan(score), -np.inf, score)
    order = np.lexsort((-score, group))
    first = np.flatnonzero(np.diff(group[order], prepend=group[order][0] - 1))
    ends = np.append(first[1:], len(order))
    several = ends - first > 1
    out[order] = np.repeat(score[order[first]], ends - first)
    out[order[first]] = np.nan
    out[order[first[several]]] = score[order[first[several] + 1]]
    return np.where(np.isneginf(out), np.nan, out)


def rank(score: Floats, group: Ints) -> Ints:
    """The place of each pair in its group, best first, from 1; of equal scores the one that comes first is better."""
    order = np.lexsort((-np.where(np.isnan(score), -np.inf, score), group))
    first = np.flatnonzero(np.diff(group[order], prepend=group[order][0] - 1)) if len(order) else order
    place = np.empty(len(score), dtype=np.int64)
    place[order] = np.arange(len(score)) - np.repeat(first, np.diff(np.append(first, len(score)))) + 1
    return place


def sum_of_others(value: Floats, group: Ints) -> Floats:
    """The sum over the other pairs of the same group."""
    if not len(value):
        return value.copy()
    numbered = np.unique(group, return_inverse=True)[1].reshape(-1)
    return np.asarray(np.bincount(numbered, value)[numbered] - value)


def allowed(score: Floats, left: Ints, right: Ints, mapping: MappingKind) -> Bools:
    """Which pairs a mapping lets be matches, whatever the threshold.

    many: all. mutual: those that are the best of both their rows. one_to_one: the best pair of all first, then the best among rows
    that are still free, and so on (see `joins.mapping.one_to_one`). What lies above a threshold is the same mapping of these pairs
    alone. Of equal scores the one that comes first is better; a NaN score is never allowed, except in many.
    """
    if mapping == "many":
        return np.ones(len(score), dtype=bool)
    if mapping == "mutual":
        return np.asarray((rank(score, left) == 1) & (rank(score, right) == 1) & ~np.isnan(score))
    taken: tuple[set[int], set[int]] = (set(), set())
    chosen = np.zeros(len(score), dtype=bool)
    order = np.argsort(-score, kind="stable")
    order = order[~np.isnan(score[order])]
    for at, one, other in zip(order.tolist(), left[order].tolist(), right[order].tolist(), strict=True):
        if one not in taken[0] and other not in taken[1]:
            chosen[at] = True
            taken[0].add(one)
            taken[1].add(other)
    return chosen
