"""Homonyms on real rows: which of the synsets of Open English WordNet that share a word does an example sentence mean?

A script: ``python tests/benchmarks/link_homonyms.py [--model all-minilm-l6-v2-int8] [--only N]``. A mention is a lemma in an example of one
of its synsets; candidates are the synsets of the same part of speech that have the lemma. Rows are described by their lemmas, their
definition and the names of rows that they refer to; ``examples`` describe no row. Labels are those of other lemmas: five folds by lemma.
The round weights were chosen on lemmas of even number; which comparisons there are was chosen with all lemmas in sight; the maps' form and
settings on folds 0 and 1.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import re
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import corpora
import numpy as np
import report
from link_data import Share

from pgembed import models
from pgembed.linking import sense_training, senses
from pgembed.linking.contract import Bools, Facts, Floats, Ints, Knowledge, Vectors
from pgembed.linking.dense import Meaning

if TYPE_CHECKING:
    from numpy.typing import NDArray

MODEL = "all-minilm-l6-v2-int8"
FOLDS, CHOSEN, DRAWS = 5, 2, 1_000
NAMED = 4  # rows that a row refers to whose names stand in its context


@dataclass(frozen=True)
class Homonyms:
    """Attributes:
    texts: an example each, with the place of its mention; `lemma` the mention's number.
    mention, row, truth: of each candidate, ordered by mention.
    """

    knowledge: Knowledge
    texts: list[str]
    start: Ints
    end: Ints
    lemma: Ints
    mention: Ints
    row: Ints
    truth: Bools


class Stored:
    """`linking.contract.Dense` over the benchmarks' cache."""

    def __init__(self, contexts: list[str], model: str) -> None:
        self._model = model
        self._rows = corpora.vectors(contexts, model)

    @property
    def space(self) -> str:
        return models.info(self._model).fingerprint

    def embed(self, texts: list[str]) -> Vectors:
        return corpora.vectors(texts, self._model)

    def vectors(self, rows: list[int]) -> Vectors:
        return self._rows[rows]

    def nearest(self, vectors: Vectors, k: int) -> list[list[int]]:
        return [[] for _ in vectors]


def read(place: Path, most: int | None = None) -> Homonyms:
    """Rows, at most so many, and the mentions of the examples: one each, of the first of its synset's lemmas that is in it and shared."""
    with gzip.open(place / "synsets.csv.gz", "rt", encoding="utf-8", newline="") as lines:
        synsets = list(csv.DictReader(lines))[:most]
    with gzip.open(place / "relations.csv.gz", "rt", encoding="utf-8", newline="") as lines:
        relations = list(csv.DictReader(lines))
    number = {synset["synset"]: at for at, synset in enumerate(synsets)}
    lemmas = [synset["lemmas"].split("|") for synset in synsets]
    kinds = sorted({line["relation"] for line in relations})
    linked = [line for line in relations if line["synset"] in number and line["target"] in number]
    refers = defaultdict(list)
    for line in sorted(linked, key=lambda line: line["relation"] != "hypernym"):
        refers[number[line["synset"]]].append(number[line["target"]])
    contexts = []
    for at, synset in enumerate(synsets):
        named = ", ".join(lemmas[other][0] for other in list(dict.fromkeys(refers[at]))[:NAMED])
        contexts.append(f"{', '.join(lemmas[at])}: {synset['definition']}" + (f"; {named}" if named else ""))
    facts = Facts(
        np.array([number[line["synset"]] for line in linked], np.int64),
        np.array([kinds.index(line["relation"]) for line in linked], np.int64),
        np.array([number[line["target"]] for line in linked], np.int64),
        [lemmas[number[line["target"]]][0] for line in linked],
    )
    knowledge = Knowledge(
        [synset["synset"] for synset in synsets], [names[0] for names in lemmas], [tuple(names[1:]) for names in lemmas],
        [(synset["lexfile"],) for synset in synsets], list(contexts), kinds, facts,
    )  # fmt: skip
    shared: dict[tuple[str, str], list[int]] = defaultdict(list)
    for at, synset in enumerate(synsets):
        for name in {name.lower() for name in lemmas[at]}:
            shared[name, synset["pos"]].append(at)
    found: list[tuple[str, int, int, str, int, list[int]]] = []
    for at, synset in enumerate(synsets):
        for example in filter(None, synset["examples"].split("|")):
            for name in lemmas[at]:
                candidates = shared[name.lower(), synset["pos"]]
                place_of = re.search(rf"(?<!\w){re.escape(name)}(?!\w)", example, re.IGNORECASE) if len(candidates) > 1 else None
                if place_of:
                    found.append((example, *place_of.span(), name.lower(), at, candidates))
                    break
    names = {name: at for at, name in enumerate(sorted({one[3] for one in found}))}
    return Homonyms(
        knowledge,
        [one[0] for one in found],
        np.array([one[1] for one in found], np.int64),
        np.array([one[2] for one in found], np.int64),
        np.array([names[one[3]] for one in found], np.int64),
        np.repeat(np.arange(len(found), dtype=np.int64), [len(one[5]) for one in found]),
        np.array([row for one in found for row in one[5]], np.int64),
        np.array([row == one[4] for one in found for row in one[5]], bool),
    )


