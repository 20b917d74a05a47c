"""Sparse rows: which terms each row has, and how much of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Ints: TypeAlias = npt.NDArray[np.int64]
Terms: TypeAlias = npt.NDArray[np.int32]
Weights: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Rows:
    """Row i has the terms ``term[start[i]:start[i + 1]]``, ascending and each once, with these ``weight``.

    ``start`` is int64 of shape (rows + 1,), ``term`` int32 and ``weight`` float32, both of shape (entries,); ``width`` is the number of
    terms that there are. Weights are finite and not negative.
    """

    start: Ints
    term: Terms
    weight: Weights
    width: int

    def __len__(self) -> int:
        return len(self.start) - 1

    @property
    def counts(self) -> Ints:
        """How many terms each row has."""
        return np.diff(self.start)

    def take(self, rows: Ints) -> Rows:
        """These rows, in this order."""
        at, start = entries(self.start, rows)
        return Rows(start, self.term[at], self.weight[at], self.width)

    def turned(self) -> Rows:
        """Of each term the rows that have it, ascending: its postings."""
        order = np.argsort(self.term, kind="stable")
        start = np.zeros(self.width + 1, dtype=np.int64)
        np.cumsum(np.bincount(self.term, minlength=self.width), out=start[1:])
        row = np.repeat(np.arange(len(self), dtype=np.int32), self.counts)
        return Rows(start, row[order], self.weight[order], len(self))


def entries(start: Ints, rows: Ints) -> tuple[Ints, Ints]:
    """Positions of all entries of these rows, one row after the other, and where each row's begin among them."""
    count = start[rows + 1] - start[rows]
    begin = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum(count, out=begin[1:])
    return np.repeat(start[rows] - begin[:-1], count) + np.arange(begin[-1]), begin


def once(numbers: Ints) -> Ints:
    """The different numbers, ascending; many times as quick as numpy's unique, which makes a hash table."""
    ordered = np.sort(numbers)
    return ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])] if len(ordered) else ordered


def combined(lengths: Ints, term: Terms, weight: Weights, width: int, part: int = 1 << 20) -> Rows:
    """Rows of so many entries each, in any order and with repetition: equal terms of a row are added up.

    Sorted a part of rows at a time, so that the work needs little more memory than the rows.
    """
    end = np.cumsum(lengths)
    begin = end - lengths
    terms: list[Terms] = []
    weights: list[Weights] = []
    counts = np.zeros(len(lengths), dtype=np.int64)
    first = 0
    while first < len(lengths):
        last = max(first + 1, int(np.searchsorted(end, begin[first] + part, side="right")))
        inside = slice(int(begin[first]), int(end[last - 1]))
        row = np.repeat(np.arange(last - first, dtype=np.int64), lengths[first:last])
        key = row * width + term[inside]
        order = np.argsort(key, kind="stable")
        key = key[order]
        new = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]])) if len(key) else np.empty(0, dtype=np.int64)
        if len(new):
            weights.append(np.add.reduceat(weight[inside][order], new))
            terms.append((key[new] % width).astype(np.int32))
            counts[first:last] = np.bincount(key[new] // width, minlength=last - first)
        first = last
    start = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(counts, out=start[1:])
    return Rows(
        start,
        np.concatenate(terms) if terms else np.empty(0, dtype=np.int32),
        np.concatenate(weights) if weights else np.empty(0, dtype=np.float32),
        width,
    )


def product(a: Rows, b: Rows, part: int = 1 << 20) -> Rows:
    """The matrix product, where a's terms are b's rows: of words by text and n-grams by word the n-grams by text."""
    made: list[Rows] = []
    grown = np.concatenate([[0], np.cumsum(b.counts[a.term])])[a.start]
    first = 0
    while first < len(a):
        last = max(first + 1, int(np.searchsorted(grown, grown[first] + part, side="right")) - 1)
        inside = slice(int(a.start[first]), int(a.start[last]))
        at, begin = entries(b.start, a.term[inside].astype(np.int64))
        weight = np.repeat(a.weight[inside], np.diff(begin)) * b.weight[at]
        made.append(combined(np.diff(grown[first : last + 1]), b.term[at], weight, b.width))
        first = last
    return stacked(made, b.width)


def stacked(several: list[Rows], width: int) -> Rows:
    """One after the other."""
    start = np.concatenate([np.zeros(1, dtype=np.int64), *(rows.counts for rows in several)])
    return Rows(
        np.cumsum(start),
        np.concatenate([np.empty(0, dtype=np.int32), *(rows.term for rows in several)]),
        np.concatenate([np.empty(0, dtype=np.float32), *(rows.weight for rows in several)]),
        width,
    )


def beside(several: Sequence[Rows], factors: Sequence[float]) -> Rows:
    """Rows of all terms of several kinds, each kind's weights times its factor: products add up."""
    offset, lengths = 0, sum((rows.counts for rows in several), np.zeros(len(several[0]), dtype=np.int64))
    start = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=start[1:])
    term = np.empty(int(start[-1]), dtype=np.int32)
    weight = np.empty(int(start[-1]), dtype=np.float32)
    free = start[:-1].copy()
    for rows, factor in zip(several, factors, strict=True):
        at = np.repeat(free - rows.start[:-1], rows.counts) + np.arange(len(rows.term))
        term[at], weight[at] = rows.term + np.int32(offset), rows.weight * np.float32(factor)
        free += rows.counts
        offset += rows.width
    return Rows(start, term, weight, offset)
