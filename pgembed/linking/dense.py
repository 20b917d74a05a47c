"""Meaning: fetches what `senses` compares, the vectors and words of texts, surfaces, rows and neighbours, each of them once.

A text is embedded once, however many mentions it has, and not at all where none of them has two candidates; a surface once a session; a
row's vector is the stored one, fetched when the row or a neighbour of it is first a candidate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pgembed.errors import InvalidParameter
from pgembed.linking import associations, senses
from pgembed.linking.associations import Associations, Counted
from pgembed.linking.contract import NIL, Check, Dense, Ints, Knowledge, Vectors
from pgembed.linking.senses import COLUMNS, PARTS, Learned, Sides, away, unit

NEIGHBOURS = 12  # of a row that are looked at: those that it refers to, then those that refer to it
_SAMPLE = 1_000  # rows whose mean is taken away
_FEW = 50  # of fewer rows with a vector the mean would be a part of each
_KEPT_ROWS = 40_000  # vectors of rows that a session keeps: 30 MB of 384 dimensions in half precision
_KEPT_SURFACES = 10_000
_KEPT_TEXTS = 2_000  # a batch: those for which rows were proposed are compared next
_KEPT_WORDS = 100_000  # rows whose words a session keeps
_COMMON = 0.02  # words that a larger share of the contexts has tell nothing


@dataclass(frozen=True)
class Asked:
    """What was asked and what of it can be compared.

    Attributes:
        chosen: pairs of mentions that have several candidates: their numbers among all pairs.
        mentions: numbers of those mentions, in the order of `sides`.
        sides: what is compared.
    """

    chosen: Ints
    mentions: Ints
    sides: Sides


class Meaning:
    """The rows of a linker as vectors.

    Args:
        dense: their vectors and the model.
        learned: from `sense_training.learn`; None: untrained.
        words: which words go together, of a former object over about these rows; None: learned of the contexts when first needed. What
            `learned` knows comes before.
    Raises:
        InvalidParameter: it was learned with other vectors.
    """

    def __init__(self, knowledge: Knowledge, dense: Dense, learned: Learned | None = None, *, words: Associations | None = None) -> None:
        if learned is not None and learned.space != dense.space:
            raise InvalidParameter(
                f'the linker was trained with vectors of "{learned.space[:12]}", and its rows have those of "{dense.space[:12]}"',
                hint="Train the linker again: CALL pgembed.train_linker().",
            )
        self.learned = learned
        self._dense = dense
        self._context, self._types = knowledge.context, knowledge.types
        self._rows = _Rows(dense, len(knowledge))
        self._surfaces: dict[str, Vectors] = {}
        self._texts: dict[str, Vectors] = {}
        self._knowledge = knowledge
        self._words: dict[int, frozenset[str]] = {}
        self._near_words: dict[int, frozenset[str]] = {}
        self._counted: Counted | None = None
        self._rarity: dict[str, float] | None = None
        self._associations = words if learned is None else learned.words
        self._mean: Vectors | None = None

    def changed(self, knowledge: Knowledge, rows: Sequence[int]) -> Meaning:
        """The same with some rows changed. What is common to all rows stays: their mean, and what their contexts tell of words."""
        made = Meaning(knowledge, self._dense, self.learned, words=self._associations)
        gone = set(rows)
        made._texts, made._surfaces, made._rarity, made._mean = self._texts, self._surfaces, self._rarity, self._mean
        made._words = {row: words for row, words in self._words.items() if row not in gone}
        return made

    @cached_property
    def _around_of(self) -> tuple[Ints, Ints]:
        return _neighbours(self._knowledge)

    @property
    def _begin(self) -> Ints:
        return self._around_of[0]

    @property
    def _neighbour(self) -> Ints:
        return self._around_of[1]

    def measure(
        self, texts: Sequence[str], text: Ints, start: Ints, end: Ints, mention: Ints, row: Ints, check: Check | None = None
    ) -> Vectors:
        """Compare candidates with their texts.

        Args:
            text, start, end: of each mention its text's number and its place, 0-based, end exclusive.
            mention, row: of each pair, ordered by mention.
        Returns:
            float32 (n, len(COLUMNS)); NaN where a row or none of its neighbours has a vector, and for mentions of one candidate.
        """
        asked = self.ask(texts, text, start, end, mention, row, check)
        values = np.full((len(mention), len(COLUMNS)), np.nan, np.float32)
        means = senses.no_means(asked.sides) if self.learned is None else self.learned.means
        measured = senses.parts(asked.sides, means)
        values[asked.chosen, : len(PARTS)] = measured
        if self.learned is None:
            values[asked.chosen, -1] = senses.untrained(measured, asked.sides.mention)
        else:
            values[asked.chosen, -1] = self.learned.score(measured, asked.sides)
        # The words of a row without a vector are no evidence against rows with one.
        values[asked.chosen[np.isnan(measured[:, 0])]] = np.nan
        return values

    def ask(self, texts: Sequence[str], text: Ints, start: Ints, end: Ints, mention: Ints, row: Ints, check: Check | None = None) -> Asked:
        """Fetch what `measure` compares and `sense_training.learn` learns from; arguments as of `measure`."""
        fresh = senses.starts(mention)
        count = np.diff(fresh, append=len(mention))
        chosen = np.flatnonzero(np.repeat(count > 1, count))
        mentions, of_pair = np.unique(mention[chosen], return_inverse=True)
        rows, candidate = np.unique(row[chosen], return_inverse=True)
        used, text_of = np.unique(text[mentions], return_inverse=True)
        places = zip(text[mentions].tolist(), start[mentions].tolist(), end[mentions].tolist(), strict=True)
        surfaces = [texts[which][a:b].lower() for which, a, b in places]
        spelled = list(dict.fromkeys(surfaces))
        number = {surface: at for at, surface in enumerate(spelled)}
        surface_of = np.array([number[surface] for surface in surfaces], np.int64)
        contents = [texts[at] for at in used.tolist()]
        q, s = self._kept(self._texts, contents, _KEPT_TEXTS), self._kept(self._surfaces, spelled, _KEPT_SURFACES)
        if check is not None:
            check()
        d = away(self._rows.take(rows), self.mean) if len(rows) else q
        around_row, around_of, around = self._around(rows)
        near = np.zeros_like(d)
        np.add.at(near, around_row, around[around_of])
        words, own = [associations.words(content) for content in contents], [associations.words(surface) for surface in spelled]
        beyond = [words[which] - own[surface] for which, surface in zip(text_of.tolist(), surface_of.tolist(), strict=True)]
        overlap, overlap_near = self._overlap(beyond, of_pair, row[chosen])
        said, told, told_near = self._associated(beyond, rows, check)
        types = [self._types[at] for at in rows.tolist()]
        sides = Sides(
            q, text_of, s, surface_of, d, unit(near), types, of_pair, candidate, overlap, overlap_near, around, around_of, around_row,
            self._all_associations(), said, told, told_near,
        )  # fmt: skip
        return Asked(chosen, mentions, sides)

    def proposed(self, texts: Sequence[str], text: Ints, k: int) -> tuple[Ints, Ints]:
        """Candidates by context: the k rows near to a mention's text, `text` its number; (mention, row) pairs, as `untrained.prepare` takes
        them beside those by name."""
        used, of_text = np.unique(text, return_inverse=True)
        found = self._dense.nearest(self._kept(self._texts, [texts[at] for at in used.tolist()], _KEPT_TEXTS), k) if len(used) else []
        count = np.array([len(found[at]) for at in of_text.tolist()], np.int64)
        rows = [row for at in of_text.tolist() for row in found[at]]
        return np.repeat(np.arange(len(text), dtype=np.int64), count), np.array(rows, np.int64)

    def forget(self) -> None:
        """Fetch vectors of rows anew when they are needed; the mean is kept, unless there was nothing to take it of."""
        self._rows.forget()
        if self._mean is not None and not self._mean.any():
            self._mean = None

    @property
    def space(self) -> str:
        """Which space the vectors are of."""
        return self._dense.space

    @property
    def words(self) -> Associations | None:
        """Which words go together; None before it was needed."""
        return self._associations

    @property
    def mean(self) -> Vectors:
        """What is taken away from rows: the mean of a sample of them, always the same one while they are."""
        if self.learned is not None:
            return self.learned.row_mean
        if self._mean is None:
            rows = len(self._context)
            some = np.arange(rows) if rows <= _SAMPLE else np.sort(np.random.default_rng(0).choice(rows, _SAMPLE, replace=False))
            found = unit(self._rows.take(some))
            have = np.flatnonzero(found.any(1))
            self._mean = found[have].mean(0) if len(have) >= _FEW else np.zeros(found.shape[1], np.float32)
        return self._mean

    def _embedded(self, texts: list[str]) -> Vectors:
        return unit(self._dense.embed(texts)) if texts else np.zeros((0, 1), np.float32)

    def _kept(self, known: dict[str, Vectors], texts: list[str], most: int) -> Vectors:
        """Vectors of different texts, those that are not known embedded."""
        new = [text for text in texts if text not in known]
        if len(known) + len(new) > most:
            known.clear()
            new = texts
        if new:
            known.update(zip(new, self._embedded(new), strict=True))
        return np.stack([known[text] for text in texts]) if texts else np.zeros((0, 1), np.float32)

    def _around(self, rows: Ints) -> tuple[Ints, Ints, Vectors]:
        """(number among the rows, number among the neighbours' vectors) pairs, and these vectors."""
        begin = self._begin[rows]
        count = np.minimum(self._begin[rows + 1] - begin, NEIGHBOURS)
        owner = np.repeat(np.arange(len(rows)), count)
        at = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count) + begin[owner]
        unique, back = np.unique(self._neighbour[at], return_inverse=True)
        vectors = away(self._rows.take(unique), self.mean) if len(rows) else np.zeros((0, 1), np.float32)
        known = np.flatnonzero(np.any(vectors, axis=1).take(back))
        return owner[known], back[known], vectors

    def _overlap(self, beyond: list[frozenset[str]], mention: Ints, row: Ints) -> tuple[Vectors, Vectors]:
        own, near = np.zeros(len(row), np.float32), np.zeros(len(row), np.float32)
        for at, (which, candidate) in enumerate(zip(mention.tolist(), row.tolist(), strict=True)):
            asked = beyond[which]
            if not asked:
                continue
            own[at] = self._rare(asked & self._words_of(candidate))
            around = self._words_around(candidate)
            if around:
                count = min(int(self._begin[candidate + 1] - self._begin[candidate]), NEIGHBOURS)
                near[at] = self._rare(asked & around) / (1 + count) ** 0.5
        return own, near

    def _rare(self, words: frozenset[str]) -> float:
        """The sum of the words' rarities among contexts, which are counted when it is first asked."""
        if not words:
            return 0.0
        if self._rarity is None:
            counted = self._count()
            count, rows = counted.contexts, len(self._context)
            rare = np.flatnonzero(count <= max(3, _COMMON * rows))
            self._rarity = {
                counted.words[at]: float(np.log(rows / many)) for at, many in zip(rare.tolist(), count[rare].tolist(), strict=True)
            }
            self._forget()
        return sum(self._rarity.get(word, 0.0) for word in sorted(words))

    def _count(self) -> Counted:
        if self._counted is None:
            self._counted = associations.count(self._context)
        return self._counted

    def _forget(self) -> None:
        """Counts are no longer needed once both that need them have them."""
        if self._rarity is not None and self._associations is not None:
            self._counted = None

    def _associated(self, beyond: list[frozenset[str]], row: Ints, check: Check | None) -> tuple[Vectors, Vectors, Vectors]:
        """Of mentions, rows and the rows' neighbours what their words are associated with."""
        known = self._all_associations(check)
        begin = self._begin[row]
        count = np.minimum(self._begin[row + 1] - begin, NEIGHBOURS)
        owner = np.repeat(np.arange(len(row)), count)
        at = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count) + begin[owner]
        unique, back = np.unique(self._neighbour[at], return_inverse=True)
        told, others = (known.of([self._words_of(one) for one in some.tolist()]) for some in (row, unique))
        near = np.zeros_like(told)
        np.add.at(near, owner, others[back])
        return known.of(beyond), told, unit(near)

    def _all_associations(self, check: Check | None = None) -> Associations:
        if self._associations is None:
            self._associations = associations.learn(self._count(), check)
            self._forget()
        return self._associations

    def _words_around(self, row: int) -> frozenset[str]:
        found = self._near_words.get(row)
        if found is None:
            if len(self._near_words) >= _KEPT_WORDS // NEIGHBOURS:
                self._near_words.clear()
            begin = int(self._begin[row])
            around = self._neighbour[begin : min(int(self._begin[row + 1]), begin + NEIGHBOURS)].tolist()
            found = self._near_words[row] = frozenset[str]().union(*map(self._words_of, around))
        return found

    def _words_of(self, row: int) -> frozenset[str]:
        found = self._words.get(row)
        if found is None:
            if len(self._words) >= _KEPT_WORDS:
                self._words.clear()
            found = self._words[row] = associations.words(self._context[row] or "")
        return found


