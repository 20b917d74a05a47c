"""Decisions learned from labels: F1 on pairs nobody learned from, precision as asked for, and how few labels are enough.

A script, not a test: ``python tests/benchmarks/bench_labels.py [--quick] [--held-out] [--data DIR] [--vectors DIR]``. Four benchmarks of
entity resolution (Mudgal et al., Deep Learning for Entity Matching, SIGMOD 2018, https://doi.org/10.1145/3183713.3196926), rows as all
attributes in one text for candidates and one by one for comparison. Everything is learned from the pairs of train, thresholds included;
F1 is over the pairs of valid alone, the matches among them that are no candidates counted as missed. A mapping uses the candidates of
whole tables, labels of train being facts in it. Intervals are of 1,000 samples of the pairs of valid, drawn with replacement: they do not
say how another choice of train would fare. --held-out learns from four fifths of train and scores the fifth, five times: for choosing,
since who looks at valid to choose no longer measures with it.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from pgembed.joins import hybrid
from pgembed.matching import Decision, MappingKind, attributes, learned
from pgembed.matching.attributes import Attribute, Features
from pgembed.matching.metric import Vectors

MODEL = "all-minilm-l6-v2-int8"
NUMBERS = ("price", "year")
AT_LEAST = {"abt_buy": 0.975, "amazon_google": 0.77, "dblp_acm": 0.995}
MAPPINGS: tuple[MappingKind, ...] = ("many", "one_to_one")
CURVE = (0, 10, 50, 200, 1_000)
SAMPLES = 1_000
ASKED = 0.95
FOLDS = 5

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Data:
    """A benchmark: candidates, their attributes, and labelled pairs as rows of left, right, 1 or 0."""

    name: str
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


def read(folder: Path, vectors: Path | None) -> Data:
    """The tables and labels of a folder."""
    tables = []
    for side in "AB":
        with (folder / f"table{side}.csv").open(encoding="utf-8", newline="") as file:
            tables.append(list(csv.DictReader(file)))
    names = [name for name in tables[0][0] if name != "id"]
    texts = [[" ".join(row[name] for name in names if row[name]) for row in rows] for rows in tables]
    if vectors is not None:
        sides = [np.load(vectors / f"{folder.name}_{side}_{MODEL}.npy") for side in "AB"]
    else:
        from pgembed import models

        model = models.load(MODEL)
        sides = [model.encode(side).vectors for side in texts]
    candidates = hybrid.candidates(texts[0], texts[1], sides[0], sides[1], k=10)
    compared = []
    for name in names:
        if name in NUMBERS:
            compared.append(Attribute(name, "number", *([number(row[name]) for row in rows] for rows in tables)))
        else:
            compared.append(Attribute(name, "text", *([row[name] or None for row in rows] for rows in tables)))
    features = attributes.compare(compared, candidates.left, candidates.right)
    labels = [np.loadtxt(folder / f"matches_{part}.csv", delimiter=",", skiprows=1, dtype=np.int64) for part in ("train", "valid")]
    return Data(folder.name, candidates, features, (sides[0], sides[1]), *labels)


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


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared" / "data" / "er")
    parser.add_argument("--vectors", type=Path, help="a folder with each side's vectors as NAME_SIDE_MODEL.npy, instead of embedding them")
    parser.add_argument("--held-out", action="store_true", help="score fifths of train, not valid")
    parser.add_argument("--quick", action="store_true", help="one data set, one seed, and two points of the curve")
    options = parser.parse_args()
    folders = sorted(folder for folder in options.data.iterdir() if (folder / "matches_train.csv").exists())
    sets = [read(folder, options.vectors) for folder in (folders[:1] if options.quick else folders)]
    scoredon = "a fifth of train, five times" if options.held_out else "valid"
    print(f"F1 on the pairs of {scoredon}, learned from all labels of train (95 % interval)")
    print(f"  {'':16}{'matches':>8}{'at least':>10}" + "".join(f"{name:>24}" for name in MAPPINGS) + f"{'one fit':>10}")
    for data in sets:
        line, took, truth = "", 0.0, np.zeros(0, dtype=bool)
        for mapping in MAPPINGS:
            start = time.perf_counter()
            said, truth = scored(data, options.held_out, mapping)
            took = (time.perf_counter() - start) / (FOLDS if options.held_out else 1)
            low, high = interval(said, truth)
            line += f"{f'{f1(said, truth):.3f} ({low:.3f}, {high:.3f})':>24}"
        print(f"  {data.name:16}{truth.sum():8}{AT_LEAST.get(data.name, float('nan')):10.3f}{line}{took:8.1f} s", flush=True)

    print(f"\nprecision asked for: {ASKED}")
    head = f"{'estimated (95 % interval)':>28}{'achieved':>10}{'matches':>9}{'covered':>9}"
    print(f"  {'':16}{'mapping':12}{head}{'recall: estimated':>28}{'achieved':>10}")
    for data in sets:
        for mapping in MAPPINGS:
            for train, test in list(splits(data, options.held_out))[:1]:
                decision = data.decide(train, mapping, ASKED)
                said, truth = data.said(decision, test), test[:, 2].astype(bool)
                got, found = (said & truth).sum() / max(1, said.sum()), (said & truth).sum() / truth.sum()
                p, r = decision.precision, decision.recall
                assert p is not None
                assert r is not None
                print(
                    f"  {data.name:16}{mapping:12}{f'{p.value:.3f} ({p.low:.3f}, {p.high:.3f})':>28}{got:10.3f}{said.sum():9}"
                    f"{'yes' if p.low <= got <= p.high else 'no':>9}{f'{r.value:.3f} ({r.low:.3f}, {r.high:.3f})':>28}{found:10.3f}",
                    flush=True,
                )

    seeds = 1 if options.quick else 3
    print(f"\nF1 by the number of labels, drawn at random from train (mean of {seeds} draws; 0: the decision without labels)")
    points = (10, 200) if options.quick else CURVE
    print(f"  {'':16}{'mapping':12}" + "".join(f"{many:>8}" for many in points))
    for data in sets:
        for mapping in MAPPINGS:
            means = [
                np.mean([f1(*scored(data, options.held_out, mapping, many, seed)) for seed in range(seeds if many else 1)])
                for many in points
            ]
            print(f"  {data.name:16}{mapping:12}" + "".join(f"{mean:8.3f}" for mean in means), flush=True)


if __name__ == "__main__":
    main()
