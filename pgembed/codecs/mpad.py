"""mpad: fewer dimensions, learned so that neighbours stay apart from those who are none.

The aim is that of MPAD (Fu and Zhao 2025, https://arxiv.org/abs/2504.16335): not to keep length, as PCA does, but the margin between a
vector's neighbours and others. The paper's own objective, the mean of the smallest differences along each direction less a penalty for
directions that are not orthogonal, found fewer neighbours than PCA in every setting that was tried (README.md has the numbers). What gains
is ListNet (Cao et al. 2007, https://doi.org/10.1145/1273496.1273513): the shares of a row's similarities to some of its nearest rows, made
by softmax, are to be the same in fewer dimensions. The matrix starts as PCA's, and its few steps leave it near to orthogonal rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from pgembed.codecs.contract import Options, Space
from pgembed.codecs.prefix import Projection, dimensions
from pgembed.models import basis

_MOST_ROWS, _MOST_ANCHORS = 50_000, 4_000
_FEWEST_ROWS = 100  # fewer say nothing about who is a neighbour: PCA alone
_NEAR, _FAR = 10, 200  # ranks: neighbours are before the first, those to keep apart before the second
_NEAR_DRAWN, _FAR_DRAWN = 5, 40  # of each, of an anchor in a step
_STEPS, _BATCH = 300, 64
# Of softmax, in parts of the mean difference of similarity between the first and the last of the ranks.
_TEMPERATURE = 0.3
_RATE = 0.04  # of Adam, by the square root of the dimensions: how large a number of a row of length 1 is


class Mpad(Projection):
    """Learned dimensions; see the module. Similarity is the cosine, minus the squared distance, or the inner product, by the metric."""

    method: ClassVar[str] = "mpad"

    @classmethod
    def train(
        cls,
        sample: NDArray[np.float32],
        space: Space,
        options: Options,
        queries: NDArray[np.float32] | None,
        seed: int,
        check: Callable[[], None],
    ) -> Self:
        matrix = basis.pca(sample, check=check).matrix[: dimensions(space, options)]
        rows = sample[:_MOST_ROWS]
        if len(rows) >= _FEWEST_ROWS:
            rng = np.random.default_rng(seed)
            anchors = rng.choice(len(rows), min(_MOST_ANCHORS, len(rows)), replace=False)
            matrix = _learned(matrix, rows, _ranked(space.metric, rows, anchors, check), space.metric, rng, check)
        return cls.of(space, matrix, sample)


@dataclass(frozen=True)
class _Ranked:
    """Attributes:
    anchors: rows, int64 of shape (n,).
    nearest: the rows next to each, nearest first, int64 of shape (n, ranks).
    similar: how similar they are, float32 of the same shape.
    """

    anchors: NDArray[np.int64]
    nearest: NDArray[np.int64]
    similar: NDArray[np.float32]


def _ranked(metric: str, rows: NDArray[np.float32], anchors: NDArray[np.int64], check: Callable[[], None]) -> _Ranked:
    """The nearest rows of anchors, exactly."""
    ranks = min(_FAR, len(rows) - 1)
    squares = np.einsum("ij,ij->i", rows, rows)
    nearest = np.empty((len(anchors), ranks), dtype=np.int64)
    similar = np.empty((len(anchors), ranks), dtype=np.float32)
    for first in range(0, len(anchors), 256):
        check()
        some = anchors[first : first + 256]
        found = rows[some] @ rows.T
        if metric == "l2":
            found = 2 * found - squares[some][:, None] - squares
        found[np.arange(len(some)), some] = -np.inf
        best = np.argpartition(-found, ranks - 1, axis=1)[:, :ranks]
        order = np.argsort(-np.take_along_axis(found, best, axis=1), axis=1, kind="stable")
        nearest[first : first + 256] = np.take_along_axis(best, order, axis=1)
        similar[first : first + 256] = np.take_along_axis(found, nearest[first : first + 256], axis=1)
    return _Ranked(anchors, nearest, similar)


def _learned(
    matrix: NDArray[np.float32],
    rows: NDArray[np.float32],
    ranked: _Ranked,
    metric: str,
    rng: np.random.Generator,
    check: Callable[[], None],
) -> NDArray[np.float32]:
    """The matrix after some steps of Adam (Kingma and Ba 2014, https://arxiv.org/abs/1412.6980) with a falling rate."""
    temperature = _TEMPERATURE * float((ranked.similar[:, 0] - ranked.similar[:, -1]).mean())
    ranks = ranked.nearest.shape[1]
    if not temperature > 0:  # all rows are the same
        return matrix
    made, rate = matrix.copy(), _RATE / matrix.shape[1] ** 0.5
    first, second = np.zeros_like(made), np.zeros_like(made)
    for step in range(_STEPS):
        check()
        drawn = rng.integers(0, len(ranked.anchors), _BATCH)
        near, far = rng.integers(0, _NEAR, (_BATCH, _NEAR_DRAWN)), rng.integers(_NEAR, ranks, (_BATCH, _FAR_DRAWN))
        columns = np.concatenate([near, far], axis=1)
        others = rows[np.take_along_axis(ranked.nearest[drawn], columns, axis=1)]
        wanted = _shares(np.take_along_axis(ranked.similar[drawn], columns, axis=1) / temperature)
        gradient = _gradient(made, rows[ranked.anchors[drawn]], others, wanted, temperature, metric)
        first = 0.9 * first + 0.1 * gradient
        second = 0.99 * second + 0.01 * gradient**2
        mean, spread = first / (1 - 0.9 ** (step + 1)), np.sqrt(second / (1 - 0.99 ** (step + 1)))
        made -= (rate * (1 - step / _STEPS) ** 0.5 * mean / (spread + np.float32(1e-12))).astype(np.float32)
    return made


def _gradient(
    matrix: NDArray[np.float32],
    anchors: NDArray[np.float32],
    others: NDArray[np.float32],
    wanted: NDArray[np.float32],
    temperature: float,
    metric: str,
) -> NDArray[np.float32]:
    """Of the mean cross entropy of shares that are wanted and those that the matrix makes, by the matrix.

    Args:
        anchors: float32, shape (n, dim).
        others: float32, shape (n, m, dim); ``wanted``, shape (n, m), are their shares.
    """
    left, right = anchors @ matrix.T, others @ matrix.T  # (n, dims), (n, m, dims)
    if metric == "cosine":
        left, left_lengths = _units(left)
        right, right_lengths = _units(right)
    similar = (right @ left[:, :, None])[:, :, 0]
    if metric == "l2":
        similar = 2 * similar - np.einsum("ij,ij->i", left, left)[:, None] - np.einsum("ijk,ijk->ij", right, right)
    slope = (_shares(similar / temperature) - wanted) / (temperature * len(anchors))
    if metric == "l2":
        apart = 2 * (right - left[:, None])
        by_left, by_right = (slope[:, None] @ apart)[:, 0], -slope[:, :, None] * apart
    else:
        by_left, by_right = (slope[:, None] @ right)[:, 0], slope[:, :, None] * left[:, None]
    if metric == "cosine":  # what lies along a vector does not change its direction
        by_left = (by_left - left * (by_left * left).sum(axis=-1, keepdims=True)) / left_lengths
        by_right = (by_right - right * (by_right * right).sum(axis=-1, keepdims=True)) / right_lengths
    dims, dim = matrix.shape
    return np.asarray(by_left.T @ anchors + by_right.reshape(-1, dims).T @ others.reshape(-1, dim), dtype=np.float32)


def _units(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Vectors of length 1 in the last dimension, and the lengths that they had; of zero vectors 1."""
    lengths = np.asarray(np.sqrt((vectors * vectors).sum(axis=-1, keepdims=True)), dtype=np.float32)
    lengths[lengths == 0] = 1
    return np.asarray(vectors / lengths, dtype=np.float32), lengths


def _shares(numbers: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Softmax of each row."""
    powers = np.exp(numbers - numbers.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)