def right(data: Homonyms, score: Floats | Vectors) -> Floats:
    """Of each mention the chance that its best candidate is right: equal ones share it."""
    fresh = senses.starts(data.mention)
    count = np.diff(fresh, append=len(score))
    best = score == np.repeat(np.maximum.reduceat(score, fresh), count)
    made: Floats = np.add.reduceat((best & data.truth).astype(np.float64), fresh) / np.add.reduceat(best.astype(np.float64), fresh)
    return made


def interval(hits: Floats, lemma: Ints) -> tuple[float, float, float]:
    """Mean and the middle 95 % of means of bootstrap draws, of lemmas with all their mentions."""
    total, many = np.bincount(lemma, hits), np.bincount(lemma)
    known = np.flatnonzero(many)
    rng = np.random.default_rng(0)
    means = []
    for _ in range(DRAWS):
        drawn = rng.choice(known, len(known))
        means.append(total[drawn].sum() / many[drawn].sum())
    low, high = np.quantile(means, [0.025, 0.975])
    return float(hits.mean()), float(low), float(high)


def parts_of(lemma: Ints) -> NDArray[np.int64]:
    """Of each mention its fold, by lemma."""
    made: NDArray[np.int64] = (np.random.default_rng(0).permutation(int(lemma.max()) + 1) % FOLDS)[lemma]
    return made


def measured(model: str = MODEL, folds: int = FOLDS, most: int | None = None) -> dict[str, Share]:
    """The table, as many folds of it, and its shares by name.

    Raises:
        SystemExit: the data is not there.
    """
    place = corpora.DATA / "kg" / "oewn"
    if not (place / "synsets.csv.gz").is_file():
        print(f"skipped: needs Open English WordNet, and {place} has none")
        raise SystemExit(0)
    data = read(place, most)
    every = np.arange(len(data.texts), dtype=np.int64)
    stored = Stored([context or "" for context in data.knowledge.context], model)
    meaning = Meaning(data.knowledge, stored)
    got = meaning.ask(data.texts, every, data.start, data.end, data.mention, data.row)
    compared = senses.parts(got.sides, senses.no_means(got.sides))
    plain = senses.dots(got.sides.text, got.sides.text_of[data.mention], stored.vectors(list(range(len(data.knowledge)))), data.row)
    untrained = senses.untrained(compared, data.mention)
    fold = parts_of(data.lemma)
    seen = fold < folds
    began = time.process_time()
    _, trained = sense_training.crossed(got.sides, data.truth, np.where(seen, fold, -1), meaning.space, meaning.mean)
    seconds = time.process_time() - began
    made: dict[str, Share] = {}
    for name, score, among in (
        ("chance", np.zeros(len(data.row)), seen),
        ("cosine of example and context", plain, seen),
        ("untrained", untrained, seen),
        ("untrained, lemmas on which no weight was chosen", untrained, seen & (data.lemma % 2 == 1)),
        ("trained, lemmas held out", trained, seen),
        ("trained, folds on which no map was chosen", trained, seen & (fold >= CHOSEN)),
    ):
        if not among.any():
            continue
        made[name] = Share(*interval(right(data, score)[among], data.lemma[among]), int(among.sum()))
    title = (
        f"Homonyms: {len(data.texts):,} mentions of {int(data.lemma.max()) + 1:,} lemmas, {len(data.row) / len(data.texts):.1f} senses each"
    )
    note = f"asked: untrained .57, trained .63; {folds} trainings took {seconds:.0f} s of one core"
    rows = [[name, round(share.value, 4), round(share.low, 4), round(share.high, 4)] for name, share in made.items()]
    report.show("linking_homonyms", title, ["accuracy@1", "mean", "low", "high"], rows, note)
    return made


def main() -> None:
    """Print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--only", type=int, default=FOLDS, help="how many of the folds are learned and scored")
    options = parser.parse_args()
    measured(options.model, options.only)


if __name__ == "__main__":
    main()
