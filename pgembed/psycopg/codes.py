"""codes: codes of bits and of bytes on the wire, in text and in binary.

A code of bits is read as a string of 0 and 1, as ``bit`` is under pgvector's registration and ``BINVEC`` in SQLAlchemy; a code of bytes as
``bytes``. `pgembed.psycopg.as_numpy` has both as arrays instead.

The binary form of bits is their number, an int4, and the bytes, the first bit the highest of the first byte: so a code of bits is copied
on its way out, behind its number. A code of bytes goes out as it lies in memory.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, cast

from psycopg.abc import Buffer
from psycopg.adapt import Dumper, Loader
from psycopg.pq import Format
from psycopg.types import TypeInfo

from pgembed import errors

if TYPE_CHECKING:
    from pgvector import Bit

_HEADER = 4
_BITS_HINT = 'A code of bits is a str like "0101", a pgvector.Bit, bytes or an array of uint8 (8 bits each), or an array of bool.'
_BYTES_HINT = "A code of bytes is bytes, a bytearray, a memoryview, or an array of uint8 with one dimension."


class CodeInfo(TypeInfo):
    """A type of codes of bytes: a codec's domain over bytea."""


def bits(code: Buffer | Any, length: int | None = None) -> Bit:
    """A packed code of bits as pgvector's ``Bit``, which has a length of its own: for codes whose length is no multiple of 8.

    Args:
        code: bytes, or an array of uint8, shape (bytes,): as a codec makes it, the first bit the highest of the first byte.
        length: in bits; None for all of them, 8 a byte.
    Raises:
        errors.DatatypeMismatch: it is neither bytes nor such an array.
        errors.InvalidParameter: it has another number of bytes than ``length`` bits have, or a bit is set behind them.
    """
    from pgvector import Bit

    packed = bytes(raw(code, _BITS_HINT))
    length = 8 * len(packed) if length is None else length
    if length < 0 or len(packed) != (length + 7) // 8:
        raise errors.InvalidParameter(
            f"{len(packed)} bytes are no code of {length} bits, which has {max(0, length + 7) // 8}", hint="Give what the codec made."
        )
    if length % 8 and packed[-1] & (0xFF >> length % 8):
        raise errors.InvalidParameter(f"bytes after bit {length} of the code are not zero", hint="Give what the codec made.")
    return Bit.from_binary(_numbered(length, packed))


def raw(value: object, hint: str = _BYTES_HINT) -> Buffer:
    """The bytes of a value as they lie in memory; copied only if they don't lie side by side.

    Raises:
        errors.DatatypeMismatch: the value has no bytes, or is an array of another type or shape.
    """
    if isinstance(value, bytes | bytearray):
        return value
    if is_array(value):
        array = cast("Any", value)
        if array.dtype.char != "B" or array.ndim != 1:
            shape = "x".join(map(str, array.shape))
            raise errors.DatatypeMismatch(f"a code must be an array of uint8 with one dimension, not of {array.dtype}, {shape}", hint=hint)
        return cast(Buffer, array.data if array.flags.c_contiguous else array.tobytes())
    if isinstance(value, memoryview):
        return value.cast("B") if value.c_contiguous else value.tobytes()
    raise errors.DatatypeMismatch(f"a code must be bytes or an array of uint8, not {type(value).__name__}", hint=hint)


def is_array(value: object) -> bool:
    """Whether it is numpy's; numpy is not imported for the question."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def of_type(base: type[Dumper], oid: int) -> type[Dumper]:
    """A dumper that says of what type its values are."""
    return type(base.__name__, (base,), {"oid": oid})


def _numbered(length: int, packed: Buffer) -> bytes:
    return b"".join((length.to_bytes(_HEADER, "big"), packed))


def _text_of(value: object) -> str:
    """A code of bits as a string of 0 and 1."""
    if hasattr(value, "to_text"):  # pgvector.Bit
        return str(value.to_text())
    if isinstance(value, str):
        if value.strip("01"):
            raise errors.InvalidParameter(f'a code of bits must consist of 0 and 1, not "{value[:40]}"', hint=_BITS_HINT)
        return value
    packed = _binary_of(value)
    return text_of(packed)


def _binary_of(value: object) -> bytes:
    """A code of bits in its binary form."""
    if is_array(value):  # first, and by its char: this is called for each row of a COPY
        array: Any = value
        kind = array.dtype.char if array.ndim == 1 else ""
        if kind == "B":
            octets: bytes = array.tobytes()
            return (8 * len(octets)).to_bytes(_HEADER, "big") + octets
        if kind == "?":
            import numpy as np

            return _numbered(len(array), np.packbits(array).tobytes())
    elif hasattr(value, "to_binary"):  # pgvector.Bit
        return bytes(value.to_binary())
    elif isinstance(value, str):
        said = _text_of(value)
        count = (len(said) + 7) // 8
        return _numbered(len(said), int(said.ljust(8 * count, "0") or "0", 2).to_bytes(count, "big"))
    packed = raw(value, _BITS_HINT)
    return _numbered(8 * len(packed), packed)


def text_of(data: Buffer) -> str:
    """A string of 0 and 1 of bits in their binary form."""
    length, packed = int.from_bytes(data[:_HEADER], "big"), data[_HEADER:]
    return f"{int.from_bytes(packed, 'big'):0{8 * len(packed)}b}"[:length]


class BitsLoader(Loader):
    """Bits in binary: str. (In text psycopg's own makes the same of them.)"""

    format = Format.BINARY

    def load(self, data: Buffer) -> str:
        """See psycopg."""
        return text_of(data)


class BitsTextDumper(Dumper):
    """A code of bits as text."""

    def dump(self, obj: object) -> bytes:
        """See psycopg."""
        return _text_of(obj).encode()


class BitsBinaryDumper(Dumper):
    """A code of bits in binary."""

    format = Format.BINARY

    def dump(self, obj: object) -> bytes:
        """See psycopg."""
        return _binary_of(obj)


class BytesTextDumper(Dumper):
    """A code of bytes as text."""

    def dump(self, obj: object) -> bytes:
        """See psycopg."""
        return b"\\x" + bytes(raw(obj)).hex().encode()


class BytesBinaryDumper(Dumper):
    """A code of bytes in binary: not copied here."""

    format = Format.BINARY

    def dump(self, obj: object) -> Buffer:
        """See psycopg."""
        return raw(obj)
