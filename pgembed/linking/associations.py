"""Associations: which words go together, learned from the contexts of a linker's rows, without labels and without a model.

Of the words of a context each is counted with each other one; of the counts the positive pointwise mutual information is taken, with the
second word's frequency to the power 3/4 (Levy, Goldberg and Dagan 2015, https://aclanthology.org/Q15-1016/), and of that the
strongest directions, by random projection (Halko, Martinsson and Tropp 2011, https://arxiv.org/abs/0909.4061). Words are near that stand
beside the same words, "judge" and "verdict" for one. A sentence model knows what sentences mean; this knows what *these* rows speak of.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pgembed.linking.contract import Check, Floats, Ints, Vectors

DIMENSIONS = 150
MOST_WORDS, BESIDE = 14_000, 2_000  # that have a vector, the most frequent; beside how many of them they are counted
FEWEST_WORDS = 500  # with fewer there are no associations: their vectors would be of chance
LEAST, COMMON = 4, 0.1  # contexts that a word must be in, and the share of all that it may be in
PAIRS = 20_000_000  # of words that are counted; of more, those of every second, third, ... context
_LONGEST = 64  # words of a context that are looked at; of more, a draw
_PART = 2_000_000  # pairs at a time
_ROUNDS, _SPARE = 3, 15  # of the projection, and directions more than are kept
_WORD = re.compile(r"\w+")
_ENDING = re.compile(r"(?<=\w{3})(?:ations?|ingly|ments?|ness|ings?|edly|ied|ies|ed|es|ly|s|e|y)$")


@dataclass(frozen=True)
class Counted:
    """The words of contexts.

    Attributes:
        words: different ones.
        of: their numbers, context after context; a context has each once.
        lengths: how many each context has.
    """

    words: list[str]
    of: Ints
    lengths: Ints

    @property
    def contexts(self) -> Ints:
        """How many contexts each word is in."""
        return np.bincount(self.of, minlength=len(self.words))


@dataclass(frozen=True)
class Associations:
    """Words as vectors.

    Attributes:
        words: that have one; none where contexts were few.
        rarity: float32 (words,), log of the share of contexts that have it, turned positive.
        vectors: float32 (words, at most DIMENSIONS), of length 1 up to half precision.
    """

    words: tuple[str, ...]
    rarity: Vectors
    vectors: Vectors

    def of(self, said: Sequence[Iterable[str]]) -> Vectors:
        """Sums of words' vectors, weighted by rarity, of length 1; zeros where no word has one.

        Args:
            said: words as of `words`, each once.
        Returns:
            float32 (n, width of `vectors`).
        """
        numbers = [sorted(self._number[word] for word in words if word in self._number) for words in said]
        made = np.zeros((len(numbers), self.vectors.shape[1]), np.float32)
        count = np.array([len(some) for some in numbers], np.int64)
        some = np.flatnonzero(count)
        if len(some):
            flat = np.array([number for words in numbers for number in words], np.int64)
            begin = np.cumsum(count[some]) - count[some]
            made[some] = np.add.reduceat(self.vectors[flat] * self.rarity[flat][:, None], begin, axis=0)
        length = np.sqrt(np.einsum("ij,ij->i", made, made))
        made /= np.where(length > 0, length, 1)[:, None]
        return made

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """A form to store: arrays without objects."""
        text = np.frombuffer("\n".join(self.words).encode(), np.uint8)
        return {"words": text, "word_rarity": self.rarity, "word_vectors": self.vectors.astype(np.float16)}

    @classmethod
    def from_arrays(cls, stored: Mapping[str, npt.NDArray[np.generic]]) -> Associations:
        """The inverse of `arrays`.

        Raises:
            KeyError, ValueError: they are something else.
        """
        text = stored["words"].tobytes().decode()
        words = tuple(text.split("\n")) if text else ()
        rarity, vectors = stored["word_rarity"].astype(np.float32), stored["word_vectors"].astype(np.float32)
        if len(rarity) != len(words) or vectors.ndim != 2 or len(vectors) != len(words):
            raise ValueError(f"{len(words)} words have {len(vectors)} vectors")
        return cls(words, rarity, vectors)

    @cached_property
    def _number(self) -> dict[str, int]:
        return {word: at for at, word in enumerate(self.words)}


def none() -> Associations:
    """No word is associated with another."""
    return Associations((), np.zeros(0, np.float32), np.zeros((0, 0), np.float32))


def words(text: str) -> frozenset[str]:
    """The words, without their endings."""
    return frozenset(_ENDING.sub("", word) for word in _WORD.findall(text.lower()))


def count(contexts: Iterable[str | None]) -> Counted:
    """The words of contexts, each once a context."""
    number: dict[str, int] = {}
    of, lengths = array("q"), array("q")
    for context in contexts:
        # Sorted: a set's order changes from process to process, and what is learned would with it.
        found = sorted(words(context)) if context else []
        of.extend(number.setdefault(word, len(number)) for word in found)
        lengths.append(len(found))
    return Counted(list(number), np.array(of, np.int64), np.array(lengths, np.int64))


def learn(counted: Counted, check: Check | None = None) -> Associations:
    """Vectors of words from the contexts that they share; the same for the same contexts on the same machine."""
    many, total = counted.contexts, len(counted.lengths)
    fit = np.flatnonzero((many >= LEAST) & (many <= COMMON * total))
    if len(fit) < FEWEST_WORDS:
        return none()
    kept = fit[np.lexsort((fit, -many[fit]))][:MOST_WORDS]
    place = np.full(len(counted.words), -1, np.int64)
    place[kept] = np.arange(len(kept))
    together = _together(place[counted.of], counted.lengths, len(kept), min(BESIDE, len(kept)), check)
    vectors = _strongest(_information(together), check)
    rarity = np.log(total / many[kept]).astype(np.float32)
    return Associations(tuple(counted.words[at] for at in kept.tolist()), rarity, vectors.astype(np.float16).astype(np.float32))


def _together(of: Ints, lengths: Ints, rows: int, columns: int, check: Check | None) -> Vectors:
    """How many contexts have both words."""
    owner = np.repeat(np.arange(len(lengths)), lengths)
    owner, of = owner[of >= 0], of[of >= 0]
    many = np.bincount(owner, minlength=len(lengths))
    begin = np.cumsum(many) - many
    drawn = np.lexsort((np.random.default_rng(0).random(len(owner)), owner))
    early = np.arange(len(owner)) - begin[owner] < _LONGEST
    owner, of = owner[early], of[drawn][early]
    many = np.minimum(many, _LONGEST)
    every = max(1, -(-int((many**2).sum()) // PAIRS))
    chosen = owner % every == 0
    owner, of = owner[chosen], of[chosen]
    many = np.where(np.arange(len(many)) % every == 0, many, 0)
    begin = np.cumsum(many) - many
    made = np.zeros(rows * columns, np.float32)
    width = many[owner]
    parts = np.searchsorted(np.cumsum(width), np.arange(0, int(width.sum()), _PART), side="right")
    for first, last in zip(parts.tolist(), [*parts.tolist()[1:], len(owner)], strict=True):
        if check is not None:
            check()
        here = np.arange(first, last)
        left = np.repeat(here, width[here])
        right = np.arange(len(left)) - np.repeat(np.cumsum(width[here]) - width[here], width[here]) + begin[owner[left]]
        a, b = of[left], of[right]
        fits = (a != b) & (b < columns)
        key, times = np.unique(a[fits] * columns + b[fits], return_counts=True)
        made[key] += times
    return made.reshape(rows, columns)


def _information(together: Vectors) -> Vectors:
    """Positive pointwise mutual information, in place."""
    own: Floats = together.sum(1, dtype=np.float64)
    beside: Floats = together.sum(0, dtype=np.float64) ** 0.75
    row, column = np.nonzero(together)
    values = np.log(together[row, column] * beside.sum() / (own[row] * beside[column]))
    together[row, column] = np.maximum(values, 0)
    return together


def _strongest(values: Vectors, check: Check | None) -> Vectors:
    """Rows in the strongest directions, each of these by the root of its strength; rows of length 1."""
    most = min(DIMENSIONS + _SPARE, *values.shape)
    basis = np.random.default_rng(0).standard_normal((values.shape[1], most)).astype(np.float32)
    for _ in range(_ROUNDS):
        if check is not None:
            check()
        basis = np.linalg.qr(values.T @ np.linalg.qr(values @ basis)[0])[0]
    left, strength, _ = np.linalg.svd(values @ basis, full_matrices=False)
    made = (left * np.sqrt(strength))[:, :DIMENSIONS]
    length = np.sqrt(np.einsum("ij,ij->i", made, made))
    found: Vectors = (made / np.where(length > 0, length, 1)[:, None]).astype(np.float32)
    return found
