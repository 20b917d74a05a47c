"""Small tables that tests of linking share, real and drawn."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from pgembed.linking import places, untrained
from pgembed.linking.compiled import Compiled
from pgembed.linking.contract import Facts, Floats, Knowledge, no_facts
from pgembed.linking.features import Pairs
from pgembed.linking.places import Places


def knowledge(
    names: Sequence[str | None],
    facts: Sequence[tuple[int, str, int | str]] = (),
    types: Sequence[tuple[str, ...]] | None = None,
    aliases: Sequence[tuple[str, ...]] | None = None,
) -> Knowledge:
    """Rows with these names; facts as (row, relation, other row or value)."""
    n = len(names)
    relations = list(dict.fromkeys(relation for _, relation, _ in facts))
    made = no_facts()
    if facts:
        made = Facts(
            np.array([row for row, _, _ in facts], np.int64),
            np.array([relations.index(relation) for _, relation, _ in facts], np.int64),
            np.array([other if isinstance(other, int) else -1 for _, _, other in facts], np.int64),
            [(names[other] or "") if isinstance(other, int) else other for _, _, other in facts],
        )
    return Knowledge(
        [str(at) for at in range(n)], list(names), list(aliases or [()] * n), list(types or [()] * n), [None] * n, relations, made
    )


def europe() -> Knowledge:
    """Four countries with leaders and capitals, an airport, two rivers of one name, somebody without a name."""
    names: list[str | None] = [
        "Germany", "Angela Merkel", "Berlin", "France", "Emmanuel Macron", "Paris", "Paris, Texas", "Texas", "Italy", "Rome",
        "Leonardo da Vinci International Airport", "Berlin Brandenburg Airport", "National Aeronautics and Space Administration",
        "Aller (Saxony)", "Aller (Asturias)", "Saxony", "Asturias", None, "Italian language", "Andra (singer)",
    ]  # fmt: skip
    facts: list[tuple[int, str, int | str]] = [
        (0, "leader name", 1), (0, "capital", 2), (3, "leader name", 4), (3, "capital", 5), (8, "capital", 9), (6, "is part of", 7),
        (10, "city", 9), (10, "runway length", "3902"), (10, "country", 8), (11, "city", 2), (11, "runway length", "4000"),
        (11, "country", 0), (13, "is part of", 15), (14, "is part of", 16), (1, "birth date", "1954-07-17"), (17, "birth year", "1907"),
        (17, "birth place", 9), (8, "language", 18), (9, "country", 8), (2, "country", 0), (5, "country", 3), (8, "language", "Italian"),
    ]  # fmt: skip
    return knowledge(names, facts)


def drawn(seed: int) -> tuple[Knowledge, list[str], list[list[tuple[int, int]]]]:
    """A random table, and texts of its words with places."""
    rng = random.Random(seed)
    words = ["".join(rng.choice("abcdeio") for _ in range(rng.randrange(2, 8))) for _ in range(25)]
    names = [" ".join(rng.sample(words, rng.randrange(1, 4))) if rng.random() < 0.9 else None for _ in range(15)]
    facts: list[tuple[int, str, int | str]] = []
    for _ in range(30):
        other: int | str = rng.randrange(15) if rng.random() < 0.7 else f"{rng.choice(words)} {rng.randrange(30)}"
        facts.append((rng.randrange(15), " ".join(rng.sample(words, rng.randrange(1, 3))), other))
    texts, spans = [], []
    for _ in range(6):
        parts = [rng.choice([rng.choice(words), rng.choice([n or "x" for n in names]), "the " + rng.choice(words)]) for _ in range(7)]
        texts.append(" ".join(parts))
        at, found = 1, []
        for part in parts:
            if rng.random() < 0.6:
                found.append((at, at + len(part)))
            at += len(part) + 1
        spans.append(found)
    return knowledge(names, facts), texts, spans


def read(compiled: Compiled, texts: Sequence[str], spans: Sequence[Sequence[tuple[int, int]]]) -> Places:
    return places.read(compiled, texts, *places.given(spans))


def ranked(compiled: Compiled, texts: Sequence[str], spans: Sequence[Sequence[tuple[int, int]]]) -> tuple[Floats, Pairs]:
    return untrained.rank(untrained.prepare(compiled, read(compiled, texts, spans)))


def marked(text: str) -> tuple[str, list[tuple[int, int]]]:
    """A text without its square brackets, and the places that they were around."""
    plain, spans, begin = "", [], 0
    for character in text:
        if character == "[":
            begin = len(plain) + 1
        elif character == "]":
            spans.append((begin, len(plain) + 1))
        else:
            plain += character
    return plain, spans


def best(compiled: Compiled, text: str) -> list[str | None]:
    """Names of the rows that the bracketed mentions of a text mean; None for no candidate."""
    plain, spans = marked(text)
    probability, pairs = ranked(compiled, [plain], [spans])
    found: list[str | None] = []
    for mention in range(len(spans)):
        at = np.flatnonzero(pairs.mention == mention)
        row = int(pairs.row[at[np.argmax(probability[at])]]) if len(at) else -1
        found.append(None if row < 0 else compiled.knowledge.names[row] or compiled.knowledge.keys[row])
    return found
