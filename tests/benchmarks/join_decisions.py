"""Decisions about pairs without labels: F1, and what an asked precision achieves, on four benchmarks of entity resolution.

The labels are only used here, to count.

Protocol. Accepting every one-to-one pair passes any test on labelled pairs alone, so rows are made that have no partner. A left row is
known if a pair of it is labelled as a match in train or valid. Of the known left rows half are drawn (seeds 0, 1 and 2), and all right
rows that are labelled as their partners are taken out of the right table, before anything is computed. Then the joins' candidates
(`joins.hybrid`, all attributes as one text, ten for each left row) are decided upon, one-to-one, once by these alone ("texts") and once
by the attributes too ("records": `matching.attributes`; a column of which every value is a number is compared as one). A predicted pair
counts if its left row is known: right if it is labelled as a match, else wrong; so any pair of a row whose partners are gone is wrong.
Pairs of left rows without such labels are ignored. Recall counts the labelled matches whose right row is still there. F1 is that of these
two.

Full tables are reported beside it, for an asked precision of 0.95; there every known row has its partners. So is what a join decides
that is asked for nothing else: by vectors alone, where many left rows may match one right row.
"""

from __future__ import annotations

from dataclasses import dataclass

import join_data
import numpy as np
import numpy.typing as npt
from join_data import Side
from report import Cell, Promise, promises, show

from pgembed.joining.candidates import as_candidates
from pgembed.joins import hybrid, neighbours
from pgembed.joins.hybrid import Candidates
from pgembed.matching import Decision, attributes, unlabelled
from pgembed.matching.attributes import Attribute, Features

SEEDS = (0, 1, 2)
AT_LEAST = {"abt_buy": 0.94, "amazon_google": 0.66, "dblp_acm": 0.993, "fodors_zagats": 0.97}
MARGIN = 0.05  # of the simplest rule there is, for comparison
ASKED = 0.95
K = 10


@dataclass(frozen=True)
class Counted:
    """Pairs that can be told right or wrong, those that are right, and those there are to find."""

    told: int
    right: int
    there: int

    @property
    def precision(self) -> float:
        """Share of the right ones; 1 where there are none."""
        return self.right / self.told if self.told else 1.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        return 2 * self.right / (self.told + self.there)


def compared(left: Side, right: Side, found: Candidates, kept: npt.NDArray[np.int64]) -> Features:
    """The candidates' attributes compared, numbers as numbers."""
    several = []
    for name in left.rows[0]:
        if name == "id":
            continue
        values = [[row[name] or None for row in left.rows], [right.rows[place][name] or None for place in kept.tolist()]]
        try:
            numbers = [[None if value is None else float(value) for value in side] for side in values]
            several.append(Attribute(name, "number", *numbers))
        except ValueError:
            several.append(Attribute(name, "text", *values))
    return attributes.compare(several, found.left, found.right)


