"""Texts with places, and rows with their facts, as zones of words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain

import numpy as np

from pgembed.joint.features import Inputs, Ints, Vectors, Zone
from pgembed.mentions import folding, ordinary

_CUT = re.compile(r"[,(]")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
NEAR = 4  # words before and after a place that are near it
TEXT = 100  # words before and after a place that are its text
FAN = 50  # rows beyond one with more neighbours than this are no evidence
OTHERS = 12  # places before and after a place that are its others
FORM = ("constant", "article", "capital", "capital first", "words", "digit", "short", "pronoun-like")
_ARTICLES = frozenset(["the", "a", "an", "this", "that", "these", "those", "its", "his", "her", "their"])


class _Words:
    def __init__(self) -> None:
        self.number: dict[str, int] = {}

    def of(self, words: Sequence[str]) -> list[int]:
        number = self.number
        return [number.setdefault(word, len(number)) for word in words]


def mentions(texts: Sequence[str], text: Ints, start: Ints, end: Ints) -> Inputs:
    """Places in texts as zones.

    Zones: ``surface`` its words, ``whole`` these as one word, ``before`` and ``after`` the NEAR words beside it, ``text`` the words of the
    text outside of it, each once, ``others`` the words of the text's other places, each once, ``named`` their ``whole``, ``previous`` the
    words of the place before it.

    Args:
        texts: any.
        text, start, end: of each place the number of its text and its characters, from 0, end exclusive; ordered by text.
    """
    known = _Words()
    numbers: list[list[int]] = []
    begins: list[Ints] = []
    ends: list[Ints] = []
    for content in texts:
        folded = folding.fold(content)
        spans = folded.words()
        numbers.append(known.of([folded.text[a:b] for a, b in spans]))
        original = np.array([folded.span(a, b) for a, b in spans], np.int64).reshape(-1, 2)
        begins.append(original[:, 0])
        ends.append(original[:, 1])
    words = list(known.number)
    surface: list[list[int]] = []
    before: list[list[int]] = []
    after: list[list[int]] = []
    around: list[list[int]] = []
    bounds = []
    for of, a, b in zip(text.tolist(), start.tolist(), end.tolist(), strict=True):
        first = int(np.searchsorted(ends[of], a, side="right"))
        last = int(np.searchsorted(begins[of], b, side="left"))
        bounds.append((of, first, last))
        here = numbers[of]
        surface.append(here[first:last])
        before.append(here[max(0, first - NEAR) : first])
        after.append(here[last : last + NEAR])
        around.append(list(dict.fromkeys(here[max(0, first - TEXT) : first] + here[last : last + TEXT])))
    others: list[list[int]] = []
    previous: list[list[int]] = []
    whole = [known.of(whole_names([words[number] for number in bag])[:1]) for bag in surface]
    named: list[list[int]] = []
    for at, (of, _, _) in enumerate(bounds):
        begin, stop = max(0, at - OTHERS), at + 1 + OTHERS
        beside = [other for other in range(begin, min(stop, len(bounds))) if other != at and bounds[other][0] == of]
        others.append(list(dict.fromkeys(chain.from_iterable(surface[other] for other in beside))))
        named.append(list(dict.fromkeys(chain.from_iterable(whole[other] for other in beside))))
        previous.append(surface[at - 1] if at - 1 in beside else [])
    zones = {"surface": surface, "whole": whole, "before": before, "after": after, "text": around, "others": others, "named": named}
    zones["previous"] = previous
    form = _form([texts[of][a:b] for of, a, b in zip(text.tolist(), start.tolist(), end.tolist(), strict=True)])
    return Inputs(list(known.number), {name: zone(bags) for name, bags in zones.items()}, form)


def whole_names(words: Sequence[str]) -> list[str]:
    """The words as one, without a function word at the beginning and an "s" that was behind an apostrophe; none of no words."""
    first = next((at for at, word in enumerate(words) if word not in ordinary.FUNCTION_WORDS), 0)
    last = len(words) - (len(words) - first > 1 and words[-1] == "s")
    return ["".join(words[first:last])] if first < last else []


def _wholes(name: str | None) -> list[str]:
    """A name as one word, and what of it stands before a comma or a bracket."""
    if not name:
        return []
    found = whole_names(folding.words_of(name)) + whole_names(folding.words_of(_CUT.split(name, maxsplit=1)[0]))
    return list(dict.fromkeys(found))


def zone(bags: Sequence[Sequence[int]]) -> Zone:
    """Bags of numbers of words, each of weight 1."""
    start = np.zeros(len(bags) + 1, np.int64)
    np.cumsum([len(bag) for bag in bags], out=start[1:])
    word = np.fromiter(chain.from_iterable(bags), np.int64, int(start[-1]))
    return Zone(start, word, np.ones(len(word), np.float32))


def _form(surfaces: Sequence[str]) -> Vectors:
    form = np.zeros((len(surfaces), len(FORM)), np.float32)
    for at, surface in enumerate(surfaces):
        words = surface.split()
        article = bool(words) and words[0].lower() in _ARTICLES
        rest = words[article:]
        capitals = sum(word[:1].isupper() for word in rest)
        form[at] = (
            1.0,
            article,
            capitals / max(1, len(rest)),
            bool(rest) and rest[0][:1].isupper(),
            np.log1p(len(rest)),
            any(character.isdigit() for character in surface),
            len(surface) <= 4,
            not rest,
        )
    return form


def rows(
    names: Sequence[str | None],
    aliases: Sequence[Sequence[str]],
    types: Sequence[Sequence[str]],
    context: Sequence[str | None],
    relations: Sequence[str],
    row: Ints,
    relation: Ints,
    other: Ints,
    text: Sequence[str],
) -> Inputs:
    """Rows as zones.

    Zones: ``name`` words of names and aliases, ``whole`` each as one word, ``neighbours`` words of the values and of the names of rows at
    the other end of facts, ``beyond`` those of the rows two facts away, ``stands`` words of the relations that lead to it (of each in
    camelCase) and of its types, ``has`` of the relations that start from it, ``context`` its text. Form: how many rows are beside it,
    log(1 + n) / 5.

    Args:
        names, aliases, types, context: of each row.
        relations: names in words.
        row, relation, other, text: the facts: row, number of the relation, the row it leads to (-1: none), the value or name there.
    """
    known = _Words()
    count = len(names)

    def cut(content: str | None) -> list[int]:
        return known.of(folding.words_of(content)) if content else []

    name = [cut(own) + [word for alias in also for word in cut(alias)] for own, also in zip(names, aliases, strict=True)]
    own = [cut(own) for own in names]
    whole = [known.of([*_wholes(own), *chain.from_iterable(map(_wholes, also))]) for own, also in zip(names, aliases, strict=True)]
    said = [cut(_CAMEL.sub(" ", words)) for words in relations]
    neighbours: list[list[int]] = [[] for _ in range(count)]
    stands: list[list[int]] = [[] for _ in range(count)]
    has: list[list[int]] = [[] for _ in range(count)]
    edges: list[set[int]] = [set() for _ in range(count)]
    for a, how, b, value in zip(row.tolist(), relation.tolist(), other.tolist(), text, strict=True):
        neighbours[a] += cut(value)
        has[a] += said[how]
        if b >= 0:
            neighbours[b] += own[a]
            stands[b] += said[how]
            if a != b:
                edges[a].add(b)
                edges[b].add(a)
    beyond = []
    for a in range(count):
        far = {c for b in edges[a] for c in (edges[b] if len(edges[b]) <= FAN else ())} - edges[a] - {a} if len(edges[a]) <= FAN else set()
        beyond.append([word for b in sorted(far) for word in own[b]])
    for a, kinds in enumerate(types):
        stands[a] += [word for kind in kinds for word in cut(kind)]
    about = [cut(content) for content in context]
    zones = {
        "name": name,
        "whole": whole,
        "neighbours": neighbours,
        "beyond": beyond,
        "stands": stands,
        "has": has,
        "context": about,
    }
    form = np.ones((count, 2), np.float32)
    form[:, 1] = np.log1p([len(of) for of in edges]) / 5.0
    return Inputs(list(known.number), {name: zone(bags) for name, bags in zones.items()}, form)
