"""Candidates for a mention that equals no name: names that share rare character trigrams with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float32]

_BITS = 21  # of a code point, so that three fit into an int64


class Trigrams:
    """Cosine of TF-IDF vectors over character trigrams with marked word boundaries, as an inverted index.

    Args:
        texts: folded words separated by single spaces; each has at least one word.

    Weights are tf * log(1 + n / df), of unit length per text; memory is 8 bytes a distinct trigram of each text.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        grams, text = _grams(texts)
        # Counts of each trigram in each text, ordered by trigram: the columns of the index.
        order = np.lexsort((text, grams))
        grams, text = grams[order], text[order]
        fresh = np.ones(len(grams), dtype=bool)
        fresh[1:] = (np.diff(grams) != 0) | (np.diff(text) != 0)
        at = np.flatnonzero(fresh)
        count = np.diff(np.append(at, len(grams)))
        self._vocabulary, start = np.unique(grams[at], return_index=True)
        self._start = np.append(start, len(at))
        frequency = np.diff(self._start)
        self._rarity = np.log1p(len(texts) / frequency).astype(np.float32)
        weight = count * np.repeat(self._rarity, frequency)
        norm = np.sqrt(np.bincount(text[at], weight**2, len(texts)))
        self._texts = text[at].astype(np.int32)
        self._weights = (weight / norm[text[at]]).astype(np.float32)
        self._size = len(texts)

    def similar(self, text: str, k: int) -> tuple[Ints, Floats]:
        """Positions of the k texts most similar to a folded text, and their cosines in (0, 1], highest first.

        Fewer than k where fewer share a trigram with it; equal cosines are ordered by position.
        """
        grams, count = np.unique(_grams([text])[0], return_counts=True)
        place = np.searchsorted(self._vocabulary, grams)
        known = np.flatnonzero(place < len(self._vocabulary))
        known = known[self._vocabulary[place[known]] == grams[known]]
        # A trigram that no text has is rarer than any: it makes the mention less similar to all of them.
        weights = (count * np.log1p(self._size)).astype(np.float32)
        weights[known] = count[known] * self._rarity[place[known]]
        norm = float(np.sqrt(weights @ weights)) or 1.0
        scores = np.zeros(self._size, dtype=np.float32)
        for gram in known.tolist():
            of_gram = slice(self._start[place[gram]], self._start[place[gram] + 1])
            scores[self._texts[of_gram]] += self._weights[of_gram] * (weights[gram] / norm)
        found = np.flatnonzero(scores > 0)
        if len(found) > k:
            least = np.partition(scores[found], len(found) - k)[len(found) - k]
            found = found[scores[found] >= least]
        order = found[np.lexsort((found, -scores[found]))][:k]
        return order, np.minimum(scores[order], np.float32(1.0))


def _grams(texts: Sequence[str]) -> tuple[Ints, Ints]:
    """All trigrams of all texts as numbers, each text with a space at both ends, and which text each is of."""
    marked = [f" {text} " for text in texts]
    length = np.fromiter(map(len, marked), dtype=np.int64, count=len(marked))
    codes = np.frombuffer("".join(marked).encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.int64)
    text = np.repeat(np.arange(len(texts)), length)
    within = np.flatnonzero(text[2:] == text[:-2])  # not across two texts
    return codes[within] << 2 * _BITS | codes[within + 1] << _BITS | codes[within + 2], text[within]
