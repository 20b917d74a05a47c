"""scalar: a small whole number for every number of a vector, with a step of the vector's own.

A point is ``offset + lower + step * k``, for k the whole numbers of a code, ``lower`` and ``step`` two numbers of the same code, and
``offset`` a vector of the codec. So ``<q, x>`` is ``<q, offset> + lower * sum(q) + step * <q, k>``: of many codes only the whole numbers
have to be turned into floats, a page at a time that stays in the processor's cache, and one product with the query does the rest.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from pgembed import errors
from pgembed.codecs.contract import Codec, Codes, Options, Shape, Space, array_of, whole

# Of whole numbers as float32: half of the second-level cache that a core of a server has today. A quarter of it costs a third more.
_PAGE_BYTES = 1 << 19

_MOST_HALF = 65504.0  # the greatest number of float16


class _Scalar(Codec):
    """What codecs have in common whose points are ``offset + lower + step * k``."""

    @property
    @abstractmethod
    def _offset(self) -> NDArray[np.float32]:
        """Shape (dim,)."""

    @abstractmethod
    def _line(self, codes: Codes) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """``lower`` and ``step`` of each code: float32, shape (n,)."""

    @abstractmethod
    def _write(self, codes: Codes, page: NDArray[np.float32], spare: NDArray[np.float32]) -> None:
        """Put the whole numbers of codes, shape (n, ...), into a page, shape (n, dim); a spare page is for what is in between."""

    @abstractmethod
    def _encode_some(self, vectors: NDArray[np.float32]) -> Codes:
        """`_encode` of as many vectors as what is computed on the way stays in the cache for."""

    def _encode(self, vectors: NDArray[np.float32]) -> Codes:
        made = np.empty((len(vectors), self.shape.bytes), dtype=np.uint8)
        rows = max(1, _PAGE_BYTES // (8 * self.space.dim))
        for first in range(0, len(vectors), rows):
            made[first : first + rows] = self._encode_some(vectors[first : first + rows])
        return made

    def points(self, codes: Codes) -> NDArray[np.float32]:
        lower, step = self._line(codes)
        made = np.empty((len(codes), self.space.dim), dtype=np.float32)
        self._write(codes, made, np.empty_like(made))
        made *= step[:, None]
        made += lower[:, None]
        made += self._offset
        return made

    def scorer(self, query: NDArray[np.float32]) -> Callable[[Codes], NDArray[np.float32]]:
        asked = self._checked(np.ascontiguousarray(query, dtype=np.float32)[None, :])
        dim, offset = self.space.dim, self._offset
        squared = self.space.metric == "l2"
        # of squared lengths of points: sums of k times offset, and of k
        weights = np.stack([asked[0], offset, np.ones_like(offset)]) if squared else asked
        exact = weights.astype(np.float64)
        on_offset, on_ones = float(exact[0] @ offset), float(exact[0].sum())
        query_square, offset_square, offset_sum = (float(part) for part in (exact[0] @ exact[0], offset @ offset, offset.sum()))
        rows = max(1, _PAGE_BYTES // (4 * dim))
        page, spare = np.empty((2, rows, dim), dtype=np.float32)

        def score(codes: Codes) -> NDArray[np.float32]:
            sums = np.empty((len(weights), len(codes)), dtype=np.float32)
            squares = np.empty(len(codes) if squared else 0, dtype=np.float32)
            for first in range(0, len(codes), rows):
                used = page[: len(codes) - first]
                self._write(codes[first : first + rows], used, spare[: len(used)])
                for weight, into in zip(weights, sums, strict=True):
                    np.matmul(used, weight, out=into[first : first + rows])
                if squared:
                    np.einsum("ij,ij->i", used, used, out=squares[first : first + rows])
            lower, step = self._line(codes)
            products: NDArray[np.float32] = on_offset + lower * on_ones + step * sums[0]
            if self.space.metric == "inner_product":
                return np.asarray(-products)
            if not squared:
                return np.asarray(1 - products / (math.sqrt(query_square) or 1))
            lengths = offset_square + lower * (2 * offset_sum + dim * lower) + step * (2 * (sums[1] + lower * sums[2]) + step * squares)
            return np.asarray(np.sqrt(np.maximum(query_square + lengths - 2 * products, 0)))

        return score


class Int8(_Scalar):
    """A whole number of -127 to 127 for each number, and the greatest of the vector divided by 127 as its step.

    A code is the step as a big-endian float4 and ``dim`` signed bytes: dim + 4 bytes. No number is off by more than half a step, so no
    inner product with q by more than ``step / 2 * sum(|q|)``. A step per vector, where a step per dimension is customary, costs 4 bytes
    and makes the sum of products of two codes a product of the two vectors. There is nothing to train.
    """

    method: ClassVar[str] = "int8"
    defaults: ClassVar[Mapping[str, Any]] = {}

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
        return cls(space, {}, {})

    @classmethod
    def build(cls, space: Space, options: Options, arrays: Mapping[str, NDArray[Any]]) -> Self:
        return cls(space, {}, {})

    @property
    def shape(self) -> Shape:
        return Shape("bytes", 4 + self.space.dim)

    def _encode_some(self, vectors: NDArray[np.float32]) -> Codes:
        step = (np.abs(vectors).max(axis=1, initial=0) / np.float32(127)).astype(np.float32)
        made = np.empty((len(vectors), self.shape.bytes), dtype=np.uint8)
        made[:, :4] = step.astype(">f4")[:, None].view(np.uint8)
        numbers = np.rint(vectors / np.where(step > 0, step, 1)[:, None])
        # near the smallest of float4 rounding makes a step much too small, and more than 127 of it would change the sign
        made[:, 4:] = np.clip(numbers, -127, 127).astype(np.int8).view(np.uint8)
        return made

    @property
    def _offset(self) -> NDArray[np.float32]:
        return np.zeros(self.space.dim, dtype=np.float32)

    def _line(self, codes: Codes) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        step = np.ascontiguousarray(codes[:, :4]).view(">f4")[:, 0].astype(np.float32)
        return np.zeros_like(step), step

    def _write(self, codes: Codes, page: NDArray[np.float32], spare: NDArray[np.float32]) -> None:
        page[:] = codes[:, 4:].view(np.int8)


class Lvq(_Scalar):
    """Locally-adaptive vector quantisation (Aguerrebere et al. 2023, https://arxiv.org/abs/2304.04759).

    The mean of the sample is taken off; what is left of a vector lies between a least and a greatest number, and that stretch is cut into
    ``2 ** bits - 1`` equal steps. With ``residual_bits`` each step is cut once more: LVQ-4x8 is ``bits`` 4 and ``residual_bits`` 8.

    A code is lower and step as big-endian float2, in units of the codec, then the whole numbers (of 4 bits two a byte), then those of the
    residuals: 4 + ceil(dim * bits / 8) + ceil(dim * residual_bits / 8) bytes. Lower is rounded down and step up, so that no number is off
    by more than half a step (of the finer cut: half of ``step / (2 ** residual_bits - 1)``), and no inner product with q by more than that
    times ``sum(|q|)``. Numbers more than 65504 units away from the mean are cut there; the unit is chosen so that the sample has 1 at most.
    """

    method: ClassVar[str] = "lvq"
    defaults: ClassVar[Mapping[str, Any]] = {"bits": 8, "residual_bits": 0}

    def __init__(self, space: Space, options: Options, arrays: Mapping[str, NDArray[Any]]) -> None:
        super().__init__(space, options, arrays)
        self._bits, self._residual_bits = int(options["bits"]), int(options["residual_bits"])
        self._unit = np.float32(self.arrays["unit"][0])
        self._cuts = 2**self._residual_bits - 1 if self._residual_bits else 1

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
        mean = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
        check()
        furthest = max(float(np.abs(sample[first : first + 4096] - mean).max()) for first in range(0, len(sample), 4096))
        # A power of 2, so that dividing by it loses nothing; float16 has room for 65504 of it, and below for steps of a ten-thousandth.
        unit = 2.0 ** np.clip(np.ceil(np.log2(furthest)), -100, 100) if furthest > 0 else 1.0
        return cls(space, _lvq_options(options), {"mean": mean, "unit": np.array([unit], dtype=np.float32)})

    @classmethod
    def build(cls, space: Space, options: Options, arrays: Mapping[str, NDArray[Any]]) -> Self:
        mean, unit = array_of(arrays, "mean", np.float32, (space.dim,)), array_of(arrays, "unit", np.float32, (1,))
        if not unit[0] > 0:
            raise errors.InvalidParameter(f"the unit of the codec is {unit[0]}", hint="Train the codec anew with this version.")
        return cls(space, _lvq_options(options), {"mean": mean, "unit": unit})

    @property
    def shape(self) -> Shape:
        return Shape("bytes", 4 + self._width(self._bits) + self._width(self._residual_bits))

    def _width(self, bits: int) -> int:
        return (self.space.dim * bits + 7) // 8

    def _encode_some(self, vectors: NDArray[np.float32]) -> Codes:
        rest = ((vectors - self._offset) / self._unit).astype(np.float64)
        most = 2**self._bits - 1
        lower = _half_below(rest.min(axis=1))
        step = -_half_below((lower.astype(np.float64) - rest.max(axis=1)) / most)
        made = np.empty((len(vectors), self.shape.bytes), dtype=np.uint8)
        made[:, :2] = lower.astype(">f2")[:, None].view(np.uint8)
        made[:, 2:4] = step.astype(">f2")[:, None].view(np.uint8)
        # of a vector whose numbers are all the same the step is 0, and so is every number
        wide = np.where(step > 0, step, 1).astype(np.float64)[:, None]
        rest -= lower.astype(np.float64)[:, None]
        numbers = np.clip(np.rint(rest / wide), 0, most)
        first = 4 + self._width(self._bits)
        made[:, 4:first] = _packed(numbers.astype(np.uint8), self._bits)
        if self._residual_bits:
            finer = np.clip(np.rint((rest / wide - numbers + 0.5) * self._cuts), 0, self._cuts)
            made[:, first:] = _packed(finer.astype(np.uint8), self._residual_bits)
        return made

    @property
    def _offset(self) -> NDArray[np.float32]:
        mean: NDArray[np.float32] = self.arrays["mean"]
        return mean

    def _line(self, codes: Codes) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        halves = np.ascontiguousarray(codes[:, :4]).view(">f2").astype(np.float32)
        lower: NDArray[np.float32] = halves[:, 0] * self._unit
        step: NDArray[np.float32] = halves[:, 1] * self._unit
        # the numbers of both cuts are one number of the finer one, from half a step below
        return (lower - step * np.float32(0.5), step / np.float32(self._cuts)) if self._residual_bits else (lower, step)

    def _write(self, codes: Codes, page: NDArray[np.float32], spare: NDArray[np.float32]) -> None:
        first = 4 + self._width(self._bits)
        _unpack(codes[:, 4:first], self._bits, page)
        if self._residual_bits:
            page *= self._cuts
            _unpack(codes[:, first:], self._residual_bits, spare)
            page += spare


def _lvq_options(options: Mapping[str, Any]) -> Options:
    """Options of `Lvq`, checked."""
    for name, allowed in (("bits", (4, 8)), ("residual_bits", (0, 4, 8))):
        if whole(options, name, min(allowed), max(allowed)) not in allowed:
            listed = " or ".join(map(str, allowed))
            raise errors.InvalidParameter(f"{name} must be {listed}, not {options[name]}", hint=f"{name} => {allowed[0]} is the smallest.")
    return {"bits": options["bits"], "residual_bits": options["residual_bits"]}


def _half_below(numbers: NDArray[np.float64]) -> NDArray[np.float16]:
    """The greatest float16 that is not above each number, of what float16 can hold."""
    held = np.clip(numbers, -_MOST_HALF, _MOST_HALF)
    nearest = held.astype(np.float16)
    with np.errstate(over="ignore"):
        below: NDArray[np.float16] = np.where(nearest > held, np.nextafter(nearest, np.float16(-np.inf)), nearest)
    return np.maximum(below, np.float16(-_MOST_HALF))


def _packed(numbers: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Numbers of 4 or 8 bits as bytes.

    Of 4 bits a byte holds one of the first half of the dimensions, high, and one of the second, low: both halves are unpacked to where they
    lie side by side in memory, twice as fast as neighbours in one byte would be. Of an odd count the last half byte is 0.
    """
    if bits == 8:
        return numbers
    middle = (numbers.shape[1] + 1) // 2
    made: NDArray[np.uint8] = (numbers[:, :middle] << 4).astype(np.uint8)
    made[:, : numbers.shape[1] - middle] |= numbers[:, middle:]
    return made


def _unpack(packed: NDArray[np.uint8], bits: int, page: NDArray[np.float32]) -> None:
    """The inverse of `_packed`, into a page of shape (n, dim)."""
    if bits == 8:
        page[:] = packed
        return
    middle = packed.shape[1]
    page[:, :middle] = packed >> 4
    page[:, middle:] = packed[:, : page.shape[1] - middle] & 15
