"""rabitq: signs, or up to 8 bits, of a rotated vector, and what makes distances estimated from them right on average. See README.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from pgembed import errors, vectors
from pgembed.codecs import rotation
from pgembed.codecs.contract import Codec, Codes, Options, Shape, Space, array_of, whole
from pgembed.codecs.lookup import Lookup
from pgembed.codecs.planes import flag

# The paper's: of a normal error, 94 in 100 lie within so many standard deviations.
EPSILON = 1.9

_SCALES = 12
# Up to so many bits the best scale goes with a vector's length, above with its greatest number.
_BY_LENGTH = 4
_ROWS = 16  # whose candidates lie in a processor's cache together
_PAGE = 512


class RaBitQ(Codec):
    """RaBitQ (Gao and Long 2024, https://arxiv.org/abs/2405.12497), and of more than one bit its extension (Gao et al. 2024,
    https://arxiv.org/abs/2409.09913).

    With c the centre and R the rotation, the residual o = R(v - c) is near ``scale * x``, x a point of the grid of numbers k + 1/2 for k
    from -2**(bits - 1) to 2**(bits - 1) - 1. A code is x, bits for each dimension one after the other (k + 2**(bits - 1)), then as
    big-endian float4 the factor ``|o|**2 / <x, o>``, the length |o| and <o, R c>, the last one only where neither the vectors' length nor a
    centre of zero tells it. Then ``<o, p>`` is estimated as ``factor * <x, p>``, without bias over random rotations.

    Arrays: ``centre`` float32 (dim,), zeros for none; ``scales`` float32 (candidates,), see `_fit_scales`; ``rotation`` float32 (dim, dim),
    or absent.
    """

    method: ClassVar[str] = "rabitq"
    defaults: ClassVar[Mapping[str, Any]] = {"bits": 1, "centered": True, "rotation": "random"}

    def __init__(self, space: Space, options: Options, arrays: Mapping[str, NDArray[Any]]) -> None:
        super().__init__(space, options, arrays)
        self._depth = whole(options, "bits", 1, 8)
        self._centre = self.arrays["centre"]
        self._top = 1 << (self._depth - 1)
        self._body = -(-space.dim * self._depth // 8)
        self._offset_kept = space.metric != "cosine" and bool(self._centre.any())
        # sums of products of two such numbers are exact in float64, in any order: see rotation
        self._exact_bits = (53 - (space.dim - 1).bit_length()) // 2
        self._rotation = rotation.steps_of(self.arrays["rotation"]) if "rotation" in self.arrays else None
        self._turned_centre = self._turned(self._centre[None, :])[0]
        self._centre_square = float((self._turned_centre**2).sum())

    @classmethod
    def train(
        cls,
        sample: NDArray[np.float32],
        space: Space,
        options: Options,
        queries: NDArray[np.float32] | None,
        seed: int,
        check: Callable[[], None],
    ) -> Self:
        depth = whole(options, "bits", 1, 8)
        centre = np.zeros(space.dim, dtype=np.float32)
        if flag(options, "centered"):
            centre = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
        matrix = rotation.fitted(options.get("rotation"), sample, centre, seed, check)
        arrays: dict[str, NDArray[Any]] = {"centre": centre, "scales": np.zeros(1, dtype=np.float32)}
        if matrix is not None:
            arrays["rotation"] = matrix
        if depth > 1:
            arrays["scales"] = cls(space, options, arrays)._fit_scales(sample, seed, check)
        return cls(space, options, arrays)

    @classmethod
    def build(cls, space: Space, options: Options, arrays: Mapping[str, NDArray[Any]]) -> Self:
        kept = {
            "centre": array_of(arrays, "centre", np.float32, (space.dim,)),
            "scales": array_of(arrays, "scales", np.float32, (None,)),
        }
        if "rotation" in arrays:
            kept["rotation"] = array_of(arrays, "rotation", np.float32, (space.dim, space.dim))
        if not len(kept["scales"]):
            raise errors.InvalidParameter("the codec has no scales", hint="Train the codec anew with this version.")
        return cls(space, options, kept)

    @property
    def shape(self) -> Shape:
        return Shape("bytes", self._body + 4 * (2 + self._offset_kept))

    def _turned(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        return rows.astype(np.float64) if self._rotation is None else rotation.turned(rows, self._rotation)

    def _fit_scales(self, sample: NDArray[np.float32], seed: int, check: Callable[[], None]) -> NDArray[np.float32]:
        """Candidates of the scale that a vector is multiplied by before it is cut to the grid: quantiles of the best ones of some vectors.

        The best is found as in the paper, by walking through every scale where some number passes to the next k. In units of 1/|o|, or
        of 1/max|o|, they differ little between vectors: with 12 candidates 1 - <x, o>**2 / (|x||o|)**2 is 0.01 to 0.7 % above the best.
        """
        count = min(len(sample), max(48, 512 >> max(self._depth - 4, 0)))
        rows = sample[np.sort(np.random.Generator(np.random.PCG64(seed)).choice(len(sample), count, replace=False))]
        steps = np.arange(1, self._top)
        found = []
        for sizes in np.abs(self._turned(rows - self._centre)):
            check()
            some = sizes[sizes > 0]
            if not len(some):
                continue
            scales = (steps[:, None] / some).ravel()
            order = np.argsort(scales)
            products = 0.5 * some.sum() + np.cumsum(np.tile(some, len(steps))[order])
            squares = 0.25 * len(sizes) + np.cumsum(2.0 * np.repeat(steps, len(some))[order])
            best = order[np.argmax(products / np.sqrt(squares))]
            found.append(scales[best] * self._unit(sizes))
        if not found:
            found = [float(self._top)]
        return np.asarray(np.quantile(found, (np.arange(_SCALES) + 0.5) / _SCALES), dtype=np.float32)

    def _unit(self, sizes: NDArray[np.float64]) -> NDArray[np.float64]:
        """What scales are given relative to, of absolute numbers along the last axis."""
        if self._depth <= _BY_LENGTH:
            return np.asarray(np.sqrt((sizes**2).sum(axis=-1)))
        return np.asarray(sizes.max(axis=-1))

    def _encode(self, vectors: NDArray[np.float32]) -> Codes:
        codes = np.empty((len(vectors), self.shape.bytes), dtype=np.uint8)
        centre_steps, centre_exponent = rotation.stepped(self._turned_centre[None, :], self._exact_bits)
        for block in rotation.blocks(len(vectors)):
            turned = self._turned(vectors[block] - self._centre)
            steps, exponents = rotation.stepped(turned, self._exact_bits)
            sizes = np.abs(steps)
            cells = self._cells(sizes)
            lengths = np.einsum("ij,ij->i", steps, steps)
            # of the grid's numbers twice: whole ones, so that these sums are exact too
            products = np.einsum("ij,ij->i", sizes, 2.0 * cells + 1)
            factors = np.ldexp(2 * lengths / np.where(products > 0, products, 1), exponents)
            kept = [factors, np.ldexp(np.sqrt(lengths), exponents)]
            if self._offset_kept:
                kept.append(np.ldexp(np.einsum("ij,j->i", steps, centre_steps[0]), exponents + centre_exponent[0]))
            levels = np.where(turned > 0, self._top + cells, self._top - 1 - cells).astype(np.uint8)
            codes[block, : self._body] = self._packed(levels)
            with np.errstate(over="ignore", under="ignore"):
                codes[block, self._body :] = np.stack(kept, axis=1).astype(">f4").view(np.uint8)
        return codes

    def _cells(self, sizes: NDArray[np.float64]) -> NDArray[np.int64]:
        """For absolute numbers, the k of the grid's k + 1/2 that points most nearly in their direction: int, shape (n, dim)."""
        best = np.zeros(sizes.shape, dtype=np.int64)
        if self._depth == 1:
            return best
        units = self._unit(sizes)
        scales = self.arrays["scales"].astype(np.float64) / np.where(units > 0, units, 1)[:, None]
        for start in range(0, len(sizes), _ROWS):
            part = slice(start, start + _ROWS)
            cells = np.minimum(np.floor(sizes[part, None] * scales[part, :, None]), self._top - 1)  # of each scale
            twice = 2 * cells + 1
            cosines = np.einsum("ij,isj->is", sizes[part], twice) / np.sqrt(np.einsum("isj,isj->is", twice, twice))
            best[part] = cells[np.arange(len(cells)), cosines.argmax(axis=1)]
        return best

    def _packed(self, levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Numbers of so many bits, one after the other."""
        if self._depth == 8:
            return levels
        shifts = np.arange(self._depth - 1, -1, -1, dtype=np.uint8)
        return np.packbits((levels[:, :, None] >> shifts & 1).reshape(len(levels), levels.shape[1] * self._depth), axis=1)

    def _levels(self, codes: Codes) -> NDArray[np.uint8]:
        """The inverse of `_packed`, of codes with their factors."""
        if self._depth == 8:
            return codes[:, : self._body]
        bits = np.unpackbits(codes[:, : self._body], axis=1, count=self.space.dim * self._depth).reshape(
            len(codes), self.space.dim, self._depth
        )
        levels = bits[:, :, 0].copy()
        for place in range(1, self._depth):
            levels <<= 1
            levels |= bits[:, :, place]
        return levels

    def _grid(self, codes: Codes) -> NDArray[np.float32]:
        """The grid's points x: shape (n, dim)."""
        return self._levels(codes).astype(np.float32) - np.float32(self._top - 0.5)

    def _factors(self, codes: Codes) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """The factor |o|**2 / <x, o>, the length |o|, and <o, R c>: shape (n,) each."""
        found = np.ascontiguousarray(codes[:, self._body :]).view(">f4").astype(np.float32)
        lengths = found[:, 1]
        if self._offset_kept:
            return found[:, 0], lengths, found[:, 2]
        if self._centre.any():  # of vectors of length 1
            return found[:, 0], lengths, np.asarray((1 - self._centre_square - lengths**2) / 2, dtype=np.float32)
        return found[:, 0], lengths, np.zeros_like(lengths)

    def points(self, codes: Codes) -> NDArray[np.float32]:
        """Shape (n, dim + 1): the last number is what the inner product with any query is off by, for `project` gives queries a last 1."""
        factors, _, offsets = self._factors(codes)
        points = np.empty((len(codes), self.space.dim + 1), dtype=np.float32)
        grid = self._grid(codes)
        grid *= factors[:, None]
        centre = self._turned_centre.astype(np.float32)
        points[:, -1] = offsets - grid @ centre
        points[:, :-1] = grid + centre
        return points

    def squares(self, codes: Codes, points: NDArray[np.float32]) -> NDArray[np.float32]:
        _, lengths, offsets = self._factors(codes)
        return np.asarray(lengths**2 + 2 * offsets + self._centre_square, dtype=np.float32)

    def _project(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        matrix = self.arrays.get("rotation")
        turned = queries if matrix is None else queries @ matrix.T
        return np.concatenate([turned, np.ones((len(queries), 1), dtype=np.float32)], axis=1)

    def scorer(self, query: NDArray[np.float32]) -> Callable[[Codes], NDArray[np.float32]]:
        asked = self._checked(np.ascontiguousarray(query, dtype=np.float32)[None, :])
        off = self._turned(asked - self._centre)[0].astype(np.float32)
        base, middle = float(asked[0] @ self._centre), float(off.sum()) * (self._top - 0.5)
        none = np.empty((0, 0), dtype=np.float32)
        product: Callable[[NDArray[np.uint8]], NDArray[np.float32]]
        if self._depth == 8:
            product = self._multiplied([off], [lambda page: page])
        elif self._depth == 4 and self.space.dim % 2 == 0:
            product = self._multiplied([off[0::2], off[1::2]], [lambda page: page >> 4, lambda page: page & 15])
        else:
            product = Lookup.of_bits((off[:, None] * np.float32(2) ** np.arange(self._depth - 1, -1, -1, dtype=np.float32)).ravel())

        def scored(codes: Codes) -> NDArray[np.float32]:
            factors, _, offsets = self._factors(codes)
            products = np.float32(base) + offsets + factors * (product(codes[:, : self._body]) - np.float32(middle))
            return np.asarray(self._from_products(asked, products[None, :], codes, none)[0], dtype=np.float32)

        return scored

    def _multiplied(
        self, parts: list[NDArray[np.float32]], taken: list[Callable[[NDArray[np.uint8]], NDArray[Any]]]
    ) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
        """Of 4 and 8 bits a matrix product page by page is faster than a lookup of each byte."""

        def multiplied(bodies: NDArray[np.uint8]) -> NDArray[np.float32]:
            sums = np.zeros(len(bodies), dtype=np.float32)
            for start in range(0, len(bodies), _PAGE):
                page = slice(start, start + _PAGE)
                for part, take in zip(parts, taken, strict=True):
                    sums[page] += take(bodies[page]).astype(np.float32) @ part
            return sums

        return multiplied

    def between(self, left: Codes, right: Codes) -> NDArray[np.float32]:
        (one, _, first), (other, _, second) = self._factors(left), self._factors(right)
        products = one * other * np.einsum("ij,ij->i", self._grid(left), self._grid(right)) + first + second + self._centre_square
        if self.space.metric == "l2":
            nothing = np.empty((0, 0), dtype=np.float32)
            products = self.squares(left, nothing) + self.squares(right, nothing) - 2 * products
            return np.asarray(np.sqrt(np.maximum(products, 0)), dtype=np.float32)
        return np.asarray(-products if self.space.metric == "inner_product" else 1 - products, dtype=np.float32)

    def error_bound(self, queries: NDArray[np.float32], codes: Codes, epsilon: float = EPSILON) -> NDArray[np.float32]:
        """How far the true distances may be from `distances`: float32, shape (m, n).

        An estimate of <o, p> is off by about |p| times the length of ``factor * x - o``, times a standard normal number over sqrt(dim - 1),
        for a random rotation: its direction is any one orthogonal to o. Theorem 3.2 of the first paper.

        Args:
            queries: float32, shape (m, dim).
            epsilon: standard deviations; the paper's 1.9 holds some 94 of 100 distances.
        """
        asked = self._checked(queries)
        off = asked.astype(np.float64) - self._centre
        factors, lengths, _ = (one.astype(np.float64) for one in self._factors(codes))
        grid = self._grid(codes)
        missed = np.sqrt(np.maximum(factors**2 * np.einsum("ij,ij->i", grid, grid) - lengths**2, 0))
        bounds = epsilon / np.sqrt(max(self.space.dim - 1, 1)) * np.sqrt(np.einsum("ij,ij->i", off, off))[:, None] * missed
        if self.space.metric == "inner_product":
            return np.asarray(bounds, dtype=np.float32)
        if self.space.metric == "cosine":
            asked_lengths = np.sqrt(np.einsum("ij,ij->i", asked, asked))
            return np.asarray(bounds / np.where(asked_lengths > 0, asked_lengths, 1)[:, None], dtype=np.float32)
        near = self.distances(queries, codes).astype(np.float64)
        # of squares twice the bound; of roots the lower side is the farther one
        below = near - np.sqrt(np.maximum(near**2 - 2 * bounds, 0))
        return np.asarray(np.maximum(below, np.sqrt(near**2 + 2 * bounds) - near), dtype=np.float32)

    def expression(self, vector: str, schema: str) -> str | None:
        """Of one bit that is not rotated. Its bits are those of `encode`; its factors may differ in the last place, for pgvector sums L1
        distances and inner products in float4."""
        if self._depth > 1 or "rotation" in self.arrays:
            return None
        centred = vector
        if self._centre.any():
            centred = f"({vector} OPERATOR({schema}.-) '{vectors.to_text(self._centre)}'::{schema}.vector)"
        length = f"{schema}.vector_norm({centred})"
        nothing = f"'{vectors.to_text(np.zeros(self.space.dim, dtype=np.float32))}'::{schema}.vector"
        sizes = f"{schema}.l1_distance({centred}, {nothing})"
        square = f"2 OPERATOR(pg_catalog.*) {length} OPERATOR(pg_catalog.*) {length}"
        factor = f"CASE WHEN {sizes} OPERATOR(pg_catalog.>) 0 THEN {square} OPERATOR(pg_catalog./) {sizes} ELSE 0 END"
        kept = [factor, length]
        if self._offset_kept:
            kept.append(f"{schema}.inner_product({centred}, '{vectors.to_text(self._centre)}'::{schema}.vector)")
        sent = [f"pg_catalog.float4send(({one})::pg_catalog.float4)" for one in kept]
        signs = f"pg_catalog.substring(pg_catalog.bit_send({schema}.binary_quantize({centred})), 5)"
        return " OPERATOR(pg_catalog.||) ".join([signs, *sent])
