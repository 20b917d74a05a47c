"""Recall of every codec against the bytes of its codes, beside FAISS's codecs of the same bytes, on two corpora with queries nobody stored.

Recall@10 is of the ten nearest rows by cosine, first by the codes alone, then after the best R by code are compared by their vectors. Codes
are compared by Hamming distance, as an index does; by the same without the bits that the query is unsure of (masked); or asymmetrically:
the query's own vector with the point that a code stands for. Rows with equal Hamming distances count by the chance that R of them are
taken.

    python tests/benchmarks/bench_codecs.py [--quick] [--only sign,opq] [--corpora packages,papers] [--no-faiss]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import corpora
import numpy as np
import report
from numpy.typing import NDArray

from pgembed import codecs
from pgembed.codecs.contract import Space

KEPT = (10, 20, 50, 100, 200)
MOST = 2000
SAMPLE = 50_000
# (method, options): a ladder of bytes for each family.
LADDER: tuple[tuple[str, dict[str, Any]], ...] = (
    ("sign", {}),
    ("sign", {"centered": True}),
    ("sign", {"rotation": "random", "centered": True}),
    ("sign", {"rotation": "learned", "centered": True}),
    ("thermometer", {"bits": 2, "dims": 192, "rotation": "learned"}),
    ("thermometer", {"bits": 2}),
    ("thermometer", {"bits": 3, "dims": 256, "rotation": "learned"}),
    ("thermometer", {"bits": 3}),
    ("thermometer", {"bits": 4}),
    ("recurrent", {"bits": 2}),
    ("recurrent", {"bits": 2, "rotation": "random"}),
    ("rabitq", {"bits": 1}),
    ("rabitq", {"bits": 2}),
    ("rabitq", {"bits": 4}),
    ("matryoshka", {"dims": 48}),
    ("matryoshka", {"dims": 96}),
    ("pca", {"dims": 48}),
    ("pca", {"dims": 96}),
    ("leanvec", {"dims": 48}),
    ("leanvec", {"dims": 96}),
    ("mpad", {"dims": 48}),
    ("int8", {}),
    ("lvq", {"bits": 4}),
    ("lvq", {"bits": 8}),
    ("pq", {"bytes": 24}),
    ("pq", {"bytes": 48}),
    ("pq", {"bytes": 96}),
    ("opq", {"bytes": 24}),
    ("opq", {"bytes": 48}),
    ("opq", {"bytes": 96}),
)
# One of each family, over vectors of so many dimensions: each is trained in a moment.
QUICK_DIM = 96
QUICK: tuple[tuple[str, dict[str, Any]], ...] = (
    ("sign", {"centered": True}),
    ("thermometer", {"bits": 2}),
    ("recurrent", {"bits": 2}),
    ("rabitq", {"bits": 1}),
    ("matryoshka", {"dims": 48}),
    ("pca", {"dims": 48}),
    ("leanvec", {"dims": 48}),
    ("mpad", {"dims": 8}),
    ("int8", {}),
    ("lvq", {"bits": 4}),
    ("pq", {"bytes": 24}),
    ("opq", {"bytes": 24}),
)
# FAISS's codec -> ours that it is held against.
PEERS = {
    "faiss PQ24": "pq bytes=24",
    "faiss PQ48": "pq bytes=48",
    "faiss PQ96": "pq bytes=96",
    "faiss OPQ48": "opq bytes=48",
    "faiss RaBitQ": "rabitq bits=1",
    "faiss SQ8": "int8",
    "faiss SQ4": "lvq bits=4",
}
Row = tuple[str, str, int, list[float], int | None, float]


def positions(truth: NDArray[np.int64], distances: Callable[[int], NDArray[np.float32]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Of each true neighbour: how many rows have a smaller distance by code, and how many the same one (itself among them)."""
    below, same = np.empty(truth.shape), np.empty(truth.shape)
    for query in range(len(truth)):
        found = distances(query)
        ordered = np.sort(found)
        own = found[truth[query]]
        below[query] = np.searchsorted(ordered, own, "left")
        same[query] = np.searchsorted(ordered, own, "right") - below[query]
    return below, same


def recalls(below: NDArray[Any], same: NDArray[Any]) -> tuple[list[float], int | None]:
    """Recall@10 at each of KEPT, and the smallest R that reaches 0.99, or None."""

    def at(kept: int) -> float:
        return float(np.clip((kept - below) / same, 0, 1).mean())

    low, high = 10, MOST
    if at(high) < 0.99:
        return [at(kept) for kept in KEPT], None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if at(middle) >= 0.99 else (middle + 1, high)
    return [at(kept) for kept in KEPT], low


