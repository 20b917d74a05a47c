"""types: codes of bits as a type of SQLAlchemy's. Codes of bytes are of a codec's own domain over bytea: map them as ``LargeBinary``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from sqlalchemy import ColumnElement, Dialect, Float, String
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.types import UserDefinedType

from pgembed import errors


class BINVEC(UserDefinedType[str]):
    """``pgembed.binvec(n)``: a code of n bits.

    ::

        class Product(Base):
            code: Mapped[str] = mapped_column(BINVEC(768))

        select(Product).order_by(Product.code.hamming_distance(code)).limit(100)

    Values come back as a string of 0 and 1. They are given as such a string, as pgvector's ``Bit``, or as bytes like a codec's, the first
    bit the highest of the first byte. None is NULL.

    Args:
        length: in bits; None is any, for expressions: a vector index needs a column with a length.
    """

    cache_ok = True
    render_bind_cast = True  # the server need not guess what a string is

    def __init__(self, length: int | None = None) -> None:
        self.length = length

    @property
    def python_type(self) -> type[str]:
        return str

    def get_col_spec(self, **_: Any) -> str:
        """The type in SQL, schema-qualified: the schema is hardly ever on a search_path."""
        return "pgembed.binvec" if self.length is None else f"pgembed.binvec({self.length})"

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], str | None]:
        """See SQLAlchemy."""
        return self._bits

    def literal_processor(self, dialect: Dialect) -> Callable[[Any], str]:
        """See SQLAlchemy."""
        text: Any = String()
        quoted = text.literal_processor(dialect)
        return lambda value: str(quoted(self._bits(value)))

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], str | None]:
        """See SQLAlchemy."""
        return lambda value: None if value is None else str(value)

    def _bits(self, value: Any) -> str | None:
        """The text form of a value.

        Raises:
            errors.InvalidParameter: it is no code, or has another length than the type.
        """
        if value is None:
            return None
        if hasattr(value, "to_text"):  # pgvector.Bit
            value = value.to_text()
        if isinstance(value, bytes | bytearray | memoryview):
            length = 8 * len(value) if self.length is None else self.length
            if (length + 7) // 8 != len(value):
                raise errors.InvalidParameter(
                    f"{len(value)} bytes are no code of {length} bits, which has {(length + 7) // 8}", hint="Give what the codec made."
                )
            bits = "".join(f"{byte:08b}" for byte in bytes(value))
            if "1" in bits[length:]:
                raise errors.InvalidParameter(f"bytes after bit {length} of the code are not zero", hint="Give what the codec made.")
            return bits[:length]
        if not isinstance(value, str) or set(value) - {"0", "1"}:
            raise errors.InvalidParameter(
                f"a code must be a string of 0 and 1, or bytes, not {type(value).__name__}", hint='"0101", or b"\\x50" for BINVEC(4).'
            )
        if self.length is not None and len(value) != self.length:
            raise errors.InvalidParameter(f"code has {len(value)} bits, expected {self.length}", hint="No length is changed silently.")
        return str(value)

    class Comparator(UserDefinedType.Comparator[str]):
        """pgvector's operators of bits, by the names that its ``BIT`` has for them."""

        def hamming_distance(self, other: object, /) -> ColumnElement[float]:
            """How many bits differ."""
            made: Any = self.op("<~>", return_type=Float())(other)
            return cast(ColumnElement[float], made)

        def jaccard_distance(self, other: object, /) -> ColumnElement[float]:
            """1 minus the share of the bits set in both among those set in one."""
            made: Any = self.op("<%>", return_type=Float())(other)
            return cast(ColumnElement[float], made)

    comparator_factory = Comparator


# For reflection, as pgvector does it: format_type() leaves out a schema that is on the search_path.
ischema_names["pgembed.binvec"] = ischema_names["binvec"] = BINVEC
