"""likeness: how far two texts are the same but for how they are written: spelling, order, punctuation, case.

Of a pair's words those that both have agree. Of the others a word may be a misspelling of another: it has nearly its letters, no digit (one
digit makes another number, or another version), and no other text has it, or hardly any, for a word that many texts use is no slip. What
is left over, one has and the other has not. This is soft TF-IDF (Cohen, Ravikumar and Fienberg, A Comparison of String Distance Metrics for
Name-Matching Tasks, 2003, https://www.cs.cmu.edu/~wcohen/postscript/ijcai-ws-2003.pdf) with two changes: spelling counts only where
it is a slip, and a word that is left over never weighs less than an average one: "dev" for "doc" makes another thing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from pgembed.lexical import tokens
from pgembed.lexical.spelling import edits

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

STEP = 5_000
NO_SLIP = 99.0
LONG = 5  # words of so many letters may have two slips
SLIP = 0.2  # of an average word's weight, for each letter
FORM = 1.0  # of the same, where both are words that texts use: network, networks
MOST_LEFT = 40  # words that are left over and looked at for slips
SHORT = 200  # words of two texts, all of which are looked at for what was meant
LEFT = 3.0  # of its own weight, for a word that one has and the other has not


class Texts:
    """Texts as words, and how much each word weighs."""

    def __init__(self, texts: Sequence[str], check: Callable[[], None] = lambda: None) -> None:
        self.words: list[list[str]] = []
        held: Counter[str] = Counter()
        for number, text in enumerate(texts):
            words = tokens.words(tokens.fold(text), parts=False)
            self.words.append(words)
            held.update(set(words))
            if number % STEP == 0:
                check()
        n = len(texts)
        self.held = held
        self._letters: dict[str, frozenset[str]] = {}
        self._sets = [frozenset(words) for words in self.words]
        self._known: dict[tuple[int, int], float] = {}
        self.weight = {word: float(np.log((1 + n) / (1 + count)) + 1) for word, count in held.items()}
        total = sum(held.values())
        self.average = sum(self.weight[word] * count for word, count in held.items()) / total if total else 1.0

    def likeness(self, left: Ints, right: Ints, check: Callable[[], None] = lambda: None) -> Floats:
        """Of each pair the share of weight that agrees: from 0, nothing, to 1, the same words in any order."""
        made = np.empty(len(left))
        for place, (i, j) in enumerate(zip(left.tolist(), right.tolist(), strict=True)):
            made[place] = self.of(i, j)
            if place % STEP == 0:
                check()
        return made

    def of(self, one: int, other: int) -> float:
        """The likeness of two texts, by their positions; computed once."""
        key = (one, other) if one < other else (other, one)
        if key not in self._known:
            self._known[key] = self._pair(*key)
        return self._known[key]

    def _pair(self, at_one: int, at_other: int) -> float:
        one, other = self._sets[at_one], self._sets[at_other]
        same = one & other
        agreed = 2 * sum(self.weight[word] for word in same)
        mine, theirs = sorted(one - other), sorted(other - one)
        # where most differs, or very much, slips change nothing
        if len(mine) + len(theirs) > min(MOST_LEFT, 4 + len(same)):
            against = sum(max(self.weight[word], self.average) for word in (*mine, *theirs))
            return agreed / (agreed + LEFT * against)
        if mine and theirs:
            for first, second, at in ((mine, theirs, at_other), (theirs, mine, at_one)):
                self._joined(first, second, self.words[at])
        against = 0.0
        # a word may be right elsewhere in the other text too
        short = len(one) + len(other) <= SHORT
        for first, second, all_of_it in ((mine, theirs, other if short else theirs), (theirs, mine, one if short else mine)):
            for word in list(first):
                slips, meant = min(((self._slips(word, word_there), word_there) for word_there in all_of_it), default=(NO_SLIP, ""))
                if slips < NO_SLIP:
                    first.remove(word)
                    agreed += 2 * min(self.weight[word], self.weight[meant])
                    against += self.average * slips
                    if meant in second:
                        second.remove(meant)
        against += LEFT * sum(max(self.weight[word], self.average) for word in (*mine, *theirs))
        return agreed / (agreed + against) if agreed + against else 1.0

    def _joined(self, written: list[str], apart: list[str], order: list[str]) -> None:
        """Take words away that the other text writes in two or three: lightweight, light weight; kxtg6700b, kx-tg 6700b."""
        for some in (*pairwise(order), *zip(order, order[1:], order[2:], strict=False)):
            if "".join(some) in written and len(set(some)) == len(some) and all(word in apart for word in some):
                written.remove("".join(some))
                for word in some:
                    apart.remove(word)

    def letters(self, word: str) -> frozenset[str]:
        """The letters of a word."""
        if word not in self._letters:
            self._letters[word] = frozenset(word)
        return self._letters[word]

    def _slips(self, one: str, other: str) -> float:
        """What it costs that one stands for the other, in weights of an average word; NO_SLIP where it is another word."""
        short, long = sorted((len(one), len(other)))
        if long - short > 2 or short < 3 or one == other or not (one.isalpha() and other.isalpha()):
            return NO_SLIP
        if len(self.letters(one) ^ self.letters(other)) > 2 * (2 if short >= LONG else 1):
            return NO_SLIP
        few, many = sorted((self.held[one], self.held[other]))
        # a slip may be copied once or twice; a word is used
        rare = few <= 2 or few <= many // 100
        most = 2 if short >= LONG and rare else 1
        slips = edits(one, other, most)
        return NO_SLIP if slips > most else SLIP * slips if rare else FORM
