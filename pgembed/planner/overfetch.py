"""overfetch: how many rows of a graph must be looked at until enough of them pass a filter.

Where rows pass independently of how near they are, each with probability ``share``, the number that pass among n is binomial, and what
is needed follows exactly (https://arxiv.org/abs/2606.16341 has the same law for the recall of post-filtering). Where they do not, the
share is that of the query's own surroundings, see `pgembed.planner.probing`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

# What adds less than this to a sum is left out of it.
_NEGLIGIBLE = 1e-18


def enough(passing: int, rows: int, share: float) -> float:
    """P(B >= passing) with B ~ Bin(rows, share): how surely so many rows have enough that pass."""
    return 1.0 - _below(passing, rows, share)


@lru_cache(maxsize=512)
def rows_until(passing: int, share: float, certainty: float) -> int | None:
    """Rows that are looked at until so many have passed: this quantile of the negative binomial; None where nothing passes.

    Args:
        passing: rows, at least 1.
        certainty: below 1.
    """
    if share <= 0.0:
        return None
    return _least(passing, share, lambda rows: enough(passing, rows, share) >= certainty)


def _least(passing: int, share: float, reached: Callable[[int], bool]) -> int:
    """The least number of rows for which a condition holds that stays true for more."""
    if share >= 1.0:
        return next(rows for rows in range(passing + 1) if reached(rows))
    # near the mean, a standard deviation at a time: a search from scratch would add up ten times as many terms
    step = max(1, math.ceil(math.sqrt(passing * (1.0 - share)) / share))
    low, high = 0, max(1, math.ceil(passing / share))
    while not reached(high):
        low, high = high, high + step
        step *= 2
    while high - step > low and reached(high - step):
        high -= step
    low = max(low, high - step)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def _below(k: int, rows: int, share: float) -> float:
    """P(B < k) with B ~ Bin(rows, share)."""
    last = min(k - 1, rows)
    if share <= 0.0:
        return 1.0
    if share >= 1.0:
        return 1.0 if rows < k else 0.0
    # outwards from the likeliest number: beyond it the terms fall, and each is the one before times a ratio
    start = min(last, int((rows + 1) * share))
    log = math.lgamma(rows + 1) - math.lgamma(start + 1) - math.lgamma(rows - start + 1)
    first = math.exp(log + start * math.log(share) + (rows - start) * math.log1p(-share))
    odds = share / (1.0 - share)
    total, term = first, first
    for i in range(start, 0, -1):
        term *= i / ((rows - i + 1) * odds)
        if term < _NEGLIGIBLE:
            break
        total += term
    term = first
    for i in range(start, last):
        term *= (rows - i) / (i + 1) * odds
        if term < _NEGLIGIBLE:
            break
        total += term
    return min(1.0, total)
