"""bits: codes that pgvector compares by Hamming distance. Formulas and measurements: README.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from pgembed import errors
from pgembed.codecs import rotation
from pgembed.codecs.contract import Codes, Options, Space, array_of, whole
from pgembed.codecs.lookup import Lookup
from pgembed.codecs.planes import Planes, above, all_turned, flag, joined, kept_of, length_of, width_of

_PAGE = 4096  # codes whose planes are taken apart at once


class Levels(Planes):
    """Codes that say between which thresholds each dimension lies: bit k of dimension j is ``x[j] > thresholds[k, j]``.

    Arrays: ``thresholds`` float32 (planes, dim), rising; ``values`` and ``seconds`` float32 (planes + 1, dim): the mean and the mean square
    of the sample in each interval.
    """

    @classmethod
    def build(cls, space: Space, options: Options, arrays: Mapping[str, NDArray[Any]]) -> Self:
        kept = kept_of(arrays, space)
        thresholds = array_of(arrays, "thresholds", np.float32, (None, width_of(kept, space)))
        planes = len(thresholds)
        if planes < 1:
            raise errors.InvalidParameter("the codec has no thresholds", hint="Train the codec anew with this version.")
        for name in ("values", "seconds"):
            kept[name] = array_of(arrays, name, np.float32, (planes + 1, thresholds.shape[1]))
        return cls(space, options, {**kept, "thresholds": thresholds})

    @classmethod
    def _fitted(
        cls,
        sample: NDArray[np.float32],
        turned: NDArray[np.float32],
        thresholds: NDArray[np.float32],
        space: Space,
        options: Options,
        matrix: NDArray[np.float32] | None,
        check: Callable[[], None],
    ) -> Self:
        values = np.empty((len(thresholds) + 1, thresholds.shape[1]), dtype=np.float32)
        seconds = np.empty_like(values)
        for start in range(0, values.shape[1], 32):
            check()
            part = slice(start, start + 32)
            numbers, edges = turned[:, part].astype(np.float64), thresholds[:, part]
            level = sum((turned[:, part] > edge for edge in edges), np.zeros(numbers.shape, dtype=np.int64))
            for at in range(len(values)):
                inside = level == at
                count = inside.sum(axis=0)
                # where the sample has nothing, the threshold beside it
                empty = edges[max(at - 1, 0) : at + 1].mean(axis=0, dtype=np.float64)
                some = np.maximum(count, 1)
                values[at, part] = np.where(count > 0, (numbers * inside).sum(axis=0) / some, empty)
                seconds[at, part] = np.where(count > 0, (numbers**2 * inside).sum(axis=0) / some, empty**2)
        arrays = {"thresholds": thresholds, "values": values, "seconds": seconds, "length": length_of(sample, space)}
        return cls(space, options, arrays if matrix is None else {**arrays, "rotation": matrix})

    @property
    def _planes(self) -> int:
        return len(self.arrays["thresholds"])

    def _bits(self, turned: NDArray[Any]) -> NDArray[np.bool_]:
        return turned[:, None, :] > self.arrays["thresholds"]

    def _margins(self, turned: NDArray[Any]) -> NDArray[np.float64]:
        return np.asarray(np.abs(turned[:, None, :].astype(np.float64) - self.arrays["thresholds"]))

    def _summed(self, codes: Codes, table: NDArray[np.float32]) -> NDArray[np.float32]:
        """The number of each dimension's interval, as a sum over its bits: shape (n, dim)."""
        bits = self._plain_bits(codes)
        found = np.repeat(table[:1], len(codes), axis=0)
        for plane, step in enumerate(np.diff(table, axis=0)):
            found += bits[:, plane] * step
        return found

    def _middles(self, codes: Codes) -> NDArray[np.float32]:
        return self._summed(codes, self.arrays["values"])

    def squares(self, codes: Codes, points: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._length:
            return np.full(len(codes), self._length**2, dtype=np.float32)
        return np.asarray(self._summed(codes, self.arrays["seconds"]).sum(axis=1), dtype=np.float32)

    def scorer(self, query: NDArray[np.float32]) -> Callable[[Codes], NDArray[np.float32]]:
        asked = self._checked(np.ascontiguousarray(query, dtype=np.float32)[None, :])
        parts = self.arrays["values"] * self._project(asked)[0]
        second = self.arrays["values"] ** 2 if self._length else self.arrays["seconds"]
        if self.space.metric == "inner_product" and not self._length:
            table, base = Lookup.of_bits(np.diff(parts, axis=0).ravel()), parts[0].sum()
            return lambda codes: self._estimated(asked, base + table(codes), None)
        # two sums in one gathering
        both = (parts + 1j * second).astype(np.complex64)
        pairs, start = Lookup.of_bits(np.diff(both, axis=0).ravel()), both[0].sum()

        def scored(codes: Codes) -> NDArray[np.float32]:
            sums = pairs(codes) + start
            return self._estimated(asked, sums.real, sums.imag)

        return scored

    def expression(self, vector: str, schema: str) -> str | None:
        if "rotation" in self.arrays:
            return None
        return joined([above(vector, threshold, schema) for threshold in self.arrays["thresholds"]], self.shape.length)


class Sign(Levels):
    """One bit for each dimension: whether it is above zero, or above the sample's mean; as pgvector's binary_quantize."""

    method: ClassVar[str] = "sign"
    defaults: ClassVar[Mapping[str, Any]] = {"centered": False, "rotation": "none"}

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
        centre = sample.mean(axis=0, dtype=np.float64).astype(np.float32) if flag(options, "centered") else None
        matrix = rotation.fitted(options.get("rotation"), sample, centre, seed, check)
        turned = all_turned(sample, matrix, check)
        middle = np.zeros(space.dim) if centre is None else turned.mean(axis=0, dtype=np.float64)
        return cls._fitted(sample, turned, middle[None, :].astype(np.float32), space, options, matrix, check)


class Thermometer(Levels):
    """A few thresholds for each dimension, a bit for each; Hamming distance counts the thresholds between two numbers."""

    method: ClassVar[str] = "thermometer"
    defaults: ClassVar[Mapping[str, Any]] = {"bits": 2, "rotation": "none", "dims": None}

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
        planes = whole(options, "bits", 1, 8)
        dims = space.dim if options.get("dims") is None else whole(options, "dims", 1, space.dim)
        if dims < space.dim and options.get("rotation") == "none":
            raise errors.InvalidParameter(
                f"a thermometer of {dims} dimensions needs a rotation, for it is the subspace that is rotated",
                hint="rotation => 'learned' or 'random'.",
            )
        matrix = rotation.fitted(options.get("rotation"), sample, None, seed, check, dims)
        turned = all_turned(sample, matrix, check)
        mean, spread = turned.mean(axis=0, dtype=np.float64), turned.std(axis=0, dtype=np.float64)
        # around zero, as pgvector's own sign is, for queries seldom share the documents' mean; but where all numbers of a dimension lie to
        # one side of zero, around their mean
        centre = np.where(np.abs(mean) > spread, mean, 0).astype(np.float32)
        # quantiles of the sample and its mirror image together: so they lie alike on both sides
        shares = np.abs(2 * np.arange(1, planes + 1) / (planes + 1) - 1)
        sides = np.sign(2 * np.arange(1, planes + 1) - (planes + 1))[:, None]
        apart = np.empty((planes, dims))
        for start in range(0, dims, 32):
            check()
            part = slice(start, start + 32)
            apart[:, part] = np.quantile(np.abs(turned[:, part] - centre[part]), shares, axis=0)
        thresholds = (centre + sides * apart).astype(np.float32)
        return cls._fitted(sample, turned, thresholds, space, options, matrix, check)


class Recurrent(Planes):
    """Signs, the signs of what they leave, and so on: x is about the sum of ``weights[u] * s[u]``, each s 1 or -1.

    BEBR's recurrent binarisation (Gan et al. 2023, https://arxiv.org/abs/2302.08714) with least-squares weights in place of its networks.
    The planes are kept in Gray code, bit u being whether ``s[u]`` differs from ``s[u - 1]``: between neighbouring numbers one bit differs.

    Arrays: ``weights`` float32 (planes, dim); ``left`` float32 (1,): the squared length that the code leaves, on average.
    """

    method: ClassVar[str] = "recurrent"
    defaults: ClassVar[Mapping[str, Any]] = {"bits": 2, "rotation": "none"}

    _STEPS = 12

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
        planes = whole(options, "bits", 2, 4)
        matrix = rotation.fitted(options.get("rotation"), sample, None, seed, check)
        turned = all_turned(sample, matrix, check)
        weights = np.empty((planes, space.dim), dtype=np.float32)
        left = 0.0
        for start in range(0, space.dim, 32):
            part = slice(start, start + 32)
            numbers = turned[:, part].astype(np.float64)
            found = np.abs(numbers).mean(axis=0) * 0.5 ** np.arange(planes)[:, None]
            for _ in range(cls._STEPS):
                check()
                signs = _signs(numbers, found)
                # least squares of each dimension for the signs as they are; then the signs anew
                moments = np.array([[1 - 2 * (one ^ other).mean(axis=0) for one in signs] for other in signs]).transpose(2, 0, 1)
                sides = np.array([np.where(sign, numbers, -numbers).mean(axis=0) for sign in signs]).T
                found = np.linalg.solve(moments + 1e-9 * np.eye(planes), sides[:, :, None])[:, :, 0].T
                found = -np.sort(-np.abs(found), axis=0)
            weights[:, part] = found
            middles = sum(np.where(sign, weight, -weight) for sign, weight in zip(_signs(numbers, found), found, strict=True))
            left += float(((numbers - middles) ** 2).mean(axis=0).sum())
        arrays = {"weights": weights, "left": np.array([left], dtype=np.float32), "length": length_of(sample, space)}
        return cls(space, options, arrays if matrix is None else {**arrays, "rotation": matrix})

    @classmethod
    def build(cls, space: Space, options: Options, arrays: Mapping[str, NDArray[Any]]) -> Self:
        kept = kept_of(arrays, space)
        weights = array_of(arrays, "weights", np.float32, (None, width_of(kept, space)))
        if not 2 <= len(weights) <= 4:
            raise errors.InvalidParameter(f"the codec has {len(weights)} planes", hint="Train the codec anew with this version.")
        return cls(space, options, {**kept, "weights": weights, "left": array_of(arrays, "left", np.float32, (1,))})

    @property
    def _planes(self) -> int:
        return len(self.arrays["weights"])

    def _bits(self, turned: NDArray[Any]) -> NDArray[np.bool_]:
        signs = _signs(turned, self.arrays["weights"])
        return np.stack([signs[0], *(sign ^ before for before, sign in pairwise(signs))], axis=1)

    def _margins(self, turned: NDArray[Any]) -> NDArray[np.float64]:
        # The sign turns at 0, bit 1 at either w[0], bit 2 where the number is w[1] from one of these, and so on; no bit turns elsewhere.
        found = [np.abs(turned.astype(np.float64))]
        for weight in self.arrays["weights"][:-1]:
            found.append(np.abs(found[-1] - weight))
        return np.stack(found, axis=1)

    def _middles(self, codes: Codes) -> NDArray[np.float32]:
        found = np.repeat(-self.arrays["weights"].sum(axis=0, keepdims=True), len(codes), axis=0)
        for signs, weight in zip(_ungrayed(self._plain_bits(codes)), self.arrays["weights"], strict=True):
            found += signs * (2 * weight)
        return found

    def squares(self, codes: Codes, points: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._length:
            return np.full(len(codes), self._length**2, dtype=np.float32)
        return np.asarray(np.einsum("ij,ij->i", points, points) + self.arrays["left"][0], dtype=np.float32)

    def scorer(self, query: NDArray[np.float32]) -> Callable[[Codes], NDArray[np.float32]]:
        asked = self._checked(np.ascontiguousarray(query, dtype=np.float32)[None, :])
        weights, dim, wide = self.arrays["weights"], self._width, -(-self._width // 8) * 8
        padded = np.zeros((len(weights), wide), dtype=np.float32)
        padded[:, :dim] = weights * self._project(asked)[0]
        products, none = Lookup.of_bits(2 * padded.ravel()), -padded.sum()
        # |sum of w s|**2 is the sum of all w**2 and of 2 w[u] w[v] s[u] s[v]; and s[u] s[v] is -1 where the bits differ
        couples = [(u, v) for v in range(len(weights)) for u in range(v)]
        between = np.zeros((len(couples), wide), dtype=np.float32)
        between[:, :dim] = [2 * weights[u] * weights[v] for u, v in couples]
        lengths, all_alike = Lookup.of_bits(-2 * between.ravel()), float((weights**2).sum() + between.sum())
        needed = bool(self._length) or self.space.metric == "l2"

        def of_page(codes: Codes) -> NDArray[np.float32]:
            signs = _ungrayed(self._by_plane(codes))
            found = np.float32(none) + products(np.concatenate(signs, axis=1))
            if not needed:
                return self._estimated(asked, found, None)
            squares = np.float32(all_alike) + lengths(np.concatenate([signs[u] ^ signs[v] for u, v in couples], axis=1))
            return self._estimated(asked, found, squares if self._length else squares + self.arrays["left"][0])

        def scored(codes: Codes) -> NDArray[np.float32]:
            found = np.empty(len(codes), dtype=np.float32)
            for start in range(0, len(codes), _PAGE):
                found[start : start + _PAGE] = of_page(codes[start : start + _PAGE])
            return found

        return scored

    def _by_plane(self, codes: Codes) -> NDArray[np.uint8]:
        """Planes that begin with a byte: shape (n, planes, bytes of a plane)."""
        if self._width % 8 == 0:
            return codes.reshape(len(codes), self._planes, -1)
        return np.packbits(self._plain_bits(codes), axis=2)

    def expression(self, vector: str, schema: str) -> str | None:
        """Of two planes: the sign, and whether the number lies within the first weight of zero."""
        if "rotation" in self.arrays or self._planes != 2:
            return None
        upper, lower = (above(vector, edge, schema) for edge in (self.arrays["weights"][0], -self.arrays["weights"][0]))
        sign = above(vector, np.zeros(self.space.dim, dtype=np.float32), schema)
        # s[1] = x > w where s[0], else x > -w; it differs from s[0] exactly between the two
        within = f"(({lower}) OPERATOR(pg_catalog.#) ({upper}))"
        return joined([sign, within], self.shape.length)


def _signs(numbers: NDArray[Any], weights: NDArray[Any]) -> list[NDArray[np.bool_]]:
    """Of each plane whether what its predecessors leave is above zero: shape (n, dim) each. A sum is compared with the number, never
    subtracted from it, so that two planes are the comparisons that pgvector makes."""
    middle = np.zeros((1, numbers.shape[1]), dtype=weights.dtype)
    signs: list[NDArray[np.bool_]] = []
    for weight in weights:
        signs.append(numbers > middle)
        middle = middle + np.where(signs[-1], weight, -weight)
    return signs


def _ungrayed(planes: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Planes of Gray code, shape (n, planes, ...), as signs."""
    signs = [planes[:, 0]]
    for place in range(1, planes.shape[1]):
        signs.append(signs[-1] ^ planes[:, place])
    return signs
