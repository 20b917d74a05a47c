"""Entity linking on WebNLG's development texts: accuracy, NIL and time, with and without context.

A script, not a test: ``python tests/benchmarks/bench_linking.py [--fit] [--texts 3000] [--data DIR]``. Linked is to a table made of the
corpus' entities, whose context is an embedding of 'name: facts'. The baseline is the plain sum of two cosines, of character
trigrams with the name and of the text's words with name and facts, which needs no model. --fit prints the weights of
pgembed/linking/ranking.py, fitted on the training texts.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import math
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pgembed import linking, models
from pgembed.linking import candidates, folding, mentions, ranking

MODEL = "all-minilm-l6-v2"
SEED = 7
WITHHELD = 0.25  # share of the entities that are not in the table, for NIL
TYPES = ("name", "description", "pronoun", "demonstrative")
FACTS = 12  # of one entity that go into its context

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Corpus:
    """The entities, as rows, with their contexts."""

    place: dict[str, int]
    names: list[str]
    contexts: list[str]
    is_subject: list[bool]


class Embedder:
    """A model that embeds each text once."""

    def __init__(self) -> None:
        self._model = models.load(MODEL)
        self._known: dict[str, Vectors] = {}

    def __call__(self, texts: Sequence[str]) -> Vectors:
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        self._known.update(zip(new, self._model.encode(new).vectors, strict=True))
        return np.stack([self._known[text] for text in texts])


class Table:
    """Some of the entities as a table to link to; a `linking.Context`."""

    def __init__(self, corpus: Corpus, rows: Sequence[int], embedder: Embedder) -> None:
        self.entity = list(rows)
        self.row = {entity: row for row, entity in enumerate(rows)}
        self.names = [corpus.names[entity] for entity in rows]
        self.contexts = [corpus.contexts[entity] for entity in rows]
        self.dictionary = linking.compile(list(enumerate(self.names)))
        self.embed = embedder
        self._vectors = embedder(self.contexts)

    def vectors(self, rows: list[int]) -> Vectors:
        return self._vectors[rows]

    def nearest(self, vectors: Vectors, k: int) -> list[list[int]]:
        found: list[list[int]] = np.argsort(-(vectors @ self._vectors.T), axis=1)[:, :k].tolist()
        return found


class Baseline:
    """Cosine of TF-IDF vectors of words, added to that of trigrams of the name."""

    def __init__(self, table: Table) -> None:
        self._names = candidates.Trigrams([" ".join(folding.words_of(name)) or "?" for name in table.names])
        counts = [Counter(folding.words_of(context)) for context in table.contexts]
        self._n = len(counts)
        frequency = Counter(word for count in counts for word in count)
        self._idf = {word: math.log1p(self._n / n) for word, n in frequency.items()}
        self._postings: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for row, count in enumerate(counts):
            for word, weight in self._weights(count).items():
                self._postings[word].append((row, weight))

    def _weights(self, count: Counter[str]) -> dict[str, float]:
        weights = {word: n * self._idf.get(word, math.log1p(self._n)) for word, n in count.items()}
        norm = math.sqrt(sum(weight**2 for weight in weights.values())) or 1.0
        return {word: weight / norm for word, weight in weights.items()}

    def names(self, surface: str) -> npt.NDArray[np.float64]:
        scores = np.zeros(self._n)
        words = re.sub(r"^(the|a|an) (?=.)", "", " ".join(folding.words_of(surface)))
        if words:
            found, cosines = self._names.similar(words, self._n)
            scores[found] = cosines
        return scores

    def context(self, text: str) -> npt.NDArray[np.float64]:
        scores = np.zeros(self._n)
        for word, weight in self._weights(Counter(folding.words_of(text))).items():
            for row, other in self._postings.get(word, ()):
                scores[row] += weight * other
        return scores


def read_corpus(folder: Path) -> Corpus:
    """The entities that are no literals, and their facts."""

    def rows(name: str) -> Iterator[dict[str, str]]:
        with gzip.open(folder / name, "rt", encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file)

    entities = [row for row in rows("entities.csv.gz") if row["kind"] == "entity"]
    facts: dict[str, list[str]] = defaultdict(list)
    for triple in rows("kb_triples.csv.gz"):
        predicate = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", triple["predicate"]).replace("_", " ").lower()
        subject, other = (triple[of].strip('"').replace("_", " ") for of in ("subject", "object"))
        facts[triple["subject"]].append(f"{predicate} {other}")
        facts[triple["object"]].append(f"{predicate} of {subject}")
    return Corpus(
        {row["entity"]: place for place, row in enumerate(entities)},
        [row["name"] for row in entities],
        [f"{row['name']}: {', '.join(facts[row['entity']][:FACTS])}" for row in entities],
        [row["is_subject"] == "t" for row in entities],
    )


def read_texts(folder: Path, split: str, n: int | None = None) -> list[dict[str, Any]]:
    """The texts of a split with their mentions, or n of them drawn at random."""
    with gzip.open(folder / f"mentions_{split}.jsonl.gz", "rt", encoding="utf-8") as file:
        texts = [json.loads(line) for line in file]
    return random.Random(SEED).sample(texts, n) if n and n < len(texts) else texts


def gold(text: dict[str, Any]) -> list[dict[str, Any]]:
    return [mention for mention in text["mentions"] if mention["gold"]]


def closed_world(corpus: Corpus, texts: list[dict[str, Any]], embedder: Embedder) -> None:
    """Accuracy of the best candidate at given places, where the table has the entity."""
    table = Table(corpus, [row for row, is_subject in enumerate(corpus.is_subject) if is_subject], embedder)
    baseline = Baseline(table)
    hits: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for text in texts:
        asked = [(m, table.row[e]) for m in gold(text) if (e := corpus.place.get(m["entity"], -1)) in table.row]
        spans = [(mention["start"] + 1, mention["end"] + 1) for mention, _ in asked]
        context = baseline.context(text["text"])
        plain = best_rows(text["text"], table, None, spans)
        full = best_rows(text["text"], table, table, spans)
        for (mention, row), without, with_context in zip(asked, plain, full, strict=True):
            names = baseline.names(mention["surface"])
            said = {
                "trigrams": int(names.argmax()),
                "trigrams + words": int((names + context).argmax()),
                "pgembed, names only": without,
                "pgembed": with_context,
            }
            for method, best in said.items():
                for kind in ("all", mention["type"]):
                    hits[method][kind].append(best == row)
    kinds = ["all", *(kind for kind in TYPES if kind in hits["pgembed"])]
    print(f"\naccuracy@1 at given places, {len(table.names)} entities that are subjects, all of them in the table")
    print(f"  {'':28}" + "".join(f"{kind} ({len(hits['pgembed'][kind])})".rjust(22) for kind in kinds))
    for method, of_kind in hits.items():
        print(f"  {method:28}" + "".join(f"{np.mean(of_kind[kind]):22.3f}" for kind in kinds))


def best_rows(content: str, table: Table, context: Table | None, spans: list[tuple[int, int]]) -> list[int]:
    """The best candidate at each place, also where the decision is nil; -1 for none."""
    found = mentions.find(content, table.dictionary)
    asked = [mentions.Mention(start - 1, end - 1, content[start - 1 : end - 1], given=True) for start, end in spans]
    scored = ranking.scored(content, asked, found, table.dictionary, context)
    return [pairs[0][1] if pairs else -1 for pairs in scored]


def with_withheld(corpus: Corpus, texts: list[dict[str, Any]], embedder: Embedder) -> None:
    """Links and NIL where a quarter of the entities is not in the table: at given places, and found in the text."""
    rows = kept(corpus)
    table = Table(corpus, rows, embedder)
    print(f"\na quarter of the entities withheld: {len(rows)} of {len(corpus.names)} in the table")
    print(f"  {'at given places':28}" + "".join(f"{head:>16}" for head in ("links", "precision", "recall", "NIL precision", "NIL recall")))
    for label, context in (("names only", None), ("with context", table)):
        for least in ("link", "review"):
            count: Counter[str] = Counter()
            for text in texts:
                asked = gold(text)
                spans = [(mention["start"] + 1, mention["end"] + 1) for mention in asked]
                for mention, link in zip(asked, linking.link(text["text"], table.dictionary, context, spans=spans), strict=True):
                    row = table.row.get(corpus.place.get(mention["entity"], -1))
                    linked = link.decision == "link" or link.decision == least
                    count["links"] += linked
                    count["right"] += linked and link.row == row
                    count["known"] += row is not None
                    count["nil"] += not linked
                    count["unknown"] += row is None
                    count["nil right"] += not linked and row is None
            print(
                f"  {f'{label}, {least}':28}{count['links']:16}"
                + "".join(
                    f"{count[a] / max(1, count[b]):16.3f}"
                    for a, b in (("right", "links"), ("right", "known"), ("nil right", "nil"), ("nil right", "unknown"))
                )
            )
    print(f"\n  {'found in the text':28}" + "".join(f"{head:>16}" for head in ("links", "precision", "recall", "F1", "recall of names")))
    everything = Table(corpus, range(len(corpus.names)), embedder)
    for label, target, context in (
        ("names only", table, None),
        ("with context", table, table),
        ("all in table, with context", everything, everything),
    ):
        count = Counter()
        for text in texts:
            end_to_end(corpus, text, target, context, count)
        precision, recall = count["right"] / max(1, count["links"]), count["found"] / max(1, count["known"])
        f1 = 2 * precision * recall / max(1e-9, precision + recall)
        names = count["names found"] / max(1, count["names"])
        print(f"  {label:28}{count['links']:16}{precision:16.3f}{recall:16.3f}{f1:16.3f}{names:16.3f}")


def end_to_end(corpus: Corpus, text: dict[str, Any], table: Table, context: Table | None, count: Counter[str]) -> None:
    """Count a text's links; one is right if it overlaps a mention of its entity, scored or not."""
    links = [link for link in linking.link(text["text"], table.dictionary, context) if link.decision == "link"]
    right: set[tuple[int, int]] = set()
    for link in links:
        marked = [
            m
            for m in text["mentions"]
            if m["start"] < link.end_char - 1
            and link.start_char - 1 < m["end"]
            and table.row.get(corpus.place.get(m["entity"], -1)) == link.row
        ]
        right.update((m["start"], m["end"]) for m in marked)
        inside = any(m["kind"] == "literal" and m["start"] < link.start_char and link.end_char - 1 <= m["end"] for m in text["mentions"])
        # Entities named inside an annotated literal are not annotated themselves: they are neither right nor wrong.
        count["links"] += bool(marked) or not inside
        count["right"] += bool(marked)
    for mention in gold(text):
        if corpus.place.get(mention["entity"], -1) in table.row:
            for kind in ("known", *(["names"] if mention["type"] == "name" else [])):
                count[kind] += 1
                count["found" if kind == "known" else "names found"] += (mention["start"], mention["end"]) in right


