"""Compensation of drift: what searches keep when a new model's queries are mapped into the vectors of an old one; and adapters from labels.

Papers of arXiv, all distances exact. Maps are fitted to parts of abstracts, as pgembed.compensate() does it; queries are titles,
which nobody fitted anything to. *kept* is the share of the 10 papers which the old model finds that are found with mapped queries; *own*
counts titles whose own paper is among 10: by the old model, mapped, and with all papers embedded anew by the new model.

Compared are all-MiniLM-L6-v2 and a static model that is distilled from it for this (a minute), both ways, and all-MiniLM-L6-v2 with 384 and
with its first 128 dimensions, both ways. Adapters are fitted to the labels of SciFact and Cranfield, a third of the queries held back.

    python tests/benchmarks/bench_drift.py [--rows 6000] [--sample 2000]
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import bench_quality
import bench_static
import corpora
import numpy as np
import report

from pgembed import errors, models
from pgembed.codes.queries import part_of
from pgembed.models import distill, static_folder
from pgembed.models.static import Static
from pgembed.spaces import compensating, fitting, lowrank, measuring

if TYPE_CHECKING:
    from numpy.typing import NDArray

TEACHER, K, SHORT = "all-minilm-l6-v2", 10, 128
Encode = Callable[[Sequence[str]], "NDArray[np.float32]"]


@dataclasses.dataclass(frozen=True)
class Space:
    """What a model makes of all texts: float32, a line for each."""

    name: str
    papers: NDArray[np.float32]
    parts: NDArray[np.float32]
    titles: NDArray[np.float32]

    def cut(self, dim: int) -> Space:
        """The first dimensions, of length 1 again."""

        def first(rows: NDArray[np.float32]) -> NDArray[np.float32]:
            return rows[:, :dim] / np.linalg.norm(rows[:, :dim], axis=1, keepdims=True)

        return Space(f"{self.name}, {dim} dims", first(self.papers), first(self.parts), first(self.titles))


def static_model(place: Path, quick: bool) -> Static:
    """A static model that knows no corpus, distilled for this; a quick one is made of random numbers."""
    if quick:
        (place / "source").mkdir()
        source = bench_static.folder(place / "source")
        info = static_folder.install_folder(source, place, "bench-drift", source_label="a benchmark")
    else:
        teacher = cast("distill.Teacher", models.load(TEACHER, prompts=False))
        info = distill.distill(teacher, name="bench-drift", target=place, report=lambda line: print(f"  {line}")).info
    return Static(info, (place / "bench-drift" / "current").resolve())


def measure(old: Space, new: Space) -> list[list[report.Cell]]:
    """A line for each kind of map."""
    rows = measuring.Rows(old.papers, "cosine")
    own = [[place] for place in range(len(old.titles))]

    def among(queries: NDArray[np.float32], searched: measuring.Rows) -> float:
        return float(measuring.recalls(measuring.ranks(queries, searched, own), K).mean())

    truth = measuring.nearest(old.titles, rows, K)
    before, anew = among(old.titles, rows), among(new.titles, measuring.Rows(new.papers, "cosine"))
    lines: list[list[report.Cell]] = []
    for method in fitting.METHODS:
        mapped = fitting.fit(method, new.parts, old.parts).apply(new.titles)
        kept = measuring.kept(truth, measuring.nearest(mapped, rows, K))
        use = "yes" if kept >= compensating.LEAST_KEPT else "no"
        lines.append([f"{new.name} -> {old.name}: {method}", kept, before, among(mapped, rows), anew, use])
    return lines


def drift(rows: int, sample: int, queries: int, quick: bool) -> None:
    """The table of maps."""
    found, _ = corpora.arxiv(rows)
    papers = [paper["abstract"] for paper in found]
    # titles of the first papers ask, parts of others are what maps are fitted to
    titles = [paper["title"] for paper in found[:queries]]
    chance = random.Random(1)
    parts = [part_of(text, chance) for text in papers[queries : queries + sample]]
    whole = Space("MiniLM", *(corpora.vectors(texts, TEACHER) for texts in (papers, parts, titles)))
    with tempfile.TemporaryDirectory() as place:
        static = static_model(Path(place), quick)
        distilled = Space("static", *(static.encode(texts).vectors for texts in (papers, parts, titles)))
    short = whole.cut(SHORT)
    lines = [line for old, new in ((whole, distilled), (distilled, whole), (whole, short), (short, whole)) for line in measure(old, new)]
    report.show(
        "drift",
        f"Queries of a new model in the vectors of an old one, {len(papers):,} papers",
        ["new -> old: map", "kept of the old 10", "own, old", "own, mapped", "own, anew", "use it"],
        lines,
        f"{len(parts):,} texts to fit to, {len(titles)} titles as queries; below {compensating.LEAST_KEPT} kept compensate() refuses.",
    )


def adapters(seeds: int, most: int | None) -> None:
    """What labels gain, of so many queries of each corpus."""
    lines: list[list[report.Cell]] = []
    for name, qrels in bench_quality.SETS:
        labelled = _labelled(name, qrels, most)
        if labelled is None:
            continue
        found: list[list[float]] = []
        for seed in range(seeds):
            order = np.random.default_rng(seed).permutation(len(labelled.queries)).tolist()
            count = round(len(order) / 3)
            held, training = labelled.some(order[:count]), labelled.some(order[count:])
            made = lowrank.fit(training, 8, "cosine", seed)
            rows = measuring.Rows(held.rows, "cosine")
            ranks = [measuring.ranks(asked, rows, held.near) for asked in (held.queries, made.apply(held.queries))]
            found.append([float(value(one, K).mean()) for value in (measuring.recalls, measuring.reciprocals) for one in ranks])
        mean = np.mean(found, axis=0).tolist()
        lines.append([name, len(labelled.queries), *mean])
    if lines:
        header = ["corpus", "queries", "recall@10 before", "after", "MRR@10 before", "after"]
        report.show("adapters", "Adapters of rank 8 from labels, held-back queries", header, lines, f"means of {seeds} divisions")


def _labelled(name: str, qrels: str, most: int | None) -> lowrank.Labelled | None:
    """A corpus with labels; None where it is not there."""
    folder = corpora.DATA / "ir" / name
    if not folder.is_dir():
        print(f"skipped: needs labelled queries, and {folder} is not there")
        return None
    documents, queries, relevance = bench_quality.read(folder, qrels)
    if most is not None:
        documents = documents[: 5 * most]
    place = {key: at for at, (key, _) in enumerate(documents)}
    near = {key: [place[one] for one, grade in relevance[key].items() if grade > 0 and one in place] for key, _ in queries}
    asked = [(key, text) for key, text in queries if near[key]][:most]
    vectors = [corpora.vectors([text for _, text in texts], TEACHER) for texts in (asked, documents)]
    return lowrank.Labelled(vectors[0], vectors[1], [near[key] for key, _ in asked], [[] for _ in asked])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--sample", type=int, default=2_000)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    options = parser.parse_args()
    if options.quick:
        options.rows, options.sample, options.queries, options.seeds = 120, 60, 20, 1
    try:
        models.info(TEACHER)
    except errors.PgembedError as error:
        print(f"skipped: {error.message}")
        return
    drift(options.rows, options.sample, options.queries, options.quick)
    adapters(options.seeds, 30 if options.quick else None)


if __name__ == "__main__":
    main()
