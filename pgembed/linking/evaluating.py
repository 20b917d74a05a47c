"""evaluating: how right links are, with 95 % intervals by a bootstrap over texts.

Texts are drawn with replacement, as many as there are, and each figure is computed of every draw anew; its interval reaches from the
2.5th to the 97.5th percentile (Efron 1979, https://doi.org/10.1214/aos/1176344552). Mentions of one text are never drawn apart: what is
hard in a text is hard for all of them. All arrays have an item for each mention; texts and types are numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from pgembed.linking.contract import NIL, Bools, Floats, Ints

ALL = -1  # in place of a type: every type
DRAWS = 1000
# Draws at a time: a million numbers at most, or one draw
_ROOM = 1_000_000


@dataclass(frozen=True)
class Figure:
    """A share, and the interval that holds it in 95 of 100 draws; NaN where there is nothing to count."""

    value: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")


@dataclass(frozen=True)
class Figures:
    """What was measured of one type of mention, or of all.

    Attributes:
        mentions: of the gold.
        precision: of links: how many of those that were made are right.
        recall: how many of the gold mentions that mean a row were linked to it.
        f1: their harmonic mean, 0 where no link is right.
        accuracy_at_1, accuracy_at_10: of gold mentions that mean a row, whether it is the best candidate, or among the ten best.
    """

    mentions: int
    precision: Figure = field(default_factory=Figure)
    recall: Figure = field(default_factory=Figure)
    f1: Figure = field(default_factory=Figure)
    accuracy_at_1: Figure = field(default_factory=Figure)
    accuracy_at_10: Figure = field(default_factory=Figure)


# Sums over texts (draws, counters) -> the figure of each draw; NaN where there is nothing to count.
Measure: TypeAlias = Callable[[Floats], Floats]


def given(text: Ints, kind: Ints, gold: Ints, linked: Ints, place: Ints, texts: int, *, seed: int = 0) -> dict[int, Figures]:
    """Links at given places.

    Args:
        text, kind: of each place, from 0.
        gold: the row that is meant; NIL for none.
        linked: the row that it was linked to; NIL where it was not, or is left to a review.
        place: of the gold row among the candidates, from 0; -1 where it is none of them.
        texts: how many there are, those without mentions too.
        seed: of the draws.
    Returns:
        Figures by type, and under `ALL`.
    """
    known = gold != NIL
    made = linked != NIL
    right = known & (linked == gold)
    first = known & (place == 0)
    tenth = known & (place >= 0) & (place < 10)
    measures: dict[str, Measure] = {
        "precision": lambda sums: _share(sums[:, 0], sums[:, 1]),
        "recall": lambda sums: _share(sums[:, 0], sums[:, 2]),
        "f1": lambda sums: _share(2 * sums[:, 0], sums[:, 1] + sums[:, 2]),
        "accuracy_at_1": lambda sums: _share(sums[:, 3], sums[:, 2]),
        "accuracy_at_10": lambda sums: _share(sums[:, 4], sums[:, 2]),
    }
    counted = {}
    for which in (*np.unique(kind).tolist(), ALL):
        here = np.ones(len(kind), dtype=bool) if which == ALL else kind == which
        columns = [_by_text(text[here & flag], texts) for flag in (right, made, known, first, tenth)]
        counted[int(which)] = (int(here.sum()), np.stack(columns, axis=1))
    return _measured(counted, measures, texts, seed)


def found(
    gold_text: Ints, gold_kind: Ints, gold_hit: Bools, found_text: Ints, found_kind: Ints, found_right: Bools, texts: int, *, seed: int = 0
) -> dict[int, Figures]:
    """Links that were found, as pairs of place and row, against those of the gold.

    Args:
        gold_text, gold_kind, gold_hit: of each gold mention that means a row, and whether a link of the same place and row was found.
        found_text, found_kind, found_right: of each link that was made, and whether it is one of the gold.
        texts: how many there are.
    Returns:
        Figures by type, and under `ALL`; without accuracies. Precision of a type is of what the linker called so, recall of what the gold
        does.
    """
    measures: dict[str, Measure] = {
        "precision": lambda sums: _share(sums[:, 0], sums[:, 1]),
        "recall": lambda sums: _share(sums[:, 2], sums[:, 3]),
        "f1": lambda sums: _harmonic(_share(sums[:, 0], sums[:, 1]), _share(sums[:, 2], sums[:, 3])),
    }
    counted = {}
    for which in (*np.unique(np.concatenate([gold_kind, found_kind])).tolist(), ALL):
        golden = np.ones(len(gold_kind), dtype=bool) if which == ALL else gold_kind == which
        made = np.ones(len(found_kind), dtype=bool) if which == ALL else found_kind == which
        columns = [
            _by_text(found_text[made & found_right], texts),
            _by_text(found_text[made], texts),
            _by_text(gold_text[golden & gold_hit], texts),
            _by_text(gold_text[golden], texts),
        ]
        counted[int(which)] = (int(golden.sum()), np.stack(columns, axis=1))
    return _measured(counted, measures, texts, seed)


def sets(gold_text: Ints, gold_row: Ints, found_text: Ints, found_row: Ints, texts: int, *, seed: int = 0) -> Figures:
    """The set of rows that each text is linked to, against that of the gold: the mean over texts.

    A text without rows on both sides is right; precision is the mean over texts that have links, recall over those that have gold.

    Args:
        gold_text, gold_row, found_text, found_row: pairs, in any order; one that is there twice counts once.
    """
    gold = {*zip(gold_text.tolist(), gold_row.tolist(), strict=True)}
    made = {*zip(found_text.tolist(), found_row.tolist(), strict=True)}
    right = _by_text(np.asarray([at for at, _ in gold & made], dtype=np.int64), texts)
    n_gold = _by_text(np.asarray([at for at, _ in gold], dtype=np.int64), texts)
    n_made = _by_text(np.asarray([at for at, _ in made], dtype=np.int64), texts)
    nothing = n_gold + n_made == 0
    precision = _share(right, n_made)
    recall = _share(right, n_gold)
    f1 = np.where(nothing, 1.0, _share(2 * right, np.maximum(n_gold + n_made, 1)))
    counters = np.stack([np.nan_to_num(precision), n_made > 0, np.nan_to_num(recall), n_gold > 0, f1, np.ones(texts)], axis=1)
    measures: dict[str, Measure] = {
        "precision": lambda sums: _share(sums[:, 0], sums[:, 1]),
        "recall": lambda sums: _share(sums[:, 2], sums[:, 3]),
        "f1": lambda sums: _share(sums[:, 4], sums[:, 5]),
    }
    return _measured({ALL: (len(gold), counters)}, measures, texts, seed)[ALL]


def draws(texts: int, seed: int) -> Iterator[Floats]:
    """How often each text is drawn, in `DRAWS` draws: parts of float64 (draws, texts)."""
    rng = np.random.default_rng(seed)
    part = max(1, min(DRAWS, _ROOM // max(1, texts)))
    for start in range(0, DRAWS, part):
        yield np.stack(
            [np.bincount(rng.integers(0, texts, texts), minlength=texts).astype(np.float64) for _ in range(min(part, DRAWS - start))]
        )


def _measured(counted: dict[int, tuple[int, Floats]], measures: dict[str, Measure], texts: int, seed: int) -> dict[int, Figures]:
    """Each figure of each type: of all texts, and of the draws.

    Args:
        counted: type -> (mentions, counters of each text (texts, counters)).
    """
    if not texts:
        return {kind: Figures(mentions) for kind, (mentions, _) in counted.items()}
    width = next(iter(counted.values()))[1].shape[1]
    together = np.concatenate([columns for _, columns in counted.values()], axis=1)
    sums = np.concatenate([drawn @ together for drawn in draws(texts, seed)])
    made = {}
    for position, (kind, (mentions, columns)) in enumerate(counted.items()):
        here = sums[:, position * width : (position + 1) * width]
        whole = columns.sum(axis=0, keepdims=True)
        made[kind] = Figures(mentions, **{name: _figure(measure(whole)[0], measure(here)) for name, measure in measures.items()})
    return made


def _figure(value: float, drawn: Floats) -> Figure:
    drawn = drawn[~np.isnan(drawn)]
    if np.isnan(value) or not len(drawn):
        return Figure()
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Figure(float(value), float(low), float(high))


def _by_text(text: Ints, texts: int) -> Floats:
    return np.bincount(text, minlength=texts).astype(np.float64)


def _share(part: Floats, whole: Floats) -> Floats:
    made: Floats = np.divide(part, whole, out=np.full(len(whole), np.nan), where=np.asarray(whole) > 0)
    return made


def _harmonic(one: Floats, other: Floats) -> Floats:
    """2 a b / (a + b); 0 where both are 0, NaN where one is."""
    total = one + other
    made = np.divide(2 * one * other, total, out=np.zeros(len(total)), where=total > 0)
    return np.where(np.isnan(total), np.nan, made)
