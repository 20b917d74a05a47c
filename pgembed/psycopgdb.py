"""psycopgdb: the Database port over psycopg, for code that works on a server from outside.

Core rooms must not notice where they run, so values go in and come out as they do over plpy: parameters have the types that are named,
numbers, booleans and bytea are Python's own, arrays are lists, and everything else is text as PostgreSQL writes it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from typing import Any, cast

import psycopg
from psycopg import adapt, postgres, pq
from psycopg.rows import dict_row
from psycopg.types.string import TextLoader

from pgembed import errors
from pgembed.database import Row

# Gets what a person should know: severity (NOTICE, WARNING), message, hint.
Tell = Callable[[str, str, str | None], None]

# What plpy makes something else of than text.
_PYTHON_TYPES = ("bool", "int2", "int4", "int8", "oid", "float4", "float8", "numeric", "bytea")
_BYTEA = postgres.types["bytea"]
_BYTEA_OID, _BYTEA_ARRAY_OID = _BYTEA.oid, _BYTEA.array_oid
_FAILED = pq.TransactionStatus.INERROR
_IDLE = pq.TransactionStatus.IDLE

_cursors = count(1)


def _nobody(severity: str, message: str, hint: str | None) -> None:
    """Nobody is told."""


class PsycopgDatabase:
    """The port over one connection; see `pgembed.database.Database`.

    In autocommit mode every statement is a transaction. Else one begins with the first statement and ends with `commit`, or with
    ``connection.rollback()``. Two things differ from plpy: an error outside of `subtransaction` leaves nothing to do in its transaction, so
    that whatever is tried there meets that same error again; and `commit` is refused inside of `subtransaction`.

    Args:
        connection: is from now on only used here, for it learns to read values as plpy does.
        tell: gets notices, the server's own too.
        check: called by `check_interrupts`; what it raises ends the work. Ctrl-C needs none.
    """

    def __init__(self, connection: psycopg.Connection[Any], *, tell: Tell = _nobody, check: Callable[[], None] | None = None) -> None:
        self.connection = connection
        self._tell = tell
        self._check = check
        self._oids: dict[str, int] = {}
        self._depth = 0
        self._first_error: psycopg.Error | None = None
        _read_as_plpy(connection.adapters)
        for kind, dumper in ((_Text, _TextDumper), (_Binary, _BinaryDumper), (_Null, _NullDumper)):
            connection.adapters.register_dumper(kind, dumper)
        if tell is not _nobody:
            connection.add_notice_handler(
                lambda said: tell(said.severity_nonlocalized or "", said.message_primary or "", said.message_hint)
            )

    def execute(self, statement: str, types: Sequence[str] = (), values: Sequence[object] = (), *, keep: bool = False) -> list[Row]:
        """See `pgembed.database.Database.execute`. Errors are psycopg's, with their ``sqlstate``."""
        if self._first_error is not None and self.connection.pgconn.transaction_status == _FAILED:
            raise self._first_error
        try:
            with psycopg.RawCursor(self.connection, row_factory=dict_row) as cursor:
                cursor.execute(statement.encode(), self._parameters(types, values) if types else None, prepare=True if keep else None)
                has_rows = cursor.pgresult is not None and cursor.pgresult.status == pq.ExecStatus.TUPLES_OK
                return list(cursor.fetchall()) if has_rows else []
        except psycopg.Error as error:
            self._first_error = error
            raise

    def stream(self, statement: str, types: Sequence[str] = (), values: Sequence[object] = (), *, size: int) -> Iterator[list[Row]]:
        """See `pgembed.database.Database.stream`. In autocommit mode the transaction that a cursor needs is one of its own."""
        cursor = f"pgembed_stream_{next(_cursors)}"
        with self._savepoint():
            self.execute(f"DECLARE {cursor} NO SCROLL CURSOR FOR {statement}", types, values)
            while rows := self.execute(f"FETCH {size} FROM {cursor}"):
                yield rows
            self.execute(f"CLOSE {cursor}")

    def prepare(self, statement: str, types: Sequence[str] = ()) -> None:
        """See `pgembed.database.Database.prepare`.

        Raises:
            errors.StatementRefused: PostgreSQL refused the statement; carries its SQLSTATE and words.
        """
        oids = [self._oid(name) for name in types]
        with self.subtransaction():
            pgconn = self.connection.pgconn
            result = pgconn.prepare(b"pgembed_tried", statement.encode(), oids)
            if result.status == pq.ExecStatus.COMMAND_OK:
                pgconn.exec_(b"DEALLOCATE pgembed_tried")
                return

            def said(field: pq.DiagnosticField) -> str | None:
                found = result.error_field(field)
                return found.decode("utf-8", "replace") if found is not None else None

            raise errors.StatementRefused(
                said(pq.DiagnosticField.MESSAGE_PRIMARY) or "the statement was refused",
                sqlstate=said(pq.DiagnosticField.SQLSTATE) or "XX000",
                hint=said(pq.DiagnosticField.MESSAGE_HINT),
            )

    def commit(self) -> bool:
        """See `pgembed.database.Database.commit`.

        Raises:
            psycopg.Error: the transaction has failed before, with that error; or it fails now.
        """
        if self._depth:
            return False
        if self._first_error is not None and self.connection.pgconn.transaction_status == _FAILED:
            raise self._first_error  # COMMIT would roll back, and not say so
        self.connection.commit()
        return True

    @contextmanager
    def _savepoint(self) -> Iterator[None]:
        if not self.connection.autocommit and self.connection.pgconn.transaction_status == _IDLE:
            # psycopg would make of the block a transaction of its own, and commit it
            self.execute("SELECT")
        self._depth += 1
        try:
            with self.connection.transaction():
                yield
        finally:
            self._depth -= 1

    def subtransaction(self) -> AbstractContextManager[object]:
        """See `pgembed.database.Database.subtransaction`."""
        return self._savepoint()

    def check_interrupts(self) -> None:
        """See `pgembed.database.Database.check_interrupts`."""
        if self._check is not None:
            self._check()

    def notice(self, message: str, *, hint: str | None = None) -> None:
        """See `pgembed.database.Database.notice`."""
        self._tell("NOTICE", message, hint)

    def warning(self, message: str, *, hint: str | None = None) -> None:
        """See `pgembed.database.Database.warning`."""
        self._tell("WARNING", message, hint)

    def _parameters(self, types: Sequence[str], values: Sequence[object]) -> list[object]:
        if len(types) != len(values):
            raise TypeError(f"expected {len(types)} values, one for each type, not {len(values)}")
        return [_parameter(self._oid(name), value) for name, value in zip(types, values, strict=True)]

    def _oid(self, name: str) -> int:
        known = self._oids.get(name)
        if known is None:
            known = self._oids[name] = _builtin(name) or self._look_up(name)
        return known

    def _look_up(self, name: str) -> int:
        (row,) = self.execute("SELECT pg_catalog.to_regtype($1)::pg_catalog.oid AS oid", ["pg_catalog.text"], [name])
        if row["oid"] is None:
            raise errors.UnknownObject(f'type "{name}" does not exist', hint="Write it with its schema.")
        return int(row["oid"])


