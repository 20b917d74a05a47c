"""Rows and places in the joint space (../joint): what the mention's and the row's words are worth together, learned as one.

Rows are mapped when they are asked for, and kept: of 100,000 rows a text asks for a few dozen. How rare words are is counted over a
sample of the rows where there are many.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from pgembed.joint import maps, space, storing, training, zones
from pgembed.joint.features import Inputs
from pgembed.linking.contract import NIL, Check, Ints, Knowledge, Vectors
from pgembed.linking.storing import Arrays

PARTS = ("name", "whole", "neighbours", "beyond", "stands", "has", "context", "association")
JOINT = ("joint", *(f"joint_{part}" for part in PARTS))
SMALL = 5_000  # rows that are mapped at once, counted all, and searched for the nearest
KEPT = 20_000  # rows that are mapped and kept at a time
BESIDE = 500  # facts of a row that are looked at
NEAREST = 3  # rows that the space proposes
LEAST = 300  # labelled mentions; fewer teach no maps
THOROUGH = training.Settings()
_DIGITS = 4


class Around:
    """A knowledge's rows with what is beside them, a few at a time, as the right side of the space."""

    def __init__(self, knowledge: Knowledge) -> None:
        self.knowledge = knowledge
        facts, rows = knowledge.facts, len(knowledge)
        leads = np.flatnonzero((facts.other >= 0) & (facts.other < rows) & (facts.other != facts.row))
        of = np.concatenate([facts.row, facts.other[leads]])
        order = np.argsort(of, kind="stable")
        self._fact = np.concatenate([np.arange(len(facts.row)), leads])[order]
        self._begin = np.searchsorted(of[order], np.arange(rows + 1))

    def _facts(self, rows: Ints, most: int) -> Ints:
        """The facts that rows stand in, each once; of each row as many at most."""
        begin = self._begin[rows]
        count = np.minimum(self._begin[rows + 1] - begin, most)
        ends = np.cumsum(count)
        at = np.arange(ends[-1] if len(ends) else 0) + np.repeat(begin - ends + count, count)
        return np.unique(self._fact[at])

    def inputs(self, rows: Ints) -> Inputs:
        """Some rows, in this order, none twice."""
        facts, known = self.knowledge.facts, self.knowledge
        every = len(known)
        place = np.full(every + 1, NIL, dtype=np.int64)
        place[rows] = np.arange(len(rows))
        near = self._facts(rows, BESIDE)
        beside = self._beyond(near, place)
        # One fact more than a row may have for what is beyond it to count.
        both = np.unique(np.concatenate([near, self._facts(beside, 3 * zones.FAN)]))
        chosen = np.concatenate([rows, beside, self._beyond(both, np.where(np.isin(np.arange(every + 1), beside), 0, place))])
        place[chosen] = np.arange(len(chosen))
        asked, count = chosen.tolist(), len(rows)
        none: list[tuple[str, ...]] = [()] * (len(chosen) - count)
        made = zones.rows(
            [known.names[row] for row in asked],
            [*(known.aliases[row] for row in asked[:count]), *none],
            [*(known.types[row] for row in asked[:count]), *none],
            [*(known.context[row] for row in asked[:count]), *([None] * len(none))],
            known.relations,
            place[facts.row[both]],
            facts.relation[both],
            np.where(facts.other[both] < 0, NIL, place[facts.other[both]]),
            [facts.text[at] for at in both.tolist()],
        )
        return made.take(np.arange(count))

    def near(self, rows: Ints) -> Ints:
        """Rows, and those that they are a part of: at most two facts away."""
        place = np.full(len(self.knowledge) + 1, NIL, dtype=np.int64)
        for _ in range(2):
            place[rows] = 0
            rows = np.concatenate([rows, self._beyond(self._facts(rows, BESIDE), place)])
        return np.unique(rows)

    def _beyond(self, facts: Ints, place: Ints) -> Ints:
        """The rows of facts that have no place yet."""
        both = np.concatenate([self.knowledge.facts.row[facts], self.knowledge.facts.other[facts]])
        both = np.unique(both[(both >= 0) & (both < len(self.knowledge))])
        return np.asarray(both[place[both] < 0], dtype=np.int64)

    def sample(self, seed: int = 0, with_: Ints | None = None, most: int = SMALL) -> Ints:
        """As many rows, ascending: all where there are no more, and these among them."""
        rows = len(self.knowledge)
        if rows <= most:
            return np.arange(rows)
        these = np.zeros(0, np.int64) if with_ is None else np.unique(with_)[:most]
        others = np.random.default_rng(seed).permutation(np.setdiff1d(np.arange(rows), these))
        return np.sort(np.concatenate([these, others[: most - len(these)]]))


