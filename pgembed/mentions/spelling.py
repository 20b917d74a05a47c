"""Strings that are one edit apart, found by hashing: of any number of strings in one pass of numpy.

Two strings within one insertion, deletion, substitution or swap of neighbours become equal when at most one character is deleted from
each, so equal hashes of the shortened forms nominate the pairs. The idea is Mor and Fraenkel, A Hash Code Method for Detecting
and Correcting Spelling Errors, CACM 1982, https://doi.org/10.1145/358728.358752 (known today as symmetric deletion, SymSpell).
Departs from it: a polynomial hash over prefix sums gives the hash of every shortened form without building any of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Ints: TypeAlias = npt.NDArray[np.int64]
Hashes: TypeAlias = npt.NDArray[np.uint64]

LONGEST_COMPARED = 100  # letters; comparing takes the square of it

BASE = 0x9E3779B97F4A7C15  # odd, so it has an inverse modulo 2^64
_INVERSE = pow(BASE, -1, 1 << 64)


class Hashed:
    """A sequence of characters of which any part can be hashed, whole or without one character.

    The hash of characters c at places 0.. is the sum of mixed(c) * base^place modulo 2^64. Equal strings have equal hashes; who
    needs to be certain of the opposite compares the strings.
    """

    def __init__(self, text: str) -> None:
        # surrogatepass: text from outside may hold lone surrogates, and they are characters like any other here
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
        codes = (codes + np.uint64(1)) * np.uint64(0xBF58476D1CE4E5B9)
        codes ^= codes >> np.uint64(29)
        power = powers(BASE, len(codes))
        self._inverse = powers(_INVERSE, len(codes) + 1)
        self._sums = np.zeros(len(codes) + 1, dtype=np.uint64)
        np.cumsum(codes * power, out=self._sums[1:])

    def inverse(self, n: int) -> Hashes:
        """The inverses of the first n powers."""
        return self._inverse[:n] if n <= len(self._inverse) else powers(_INVERSE, n)

    def whole(self, start: Ints, end: Ints) -> Hashes:
        """Hash of each range, end exclusive."""
        return (self._sums[end] - self._sums[start]) * self._inverse[start]

    def shortened(self, start: Ints, end: Ints) -> tuple[Hashes, Ints]:
        """Hash of each range without one of its characters, for all of them, and which range it is of."""
        length = end - start
        which = np.repeat(np.arange(len(start)), length)
        gone = np.arange(len(which)) - np.repeat(np.cumsum(length) - length, length) + start[which]
        first, last = start[which], end[which]
        left = (self._sums[gone] - self._sums[first]) * self._inverse[first]
        right = (self._sums[last] - self._sums[gone + 1]) * self._inverse[first + 1]
        return left + right, which


class Spellings:
    """An index over strings, for looking up parts of a text exactly or within one edit.

    Args:
        strings: in any number; they are referred to by position. Strings shorter than `shortest` are only found exactly.
    """

    def __init__(self, strings: Sequence[str], shortest: int) -> None:
        length = np.fromiter(map(len, strings), dtype=np.int64, count=len(strings))
        end = np.cumsum(length)
        self._make(Hashed("".join(strings)), end - length, end, shortest)

    @classmethod
    def of(cls, hashed: Hashed, start: Ints, end: Ints, shortest: int) -> Spellings:
        """The same over parts of a text."""
        made = cls.__new__(cls)
        made._make(hashed, start, end, shortest)
        return made

    def _make(self, hashed: Hashed, start: Ints, end: Ints, shortest: int) -> None:
        self.shortest = shortest
        length = end - start
        self._exact = Table(hashed.whole(start, end), np.arange(len(start)))
        self.longest = int(length.max(initial=0))
        long = np.flatnonzero((length >= shortest) & (length <= LONGEST_COMPARED))
        short, which = hashed.shortened(start[long], end[long])
        whole = hashed.whole(start[long], end[long])
        self._near = Table(np.append(whole, short), np.append(long, long[which]))

    def exact(self, text: Hashed, start: Ints, end: Ints) -> tuple[Ints, Ints]:
        """Which range equals which string: two arrays of one length."""
        return self._exact.find(text.whole(start, end))

    def near(self, text: Hashed, start: Ints, end: Ints) -> tuple[Ints, Ints]:
        """Which range may be within one edit of which string (some are two apart): two arrays of one length, no pair twice."""
        longest = min(self.longest, LONGEST_COMPARED)
        asked = np.flatnonzero((end - start >= self.shortest - 1) & (end - start <= longest + 1))
        short, which = text.shortened(start[asked], end[asked])
        at, string = self._near.find(np.append(text.whole(start[asked], end[asked]), short))
        ranges = np.append(asked, asked[which])[at]
        most = max(1, len(self._exact))
        pairs = np.unique(ranges * most + string)
        return pairs // most, pairs % most


class Table:
    """Hashes and the numbers they stand for; a hash may stand for several."""

    def __init__(self, hashes: Hashes, numbers: Ints) -> None:
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._numbers = hashes[order], numbers[order].astype(np.int32)
        # Most questions have no answer, and a bit says so much sooner than a binary search.
        bits = max(10, len(hashes).bit_length() + 3)
        self._shift = np.uint64(64 - bits)
        self._seen = np.zeros(1 << bits, dtype=bool)
        self._seen[(hashes >> self._shift).astype(np.int64)] = True

    def __len__(self) -> int:
        return len(self._hashes)

    def find(self, hashes: Hashes) -> tuple[Ints, Ints]:
        """Which of the hashes stands for which number: two arrays of one length, ordered by the first."""
        asked = np.flatnonzero(self._seen[(hashes >> self._shift).astype(np.int64)])
        wanted = hashes[asked]
        first = np.searchsorted(self._hashes, wanted)
        count = np.searchsorted(self._hashes, wanted, side="right") - first
        place = np.repeat(np.arange(len(asked)), count)
        within = np.arange(len(place)) - np.repeat(np.cumsum(count) - count, count)
        return asked[place], self._numbers[first[place] + within].astype(np.int64)

    def has(self, hashes: Hashes) -> npt.NDArray[np.bool_]:
        """Whether each of the hashes stands for something."""
        found = self._seen[(hashes >> self._shift).astype(np.int64)]
        asked = np.flatnonzero(found)
        if len(asked):
            at = np.minimum(np.searchsorted(self._hashes, hashes[asked]), len(self._hashes) - 1)
            found[asked] = self._hashes[at] == hashes[asked]
        return found


def hashes_of(strings: Sequence[str]) -> Hashes:
    """The hash of each string."""
    length = np.fromiter(map(len, strings), dtype=np.int64, count=len(strings))
    end = np.cumsum(length)
    return Hashed("".join(strings)).whole(end - length, end)


def digits(word: str) -> str:
    """The digits of a word, in order."""
    return "" if word.isalpha() else "".join(filter(str.isdigit, word))


def powers(base: int, n: int) -> Hashes:
    """The powers of a number from 0 up to n - 1, modulo 2^64."""
    powers = np.full(n, base, dtype=np.uint64)
    powers[:1] = 1
    return np.cumprod(powers, dtype=np.uint64)
