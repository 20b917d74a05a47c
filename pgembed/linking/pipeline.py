"""What is measured of texts and mentions before anything is decided, the same way while training and while linking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pgembed.joint import zones
from pgembed.linking import overlay, places, untrained
from pgembed.linking.compiled import Compiled
from pgembed.linking.contextual import Contextual
from pgembed.linking.contract import Bools, Floats, Ints, Knowledge, Vectors
from pgembed.linking.learned import begun, columns, kept
from pgembed.linking.mapped import JOINT, Around, Mapped
from pgembed.linking.memory import Memory, Own, Recall
from pgembed.linking.sayings import Said, Sayings
from pgembed.linking.storing import Arrays
from pgembed.linking.untrained import Prepared


@dataclass(frozen=True)
class Measured:
    """Candidates of a batch.

    Attributes:
        prepared: all candidates: names and facts, and who is related to whom.
        at: those that are looked at closely; `mention`, `row`, `values` and `begun` are theirs.
        values: float32 (n, len(learned.COLUMNS)).
        begun: log-odds of the untrained ranking, before any support.
        nil: of each mention the share of labels that say its surface means no row.
    """

    prepared: Prepared
    at: Ints
    mention: Ints
    row: Ints
    values: Vectors
    begun: Floats
    nil: Vectors


class Rows:
    """A knowledge made ready, with what labels said of it.

    Args:
        hidden: rows that memory must say nothing of.
        joint: maps of the joint space, of which each mention has its own (`measure`); none: nothing is said of it.
    """

    def __init__(
        self,
        knowledge: Knowledge,
        memory: Memory | None = None,
        sayings: Sayings | None = None,
        hidden: Bools | None = None,
        joint: Sequence[Arrays] = (),
    ) -> None:
        self._learned = memory, sayings, hidden, joint
        self._ready(knowledge, Compiled(knowledge))

    def _ready(self, knowledge: Knowledge, compiled: Compiled) -> None:
        memory, sayings, hidden, joint = self._learned
        self.knowledge, self.compiled = knowledge, compiled
        self.recall = Recall(memory, knowledge, hidden)
        self.said = Said(sayings, knowledge)
        around = Around(knowledge) if joint else None
        self.joint = [Mapped(stored, around) for stored in joint if around is not None]

    def _keep(self, before: Rows, rows: Sequence[int]) -> None:
        """Rows that were mapped and did not change need not be mapped again."""
        self.joint = [new.after(old, np.asarray(rows, dtype=np.int64)) for new, old in zip(self.joint, before.joint, strict=True)]

    def changed(self, knowledge: Knowledge, rows: Sequence[int]) -> Rows:
        """With some rows changed, as `overlay.changed` takes them."""
        made = Rows.__new__(Rows)
        made._learned = self._learned
        made._ready(knowledge, overlay.changed(self.compiled, knowledge, rows) or Compiled(knowledge))
        made._keep(self, rows)
        return made

    def measure(
        self,
        texts: Sequence[str],
        text: Ints,
        start: Ints,
        end: Ints,
        *,
        allowed: Bools | None = None,
        meant: Ints | None = None,
        contextual: Contextual | None = None,
        space: Ints | None = None,
    ) -> Measured:
        """Candidates of mentions and what speaks for them.

        Args:
            text, start, end: of each mention, ordered by text and place; 0-based, end exclusive.
            allowed: of each row whether it may be meant.
            meant: of each mention the row that a label says, NIL for none, -2 where none says: memory forgets it while it looks at the same
                text, so that a label is no evidence for itself.
            space: of each mention which of the joint spaces is its; None: the first.
        """
        here = places.read(self.compiled, texts, text, start, end)
        mentions = [texts[which][a:b] for which, a, b in zip(text.tolist(), start.tolist(), end.tolist(), strict=True)]
        number = self.recall.numbers(mentions)
        own: Own | None = None if meant is None else self.recall.own(text, number, meant)
        others = [self.recall.candidates(number)] if len(self.recall) else []
        joint = self._joint(texts, text, start, end, space)
        unlike = np.fromiter((one not in self.compiled.form_number for one in here.surfaces), bool, len(here.surfaces))[here.surface]
        near = [found for mapped, these, left in joint for found in [_nearest(mapped, these, left, unlike)] if mapped.searched]
        propose = None if contextual is None else lambda unlike: contextual.proposed(texts, text, start, end, unlike)
        prepared = untrained.prepare(self.compiled, here, others=[*others, *near], propose=propose, allowed=allowed)
        pairs = prepared.pairs
        begins = begun(pairs.values)
        remembered = self.recall.said(number[pairs.mention], pairs.row)
        at = kept(pairs.mention, begins, remembered | _among(near, pairs.mention, pairs.row, len(self.knowledge)))
        mention, row = pairs.mention[at], pairs.row[at]
        recalled = self.recall.features(mention, row, number, own)
        said = self.said.features(mentions, mention, row)
        fits = np.full((len(at), len(JOINT)), np.nan, np.float32)
        for mapped, these, left in joint:
            place = np.full(len(text), -1, dtype=np.int64)
            place[these] = np.arange(len(these))
            here_ = np.flatnonzero(place[mention] >= 0)
            fits[here_] = mapped.features(left, place[mention[here_]], row[here_])
        values = columns(pairs.values[at], mention, recalled, said, fits)
        return Measured(prepared, at, mention, row, values, begins[at], self.recall.nil(number, own))

    def _joint(self, texts: Sequence[str], text: Ints, start: Ints, end: Ints, space: Ints | None) -> list[tuple[Mapped, Ints, Vectors]]:
        """Of each joint space its mentions, and these in it."""
        if not self.joint or not len(text):
            return []
        chosen = np.zeros(len(text), np.int64) if space is None else space
        places_ = zones.mentions(texts, text, start, end)
        made = []
        for number, mapped in enumerate(self.joint):
            these = np.flatnonzero(chosen == number)
            if len(these):
                made.append((mapped, these, mapped.left(places_.take(these))))
        return made


def _nearest(mapped: Mapped, these: Ints, left: Vectors, asked: Bools) -> tuple[Ints, Ints]:
    """Of the mentions that no row is called exactly the nearest rows."""
    some = np.flatnonzero(asked[these])
    mention, row = mapped.nearest(left[some])
    return these[some][mention], row


def _among(proposed: Sequence[tuple[Ints, Ints]], mention: Ints, row: Ints, rows: int) -> Bools:
    """Which candidates are among those that were proposed."""
    key = [of * rows + which for of, which in proposed]
    return np.isin(mention * rows + row, np.concatenate(key)) if key else np.zeros(len(mention), bool)
