"""Which candidate a mention means, or none of them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from pgembed.linking import folding, ordinary
from pgembed.linking.dictionary import Dictionary
from pgembed.linking.mentions import Check, Mention

Vectors: TypeAlias = npt.NDArray[np.float32]
Decision: TypeAlias = Literal["link", "review", "nil"]

TRIGRAM_CANDIDATES = 10
DENSE_CANDIDATES = 10
PASSAGE = 600  # characters of context around a mention: whole sentences of about as much as a model reads at once
LINK = 0.8
REVIEW = 0.4


class Context(Protocol):
    """What the rows are about, for telling them apart; an adapter over a column of embeddings."""

    def embed(self, texts: list[str]) -> Vectors:
        """Embeddings of texts, shape (n, dim), in the space of the rows' vectors."""
        ...

    def vectors(self, rows: list[int]) -> Vectors:
        """Embeddings of rows, shape (m, dim); zeros or NaN for a row that has none."""
        ...

    def nearest(self, vectors: Vectors, k: int) -> list[list[int]]:
        """For each vector at most k rows near to it, in any order; empty lists where there is no way to find them."""
        ...


@dataclass(frozen=True)
class Link:
    """A mention and the row it means.

    ``start_char`` counts characters from 1, ``end_char`` is exclusive, so substr(content, start_char, end_char -
    start_char) is the mention. ``row`` is None for nil. ``score`` is the estimated probability that the mention means its
    best candidate, given all candidates and the possibility that it means none of them; for nil too it is the best candidate's, so
    that the most doubtful nil is the one to look at. ``margin`` is what the runner-up's probability falls short of it.
    """

    mention: str
    start_char: int
    end_char: int
    row: int | None
    score: float
    margin: float
    decision: Decision


def rank(
    content: str, mentions: Sequence[Mention], dictionary: Dictionary, context: Context | None, check: Check | None = None
) -> list[Link]:
    raise NotImplementedError
