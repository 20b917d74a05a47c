"""codecs: operations that train codecs and give tables columns of codes.

A codec is fitted to vectors. A database that a migration has just made has none, so what needs some is left out there with a warning:
``alembic upgrade head`` works on an empty database, and the codec is trained by whoever has embedded the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alembic.operations import MigrateOperation, Operations
from sqlalchemy import Connection

from pgembed import errors
from pgembed.alembic.contract import Operation, call, irreversible, regclass, table_name
from pgembed.alembic.definitions import quote
from pgembed.sqlalchemy.declarations import literal

OPTIONS = (
    *("bits", "dims", "bytes", "centered", "rotation", "residual_bits", "queries", "queries_column"),
    *("sample_rows", "seed", "code_type", "measure"),
)


@Operations.register_operation("train_codec")
class TrainCodec(Operation):
    """See `train_codec`."""

    called = "train_codec"

    def __init__(
        self,
        name: str,
        table_name: str,
        method: str,
        *,
        column_name: str = "embedding",
        schema: str | None = None,
        required: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.table_name = table_name
        self.method = method
        self.column_name = column_name
        self.schema = schema
        self.required = required
        self.options = {option: value for option, value in (options or {}).items() if value is not None}

    @classmethod
    def train_codec(
        cls,
        operations: Operations,
        name: str,
        table_name: str,
        method: str,
        *,
        column_name: str = "embedding",
        bits: int | None = None,
        dims: int | None = None,
        bytes: int | None = None,
        centered: bool | None = None,
        rotation: str | None = None,
        residual_bits: int | None = None,
        queries: str | None = None,
        queries_column: str | None = None,
        sample_rows: int | None = None,
        seed: int | None = None,
        code_type: str | None = None,
        measure: bool | None = None,
        schema: str | None = None,
        required: bool = False,
    ) -> None:
        """Train a codec, as ``pgembed.train_codec`` does. Where the column has no vector yet, nothing is trained, and a warning says so.

        Args:
            name, table_name, method, column_name, bits, dims, bytes, centered, rotation, residual_bits, queries, queries_column,
            sample_rows, seed, code_type, measure: as of ``pgembed.train_codec``; queries is a table as SQL writes it.
            required: an empty column is an error.
        Raises:
            sqlalchemy.exc.DBAPIError: what ``pgembed.train_codec`` raises.
        """
        values = dict(locals())
        options = {option: values[option] for option in OPTIONS}
        operations.invoke(cls(name, table_name, method, column_name=column_name, schema=schema, required=required, options=options))

    def statements(self) -> Sequence[str]:
        heads = {"name": literal(self.name), "target": regclass(self.table_name, self.schema)}
        said: dict[str, Any] = {"method": self.method, "column_name": self.column_name}
        said |= {option: self.options[option] for option in OPTIONS if option in self.options and option != "queries"}
        if "queries" in self.options:
            heads["queries"] = f"{literal(self.options['queries'])}::regclass"
        if self.required:
            return [call("train_codec", heads, said)]
        shown = table_name(self.table_name, self.schema)
        column = quote(self.column_name)
        return [
            _guarded(
                f"EXISTS (SELECT FROM {shown} WHERE {column} IS NOT NULL)",
                call("train_codec", heads, said, verb="PERFORM"),
                f'codec "{self.name}" is not trained: {shown}.{self.column_name} has no vectors yet',
                "Once its rows are embedded, call pgembed.train_codec() and add_code(), or make a revision that does.",
            )
        ]

    def said(self) -> tuple[Sequence[Any], Mapping[str, Any]]:
        named = {option: self.options.get(option) for option in OPTIONS}
        return [self.name, self.table_name, self.method], {
            "column_name": self.column_name,
            **named,
            "schema": self.schema,
            "required": self.required or None,
        }

    def reverse(self) -> MigrateOperation:
        return DropCodec(self.name, if_exists=not self.required, reversed_by=self)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        return (self.called, self.schema, self.table_name, self.column_name, self.name)


@Operations.register_operation("drop_codec")
class DropCodec(Operation):
    """See `drop_codec`."""

    called = "drop_codec"

    def __init__(self, name: str, *, if_exists: bool = False, reversed_by: TrainCodec | None = None) -> None:
        self.name = name
        self.if_exists = if_exists
        self.reversed_by = reversed_by

    @classmethod
    def drop_codec(cls, operations: Operations, name: str, *, if_exists: bool = False) -> None:
        """Drop a codec, as ``pgembed.drop_codec`` does.

        Args:
            name: of the codec.
            if_exists: where there is none, do nothing.
        Raises:
            sqlalchemy.exc.DBAPIError: there is no such codec (42704), or columns of codes are made with it (2BP01).
        """
        operations.invoke(cls(name, if_exists=if_exists))

    def statements(self) -> Sequence[str]:
        heads = {"name": literal(self.name)}
        if not self.if_exists:
            return [call("drop_codec", heads, {})]
        return [_guarded(_has_codec(self.name), call("drop_codec", heads, {}, verb="PERFORM"))]

    def said(self) -> tuple[Sequence[Any], Mapping[str, Any]]:
        return [self.name], {"if_exists": self.if_exists or None}

    def reverse(self) -> MigrateOperation:
        if self.reversed_by is None:
            raise irreversible(self)
        return self.reversed_by

    def to_diff_tuple(self) -> tuple[Any, ...]:
        return (self.called, self.name)


@Operations.register_operation("add_code")
class AddCode(Operation):
    """See `add_code`."""

    called = "add_code"

    def __init__(
        self,
        table_name: str,
        codec: str,
        *,
        column_name: str | None = None,
        is_generated: bool | None = None,
        embedding_column: str | None = None,
        covering: Sequence[str] | None = None,
        schema: str | None = None,
        fill: bool = False,
        required: bool = False,
    ) -> None:
        self.table_name = table_name
        self.codec = codec
        self.column_name = column_name
        self.is_generated = is_generated
        self.embedding_column = embedding_column
        self.covering = list(covering or ()) or None
        self.schema = schema
        self.fill = fill
        self.required = required

    @classmethod
    def add_code(
        cls,
        operations: Operations,
        table_name: str,
        codec: str,
        *,
        column_name: str | None = None,
        is_generated: bool | None = None,
        embedding_column: str | None = None,
        covering: Sequence[str] | None = None,
        schema: str | None = None,
        fill: bool = False,
        required: bool = False,
    ) -> None:
        """Give a table a column of codes, as ``pgembed.add_code`` does. Where the codec is not trained, nothing is done but a warning.

        In the migration's transaction no code is computed and no index built, but where the table has no rows.

        Args:
            table_name, codec, column_name, is_generated, embedding_column: as of ``pgembed.add_code``.
            covering: columns of a covering index, as of ``pgembed.code_indexes``; it is built by fill.
            fill: commit what the migration has done so far, then compute the codes (``CALL pgembed.fill_code``) and build their indexes
                concurrently, each by itself; see refresh of `create_embedding`, also for what happens after an interruption.
            required: a codec that is not there is an error.
        Raises:
            errors.InvalidParameter: fill with ``--sql``: the database is asked which indexes are missing.
            errors.NotSupported: fill, in a transaction that is not Alembic's.
            sqlalchemy.exc.DBAPIError: what ``pgembed.add_code`` raises.
        """
        if fill and operations.get_context().as_sql:
            raise errors.InvalidParameter(
                "a script cannot ask the database which indexes of codes are missing",
                hint="Leave fill out, and run CALL pgembed.fill_code(...) and SELECT pgembed.code_indexes(...) \\gexec after the script.",
            )
        operations.invoke(
            cls(
                table_name,
                codec,
                column_name=column_name,
                is_generated=is_generated,
                embedding_column=embedding_column,
                covering=covering,
                schema=schema,
                fill=fill,
                required=required,
            )
        )

    @property
    def column(self) -> str:
        """Name of the column of codes."""
        return self.column_name or self.codec

    def statements(self) -> Sequence[str]:
        heads = {"target": regclass(self.table_name, self.schema)}
        said = {name: getattr(self, name) for name in ("codec", "column_name", "is_generated", "embedding_column")}
        if self.required:
            return [call("add_code", heads, said)]
        return [
            _guarded(
                _has_codec(self.codec),
                call("add_code", heads, said, verb="PERFORM"),
                f'{table_name(self.table_name, self.schema)} has no codes: codec "{self.codec}" is not trained',
                "Once its rows are embedded, call pgembed.train_codec() and add_code(), or make a revision that does.",
            )
        ]

    @property
    def commits(self) -> bool:
        return self.fill

    def is_done(self) -> str:
        return _has_code(self.table_name, self.schema, self.column, f" AND codec = {literal(self.codec)}")

    def finish(self, connection: Connection) -> None:
        heads = {"target": regclass(self.table_name, self.schema), "column_name": literal(self.column)}
        options = {"no_parameters": True}
        has_codec = f"SELECT {_has_codec(self.codec)}"
        if not self.required and not connection.exec_driver_sql(has_codec, execution_options=options).scalar():
            return
        connection.exec_driver_sql(call("fill_code", heads, {}, verb="CALL"), execution_options=options)
        if self.covering:
            heads["covering"] = "ARRAY[" + ", ".join(literal(one) for one in self.covering) + "]::name[]"
        found = call("code_indexes", heads, {}, verb="SELECT * FROM")
        for statement in connection.exec_driver_sql(found, execution_options=options).scalars().all():
            connection.exec_driver_sql(statement, execution_options=options)

    def said(self) -> tuple[Sequence[Any], Mapping[str, Any]]:
        names = ("column_name", "is_generated", "embedding_column", "covering", "schema")
        flags = {"fill": self.fill or None, "required": self.required or None}
        return [self.table_name, self.codec], {name: getattr(self, name) for name in names} | flags

    def reverse(self) -> MigrateOperation:
        return DropCode(self.table_name, self.column, schema=self.schema, if_exists=not self.required, reversed_by=self)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        return (self.called, self.schema, self.table_name, self.column, self.codec)


@Operations.register_operation("drop_code")
class DropCode(Operation):
    """See `drop_code`."""

    called = "drop_code"

    def __init__(
        self,
        table_name: str,
        column_name: str,
        *,
        schema: str | None = None,
        if_exists: bool = False,
        reversed_by: AddCode | None = None,
    ) -> None:
        self.table_name = table_name
        self.column_name = column_name
        self.schema = schema
        self.if_exists = if_exists
        self.reversed_by = reversed_by

    @classmethod
    def drop_code(
        cls, operations: Operations, table_name: str, column_name: str, *, schema: str | None = None, if_exists: bool = False
    ) -> None:
        """Drop a column of codes with its trigger and its indexes, as ``pgembed.drop_code`` does.

        Args:
            if_exists: where there is none, do nothing.
        Raises:
            sqlalchemy.exc.DBAPIError: there is no such column of codes (42704).
        """
        operations.invoke(cls(table_name, column_name, schema=schema, if_exists=if_exists))

    def statements(self) -> Sequence[str]:
        heads = {"target": regclass(self.table_name, self.schema)}
        said = {"column_name": self.column_name}
        if not self.if_exists:
            return [call("drop_code", heads, said)]
        there = _has_code(self.table_name, self.schema, self.column_name)
        return [_guarded(there, call("drop_code", heads, said, verb="PERFORM"))]

    def said(self) -> tuple[Sequence[Any], Mapping[str, Any]]:
        return [self.table_name, self.column_name], {"schema": self.schema, "if_exists": self.if_exists or None}

    def reverse(self) -> MigrateOperation:
        if self.reversed_by is None:
            raise irreversible(self)
        return self.reversed_by

    def to_diff_tuple(self) -> tuple[Any, ...]:
        return (self.called, self.schema, self.table_name, self.column_name)


def _has_codec(name: str) -> str:
    return f"EXISTS (SELECT FROM pgembed.codecs WHERE name = {literal(name)})"


def _has_code(name: str, schema: str | None, column: str, also: str = "") -> str:
    return f"EXISTS (SELECT FROM pgembed.codes WHERE table_name = {regclass(name, schema)} AND column_name = {literal(column)}{also})"


def _guarded(condition: str, performed: str, warning: str | None = None, hint: str | None = None) -> str:
    """A block that performs something where a condition holds, in SQL so that a script is as careful; else it warns, where that is said."""
    warned = ""
    if warning is not None:
        warned = f"    ELSE\n        RAISE WARNING USING MESSAGE = {literal(warning)}, HINT = {literal(hint)};\n"
    return f"DO $pgembed$\nBEGIN\n    IF {condition} THEN\n        {performed};\n{warned}    END IF;\nEND\n$pgembed$"
