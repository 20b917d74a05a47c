"""registering: what a connection has to know of the types in its database."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from psycopg import AsyncConnection, AsyncCursor, Connection, Cursor
from psycopg.abc import AdaptContext
from psycopg.adapt import AdaptersMap
from psycopg.pq import Format
from psycopg.rows import tuple_row
from psycopg.types import TypeInfo
from psycopg.types.string import ByteaBinaryLoader, ByteaLoader, TextLoader

from pgembed import errors
from pgembed.psycopg.codes import BitsBinaryDumper, BitsLoader, BitsTextDumper, BytesBinaryDumper, BytesTextDumper, CodeInfo, of_type

# Whether pgembed is there; where pgvector is, if that is not on the search_path; and the search_path, to put it back.
_FOUND = """
    SELECT
        pg_catalog.to_regtype('pgembed.binvec') IS NOT NULL,
        CASE WHEN pg_catalog.to_regtype('vector') IS NULL THEN (
            SELECT pg_catalog.quote_ident(n.nspname) FROM pg_catalog.pg_extension AS e
            JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname = 'vector'
        ) END,
        pg_catalog.current_setting('search_path')
"""
_SET_PATH = "SELECT pg_catalog.set_config('search_path', %s, true)"
# pgembed's type first, then the domains of codes. A codec's domain may be gone, with its codec's row still there.
_TYPES = """
    SELECT t.typname::pg_catalog.text, t.oid::pg_catalog.int8, t.typarray::pg_catalog.int8,
        pg_catalog.format('%I.%I', n.nspname, t.typname), t.typtype OPERATOR(pg_catalog.=) 'd'
    FROM pg_catalog.pg_type AS t JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace
    WHERE t.oid = pg_catalog.to_regtype('pgembed.binvec')
    OR t.typtype = 'd' AND t.oid IN (SELECT pg_catalog.to_regtype(c.code_type) FROM pgembed.codecs AS c WHERE c.kind = 'bytes')
    ORDER BY 5
