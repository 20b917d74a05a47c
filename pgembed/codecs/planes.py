"""planes: what codes of bits share. A plane is one bit of every dimension; planes stand behind one another, so that each is a
`binary_quantize` of pgvector's and the number of all bits that differ is one `<~>`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgembed import errors, vectors
from pgembed.codecs import rotation
from pgembed.codecs.contract import Codec, Codes, Shape, Space, array_of

# Of 100 bits of a query, how many `Codec.masked` leaves out: those of the smallest margins. Of 0, 20, 40 and 60 it is the best for every
# code but `recurrent` of 3 bits, which 60 suits better: README.md.
LEFT_OUT = 40

# Lengths of a sample that differ by so little, relatively, are one length.
_ONE_LENGTH = 1e-3


class Planes(Codec):
    """What codes of bits share: the rotation, the layout, and what is known of the vectors' length.

    Arrays: ``rotation`` float32 (dims, dim), or absent, where dims is dim; ``length`` float32 (1,): of the
    vectors, if they have one, else 0.
    """

    @property
    @abstractmethod
    def _planes(self) -> int:
        """Bits of a dimension."""

    @abstractmethod
    def _bits(self, turned: NDArray[Any]) -> NDArray[np.bool_]:
        """Of vectors in the coded space, shape (n, dim): shape (n, planes, dim)."""

    @abstractmethod
    def _margins(self, turned: NDArray[Any]) -> NDArray[np.float64]:
        """How far each number is from where its bit turns: shape (n, planes, dim), as `_bits`."""

    @abstractmethod
    def _middles(self, codes: Codes) -> NDArray[np.float32]:
        """The middle of each code's cell, shape (n, dim)."""

    @property
    def shape(self) -> Shape:
        return Shape("bits", self._planes * self._width)

    @property
    def _width(self) -> int:
        """Dimensions of the coded space."""
        return width_of(self.arrays, self.space)

    def _encode(self, vectors: NDArray[np.float32]) -> Codes:
        codes = np.empty((len(vectors), self.shape.bytes), dtype=np.uint8)
        for block in rotation.blocks(len(vectors)):
            bits = self._bits(self._turned(vectors[block]))
            codes[block] = np.packbits(bits.reshape(len(bits), -1), axis=1)
        return codes

    def _masked(self, queries: NDArray[np.float32]) -> tuple[Codes, Codes] | None:
        """The bits of the greatest margins; of equal ones the last."""
        bits, masks = np.empty((2, len(queries), self.shape.bytes), dtype=np.uint8)
        length = self.shape.length
        for block in rotation.blocks(len(queries)):
            turned = self._turned(queries[block])
            margins = self._margins(turned).reshape(len(turned), length)
            cut = length * LEFT_OUT // 100
            least = np.partition(margins, cut, axis=1)[:, cut, None]
            kept = margins >= least
            for row in np.flatnonzero(kept.sum(axis=1) > length - cut):
                equal = np.flatnonzero(margins[row] == least[row])
                kept[row, equal[: kept[row].sum() - (length - cut)]] = False
            masks[block] = np.packbits(kept, axis=1)
            bits[block] = np.packbits(self._bits(turned).reshape(kept.shape) & kept, axis=1)
        return bits, masks

    def _turned(self, vectors: NDArray[np.float32]) -> NDArray[Any]:
        return vectors if self._rotation is None else rotation.turned(vectors, self._rotation)

    @cached_property
    def _rotation(self) -> NDArray[np.float64] | None:
        matrix = self.arrays.get("rotation")
        return None if matrix is None else rotation.steps_of(matrix)

    def _project(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        matrix = self.arrays.get("rotation")
        return queries if matrix is None else queries @ matrix.T

    @property
    def _length(self) -> float:
        return float(self.arrays["length"][0])

    def points(self, codes: Codes) -> NDArray[np.float32]:
        """The middles of cells, stretched to the vectors' length where that is known.

        A middle is shorter than the vectors of its cell, by more the rarer its signs; stretched, it estimates inner products better.
        """
        middles = self._middles(codes)
        if self._length:
            lengths = np.sqrt(np.einsum("ij,ij->i", middles, middles))
            middles *= (self._length / np.where(lengths > 0, lengths, 1))[:, None]
        return middles

    def _plain_bits(self, codes: Codes) -> NDArray[np.uint8]:
        return np.unpackbits(codes, axis=1, count=self.shape.length).reshape(len(codes), self._planes, self._width)

    def _estimated(
        self, query: NDArray[np.float32], products: NDArray[np.float32], squares: NDArray[np.float32] | None
    ) -> NDArray[np.float32]:
        """Distances of a query, shape (1, dim), from its products with middles and the squares: of middles where the length is known, else
        of the vectors."""
        length = self._length
        if length and squares is not None:
            products = np.asarray(products * (length / np.sqrt(np.maximum(squares, 1e-30))), dtype=np.float32)
            squares = np.full(len(products), length**2, dtype=np.float32)
        asked = float(np.einsum("ij,ij->", query, query, dtype=np.float64))
        if self.space.metric == "inner_product":
            return -products
        if self.space.metric == "cosine":
            return np.asarray(1 - products / np.float32(np.sqrt(asked) or 1), dtype=np.float32)
        return np.asarray(np.sqrt(np.maximum(asked + (0 if squares is None else squares) - 2 * products, 0)), dtype=np.float32)


def flag(options: Mapping[str, Any], name: str) -> bool:
    """An option that is true or false.

    Raises:
        errors.InvalidParameter: it is not.
    """
    value = options.get(name)
    if not isinstance(value, bool):
        raise errors.InvalidParameter(f"{name} must be true or false, not {value}", hint=f"{name} => false is one of them.")
    return value


def all_turned(sample: NDArray[np.float32], matrix: NDArray[np.float32] | None, check: Callable[[], None]) -> NDArray[np.float32]:
    """A sample in the coded space."""
    if matrix is None:
        return sample
    made, whole_numbers = np.empty((len(sample), len(matrix)), dtype=np.float32), rotation.steps_of(matrix)
    for block in rotation.blocks(len(sample)):
        check()
        made[block] = rotation.turned(sample[block], whole_numbers)
    return made


def length_of(sample: NDArray[np.float32], space: Space) -> NDArray[np.float32]:
    """The length that all vectors have: 1 where only their direction counts, else the sample's; 0 where theirs differ."""
    if space.metric == "cosine":
        return np.ones(1, dtype=np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", sample, sample, dtype=np.float64))
    middle = lengths.mean()
    alike = bool(np.abs(lengths - middle).max() <= _ONE_LENGTH * middle)
    return np.array([middle if alike else 0], dtype=np.float32)


def kept_of(arrays: Mapping[str, NDArray[Any]], space: Space) -> dict[str, NDArray[Any]]:
    """What every code of bits keeps, checked."""
    kept = {"length": array_of(arrays, "length", np.float32, (1,))}
    if "rotation" in arrays:
        kept["rotation"] = array_of(arrays, "rotation", np.float32, (None, space.dim))
    return kept


def width_of(arrays: Mapping[str, NDArray[Any]], space: Space) -> int:
    """Dimensions of the coded space."""
    return len(arrays["rotation"]) if "rotation" in arrays else space.dim


def above(vector: str, threshold: NDArray[np.float32], schema: str) -> str:
    """Bits of the dimensions above a threshold, in SQL. A difference of two floats is above 0 exactly if the first is the greater."""
    if not threshold.any():
        return f"{schema}.binary_quantize({vector})"
    return f"{schema}.binary_quantize({vector} OPERATOR({schema}.-) '{vectors.to_text(threshold)}'::{schema}.vector)"


def joined(planes: list[str], length: int) -> str:
    """Planes one after the other, in SQL: of type bit."""
    if len(planes) == 1:
        return planes[0]
    # || makes varbit of bit
    return "(" + " OPERATOR(pg_catalog.||) ".join(planes) + f")::pg_catalog.bit({length})"
