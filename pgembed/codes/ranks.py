"""ranks: where the true neighbours of queries stand in the order of codes, counted while pages of vectors go by."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgembed import errors
from pgembed.codes.queries import Place

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pgembed.codecs.contract import Codec, Codes

K = 10
MOST_RESCORE = 10_000  # beyond, a code saves nothing

# Standard errors, one-sided. Of a normal mean 1.645 were enough for 19 of 20; a mean of recalls leans to one side, for queries that miss
# the few hard ones take both recall and chance for better than they are (simulated: 1.645 holds 92 times of 100).
SURE = 2.0

# Neighbours that are kept by float32 distances, of which the first K by float64 are the true ones.
_KEPT = K + 6
# Every so many-th row tells the distortion, whose points take as long to make as distances.
_STRIDE = 8


@dataclass(frozen=True)
class Ranks:
    """Where the true neighbours of queries stand in the order of codes.

    Attributes:
        smaller: float64, shape (m, k): rows whose code is nearer than the neighbour's.
        ties: float64, shape (m, k): rows whose code is as near, itself among them.
    """

    smaller: NDArray[np.float64]
    ties: NDArray[np.float64]

    def found(self, most: int) -> NDArray[np.float64]:
        """Recall of each query where so many candidates are rescored: float64, shape (m,)."""
        made: NDArray[np.float64] = ((most - self.smaller) / self.ties).clip(0, 1).mean(axis=1)
        return made

    def recall(self, most: int) -> float:
        """Its mean."""
        return float(self.found(most).mean())

    def noise(self, most: int) -> float:
        """The standard error of that mean."""
        found = self.found(most)
        return float(found.std(ddof=1) / math.sqrt(len(found))) if len(found) > 1 else 1.0

    def surely(self, most: int) -> float:
        """What as many other queries of the same kind find at least, 19 times of 20.

        Both means are of chance, so their difference varies by the square root of two. As if there were one query more that misses a
        tenth: queries that all find everything prove no certainty.
        """
        found: list[float] = [*self.found(most).tolist(), 0.9]
        mean = sum(found) / len(found)
        variance = sum((value - mean) ** 2 for value in found) / (len(found) - 1)
        return mean - SURE * math.sqrt(2 * variance / len(found))

    def reaches(self, level: float, by: Callable[[Ranks, int], float]) -> int | None:
        """The smallest number of candidates, at least k, with which the recall is at least a level; None above MOST_RESCORE.

        Args:
            by: what counts as the recall: `recall` or `surely`.
        """
        low, high = int(self.smaller.shape[1]), MOST_RESCORE
        if by(self, high) < level:
            return None
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if by(self, middle) >= level else (middle + 1, high)
        return low


@dataclass(frozen=True)
class Neighbours:
    """The true neighbours of each query.

    Attributes:
        vectors: float32, shape (m, k, dim).
        by_place: the queries of which a row is a neighbour.
    """

    k: int
    vectors: NDArray[np.float32]
    by_place: dict[Place, list[int]]

    def out_of(self, places: list[Place], left_out: list[Place | None]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Queries and positions in a page that are not counted: neighbours, which are compared with each other, and rows left out."""
        import numpy as np

        own: dict[Place, list[int]] = {}
        for query, row in enumerate(left_out):
            if row is not None:
                own.setdefault(row, []).append(query)
        pairs = [
            (query, position) for position, place in enumerate(places) for query in (*self.by_place.get(place, ()), *own.get(place, ()))
        ]
        made = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        return made[:, 0], made[:, 1]


