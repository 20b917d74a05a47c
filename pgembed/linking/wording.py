"""Words as linking compares them: folded, possessives and articles gone, letters of an abbreviation run together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np

from pgembed.lexical.spelling import edits
from pgembed.lexical.tokens import fold
from pgembed.linking.contract import Ints, Vectors
from pgembed.linking.grams import Grams
from pgembed.mentions.folding import words_in
from pgembed.mentions.spelling import Hashed, Spellings

ARTICLES = frozenset(["the", "a", "an", "this", "that", "these", "those", "its", "their", "his", "her"])
SHORTEST_CORRECTED = 4  # letters; a shorter word with an edit is another word
LONG = 6  # letters of a word that may have two errors
ALIKE = 4  # known words compared with such a word
_DIGIT = re.compile(r"\d")
_POSSESSIVE = re.compile("['\u2019\u02bc`]s\\b")


def words(text: str) -> list[str]:
    """The words of a text in order: "U.S. Air Force's" is us, air, force."""
    folded = fold(text)
    if "s" in folded:
        folded = _POSSESSIVE.sub("", folded)
    found: list[str] = []
    letters = False  # whether the last word is letters of an abbreviation
    for word in words_in(folded):
        single = len(word) == 1 and word.isalpha() and word < "\u0e00"
        if single and letters:
            found[-1] += word
        else:
            found.append(word)
        letters = single
    return found


def bare(found: Sequence[str]) -> list[str]:
    """Without the articles, demonstratives and possessives before it; as it is where there is nothing else."""
    at = 0
    while at < len(found) - 1 and found[at] in ARTICLES:
        at += 1
    return list(found[at:])


def said(found: Sequence[str]) -> list[str]:
    """The same of the words of a text, in which "the" may be misspelt."""
    if len(found) > 1 and 2 <= len(found[0]) <= 4 and found[0] not in ARTICLES and edits(found[0], "the", 1) <= 1:
        return bare(found[1:])
    return bare(found)


def stem(word: str) -> str:
    """A plural and its singular are one word here: noodles is noodle, countries country."""
    if len(word) < 4 or word[-1] != "s" or word[-2] in "sui":
        return word
    return word[:-3] + "y" if word.endswith("ies") and len(word) > 4 else word[:-1]


class _Known:
    """Words that others may be misspellings of, those without a digit; looked into when there is such a word.

    Args:
        begin: number of the first.
    """

    def __init__(self, words: Sequence[str], begin: int = 0) -> None:
        self._words, self.begin, self.end = words, begin, begin + len(words)

    @cached_property
    def number(self) -> Ints:
        return np.array([self.begin + at for at, word in enumerate(self._words) if not _DIGIT.search(word)], np.int64)

    @cached_property
    def _plain(self) -> list[str]:
        return [self._words[at - self.begin] for at in self.number.tolist()]

    @cached_property
    def spellings(self) -> Spellings:
        return Spellings(self._plain, SHORTEST_CORRECTED)

    @cached_property
    def grams(self) -> Grams:
        return Grams(self._plain)


class Vocabulary:
    """Words that are known, and what an unknown word may be a misspelling of; words of one stem are one.

    Args:
        known: words; their stems are referred to by position.
    """

    def __init__(self, known: Iterable[str]) -> None:
        self.words = list(dict.fromkeys(map(stem, known)))
        self.number = {word: at for at, word in enumerate(self.words)}
        self._known = [_Known(self.words)]
        self._meant: dict[str, tuple[int, float]] = {}

    def added(self, known: Iterable[str]) -> Vocabulary:
        """With more words behind the others."""
        made = Vocabulary.__new__(Vocabulary)
        made.words = [*self.words, *dict.fromkeys(word for word in map(stem, known) if word not in self.number)]
        made.number = self.number | {made.words[at]: at for at in range(len(self.words), len(made.words))}
        base = self._known[0]
        made._known = [base, _Known(made.words[base.end :], base.end)] if len(made.words) > base.end else [base]
        made._meant = {}
        return made

    def read(self, texts: Sequence[Sequence[str]]) -> tuple[Ints, Ints, Vectors]:
        """Of texts cut into words each different known word: start (n + 1) of each text, numbers ascending, weights.

        A weight is 1 for a word as it is known, and less for one that is corrected.
        """
        self._correct({word for text in texts for word in text if stem(word) not in self.number and word not in self._meant})
        number, meant, missing = self.number, self._meant, (-1, 0.0)
        start = [0]
        numbers: list[int] = []
        weights: list[float] = []
        for text in texts:
            here: dict[int, float] = {}
            for word in text:
                at = number.get(stem(word))
                if at is not None:
                    here[at] = 1.0
                else:
                    at, weight = meant.get(word, missing)
                    if at >= 0:
                        here[at] = max(here.get(at, 0.0), weight)
            for at in sorted(here):
                numbers.append(at)
                weights.append(here[at])
            start.append(len(numbers))
        return np.array(start, np.int64), np.array(numbers, np.int64), np.array(weights, np.float32)

    def _correct(self, unknown: set[str]) -> None:
        """Find for words the known one that is nearest, if any is near enough."""
        if len(self._meant) > 200_000:
            self._meant.clear()
        for word in unknown:
            self._meant[word] = (-1, 0.0)
        asked = sorted(word for word in unknown if len(word) >= SHORTEST_CORRECTED and not any(map(str.isdigit, word)))
        if not asked or not self.words:
            return
        length = np.fromiter(map(len, asked), dtype=np.int64, count=len(asked))
        end = np.cumsum(length)
        best: dict[str, tuple[float, int]] = {}
        hashed, near = Hashed("".join(asked)), list[tuple[int, int]]()
        # Two errors in a longer word: those that share n-grams with it are compared too.
        long = [at for at, word in enumerate(asked) if len(word) >= LONG]
        for part in self._known:
            places, meant = part.spellings.near(hashed, end - length, end)
            near.extend(zip(places.tolist(), part.number[meant].tolist(), strict=True))
            which, alike, _ = part.grams.similar([asked[at] for at in long], ALIKE)
            near.extend((long[at], other) for at, other in zip(which.tolist(), part.number[alike].tolist(), strict=True))
        for at, known in near:
            word, other = asked[at], self.words[known]
            wrong = edits(word, other, 2)
            # People seldom miss the first letter.
            share = 1.0 - (wrong + 0.5 * (word[0] != other[0])) / max(len(word), len(other))
            if wrong <= 1 + (len(word) >= LONG) and share > best.get(word, (0.0, 0))[0]:
                best[word] = (share, int(known))
        for word, (share, known) in best.items():
            self._meant[word] = (known, share)
