"""The ranking before anybody has said what is right: a few round weights, and support in rounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pgembed.linking import candidates, features, telling
from pgembed.linking.candidates import Called
from pgembed.linking.coherence import Graph
from pgembed.linking.compiled import Compiled
from pgembed.linking.contract import Bools, Floats, Ints
from pgembed.linking.features import FEATURES, FIRST, SUPPORT, Pairs
from pgembed.linking.places import Places

WEIGHTS = {
    "cosine": 2.0,
    "gap": 1.5,
    "written": 2.5,
    "equal": 1.0,
    "matched": 2.0,
    "near": 2.0,
    "kind": 3.0,
    "told_best": 2.0,
    "relations": 1.0,
    "degree": 0.5,
    "related_best": 5.0,
    "again": 8.0,
    "again_first": 5.0,
    "role": 1.0,
}  # fmt: skip
ROUNDS = 3


@dataclass(frozen=True)
class Prepared:
    """Candidates of a batch with the first stage's features, and what the second stage needs."""

    places: Places
    pairs: Pairs
    graph: Graph


def prepare(
    compiled: Compiled,
    places: Places,
    *,
    others: Sequence[tuple[Ints, Ints]] = (),
    propose: Callable[[Bools], tuple[Ints, Ints]] | None = None,
    allowed: Bools | None = None,
) -> Prepared:
    """Find and measure the candidates of a batch.

    Args:
        others: (mention, row) pairs that memory proposes; numbers of mentions in `places`.
        propose: told of each mention whether no name is like it, more such pairs.
        allowed: of each row whether it may be meant; None: all.
    """
    names: Called = candidates.called(compiled, places.surfaces)
    if propose is not None:
        others = [*others, propose(candidates.unlike(compiled, places, names))]
    told = telling.tell(compiled, places.context)
    own = telling.tell(compiled, places.words)
    kinds = features.Kinds(compiled, places.words)
    mention, row = candidates.find(compiled, places, names, told, kinds.fits, others, allowed)
    pairs = features.measure(compiled, places, mention, row, names, told, own, kinds)
    return Prepared(places, pairs, Graph(compiled, places, pairs))


def shares(mention: Ints, utility: Floats, nil: float | None = None) -> Floats:
    """Probability of each candidate: its share of the exponentials of its mention's, and of none's."""
    if not len(mention):
        return utility
    fresh = np.flatnonzero(np.concatenate([[True], mention[1:] != mention[:-1]]))
    count = np.diff(np.append(fresh, len(mention)))
    most = np.maximum.reduceat(utility, fresh)
    if nil is not None:
        most = np.maximum(most, nil)
    grown = np.exp(utility - np.repeat(most, count))
    total = np.add.reduceat(grown, fresh)
    if nil is not None:
        total = total + np.exp(nil - most)
    share: Floats = grown / np.repeat(total, count)
    return share


def rank(prepared: Prepared, rounds: int = ROUNDS) -> tuple[Floats, Pairs]:
    """Probability of each candidate among its mention's, and the pairs with the second stage's features filled in."""
    pairs = prepared.pairs
    first = np.array([WEIGHTS.get(name, 0.0) for name in FIRST])
    second = np.array([WEIGHTS.get(name, 0.0) for name in SUPPORT])
    base = np.nan_to_num(pairs.values[:, : len(FIRST)]).astype(np.float64) @ first
    probability = shares(pairs.mention, base)
    values = pairs.values.copy()
    for _ in range(rounds):
        support = prepared.graph.support(probability)
        values[:, len(FIRST) : len(FEATURES)] = support
        probability = shares(pairs.mention, base + support.astype(np.float64) @ second)
    return probability, Pairs(pairs.mention, pairs.row, values)
