"""Product quantisation: a vector is cut into parts, and of each part only the number of the nearest of 256 centroids is kept.

`Pq`: Jegou, Douze, Schmid, *Product quantization for nearest neighbor search*, 2011 (https://doi.org/10.1109/TPAMI.2010.57). `Opq` rotates
vectors first, so that the parts bear equally much and little of one part is known from another: Ge, He, Ke, Sun, *Optimized product
quantization*, 2013 (https://doi.org/10.1109/TPAMI.2013.240).

No SQL of pgvector's functions finds a nearest centroid, so encoding is numpy's. A matrix product rounds differently alone and in a batch,
and on another processor; a code must not. So encoding multiplies only whole numbers, in float32, small enough that no sum exceeds 2**24:
they are exact in any order. What that rounds off is a thousandth of what the codebooks lose.

A mean of vectors is shorter than they are, the more the worse a code fits. Vectors of length 1 have points of length 1, therefore: of 384
dimensions in 48 bytes recall@10 is .83 with them and .77 without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from pgembed import errors
from pgembed.codecs import kmeans
from pgembed.codecs.contract import Codec, Codes, Options, Shape, Space, array_of, whole
from pgembed.codecs.lookup import Lookup

Floats = NDArray[np.float32]
Numbers = NDArray[Any]  # float32 or complex64

CENTROIDS = 256
# Bits of the length of: a centroid; a vector's part; a vector before it is rotated; a column of the rotation. Products of lengths bound
# every partial sum (Cauchy and Schwarz): 2 * 2**12 * 2**10 + 2**20 < 2**24, and 2**12 * 2**11 < 2**24.
_CENTROID_BITS, _PART_BITS, _VECTOR_BITS, _COLUMN_BITS = 10, 12, 12, 11
_ROTATION_BITS = 14  # of what is kept, for queries
_MOST_EXPONENT = 160  # float32 has no larger number, nor a smaller one

# More of any of these takes as many times the seconds, and moved recall@10 by less than .01.
SAMPLE = 128 * CENTROIDS  # rows that codebooks are fitted to
_ROTATED_SAMPLE = 64 * CENTROIDS  # rows that a rotation is fitted to
_ROUNDS = 20  # of k-means
_ROTATIONS = 10

_BLOCK_BYTES = 4 << 20  # of distances to centroids at a time: 85 vectors of 48 bytes


class Pq(Codec):
    """Product quantisation as it is: parts are neighbouring dimensions.

    Option ``bytes``: of a code, one a part; by default one for 8 dimensions. Parts differ by one dimension where it does not divide.
    """

    method: ClassVar[str] = "pq"
    defaults: ClassVar[Mapping[str, Any]] = {"bytes": None}

    def __init__(self, space: Space, options: Options, arrays: Mapping[str, NDArray[Any]]) -> None:
        super().__init__(space, options, arrays)
        self._parts = _Parts(space.dim, options["bytes"])
        exponents = self.arrays["exponents"].astype(np.int32)
        centroids = self.arrays["centroids"].astype(np.float32)
        self._exponents = self._parts.each_dimension(exponents)
        self._table = kmeans.table(self._parts.stacked(centroids))  # (parts, width + 1, 256)
        rotation = self.arrays.get("rotation")
        self._rotation = None if rotation is None else np.ldexp(rotation.astype(np.float32), -_ROTATION_BITS)
        self._whole_rotation = None if self._rotation is None else np.rint(np.ldexp(self._rotation, _COLUMN_BITS))
        mean = self._project(self.arrays["mean"][None, :])
        self._points = np.ldexp(centroids, self._exponents) + mean  # (256, dim)

    @classmethod
    def train(
        cls,
        sample: Floats,
        space: Space,
        options: Options,
        queries: Floats | None,
        seed: int,
        check: Callable[[], None],
    ) -> Self:
        """Of more rows than SAMPLE, that many are drawn."""
        if options["bytes"] is None:
            options = {**options, "bytes": max(1, space.dim // 8)}
        parts = _Parts(space.dim, whole(options, "bytes", 1, space.dim))
        rng = np.random.default_rng(seed)
        if len(sample) > SAMPLE:
            sample = sample[np.sort(rng.choice(len(sample), SAMPLE, replace=False))]
        mean = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
        around = sample - mean
        rotation = cls._learned(around, parts, rng, check)
        if rotation is not None:
            kept = np.rint(np.ldexp(rotation, _ROTATION_BITS)).astype(np.int16)
            around = around @ np.ldexp(kept.astype(np.float32), -_ROTATION_BITS)
        centroids = np.empty((CENTROIDS, space.dim), dtype=np.float32)
        for part in parts.slices:
            centroids[:, part] = kmeans.kmeans(np.ascontiguousarray(around[:, part]), CENTROIDS, rng, _ROUNDS, check=check)
        lengths = [float(np.sqrt(np.einsum("ij,ij->i", centroids[:, part], centroids[:, part])).max()) for part in parts.slices]
        exponents = (np.frexp(np.array(lengths))[1] - _CENTROID_BITS).astype(np.int16)
        rounded = np.rint(np.ldexp(centroids, -parts.each_dimension(exponents.astype(np.int32)))).astype(np.int16)
        arrays: dict[str, NDArray[Any]] = {"mean": mean, "centroids": rounded, "exponents": exponents}
        return cls(space, options, arrays if rotation is None else {**arrays, "rotation": kept})

    @classmethod
    def _learned(cls, around: Floats, parts: _Parts, rng: np.random.Generator, check: Callable[[], None]) -> Floats | None:
        """What vectors around their mean are multiplied by: an orthogonal matrix, or None."""
        return None

    @classmethod
    def build(cls, space: Space, options: Options, arrays: Mapping[str, NDArray[Any]]) -> Self:
        number = whole(options, "bytes", 1, space.dim)
        made: dict[str, NDArray[Any]] = {
            "mean": array_of(arrays, "mean", np.float32, (space.dim,)),
            "centroids": array_of(arrays, "centroids", np.int16, (CENTROIDS, space.dim)),
            "exponents": array_of(arrays, "exponents", np.int16, (number,)),
        }
        if np.abs(made["exponents"].astype(np.int32)).max() > _MOST_EXPONENT:
            raise errors.InvalidParameter(
                f"exponents of the codec are not within {_MOST_EXPONENT}", hint="Train the codec anew with this version."
            )
        return cls(space, options, made)

    @property
    def shape(self) -> Shape:
        return Shape("bytes", self.options["bytes"])

    def _encode(self, vectors: Floats) -> Codes:
        codes = np.empty((len(vectors), self._parts.number), dtype=np.uint8)
        step = max(1, _BLOCK_BYTES // (4 * CENTROIDS * self._parts.number))
        for first in range(0, len(vectors), step):
            stacked = self._parts.stacked(self._whole_parts(vectors[first : first + step]), behind=1)
            codes[first : first + step] = np.matmul(stacked, self._table).argmin(axis=2).T
        return codes

    def _whole_parts(self, vectors: Floats) -> Floats:
        """Vectors around the mean, rotated, as whole numbers in the units of the centroids: float32, shape (n, dim)."""
        around = vectors - self.arrays["mean"]
        exponents: NDArray[np.int32] | int = 0
        if self._whole_rotation is not None:
            # first to whole numbers of at most 2**bits by the largest, so that the length is exact too, then by the length
            largest = np.frexp(np.abs(around).max(axis=1))[1] - _VECTOR_BITS
            numbers = np.rint(np.ldexp(around, -largest[:, None]))
            squares = np.einsum("ij,ij->i", numbers, numbers, dtype=np.float64)
            shorter = (np.frexp(squares)[1] + 1) // 2 - _VECTOR_BITS
            around = np.rint(np.ldexp(numbers, -shorter[:, None])) @ self._whole_rotation
            exponents = (largest + shorter - _COLUMN_BITS)[:, None]
        made: Floats = np.rint(np.ldexp(around, exponents - self._exponents))
        return np.clip(made, -self._parts.most, self._parts.most, out=made)

    def points(self, codes: Codes) -> Floats:
        made = np.empty((len(codes), self.space.dim), dtype=np.float32)
        for number, part in enumerate(self._parts.slices):
            made[:, part] = self._points[:, part][codes[:, number]]
        if self.space.metric == "cosine":
            lengths = np.sqrt(np.einsum("ij,ij->i", made, made))
            made /= np.where(lengths > 0, lengths, 1)[:, None]
        return made

    def _project(self, queries: Floats) -> Floats:
        return queries if self._rotation is None else queries @ self._rotation

    def scorer(self, query: Floats) -> Callable[[Codes], Floats]:
        """Distances through a table of what each byte adds."""
        prepared = self._checked(np.ascontiguousarray(query, dtype=np.float32)[None, :])
        sums = Lookup(self._added(prepared[0], self._project(prepared)[0]))
        return lambda codes: self._scored(sums(codes))

    def _added(self, query: Floats, projected: Floats) -> Numbers:
        """What each byte adds, shape (parts, 256): to the inner product, or of l2 to the squared distance, float32; of cosine complex64,
        to the cosine but for the point's length, and to the square of that."""
        if self.space.metric == "l2":
            return self._parts.sums((self._points - projected) ** 2)
        if self.space.metric == "inner_product":
            return self._parts.sums(self._points * projected)
        length = float(np.sqrt(query @ query)) or 1.0
        made = np.empty((self._parts.number, CENTROIDS), dtype=np.complex64)
        made.real, made.imag = self._parts.sums(self._points * (projected / length)), self._parts.sums(self._points**2)
        return made

    def _scored(self, sums: Numbers) -> Floats:
        if self.space.metric == "l2":
            return np.asarray(np.sqrt(sums), dtype=np.float32)
        if self.space.metric == "inner_product":
            return -sums
        return np.asarray(1 - sums.real / np.sqrt(np.where(sums.imag > 0, sums.imag, 1)), dtype=np.float32)


