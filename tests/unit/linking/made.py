"""A small world with known truth: people, the cities they were born in, and texts about them."""

from __future__ import annotations

import random

import numpy as np

from pgembed.linking.contract import Example, Facts, Knowledge

FIRST = [
    "Ada",
    "Bruno",
    "Clara",
    "Dario",
    "Elena",
    "Fabio",
    "Greta",
    "Hugo",
    "Irma",
    "Jonas",
    "Karla",
    "Luca",
    "Mara",
    "Nils",
    "Olga",
    "Paolo",
    "Rita",
    "Sven",
    "Tina",
    "Uwe",
]
LAST = [
    "Berger",
    "Costa",
    "Duval",
    "Eklund",
    "Fischer",
    "Garcia",
    "Hansen",
    "Ivanov",
    "Jensen",
    "Keller",
    "Lopez",
    "Moreau",
    "Novak",
    "Olsen",
    "Petrov",
    "Quist",
    "Rossi",
    "Silva",
    "Toth",
    "Ulrich",
]
CITIES = [
    "Ostrava",
    "Bergamo",
    "Lahti",
    "Utrecht",
    "Malmo",
    "Porto",
    "Graz",
    "Lyon",
    "Turku",
    "Cork",
    "Bilbao",
    "Brno",
    "Varna",
    "Pecs",
    "Tartu",
]


def world() -> Knowledge:
    """Cities first, then people, each born in one."""
    people = [f"{first} {LAST[(3 * at) % len(LAST)]}" for at, first in enumerate(FIRST)]
    n = len(CITIES)
    born = np.array([(7 * at) % n for at in range(len(people))], dtype=np.int64)
    rows = np.arange(n, n + len(people), dtype=np.int64)
    names = [*CITIES, *people]
    facts = Facts(rows, np.zeros(len(people), np.int64), born, [names[at] for at in born.tolist()])
    types = [("city",)] * n + [("person",)] * len(people)
    return Knowledge(
        [f"k{at}" for at in range(len(names))], list(names), [()] * len(names), types, [None] * len(names), ["birth place"], facts
    )


def examples(knowledge: Knowledge, n: int, seed: int = 0) -> list[Example]:
    """Texts that name a person, call it by its last name, and speak of its city by name or as "the town"."""
    rng = random.Random(seed)
    made = []
    for _ in range(n):
        at = rng.randrange(len(knowledge.facts.text))
        person, city = int(knowledge.facts.row[at]), int(knowledge.facts.other[at])
        called = rng.choice([knowledge.names[person], (knowledge.names[person] or "").split()[1]])
        place = rng.choice([knowledge.names[city], "the town"])
        text, spans = "", []
        for part, is_mention in ((called, True), (" was born in ", False), (place, True), (" long ago.", False)):
            if is_mention:
                spans.append((len(text) + 1, len(text) + len(part or "") + 1))
            text += part or ""
        made.append(Example(text, spans, [knowledge.keys[person], knowledge.keys[city]]))
    return made