class Truth:
    """The nearest rows of each query, while pages go by."""

    def __init__(self, asked: NDArray[np.float32], left_out: list[Place | None], metric: str) -> None:
        import numpy as np

        self._asked = asked
        self._metric = metric
        self._centre: NDArray[np.float32] | None = None
        self._distances = np.full((len(asked), _KEPT), np.inf, dtype=np.float32)
        self._vectors = np.zeros((len(asked), _KEPT, asked.shape[1]), dtype=np.float32)
        self._places: list[list[Place | None]] = [[None] * _KEPT for _ in asked]
        self._own: dict[Place, list[int]] = {}
        for query, row in enumerate(left_out):
            if row is not None:
                self._own.setdefault(row, []).append(query)
        self.rows = 0

    def add(self, places: list[Place], page: NDArray[np.float32]) -> None:
        """Look at a page."""
        import numpy as np

        self.rows += len(page)
        if self._centre is None:
            # An L2 distance is the same from anywhere, and loses least from nearby.
            self._centre = page.mean(axis=0) if self._metric == "l2" else np.zeros_like(page[0])
        found = _exact(self._asked - self._centre, page - self._centre, self._metric)
        for position, place in enumerate(places):
            for query in self._own.get(place, ()):
                found[query, position] = np.inf
        # Most pages have few rows that are nearer than what is kept.
        kept = self._distances
        last = kept.max(axis=1)
        for query in np.flatnonzero((found < last[:, None]).any(axis=1)).tolist():
            near = np.flatnonzero(found[query] < last[query])
            if len(near) > _KEPT:
                near = near[np.argpartition(found[query, near], _KEPT - 1)[:_KEPT]]
            both = np.concatenate([kept[query], found[query, near]])
            best = np.argsort(both, kind="stable")[:_KEPT]
            kept[query] = both[best]
            self._vectors[query] = np.concatenate([self._vectors[query], page[near]])[best]
            pool = [*self._places[query], *(places[at] for at in near)]
            self._places[query] = [pool[at] for at in best]

    def end(self, label: str) -> Neighbours:
        """The true neighbours, by distances in float64.

        Args:
            label: the column in messages.
        Raises:
            errors.InvalidParameter: a query has none.
        """
        import numpy as np

        k = min(K, int(np.isfinite(self._distances).sum(axis=1).min()))
        if k == 0:
            raise errors.InvalidParameter(
                f"{label} has {self.rows} vectors, too few to measure on", hint="Codecs are for columns of thousands of vectors."
            )
        vectors = np.empty((len(self._asked), k, self._asked.shape[1]), dtype=np.float32)
        by_place: dict[Place, list[int]] = {}
        for query, asked in enumerate(self._asked):
            centre = 0.0 if self._centre is None else self._centre.astype(np.float64)
            exact = _exact(asked[None, :] - centre, self._vectors[query] - centre, self._metric)[0]
            exact[~np.isfinite(self._distances[query])] = np.inf
            best = np.argsort(exact, kind="stable")[:k]
            vectors[query] = self._vectors[query, best]
            for at in best:
                place = self._places[query][at]
                assert place is not None  # its distance is finite
                by_place.setdefault(place, []).append(query)
        return Neighbours(k, vectors, by_place)


class Tally:
    """Ranks by one codec, while pages go by."""

    def __init__(self, codec: Codec, asked: NDArray[np.float32], neighbours: Neighbours) -> None:
        import numpy as np

        self._codec = codec
        self._asked = asked
        m, k, dim = neighbours.vectors.shape
        of_queries: dict[str, NDArray[np.float32] | None] = {"asymmetric": None}
        if codec.shape.kind == "bits":
            of_queries["hamming"] = _signs(codec, codec.encode(asked))
        masked = codec.masked(asked)
        if masked is not None:
            # what is left out is 0, so that it neither agrees nor differs
            of_queries["masked"] = _signs(codec, masked[0]) * np.unpackbits(masked[1], axis=1, count=codec.shape.length)
        self.ways = {
            scan: Way(signs, np.empty((m, k), np.float32), np.empty((m, k), np.float32), np.zeros((m, k)), np.zeros((m, k)))
            for scan, signs in of_queries.items()
        }
        for begin in range(0, m, 32):
            part = slice(begin, min(begin + 32, m))
            near = neighbours.vectors[part]
            codes = codec.encode(near.reshape(-1, dim))
            lengths = np.sqrt(np.einsum("ijk,ijk->ij", near, near))
            signs = self._signs(codes)
            for way in self.ways.values():
                found = self._distances(way, codes, signs, part).reshape(len(near), len(near), k)
                own = found[np.arange(len(near)), np.arange(len(near))]
                way.own[part] = own
                way.slack[part] = 0 if way.signs is not None else _slack(codec.space.metric, asked[part], lengths, own)
        self._seconds = 0.0
        self._encoded = 0
        self._squares = self._explained = 0.0

    def add(self, page: NDArray[np.float32], out: tuple[NDArray[np.int64], NDArray[np.int64]]) -> None:
        """Encode a page and count."""
        import numpy as np

        began = time.perf_counter()
        codes = self._codec.encode(page)
        self._seconds += time.perf_counter() - began
        self._encoded += len(page)
        signs = self._signs(codes)
        for way in self.ways.values():
            found = self._distances(way, codes, signs, slice(None))
            found[out] = np.inf
            query, position = np.nonzero(found <= (way.own + way.slack).max(axis=1)[:, None])
            value = found[query, position]
            for j in range(way.own.shape[1]):
                own, slack = way.own[query, j], way.slack[query, j]
                nearer = value < own - slack
                way.smaller[:, j] += np.bincount(query, weights=nearer, minlength=len(found))
                way.ties[:, j] += np.bincount(query, weights=~nearer & (value <= own + slack), minlength=len(found))
        points = self._codec.points(codes[::_STRIDE])
        seen = self._codec.space.prepared(page[::_STRIDE])
        # A prefix scales what it projects, so that a cosine comes out; here it is compared with what is left out too.
        turned = getattr(self._codec, "_reduced", self._codec._project)(seen)
        products = np.einsum("ij,ij->i", turned, points, dtype=np.float64)
        lengths = np.einsum("ij,ij->i", points, points, dtype=np.float64)
        self._squares += float(np.einsum("ij,ij->", seen, seen, dtype=np.float64))
        self._explained += float((products**2 / np.where(lengths > 0, lengths, 1)).sum())

    def ranks(self, part: slice, scale: NDArray[np.float64]) -> dict[str, Ranks]:
        """What was counted of some of the queries: by ``asymmetric`` distance, and where codes are bits by ``hamming`` and ``masked``.

        Args:
            scale: float64, shape (m,): how many rows each row stands for that was looked at.
        """
        return {scan: way.ranks(part, scale) for scan, way in self.ways.items()}

    @property
    def distortion(self) -> float:
        """See `pgembed.codes.measuring.Measured`."""
        return max(0.0, 1 - self._explained / self._squares) if self._squares else 1.0

    @property
    def encode_rate(self) -> float:
        """Vectors a second."""
        return self._encoded / max(self._seconds, 1e-9)

    def _signs(self, codes: Codes) -> NDArray[np.float32] | None:
        return _signs(self._codec, codes) if self._codec.shape.kind == "bits" else None

    def _distances(self, way: Way, codes: Codes, signs: NDArray[np.float32] | None, part: slice) -> NDArray[np.float32]:
        """Shape (queries, codes).

        Args:
            signs: of the codes; None where they are no bits.
        """
        if way.signs is None or signs is None:
            return self._codec.distances(self._asked[part], codes)
        # Bits as -1 and 1: as many as agree less as many as differ.
        asked = way.signs[part]
        agree: NDArray[np.float32] = asked @ signs.T
        agree -= abs(asked).sum(axis=1)[:, None]
        agree *= -0.5
        return agree


