"""What both sides consist of: zones, which are bags of words, and the hashed character n-grams of each word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Ints: TypeAlias = npt.NDArray[np.int64]
Vectors: TypeAlias = npt.NDArray[np.float32]
Hashes: TypeAlias = npt.NDArray[np.uint64]

BITS = 16  # of the number of an n-gram
BUCKETS = 1 << BITS
SIZES = (3, 4)  # of n-grams, the border of a word being one character

_BASE = np.uint64(0x100000001B3)
_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Zone:
    """Bags of words: bag i has the words ``word[start[i]:start[i + 1]]``, numbers of `Inputs.words`, each with a ``weight``.

    ``start`` is int64 (bags + 1,), ``word`` int64 and ``weight`` float32, both (entries,). A word may stand in a bag twice.
    """

    start: Ints
    word: Ints
    weight: Vectors

    def __len__(self) -> int:
        return len(self.start) - 1

    @property
    def owner(self) -> Ints:
        """Of each entry its bag."""
        return np.repeat(np.arange(len(self)), np.diff(self.start))

    def take(self, bags: Ints) -> Zone:
        """These bags, in this order."""
        count = self.start[bags + 1] - self.start[bags]
        start = np.zeros(len(bags) + 1, np.int64)
        np.cumsum(count, out=start[1:])
        at = np.repeat(self.start[bags] - start[:-1], count) + np.arange(start[-1])
        return Zone(start, self.word[at], self.weight[at])


@dataclass(frozen=True)
class Inputs:
    """One side: n things, each with a bag of words in every zone.

    Attributes:
        words: folded words, each once; zones refer to them by their number.
        zones: by name; each has n bags.
        form: float32 (n, k), what the weights of the zones depend on; k may be 0.
        dense: by name, float32 (n, d): vectors of a model; a row of zeros is a thing without.
        count: n.
    """

    words: list[str]
    zones: Mapping[str, Zone]
    form: Vectors
    dense: Mapping[str, Vectors] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.form)

    def take(self, things: Ints) -> Inputs:
        """These things, in this order."""
        zones = {name: zone.take(things) for name, zone in self.zones.items()}
        return Inputs(self.words, zones, self.form[things], {name: vectors[things] for name, vectors in self.dense.items()})


@dataclass(frozen=True)
class Grams:
    """Features of words: word i has the hash ``whole[i]`` and the n-grams ``gram[start[i]:start[i + 1]]``, numbers below `BUCKETS`."""

    whole: Hashes
    start: Ints
    gram: Ints


def grams(words: Sequence[str]) -> Grams:
    """The hashed n-grams of words, each word with a border at both ends, and the hash of the whole word.

    Hashes are polynomials of code points: the same on every machine.
    """
    count = len(words)
    if not count:
        return Grams(np.empty(0, np.uint64), np.zeros(1, np.int64), np.empty(0, np.int64))
    marked = [f" {word} " for word in words]
    length = np.fromiter(map(len, marked), np.int64, count)
    codes = np.frombuffer("".join(marked).encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)
    begin = np.cumsum(length) - length
    owner = np.repeat(np.arange(count), length)
    with np.errstate(over="ignore"):
        # the sum of code * base^place within the word
        place = np.arange(len(codes)) - begin[owner]
        powers = np.cumprod(np.full(int(length.max()) + 1, _BASE, np.uint64))
        whole = _mixed(np.add.reduceat(codes * powers[place], begin))
        owners, found = [], []
        for size in SIZES:
            if len(codes) < size:
                continue
            windows = len(codes) - size + 1
            value = np.full(windows, np.uint64(size), np.uint64)
            for offset in range(size):
                value = value * _BASE + codes[offset : offset + windows]
            inside = owner[:windows] == owner[size - 1 :]
            owners.append(owner[:windows][inside])
            found.append((_mixed(value[inside]) >> np.uint64(64 - BITS)).astype(np.int64))
    of, gram = np.concatenate(owners), np.concatenate(found)
    order = np.argsort(of, kind="stable")
    start = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(of, minlength=count), out=start[1:])
    return Grams(whole, start, gram[order])


def _mixed(value: Hashes) -> Hashes:
    """Bits that differ wherever any of the given differ."""
    value = (value ^ (value >> np.uint64(29))) * _MIX
    return (value ^ (value >> np.uint64(32))) * _MIX


def summed(values: Vectors, start: Ints) -> Vectors:
    """Sums of consecutive rows of (entries, d): of i those from start[i] to start[i + 1], zeros where there are none."""
    out = np.zeros((len(start) - 1, values.shape[1]), values.dtype)
    filled = np.flatnonzero(np.diff(start))
    if len(filled):
        out[filled] = np.add.reduceat(values, start[filled], axis=0)
    return out
