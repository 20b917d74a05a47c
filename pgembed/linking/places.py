"""The mentions of a batch of texts as flat arrays, with the words around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pgembed.linking import wording
from pgembed.linking.compiled import Compiled, Lists
from pgembed.linking.contract import Bools, Ints

# A longer text is cut into passages; what stands in one tells about its mentions, with so much of the text around it.
PASSAGE = 2000
AROUND = 400
_DEMONSTRATIVE = ("this ", "that ", "these ", "those ")
# English; a word that is a name of a row is none of them.
PRONOUNS = frozenset(
    [
        "it",
        "he",
        "she",
        "they",
        "him",
        "them",
        "its",
        "his",
        "her",
        "their",
        "hers",
        "theirs",
        "who",
        "which",
        "this",
        "that",
        "these",
        "those",
    ]
)
_POSSESSIVE = ("its ", "their ", "his ", "her ")


@dataclass(frozen=True)
class Places:
    """Mentions, ordered by text and place.

    Attributes:
        texts: the batch.
        text, start, end: of each mention, 0-based, end exclusive, in characters.
        passage: of each mention; numbers go on from text to text.
        surfaces: different surfaces without article, folded; `surface` of each mention its number.
        words, context: of each surface and of each passage its known words.
        definite, demonstrative: of each mention whether it begins with "the" or "its", with "this" or "that"
            or is a pronoun (the surface of which is empty: it is like no name).
    """

    texts: Sequence[str]
    text: Ints
    start: Ints
    end: Ints
    passage: Ints
    surfaces: list[str]
    surface: Ints
    words: Lists
    context: Lists
    definite: Bools
    demonstrative: Bools

    def __len__(self) -> int:
        return len(self.text)

    @cached_property
    def passages(self) -> int:
        """How many there are."""
        return len(self.context)


def read(compiled: Compiled, texts: Sequence[str], text: Ints, start: Ints, end: Ints) -> Places:
    """Read the texts around mentions.

    Args:
        text, start, end: of each mention, as in `Places`.
    """
    chunks: list[str] = []
    first = np.empty(len(texts), np.int64)
    for at, content in enumerate(texts):
        first[at] = len(chunks)
        if len(content) <= 2 * PASSAGE:
            chunks.append(content)
        else:
            chunks.extend(content[max(0, begin - AROUND) : begin + PASSAGE + AROUND] for begin in range(0, len(content), PASSAGE))
    length = np.fromiter(map(len, texts), np.int64, len(texts))
    passage = first[text] + np.where(length[text] <= 2 * PASSAGE, 0, start // PASSAGE)
    number: dict[str, int] = {}
    known: dict[str, int] = {}
    pronouns: set[str] = set()
    cut: list[list[str]] = []
    surface = np.empty(len(text), np.int64)
    definite = np.zeros(len(text), bool)
    demonstrative = np.zeros(len(text), bool)
    for at, (which, begin, stop) in enumerate(zip(text.tolist(), start.tolist(), end.tolist(), strict=True)):
        written = texts[which][begin:stop]
        head = written[:6].lower()
        demonstrative[at] = head.startswith(_DEMONSTRATIVE)
        definite[at] = head.startswith(("the ", *_POSSESSIVE))
        place = known.get(written)
        if place is None:
            said = wording.said(wording.words(written))
            if len(said) == 1 and said[0] in PRONOUNS and not written.isupper() and not compiled.is_name(said[0]):
                said = []
                pronouns.add(written)
            joined = " ".join(said)
            place = number.get(joined)
            if place is None:
                place = number[joined] = len(cut)
                cut.append(said)
            known[written] = place
        surface[at] = place
        demonstrative[at] |= written in pronouns
    surfaces = list(number)
    return Places(
        texts, text, start, end, passage, surfaces, surface,
        _words(compiled, cut), _words(compiled, [wording.words(chunk) for chunk in chunks]), definite, demonstrative,
    )  # fmt: skip


def _words(compiled: Compiled, cut: Sequence[Sequence[str]]) -> Lists:
    start, member, weight = compiled.vocabulary.read(cut)
    return Lists(np.repeat(np.arange(len(cut), dtype=np.int64), np.diff(start)), member, len(cut), weight)


def given(spans: Sequence[Sequence[tuple[int, int]]]) -> tuple[Ints, Ints, Ints]:
    """Text, start and end, 0-based, of spans as in `Link`."""
    text = np.repeat(np.arange(len(spans), dtype=np.int64), [len(some) for some in spans])
    flat = np.array([span for some in spans for span in some], np.int64).reshape(-1, 2)
    return text, flat[:, 0] - 1, flat[:, 1] - 1
