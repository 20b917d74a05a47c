"""Mentions of many texts as flat arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from pgembed.mentions.spelling import Ints
from pgembed.mentions.words import Bools

Kind: TypeAlias = Literal["name", "description", "demonstrative", "pronoun"]
KINDS: tuple[Kind, ...] = ("name", "description", "demonstrative", "pronoun")
LIKELY = 0.5  # probability from which something that means no row is a mention
# Share of a proper name that the names in it have to cover. On WebNLG a single word that covers less is right in 11 % of the cases.
LEAST_COVER = 0.5
DOUBTFUL = 0.49  # judged: such a place is linked by nobody but labels, and somebody may look at it
NAME, DESCRIPTION, DEMONSTRATIVE, PRONOUN = range(4)


@dataclass(frozen=True)
class Mentions:
    """Places that may name a row; arrays of one length, a mention each, ordered by text, start and, the longest first, end.

    Attributes:
        text: number of the text.
        start, end: 0-based, end exclusive, in characters of that text.
        kind: place in `KINDS`, by the form of the words alone.
        cover: share of the surrounding proper name that it and the mentions beside it cover ("Barack Obama" in "President Barack
            Obama"), in (0, 1]; 1 where there is none.
        plain: an ordinary word that might just be that, a name that is a part of an identifier, an identifier that has a name in it.
        inside: a mention that this one lies in or crosses and that was preferred to it, being longer; -1 for those preferred. At most one
            of them is meant (see `settled`).
        first: the names that mention i matches are `name[first[i]:first[i + 1]]`, the best first; one longer than the others. None where
            the place only looks like a name.
        name: position in the dictionary.
        similarity: of the name and the words, in (0, 1]; 1 where they are equal but for case, accents and separators.
        likely: the probability that it is a mention at all, of whatever row; 1 where no labels say so (see habits.py).
    """

    text: Ints
    start: Ints
    end: Ints
    kind: Ints
    cover: npt.NDArray[np.float32]
    plain: Bools
    inside: Ints
    first: Ints
    name: Ints
    similarity: npt.NDArray[np.float32]
    likely: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.text)

    def take(self, which: Ints) -> Mentions:
        """Some of them, in this order; `inside` of one whose preferred mention is gone is -1."""
        count = np.diff(self.first)[which]
        first = np.append(0, np.cumsum(count))
        entry = np.arange(first[-1]) - np.repeat(first[:-1] - self.first[which], count)
        number = np.full(len(self) + 1, -1, dtype=np.int64)
        number[which] = np.arange(len(which))
        return Mentions(
            self.text[which],
            self.start[which],
            self.end[which],
            self.kind[which],
            self.cover[which],
            self.plain[which],
            number[self.inside[which]],
            first,
            self.name[entry],
            self.similarity[entry],
            self.likely[which],
        )


def joined(parts: Sequence[Mentions], texts: Sequence[int]) -> Mentions:
    """Mentions of several batches as those of one; `texts` are how many texts come before each part."""
    if len(parts) == 1:
        return parts[0]
    before = np.cumsum([0, *map(len, parts)])
    names = np.cumsum([0, *(len(part.name) for part in parts)])

    return Mentions(
        np.concatenate([part.text + n for part, n in zip(parts, texts, strict=True)]),
        np.concatenate([part.start for part in parts]),
        np.concatenate([part.end for part in parts]),
        np.concatenate([part.kind for part in parts]),
        np.concatenate([part.cover for part in parts]),
        np.concatenate([part.plain for part in parts]),
        np.concatenate([np.where(part.inside < 0, -1, part.inside + n) for part, n in zip(parts, before, strict=False)]),
        np.concatenate([np.zeros(1, np.int64), *(part.first[1:] + n for part, n in zip(parts, names, strict=False))]),
        np.concatenate([part.name for part in parts]),
        np.concatenate([part.similarity for part in parts]),
        np.concatenate([part.likely for part in parts]),
    )


def settled(mentions: Mentions, linked: Bools) -> Bools:
    """Which mentions to keep so that none overlaps another: of those that overlap the longest that is linked, else the preferred one.

    Args:
        linked: of each mention whether a row was found that it means.
    """
    keep = np.zeros(len(mentions), dtype=bool)
    if not len(mentions):
        return keep
    far = int(mentions.end.max(initial=0)) + 1
    start, end = mentions.text * far + mentions.start, mentions.text * far + mentions.end
    # Only where mentions overlap there is anything to settle.
    reach = np.maximum.accumulate(end)
    alone = np.ones(len(mentions), dtype=bool)
    alone[1:] &= start[1:] >= reach[:-1]
    begins = np.flatnonzero(alone)
    for a, b in zip(begins.tolist(), [*begins[1:].tolist(), len(mentions)], strict=True):
        if b - a == 1:
            keep[a] = True
            continue
        group = np.arange(a, b)
        order = group[np.lexsort((start[group], start[group] - end[group], ~linked[group]))]
        taken: list[tuple[int, int]] = []
        for at in order.tolist():
            if not linked[at] and mentions.inside[at] >= 0:
                continue
            if all(end[at] <= s or e <= start[at] for s, e in taken):
                taken.append((int(start[at]), int(end[at])))
                keep[at] = True
    return keep


def presumed(mentions: Mentions) -> npt.NDArray[np.float64]:
    """The probability that each is a mention at all: by labels, and where none have said so, 1 but for what its form speaks against.

    That is an ordinary word at the head of a sentence, a small part of a longer proper name ("Paris" in "Paris Hilton"), and
    "work_mem_limit" where there is a "work_mem".
    """
    doubtful = mentions.plain | ((mentions.cover < LEAST_COVER) & (mentions.inside >= 0))
    return np.where((mentions.likely == 1) & doubtful, DOUBTFUL, mentions.likely.astype(np.float64))


def reported(mentions: Mentions, linked: Bools) -> Bools:
    """Which mentions somebody wants to hear of: `settled` ones that are linked or that are mentions of something unknown.

    What looks like a name and means no row is an answer; a description that means none ("the leader of Texas") only speaks of something.
    Labels know better (`Mentions.likely`), where there are any.

    Args:
        linked: as of `settled`.
    """
    told = bool((mentions.likely < 1).any())
    of_its_own = (mentions.likely >= LIKELY) & (told | (mentions.kind == NAME))
    return np.asarray(settled(mentions, linked) & (linked | (of_its_own & (mentions.inside < 0))))
