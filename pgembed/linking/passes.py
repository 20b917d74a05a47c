"""Labels as they are gone through: as flat arrays, spoilt and hidden in parts, so that trees meet what linking meets."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pgembed.linking.contract import NIL, Bools, Example, Facts, Ints, Knowledge

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Pass:
    """One time through the labels: shares of the rows absent, of the rows that memory is silent about, of the mentions misspelt."""

    absent: float
    hidden: float
    misspelt: float


PASSES = (Pass(0.2, 0.0, 0.0), Pass(0.2, 0.3, 0.15), Pass(0.2, 0.4, 0.15))


@dataclass(frozen=True)
class Labelled:
    """Texts with their labels, as flat arrays in the order of the texts.

    Attributes:
        text, start, end: of each mention, 0-based, end exclusive.
        keys: of each mention; None means no row.
        fold: of each mention: those of one row are in the same.
    """

    texts: list[str]
    text: Ints
    start: Ints
    end: Ints
    keys: list[str | None]
    fold: Ints

    def surface(self, at: int) -> str:
        return self.texts[int(self.text[at])][int(self.start[at]) : int(self.end[at])]


def read(examples: Sequence[Example], knowledge: Knowledge, folds: int, rng: random.Random) -> Labelled:
    """Labels as they can be learned from: spans within their text, each once (the last word counts), unknown keys as no row."""
    known = set(knowledge.keys)
    texts, text, start, end, keys = list[str](), list[int](), list[int](), list[int](), list[str | None]()
    for example in examples:
        said = {
            (a - 1, b - 1): key if key in known else None
            for (a, b), key in zip(example.spans, example.keys, strict=True)
            if 1 <= a < b <= len(example.content) + 1
        }
        if not said:
            continue
        for (a, b), key in sorted(said.items()):
            text.append(len(texts))
            start.append(a)
            end.append(b)
            keys.append(key)
        texts.append(example.content)
    meant = [texts[at][a:b] if key is None else key for at, a, b, key in zip(text, start, end, keys, strict=True)]
    number = {what: at for at, what in enumerate(dict.fromkeys(meant))}
    of_number = list(range(len(number)))
    rng.shuffle(of_number)
    fold = np.array([of_number[number[what]] % folds for what in meant], dtype=np.int64)
    return Labelled(texts, np.array(text, np.int64), np.array(start, np.int64), np.array(end, np.int64), keys, fold)


def misspelt(labels: Labelled, share: float, rng: random.Random) -> Labelled:
    """With typing errors in a share of the mentions, one for each word of three letters, two above six."""
    if not share:
        return labels
    texts, start, end = list(labels.texts), labels.start.copy(), labels.end.copy()
    moved, last, until = 0, -1, 0
    for at, which in enumerate(labels.text.tolist()):
        if which != last:
            moved, last, until = 0, which, 0
        begin, stop = int(start[at]) + moved, int(end[at]) + moved
        start[at], end[at] = begin, stop
        if rng.random() >= share or begin < until:  # a mention within another stays as it is
            until = max(until, stop)
            continue
        written = texts[which][begin:stop]
        wrong = re.sub(r"[^\W\d_]{3,}", lambda word: _wrong(word.group(), rng), written)
        texts[which] = texts[which][:begin] + wrong + texts[which][stop:]
        end[at] = until = begin + len(wrong)
        moved += len(wrong) - len(written)
    return Labelled(texts, labels.text, start, end, labels.keys, labels.fold)


def _wrong(word: str, rng: random.Random) -> str:
    for _ in range(2 if len(word) > 6 else 1):
        kind, at, letter = rng.randrange(4), rng.randrange(len(word)), rng.choice(LETTERS)
        if kind == 3:
            at = min(at, len(word) - 2)
            word = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        else:
            word = word[:at] + (letter if kind else "") + word[at + (kind < 2) :]
    return word


def without(knowledge: Knowledge, absent: Bools) -> Knowledge:
    """A table that some rows are not in."""
    kept = np.flatnonzero(~absent)
    place = np.full(len(knowledge) + 1, -2, dtype=np.int64)
    place[kept] = np.arange(len(kept))
    place[-1] = NIL
    facts = knowledge.facts
    here = np.flatnonzero((place[facts.row] >= 0) & (place[facts.other] != -2))
    rows = kept.tolist()
    return Knowledge(
        [knowledge.keys[row] for row in rows],
        [knowledge.names[row] for row in rows],
        [knowledge.aliases[row] for row in rows],
        [knowledge.types[row] for row in rows],
        [knowledge.context[row] for row in rows],
        knowledge.relations,
        Facts(place[facts.row[here]], facts.relation[here], place[facts.other[here]], [facts.text[at] for at in here.tolist()]),
    )


def drawn(labels: Labelled, most: int, rng: random.Random) -> Labelled:
    """As many texts, where there are more."""
    if len(labels.texts) <= most:
        return labels
    chosen = sorted(rng.sample(range(len(labels.texts)), most))
    number = np.full(len(labels.texts), -1, dtype=np.int64)
    number[chosen] = np.arange(most)
    kept = np.flatnonzero(number[labels.text] >= 0)
    return Labelled(
        [labels.texts[at] for at in chosen],
        number[labels.text[kept]],
        labels.start[kept],
        labels.end[kept],
        [labels.keys[at] for at in kept.tolist()],
        labels.fold[kept],
    )
