"""Which pairs are worth labelling next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pgembed.errors import InvalidParameter
from pgembed.matching import competing
from pgembed.matching.contract import Bools, Floats, Ints, Scored

# One pair in so many is drawn by lot, so that labels also say what the model is wrong to be sure of.
ONE_IN = 5
# Uncertain pairs that are looked at for each that is wanted: enough to choose different ones.
_POOL = 8


@dataclass(frozen=True)
class Review:
    """Pairs worth labelling, the most useful first.

    Attributes:
        at: positions among the candidates.
        reason: for each a phrase for whoever labels.
    """

    at: Ints
    reason: tuple[str, ...]


def worth_labelling(
    candidates: Scored,
    probability: Floats,
    n: int,
    *,
    values: npt.NDArray[np.floating] | None = None,
    labelled: Bools | None = None,
    threshold: float | None = None,
    seed: int = 0,
) -> Review:
    """The n pairs whose labels would teach most.

    Args:
        candidates: all pairs.
        probability: of each candidate; NaN counts as even odds.
        n: how many, at least 1; fewer come where there are fewer.
        values: (candidates, features) what is known of each, so that the pairs differ from each other; None takes the similarities.
        labelled: which have a label already; these never come.
        threshold: probability from which on pairs match now; None is one half. Uncertain is what is near to it.
        seed: of the lot; the same seed and input give the same pairs.
    Returns:
        Four of five pairs are uncertain and unlike each other, one of five is drawn by lot among the pairs that are the best of a row:
        labels of uncertain pairs alone would show a model at its worst, and never what it is wrongly sure of. Each row is asked about
        once as long as there are others.
    Raises:
        InvalidParameter: n below 1.

    Uncertainty sampling: Lewis and Gale, A Sequential Algorithm for Training Text Classifiers, SIGIR 1994,
    https://arxiv.org/abs/cmp-lg/9407020. Unlike each other: each next pair is the one with the largest product of uncertainty and
    distance to those chosen (the greedy k-centre of Sener and Savarese, Active Learning for Convolutional Neural Networks, ICLR 2018,
    https://arxiv.org/abs/1708.00489, weighted).
    """
    if n < 1:
        raise InvalidParameter(f"at least 1 pair must be asked for, not {n}", hint="20 pairs are labelled in a few minutes.")
    odds = np.log(np.clip(np.nan_to_num(probability, nan=0.5), 1e-6, 1 - 1e-6)) - np.log1p(
        -np.clip(np.nan_to_num(probability, nan=0.5), 1e-6, 1 - 1e-6)
    )
    line = 0.5 if threshold is None or not 0.0 < threshold < 1.0 else threshold
    uncertain = 1.0 / (1.0 + np.abs(odds - np.log(line / (1.0 - line))))
    open_ = np.ones(len(probability), dtype=bool) if labelled is None else ~labelled
    likely = np.nan_to_num(probability, nan=0.5)
    best = (competing.rank(likely, candidates.left) == 1) | (competing.rank(likely, candidates.right) == 1)
    lot = np.random.default_rng(seed).permutation(np.flatnonzero(open_ & best))
    wanted = n // ONE_IN if n >= ONE_IN else 0
    drawn = lot[:wanted]
    open_[drawn] = False
    order = np.flatnonzero(open_)
    order = order[np.argsort(-uncertain[order], kind="stable")]
    chosen = _apart(order, n - len(drawn), uncertain, candidates, _scaled(candidates, values), set(drawn.tolist()))
    at = np.concatenate([chosen, drawn]).astype(np.int64)
    rival = np.fmax(competing.best_of_others(likely, candidates.left), competing.best_of_others(likely, candidates.right))
    reasons = [_reason(likely[pair], rival[pair], line) for pair in chosen.tolist()] + ["drawn by lot, to keep the estimate honest"] * len(
        drawn
    )
    return Review(at, tuple(reasons))


def _reason(probability: float, rival: float, line: float) -> str:
    if probability >= 0.2 and rival >= 0.2 and abs(probability - rival) < 0.3:
        return f"probability {probability:.2f}, and another pair of the row has {rival:.2f}"
    if abs(probability - line) <= 0.25:
        return f"uncertain: probability {probability:.2f}, where {line:.2f} decides"
    return f"unlike the others: probability {probability:.2f}"


def _scaled(candidates: Scored, values: npt.NDArray[np.floating] | None) -> Floats:
    """Each column by its spread; what is unknown in the middle."""
    if values is None:
        values = np.column_stack([candidates.score, *candidates.similarity.values()])
    columns = np.asarray(values, dtype=np.float64)
    known = ~np.isnan(columns)
    many = np.maximum(known.sum(0), 1)
    centred = np.where(known, columns - np.where(known, columns, 0.0).sum(0) / many, 0.0)
    spread = np.sqrt((centred**2).sum(0) / many)
    return np.asarray(centred / np.where(spread > 0.0, spread, 1.0))


def _apart(order: Ints, n: int, uncertain: Floats, candidates: Scored, place: Floats, taken: set[int]) -> Ints:
    """Up to n of the pairs in order, uncertain and unlike each other, of different rows as far as there are."""
    rows = ({int(candidates.left[at]) for at in taken}, {int(candidates.right[at]) for at in taken})
    fresh, again = [], []
    for at in order.tolist():
        one, other = int(candidates.left[at]), int(candidates.right[at])
        if one in rows[0] or other in rows[1]:
            again.append(at)
            continue
        rows[0].add(one)
        rows[1].add(other)
        fresh.append(at)
        if len(fresh) >= _POOL * n:
            break
    pool = np.array(fresh, dtype=np.int64)
    chosen: list[int] = []
    near = np.full(len(pool), np.inf)
    for _ in range(min(n, len(pool))):
        worth = uncertain[pool] * np.where(np.isinf(near), 1.0, np.sqrt(near))
        worth[np.isin(pool, chosen)] = -1.0
        pick = int(worth.argmax())
        chosen.append(int(pool[pick]))
        near = np.minimum(near, ((place[pool] - place[pool[pick]]) ** 2).mean(1))
    return np.array(chosen + again[: n - len(chosen)], dtype=np.int64)