class Opq(Pq):
    """Product quantisation of rotated vectors; the rotation is learned."""

    method: ClassVar[str] = "opq"

    @classmethod
    def _learned(cls, around: Floats, parts: _Parts, rng: np.random.Generator, check: Callable[[], None]) -> Floats | None:
        if len(around) > _ROTATED_SAMPLE:
            around = around[np.sort(rng.choice(len(around), _ROTATED_SAMPLE, replace=False))]
        rotation = _balanced(around, parts)
        books: list[Floats | None] = [None] * parts.number
        for _ in range(_ROTATIONS):
            rotated = around @ rotation
            decoded = np.empty_like(rotated)
            for number, part in enumerate(parts.slices):
                rows = np.ascontiguousarray(rotated[:, part])
                book = kmeans.kmeans(rows, CENTROIDS, rng, 1, books[number], check)
                books[number] = book
                decoded[:, part] = book[kmeans.assign(rows, book)[0]]
            left, _, right = np.linalg.svd((around.T @ decoded).astype(np.float64))
            rotation = (left @ right).astype(np.float32)
        return rotation

    @classmethod
    def build(cls, space: Space, options: Options, arrays: Mapping[str, NDArray[Any]]) -> Self:
        made = Pq.build(space, options, arrays)
        return cls(space, options, {**made.arrays, "rotation": array_of(arrays, "rotation", np.int16, (space.dim, space.dim))})


