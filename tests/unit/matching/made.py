"""Synthetic candidates whose truth is known: each left row has a few candidates, at most one of them true."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pgembed.matching.attributes import Features
from pgembed.matching.learned import Labels


@dataclass(frozen=True)
class Pairs:
    left: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    score: npt.NDArray[np.float64]
    distance: npt.NDArray[np.float64]
    similarity: dict[str, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Made:
    pairs: Pairs
    features: Features
    truth: npt.NDArray[np.bool_]

    def labels(self, at: npt.NDArray[np.int64]) -> Labels:
        return Labels(self.pairs.left[at], self.pairs.right[at], self.truth[at])

    def f1(self, is_match: npt.NDArray[np.object_], at: npt.NDArray[np.int64]) -> float:
        """Of the pairs at these places."""
        said, truth = is_match[at].astype(bool), self.truth[at]
        return float(2 * (said & truth).sum() / (said.sum() + truth.sum()))


def made(rows: int = 300, k: int = 4, *, seed: int = 0, matched: float = 0.7, hidden: float = 1.5) -> Made:
    """Scores say something, and an attribute says more: `hidden` is by how many deviations it parts true pairs from others."""
    rng = np.random.default_rng(seed)
    left = np.repeat(np.arange(rows), k)
    truth = np.zeros((rows, k), dtype=bool)
    truth[:, 0] = rng.random(rows) < matched
    right = np.empty((rows, k), dtype=np.int64)
    partner = rng.permutation(rows)
    for row in range(rows):
        others = rng.permutation(rows)
        right[row] = np.append(partner[row], others[others != partner[row]][: k - 1])
    score = 0.5 + 0.2 * truth + rng.normal(0, 0.12, (rows, k))
    attribute = hidden * truth + rng.normal(0, 0.5, (rows, k))
    attribute[rng.random((rows, k)) < 0.1] = np.nan
    order = np.argsort(-score, axis=1)
    right, truth, score, attribute = (np.take_along_axis(values, order, 1) for values in (right, truth, score, attribute))
    pairs = Pairs(left, right.ravel(), score.ravel(), 1 - score.ravel(), {"dense": score.ravel()})
    noise = rng.normal(size=rows * k)
    features = Features(("a.words", "b.equal"), np.column_stack([attribute.ravel(), noise]).astype(np.float32), (1, 0))
    return Made(pairs, features, truth.ravel())
