"""The names and aliases of a table's rows, compiled so that one pass over a text finds them all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from pgembed.linking import folding
from pgembed.linking.candidates import Trigrams
from pgembed.linking.spelling import Spellings

# Names of more words than this are not looked for in text as a whole; as candidates of other mentions they still count.
MOST_WORDS = 12
# Letters below which one edit makes another word rather than a misspelling.
SHORTEST_NAME = 6
SHORTEST_WORD = 5


@dataclass(frozen=True, slots=True)
class Name:
    """One name of one row, and its folded words."""

    row: int
    text: str
    words: tuple[str, ...]

    @property
    def key(self) -> str:
        """The words run together: separators distinguish no names."""
        return "".join(self.words)


class Dictionary:
    """Names by key; a key may belong to several rows (homonyms) and a row may have several names.

    Args:
        names: folded names that have at least one word.
    """

    def __init__(self, names: list[Name]) -> None:
        self.names = names
        place: dict[str, int] = {}
        self.of_key: list[list[int]] = []
        for position, name in enumerate(names):
            at = place.setdefault(name.key, len(self.of_key))
            if at == len(self.of_key):
                self.of_key.append([])
            self.of_key[at].append(position)
        self.keys = list(place)
        words = {word: None for name in names for word in name.words}
        self.words = list(words)
        self.is_word = words.keys()
        # One more than a name has, because a text may also take a word apart ("auto vacuum").
        self.most_words = min(MOST_WORDS, max((len(name.words) for name in names), default=0) + 1)

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def spellings(self) -> Spellings:
        """Keys, for finding them in text."""
        return Spellings(self.keys, SHORTEST_NAME)

    @cached_property
    def word_spellings(self) -> Spellings:
        """Words, for correcting those of a text."""
        return Spellings(self.words, SHORTEST_WORD)

    @cached_property
    def trigrams(self) -> Trigrams:
        """Names by their trigrams, for mentions that are no name; only texts with such mentions pay for it."""
        return Trigrams([" ".join(name.words) for name in self.names])


def compile(names: Iterable[tuple[int, str | None]], aliases: Iterable[tuple[int, str | None]] = ()) -> Dictionary:
    """Compile names and aliases, pairs of a row's number and a text.

    NULL (None) and texts without letter or digit are skipped, as is a name that a row has already. A row may have any
    number of either, and many rows the same name.
    """
    seen: set[tuple[int, tuple[str, ...]]] = set()
    compiled: list[Name] = []
    for source in (names, aliases):
        for row, text in source:
            words = folding.words_of(text) if text else ()
            if words and (row, words) not in seen:
                seen.add((row, words))
                compiled.append(Name(row, text or "", words))
    return Dictionary(compiled)
