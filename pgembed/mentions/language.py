"""What a language adds to finding mentions: which words are ordinary and which are grammar; English is the default, not a law."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from pgembed.mentions import ordinary
from pgembed.mentions import words as cutting
from pgembed.mentions.spelling import Table, hashes_of

# A word is ordinary where it is written small this often and in this share of its places; the head of a sentence says nothing.
LEAST_TIMES = 3
LEAST_SHARE = 0.8


@dataclass(frozen=True)
class Language:
    """Words by what they tell about a place; all folded (see folding.py).

    Attributes:
        ordinary: words that are rarely a name when they are written small.
        grammar: those of them that are no name even several in a row.
        definite: "the", in front of a name or a description.
        indefinite: "a".
        demonstratives: "this".
        possessives: "its".
        pronouns: "she".
        joining: words within names: "of".
    """

    ordinary: frozenset[str]
    grammar: frozenset[str]
    definite: frozenset[str]
    indefinite: frozenset[str]
    demonstratives: frozenset[str]
    possessives: frozenset[str]
    pronouns: frozenset[str]
    joining: frozenset[str]

    def learned(self, texts: Sequence[str]) -> Language:
        """The language with the words that these texts (of rows, or with labels) mostly write small, whatever language they are in."""
        more = written_small(texts)
        return replace(self, ordinary=self.ordinary | more) if more - self.ordinary else self

    @cached_property
    def tables(self) -> dict[str, Table]:
        """The hashes of each set of words."""
        return {name: _table(getattr(self, name)) for name in self.__dataclass_fields__}


def _table(some: Iterable[str]) -> Table:
    listed = sorted(some)
    return Table(hashes_of(listed), np.arange(len(listed)))


def written_small(texts: Sequence[str]) -> frozenset[str]:
    """Words of three times or more, at least four fifths of them in small letters and the others not counted at the head of a sentence."""
    cut = cutting.words(texts)
    if not len(cut):
        return frozenset()
    ups, lows = cut.case
    counted = (lows > 0) & ((ups == 0) | (cut.gap & (cutting.SENTENCE | cutting.OPENED) == 0))
    place = np.flatnonzero(counted)
    _, first, inverse = np.unique(cut.hash[place], return_index=True, return_inverse=True)
    times = np.bincount(inverse, minlength=len(first))
    small = np.bincount(inverse, ups[place] == 0, minlength=len(first))
    chosen = np.flatnonzero((small >= LEAST_TIMES) & (small >= LEAST_SHARE * times))
    return frozenset(cut.word(at) for at in place[first[chosen]].tolist())


ENGLISH = Language(
    ordinary=ordinary.WORDS,
    grammar=ordinary.FUNCTION_WORDS,
    definite=frozenset(("the",)),
    indefinite=frozenset(("a", "an")),
    demonstratives=frozenset(("this", "that", "these", "those", "such")),
    possessives=frozenset(("its", "his", "her", "their", "our", "my", "your", "whose")),
    pronouns=frozenset(
        ("he", "she", "it", "they", "him", "her", "them", "his", "hers", "its", "their", "theirs", "who", "whom", "whose", "which")
    ),
    joining=frozenset(
        (
            "of",
            "the",
            "de",
            "des",
            "del",
            "du",
            "la",
            "las",
            "los",
            "le",
            "les",
            "van",
            "von",
            "der",
            "den",
            "zu",
            "zur",
            "di",
            "da",
            "do",
            "dos",
            "al",
            "el",
            "bin",
            "ibn",
            "y",
        )
    ),
)
