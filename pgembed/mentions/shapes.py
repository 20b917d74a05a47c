"""What looks like a name or a description whatever the names are: capitals within a sentence, quotation, identifiers, "the city"."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from pgembed.mentions import words as cutting
from pgembed.mentions.language import Language
from pgembed.mentions.spelling import Ints, Table
from pgembed.mentions.words import Bools, Words

# An identifier has an underscore or a capital inside; `…` and "…" name what is between them when it is short.
_CODE = re.compile(r"`(?P<code>[^`\n]{1,80})`|[\"“](?P<quoted>[^\"“”\n]{2,60})[\"”]|(?<!\w)(?P<identifier>[^\W\d_]\w*_\w+|[a-z]+[A-Z]\w*)")
_LONGEST = 8  # words of a proper name; more capitals in a row are a headline
_QUOTED_WORDS = 5
_LONGEST_CODE = 100  # characters
_SHOUTED = 0.9  # share of capitals from which they say nothing
_FEWEST = 4  # words of a text that can be said to be shouted


@dataclass(frozen=True)
class Proper:
    """The proper names of texts, in order, not overlapping; arrays of one length, a place in the joined texts each.

    ``certain`` is where it begins for certain: the word before, at the head of a sentence, may owe its capital to that. ``is_code`` where
    it is one identifier. ``wide`` is where it begins with the ordinary word before it, at the head of a sentence: "Native Americans".
    """

    start: Ints
    end: Ints
    certain: Ints
    is_code: Bools
    wide: Ints


class Writing:
    """How the words of texts are written, and what they are in the language; arrays of one length, a word each.

    Attributes:
        ordinary, grammar: the language says so; a single letter is ordinary too, and is not grammar.
        heads_sentence: a capital says nothing there.
        shouted: it stands in a text that is all capitals.
    """

    def __init__(self, words: Words, language: Language) -> None:
        self.words, self.language = words, language
        tables = language.tables
        length = words.stop - words.begin
        self.heads_sentence = words.gap & cutting.SENTENCE > 0
        ups, lows = words.case
        n = len(words.offset) - 1
        of_text = np.stack([np.bincount(words.text, values, n) for values in (ups, lows, np.ones(len(words)))])
        with np.errstate(invalid="ignore"):
            loud = (of_text[0] >= _SHOUTED * (of_text[0] + of_text[1])) & (of_text[2] >= _FEWEST) & (of_text[0] > 0)
        self.shouted = loud[words.text]
        self.capital = words.is_capital & ~self.shouted
        # "US" is not "us", and "IT" not "it".
        acronym = self.capital & (ups == length) & (length > 1)
        self.grammar = tables["grammar"].has(words.hash)
        self.ordinary = tables["ordinary"].has(words.hash) | self.grammar | (length == 1)
        self.definite, self.indefinite = tables["definite"].has(words.hash), tables["indefinite"].has(words.hash)
        self.skipped = (self.grammar | (self.ordinary & self.heads_sentence & (length > 1))) & ~acronym
        self.small_grammar = self.grammar & ~acronym

    def proper(self) -> Proper:
        """Find the proper names."""
        code = self._code()
        capitals = self._capitals()
        if len(code):
            # Capitals within an identifier or a quotation are part of that.
            free = np.ones(len(capitals), dtype=bool)
            starts, ends = code[:, 0], code[:, 1]
            at = np.searchsorted(ends, capitals[:, 0], side="right")
            free &= ~((at < len(code)) & (starts[np.minimum(at, len(code) - 1)] < capitals[:, 1]))
            spans = np.concatenate([code, capitals[free]])
            spans = spans[np.argsort(spans[:, 0], kind="stable")]
        else:
            spans = capitals
        return Proper(spans[:, 0], spans[:, 1], spans[:, 2], spans[:, 3] > 0, spans[:, 4])

    def _code(self) -> Ints:
        found: list[tuple[int, int, int, int, int]] = []
        for match in _CODE.finditer(self.words.joined):
            group = match.lastgroup or ""
            inside = match[group]
            if inside.strip() and len(inside) <= _LONGEST_CODE and (group != "quoted" or len(inside.split()) <= _QUOTED_WORDS):
                found.append((*match.span(group), match.start(group), group == "identifier", match.start(group)))
        return np.array(found, dtype=np.int64).reshape(-1, 5)

    def _capitals(self) -> Ints:
        """Runs of capitalised words, joined by words like "of", without an ordinary word at the head of a sentence."""
        words = self.words
        if not self.capital.any():
            return np.empty((0, 5), np.int64)
        letters = np.full(len(words), ord("x"), dtype=np.uint8)
        letters[self.language.tables["joining"].has(words.hash) & ~self.shouted] = ord("o")
        letters[words.is_number] = ord("D")
        letters[self.capital] = ord("C")
        gap = words.gap
        joins = gap & cutting.PROPER > 0
        # "J. R. R. Tolkien", "St. Louis"; after a longer word a full stop ends the sentence
        length = words.stop - words.begin
        short = (length == 1) | ((length <= 3) & (words.case[0] < length))
        joins[1:] &= (gap[1:] & cutting.ABBREVIATED == 0) | short[:-1]
        # what follows an apostrophe may be small: "Children's Museum"
        possessive = (gap & cutting.APOSTROPHE > 0) & (letters == ord("x")) & (length == 1)
        letters[possessive] = ord("s")
        text = np.empty(2 * len(words), dtype=np.uint8)
        text[0::2] = np.where(joins, ord("-"), ord("|"))
        text[1::2] = letters
        runs = np.array([match.span() for match in _RUN.finditer(text.tobytes())], dtype=np.int64).reshape(-1, 2)
        first, last = runs[:, 0] // 2, (runs[:, 1] - 1) // 2
        whole = first
        first, last = self._trimmed(first, last)
        kept = (first <= last) & (last - first < _LONGEST)
        whole, first, last = whole[kept], first[kept], last[kept]
        start, end = words.start[first], words.ends(last)
        lows = words.case[1]
        acronym = (first == last) & (lows[first] == 0)
        kept = end - start >= np.where(acronym, 2, 3)  # "Mr" is no name, "EU" is
        whole, first, last, start, end = whole[kept], first[kept], last[kept], start[kept], end[kept]
        certain = np.where((last > first) & self.heads_sentence[first], words.start[np.minimum(first + 1, last)], start)
        before = np.maximum(first - 1, whole)
        wide = words.start[np.where(self.grammar[before], first, before)]
        return np.stack([start, end, certain, np.zeros(len(start), np.int64), wide], axis=1)

    def _trimmed(self, first: Ints, last: Ints) -> tuple[Ints, Ints]:
        """Runs without grammar at either end, and without an ordinary word at the head of a sentence."""
        first, last = first.copy(), last.copy()
        for _ in range(_LONGEST):
            moved = (first <= last) & self.skipped[np.minimum(first, len(self.skipped) - 1)]
            if not moved.any():
                break
            first += moved
        for _ in range(_LONGEST):
            moved = (first <= last) & self.small_grammar[last]
            if not moved.any():
                break
            last -= moved
        return first, last

    def descriptions(self, nouns: Table) -> tuple[Ints, Ints, Bools]:
        """Descriptions by what a row is: first and last word of "the capital city" or "this airport", and whether it is the latter.

        Not those that a name follows: in "the novel Castle" only the whole means something.

        Args:
            nouns: hashes of words that may head one.
        """
        words, tables = self.words, self.language.tables
        letters = np.full(len(words), ord("x"), dtype=np.uint8)
        small = (~words.is_capital | self.shouted) & ~self.grammar & (words.stop - words.begin > 1)
        letters[small & ~words.is_number] = ord("a")
        letters[small & nouns.has(words.hash)] = ord("n")
        letters[self.capital & ~self.grammar] = ord("C")
        for name, letter in (("definite", "T"), ("possessives", "T"), ("demonstratives", "D")):
            letters[tables[name].has(words.hash)] = ord(letter)
        text = np.empty(2 * len(words), dtype=np.uint8)
        text[0::2] = np.where((words.gap & cutting.PROPER > 0) & (words.gap & cutting.APOSTROPHE == 0), ord("-"), ord("|"))
        text[1::2] = letters
        found = np.array([match.span() for match in _DESCRIPTION.finditer(text.tobytes())], dtype=np.int64).reshape(-1, 2)
        first, last = found[:, 0] // 2, (found[:, 1] - 1) // 2
        return first, last, letters[first] == ord("D")


_RUN = re.compile(b"C(?:-s)?(?:-[CD](?:-s)?|(?:-o){1,2}-[CD](?:-s)?)*(?<!-s)")
_DESCRIPTION = re.compile(b"[TD](?:-a)?(?:-n){1,3}(?!-[nC])")


def is_derived(key: str, other: str, text: str) -> bool:
    """Whether a single capitalised word and a name differ at their end only: "American" is no misspelt "America"."""
    return text[:1].isupper() and text.isalpha() and (key.startswith(other) or other.startswith(key)) and key != other
