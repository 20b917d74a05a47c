"""topics: clusters of rows by direction, called by the words that tell them from the others, as in Top2Vec's use.

Top2Vec: https://arxiv.org/abs/2008.09470. The clusters here are those of `pgembed.grouping.spherical`, which needs neither a graph nor a
density.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pgembed.errors import InvalidParameter
from pgembed.grouping import spherical
from pgembed.lexical import tokens

Vectors = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

TRIED = (4, 5, 6, 8, 10, 12, 15, 18, 22, 27, 33, 40, 50, 60)
ROWS_A_TOPIC = 10  # at least, where the number of topics is chosen
TRIED_ON = 5_000  # rows
_NUMBER = re.compile(r"[\d_]+")


@dataclass(frozen=True)
class Topics:
    """Clusters, the largest first.

    Attributes:
        centres: float32, shape (n, components), of length 1.
        topic: of each row its cluster, from 0; -1 for a row without direction.
        score: cosine of each row with its centre, after the mean is taken off; NaN without direction.
        margin: how much more that is than with the next centre; NaN where there is one topic.
    """

    centres: Vectors
    topic: Ints
    score: Floats
    margin: Floats

    @property
    def sizes(self) -> Ints:
        """Rows of each topic."""
        return np.bincount(self.topic[self.topic >= 0], minlength=len(self.centres)).astype(np.int64)

    def nearest(self, topic: int, k: int) -> Ints:
        """Positions of the k rows nearest to a topic's centre, nearest first."""
        rows = np.flatnonzero(self.topic == topic)
        return rows[np.lexsort((rows, -self.score[rows]))][:k]


def find(rows: Vectors, n: int | None = None, seed: int = 1, check: Callable[[], None] = lambda: None) -> Topics:
    """Topics of rows; the same ones for the same rows and seed.

    Args:
        rows: float32, shape (m, dim), finite.
        n: of topics, fewer where fewer rows differ; None: the number, of `TRIED`, whose clusters lie furthest apart by their
            mean silhouette, on a sample of the rows; of nearly equal ones (1 %) the largest.
    Raises:
        InvalidParameter: n < 1.
    """
    if n is not None and n < 1:
        raise InvalidParameter(f"n must be at least 1, not {n}", hint="Leave it out to have it chosen.")
    rng = np.random.default_rng(seed)
    made = spherical.prepared(rows, rng)
    there = np.flatnonzero(made.any(axis=1))
    topic, score, margin = np.full(len(rows), -1, dtype=np.int64), np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    if not len(there):
        return Topics(np.empty((0, made.shape[1]), dtype=np.float32), topic, score, margin)
    inside = made[there]
    fitted = inside[np.sort(rng.permutation(len(inside))[: spherical.FITTED])]
    if n is None:
        n = _chosen(fitted[np.sort(rng.permutation(len(fitted))[:TRIED_ON])], rng, check)
    centres, _ = spherical.cluster(fitted, min(n, len(np.unique(fitted, axis=0))), rng, check)
    label, near = spherical.assign(inside, centres)
    counts = np.bincount(label, minlength=len(centres))
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] > 0]
    place = np.empty(len(centres), dtype=np.int64)
    place[order] = np.arange(len(order))
    topic[there], score[there] = place[label], near
    centres = centres[order]
    if len(centres) > 1:
        for start in range(0, len(inside), spherical.BLOCK):
            part = slice(start, start + spherical.BLOCK)
            two = np.partition(inside[part] @ centres.T, -2, axis=1)[:, -2:]
            margin[there[part]] = two[:, 1] - two[:, 0]
            check()
    return Topics(centres, topic, score, margin)


def _chosen(rows: Vectors, rng: np.random.Generator, check: Callable[[], None]) -> int:
    """Ties go to more topics: two that are one are easier to see than one that is two."""
    worth = {}
    most = min(len(rows) // ROWS_A_TOPIC, len(np.unique(rows, axis=0)) - 1)
    for n in TRIED:
        if n <= most:
            worth[n] = spherical.silhouette(rows, spherical.cluster(rows, n, rng, check)[0])
    return max((n for n in worth if worth[n] >= 0.99 * max(worth.values())), default=1)


def words(texts: Sequence[str], topic: Ints, n: int, count: int, check: Callable[[], None] = lambda: None) -> list[list[str]]:
    """The words that tell each topic's texts from all, the most telling first.

    A word's weight in a topic is the share of its texts that have the word, times the logarithm of how much more that is than the share of
    all: its part of the relative entropy, as c-TF-IDF (https://arxiv.org/abs/2203.05794), but zero for a word that is as frequent
    everywhere, in any language.
    """
    all_of_them: Counter[str] = Counter()
    own: list[Counter[str]] = [Counter() for _ in range(n)]
    for place, text in enumerate(texts):
        if topic[place] >= 0:
            found = {word for word in tokens.words(tokens.fold(text)) if len(word) > 1 and not _NUMBER.fullmatch(word)}
            own[topic[place]].update(found)
            all_of_them.update(found)
        if place % 2_000 == 0:
            check()
    sizes = np.bincount(topic[topic >= 0], minlength=n)
    total = max(1, int(sizes.sum()))
    made = []
    for place, held in enumerate(own):
        size = max(1, int(sizes[place]))
        weight = {
            word: (c / size) * float(np.log((c / size) / (all_of_them[word] / total))) if n > 1 else c / size
            for word, c in held.items()
            if c > 1 or size < 4
        }
        telling = sorted((word for word in weight if weight[word] > 0), key=lambda word: (-weight[word], word))
        made.append(telling[:count])
    return made
