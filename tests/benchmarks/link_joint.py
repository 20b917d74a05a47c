"""The joint space alone: cosine in the space, no other feature, no joint decision, no memory. A part of bench_linking.py.

>>> link_joint.measured(link_data.read())
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import link_data
import numpy as np
import numpy.typing as npt
from link_data import Corpus, Split

from pgembed.joint import maps, space, training, zones
from pgembed.joint.features import Inputs
from pgembed.linking.contract import Example, Knowledge


@dataclass(frozen=True)
class Figures:
    """What was measured: accuracies by set, and seconds of this process.

    Attributes:
        accuracy: by set ("dev", "held out", each untrained too) and kind.
        fitting: seconds of one fit.
        texts: texts that are mapped in a second, zones included.
    """

    accuracy: dict[str, dict[str, link_data.Accuracy]]
    fitting: float
    texts: float


def rows(knowledge: Knowledge) -> Inputs:
    """A table as the right side."""
    facts, known = knowledge.facts, knowledge
    return zones.rows(
        known.names, known.aliases, known.types, known.context, known.relations, facts.row, facts.relation, facts.other, facts.text
    )


def mentions(contents: list[str], spans: list[list[tuple[int, int]]]) -> Inputs:
    """Places, 1-based, as the left side."""
    text = np.repeat(np.arange(len(contents)), [len(of) for of in spans])
    places = np.array([span for of in spans for span in of], dtype=np.int64).reshape(-1, 2) - 1
    return zones.mentions(contents, text, places[:, 0], places[:, 1])


def fitted(knowledge: Knowledge, right: Inputs, examples: list[Example], texts: int = 8_000, seed: int = 0) -> maps.Maps:
    """Maps learned from labels; of more texts than so many some are drawn."""
    place = {key: row for row, key in enumerate(knowledge.keys)}
    examples = [example for example in examples if example.spans]
    chosen = np.sort(np.random.default_rng(seed).permutation(len(examples))[:texts]).tolist()
    examples = [examples[at] for at in chosen]
    left = mentions([example.content for example in examples], [list(example.spans) for example in examples])
    truth = np.array([place.get(key or "", -1) for example in examples for key in example.keys])
    known = np.flatnonzero(truth >= 0)
    return training.fit(left, right, np.stack([known, truth[known]], axis=1), seed=seed)


def scored(split: Split, learned: maps.Maps, right: Inputs) -> dict[str, link_data.Accuracy]:
    """The place of the right row among all, by kind."""
    left = learned.left(mentions(split.contents, [list(spans) for spans in split.spans]))
    vectors = learned.right(right)
    rank = np.empty(len(left), dtype=np.int64)
    for first in range(0, len(left), 1_000):
        score: npt.NDArray[np.float32] = left[first : first + 1_000] @ vectors.T
        truth = split.row[first : first + 1_000]
        rank[first : first + 1_000] = (score > score[np.arange(len(score)), truth][:, None]).sum(1)
    counts = split.scored
    return link_data.by_kind(rank[counts], split.text[counts], split.kind[counts])


def measured(corpus: Corpus, folds: tuple[int, ...] = (0, 1, 2, 3, 4), quick: bool = False) -> Figures:
    """Set (a) and set (b), untrained and trained."""
    right = rows(corpus.knowledge)
    plain = maps.untrained(right, len(zones.FORM))
    accuracy: dict[str, dict[str, link_data.Accuracy]] = {}
    parts: list[dict[str, link_data.Accuracy]] = []
    before: list[dict[str, link_data.Accuracy]] = []
    for fold in folds[:1] if quick else folds:
        split = corpus.held_out(fold)
        before.append(scored(split, plain, right))
        parts.append(scored(split, fitted(corpus.knowledge, right, split.examples, 300 if quick else 8_000), right))
    accuracy["held out, untrained"], accuracy["held out"] = link_data.together(before), link_data.together(parts)
    split = corpus.on_dev()
    began = time.process_time()
    learned = fitted(corpus.knowledge, right, split.examples, 300 if quick else 8_000)
    fitting = time.process_time() - began
    accuracy["dev, untrained"], accuracy["dev"] = scored(split, plain, right), scored(split, learned, right)
    began = time.process_time()
    space.space(learned, right)
    for first in range(0, len(split.texts), 256):
        batch = split.texts[first : first + 256]
        learned.left(mentions([text.content for text in batch], [list(text.spans) for text in batch]))
    return Figures(accuracy, fitting, len(split.texts) / (time.process_time() - began))


def main() -> None:
    """By itself: print the figures."""
    figures = measured(link_data.read(), quick="--quick" in sys.argv)
    for name, kinds in figures.accuracy.items():
        for kind, found in kinds.items():
            print(f"{name:20} {kind:14} @1 {found.at(1)}   @10 {found.at(10)}   n {len(found.rank)}")
    print(f"fitting {figures.fitting:.1f} s, mapping {figures.texts:.0f} texts/s of this process's time")


if __name__ == "__main__":
    main()
