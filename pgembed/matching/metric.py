"""A metric of vectors learned from labelled pairs: in which directions two rows must agree to be the same thing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pgembed.matching.contract import Bools, Floats, Ints

Vectors = tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]

DIRECTIONS = 96  # in which two vectors are compared: principal components of both sides
RIDGE = 30.0
_SAMPLE = 20_000  # rows of a side that components are found from
_BLOCK = 32_768  # pairs that are compared at a time
_STEPS = 15


@dataclass(frozen=True)
class Compared:
    """Vectors of both sides by their principal components, for pairs to be compared in each.

    Attributes:
        sides: (rows, directions) of each side, NaN where a row has no vector.
        spread: (2 * directions) the standard deviation of each comparison among labelled pairs.
        middle: the mean likewise.
    """

    sides: tuple[Floats, Floats]
    middle: Floats
    spread: Floats

    def of(self, left: Ints, right: Ints) -> Floats:
        """(pairs, 2 * directions): products and differences, standardized; NaN where a side has no vector."""
        return (_compared(self.sides, left, right) - self.middle) / self.spread

    def log_odds(self, slopes: Floats, left: Ints, right: Ints) -> Floats:
        """What (2 * directions, models) slopes say of pairs, (pairs, models), a block of them at a time."""
        out = np.empty((len(left), slopes.shape[1]))
        for begin in range(0, len(left), _BLOCK):
            here = slice(begin, begin + _BLOCK)
            out[here] = self.of(left[here], right[here]) @ slopes
        return out


def compared(vectors: Vectors, left: Ints, right: Ints) -> Compared:
    """Prepare both sides' (rows, d) vectors; listed pairs are those that comparisons are scaled by.

    A row of NaN is a row without a vector.
    """
    sample = np.vstack([side[_spaced(len(side))] for side in vectors]).astype(np.float64)
    sample = sample[~np.isnan(sample).any(1)]
    middle = sample.mean(0) if len(sample) else np.zeros(vectors[0].shape[1])
    axes = np.linalg.eigh((sample - middle).T @ (sample - middle))[1][:, ::-1][:, :DIRECTIONS]
    first, second = ((side - middle) @ axes for side in vectors)
    some = _compared((first, second), left, right)
    some = some[~np.isnan(some).any(1)]
    spread = some.std(0) if len(some) else np.ones(2 * axes.shape[1])
    return Compared((first, second), some.mean(0) if len(some) else np.zeros(len(spread)), np.where(spread > 1e-9, spread, 1.0))


def slopes(values: Floats, truth: Bools, offset: Floats) -> Floats:
    """How much each comparison speaks for a match beyond the offset: logistic regression with a ridge, by Newton's method.

    With products and differences of principal components as its terms this is a diagonal metric and a diagonal similarity in one
    (Xing et al., Distance Metric Learning with Application to Clustering with Side-Information, NIPS 2002; of labelled pairs, with those
    that were hard for the candidates as negatives).
    """
    found = np.zeros(values.shape[1])

    def loss(slopes: Floats) -> float:
        odds = offset + values @ slopes
        return float(np.logaddexp(0.0, np.where(truth, -odds, odds)).sum() + 0.5 * RIDGE * slopes @ slopes)

    now = loss(found)
    for _ in range(_STEPS):
        chance = 1.0 / (1.0 + np.exp(-np.clip(offset + values @ found, -30.0, 30.0)))
        gradient = values.T @ (chance - truth) + RIDGE * found
        bend = (values * (chance * (1.0 - chance))[:, None]).T @ values + RIDGE * np.eye(len(found))
        step = np.linalg.solve(bend, gradient)
        before = now
        while (now := loss(found - step)) > before and np.abs(step).max() > 1e-9:
            step /= 2.0
        found = found - step
        if before - now < 1e-3:
            break
    return found


def _compared(sides: tuple[Floats, Floats], left: Ints, right: Ints) -> Floats:
    one, other = sides[0][left], sides[1][right]
    return np.hstack([one * other, np.abs(one - other)])


def _spaced(rows: int) -> Ints:
    return np.unique(np.linspace(0, rows - 1, min(rows, _SAMPLE)).astype(np.int64)) if rows else np.zeros(0, dtype=np.int64)