def kept(corpus: Corpus) -> list[int]:
    """The entities that are not withheld."""
    draw = np.random.default_rng(SEED).random(len(corpus.names))
    return np.flatnonzero(draw >= WITHHELD).tolist()


def speed(corpus: Corpus, texts: list[dict[str, Any]]) -> None:
    """Seconds to compile and to find mentions, by number of names and length of text."""
    print("\ntime without context")
    words = sorted({word for context in corpus.contexts for word in folding.words_of(context)})
    chosen = random.Random(SEED)
    for n in (3_000, 100_000):
        names = [" ".join(chosen.choices(words, k=chosen.randint(1, 4))) for _ in range(n - 1_000)] + corpus.names[:1_000]
        start = time.perf_counter()
        dictionary = linking.compile(list(enumerate(names)))
        for part in ("spellings", "word_spellings", "trigrams"):
            getattr(dictionary, part)
        compiled = time.perf_counter() - start
        took = []
        content = " ".join(text["text"] for text in texts) * 4
        for length in (1_000, 100_000, 1_000_000):
            start = time.perf_counter()
            linking.link(content[:length], dictionary)
            took.append(f"{length:,} characters {(time.perf_counter() - start) * 1e3:.0f} ms")
        print(f"  {n:,} names: compile {compiled * 1e3:.0f} ms; {', '.join(took)}")


