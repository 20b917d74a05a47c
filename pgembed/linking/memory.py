"""What labels said before: which row a surface meant, and which words are said of rows in which roles.

Memory is evidence about rows that labels have named; of any other row it says nothing, which is not the same as saying no. So the trees
are shown how often labels named the row at all, and are trained with a part of the rows hidden from memory (training.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pgembed.linking import wording
from pgembed.linking.contract import NIL, Bools, Ints, Knowledge, Vectors

RECALLED = ("memory_share", "memory_count", "memory_other", "memory_row")
NOWHERE = -1  # a surface that no label has
CANDIDATES = 5  # rows that a surface brings in
SMOOTHING = 0.5


def surface(mention: str) -> str:
    """What two mentions have in common that memory takes for the same."""
    return " ".join(wording.words(mention)) or mention.strip()


class Table:
    """Counts of pairs of numbers, to be looked up by arrays."""

    def __init__(self, left: Ints, right: Ints, wide: int, count: Vectors | None = None) -> None:
        self._wide = wide
        key = left * wide + right
        self._keys, place = np.unique(key, return_inverse=True)
        self._counts = np.bincount(place.reshape(-1), count, len(self._keys))

    def __call__(self, left: Ints, right: Ints) -> Vectors:
        """The count of each pair, 0 where there is none."""
        if not len(self._keys):
            return np.zeros(len(left), np.float32)
        key = left * self._wide + right
        at = np.minimum(np.searchsorted(self._keys, key), len(self._keys) - 1)
        return np.where((self._keys[at] == key) & (left >= 0) & (right >= 0), self._counts[at], 0.0).astype(np.float32)


@dataclass(frozen=True)
class Memory:
    """Counts of (surface, key) among labels.

    Attributes:
        surfaces: different ones.
        keys: of rows, different ones; what they are now is another question.
        surface, key, count: of each pair that was seen; key -1 where labels said that the surface means no row.
    """

    surfaces: list[str]
    keys: list[str]
    surface: Ints
    key: Ints
    count: Ints

    @classmethod
    def of(cls, labels: Iterable[tuple[str, str | None]]) -> Memory:
        """From mentions as they are written and the keys that they mean."""
        surfaces: dict[str, int] = {}
        keys: dict[str, int] = {}
        counts: dict[tuple[int, int], int] = {}
        for mention, key in labels:
            pair = surfaces.setdefault(surface(mention), len(surfaces)), NIL if key is None else keys.setdefault(key, len(keys))
            counts[pair] = counts.get(pair, 0) + 1
        pairs = np.array(sorted(counts), dtype=np.int64).reshape(-1, 2)
        count = np.array([counts[pair] for pair in sorted(counts)], dtype=np.int64)
        return cls(list(surfaces), list(keys), pairs[:, 0].copy(), pairs[:, 1].copy(), count)

    def forget(self, keys: Iterable[str]) -> Memory:
        """Without what was said of some rows."""
        gone = set(keys)
        number = {at for at, key in enumerate(self.keys) if key in gone}
        kept = ~np.isin(self.key, list(number))
        return Memory(self.surfaces, self.keys, self.surface[kept], self.key[kept], self.count[kept])


class Recall:
    """Memory of a knowledge's rows.

    Args:
        memory: None: of nothing.
        knowledge: rows that it has no longer are forgotten, and so is what was said of them.
        hidden: rows that memory must say nothing of.
    """

    def __init__(self, memory: Memory | None, knowledge: Knowledge, hidden: Bools | None = None) -> None:
        memory = memory or Memory.of(())
        row_of = {key: row for row, key in enumerate(knowledge.keys)}
        row = np.array([*(row_of.get(key, -2) for key in memory.keys), NIL], dtype=np.int64)[memory.key]
        kept = row != -2
        if hidden is not None:
            kept &= ~np.append(hidden, False)[row]
        self.rows = len(knowledge)
        self.surfaces = memory.surfaces
        self._number = {surface: at for at, surface in enumerate(memory.surfaces)}
        self._surface, self._row, self._count = memory.surface[kept], row[kept], memory.count[kept].astype(np.float64)
        # Row -1, no row at all, takes the last place.
        place = np.where(self._row == NIL, self.rows, self._row)
        self._pairs = Table(self._surface, place, self.rows + 1, self._count)
        self._of_surface = np.bincount(self._surface, self._count, len(self.surfaces))
        self._of_row = np.bincount(place, self._count, self.rows + 1)
        order = np.lexsort((self._row, -self._count, self._surface))
        order = order[self._row[order] != NIL]
        self._listed = self._row[order]
        self._begin = np.searchsorted(self._surface[order], np.arange(len(self.surfaces) + 1))

    def __len__(self) -> int:
        return len(self._surface)

    def numbers(self, mentions: Sequence[str]) -> Ints:
        """Of each mention the number of its surface, NOWHERE where memory has none."""
        known: dict[str, int] = {}
        for mention in mentions:
            if mention not in known:
                known[mention] = self._number.get(surface(mention), NOWHERE)
        return np.array([known[mention] for mention in mentions], dtype=np.int64)

    def candidates(self, number: Ints) -> tuple[Ints, Ints]:
        """Rows that surfaces have meant, the most frequent first: which of the surfaces, and which row."""
        known = np.flatnonzero(number >= 0)
        size = np.minimum(self._begin[number[known] + 1] - self._begin[number[known]], CANDIDATES)
        which = np.repeat(known, size)
        within = np.arange(len(which)) - np.repeat(np.cumsum(size) - size, size)
        return which, self._listed[self._begin[number[which]] + within]

    def nil(self, number: Ints, own: Own | None = None) -> Vectors:
        """Of each surface the share of labels that say it means no row; NaN where memory has none."""
        none = np.full(len(number), self.rows, dtype=np.int64)
        said, total = self._pairs(number, none), self._total(number)
        if own is not None:
            said, total = said - own.pairs(own.text, number, none), total - own.total(number)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(total > 0, said / (total + SMOOTHING), np.nan).astype(np.float32)

    def features(self, mention: Ints, row: Ints, number: Ints, own: Own | None = None) -> Vectors:
        """What memory says of each candidate: float32 (n, len(RECALLED)).

        Args:
            mention, row: of each candidate.
            number: of each mention its surface's, from `numbers`.
            own: what is to be forgotten, so that a label is no evidence for itself.

        ``memory_share`` of the labels of this surface that mean the row, NaN where it has none; ``memory_count`` and ``memory_other``
        log(1 + labels) of this surface that mean the row and others; ``memory_row`` log(1 + labels) of the row.
        """
        which = number[mention]
        said, total, of_row = self._pairs(which, row), self._total(which), self._of_row[row].astype(np.float32)
        if own is not None:
            # What memory was never told of (a hidden row) is not taken away from it either.
            said = np.maximum(said - own.pairs(own.text[mention], which, row), 0.0)
            total = np.maximum(total - own.total(number)[mention], 0.0)
            of_row = np.maximum(of_row - own.of_row(own.text[mention], row), 0.0)
        share = np.where(total > 0, said / (total + SMOOTHING), np.nan)
        return np.stack([share, np.log1p(said), np.log1p(np.maximum(total - said, 0.0)), np.log1p(of_row)], axis=1).astype(np.float32)

    def said(self, number: Ints, row: Ints) -> Bools:
        """Whether labels said of a surface that it means a row."""
        return np.asarray(self._pairs(number, row) > 0)

    def _total(self, number: Ints) -> Vectors:
        return np.where(number >= 0, np.append(self._of_surface, 0.0)[number], 0.0).astype(np.float32)

    def own(self, text: Ints, number: Ints, row: Ints) -> Own:
        """What the labels of each text added to memory: of each mention its text, surface and row (NIL, -2: none)."""
        hidden = Table(self._surface, np.where(self._row == NIL, self.rows, self._row), self.rows + 1, self._count)
        place = np.where(row == NIL, self.rows, row)
        told = (row >= NIL) & (number >= 0)
        told[told] &= hidden(number[told], place[told]) > 0
        return Own(text, number, place, told, self.rows + 1, len(self.surfaces))


class Own:
    """A text's own share of memory."""

    def __init__(self, text: Ints, number: Ints, place: Ints, told: Bools, rows: int, surfaces: int) -> None:
        self.text = text
        texts, number, place = text[told], number[told], place[told]
        self._surfaces = max(1, surfaces)
        self._pairs = Table(texts * self._surfaces + number, place, rows)
        self._total = Table(texts, number, self._surfaces)
        self._of_row = Table(texts, place, rows)

    def pairs(self, text: Ints, number: Ints, place: Ints) -> Vectors:
        return np.where(number >= 0, self._pairs(text * self._surfaces + np.maximum(number, 0), place), 0.0).astype(np.float32)

    def total(self, number: Ints) -> Vectors:
        return self._total(self.text, number)

    def of_row(self, text: Ints, row: Ints) -> Vectors:
        return self._of_row(text, row)