def removed(true: set[tuple[int, int]], seed: int) -> set[int]:
    """Right rows that half of the known left rows lose."""
    known = np.array(sorted({left for left, _ in true}))
    half = set(np.random.default_rng(seed).permutation(known)[: len(known) // 2].tolist())
    return {right for left, right in true if left in half}


def candidates(left: Side, right: Side, gone: set[int], *, dense: bool = False) -> tuple[Candidates, npt.NDArray[np.int64]]:
    """Candidates without some right rows, and the right rows' positions in the whole table.

    Args:
        dense: by vectors alone.
    """
    kept = np.array([row for row in range(len(right.texts)) if row not in gone])
    if dense:
        return as_candidates(neighbours.nearest(left.vectors, right.vectors[kept], K), "cosine"), kept
    found = hybrid.candidates(left.texts, [right.texts[row] for row in kept], left.vectors, right.vectors[kept], K)
    return found, kept


def counted(found: Candidates, kept: npt.NDArray[np.int64], match: npt.NDArray[np.bool_], true: set[tuple[int, int]]) -> Counted:
    """The protocol's counts of the pairs that are matches."""
    known, there = {left for left, _ in true}, set(kept.tolist())
    pairs = [
        (left, right) for left, right in zip(found.left[match].tolist(), kept[found.right[match]].tolist(), strict=True) if left in known
    ]
    return Counted(len(pairs), sum(pair in true for pair in pairs), sum(right in there for _, right in true))


def matches(decision: Decision) -> npt.NDArray[np.bool_]:
    """Which pairs are matches for certain."""
    return np.array([match is True for match in decision.is_match.tolist()], dtype=bool)


def by_margin(found: Candidates, least: float) -> npt.NDArray[np.bool_]:
    """One-to-one pairs that lead the other candidates of their left row by at least so much."""
    chosen = unlabelled.rivals.greedy(found.left, found.right, found.score)
    match = np.zeros(len(found), dtype=bool)
    match[chosen] = unlabelled.rivals.lead(found.left, found.score)[chosen] >= least
    return match


def best_known_afterwards(found: Candidates, kept: npt.NDArray[np.int64], true: set[tuple[int, int]]) -> float:
    """F1 of the best threshold on the score of the one-to-one pairs, which only the labels tell."""
    chosen = unlabelled.rivals.greedy(found.left, found.right, found.score)
    known, there = {left for left, _ in true}, set(kept.tolist())
    chosen = chosen[np.argsort(-found.score[chosen], kind="stable")]
    chosen = chosen[np.isin(found.left[chosen], list(known))]
    right = np.cumsum([pair in true for pair in zip(found.left[chosen].tolist(), kept[found.right[chosen]].tolist(), strict=True)])
    return float((2 * right / (np.arange(1, len(chosen) + 1) + sum(row in there for _, row in true))).max())


def spread(values: list[float]) -> str:
    """Mean and half the width of its 95 % interval over the seeds (Student's t of three)."""
    mean = f"{np.mean(values):.3f}"
    return mean if len(values) < 3 else f"{mean} ±{4.303 * np.std(values, ddof=1) / len(values) ** 0.5:.3f}"


def run(*, quick: bool = False) -> None:
    """The part of bench_joins.py."""
    seeds = SEEDS[:1] if quick else SEEDS
    f1s: list[list[Cell]] = []
    asked: list[list[Cell]] = []
    kept_promises = []
    for tables in join_data.tables(quick=quick):
        left, right, true = tables.left, tables.right, set(tables.matches)
        none, margin, best, of_texts, of_records = [], [], [], [], []
        for seed in (*seeds, None):
            gone = set() if seed is None else removed(true, seed)
            found, kept = candidates(left, right, gone)
            records = compared(left, right, found, kept)
            if seed is not None:
                none.append(counted(found, kept, by_margin(found, -np.inf), true).f1)
                margin.append(counted(found, kept, by_margin(found, MARGIN), true).f1)
                best.append(best_known_afterwards(found, kept, true))
                of_texts.append(counted(found, kept, matches(unlabelled.decide(found, mapping="one_to_one")), true).f1)
                of_records.append(counted(found, kept, matches(unlabelled.decide(found, records, mapping="one_to_one")), true).f1)
            rows = "all rows" if seed is None else f"half removed, seed {seed}"
            for what, features in (("texts", None), ("records", records)):
                decision = unlabelled.decide(found, features, mapping="one_to_one", precision=ASKED)
                asked.append(precision(f"{tables.shown}, {what}, {rows}", decision, found, kept, true))
            near = candidates(left, right, gone, dense=True)[0]
            decision = unlabelled.decide(near, mapping="many", precision=ASKED)
            asked.append(precision(f"{tables.shown}, vectors and many, {rows}", decision, near, kept, true))
        f1s.append([tables.shown, spread(none), spread(margin), spread(best), spread(of_texts), spread(of_records)])
        for what, values in (("texts", of_texts), ("records", of_records)):
            by_seed = ", ".join(f"{one:.3f}" for one in values)
            name = f"{tables.shown}, {what}"
            kept_promises.append(Promise(name, AT_LEAST[tables.name], float(np.mean(values)), note=f"by seed {by_seed}"))
    protocol = "half of the known left rows without their partners, one to one"
    show(
        "joins_decisions",
        f"F1 of decisions without labels, {protocol}",
        ["", "no threshold", f"margin of {MARGIN}", "best threshold, known afterwards", "texts", "records"],
        f1s,
        "mean over the seeds with its 95 % interval",
    )
    promises("joins_decisions_asked", f"F1 without labels, one setting for all, mean of {len(seeds)} seeds", kept_promises)
    show(
        "joins_decisions_precision",
        f"precision of the matches where {ASKED} was asked for, without labels",
        ["", "achieved", "estimated", "95 % interval", "recall achieved"],
        asked,
        "one to one but where many is said; pairs of rows without labels are ignored; some of them are matches",
    )


def precision(name: str, decision: Decision, found: Candidates, kept: npt.NDArray[np.int64], true: set[tuple[int, int]]) -> list[Cell]:
    """What was achieved beside what was estimated."""
    counts, estimate = counted(found, kept, matches(decision), true), decision.precision
    span = "" if estimate is None else f"{estimate.low:.3f} to {estimate.high:.3f}"
    return [name, counts.precision, None if estimate is None else estimate.value, span, counts.right / counts.there]