def fit(corpus: Corpus, texts: list[dict[str, Any]], embedder: Embedder) -> None:
    """Print the weights that make the right decisions most probable, by gradient descent."""
    table = Table(corpus, kept(corpus), embedder)
    for context in (True, False):
        examples: list[tuple[npt.NDArray[np.float64], int]] = []
        for text in texts:
            content = text["text"]
            ranker = ranking.Ranker(mentions.find(content, table.dictionary), table.dictionary)
            passages = ranking.Passages(content)
            for gold_mention in gold(text):
                if gold_mention["type"] == "pronoun":
                    continue  # context alone decides there, and would get its weight from them
                mention = mentions.Mention(gold_mention["start"], gold_mention["end"], gold_mention["surface"], given=True)
                rows = ranker.candidates(mention)
                first, last = passages.of(mention.start)
                vector = embedder([content[first:last]])
                if context:
                    rows |= {row: (0.0, 0.0) for row in table.nearest(vector, ranking.DENSE_CANDIDATES)[0] if row not in rows}
                cosine = (table.vectors(list(rows)) @ vector[0]).tolist() if context else [0.0] * len(rows)
                right = table.row.get(corpus.place.get(gold_mention["entity"], -1))
                features = [
                    (similarity, equal, (1 - similarity) ** 2, cos, (1 - similarity) * ranker.names_elsewhere(row, mention), 0.0)
                    for (row, (similarity, equal)), cos in zip(rows.items(), cosine, strict=True)
                ]
                listed = [*rows, None]
                if right in listed:
                    examples.append((np.array([*features, (0.0,) * 5 + (1.0,)]), listed.index(right)))
        weights = maximum_likelihood(examples)
        print(f"  {'WITH' if context else 'WITHOUT'}_CONTEXT = Weights({', '.join(f'{w:.2f}' for w in weights)})")


