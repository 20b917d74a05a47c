"""TF-IDF: texts of two tables as sparse rows of length 1, so that a product of two is their cosine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import count
from typing import Literal, TypeAlias

import numpy as np

from pgembed.lexical import sparse, tokens
from pgembed.lexical.sparse import Rows, Terms, Weights

Check: TypeAlias = Callable[[], None]
Kind: TypeAlias = Literal["words", "characters", "numbers"]
KINDS: tuple[Kind, ...] = ("words", "characters", "numbers")

# What a pair of neighbours counts as a word of its own: a little more than half the weight of a word, since it repeats the two.
COMPOUND = 0.6
# Texts between two calls of check.
STEP = 2_000


def rows(left: Sequence[str], right: Sequence[str], check: Check | None = None) -> dict[Kind, tuple[Rows, Rows]]:
    """Both sides by words, by character n-grams and by tokens with digits.

    Args:
        left, right: texts; '' has no terms, hence is like nothing.
        check: called every few thousand texts.
    Returns:
        Of each kind the left and the right rows over one set of terms, weighted by `weighted`.
    """
    texts = [*left, *right]
    folded: list[str] = []
    for first in range(0, len(texts), STEP):
        folded.extend(map(tokens.fold, texts[first : first + STEP]))
        if check:
            check()
    found: dict[Kind, tuple[Rows, Rows]] = {}
    cuts: dict[Kind, Callable[[str], list[str]]] = {"words": tokens.words, "characters": tokens.chunks, "numbers": tokens.numbers}
    for kind, cut in cuts.items():
        counted, vocabulary = counts(folded, cut, check, tokens.compounds if kind == "words" else None)
        if kind == "characters":
            counted = sparse.product(counted, counts(vocabulary, tokens.ngrams, check)[0])
        both = weighted(counted)
        found[kind] = (both.take(np.arange(len(left))), both.take(np.arange(len(left), len(texts))))
    return found


def counts(
    texts: Sequence[str], cut: Callable[[str], list[str]], check: Check | None = None, also: Callable[[str], list[str]] | None = None
) -> tuple[Rows, list[str]]:
    """How often each text has each token, and the tokens by number; what ``also`` finds counts `COMPOUND`."""
    numbered: defaultdict[str, int] = defaultdict(count().__next__)
    parts: list[Terms] = []
    amounts: list[Weights] = []
    lengths = np.zeros(len(texts), dtype=np.int64)
    for first in range(0, len(texts), STEP):
        step: list[int] = []
        amount: list[float] = []
        for position, text in enumerate(texts[first : first + STEP], first):
            found, more = cut(text), also(text) if also else []
            lengths[position] = len(found) + len(more)
            step.extend(map(numbered.__getitem__, found))
            step.extend(map(numbered.__getitem__, more))
            amount += [1.0] * len(found) + [COMPOUND] * len(more)
        parts.append(np.asarray(step, dtype=np.int32))
        amounts.append(np.asarray(amount, dtype=np.float32))
        if check:
            check()
    term = np.concatenate([np.empty(0, dtype=np.int32), *parts])
    amounted = np.concatenate([np.empty(0, dtype=np.float32), *amounts])
    return sparse.combined(lengths, term, amounted, max(1, len(numbered))), list(numbered)


def weighted(counted: Rows) -> Rows:
    """Counts as weights: (1 + ln tf) * idf, of length 1; idf = ln((1 + N) / (1 + n)) + 1, where n of all N rows have the term.

    Salton and Buckley, Term-Weighting Approaches in Automatic Text Retrieval, 1988, https://doi.org/10.1016/0306-4573(88)90021-0.
    """
    having = np.bincount(counted.term, minlength=counted.width)
    idf = np.log((1.0 + len(counted)) / (1.0 + having)) + 1.0
    weight = (1.0 + np.log(counted.weight)) * idf[counted.term]
    return unit(Rows(counted.start, counted.term, weight.astype(np.float32), counted.width))


def unit(rows: Rows) -> Rows:
    """Rows of length 1; those without terms stay so."""
    square = np.concatenate([[0.0], np.cumsum(rows.weight.astype(np.float64) ** 2)])
    norm = np.sqrt(np.diff(square[rows.start]))
    norm[rows.counts == 0] = 1.0
    weight: Weights = (rows.weight / np.repeat(norm, rows.counts)).astype(np.float32)
    return Rows(rows.start, rows.term, weight, rows.width)
