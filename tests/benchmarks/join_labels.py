"""Decisions learned from labels: F1 on pairs nobody learned from, precision as asked for, and how few labels are enough.

Four benchmarks of entity resolution, rows as all attributes in one text for candidates and one by one for comparison. Everything is learned
from the pairs of train, thresholds included; F1 is over the pairs of valid alone, the matches among them that are no candidates counted as
missed. A mapping uses the candidates of whole tables, labels of train being facts in it. Intervals are of 1,000 samples of the pairs of
valid, drawn with replacement: they do not say how another choice of train would fare. Held out means: learned from four fifths of train and
scored on the fifth, five times; for choosing, since who looks at valid to choose no longer measures with it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import cast

import join_data
import numpy as np
import numpy.typing as npt
import report
from join_data import Ints, Tables

from pgembed.joins import hybrid
from pgembed.matching import Decision, MappingKind, attributes, learned
from pgembed.matching.attributes import Attribute, Features
from pgembed.matching.metric import Vectors

NUMBERS = ("price", "year")
AT_LEAST = {"abt_buy": 0.975, "amazon_google": 0.77, "dblp_acm": 0.995}
PRECISE = 0.93
MAPPINGS: tuple[MappingKind, ...] = ("many", "one_to_one")
CURVE = (0, 10, 50, 200, 1_000)
SAMPLES = 1_000
ASKED = 0.95
FOLDS = 5

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Data:
    """A benchmark: candidates, their attributes, and labelled pairs as rows of left, right, 1 or 0."""

    name: str
    shown: str
    candidates: hybrid.Candidates
    features: Features
    vectors: Vectors
    train: Ints
    valid: Ints

    def placed(self, pairs: Ints) -> Ints:
        """Where pairs are among the candidates; -1 where they are none."""
        wide = int(max(self.candidates.right.max(), pairs[:, 1].max())) + 1
        key = self.candidates.left * wide + self.candidates.right
        order = np.argsort(key)
        wanted = pairs[:, 0] * wide + pairs[:, 1]
        at = np.minimum(np.searchsorted(key[order], wanted), len(key) - 1)
        return cast("Ints", np.where(key[order][at] == wanted, order[at], -1))

    def decide(self, labels: Ints, mapping: MappingKind, precision: float | None = None) -> Decision:
        told = learned.Labels(labels[:, 0], labels[:, 1], labels[:, 2].astype(bool))
        return learned.decide(self.candidates, self.features, told, mapping=mapping, precision=precision, vectors=self.vectors)

    def said(self, decision: Decision, pairs: Ints) -> Bools:
        """What a decision says of pairs."""
        at = self.placed(pairs)
        return cast("Bools", (at >= 0) & (decision.is_match[at] == True))  # noqa: E712  None is no match


def number(text: str) -> float | None:
    """A price or a year, without its currency."""
    try:
        return float(text.replace("$", "").replace(",", "").split()[0])
    except (ValueError, IndexError):
        return None


def read(tables: Tables) -> Data:
    """Tables and labels with their candidates compared."""
    left, right = tables.left, tables.right
    candidates = hybrid.candidates(left.texts, right.texts, left.vectors, right.vectors, k=10)
    compared = []
    for name in left.rows[0]:
        if name in NUMBERS:
            compared.append(Attribute(name, "number", *([number(row[name]) for row in side.rows] for side in (left, right))))
        elif name != "id":
            compared.append(Attribute(name, "text", *([row[name] or None for row in side.rows] for side in (left, right))))
    features = attributes.compare(compared, candidates.left, candidates.right)
    return Data(tables.name, tables.shown, candidates, features, (left.vectors, right.vectors), tables.train, tables.valid)


def f1(said: Bools, truth: Bools) -> float:
    """Harmonic mean of precision and recall."""
    return float(2 * (said & truth).sum() / max(1, said.sum() + truth.sum()))


def interval(said: Bools, truth: Bools) -> tuple[float, float]:
    """95 % of the F1 of samples of the pairs."""
    rng = np.random.default_rng(0)
    picks = (rng.integers(0, len(truth), len(truth)) for _ in range(SAMPLES))
    low, high = np.percentile([f1(said[pick], truth[pick]) for pick in picks], [2.5, 97.5])
    return float(low), float(high)


def splits(data: Data, held_out: bool) -> Iterator[tuple[Ints, Ints]]:
    """Pairs to learn from and pairs to score."""
    if not held_out:
        yield data.train, data.valid
        return
    rng = np.random.default_rng(0)
    fold = np.empty(len(data.train), dtype=np.int64)
    for value in (0, 1):
        at = np.flatnonzero(data.train[:, 2] == value)
        fold[at] = rng.permutation(len(at)) % FOLDS
    for part in range(FOLDS):
        yield data.train[fold != part], data.train[fold == part]


def scored(data: Data, held_out: bool, mapping: MappingKind, many: int | None = None, seed: int = 0) -> tuple[Bools, Bools]:
    """What is said of the pairs to score, learned from so many labels, and the truth."""
    said, truth = [], []
    for train, test in splits(data, held_out):
        told = train if many is None else train[np.random.default_rng(seed).permutation(len(train))[:many]]
        said.append(data.said(data.decide(told, mapping), test))
        truth.append(test[:, 2].astype(bool))
    return np.concatenate(said), np.concatenate(truth)


def run(*, quick: bool = False, held_out: bool = False) -> None:
    """The part of bench_joins.py.

    Args:
        held_out: score fifths of train, and leave valid alone.
    """
    sets = [read(tables) for tables in join_data.tables(quick=quick)]
    if quick:
        sets = [replace(data, train=data.train[:150]) for data in sets]
    pairs = "a fifth of train, five times" if held_out else "valid"
    show_f1(sets, pairs, held_out)
    show_precision(sets, pairs, held_out)
    show_curve(sets, pairs, held_out, quick)


def show_f1(sets: list[Data], pairs: str, held_out: bool) -> None:
    """Pairwise and one-to-one, each with its interval."""
    lines: list[list[report.Cell]] = []
    kept = []
    for data in sets:
        best, cells = 0.0, []
        truth = np.zeros(0, dtype=bool)
        start = time.perf_counter()
        for mapping in MAPPINGS:
            said, truth = scored(data, held_out, mapping)
            low, high = interval(said, truth)
            value = f1(said, truth)
            best = max(best, value)
            cells.append(f"{value:.3f} ({low:.3f} to {high:.3f})")
        took = (time.perf_counter() - start) / len(MAPPINGS) / (FOLDS if held_out else 1)
        lines.append([data.shown, int(truth.sum()), *cells, took])
        if data.name in AT_LEAST:
            both = ", ".join(f"{mapping} {cell}" for mapping, cell in zip(MAPPINGS, cells, strict=True))
            kept.append(report.Promise(data.shown, AT_LEAST[data.name], best, note=both))
    report.show(
        "joins_labels",
        f"F1 on the pairs of {pairs}, learned from all labels of train",
        ["", "matches", *(f"{mapping} (95 % interval)" for mapping in MAPPINGS), "one fit, s"],
        lines,
    )
    report.promises("joins_labels_asked", "F1 with labels, by the better of both mappings", kept)


def show_precision(sets: list[Data], pairs: str, held_out: bool) -> None:
    """What was achieved, and whether the estimate covers it."""
    lines: list[list[report.Cell]] = []
    kept = []
    for data in sets:
        for mapping in MAPPINGS:
            train, test = next(splits(data, held_out))
            decision = data.decide(train, mapping, ASKED)
            said, truth = data.said(decision, test), test[:, 2].astype(bool)
            got, found = float((said & truth).sum() / max(1, said.sum())), float((said & truth).sum() / truth.sum())
            shown = [
                "nothing" if one is None else f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f})"
                for one in (decision.precision, decision.recall)
            ]
            covers = decision.precision is not None and round(decision.precision.low, 3) <= round(got, 3) <= round(
                decision.precision.high, 3
            )
            lines.append(
                [f"{data.shown}, {mapping}", shown[0], got, int(said.sum()), "yes" if covers else "no", shown[1], found],
            )
            if data.name in AT_LEAST:
                kept.append(report.Promise(f"{data.shown}, {mapping}", PRECISE, got, note=f"estimated {shown[0]}"))
    report.show(
        "joins_labels_precision",
        f"precision {ASKED} asked for with labels, on the pairs of {pairs}",
        ["", "precision estimated (95 %)", "achieved", "matches", "covered", "recall estimated (95 %)", "achieved"],
        lines,
    )
    report.promises("joins_labels_precision_asked", f"precision achieved where {ASKED} was asked for, with labels", kept)


def show_curve(sets: list[Data], pairs: str, held_out: bool, quick: bool) -> None:
    """How few labels are enough."""
    seeds, points = (1, (10,)) if quick else (3, CURVE)
    lines: list[list[report.Cell]] = []
    for data in sets:
        for mapping in MAPPINGS:
            draws = [[f1(*scored(data, held_out, mapping, many, seed)) for seed in range(seeds if many else 1)] for many in points]
            lines.append([f"{data.shown}, {mapping}", *(float(np.mean(values)) for values in draws)])
    report.show(
        "joins_labels_curve",
        f"F1 on the pairs of {pairs} by the number of labels",
        ["", *(f"{many:,} labels" for many in points)],
        lines,
        f"drawn at random from train, mean of {seeds} {'draw' if seeds == 1 else 'draws'}; 0: the decision without labels",
    )
