"""The ranking that labels taught: boosted trees in two stages, and a third that says how likely the best candidate is right.

1. `first`: names, facts and sayings of each candidate: evidence that any row may have; a choice among the candidates of a mention.
2. `second`: the same, what memory says, and the support of what the other mentions probably mean, by the first stage's probabilities.
3. `right`: of each mention's best candidate whether it is right, which it can't be if the table has no row for the mention.

All three begin with what the untrained ranking says and learn what to add to it, so that few labels change little.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pgembed import boosting
from pgembed.linking import untrained
from pgembed.linking.coherence import Graph
from pgembed.linking.contract import Bools, Floats, Ints, Vectors
from pgembed.linking.decisions import Line, log_odds
from pgembed.linking.features import FIRST, SUPPORT, gaps
from pgembed.linking.mapped import JOINT
from pgembed.linking.memory import RECALLED
from pgembed.linking.sayings import SAID

# What is evidence about any row. A row's number of facts is none: trees would know the rows of the labels by it.
EVIDENCE = (*(name for name in FIRST if name != "degree"), *SAID, "said_gap", *JOINT, "joint_gap")
MEMORY = (*RECALLED, "memory_gap")
COLUMNS = (*EVIDENCE, *MEMORY)  # of a candidate by itself
CHANCE = ("first_gap", "first_lead", "first_row", "first_sure")
SECOND = (*COLUMNS, *SUPPORT, *CHANCE)
# What the second stage may weigh against memory: few things, or its trees would know the rows of the labels by the rest.
WEIGHED = (*MEMORY, *SUPPORT, *CHANCE, "gap", "equal", "definite", "demonstrative", "joint", "joint_gap")
BEST = ("chance_best", "chance_next", "lead", "memory_nil", "candidates", "cosine_most")
THIRD = (*SECOND, *BEST)
ROUNDS = 2
KEPT = 10  # candidates of a mention that are looked at closely, and those that memory has or the joint space proposes

TREES = boosting.Settings(trees=60, depth=5, rate=0.2, ridge=8.0, weight=4.0, rows=1.0, columns=0.4, most=60_000)
AGAIN = boosting.Settings(trees=60, depth=4, rate=0.15, ridge=8.0, weight=4.0, rows=1.0, columns=0.4, most=60_000)
REMEMBERED = 4.0  # log-odds for a row that all labels of a surface mean, before trees have learned what memory is worth
CLEARLY = 0.5  # log-odds
UNKNOWN = 2.0  # how much a mention counts whose row memory does not know by its surface
LIKE = 0.5  # cosine of names from which on a row is called nearly as the mention
BESIDE = 0.5  # of the untrained log-odds, added to those of the trees
PLAIN = 4.0  # how much a mention counts for the third stage that is as those that are linked: nothing hidden, nothing misspelt
SURE = boosting.Settings(trees=150, depth=4, rate=0.1, ridge=20.0, weight=10.0, rows=0.7, columns=0.4, most=60_000)


@dataclass(frozen=True)
class Stage:
    """Trees, and the borders of the values that they ask for."""

    borders: boosting.Borders
    trees: boosting.Trees

    def __call__(self, values: Vectors, offset: Floats) -> Floats:
        return self.trees.log_odds(self.borders.bins(values), offset)


@dataclass(frozen=True)
class Learned:
    """All that ranks.

    Attributes:
        scale: of the support that the second stage begins with.
        line: calibrates the third stage.
    """

    first: Stage
    second: Stage
    scale: float
    right: Stage
    line: Line


def starts(mention: Ints) -> Ints:
    """Where the candidates of each mention begin, of mentions that have any."""
    return np.flatnonzero(np.append(True, mention[1:] != mention[:-1])) if len(mention) else np.zeros(0, np.int64)


_BEGUN = np.array([untrained.WEIGHTS.get(name, 0.0) for name in FIRST])
_SUPPORTED = np.array([untrained.WEIGHTS.get(name, 0.0) for name in SUPPORT])


def begun(first: Vectors) -> Floats:
    """What the untrained ranking says before any support: log-odds among a mention's candidates, from the columns of FIRST."""
    return np.asarray(np.nan_to_num(first[:, : len(FIRST)]).astype(np.float64) @ _BEGUN)


def joined(values: Vectors, support: Vectors) -> Vectors:
    """The columns of SECOND. Where the first stage clearly prefers a row that no label names, memory is silent: it can't know better."""
    made = np.concatenate([values, support], axis=1)
    unknown = np.flatnonzero((made[:, _ROW] == 0) & (made[:, _SURE] >= CLEARLY))
    made[np.ix_(unknown, _MEMORY)] = np.nan
    return made


_ROW, _SURE = SECOND.index("first_row"), SECOND.index("first_sure")
_MEMORY = np.array([SECOND.index(name) for name in MEMORY])


def weighed(values: Vectors) -> Vectors:
    """Of the columns of SECOND those of WEIGHED."""
    return values[:, _WEIGHED]


_WEIGHED = [SECOND.index(name) for name in WEIGHED]
SHARE = COLUMNS.index("memory_share")
LABELS = COLUMNS.index("memory_row")
KNOWN = COLUMNS.index("memory_count")
_COSINE = COLUMNS.index("cosine")


