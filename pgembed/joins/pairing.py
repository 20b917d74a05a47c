"""Pairs of rows: their form and order, and the distance of a pair, which float64 decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Vectors: TypeAlias = npt.NDArray[np.float32]
Metric: TypeAlias = Literal["cosine", "l2", "inner_product"]
Check: TypeAlias = Callable[[], None]
Tell: TypeAlias = Callable[[int], None]


@dataclass(frozen=True)
class Pairs:
    """Pairs of a left and a right row, ordered by left row, then distance, then right row.

    ``left`` and ``right`` are positions in the two inputs, ``rank`` counts a left row's pairs from 1; all arrays have one length.
    """

    left: Ints
    right: Ints
    distance: Floats
    rank: Ints

    def __len__(self) -> int:
        return len(self.left)

    def where(self, keep: Bools) -> Pairs:
        """The pairs for which keep is true, with the ranks they had."""
        return Pairs(self.left[keep], self.right[keep], self.distance[keep], self.rank[keep])


def empty() -> Pairs:
    """No pairs."""
    return Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64), np.empty(0, np.int64))


def concatenated(several: Sequence[Pairs]) -> Pairs:
    """Pairs one behind the other as they are: for those that are of later and later left rows."""
    several = [empty(), *several]
    return Pairs(*(np.concatenate([getattr(pairs, of) for pairs in several]) for of in ("left", "right", "distance", "rank")))


def blocks(n: int, size: int) -> Iterator[slice]:
    """Slices of at most size that cover n."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def numbered(rows: Ints, columns: Ints, distances: Floats) -> Pairs:
    """Pairs that are in order, with their ranks."""
    places = np.arange(len(rows))
    begins = np.ones(len(rows), dtype=bool)
    begins[1:] = rows[1:] != rows[:-1]
    return Pairs(rows, columns, distances, places - np.maximum.accumulate(np.where(begins, places, 0)) + 1)


def best(rows: Ints, columns: Ints, distances: Floats, k: int, keep: Bools | None = None) -> Pairs:
    """The k nearest pairs of each row, in order; of those for which keep is true."""
    if keep is not None:
        rows, columns, distances = rows[keep], columns[keep], distances[keep]
    order = np.lexsort((columns, distances, rows))
    pairs = numbered(rows[order], columns[order], distances[order])
    return pairs.where(pairs.rank <= k)


def merged(several: Sequence[Pairs], k: int) -> Pairs:
    """The k nearest of all, for each left row."""
    together = concatenated(several)
    return best(together.left, together.right, together.distance, k)


def exact(left: Vectors, right: Vectors, metric: str) -> Floats:
    """Distance of left[i] and right[i] in float64; NaN under cosine where one is a zero vector."""
    a, b = left.astype(np.float64), right.astype(np.float64)
    if metric == "l2":
        a -= b
        distance: Floats = np.sqrt(np.einsum("ij,ij->i", a, a))
        return distance
    product: Floats = np.einsum("ij,ij->i", a, b)
    if metric == "cosine":
        with np.errstate(invalid="ignore"):
            cosine = product / np.sqrt(np.einsum("ij,ij->i", a, a) * np.einsum("ij,ij->i", b, b))
        return np.asarray(1.0 - np.clip(cosine, -1.0, 1.0))
    return -product


def largest_component(left: Vectors, right: Vectors) -> float:
    """The largest absolute component, 1 where all are zero."""
    return max(max(float(side.max(initial=0.0)), -float(side.min(initial=0.0))) for side in (left, right)) or 1.0
