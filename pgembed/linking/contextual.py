"""What the context adds to a ranking: who is asked about, in which passage, and how that changes the odds.

Only mentions with candidates that names and facts leave about equal are taken to the model, and only their texts are embedded; so are
texts with mentions that no name is like, for which rows near to the text are proposed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pgembed.linking import passages, senses, untrained
from pgembed.linking.contract import Bools, Check, Dense, Floats, Ints, Knowledge, Vectors
from pgembed.linking.dense import Asked, Meaning
from pgembed.linking.features import FIRST
from pgembed.linking.senses import Learned, starts

NEAR = 10  # rows that are proposed by context
HOMONYM, SAME, CALLED = 6.0, 0.1, 4.0  # log-odds: how far behind a homonym may be, and what its name says less and at least


class Contextual:
    """The meaning of a linker's rows, as a ranking uses it.

    Args:
        learned: what labels taught of it; None: untrained.
    """

    def __init__(self, knowledge: Knowledge, dense: Dense, learned: Learned | None = None) -> None:
        self.meaning = Meaning(knowledge, dense, learned)

    def changed(self, knowledge: Knowledge, rows: Sequence[int]) -> Contextual:
        """The same with some rows changed."""
        made = Contextual.__new__(Contextual)
        made.meaning = self.meaning.changed(knowledge, rows)
        return made

    def added(
        self,
        texts: Sequence[str],
        text: Ints,
        start: Ints,
        end: Ints,
        mention: Ints,
        row: Ints,
        odds: Floats,
        called: Floats,
        check: Check | None = None,
    ) -> tuple[Floats, Vectors]:
        """What the context adds to the log-odds of candidates, and `sense` of each, NaN where nobody asked.

        Args:
            text, start, end: of each mention; 0-based, end exclusive.
            mention, row, odds, called: of each candidate, ordered by mention; `called` from `named`.
        """
        sense = np.full(len(mention), np.nan, np.float32)
        chosen = tied(mention, odds, called)
        if not len(chosen):
            return np.zeros(len(mention)), sense
        some, which = np.unique(mention[chosen], return_inverse=True)
        contents, of, first, last = passages.around(texts, text[some], start[some], end[some])
        sense[chosen] = self.meaning.measure(contents, of, first, last, which, row[chosen], check)[:, -1]
        return decided(mention, chosen, sense), sense

    def asked(self, texts: Sequence[str], text: Ints, start: Ints, end: Ints, mention: Ints, row: Ints, check: Check | None) -> Asked:
        """What `sense_training.learn` learns from; arguments as of `added`."""
        contents, of, first, last = passages.around(texts, text, start, end)
        return self.meaning.ask(contents, of, first, last, mention, row, check)

    def proposed(self, texts: Sequence[str], text: Ints, start: Ints, end: Ints, unlike: Bools) -> tuple[Ints, Ints]:
        """Mention and row: rows near to the passages of mentions that no name is like."""
        some = np.flatnonzero(unlike)
        contents, of, _, _ = passages.around(texts, text[some], start[some], end[some])
        at, row = self.meaning.proposed(contents, of, NEAR)
        return some[at], row


def tied(mention: Ints, odds: Floats, named: Floats) -> Ints:
    """The candidates between which the context decides: of mentions with several such, these.

    They are those about as good as the best one, and those not much worse that are called so just as well: what tells homonyms apart
    is mostly how many facts they have.

    Args:
        named: of each candidate what its name says for it, as log-odds.
    """
    if not len(mention):
        return np.empty(0, np.int64)
    fresh = starts(mention)
    count = np.diff(fresh, append=len(mention))
    best = np.repeat(np.maximum.reduceat(odds, fresh), count)
    name = np.repeat(np.maximum.reduceat(np.where(odds == best, named, -np.inf), fresh), count)
    alike = (odds >= best - HOMONYM) & (np.abs(named - name) < SAME) & (name >= CALLED)
    equal = (odds >= best - senses.EQUAL) | alike
    several = np.add.reduceat(equal.astype(np.int64), fresh) > 1
    return np.flatnonzero(equal & np.repeat(several, count))


def decided(mention: Ints, chosen: Ints, sense: Vectors) -> Floats:
    """What `sense` adds to the odds of the chosen candidates: the best one keeps its own, and nothing changes for the others."""
    made = np.zeros(len(mention))
    apart = senses.deviations(sense[chosen][:, None], mention[chosen])[:, 0]
    fresh = starts(mention[chosen])
    made[chosen] = apart - np.repeat(np.maximum.reduceat(apart, fresh), np.diff(fresh, append=len(chosen)))
    return made


def named(values: Vectors) -> Floats:
    """What names say for candidates, as log-odds, from the columns of FIRST."""
    made: Floats = np.nan_to_num(values[:, _NAMED]).astype(np.float64) @ _WEIGHTS
    return made


_NAME = ("cosine", "gap", "written", "equal", "matched")
_NAMED = [FIRST.index(name) for name in _NAME]
_WEIGHTS = np.array([untrained.WEIGHTS[name] for name in _NAME])
