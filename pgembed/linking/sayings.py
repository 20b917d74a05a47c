"""Which words are said of rows in which roles, learned from labels: "club" of what somebody plays for, "capital" of capitals.

The only things labels teach that hold for rows which no label names. What a word says of a row is how much more often labels said it of
other rows in the same role than of rows at large: never of the row itself, for that is memory's business (memory.py) and would be learned
by heart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pgembed.linking import wording
from pgembed.linking.contract import Ints, Knowledge, Vectors
from pgembed.linking.memory import Table

SAID = ("said_best", "said_mean")
DOUBT = 2.0  # rows that are added to those a word was said of, as if they stood in each role as often as all rows do
MOST = 4_000_000  # counts kept of words by roles


@dataclass(frozen=True)
class Sayings:
    """Of which rows each word was said.

    Attributes:
        words, keys: different ones.
        word, key: of each pair its numbers, ascending.
    """

    words: list[str]
    keys: list[str]
    word: Ints
    key: Ints

    @classmethod
    def of(cls, labels: Iterable[tuple[str, str | None]], names: Mapping[str, Sequence[str]]) -> Sayings:
        """From mentions and the keys that they mean; words of ``names`` of a key are what it is called, and not said of it."""
        words: dict[str, int] = {}
        keys: dict[str, int] = {}
        own = {key: {word for name in called for word in wording.words(name)} for key, called in names.items()}
        said: set[tuple[str, str]] = set()
        for mention, key in set(labels):
            if key is not None and key in own:
                said.update((word, key) for word in wording.words(mention) if word not in own[key])
        for word, key in sorted(said):
            words.setdefault(word, len(words))
            keys.setdefault(key, len(keys))
        both = np.array(sorted((words[word], keys[key]) for word, key in said), dtype=np.int64).reshape(-1, 2)
        return cls(list(words), list(keys), both[:, 0].copy(), both[:, 1].copy())


class Said:
    """Sayings about a knowledge's rows; rows that it has no longer say nothing."""

    def __init__(self, sayings: Sayings | None, knowledge: Knowledge) -> None:
        rows = len(knowledge)
        self._number: dict[str, int] = {}
        self._counts = np.zeros((0, 0), np.float32)
        self._rows = np.zeros(0)
        self._pairs = Table(np.zeros(0, np.int64), np.zeros(0, np.int64), 1)
        if sayings is None or not len(sayings.word):
            return
        self._role, self._begin, count = roles(knowledge)
        if not count:
            return
        size = np.diff(self._begin)
        self._usual = (np.bincount(self._role, minlength=count) + 1.0) / (rows + 2.0)
        # Rows that anything was said of, in all and by role: of roles that labels never met no word says anything.
        self._known = np.zeros(rows, bool)
        row_of = {key: row for row, key in enumerate(knowledge.keys)}
        row = np.array([row_of.get(key, -1) for key in sayings.keys], dtype=np.int64)[sayings.key]
        word, row = sayings.word[row >= 0], row[row >= 0]
        self._known[row] = True
        of = np.repeat(np.arange(rows), size)
        self._of_role, self._many = np.bincount(self._role[self._known[of]], minlength=count).astype(np.float64), float(self._known.sum())
        # A word that was said of one row says nothing of another.
        said_of = np.bincount(word, minlength=len(sayings.words))
        often = np.lexsort((np.arange(len(said_of)), -said_of))[: max(1, MOST // count)]
        often = np.sort(often[said_of[often] > 1])
        place = np.full(len(said_of), -1, dtype=np.int64)
        place[often] = np.arange(len(often))
        word, row = place[word][place[word] >= 0], row[place[word] >= 0]
        self._number = {sayings.words[at]: number for number, at in enumerate(often.tolist())}
        self._rows = np.bincount(word, minlength=len(often)).astype(np.float64)
        at = _ranges(self._begin[row], size[row])
        flat = np.repeat(word, size[row]) * count + self._role[at]
        self._counts = np.bincount(flat, minlength=len(often) * count).reshape(-1, count).astype(np.float32)
        self._pairs = Table(word, row, rows)

    def __len__(self) -> int:
        return len(self._number)

    def features(self, surfaces: Sequence[str], mention: Ints, row: Ints) -> Vectors:
        """Of each candidate the best and the mean over the mention's words of what they say of it: float32 (n, len(SAID)).

        Args:
            surfaces: of each mention, as they are written.
            mention, row: of each candidate.

        A word says log(rows of a role that it was said of / as many as by chance), for the row's role where it says most; by chance as
        often as the role is among all rows, or among those that labels described, if that is less. NaN where the mention has no word that
        labels said of others.
        """
        made = np.full((len(mention), 2), np.nan, dtype=np.float32)
        if not self._number or not len(mention):
            return made
        known = {
            surface: [self._number[word] for word in dict.fromkeys(wording.words(surface)) if word in self._number]
            for surface in dict.fromkeys(surfaces)
        }
        words = [known[surface] for surface in surfaces]
        count = np.fromiter(map(len, words), np.int64, len(words))
        begin = np.cumsum(count) - count
        flat = np.array([word for some in words for word in some], dtype=np.int64)
        pair = np.repeat(np.arange(len(mention)), count[mention])  # a pair and a word of it
        word = flat[_ranges(begin[mention], count[mention])]
        own = self._pairs(word, row[pair])
        many = self._begin[row[pair] + 1] - self._begin[row[pair]]
        some = np.flatnonzero((many > 0) & (self._rows[word] - own > 0))
        pair, word, own, many = pair[some], word[some], own[some], many[some]
        if not len(pair):
            return made
        role = self._role[_ranges(self._begin[row[pair]], many)]
        which = np.repeat(np.arange(len(pair)), many)
        usual, itself = self._usual[role], self._known[row[pair]][which]
        doubt = DOUBT * usual
        chance = np.minimum(usual, (self._of_role[role] - itself) / np.maximum(self._many - itself, 1.0))
        said = self._counts[word[which], role] - own[which] + doubt
        best = np.maximum.reduceat(np.log(said / ((self._rows[word[which]] - own[which]) * chance + doubt)), np.cumsum(many) - many)
        first = np.flatnonzero(np.append(True, pair[1:] != pair[:-1]))
        made[pair[first], 0] = np.maximum.reduceat(best, first)
        made[pair[first], 1] = np.add.reduceat(best, first) / np.diff(first, append=len(pair))
        return made


def roles(knowledge: Knowledge) -> tuple[Ints, Ints, int]:
    """The roles that rows stand in, ordered by row, where each row's begin, and how many different ones there are."""
    facts, rows = knowledge.facts, len(knowledge)
    leads = (facts.other >= 0) & (facts.other < rows)
    types = {kind: at for at, kind in enumerate(dict.fromkeys(kind for kinds in knowledge.types for kind in kinds))}
    typed = np.array([(row, types[kind]) for row, kinds in enumerate(knowledge.types) for kind in kinds], dtype=np.int64).reshape(-1, 2)
    base = 2 * len(knowledge.relations)
    roles = base + len(types)
    row = np.concatenate([facts.row, facts.other[leads], typed[:, 0]])
    role = np.concatenate([2 * facts.relation, 2 * facts.relation[leads] + 1, base + typed[:, 1]])
    key = np.unique(row * max(1, roles) + role)
    row, role = key // max(1, roles), key % max(1, roles)
    return role, np.searchsorted(row, np.arange(rows + 1)), roles


def _ranges(begin: Ints, count: Ints) -> Ints:
    """The numbers begin, begin + 1, ... of each, count of them."""
    ends = np.cumsum(count)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - count, count) + np.repeat(begin, count)