def learn(
    around: Around,
    texts: Sequence[str],
    text: Ints,
    start: Ints,
    end: Ints,
    row: Ints,
    seed: int,
    check: Check | None,
    settings: training.Settings = THOROUGH,
) -> Arrays:
    """Maps from places of which the row is known, to be stored; those that nothing was learned for are untrained.

    Args:
        text, start, end, row: of each place, ordered by text; row NIL: none.
        settings: how thoroughly.
    """
    rng = np.random.default_rng(seed)
    # Whole texts, as many as have enough places: a text's places are each other's context.
    drawn = rng.permutation(len(texts))
    size = np.bincount(text[row >= 0], minlength=len(texts))[drawn]
    of = np.zeros(len(texts), bool)
    of[drawn[: int(np.searchsorted(np.cumsum(size), settings.pairs)) + 1]] = True
    these = np.flatnonzero(of[text])
    number = np.cumsum(of) - 1
    rows = around.sample(seed, row[row >= 0], 2 * SMALL)
    right = around.inputs(rows)
    place = np.full(len(around.knowledge) + 1, NIL, dtype=np.int64)
    place[rows] = np.arange(len(rows))
    chosen = [one for one, is_drawn in zip(texts, of.tolist(), strict=True) if is_drawn]
    left = zones.mentions(chosen, number[text[these]], start[these], end[these])
    meant = place[row[these]]
    known = np.flatnonzero(meant >= 0)
    if len(known) < LEAST:
        known = known[:0]
    return storing.to_arrays(training.fit(left, right, np.stack([known, meant[known]], axis=1), settings=settings, seed=seed, check=check))


class Mapped:
    """The joint space over a knowledge's rows.

    Args:
        stored: from `learn`.
    """

    def __init__(self, stored: Arrays, around: Around) -> None:
        self._stored, self._around = stored, around
        rows = len(around.knowledge)
        self._slot = np.full(rows, -1, dtype=np.int64)
        self._space: space.Space | None = None

    @cached_property
    def _maps(self) -> maps.Maps:
        return storing.from_arrays(self._stored, self._around.inputs(self._around.sample()))

    def after(self, before: Mapped, changed: Ints) -> Mapped:
        """With what was mapped before some rows changed, where there are many: words are as rare as they were. Few are mapped anew."""
        if self.searched or before._space is None or len(before._slot) > len(self._slot):
            return self
        made = Mapped(self._stored, self._around)
        made.__dict__["_maps"], made._space = before._maps, before._space
        made._slot[: len(before._slot)] = before._slot
        made._slot[before._around.near(changed[changed < len(before._slot)])] = -1
        made._slot[self._around.near(changed)] = -1
        return made

    @property
    def searched(self) -> bool:
        """Whether the nearest rows of a place can be had for little."""
        return 0 < len(self._slot) <= SMALL

    def left(self, places: Inputs) -> Vectors:
        """Places in the space."""
        return self._maps.left(places)

    def nearest(self, left: Vectors) -> tuple[Ints, Ints]:
        """Which of the places, and which row."""
        found, _ = self._with(np.arange(len(self._slot))).nearest(left, NEAREST)
        return np.repeat(np.arange(len(left)), found.shape[1]), found.reshape(-1)

    def features(self, left: Vectors, mention: Ints, row: Ints) -> Vectors:
        """How well candidates fit, in all and by part of the space: float32 (n, len(JOINT))."""
        if not len(mention):
            return np.zeros((0, len(JOINT)), np.float32)
        rows = self._with(np.arange(len(self._slot)) if self.searched else np.unique(row))
        scores = rows.scores(left, mention, self._slot[row])
        kept = [0, *(1 + rows.parts.index(part) for part in PARTS)]
        return np.round(scores[:, kept], _DIGITS)

    def _with(self, rows: Ints) -> space.Space:
        """A space that has these rows mapped."""
        new = rows[self._slot[rows] < 0]
        if not len(new) and self._space is not None:
            return self._space
        if self._space is None or len(self._space.rows) + len(new) > max(KEPT, len(rows)):
            self._slot[:] = -1
            new, self._space = rows, space.Space(self._maps, np.zeros((0, self._maps.dim), np.float32))
        begin = len(self._space.rows)
        mapped = self._maps.right(self._around.inputs(new))
        self._space = space.Space(self._maps, np.concatenate([self._space.rows, mapped]))
        self._slot[new] = np.arange(begin, begin + len(new))
        return self._space
