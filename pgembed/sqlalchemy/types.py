"""types: codes as types of SQLAlchemy's: of bits `BINVEC`, of bytes, which are of a codec's own domain over bytea, `CODE`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

from sqlalchemy import ColumnElement, Dialect, Float, Inspector, LargeBinary, String, Table, literal
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.types import UserDefinedType

from pgembed import errors
from pgembed.sqlalchemy.calls import Call
from pgembed.sqlalchemy.sources import PLAIN_DIALECT

_QUOTE = PLAIN_DIALECT.identifier_preparer
# What a codec's domain checks, as the catalogs write it: its name in the schema that pgembed made it in, and its length.
_CHECKED = re.compile(r"octet_length\(VALUE\) (?:OPERATOR\(pg_catalog\.=\)|=) (\d+)")


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


class CODE(UserDefinedType[Any]):
    """A codec's domain over ``bytea``: a code of a fixed number of bytes.

    ::

        class Product(Base):
            code: Mapped[bytes | None] = mapped_column(CODE("product_rabitq", 102))

        select(Product).order_by(Product.code.code_distance(other_code)).limit(100)

    Values come back as bytes, or as numpy arrays of uint8 of shape (length,) that cannot be written to. They are given as bytes, or as an
    array or list of integers from 0 to 255. None is NULL.

    Args:
        codec: name of the codec.
        length: in bytes; None where it is not known, and then none is checked.
        schema: of the codec's table, in which its domain is; None for one on the search_path.
        as_numpy: give numpy arrays.
    """

    cache_ok = True
    render_bind_cast = True  # bytes alone would be no code: pgembed.distance() asks the type which codec made it

    # none by keyword only, which SQLAlchemy would leave out of copies and of the cache's keys
    def __init__(self, codec: str, length: int | None = None, schema: str | None = None, as_numpy: bool = False) -> None:
        self.codec = codec
        self.length = length
        self.schema = schema
        self.as_numpy = as_numpy

    @property
    def python_type(self) -> type[Any]:
        return bytes

    def get_col_spec(self, **_: Any) -> str:
        """The domain in SQL."""
        name = str(_QUOTE.quote(f"{self.codec}_code"))
        return name if self.schema is None else f"{_QUOTE.quote(self.schema)}.{name}"

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any]:
        """See SQLAlchemy."""
        given = LargeBinary().dialect_impl(dialect).bind_processor(dialect)
        return lambda value: None if value is None else given(self._bytes(value)) if given else self._bytes(value)

    def literal_processor(self, dialect: Dialect) -> Callable[[Any], str]:
        """See SQLAlchemy."""
        return lambda value: f"pg_catalog.decode('{self._bytes(value).hex()}', 'hex')::{self.get_col_spec()}"

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        """See SQLAlchemy."""
        if not self.as_numpy:
            return lambda value: None if value is None else bytes(value)
        import numpy as np

        return lambda value: None if value is None else np.frombuffer(bytes(value), dtype=np.uint8)

    def _bytes(self, value: Any) -> bytes:
        """A value as bytes.

        Raises:
            errors.InvalidParameter: it is no code, or has another length than the type.
        """
        try:
            if isinstance(value, str | int):
                raise TypeError
            if hasattr(value, "dtype") and str(value.dtype) != "uint8":
                raise TypeError
            made = value.tobytes() if hasattr(value, "tobytes") else bytes(value)
        except (TypeError, ValueError):
            raise errors.InvalidParameter(
                f"a code must be bytes or an array of uint8, not {type(value).__name__}", hint="Give what the codec made."
            ) from None
        if self.length is not None and len(made) != self.length:
            raise errors.InvalidParameter(f"code has {len(made)} bytes, expected {self.length}", hint="No length is changed silently.")
        return made

    class Comparator(UserDefinedType.Comparator[Any]):
        """``pgembed.distance`` of codes."""

        def code_distance(self, other: object, /) -> ColumnElement[float]:
            """The distance of two codes, or of a code and a vector (an expression of type vector), as the codec estimates it."""
            operand: Any = other if hasattr(other, "__clause_element__") or isinstance(other, ColumnElement) else None
            if operand is None:
                operand = literal(other, self.expr.type)
            elif hasattr(operand, "__clause_element__"):
                operand = operand.__clause_element__()
            return Call("distance", {"a": cast(Any, self.expr), "b": operand}, type_=Float())

    comparator_factory = Comparator


def reflect_codes(inspector: Inspector, table: Table, column_info: Any) -> None:
    """A listener, of SQLAlchemy's ``column_reflect(inspector, table, column_info)``, that lets reflection find `CODE` where it
    finds a DOMAIN.

    ::

        Table("product", metadata, autoload_with=engine, listeners=[("column_reflect", reflect_codes)])

    For all tables of a MetaData: ``event.listen(metadata, "column_reflect", reflect_codes)``. A domain is one of a codec's where its name
    ends in ``_code`` and all that it checks is a length in bytes.
    """
    found = column_info["type"]
    if not isinstance(found, DOMAIN) or not isinstance(found.data_type, LargeBinary) or not str(found.name).endswith("_code"):
        return
    checked = _CHECKED.search(str(found.check))
    if checked is not None:
        name = str(found.name).removesuffix("_code")
        column_info["type"] = CODE(name, int(checked[1]), schema=None if found.schema is None else str(found.schema))
