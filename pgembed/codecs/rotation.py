"""rotation: orthogonal matrices of codecs, applied so that a vector has one code wherever and with whomever it is encoded.

A sum of floats depends on its order, and BLAS orders a product by the size of the batch, by the number of threads and by the processor. A
code of one vector would then differ, once in a while, from its code in a batch, and a replica's from the primary's. So what is summed are
whole numbers: the matrix in steps of 2**-22, each vector in 2**24 steps up to its own greatest number. Every partial sum stays below 2**53
(at most |row| * |vector| <= 2**22 * 2**24 * sqrt(dim), by Cauchy and Schwarz), where float64 is exact in any order. The steps change a
rotated number by less than a millionth of the vector's length: no code can tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgembed import errors
from pgembed.models import basis

KINDS = ("none", "random", "learned")

_MATRIX_BITS = 22
_VECTOR_BITS = 24
# Of so many rows at once: what is done to them in float64 stays in a few megabytes.
_ROWS = 1024


def fitted(
    kind: object,
    sample: NDArray[np.float32],
    centre: NDArray[np.float32] | None,
    seed: int,
    check: Callable[[], None],
    dims: int | None = None,
) -> NDArray[np.float32] | None:
    """The matrix of an option ``rotation``; a vector v is turned into ``matrix @ v``.

    Args:
        sample: float32, shape (n, dim).
        centre: float32, shape (dim,), that the sample is centred on before something is learned of it; None for zero.
        dims: rotate within the best subspace of so many dimensions, the one with most of the sample's squares; None for all.
    Returns:
        float32, shape (dims, dim), rows of length 1 at right angles, numbers multiples of 2**-22; None for no rotation.
    Raises:
        errors.InvalidParameter: there is no such kind of rotation.
    """
    if kind not in KINDS:
        raise errors.InvalidParameter(
            f'rotation must be one of {", ".join(KINDS)}, not "{kind}"', hint="rotation => 'none' is in SQL alone."
        )
    if kind == "none":
        return None
    rows, subspace = sample if centre is None else sample - centre, None
    if dims is not None and dims < sample.shape[1]:
        check()
        subspace = basis.pca(rows, check=check).matrix[:dims]
        rows = rows @ subspace.T
    if kind == "random":
        matrix = basis.rotation(rows.shape[1], f"{seed & (1 << 64) - 1:x}")
    else:
        from pgembed.codecs import learned

        matrix = learned.learned(rows, seed, check)
    if subspace is not None:
        matrix = np.asarray(matrix.astype(np.float64) @ subspace, dtype=np.float32)
    return np.asarray(np.ldexp(steps_of(matrix), -_MATRIX_BITS), dtype=np.float32)


def steps_of(matrix: NDArray[np.float32]) -> NDArray[np.float64]:
    """A matrix of `fitted` as whole numbers, for `turned`."""
    return np.rint(np.ldexp(matrix.astype(np.float64), _MATRIX_BITS))


def turned(vectors: NDArray[Any], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vectors in the rotated space: float64, shape (n, dims), each row the same in any batch and on any machine.

    Args:
        vectors: float32 or float64, shape (n, dim), finite.
        whole: of `steps_of`.
    """
    steps, exponents = stepped(vectors, _VECTOR_BITS)
    return np.ldexp(steps @ whole.T, exponents[:, None] - _MATRIX_BITS)


def stepped(rows: NDArray[Any], bits: int) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Rows as whole numbers of at most 2**bits, times a power of two for each row.

    Returns:
        (steps, exponents): ``rows`` is about ``steps * 2**exponents[:, None]``; float64, shape (n, dim), and int32, shape (n,).
    """
    exact = np.asarray(rows, dtype=np.float64)
    exponents = np.frexp(np.abs(exact).max(axis=1, initial=0))[1].astype(np.int32) - np.int32(bits)
    return np.rint(np.ldexp(exact, -exponents[:, None])), exponents


def blocks(count: int) -> Iterator[slice]:
    """Slices of so many rows that float64 copies of them stay small."""
    return (slice(start, start + _ROWS) for start in range(0, count, _ROWS))
