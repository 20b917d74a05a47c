"""Words as vectors: how rare they are among the rows, and random projections of their n-grams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pgembed.joint.features import BITS, BUCKETS, Hashes, Inputs, Ints, Vectors, grams, summed
from pgembed.lexical.sparse import once

_FLOOR = 0.3  # weight of a word that every row has
_PART = 4_000_000  # numbers that are gathered at a time
_KEPT = 16_384  # words of which vectors are kept


@dataclass(frozen=True)
class Counts:
    """In how many rows words stand, by zone; what weights of words come from.

    Attributes:
        rows: number of rows counted.
        words: of each block's zone the hashed words, ascending, as int64.
        found: in how many rows each stands.
        grams: float32 (`BUCKETS`) weights of n-grams, log((1 + rows) / (1 + found)) + 0.1 by the words of the first block's zone.
    """

    rows: int
    words: Mapping[str, Ints]
    found: Mapping[str, Ints]
    grams: Vectors

    @property
    def most(self) -> float:
        """The weight of a word that no row has."""
        return float(np.log(1.0 + self.rows)) + _FLOOR

    def weights(self, zone: str, whole: Hashes) -> tuple[Vectors, Vectors]:
        """log((1 + rows) / (1 + found)) + 0.3 of words, and whether any row has them (1 or 0)."""
        number = numbers(whole)
        known = self.words[zone]
        at = np.minimum(np.searchsorted(known, number), max(0, len(known) - 1))
        found = np.where(known[at] == number, self.found[zone][at], 0) if len(known) else np.zeros(len(number), np.int64)
        weight = np.log((1.0 + self.rows) / (1.0 + found)) + _FLOOR
        return weight.astype(np.float32), (found > 0).astype(np.float32)


def counted(right: Inputs, zones: tuple[str, ...]) -> Counts:
    """Count the words of rows."""
    spelt = grams(right.words)
    whole = numbers(spelt.whole)
    within = np.zeros(BUCKETS)
    words: dict[str, Ints] = {}
    found: dict[str, Ints] = {}
    for name in zones:
        zone = right.zones[name]
        pairs = once(zone.owner * np.int64(len(right.words) + 1) + zone.word)
        here = pairs % np.int64(len(right.words) + 1)
        words[name], found[name] = np.unique(whole[here], return_counts=True)
        if name == zones[0]:
            times = np.bincount(here, minlength=len(right.words))
            within = np.bincount(spelt.gram, np.repeat(times, np.diff(spelt.start)), BUCKETS).astype(np.float64)
    weights = np.log((1.0 + len(right)) / (1.0 + np.minimum(within, len(right)))) + 0.1
    return Counts(len(right), words, found, weights.astype(np.float32))


def numbers(whole: Hashes) -> Ints:
    """Hashes as numbers that are not negative."""
    return (whole >> np.uint64(1)).astype(np.int64)


class Lexicon:
    """Vectors of words, kept for those that come again.

    Args:
        weights: of n-grams, float32 (`BUCKETS`).
        size: dimensions.
        seed: of the projection.
    """

    def __init__(self, weights: Vectors, size: int, seed: int) -> None:
        self._weights, self._size, self._seed = weights, size, seed
        self._place: dict[str, int] = {}
        self._whole = np.empty(0, np.uint64)
        self._vectors = np.empty((0, size), np.float32)

    def of(self, words: Sequence[str]) -> tuple[Hashes, Vectors]:
        """Hashes and vectors (words, size) of words; a vector is the weighted sum of the n-grams' signs."""
        if len(words) > _KEPT:
            return self._made(words)
        new = [word for word in words if word not in self._place]
        if new:
            if len(self._place) + len(new) > _KEPT:
                self._place.clear()
                new = list(words)
                self._whole, self._vectors = self._whole[:0], self._vectors[:0]
            begin = len(self._whole)
            whole, vectors = self._made(new)
            self._whole, self._vectors = np.concatenate([self._whole, whole]), np.concatenate([self._vectors, vectors])
            self._place.update(zip(new, range(begin, begin + len(new)), strict=True))
        at = np.fromiter(map(self._place.__getitem__, words), np.int64, len(words))
        return self._whole[at], self._vectors[at]

    def _made(self, words: Sequence[str]) -> tuple[Hashes, Vectors]:
        spelt = grams(words)
        signs = table(self._size, self._seed)
        out = np.empty((len(words), self._size), np.float32)
        step = max(1, _PART // (self._size * 40))
        for first in range(0, len(words), step):
            last = min(len(words), first + step)
            gram = spelt.gram[spelt.start[first] : spelt.start[last]]
            out[first:last] = summed(signs[gram] * self._weights[gram, None], spelt.start[first : last + 1] - spelt.start[first])
        return spelt.whole, out


_TABLES: dict[tuple[int, int], np.ndarray[tuple[int, int], np.dtype[np.int8]]] = {}


def table(size: int, seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.int8]]:
    """Random signs of every n-gram, (`BUCKETS`, size); from the seed, hence never stored."""
    if (size, seed) not in _TABLES:
        _TABLES.clear()
        bits = np.random.default_rng([seed, size]).integers(0, 256, (BUCKETS, (size + 7) // 8), dtype=np.uint8)
        _TABLES[size, seed] = np.unpackbits(bits, axis=1, count=size).astype(np.int8) * np.int8(2) - np.int8(1)
    return _TABLES[size, seed]


def signs(whole: Hashes, size: int, seed: int) -> Vectors:
    """A random vector of signs of each hash, by two parts of it: hashes that differ have vectors that differ."""
    these = table(size, seed)
    mask = np.uint64(BUCKETS - 1)
    first, second = (whole & mask).astype(np.int64), ((whole >> np.uint64(BITS)) & mask).astype(np.int64)
    return (these[first] * these[second][:, ::-1]).astype(np.float32)
