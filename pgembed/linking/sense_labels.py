"""Labels as `sense_training` learns from them: of mentions with candidates that are about equal without context, which is meant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pgembed.linking import sense_training, untrained
from pgembed.linking.contextual import Contextual, named, tied
from pgembed.linking.contract import NIL, Check, Dense, Ints, Knowledge
from pgembed.linking.pipeline import Rows
from pgembed.linking.senses import Learned

FEWEST = 50  # such mentions; what fewer say is no better than the round weights
MOST = 30_000  # texts that are read
BATCH = 1_000


def learn(
    knowledge: Knowledge,
    texts: Sequence[str],
    text: Ints,
    start: Ints,
    end: Ints,
    meant: Ints,
    dense: Dense,
    *,
    seed: int = 0,
    check: Check | None = None,
) -> Learned | None:
    """Learn which contexts fit rows; None where too few labels tell rows apart that are called alike.

    Args:
        text, start, end: of each mention, ordered by text and place; 0-based, end exclusive.
        meant: of each mention the row that it means, NIL for none.
    """
    rows = Rows(knowledge)
    contextual = Contextual(knowledge, dense)
    mention, row = list[Ints](), list[Ints]()
    for first, last, begin, stop in _batches(texts, text, seed):
        if check:
            check()
        measured = rows.measure(texts[begin:stop], text[first:last] - begin, start[first:last], end[first:last])
        shares, pairs = untrained.rank(measured.prepared)
        chosen = tied(pairs.mention, np.log(np.maximum(shares, 1e-12)), named(pairs.values))
        mention.append(pairs.mention[chosen] + first)
        row.append(pairs.row[chosen])
    of, candidate = (np.concatenate(some) if some else np.empty(0, np.int64) for some in (mention, row))
    truth = meant[of] == candidate
    known = np.unique(of[truth])
    if len(known) < FEWEST:
        return None
    here = np.isin(of, known) & (meant[of] != NIL)
    of, candidate, truth = of[here], candidate[here], truth[here]
    some, number = np.unique(of, return_inverse=True)
    asked = contextual.asked(texts, text[some], start[some], end[some], number, candidate, check)
    return sense_training.learn(asked.sides, truth[asked.chosen], dense.space, contextual.meaning.mean, seed=seed, check=check)


def _batches(texts: Sequence[str], text: Ints, seed: int) -> Iterator[tuple[int, int, int, int]]:
    """First and last mention, first and last text; where there are many texts, batches that are drawn."""
    begins = np.arange(0, len(texts), BATCH)
    if len(texts) > MOST:
        begins = np.sort(np.random.default_rng(seed).choice(begins, MOST // BATCH, replace=False))
    for begin in begins.tolist():
        stop = min(begin + BATCH, len(texts))
        first, last = np.searchsorted(text, [begin, stop]).tolist()
        if first < last:
            yield first, last, begin, stop