def ours(corpus: corpora.Corpus, wanted: set[str], ladder: Sequence[tuple[str, dict[str, Any]]] = LADDER) -> Iterator[Row]:
    """Every codec of a ladder."""
    rng = np.random.default_rng(1)
    rows = corpus.documents
    sample = rows[np.sort(rng.choice(len(rows), min(SAMPLE, len(rows)), replace=False))]
    truth = corpus.truth()
    for method, options in ladder:
        if wanted and method not in wanted:
            continue
        name = " ".join([method, *(f"{key}={str(value).lower()}" for key, value in options.items())])
        start = time.perf_counter()
        codec = codecs.train(method, sample, Space(rows.shape[1], "cosine"), options, corpus.examples)
        trained = time.perf_counter() - start
        codes = np.concatenate([codec.encode(rows[at : at + 4096]) for at in range(0, len(rows), 4096)])
        if codec.shape.kind == "bits":
            asked = words(codec.encode(corpus.queries))
            stored = words(codes)

            def hamming(query: int, asked: NDArray[Any] = asked, stored: NDArray[Any] = stored) -> NDArray[np.float32]:
                return np.bitwise_count(stored ^ asked[query]).sum(axis=1, dtype=np.float32)

            yield (name, "hamming", codec.shape.bytes, *recalls(*positions(truth, hamming)), trained)
            bits, masks = map(words, codec.masked(corpus.queries))

            def masked(
                query: int, bits: NDArray[Any] = bits, masks: NDArray[Any] = masks, stored: NDArray[Any] = stored
            ) -> NDArray[np.float32]:
                return np.bitwise_count((stored ^ bits[query]) & masks[query]).sum(axis=1, dtype=np.float32)

            yield (name, "masked", codec.shape.bytes, *recalls(*positions(truth, masked)), trained)
        estimated = np.concatenate([codec.distances(corpus.queries, codes[at : at + 4096]) for at in range(0, len(codes), 4096)], axis=1)
        scan = "halfvec" if codec.shape.kind == "halfvec" else "asymmetric"
        yield (name, scan, codec.shape.bytes, *recalls(*positions(truth, estimated.__getitem__)), trained)


def words(codes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Codes as whole words, filled up with zeros: uint64, shape (n, words)."""
    padded = np.zeros((len(codes), -(-codes.shape[1] // 8) * 8), np.uint8)
    padded[:, : codes.shape[1]] = codes
    return padded.view(np.uint64)


def faiss_rows(corpus: corpora.Corpus, wanted: set[str]) -> Iterator[Row]:
    """FAISS's own, trained on the same sample and searched exhaustively."""
    import faiss

    rows, dim = corpus.documents, corpus.documents.shape[1]
    rng = np.random.default_rng(1)
    sample = rows[np.sort(rng.choice(len(rows), min(SAMPLE, len(rows)), replace=False))]
    truth = corpus.truth()
    made: dict[str, Callable[[], Any]] = {
        "faiss PQ24": lambda: faiss.IndexPQ(dim, 24, 8, faiss.METRIC_INNER_PRODUCT),
        "faiss PQ48": lambda: faiss.IndexPQ(dim, 48, 8, faiss.METRIC_INNER_PRODUCT),
        "faiss PQ96": lambda: faiss.IndexPQ(dim, 96, 8, faiss.METRIC_INNER_PRODUCT),
        "faiss OPQ48": lambda: faiss.IndexPreTransform(faiss.OPQMatrix(dim, 48), faiss.IndexPQ(dim, 48, 8, faiss.METRIC_INNER_PRODUCT)),
        "faiss RaBitQ": lambda: faiss.IndexPreTransform(faiss.RandomRotationMatrix(dim, dim), faiss.IndexRaBitQ(dim, faiss.METRIC_L2)),
        "faiss SQ8": lambda: faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT),
        "faiss SQ4": lambda: faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_4bit, faiss.METRIC_INNER_PRODUCT),
    }
    for name, build in made.items():
        if wanted and PEERS[name].split()[0] not in wanted:
            continue
        index = build()
        start = time.perf_counter()
        index.train(sample)
        trained = time.perf_counter() - start
        index.add(rows)
        most = min(MOST, len(rows))
        _, found = index.search(corpus.queries, most)
        below = np.full(truth.shape, float(len(rows)))
        for query, listed in enumerate(found):
            places = {row: place for place, row in enumerate(listed)}
            below[query] = [places.get(int(row), len(rows)) for row in truth[query]]
        size = index.sa_code_size() if hasattr(index, "sa_code_size") else 0
        yield (name, "asymmetric", int(size), *recalls(below, np.ones(truth.shape)), trained)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--only", default="", help="methods, with commas between")
    parser.add_argument("--corpora", default="packages,papers")
    parser.add_argument("--no-faiss", action="store_true")
    options = parser.parse_args()
    wanted = {name for name in options.only.split(",") if name}
    size = {"rows": 300, "queries": 20} if options.quick else {}
    for which in options.corpora.split(","):
        corpus = (corpora.packages if which == "packages" else corpora.papers)(**size)
        if options.quick:
            corpus = corpus.cut(QUICK_DIM)
        lines: list[Row] = []
        sources = [ours(corpus, wanted, QUICK if options.quick else LADDER)]
        if not options.no_faiss and not options.quick:
            sources.append(faiss_rows(corpus, wanted))
        for source in sources:
            for line in source:
                lines.append(line)
                name, scan, size_of, curve, enough, trained = line
                print(
                    f"{which:<9}{name:<44}{scan:<11}{size_of:>5}  {' '.join(f'{one:.3f}' for one in curve)}  {enough}  {trained:.1f} s",
                    flush=True,
                )
        report.show(
            f"codecs_{which}",
            f"recall@10 by codec, {len(corpus.documents):,} {which}, {len(corpus.queries)} queries",
            ["codec", "compared", "bytes", "no rescoring", "R=20", "R=50", "R=100", "R=200", "R for 0.99", "trained, s"],
            [
                [name, scan, size_of, *(f"{one:.3f}" for one in curve), f"over {MOST}" if enough is None else enough, trained]
                for name, scan, size_of, curve, enough, trained in sorted(lines, key=lambda line: (line[2], line[0]))
            ],
            "the reference are all vectors compared, 1,536 bytes each",
        )


if __name__ == "__main__":
    main()