class _Rows:
    """Vectors of rows, kept in half precision once they were fetched."""

    def __init__(self, dense: Dense, rows: int) -> None:
        self._dense = dense
        self._place = np.full(rows, -1, np.int64)
        self._kept: npt.NDArray[np.float16] | None = None
        self._count = 0

    def forget(self) -> None:
        self._place[:] = -1
        self._kept, self._count = None, 0

    def take(self, rows: Ints) -> Vectors:
        """Those of some rows, no row twice; zeros where there is none."""
        new = rows[self._place[rows] < 0]
        if self._count + len(new) > _KEPT_ROWS:
            self.forget()
            new = rows
        if len(new) or self._kept is None:
            found = np.asarray(self._dense.vectors(new.tolist()), np.float32).astype(np.float16)
            if self._kept is None or self._count + len(new) > len(self._kept):
                grown = np.zeros((max(2 * self._count, self._count + len(new)), found.shape[1]), np.float16)
                if self._kept is not None:
                    grown[: self._count] = self._kept[: self._count]
                self._kept = grown
            self._kept[self._count : self._count + len(new)] = found
            self._place[new] = np.arange(self._count, self._count + len(new))
            self._count += len(new)
        made: Vectors = self._kept[self._place[rows]].astype(np.float32)
        return made


def _neighbours(knowledge: Knowledge) -> tuple[Ints, Ints]:
    """Of each row where its neighbours begin, and the neighbours, each once: those that it refers to, then those that refer to it."""
    facts, rows = knowledge.facts, len(knowledge)
    here = np.flatnonzero((facts.other != NIL) & (facts.other != facts.row))
    a, b = facts.row[here], facts.other[here]
    key = np.concatenate([a * rows + b, b * rows + a])
    key = key[np.sort(np.unique(key, return_index=True)[1])]
    owner = key // max(1, rows)
    order = np.argsort(owner, kind="stable")
    begin = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=rows))]).astype(np.int64)
    return begin, (key % max(1, rows))[order]