class _Text(str):
    """A value as its type's input function reads it; ``oid`` is of the type."""

    oid: int


class _Binary(bytes):
    """A value as its type's receive function reads it."""

    oid: int


class _Null(_Text):
    """NULL of a type."""


class _TextDumper(adapt.Dumper):
    format = pq.Format.TEXT

    def get_key(self, obj: Any, format: adapt.PyFormat) -> Any:
        return (self.cls, obj.oid)

    def upgrade(self, obj: Any, format: adapt.PyFormat) -> adapt.Dumper:
        made = type(self)(self.cls)
        made.oid = obj.oid
        return made

    def dump(self, obj: Any) -> bytes:
        return str.encode(obj)


class _BinaryDumper(_TextDumper):
    format = pq.Format.BINARY

    def dump(self, obj: Any) -> bytes:
        return bytes(obj)


class _NullDumper(_TextDumper):
    def dump(self, obj: Any) -> Any:
        return None


def _parameter(oid: int, value: object) -> object:
    """A value for a parameter of a type: as plpy, its text goes through the type's input function; bytes go as they are."""
    made: _Text | _Binary
    if value is None:
        made = _Null()  # of None psycopg would not say the type, and PostgreSQL would guess one
    elif oid == _BYTEA_OID:
        made = _Binary(cast("bytes", value))
    elif oid == _BYTEA_ARRAY_OID and isinstance(value, (list, tuple)):
        made = _Binary(_bytea_array(value))
    else:
        made = _Text(_text(value))
    made.oid = oid
    return made


def _text(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return "{" + ",".join(map(_element, value)) + "}"
    return "tf"[not value] if isinstance(value, bool) else str(value)


def _element(value: object) -> str:
    if value is None:
        return "NULL"
    text = "\\x" + value.hex() if isinstance(value, bytes) else _text(value)
    if isinstance(value, (list, tuple)):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _bytea_array(values: Sequence[bytes | None]) -> bytes:
    """What array_recv reads; https://github.com/postgres/postgres/blob/master/src/backend/utils/adt/arrayfuncs.c."""
    if not values:
        return struct.pack("!iiI", 0, 0, _BYTEA_OID)
    parts = [struct.pack("!iiIii", 1, int(None in values), _BYTEA_OID, len(values), 1)]
    for value in values:
        parts.append(struct.pack("!i", -1 if value is None else len(value)))
        if value is not None:
            parts.append(value)
    return b"".join(parts)


def _builtin(name: str) -> int | None:
    """OID of a type that is PostgreSQL's own under that name, which nobody else's can be; None of others."""
    plain = name.removeprefix("pg_catalog.")
    if plain == name:
        return None
    stem = plain.removesuffix("[]")
    found = postgres.types.get(stem)
    if found is None or found.name != stem:
        return None
    return found.oid if stem == plain else found.array_oid


def _read_as_plpy(adapters: adapt.AdaptersMap) -> None:
    for info in postgres.types:
        if info.name not in _PYTHON_TYPES:
            adapters.register_loader(info.oid, TextLoader)