@dataclass
class Way:
    """One way to compare codes.

    Attributes:
        signs: float32 (m, bits) of the queries' codes, 0 for bits that are left out; None where queries are not compressed.
        own: float32 (m, k): distance of each true neighbour by its code.
        slack: float32 (m, k): by how much equal distances may differ in float32.
        smaller, ties: float64 (m, k): rows counted so far, the neighbours not among them.
    """

    signs: NDArray[np.float32] | None
    own: NDArray[np.float32]
    slack: NDArray[np.float32]
    smaller: NDArray[np.float64]
    ties: NDArray[np.float64]

    def ranks(self, part: slice, scale: NDArray[np.float64]) -> Ranks:
        own, slack = self.own[part], self.slack[part]
        nearer = own[:, None, :] < (own - slack)[:, :, None]
        equal = abs(own[:, None, :] - own[:, :, None]) <= slack[:, :, None]  # itself too
        times = scale[part, None]
        return Ranks(self.smaller[part] * times + nearer.sum(axis=2), self.ties[part] * times + equal.sum(axis=2))


def _signs(codec: Codec, codes: Codes) -> NDArray[np.float32]:
    import numpy as np

    made: NDArray[np.float32] = np.unpackbits(codes, axis=1)[:, : codec.shape.length].astype(np.float32)
    made *= 2
    made -= 1
    return made


def _slack(metric: str, asked: NDArray[np.float32], lengths: NDArray[np.float32], own: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far two float32 computations of one distance may differ: float32, shape (m, k)."""
    import numpy as np

    of_query = np.sqrt(np.einsum("ij,ij->i", asked, asked))[:, None]
    if metric == "cosine":
        return np.full_like(own, 1e-6)
    if metric == "inner_product":
        return np.asarray(1e-6 * of_query * lengths, dtype=np.float32)
    # A square root of a difference: the nearer, the less of it is certain.
    error = 1e-6 * (of_query**2 + lengths**2)
    return np.asarray(np.minimum(error / np.maximum(own, 1e-30), np.sqrt(error)), dtype=np.float32)


def _exact(asked: NDArray[Any], page: NDArray[Any], metric: str) -> NDArray[Any]:
    """Distances, or what orders as they do, in the precision of the arguments: shape (m, n). Infinite where there is none."""
    import numpy as np

    products = asked @ page.T
    if metric == "inner_product":
        return np.asarray(-products)
    squares = np.einsum("ij,ij->i", page, page)
    if metric == "l2":
        return np.asarray(squares[None, :] - 2 * products)
    lengths = np.sqrt(np.einsum("ij,ij->i", asked, asked))[:, None] * np.sqrt(squares)[None, :]
    return np.asarray(np.where(lengths > 0, -products / np.where(lengths > 0, lengths, 1), np.inf))
