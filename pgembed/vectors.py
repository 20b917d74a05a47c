"""Vectors between numpy and pgvector: what ``vector_send`` sends, pgvector's memory layout, and its text form.

Wire form (``vector_send``): int16 dim, int16 zero, dim float4s, all big-endian; src/vector.c of
https://github.com/pgvector/pgvector.
Image: the same fields in the machine's own byte order, which is what a ``vector`` is in memory behind its length word.
"""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING

from pgembed import errors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

# pgvector's VECTOR_MAX_DIM.
MAX_DIM = 16_000

# PostgreSQL's MaxAllocSize: no value is larger.
MAX_ALLOCATION = 0x3FFFFFFF

_HEADER_BYTES = 4
_ARRAY_HEADER_BYTES = 24
_FLOAT_BYTES = 4


def from_send(buffer: bytes, dim: int | None = None) -> NDArray[np.float32]:
    """One vector from what ``vector_send`` gave.

    Args:
        buffer: 4 + 4 * dim bytes.
        dim: how many dimensions it must have; None takes what the buffer says.
    Returns:
        float32, shape (dim,), native byte order, a copy.
    Raises:
        DimensionMismatch: another length, another dim, or a number that is not finite.
    """
    if dim is None:
        if len(buffer) < _HEADER_BYTES:
            raise errors.DimensionMismatch(f"a vector's wire form has at least 8 bytes, not {len(buffer)}")
        dim = int(struct.unpack_from(">h", buffer)[0])
    vector: NDArray[np.float32] = from_send_many(buffer, 1, dim)[0]
    return vector


def sent_dim(buffer: bytes) -> int:
    """How many dimensions the vector has that ``vector_send`` gave."""
    return (len(buffer) - _HEADER_BYTES) // _FLOAT_BYTES


def sent_each(buffer: bytes) -> tuple[int, int]:
    """How many vectors there are, and of how many dimensions, where what ``vector_send`` gave for several, all of one dimension, stands
    one behind the other."""
    dim = int.from_bytes(buffer[:2], "big")
    return len(buffer) // (_HEADER_BYTES + _FLOAT_BYTES * dim), dim


