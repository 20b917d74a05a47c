"""lookup: sums over the bytes of many codes, each byte's part found in a table made once for a query.

A code of 48 bytes is 384 dimensions, so that a float32 product would read 1,536 bytes for each row; here 48 are read, and 48 parts are
gathered. Gathering goes column by column over pages of codes, so that a column's table (1 KB), a page's indexes and its sums lie in the L2
cache together. Tried and left out: tables of two bytes each, which are twice as fast as long as no other process uses the shared cache, and
many times slower when one does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_PAGE = 4096  # codes: 192 KB at 48 bytes, 32 KB of indexes, 32 to 64 KB of parts and sums

_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)


class Lookup:
    """A function of codes that is a sum over their bytes.

    Args:
        tables: float32 or complex64, shape (bytes, 256): what each byte's value adds. Complex for two sums in one gathering.
    """

    def __init__(self, tables: NDArray[Any]) -> None:
        self._tables = tables

    @classmethod
    def of_bits(cls, weights: NDArray[Any]) -> Lookup:
        """Sums over the bits that are set.

        Args:
            weights: float32 or complex64, shape (bits,): of each bit, the first one the highest of the first byte.
        """
        padded = np.zeros((-(-len(weights) // 8), 8), dtype=weights.dtype)
        padded.reshape(-1)[: len(weights)] = weights
        tables = np.zeros((len(padded), 256), dtype=weights.dtype)
        for place in range(8):
            tables += padded[:, place, None] * _BITS[:, place].astype(np.float32)
        return cls(tables)

    def __call__(self, codes: NDArray[np.uint8]) -> NDArray[Any]:
        """The sum of each code, the same in any batch: shape (n,), dtype of the tables.

        Args:
            codes: uint8, shape (n, bytes).
        """
        sums = np.zeros(len(codes), dtype=self._tables.dtype)
        indexes = np.empty(min(_PAGE, len(codes)), dtype=np.intp)
        parts = np.empty(len(indexes), dtype=self._tables.dtype)
        for start in range(0, len(codes), _PAGE):
            page, total = codes[start : start + _PAGE], sums[start : start + _PAGE]
            index, part = indexes[: len(page)], parts[: len(page)]
            for table, column in zip(self._tables, page.T, strict=True):
                index[:] = column
                # bytes are never out of a table of 256: "clip" only saves a check that would copy the output
                table.take(index, out=part, mode="clip")
                total += part
        return sums