def kept(mention: Ints, begins: Floats, proposed: Bools) -> Ints:
    """The candidates that are looked at closely."""
    start = starts(mention)
    order = np.lexsort((-begins, mention))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - np.repeat(start, np.diff(start, append=len(order)))
    return np.flatnonzero((rank < KEPT) | proposed)


def columns(first: Vectors, mention: Ints, recalled: Vectors, said: Vectors, joint: Vectors) -> Vectors:
    """The columns of COLUMNS."""
    memory = gaps(mention, np.nan_to_num(recalled[:, 0], nan=0.0))
    best = gaps(mention, np.nan_to_num(said[:, 0], nan=0.0))
    fits = gaps(mention, joint[:, 0])
    return np.concatenate([first[:, _EVIDENT], said, best[:, None], joint, fits[:, None], recalled, memory[:, None]], axis=1)


_EVIDENT = [at for at, name in enumerate(FIRST) if name != "degree"]


def support(graph: Graph, at: Ints, odds: Floats, share: Vectors, labels: Vectors) -> tuple[Vectors, Floats]:
    """What the other mentions add: the columns of SUPPORT, CHANCE, and what the untrained ranking makes of the support.

    Args:
        at: of each candidate that is kept its place in the graph.
        odds: of these, from the first stage.
        share: of these, what memory says of mention and row.
        labels: of these, log(1 + labels of the row): if the first stage's best row has none, that memory knows another says little.
    """
    mention = graph.mention[at]
    start = starts(mention)
    first = boosting.softmax(odds, start)
    chance, added = first, np.zeros(len(at))
    made = np.zeros((len(at), len(SUPPORT)), np.float32)
    whole = np.zeros(len(graph.mention))
    for _ in range(ROUNDS):
        whole[at] = chance
        made = graph.support(whole)[at]
        added = made.astype(np.float64) @ _SUPPORTED
        chance = boosting.softmax(odds + added, start)
    made[:, -1] = np.log(np.maximum(first, 1e-6))
    behind = gaps(mention, odds.astype(np.float32))
    order = np.lexsort((-odds, mention))
    size = np.diff(start, append=len(at))
    best = odds[order[start]] if len(at) else odds
    next_best = odds[order[start + np.minimum(1, size - 1)]] if len(at) else odds
    lead = np.where(behind >= 0, np.repeat(best - next_best, size), behind)
    of_best, sure = np.repeat(labels[order[start]], size), np.repeat(best - next_best, size)
    added += np.where((of_best == 0) & (sure >= CLEARLY), 0.0, REMEMBERED * np.nan_to_num(share))
    return np.concatenate([made, np.stack([behind, lead, of_best, sure], axis=1).astype(np.float32)], axis=1), added


def blended(graph: Graph, at: Ints, odds: Floats, begins: Floats, values: Vectors) -> Floats:
    """The second stage's log-odds and half of the untrained ranking's: the two err in different places, and what labels said of other
    kinds of rows does not outvote names and facts. Where labels say that the surface means the best row, and no candidate is called
    nearly so, there is nothing to outvote.

    Args:
        at: of each candidate its place in the graph.
        odds: from the second stage.
        begins: from the untrained ranking, before any support.
        values: the columns of COLUMNS.
    """
    mention = graph.mention[at]
    start = starts(mention)
    size = np.diff(start, append=len(at))
    best = np.lexsort((-odds, mention))[start]
    called = np.add.reduceat(values[:, _COSINE] >= LIKE, start, dtype=np.int64) if len(start) else np.zeros(0, np.int64)
    part = np.where((np.nan_to_num(values[best, KNOWN]) > 0) & (called == 0), 0.0, BESIDE)
    none = np.zeros(len(at), np.float32)
    _, added = support(graph, at, begins, none, none)
    return odds + np.repeat(part, size) * (begins + added)


def third(values: Vectors, mention: Ints, odds: Floats, nil: Vectors) -> tuple[Ints, Vectors, Floats, Floats]:
    """Of each mention with candidates the place of its best one, the values of THIRD, the log-odds to begin with, and of all candidates
    their probabilities among the candidates.

    Args:
        values: the columns of SECOND.
        odds: from the second stage.
        nil: of each mention that has candidates the share of labels that say its surface means no row.
    """
    start = starts(mention)
    chance = boosting.softmax(odds, start)
    order = np.lexsort((-odds, mention))
    size = np.diff(start, append=len(mention))
    at, following = order[start], order[start + np.minimum(1, size - 1)]
    alone = size == 1
    best, other = chance[at], np.where(alone, 0.0, chance[following])
    lead = np.where(alone, np.nan, odds[at] - odds[following])
    most = np.maximum.reduceat(values[:, 0], start) if len(start) else np.zeros(0)
    extra = np.stack([best, other, lead, nil, np.log1p(size), most], axis=1).astype(np.float32)
    return at, np.concatenate([values[at], extra], axis=1), log_odds(np.clip(best, 0.02, 0.98)), chance


def spread(chance: Floats, mention: Ints, at: Ints, right: Floats) -> Floats:
    """Each candidate's probability, given that of the best; a mention's sum is at most 1."""
    size = np.diff(starts(mention), append=len(mention))
    best, whole = np.repeat(chance[at], size), np.repeat(right, size)
    rest = np.minimum(whole / np.maximum(best, 1e-12), (1.0 - whole) / np.maximum(1.0 - best, 1e-12))
    made = np.minimum(chance * rest, whole)
    made[at] = right
    return np.asarray(made)