def from_send_many(buffer: bytes, n: int, dim: int) -> NDArray[np.float32]:
    """Vectors from the concatenation of what ``vector_send`` gave for each.

    Args:
        buffer: n * (4 + 4 * dim) bytes; b'' where n is 0.
        n: how many vectors.
        dim: dimensions of each.
    Returns:
        float32, shape (n, dim), native byte order, C-contiguous, a copy, in the buffer's order.
    Raises:
        DimensionMismatch: dim outside of 1..16000, another length, a vector of another dim, or a number that is not
            finite.
    """
    import numpy as np

    check_dim(dim)
    expected = n * (_HEADER_BYTES + _FLOAT_BYTES * dim)
    if len(buffer) != expected:
        raise errors.DimensionMismatch(
            f"expected {expected} bytes for {n} vectors of {dim} dimensions, found {len(buffer)}",
            hint="All vectors must have the same number of dimensions.",
        )
    if n == 0:
        return np.empty((0, dim), np.float32)
    headers = np.ndarray((n, 2), ">i2", buffer, strides=(expected // n, 2))
    if (headers != (dim, 0)).any():
        row = int(np.flatnonzero((headers != (dim, 0)).any(axis=1))[0])
        raise errors.DimensionMismatch(
            f"expected {dim} dimensions, found {int(headers[row, 0])} in vector {row + 1}",
            hint="All vectors must have the same number of dimensions.",
        )
    matrix = np.frombuffer(buffer, ">f4").reshape(n, dim + 1)[:, 1:].astype(np.float32, order="C")
    _check_finite(matrix)
    return matrix


def to_image(vector: ArrayLike) -> bytes:
    """One vector in pgvector's memory layout, without the length word.

    Args:
        vector: numbers, shape (dim,), any type and byte order that converts to float32; need not be contiguous.
    Raises:
        DimensionMismatch: another shape, dim outside of 1..16000, or a number that is not finite as float32.
    """
    array = _float32(vector)
    if array.ndim != 1:
        raise errors.DimensionMismatch(f"expected an array of 1 axis, found {array.ndim}")
    check_dim(array.size)
    _check_finite(array)
    return struct.pack("=hh", array.size, 0) + array.tobytes()


def to_images(matrix: ArrayLike) -> list[bytes]:
    """Vectors in pgvector's memory layout, each without the length word, in the order of the rows; [] for no rows.

    Args:
        matrix: numbers, shape (n, dim), any type and byte order that converts to float32; need not be contiguous.
    Raises:
        DimensionMismatch: another shape, dim outside of 1..16000, or a number that is not finite as float32.
    """
    import numpy as np

    array = _float32(matrix)
    if array.ndim != 2:
        raise errors.DimensionMismatch(f"expected an array of 2 axes, found {array.ndim}")
    n, dim = array.shape
    check_dim(dim)
    _check_finite(array)
    images = np.empty((n, dim + 1), np.float32)
    images[:, 1:] = array
    # dim and the zero field are two int16 in native order: one float's room, written as integers.
    images.view(np.int16).reshape(n, 2 * (dim + 1))[:, :2] = (dim, 0)
    size = _HEADER_BYTES + _FLOAT_BYTES * dim
    joined = images.tobytes()
    return [joined[i : i + size] for i in range(0, n * size, size)]


def to_array_image(matrix: ArrayLike, present: ArrayLike, element_type: int) -> bytes:
    """Vectors as PostgreSQL has a ``vector[]`` of one axis in memory, without the length word: one block of bytes for all of them.

    One value crosses the border where 64,000 would, so an element costs a copy of its bytes and no call. The form is that of
    ``ArrayType``, src/include/utils/array.h of https://github.com/postgres/postgres, with elements aligned to 4 bytes.

    Args:
        matrix: numbers, shape (n, dim), any type and byte order that converts to float32; the elements that are not NULL, in order.
        present: bool, shape (m,), n of them True; False is NULL. m may be 0, which gives the empty array.
        element_type: the oid of the type ``vector`` in this database.
    Raises:
        DimensionMismatch: as ``to_images``, or another number of rows than of elements that are present.
        LimitExceeded: the array would be larger than PostgreSQL's 1 GB.
    """
    import numpy as np

    array = _float32(matrix)
    there = np.asarray(present, np.bool_)
    if array.ndim != 2 or there.ndim != 1 or array.shape[0] != int(there.sum()):
        raise errors.DimensionMismatch(f"expected {int(there.sum())} vectors, found an array of shape {array.shape}")
    if not there.size:
        return struct.pack("=iiI", 0, 0, element_type)
    n, dim = array.shape
    if n:
        check_dim(dim)
    bits = b"" if there.all() else np.packbits(there, bitorder="little").tobytes()
    # From the array's beginning, which its own length word is part of, elements begin at a multiple of 8.
    begin = -(-(_ARRAY_HEADER_BYTES + len(bits)) // 8) * 8
    size = begin + n * (2 * _HEADER_BYTES + _FLOAT_BYTES * dim)
    if size > MAX_ALLOCATION:
        raise errors.LimitExceeded(
            f"an array of {n} vectors of {dim} dimensions has {size} bytes, and PostgreSQL allows {MAX_ALLOCATION}",
            hint="Pass fewer texts at a time; pgembed.refresh() embeds a table in batches.",
        )
    _check_finite(array)
    image = np.empty(size - 4, np.uint8)
    header = struct.pack("=iiIii", 1, begin if bits else 0, element_type, there.size, 1) + bits
    image[: begin - 4] = np.frombuffer(header.ljust(begin - 4, b"\0"), np.uint8)
    elements = image[begin - 4 :].view(np.float32).reshape(n, dim + 2)
    elements[:, 2:] = array
    elements.view(np.int32)[:, 0] = _length_word(2 * _HEADER_BYTES + _FLOAT_BYTES * dim)
    elements.view(np.int16)[:, 2:4] = (dim, 0)
    return image.tobytes()


def _length_word(size: int) -> int:
    """What stands before a value of that many bytes, its own four included: src/include/varatt.h."""
    return size << 2 if sys.byteorder == "little" else size


def to_text(vector: ArrayLike) -> str:
    """One vector as ``[1,2.5,3]``, each number in the shortest form that reads back as the same float4.

    Raises:
        DimensionMismatch: as ``to_image``.
    """
    import numpy as np

    array = _float32(vector)
    if array.ndim != 1:
        raise errors.DimensionMismatch(f"expected an array of 1 axis, found {array.ndim}")
    check_dim(array.size)
    _check_finite(array)
    return "[" + ",".join(text.removesuffix(".0") for text in array.astype(np.str_).tolist()) + "]"


def from_text(text: str) -> NDArray[np.float32]:
    """One vector from pgvector's text form; float32, shape (dim,).

    Raises:
        DimensionMismatch: not of the form ``[1,2,3]``, dim outside of 1..16000, or a number that is not finite.
    """
    import numpy as np

    inner = text.strip()
    if not (inner.startswith("[") and inner.endswith("]")):
        raise errors.DimensionMismatch(f'expected a vector such as [1,2,3], found "{text[:40]}"')
    inner = inner[1:-1].strip()
    try:
        with np.errstate(over="ignore"):
            array = np.array(inner.split(",") if inner else [], np.float64).astype(np.float32)
    except ValueError:
        raise errors.DimensionMismatch(f'expected a vector such as [1,2,3], found "{text[:40]}"') from None
    check_dim(array.size)
    _check_finite(array)
    return array


def check_dim(dim: int) -> None:
    """Refuse a number of dimensions that pgvector's ``vector`` can't have.

    Raises:
        DimensionMismatch: dim is not in 1..16000.
    """
    if not 1 <= dim <= MAX_DIM:
        raise errors.DimensionMismatch(f"a vector must have between 1 and {MAX_DIM} dimensions, not {dim}")


def _float32(values: ArrayLike) -> NDArray[np.float32]:
    import numpy as np

    # A float64 beyond float4's range becomes infinite here and is refused by the caller's check.
    with np.errstate(over="ignore"):
        return np.asarray(values).astype(np.float32, copy=False)


def _check_finite(array: NDArray[np.float32]) -> None:
    import numpy as np

    finite = np.isfinite(array)
    if not finite.all():
        place = np.unravel_index(int(np.flatnonzero(~finite.ravel())[0]), array.shape)
        where = f"dimension {int(place[-1]) + 1}" + (f" of vector {int(place[0]) + 1}" if array.ndim == 2 else "")
        raise errors.DimensionMismatch(
            f"expected finite numbers, found {array[place]} in {where}",
            hint="pgvector stores neither NaN nor infinity.",
        )