class _Parts:
    """A vector cut into parts of neighbouring dimensions, whose widths differ by one at most."""

    def __init__(self, dim: int, number: int) -> None:
        self.number = number
        bounds = [0, *np.cumsum([dim // number + (i < dim % number) for i in range(number)]).tolist()]
        self.slices = [slice(first, end) for first, end in pairwise(bounds)]
        self.widths = np.diff(bounds)
        self.width = int(self.widths[0])
        # of a whole number in a part, so that the part's length fits _PART_BITS
        self.most = float(int((1 << _PART_BITS) / np.sqrt(self.width)))

    def each_dimension(self, values: NDArray[Any]) -> NDArray[Any]:
        """A value a part as a value a dimension."""
        return np.repeat(values, self.widths)

    def stacked(self, rows: Floats, behind: int = 0) -> Floats:
        """Parts side by side, (n, dim), as parts one after another, (number, n, width + behind); narrower ones have 0 behind them, and then
        come ``behind`` ones."""
        made = np.ones((self.number, len(rows), self.width + behind), dtype=np.float32)
        wide = int((self.widths == self.width).sum())
        cut = wide * self.width
        made[:wide, :, : self.width] = rows[:, :cut].reshape(len(rows), wide, self.width).transpose(1, 0, 2)
        if wide < self.number:
            rest = rows[:, cut:].reshape(len(rows), self.number - wide, self.width - 1)
            made[wide:, :, : self.width - 1] = rest.transpose(1, 0, 2)
            made[wide:, :, self.width - 1] = 0
        return made

    def sums(self, values: Floats) -> Floats:
        """Sums within parts: (256, dim) as (number, 256)."""
        return np.ascontiguousarray(np.add.reduceat(values, [part.start for part in self.slices], axis=1).T)


def _balanced(around: Floats, parts: _Parts) -> Floats:
    """Principal components, dealt out so that the product of the variances is nearly the same in all parts: parametric OPQ."""
    values, components = np.linalg.eigh(around.T.astype(np.float64) @ around.astype(np.float64))
    logarithms = np.log(np.maximum(values, max(float(values[-1]), np.finfo(float).tiny) * 1e-12))
    logarithms -= logarithms.min()
    free, filled = parts.widths.tolist(), [0.0] * parts.number
    dealt: list[list[int]] = [[] for _ in range(parts.number)]
    for component in np.argsort(-values, kind="stable").tolist():
        least = min((number for number in range(parts.number) if free[number]), key=lambda number: (filled[number], number))
        dealt[least].append(component)
        filled[least] += float(logarithms[component])
        free[least] -= 1
    made: Floats = components[:, [component for part in dealt for component in part]].astype(np.float32)
    return made