def maximum_likelihood(examples: list[tuple[npt.NDArray[np.float64], int]], steps: int = 3_000) -> npt.NDArray[np.float64]:
    """Weights of a conditional logit, by Adam with a little weight decay."""
    most = max(len(features) for features, _ in examples)
    x = np.zeros((len(examples), most, 6))
    absent = np.full((len(examples), most), -1e9)
    y = np.array([right for _, right in examples])
    for i, (features, _) in enumerate(examples):
        x[i, : len(features)], absent[i, : len(features)] = features, 0.0
    weights, mean, square = np.zeros(6), np.zeros(6), np.zeros(6)
    for step in range(1, steps + 1):
        utility = x @ weights + absent
        share = np.exp(utility - utility.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        share[np.arange(len(y)), y] -= 1.0
        gradient = np.einsum("nk,nkd->d", share, x) / len(y) + 1e-3 * weights
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        weights -= 0.03 * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
    return weights


def main() -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--fit", action="store_true", help="fit the weights on training texts and print them")
    parser.add_argument("--texts", type=int, default=3_000, help="training texts for --fit (default: %(default)s)")
    beside = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    parser.add_argument("--data", type=Path, default=beside, help="folder of the data")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    options = parser.parse_args()
    folder = options.data / "webnlg"
    if not folder.is_dir():
        parser.exit(0, f'skipped: no data in "{folder}"\n')
    if MODEL not in {info.name for info in models.installed()}:
        parser.exit(1, f"not installed: {MODEL}; python -m pgembed.models.conversion.convert does it\n")
    corpus, embedder = read_corpus(folder), Embedder()
    if options.fit:
        fit(corpus, read_texts(folder, "train", options.texts), embedder)
        return
    texts = read_texts(folder, "dev", 20 if options.quick else None)
    if options.quick:
        closed_world(corpus, texts, embedder=embedder)
        return
    for part in (partial(closed_world, embedder=embedder), partial(with_withheld, embedder=embedder), speed):
        part(corpus, texts)


if __name__ == "__main__":
    main()
