"""The names and aliases of a table's rows, compiled so that one pass over many texts finds them all."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import cached_property
from itertools import chain

import numpy as np

from pgembed.mentions import words as cutting
from pgembed.mentions.language import ENGLISH, Language
from pgembed.mentions.spelling import Hashed, Hashes, Ints, Spellings, Table, hashes_of
from pgembed.mentions.words import Bools, Words

# Names of more words than this are not looked for in text as a whole; as candidates of other mentions they still count.
MOST_WORDS = 12
# Letters below which one edit makes another word rather than a misspelling.
SHORTEST_NAME = 6
SHORTEST_WORD = 5
# Changes are laid over what was compiled until they are this share of it.
MOST_CHANGED = 0.1


class Layer:
    """Names compiled together; arrays of one length, a name each. They never change: a later layer adds to them.

    Attributes:
        row, text: whose name, and as it is written.
        cut: the words of all names; `cut.text` is the name of each.
        first, size: the first word of a name, and how many it has.
        begin, stop: its words run together, in the letters of `cut`.
        key: number of these letters: names of one key differ at most in row, separators, case and accents.
        word: of each word of `cut` its number in the vocabulary.
    """

    def __init__(self, pairs: Iterable[tuple[int, str | None]]) -> None:
        given = [(row, text) for row, text in pairs if text]
        cut = cutting.words([text for _, text in given])
        first, row, whole = _places(cut, given)
        # The same name of the same row twice is one; of other words it is another although the letters agree.
        order = np.lexsort((np.diff(first), whole, row))
        again = np.zeros(len(given), dtype=bool)
        again[order[1:]] = np.all([np.diff(values[order]) == 0 for values in (row, whole, np.diff(first))], axis=0) if len(given) else False
        kept = np.flatnonzero((np.diff(first) > 0) & ~again)
        if len(kept) < len(given):
            given = [given[at] for at in kept.tolist()]
            cut = cutting.words([text for _, text in given])
            first, row, whole = _places(cut, given)
        self.text = [text for _, text in given]
        self.cut, self.row, self.first, self.size = cut, row, first[:-1], np.diff(first)
        self.begin, self.stop = cut.begin[self.first], cut.stop[self.first + self.size - 1]
        hashes, self._name_of_key, self.key = np.unique(whole, return_index=True, return_inverse=True)
        self.keys = Table(hashes, np.arange(len(hashes)))
        self._of_key = np.argsort(self.key, kind="stable")
        self._start_of_key = np.searchsorted(self.key[self._of_key], np.arange(len(hashes) + 1))
        self.word_hash, self._at_of_word, self.word = np.unique(cut.hash, return_index=True, return_inverse=True)
        self.vocabulary = Table(self.word_hash, np.arange(len(self.word_hash)))
        capitals = np.append(0, np.cumsum(cut.case[0]))
        self.has_capital = capitals[self.first + self.size] > capitals[self.first]
        self.has_marks = (cut.start[self.first] > cut.offset[:-1][: len(row)]) | (
            cut.end[self.first + self.size - 1] < cut.offset[1:][: len(row)] - 1
        )
        self.last_hash = cut.hash[self.first + self.size - 1]
        cut.forget()

    def __len__(self) -> int:
        return len(self.row)

    @cached_property
    def near_keys(self) -> Spellings:
        """Keys within one edit."""
        return Spellings.of(Hashed(self.cut.letters), self.begin[self._name_of_key], self.stop[self._name_of_key], SHORTEST_NAME)

    @cached_property
    def near_words(self) -> Spellings:
        """Words of the vocabulary within one edit."""
        return Spellings.of(Hashed(self.cut.letters), self.cut.begin[self._at_of_word], self.cut.stop[self._at_of_word], SHORTEST_WORD)

    def names_of(self, key: Ints) -> tuple[Ints, Ints]:
        """The names of each key: which of the keys, and the name."""
        count = self._start_of_key[key + 1] - self._start_of_key[key]
        which = np.repeat(np.arange(len(key)), count)
        within = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
        return which, self._of_key[self._start_of_key[key][which] + within]

    def word_text(self, number: int) -> str:
        """A word of the vocabulary."""
        return self.cut.word(int(self._at_of_word[number]))

    def words(self, name: int) -> tuple[str, ...]:
        """Folded words of a name."""
        return tuple(self.cut.word(at) for at in range(int(self.first[name]), int(self.first[name] + self.size[name])))


def _places(cut: Words, given: list[tuple[int, str]]) -> tuple[Ints, Ints, Hashes]:
    """First word of each name (and how many words there are), its row, and the hash of its letters."""
    first = np.searchsorted(cut.text, np.arange(len(given) + 1))
    row = np.fromiter((row for row, _ in given), np.int64, len(given))
    begin, stop = np.append(cut.begin, len(cut.letters))[first[:-1]], np.append(0, cut.stop)[first[1:]]
    return first, row, cut.hashed.whole(begin, np.maximum(begin, stop))


class Dictionary:
    """Names by their letters; the same letters may belong to several rows (homonyms) and a row may have several names.

    Names are referred to by position: those of the first layer, then those of the second. Dropped ones keep theirs.

    Args:
        layers: one, or one and what was added to it.
        dropped: of each name of the first layer whether its row has changed since; None: none has.
        nouns: folded words that describe rows: of their types and relations.
        language: what is ordinary.
    """

    def __init__(
        self, layers: list[Layer], dropped: Bools | None = None, nouns: frozenset[str] = frozenset(), language: Language = ENGLISH
    ) -> None:
        self.layers, self.nouns, self.language = layers, nouns, language
        self.offset: list[int] = np.cumsum([0, *map(len, layers)]).tolist()
        self.row = np.concatenate([layer.row for layer in layers])
        self.text = layers[0].text if len(layers) == 1 else [text for layer in layers for text in layer.text]
        self.size = np.concatenate([layer.size for layer in layers])
        self.key_length = np.concatenate([layer.stop - layer.begin for layer in layers])
        self.has_capital = np.concatenate([layer.has_capital for layer in layers])
        self.has_marks = np.concatenate([layer.has_marks for layer in layers])
        self.alive = np.ones(len(self.row), dtype=bool)
        self._lost: Bools | None = None  # words of the first layer's vocabulary that only dropped names have
        if dropped is not None and dropped.any():
            self.alive[: len(dropped)] = ~dropped
            base = layers[0]
            self._lost = np.bincount(base.word, self.alive[base.cut.text], len(base.word_hash)) == 0
        # One more than a name has, because a text may also take a word apart ("auto vacuum").
        self.most_words = min(MOST_WORDS, int(self.size[self.alive].max(initial=0)) + 1)
        self.corrections: dict[int, tuple[int, int]] = {}

    def __len__(self) -> int:
        return int(self.alive.sum())

    def words(self, name: int) -> tuple[str, ...]:
        """Folded words of a name."""
        layer = int(name >= self.offset[1])
        return self.layers[layer].words(name - self.offset[layer])

    def exact(self, hashes: Hashes) -> tuple[Ints, Ints]:
        """Names whose letters have these hashes: which of the hashes, and the name."""
        found = [self._names(nth, *layer.keys.find(hashes)) for nth, layer in enumerate(self.layers)]
        return np.concatenate([at for at, _ in found]), np.concatenate([name for _, name in found])

    def near(self, text: Words, begin: Ints, stop: Ints) -> tuple[Ints, Ints]:
        """Names whose letters may be within one edit of ranges of the letters of a text: which of the ranges, and the name."""
        found = [self._names(nth, *layer.near_keys.near(text.hashed, begin, stop)) for nth, layer in enumerate(self.layers)]
        return np.concatenate([at for at, _ in found]), np.concatenate([name for _, name in found])

    def _names(self, nth: int, at: Ints, key: Ints) -> tuple[Ints, Ints]:
        which, name = self.layers[nth].names_of(key)
        name = name + self.offset[nth]
        alive = self.alive[name]
        return at[which[alive]], name[alive]

    def knows(self, hashes: Hashes) -> Bools:
        """Whether words of these hashes are words of names."""
        known = np.zeros(len(hashes), dtype=bool)
        for nth, layer in enumerate(self.layers):
            if nth or self._lost is None:
                known |= layer.vocabulary.has(hashes)
            else:
                at, word = layer.vocabulary.find(hashes)
                known[at[~self._lost[word]]] = True
        return known

    def near_words(self, some: list[str]) -> list[tuple[int, str]]:
        """Words of names that may be within one edit of words: which of the words, and the other."""
        length = np.fromiter(map(len, some), np.int64, len(some))
        end = np.cumsum(length)
        hashed = Hashed("".join(some))
        found: dict[tuple[int, str], None] = {}
        for nth, layer in enumerate(self.layers):
            at, number = layer.near_words.near(hashed, end - length, end)
            if not nth and self._lost is not None:
                at, number = at[~self._lost[number]], number[~self._lost[number]]
            found.update(dict.fromkeys((a, layer.word_text(b)) for a, b in zip(at.tolist(), number.tolist(), strict=True)))
        return [*found]

    @cached_property
    def is_noun(self) -> Table:
        """Hashes of words that may head a description: the declared ones, and the last words of names of several words."""
        last = np.concatenate([layer.last_hash for layer in self.layers])[self.alive & (self.size > 1)]
        hashes = np.unique(np.concatenate([last, hashes_of(sorted(self.nouns))]))
        return Table(hashes, np.arange(len(hashes)))

    def changed(self, dropped_rows: Collection[int], added_names: Iterable[tuple[int, str | None]]) -> Dictionary:
        """The dictionary after some rows changed, without compiling the others again.

        Args:
            dropped_rows: rows whose names (and aliases) no longer hold.
            added_names: names of new rows, and all names of changed ones, which are among the dropped too.
        """
        rows = np.fromiter(dropped_rows, np.int64, len(dropped_rows))
        base = self.layers[0]
        dropped = ~self.alive[: len(base)] | np.isin(base.row, rows)
        gone = set(dropped_rows)
        again = [
            (row, text) for layer in self.layers[1:] for row, text in zip(layer.row.tolist(), layer.text, strict=True) if row not in gone
        ]
        added = [*again, *added_names]
        if len(added) + int(dropped.sum()) > MOST_CHANGED * len(base):
            left = [(int(base.row[at]), base.text[at]) for at in np.flatnonzero(~dropped).tolist()]
            return Dictionary([Layer([*left, *added])], None, self.nouns, self.language)
        return Dictionary([base, *([Layer(added)] if added else [])], dropped, self.nouns, self.language)


def compile(
    names: Iterable[tuple[int, str | None]],
    aliases: Iterable[tuple[int, str | None]] = (),
    nouns: Iterable[str] = (),
    language: Language = ENGLISH,
) -> Dictionary:
    """Compile names and aliases, pairs of a row's number and a text.

    NULL (None) and texts without letter or digit are skipped, as is a name that a row has already. A row may have any
    number of either, and many rows the same name.

    Args:
        nouns: what rows are and how they are related, in words ("city", "leader name"): heads of descriptions such as "the city".
        language: which words are ordinary.
    """
    cut = cutting.words(list(nouns))
    heads = frozenset(word for at in range(len(cut)) if (word := cut.word(at)) not in language.grammar)
    return Dictionary([Layer(chain(names, aliases))], None, heads, language)