"""


def register(connection: Connection[Any], /) -> None:
    """Let a connection read and write pgembed's types, and pgvector's, by ``pgvector.psycopg.register_vector``.

    - ``pgembed.binvec(n)``: read as a string of 0 and 1; written from such a string, a ``pgvector.Bit``, packed bytes or an array of uint8
      (8 bits each; see `bits` for other lengths), or an array of bool, shape (n,).
    - codes of bytes, of a codec's domain over bytea: read as bytes; written from bytes, a memoryview or an array of uint8, shape (bytes,).
    - arrays of both as lists; both within composite types.

    Each in text and in binary, in COPY too (``copy.set_types(["pgembed.binvec", "my_codec_code"])``). NULL is None. For arrays of numpy's
    instead, see `as_numpy`.

    A pool registers each of its connections: ``ConnectionPool(url, configure=register)``. Whoever connects anew without a question to the
    server takes over what another connection knows: ``psycopg.connect(url, context=registered)``. Codecs that are trained later are known
    after the next call; columns of codes are written and read without it, for PostgreSQL calls them bytea.

    Args:
        connection: in autocommit mode or not; a transaction that was not open before isn't afterwards.
    Raises:
        errors.DatatypeMismatch: it is no connection.
        errors.UnknownObject: the database does not have pgembed.
        errors.NotReady: the package pgvector is not installed.
    """
    if not isinstance(connection, Connection):
        raise _refused(connection, "register")
    pgvector = _pgvector()
    with connection.transaction(), Cursor(connection, row_factory=tuple_row) as cursor:
        hidden, path = _checked(cursor.execute(_FOUND).fetchone(), connection.info.dbname)
        if hidden is not None:
            cursor.execute(_SET_PATH, [hidden])
        pgvector.register_vector(connection)
        if hidden is not None:
            cursor.execute(_SET_PATH, [path])
        found = cursor.execute(_TYPES).fetchall()
    _know(connection.adapters, found)


async def register_async(connection: AsyncConnection[Any], /) -> None:
    """As `register`: ``AsyncConnectionPool(url, configure=register_async)``."""
    if not isinstance(connection, AsyncConnection):
        raise _refused(connection, "register_async")
    pgvector = _pgvector()
    async with connection.transaction(), AsyncCursor(connection, row_factory=tuple_row) as cursor:
        await cursor.execute(_FOUND)
        hidden, path = _checked(await cursor.fetchone(), connection.info.dbname)
        if hidden is not None:
            await cursor.execute(_SET_PATH, [hidden])
        await pgvector.register_vector_async(connection)
        if hidden is not None:
            await cursor.execute(_SET_PATH, [path])
        await cursor.execute(_TYPES)
        found = await cursor.fetchall()
    _know(connection.adapters, found)


def as_numpy(context: AdaptContext, /) -> None:
    """Let a cursor or a connection give and take arrays; `register` comes first, on the connection.

    Read, best from a cursor with ``binary=True``: codes of bits as they are packed, uint8 (bytes,), the first bit the highest of the first
    byte; bytea, and so codes of bytes, as uint8 (bytes,); vector as float32 (dims,) and halfvec as float16 (dims,), both in the byte order
    of this machine. NULL is None.

    Written, as values of a statement: uint8 (bytes,) is bytea; bool (bits,) is pgembed.binvec; float16 (dims,) is halfvec; anything else is
    pgvector's to read as a vector.

    Args:
        context: a cursor, for its own results; or a connection, for those of all cursors made afterwards.
    Raises:
        errors.NotReady: the types are not registered.
    """
    if context.adapters.types.get("pgembed.binvec") is None:
        raise errors.NotReady("pgembed's types are not registered", hint="pgembed.psycopg.register(connection) comes first.")
    from pgembed.psycopg import arrays

    arrays.adapt(context.adapters)


def _refused(given: object, name: str) -> errors.DatatypeMismatch:
    other = {"register": "register_async", "register_async": "register"}[name]
    kind = {"register": "Connection", "register_async": "AsyncConnection"}
    if isinstance(given, Connection | AsyncConnection):
        hint = f"Call {other}(connection)."
    elif hasattr(given, "getconn"):  # of psycopg_pool, which need not be installed
        hint = f"Let the pool register each of its connections: {type(given).__name__}(..., configure=pgembed.psycopg.{name})."
    else:
        hint = "Register a connection; others take it over: psycopg.connect(url, context=connection)."
    return errors.DatatypeMismatch(f"{name}() takes a psycopg.{kind[name]}, not {type(given).__name__}", hint=hint)


def _pgvector() -> ModuleType:
    try:
        import pgvector.psycopg
    except ModuleNotFoundError:
        raise errors.NotReady(
            "package pgvector, which reads and writes vectors, is not installed", hint="pip install 'pgembed-extension[psycopg]'"
        ) from None
    return pgvector.psycopg


def _checked(found: Sequence[Any] | None, database: str) -> tuple[str | None, str]:
    """The schema of pgvector, where it has to be put on the search_path, and the search_path as it is."""
    assert found is not None, "the statement has one row"
    if not found[0]:
        raise errors.UnknownObject(
            f'database "{database}" does not have pgembed', hint="As a superuser: CREATE EXTENSION pgembed CASCADE; then register again."
        )
    return None if found[1] is None else _text(found[1]), _text(found[2])


def _text(value: Any) -> str:
    """psycopg leaves text as bytes where the client's encoding is SQL_ASCII."""
    return value.decode() if isinstance(value, bytes) else str(value)


def _know(adapters: AdaptersMap, found: Sequence[Sequence[Any]]) -> None:
    """Register the types of a database."""
    for name, oid, array_oid, regtype, is_domain in found:
        kind = CodeInfo if is_domain else TypeInfo
        kind(_text(name), oid, array_oid, regtype=_text(regtype)).register(adapters)
        for base in (BytesTextDumper, BytesBinaryDumper) if is_domain else (BitsTextDumper, BitsBinaryDumper):
            adapters.register_dumper(None, of_type(base, oid))
        for loader in (ByteaLoader, ByteaBinaryLoader) if is_domain else (TextLoader, BitsLoader):
            adapters.register_loader(oid, loader)
    # Codes may be of type bit, too; in text psycopg reads it as str anyway.
    bit = adapters.types["bit"].oid
    if adapters.get_loader(bit, Format.BINARY) is None:
        adapters.register_loader(bit, BitsLoader)
