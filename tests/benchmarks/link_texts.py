"""Linking of texts with nothing given but the text: which entities each text names, and how many texts a second.

Two parts of bench_linking.py; a script by itself too: ``python tests/benchmarks/link_texts.py [--quick] [--only alone,speed]``.

Text alone: a text's set of linked entities against the set of its gold entities, F1 over all (text, entity) pairs (micro) and mean over
texts (macro). Not counted are links at places that are annotated as something else than a gold mention, literals above all, unless their
entity is a gold one of the text: what is named in an annotated literal ("Cleveland, Ohio 44114") has no annotation of its own. Span F1 asks
for the same two offsets and the same entity.

Speed: processor time of one core. The lexical part is detection, candidates, features and ranking in batches; with int8 MiniLM the rate is
that of embedding alone in the same run, each text once.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import link_data
import numpy as np
from report import show

from pgembed import models
from pgembed.linking.contract import Facts, Knowledge, Link, Vectors
from pgembed.linking.detecting import Detector
from pgembed.linking.engine import Linker, Model, train

PARTS = ("alone", "speed")
MODEL = "all-minilm-l6-v2-int8"
BATCH = 1_000
ROUNDS = 5


@dataclass(frozen=True)
class Alone:
    """What came of texts alone, with 95 % intervals by bootstrap over texts."""

    micro: link_data.Share
    macro: link_data.Share
    precision: link_data.Share
    recall: link_data.Share
    spans: link_data.Share


def alone(texts: Sequence[link_data.Text], row: dict[str, int], links: Sequence[Sequence[Link]]) -> Alone:
    """Score links that were found in texts; `row` is of each key, entities that are not in the table cannot be missed."""
    count = np.zeros((len(texts), 6))
    for at, (text, found) in enumerate(zip(texts, links, strict=True)):
        wanted = {row[key] for key in text.keys if key in row}
        gold = {(*span, row[key]) for span, key in zip(text.spans, text.keys, strict=True) if key in row}
        linked = [link for link in found if link.decision == "link" and link.row is not None]
        counted = [
            link
            for link in linked
            if link.row in wanted or not any(link.start_char < end and start < link.end_char for start, end in text.others)
        ]
        said = {link.row for link in counted}
        same = sum((link.start_char, link.end_char, link.row) in gold for link in counted)
        count[at] = len(said & wanted), len(said), len(wanted), same, len(counted), len(gold)
    right, said_n, wanted_n, same_n, links_n, gold_n = count.T
    number = np.arange(len(texts))
    nothing = (said_n + wanted_n) == 0
    each = np.where(nothing, 1.0, 2 * right / np.maximum(1, said_n + wanted_n))
    return Alone(
        link_data.share(2 * right, said_n + wanted_n, number),
        link_data.share(each, np.ones(len(texts)), number),
        link_data.share(right, said_n, number),
        link_data.share(right, wanted_n, number),
        link_data.share(2 * same_n, links_n + gold_n, number),
    )


def linked(linker: Linker, texts: Sequence[str]) -> list[list[Link]]:
    """Link in batches."""
    return [links for begin in range(0, len(texts), BATCH) for links in linker.link(texts[begin : begin + BATCH])]


def text_alone(split: link_data.Split, model: Model | None) -> list[tuple[str, Alone]]:
    """The table of the figures, untrained and, with a model, trained."""
    row = {key: at for at, key in enumerate(split.knowledge.keys)}
    texts = split.texts
    made = []
    for label, learned in (("untrained", None), ("trained", model)):
        if label == "untrained" or learned is not None:
            links = linked(Linker(split.knowledge, model=learned), [text.content for text in texts])
            made.append((label, alone(texts, row, links)))
    show(
        "linking_text_alone",
        f"text alone, {split.name}: {len(texts)} texts",
        ("", "entity sets F1", "95 %", "mean over texts", "precision", "recall", "spans F1"),
        [(label, *figures(of)) for label, of in made],
        "asked: F1 of entity sets at least 0.95",
    )
    return made


def figures(of: Alone) -> tuple[float | str, ...]:
    """A line of the table."""
    return of.micro.value, f"{of.micro.low:.3f}-{of.micro.high:.3f}", of.macro.value, of.precision.value, of.recall.value, of.spans.value


def seconds(run: Callable[[], object], least: float = 1.0) -> float:
    """Processor time of a call: the least of three, or of one that takes long."""
    best = float("inf")
    for _ in range(3):
        begin = time.process_time()
        run()
        best = min(best, time.process_time() - begin)
        if best > least:
            break
    return best


def once(run: Callable[[], object]) -> float:
    """Processor time of one call."""
    begin = time.process_time()
    run()
    return time.process_time() - begin


class Context:
    """An embedded column of the entities: 'name: facts'; each text is embedded as often as it is asked for; `embedded` counts them."""

    def __init__(self, knowledge: Knowledge) -> None:
        self.space = MODEL
        self._model = models.load(MODEL)
        facts: list[list[str]] = [[] for _ in knowledge.keys]
        for row, relation, text in zip(knowledge.facts.row.tolist(), knowledge.facts.relation.tolist(), knowledge.facts.text, strict=True):
            facts[row].append(f"{knowledge.relations[relation]} {text}")
        self.embedded = 0
        self._rows = self.embed([f"{name}: {', '.join(some[:12])}" for name, some in zip(knowledge.names, facts, strict=True)])

    def embed(self, texts: list[str]) -> Vectors:
        self.embedded += len(texts)
        return self._model.encode(texts).vectors

    def vectors(self, rows: list[int]) -> Vectors:
        return self._rows[rows]

    def nearest(self, vectors: Vectors, k: int) -> list[list[int]]:
        found: list[list[int]] = np.argsort(-(vectors @ self._rows.T), axis=1)[:, :k].tolist()
        return found


def wordnet(data: Path) -> Knowledge:
    """Open English WordNet: a row for each synset, its lemmas as names, its hypernym as relation."""
    with gzip.open(data / "kg" / "oewn" / "synsets.csv.gz", "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    lemmas = [row["lemmas"].split("|") for row in rows]
    number = {row["synset"]: at for at, row in enumerate(rows)}
    pairs = np.array([(at, number[row["first_hypernym"]]) for at, row in enumerate(rows) if row["first_hypernym"] in number]).reshape(-1, 2)
    above = [lemmas[at][0] for at in pairs[:, 1].tolist()]
    facts = Facts(pairs[:, 0], np.zeros(len(pairs), np.int64), pairs[:, 1], above)
    return Knowledge(
        list(number),
        [some[0] for some in lemmas],
        [tuple(some[1:]) for some in lemmas],
        [(row["lexfile"].split(".")[-1],) for row in rows],
        [row["definition"] for row in rows],
        ["kind of"],
        facts,
    )


def speed(corpus: link_data.Corpus, model: Model | None, data: Path, quick: bool) -> list[tuple[str, float, float]]:
    """Texts a second, and what a table of 100,000 rows and a text of a megabyte cost; what was asked, and what was measured."""
    texts = [text.content for text in corpus.dev[: 100 if quick else 2_000]]
    rows: list[tuple[str, float | str, str]] = []
    detector = Detector(corpus.knowledge)
    rows.append((f"detection alone, {len(corpus.knowledge):,} rows", len(texts) / seconds(lambda: detector.find(texts)), "texts/s"))
    untrained = Linker(corpus.knowledge)
    rate = {"untrained": len(texts) / seconds(lambda: linked(untrained, texts))}
    if model is not None:
        trained = Linker(corpus.knowledge, model=model)
        rate["trained"] = len(texts) / seconds(lambda: linked(trained, texts))
    rows += [(f"lexical part, {label}", value, "texts/s") for label, value in rate.items()]
    asked = [(f"lexical part, {label}, texts/s", 1000.0, value) for label, value in rate.items()]
    if MODEL in {info.name for info in models.installed()}:
        context = Context(corpus.knowledge)
        some, others = texts[: 50 if quick else 400], [text.content for text in corpus.train[:20]]
        dense = Linker(corpus.knowledge, context)
        linked(dense, others)
        context.embed(others)
        # In turns, each text once: neither what is kept of a text nor what else the machine does may count.
        both = alone_seconds = 0.0
        embedded = 0
        for first in range(0, len(some), len(some) // ROUNDS):
            part = some[first : first + len(some) // ROUNDS]
            context.embedded = 0
            both += once(lambda part=part: linked(dense, part))
            embedded += context.embedded
            alone_seconds += once(lambda part=part: context.embed(part))
        rows.append((f"{MODEL}: embedding alone", len(some) / alone_seconds, "texts/s"))
        rows.append((f"{MODEL}: detection, linking and embedding", len(some) / both, "texts/s"))
        rows.append((f"{MODEL}: texts and surfaces that linking embedded, of {len(some)} texts", float(embedded), ""))
        asked.append((f"{MODEL}: share of the rate of embedding alone", 0.6, alone_seconds / both))
    million = (" ".join(texts) * 20)[: 100_000 if quick else 1_000_000]
    rows.append((f"a text of {len(million):,} characters, {len(corpus.knowledge):,} rows", seconds(lambda: untrained.link([million])), "s"))
    if (data / "kg" / "oewn").is_dir() and not quick:
        knowledge = wordnet(data)
        begin = time.process_time()
        linker = Linker(knowledge)
        linker.link(texts[:1])
        rows.append((f"WordNet, {len(knowledge):,} rows: compiled, with the first text", time.process_time() - begin, "s"))
        took = []
        for text in texts[1:51]:
            begin = time.process_time()
            linker.link([text])
            took.append(1e3 * (time.process_time() - begin))
        rows.append((f"WordNet, {len(knowledge):,} rows: one text (asked 60)", float(np.median(took)), "ms"))
        large = Detector(knowledge)
        large.find(texts[:2])
        rows.append((f"detection alone, {len(knowledge):,} rows", len(texts) / seconds(lambda: large.find(texts)), "texts/s"))
        changed = large.changed(range(10), [(row, f"{name} again") for row, name in enumerate(knowledge.names[:10])])
        rows.append((f"ten of {len(knowledge):,} rows changed: names", 1e3 * seconds(lambda: changed.find(texts[:1])), "ms"))
    show("linking_speed", "time of one core", ("", "measured", ""), rows)
    return asked


def main() -> None:
    """Run the parts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--data", type=Path, default=link_data.DATA, help="folder of the data")
    options = parser.parse_args()
    corpus = link_data.read(options.data)
    split = corpus.on_dev()
    model = train(split.knowledge, split.examples[: 300 if options.quick else None])
    if "alone" in options.only.split(","):
        text_alone(split.some(50) if options.quick else split, model)
    if "speed" in options.only.split(","):
        speed(corpus, model, options.data, options.quick)


if __name__ == "__main__":
    main()
