"""The joint decision: rows that are related in the database support each other where one text means them.

Each mention's candidates take support from what the other mentions probably mean, in rounds: message passing in the mean-field form of
Ganea and Hofmann, Deep Joint Entity Disambiguation with Local Neural Attention, 2017, https://arxiv.org/abs/1704.04920, after the
relatedness of Milne and Witten, Learning to Link with Wikipedia, 2008, https://doi.org/10.1145/1458082.1458150. Departs from
them: being related is a declared fact, and which relation it is counts when the mention names it ("its leader").

A relation is looked for from the one of its two rows that has fewer, so a row that everything is related to costs nothing.
"""

from __future__ import annotations

import numpy as np

from pgembed.lexical.sparse import once
from pgembed.linking.compiled import Compiled, Lists, expand
from pgembed.linking.contract import Floats, Ints, Vectors
from pgembed.linking.features import SUPPORT, Pairs, gaps
from pgembed.linking.places import Places
from pgembed.linking.telling import place

PRONOUN = 0.5  # how well a pronoun says what kind of thing is meant


class Graph:
    """Which candidates of a passage are related.

    Args:
        pairs: with the first stage's features.
    """

    def __init__(self, compiled: Compiled, places: Places, pairs: Pairs) -> None:
        mention, row = pairs.mention, pairs.row
        described = (pairs.column("definite") > 0) | (pairs.column("demonstrative") > 0)
        kind = np.where(pairs.column("words") > 0, 0.2 + pairs.column("kind"), PRONOUN)
        self._described = np.where(described, (1.0 - pairs.column("general")) * kind, 0.0)
        rows = max(1, compiled.rows)
        self.mention = mention
        key = places.passage[mention] * rows + row
        self._rows = once(key)
        self._of, _ = place(self._rows, key)
        at, fact = expand(compiled.lean, self._rows % rows)
        other, known = place(self._rows, self._rows[at] // rows * rows + compiled.fact_other[fact])
        at, other, role = at[known], other[known], compiled.fact_role[fact[known]]
        # Candidates that are one row, in the order of their mentions.
        self._order = np.lexsort((mention, self._of))
        group = self._of[self._order]
        self._begins = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]])) if len(group) else np.empty(0, np.int64)
        # Of each candidate's mention its place among those of the passage.
        passage = places.passage[mention]
        opening = np.searchsorted(places.passage, passage)
        self._place = mention - opening
        # Both ways: what `one` is supported by, and the role in which it stands.
        one = np.concatenate([at, other])
        by = np.concatenate([other, at])
        role = np.concatenate([role, role ^ 1]) % compiled.role_count
        # The same two rows may stand in several relations: each pair of a mention and a relative counts once, named if any is.
        near = Lists(one, np.arange(len(one), dtype=np.int64), len(self._rows))
        self._pair, which = expand(near, self._of)
        self._by = by[which]
        role = role[which]
        words = places.words
        at, said = expand(compiled.words_in_roles, words.member)
        of = np.repeat(np.arange(len(words), dtype=np.int64), words.count)
        named = once(of[at] * compiled.role_count + said)
        _, is_named = place(named, places.surface[mention[self._pair]] * compiled.role_count + role)
        is_named &= role % 2 == 1
        key = self._pair * max(1, len(self._rows)) + self._by
        order = np.lexsort((~is_named, key))
        fresh = np.flatnonzero(np.concatenate([[True], np.diff(key[order]) != 0])) if len(key) else np.empty(0, np.int64)
        kept = order[fresh]
        self._pair, self._by, self._named = self._pair[kept], self._by[kept], is_named[kept]
        # What a mention's own candidates mean is no support for it.
        relative = self._rows[self._by] % rows if len(kept) else np.empty(0, np.int64)
        self._own, self._has_own = place(mention * rows + row, mention[self._pair] * rows + relative)
        self._rarity = (1.0 / (1.0 + compiled.degree[relative])).astype(np.float32)

    def support(self, probability: Floats) -> Vectors:
        """The features of `SUPPORT`, float32 (n, len(SUPPORT)), given each candidate's probability."""
        n = len(self.mention)
        chance = probability.astype(np.float64)
        mass = np.bincount(self._of, chance, len(self._rows))
        own = np.where(self._has_own, chance[self._own], 0.0) if n else np.zeros(0)
        flow = np.clip(mass[self._by] - own, 0.0, 1.0)
        values = np.zeros((n, len(SUPPORT)), np.float32)
        values[:, 0] = np.bincount(self._pair, flow * self._rarity, n)
        values[:, 1] = _most(self._pair, flow, n)
        values[:, 2] = gaps(self.mention, values[:, 0])
        values[:, 3] = np.clip(mass[self._of] - chance, 0.0, 1.0)
        values[:, 4], values[:, 5] = self._before(chance)
        values[:, 6] = values[:, 3] * self._described
        values[:, 7] = self._first(chance)
        values[:, 8] = values[:, 7] * self._described
        values[:, 9] = values[:, 5] * self._described
        values[:, 10] = _most(self._pair, flow * self._named, n)
        values[:, 11] = np.log(np.maximum(chance, 1e-6))
        return values

    def _before(self, chance: Floats) -> tuple[Floats, Floats]:
        """Of each candidate what the mentions before mean the same row with, and how near the last of them is."""
        before, since = np.zeros(len(chance)), np.zeros(len(chance))
        if not len(chance):
            return before, since
        order, here = self._order, chance[self._order]
        count = np.diff(np.append(self._begins, len(order)))
        total = np.cumsum(here) - here
        before[order] = np.clip(total - np.repeat(total[self._begins], count), 0.0, 1.0)
        # The last place in the list, at or before each, with a candidate that is probably meant.
        meant = np.where(here > 0.5, np.arange(len(order)), -1)
        last = np.concatenate([[-1], np.maximum.accumulate(meant)[:-1]])
        known = last >= np.repeat(self._begins, count)
        distance = self.mention[order] - self.mention[order[np.maximum(last, 0)]]
        since[order] = np.where(known, 1.0 / np.maximum(1, distance), 0.0)
        return before, since

    def _first(self, chance: Floats) -> Floats:
        """Of each candidate how early another mention before it means the same row, 0 if none does: what a text is about comes first."""
        first = np.zeros(len(chance))
        if not len(chance):
            return first
        order, here = self._order, chance[self._order]
        count = np.diff(np.append(self._begins, len(order)))
        place = self._place[order]
        meant = np.where(here > 0.5, place, np.iinfo(np.int64).max)
        earliest = np.repeat(np.minimum.reduceat(meant, self._begins), count)
        first[order] = np.where(earliest < place, 1.0 / (1.0 + np.minimum(earliest, place)), 0.0)
        return first


def _most(pair: Ints, value: Floats, n: int) -> Vectors:
    """The greatest value of each pair; they stand together."""
    most = np.zeros(n, np.float32)
    if len(pair):
        fresh = np.flatnonzero(np.concatenate([[True], pair[1:] != pair[:-1]]))
        most[pair[fresh]] = np.maximum.reduceat(value, fresh)
    return most
