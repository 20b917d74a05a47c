"""arrays: codes and vectors as arrays of numpy's. Imports numpy, so it is imported when somebody calls `pgembed.psycopg.as_numpy`.

What comes in binary is seen where libpq has put it: no copy is made of codes and of big-endian numbers, and one of float32 and float16,
for the wire has the other byte order. A view can't be written to, and keeps the whole result in memory: copy what you keep of a large one.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from psycopg import postgres
from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import AdaptersMap, Dumper, Loader, PyFormat
from psycopg.pq import Format
from psycopg.types.string import ByteaLoader

from pgembed import errors
from pgembed.psycopg.codes import BitsBinaryDumper, BitsTextDumper, BytesBinaryDumper, BytesTextDumper, CodeInfo, of_type

_HEADER = 4  # bytes before the numbers, of bits and of vectors
_BYTEA = postgres.types["bytea"].oid


def adapt(adapters: AdaptersMap) -> None:
    """Register what reads and writes arrays, where pgembed's types are registered."""
    known = adapters.types
    for name in ("pgembed.binvec", "bit"):
        adapters.register_loader(known[name].oid, _BitsLoader)
        adapters.register_loader(known[name].oid, _BitsBinaryLoader)
    for oid in (_BYTEA, *(info.oid for info in known if isinstance(info, CodeInfo))):
        adapters.register_loader(oid, _BytesLoader)
        adapters.register_loader(oid, _BytesBinaryLoader)
    for name, text, binary in (("vector", _Float32Loader, _Float32BinaryLoader), ("halfvec", _Float16Loader, _Float16BinaryLoader)):
        if (info := known.get(name)) is not None:
            adapters.register_loader(info.oid, text)
            adapters.register_loader(info.oid, binary)
    if (info := known.get("halfvec")) is not None:
        for half in (_HalfTextDumper, _HalfBinaryDumper):
            adapters.register_dumper(None, of_type(half, info.oid))  # for a COPY that is told its types
    # the class, not its name: pgvector's registration is by name, and is found by the class once an array was written
    adapters.register_dumper(np.ndarray, _ArrayDumper)
    adapters.register_dumper(np.ndarray, _ArrayBinaryDumper)  # the last one is taken for %s


class _BytesLoader(Loader):
    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        self._read = ByteaLoader(oid, context).load

    def load(self, data: Buffer) -> NDArray[np.uint8]:
        return np.frombuffer(self._read(bytes(data)), np.uint8)


class _BytesBinaryLoader(Loader):
    format = Format.BINARY

    def load(self, data: Buffer) -> NDArray[np.uint8]:
        return np.frombuffer(data, np.uint8)


class _BitsLoader(Loader):
    def load(self, data: Buffer) -> NDArray[np.uint8]:
        return np.packbits(np.frombuffer(data, np.uint8) == ord("1"))


class _BitsBinaryLoader(Loader):
    format = Format.BINARY

    def load(self, data: Buffer) -> NDArray[np.uint8]:
        return np.frombuffer(data, np.uint8, offset=_HEADER)


class _FloatLoader(Loader):
    kind = "f4"

    def load(self, data: Buffer) -> NDArray[Any]:
        return np.array(bytes(data)[1:-1].split(b","), dtype=self.kind)


class _Float32Loader(_FloatLoader):
    pass


class _Float16Loader(_FloatLoader):
    kind = "f2"


class _FloatBinaryLoader(Loader):
    format = Format.BINARY
    kind = "f4"

    def load(self, data: Buffer) -> NDArray[Any]:
        return np.frombuffer(data, f">{self.kind}", offset=_HEADER).astype(self.kind)


class _Float32BinaryLoader(_FloatBinaryLoader):
    pass


class _Float16BinaryLoader(_FloatBinaryLoader):
    kind = "f2"


class _HalfBinaryDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Any) -> bytes:
        half = _half(obj)
        return b"".join((len(half).to_bytes(2, "big"), b"\0\0", half.astype(">f2").tobytes()))


class _HalfTextDumper(Dumper):
    def dump(self, obj: Any) -> bytes:
        return str(_half(obj).tolist()).encode()


def _half(value: Any) -> NDArray[Any]:
    """Numbers of a halfvec: of an array, a list, or pgvector's own object."""
    half = value.to_numpy() if hasattr(value, "to_numpy") else np.asarray(value)
    if half.ndim != 1:
        raise errors.DatatypeMismatch(f"a halfvec must be an array with one dimension, not {half.ndim}", hint="Give one row at a time.")
    return half if half.dtype.char == "e" else half.astype("f2")


class _ArrayDumper(Dumper):
    """Asks the array's type which of the others is to write it."""

    of: tuple[type[Dumper], type[Dumper], type[Dumper]] = (BytesTextDumper, BitsTextDumper, _HalfTextDumper)

    def __init__(self, cls: type, context: AdaptContext | None = None) -> None:
        super().__init__(cls, context)
        self._context = context

    def get_key(self, obj: Any, format: PyFormat) -> Any:
        """See psycopg: one dumper is kept for each of these."""
        return (self.cls, obj.dtype.str if obj.ndim == 1 and obj.dtype.str in ("|u1", "|b1", "<f2", ">f2") else "vector")

    def upgrade(self, obj: Any, format: PyFormat) -> Dumper:
        """See psycopg."""
        context = self._context
        assert context is not None, "registered by as_numpy"
        known = context.adapters.types
        kind = self.get_key(obj, format)[1]
        if kind == "|u1":
            found = of_type(self.of[0], _BYTEA)
        elif kind == "|b1":
            found = of_type(self.of[1], known["pgembed.binvec"].oid)
        elif kind != "vector" and known.get("halfvec") is not None:
            found = of_type(self.of[2], known["halfvec"].oid)
        else:
            return cast(Dumper, context.adapters.get_dumper_by_oid(known["vector"].oid, self.format)(self.cls, context))
        return found(self.cls, context)

    def dump(self, obj: Any) -> Buffer | None:
        """See psycopg; `upgrade` has put another in this one's place."""
        return self.upgrade(obj, PyFormat.from_pq(self.format)).dump(obj)


class _ArrayBinaryDumper(_ArrayDumper):
    format = Format.BINARY
    of = (BytesBinaryDumper, BitsBinaryDumper, _HalfBinaryDumper)
