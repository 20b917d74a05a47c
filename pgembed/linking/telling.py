"""What a text tells of rows: which facts have a side that the text names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pgembed.linking.compiled import Compiled, Lists, expand, expand_weighted
from pgembed.linking.contract import Bools, Ints, Vectors

NAMED = 0.5  # share of a string's words, by rarity, that a text has to have


@dataclass(frozen=True)
class Told:
    """Of pairs of a passage and a row what the facts of the row have in common with the passage; ordered by `key`.

    Attributes:
        key: passage * rows + row.
        total: sum over the row's facts with a side that the passage names, each the more the rarer the side is.
        best: the most of them.
    """

    key: Ints
    total: Vectors
    best: Vectors

    def of(self, key: Ints) -> tuple[Vectors, Vectors]:
        """Of other pairs, 0 where nothing is told."""
        at, known = place(self.key, key)
        return taken(self.total, at, known), taken(self.best, at, known)


def taken(values: Vectors, at: Ints, known: Bools) -> Vectors:
    """Values at places, 0 where they are not known; there may be no values at all."""
    found: Vectors = np.where(known, values[at], np.float32(0)) if len(values) else np.zeros(len(at), np.float32)
    return found


def place(ordered: Ints, asked: Ints) -> tuple[Ints, Bools]:
    """Where each number stands among ascending ones, and whether it does."""
    if not len(ordered):
        return np.zeros(len(asked), np.int64), np.zeros(len(asked), bool)
    at = np.minimum(np.searchsorted(ordered, asked), len(ordered) - 1)
    return at, ordered[at] == asked


def strings_in(compiled: Compiled, words: Lists) -> tuple[Ints, Ints, Vectors]:
    """Which strings of the facts stand in which texts, given the texts' words: text, string, share of its words in 0..1."""
    size = max(1, len(compiled.vocabulary.words))
    of = np.repeat(np.arange(len(words), dtype=np.int64), words.count)
    at, string = expand(compiled.anchored, words.member)
    text = of[at]
    back, word, _ = expand_weighted(compiled.strings, string)
    key = of * size + words.member  # ascending: words of a text are
    here, known = place(key, text[back] * size + word)
    weight = taken(words.weight, here, known) * compiled.rarity[word]
    share = np.bincount(back, weight, len(string)) / np.maximum(compiled.string_total[string], 1e-9)
    kept = share >= NAMED
    return text[kept], string[kept], share[kept].astype(np.float32)


def tell(compiled: Compiled, words: Lists) -> Told:
    """What texts tell, given their words."""
    text, string, share = strings_in(compiled, words)
    at, fact = expand(compiled.told, string)
    weight = share[at] ** 2 * np.log1p(compiled.rows / np.maximum(1, compiled.told.count[string[at]]))
    weight = (weight / max(1.0, float(np.log1p(compiled.rows)))).astype(np.float32)
    key = text[at] * max(1, compiled.rows) + compiled.fact_row[fact]
    order = np.argsort(key, kind="stable")
    key, weight = key[order], weight[order]
    if not len(key):
        return Told(np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.float32))
    fresh = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    return Told(key[fresh], np.add.reduceat(weight, fresh), np.maximum.reduceat(weight, fresh))
