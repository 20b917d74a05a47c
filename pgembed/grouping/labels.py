"""labels: which of some labels each row belongs to, by words that describe the labels, without training.

As in Lbl2Vec (https://arxiv.org/abs/2210.06023): the mean of a label's words finds rows, and the rows' own centre is what others are
compared with, for descriptions and rows are of different kinds. Rows count by how surely they are the label's, instead of a number
of the nearest ones, which a large label has too few of and a small one too many.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pgembed.errors import InvalidParameter

Vectors = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

# How sharply rows are shared out, in standard deviations of a row's similarities to the labels; of the models tried the same.
SHARPNESS = 4.0
# What the words weigh in a label's centre beside the rows. Less of it, and broad labels move to where narrow ones are.
WORDS = 2.0
BLOCK = 8192


@dataclass(frozen=True)
class Labelled:
    """The label of each row; all arrays have one element a row.

    Attributes:
        label: position of the label; -1 for a row without direction.
        second: the runner-up.
        score: cosine with the label's centre; NaN without direction.
        margin: how much more that is than the runner-up's, with what the labels' frequencies add.
        probability: of the label, if one of them is right: how frequent each is, is estimated from the rows.
        is_confident: the words alone and the centre agree, and the label is more probable than all others together.
    """

    label: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    score: Floats
    margin: Floats
    probability: Floats
    is_confident: npt.NDArray[np.bool_]


def unit(rows: npt.NDArray[Any]) -> Vectors:
    """Rows of length 1, float32; a row of zeros stays one."""
    norms = np.linalg.norm(rows.astype(np.float64), axis=-1, keepdims=True)
    return np.asarray(rows / np.where(norms > 0, norms, 1.0), dtype=np.float32)


def classify(rows: Vectors, words: list[Vectors], check: Callable[[], None] = lambda: None) -> Labelled:
    """The label of each row.

    Args:
        rows: float32, shape (n, dim), finite.
        words: of each label the vectors of its words or sentences, shape (at least 1, dim); at least two labels.
        check: called between blocks.
    Raises:
        InvalidParameter: fewer than two labels.
    """
    if len(words) < 2:
        raise InvalidParameter(f"{len(words)} labels, and at least 2 are needed", hint="A row gets the nearest of several labels.")
    rows = unit(rows)
    described = unit(np.stack([unit(vectors).mean(axis=0) for vectors in words]))
    spread = [float((rows[part] @ described.T).std(axis=1).sum()) for part in _blocks(len(rows))]
    sharp = SHARPNESS * max(1, len(rows)) / max(sum(spread), 1e-9)
    sums, counts = np.zeros(described.shape), np.ones(len(words))
    for part in _blocks(len(rows)):
        shares = _shares(sharp * (rows[part] @ described.T))
        sums += shares.T @ rows[part]
        counts += shares.sum(axis=0)
        check()
    frequent = np.log(counts / counts.sum()) / sharp
    centres = unit(unit(sums) + WORDS * described)
    n = len(rows)
    best, second = np.full(n, -1, dtype=np.int64), np.full(n, -1, dtype=np.int64)
    score, margin, probability = np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan)
    sure = np.zeros(n, dtype=bool)
    for part in _blocks(n):
        at = np.flatnonzero(rows[part].any(axis=1)) + part.start
        near = (rows[at] @ centres.T).astype(np.float64)
        line = np.arange(len(at))
        weighed = near + frequent
        best[at] = weighed.argmax(axis=1)
        score[at], probability[at] = near[line, best[at]], _shares(sharp * weighed)[line, best[at]]
        margin[at] = weighed[line, best[at]]
        weighed[line, best[at]] = -np.inf
        second[at] = weighed.argmax(axis=1)
        margin[at] -= weighed[line, second[at]]
        sure[at] = ((rows[at] @ described.T).argmax(axis=1) == best[at]) & (probability[at] > 0.5)
        check()
    return Labelled(best, second, score, margin, probability, sure)


def _shares(power: npt.NDArray[np.floating]) -> Floats:
    power = power.astype(np.float64)
    shares = np.exp(power - power.max(axis=1, keepdims=True))
    made: Floats = shares / shares.sum(axis=1, keepdims=True)
    return made


def _blocks(n: int) -> list[slice]:
    return [slice(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK)]
