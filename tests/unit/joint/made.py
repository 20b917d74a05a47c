"""Small sides for the tests of the joint space."""

from __future__ import annotations

import numpy as np

from pgembed.joint import maps, zones
from pgembed.joint.features import Inputs

PLAN = maps.Plan(
    blocks=(maps.Block("name", 128), maps.Block("whole", 32, 0.0, True), maps.Block("neighbours", 192, 0.6)),
    pairs=(("surface", "name", 1.0), ("whole", "whole", 0.2), ("text", "neighbours", 0.2), ("text", "name", 0.0)),
    left=("surface", "before"),
    right=("stands", "has"),
    rank=4,
    known=(("surface", "name"),),
)


def rows(names: list[str | None], facts: list[tuple[int, str, int, str]] | None = None, **more: list[tuple[str, ...]]) -> Inputs:
    """Rows of names and facts (row, relation, other, text)."""
    facts = facts or []
    relations = sorted({relation for _, relation, _, _ in facts})
    return zones.rows(
        names,
        more.get("aliases", [()] * len(names)),
        more.get("types", [()] * len(names)),
        [None] * len(names),
        relations,
        np.array([fact[0] for fact in facts], np.int64),
        np.array([relations.index(fact[1]) for fact in facts], np.int64),
        np.array([fact[2] for fact in facts], np.int64),
        [fact[3] for fact in facts],
    )


def places(texts: list[str], surfaces: list[tuple[int, str]]) -> Inputs:
    """The first place of each surface in its text."""
    start = [texts[text].index(surface) for text, surface in surfaces]
    end = [begin + len(surface) for begin, (_, surface) in zip(start, surfaces, strict=True)]
    return zones.mentions(texts, np.array([text for text, _ in surfaces], np.int64), np.array(start, np.int64), np.array(end, np.int64))


def world(seed: int = 0, towns: int = 40) -> tuple[Inputs, Inputs, np.ndarray, np.ndarray]:
    """Texts "the mayor spoke in NAME" about towns, each with a mayor: which row "the mayor" and which the name means.

    Returns:
        Left, right, pairs (n, 2), and of each pair whether its mention is a description.
    """
    rng = np.random.default_rng(seed)
    made: dict[str, None] = {}
    while len(made) < 2 * towns:
        made["".join(rng.choice(list(letters)) for letters in ("bcdfgklmnprstvz", "aeiou") * 4).capitalize()] = None
    names = list(made)
    facts = [(town, "mayor", towns + town, names[towns + town]) for town in range(towns)]
    texts = [f"Yesterday the mayor spoke in {names[town]} again" for town in range(towns)]
    asked = [(town, surface) for town in range(towns) for surface in ("the mayor", names[town])]
    truth = [row for town in range(towns) for row in (towns + town, town)]
    pairs = np.stack([np.arange(2 * towns), np.array(truth)], axis=1)
    return places(texts, asked), rows(list(names), facts), pairs, np.arange(2 * towns) % 2 == 0
