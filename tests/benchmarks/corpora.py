"""Texts of two kinds as vectors, and queries that nobody stored: what the benchmarks of codes and of search compare with.

*Packages*: Debian's, as 'name: description'; queries are the descriptions of packages that were left out. *Papers*: abstracts of arXiv;
queries are the titles of papers whose abstracts were left out. Vectors are all-MiniLM-L6-v2's and are kept in the user's cache folder, for
they take some minutes.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import os
import random
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pgembed import demo, models

if TYPE_CHECKING:
    from numpy.typing import NDArray

MODEL = "all-minilm-l6-v2"
ROWS, QUERIES, EXAMPLES = 66_000, 500, 1_000
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@dataclass(frozen=True)
class Corpus:
    """Attributes:
    documents: float32, shape (n, dim), of length 1.
    queries: float32, shape (m, dim), of texts that are not stored.
    examples: the same kind of queries, others: what a codec may learn from.
    """

    name: str
    texts: list[str]
    documents: NDArray[np.float32]
    queries: NDArray[np.float32]

    examples: NDArray[np.float32]

    def truth(self, k: int = 10) -> NDArray[np.int64]:
        """The k nearest rows of each query by cosine, nearest first: int64, shape (m, k)."""
        return np.stack([np.argsort(-row, kind="stable")[:k] for row in self.queries @ self.documents.T])

    def cut(self, dim: int) -> Corpus:
        """The first dimensions of all vectors, of length 1 again."""
        parts = [rows[:, :dim] for rows in (self.documents, self.queries, self.examples)]
        return Corpus(self.name, self.texts, *(rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in parts))


def packages(rows: int = ROWS, queries: int = QUERIES, model: str = MODEL) -> Corpus:
    """Debian's packages; as many rows as there are, at most ``rows``."""
    found = [(name, description) for name, _, _, _, description in demo.debian_packages()]
    if not found:
        print("skipped: needs Debian's package catalogue, and apt-cache dumpavail printed nothing")
        raise SystemExit(0)
    random.Random(5).shuffle(found)
    asked, stored = found[:queries], found[queries : queries + rows]
    # Examples are of packages that are stored: an own row as nearest does no harm to learning, and leaves no more rows out.
    return _embedded(
        "packages",
        [f"{name}: {text}" for name, text in stored],
        [text for _, text in asked],
        [text for _, text in stored[:EXAMPLES]],
        model,
    )


def papers(rows: int = ROWS, queries: int = QUERIES, model: str = MODEL, data: Path = DATA) -> Corpus:
    """Abstracts of arXiv, the first ``rows`` of the data's uniform sample; of its last part those whose titles are not asked for."""
    found, titles = arxiv(rows, queries, data)
    return _embedded("papers", [paper["abstract"] for paper in found], titles[:queries], titles[queries:][:rows], model)


def arxiv(rows: int, queries: int = QUERIES, data: Path = DATA) -> tuple[list[dict[str, str]], list[str]]:
    """Papers to store, and titles of ``queries + EXAMPLES`` others."""
    stored, asked = arxiv_rows(rows, queries, data)
    return stored, [paper["title"] for paper in asked]


def arxiv_rows(rows: int, queries: int = QUERIES, data: Path = DATA) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """The same, with all that is known of the others."""
    files = sorted((data / "tables" / "arxiv").glob("papers_*.csv.gz"))
    if not files:
        print(f"skipped: needs the arXiv tables, and {data} has none")
        raise SystemExit(0)
    stored: list[dict[str, str]] = []
    for file in files[:-1]:
        if len(stored) < rows:
            stored += _read(file)
    last = _read(files[-1])
    asked = random.Random(5).sample(range(len(last)), queries + EXAMPLES)
    if len(stored) < rows:
        left_out = set(asked)
        stored += [paper for place, paper in enumerate(last) if place not in left_out]
    return stored[:rows], [last[place] for place in asked]


def _read(file: Path) -> list[dict[str, str]]:
    with gzip.open(file, "rt", encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def _embedded(name: str, texts: list[str], queries: list[str], examples: list[str], model: str) -> Corpus:
    # in blocks: a larger table takes up what a smaller one has embedded
    blocks = [vectors(texts[first : first + ROWS], model) for first in range(0, len(texts), ROWS)]
    return Corpus(name, texts, np.concatenate(blocks), vectors(queries, model), vectors(examples, model))


def vectors(texts: list[str], model: str) -> NDArray[np.float32]:
    fingerprint = models.info(model).fingerprint
    digest = hashlib.sha256("\0".join([fingerprint, *texts]).encode()).hexdigest()[:24]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pgembed" / "benchmarks"
    place = folder / f"{digest}.npy"
    if not place.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        loaded, parts = models.load(model), []
        for first in range(0, len(texts), 2000):
            parts.append(loaded.encode(texts[first : first + 2000]).vectors)
            print(f"\rembedding {min(len(texts), first + 2000)} of {len(texts)}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        half_written = place.with_suffix(".part.npy")
        np.save(half_written, np.concatenate(parts))
        half_written.rename(place)
    made: NDArray[np.float32] = np.load(place)
    return made
