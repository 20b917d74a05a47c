"""embeddings: operations that declare embedded columns, change them and drop them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alembic.operations import BatchOperations, MigrateOperation, Operations

from pgembed import errors
from pgembed.alembic.contract import Operation, call, irreversible, regclass
from pgembed.sqlalchemy.declarations import literal

_DEFAULTS = {"column_name": "embedding", "sync": "auto", "metric": "cosine", "by_hand": "mark"}
_CHANGEABLE = ("source", "model", "metric", "sync", "chunk_tokens", "chunk_overlap", "by_hand")


def _refresh_call(table_name: str, schema: str | None, column_name: str) -> str:
    """``CALL pgembed.refresh(...)``."""
    return call("refresh", {"target": regclass(table_name, schema)}, {"column_name": column_name}, verb="CALL")


@Operations.register_operation("create_embedding")
@BatchOperations.register_operation("create_embedding", "batch_create_embedding")
class CreateEmbedding(Operation):
    """See `create_embedding`."""

    called = "create_embedding"

    def __init__(
        self,
        table_name: str,
        source: str,
        *,
        column_name: str = "embedding",
        model: str | None = None,
        sync: str = "auto",
        metric: str = "cosine",
        chunk_tokens: int | None = None,
        chunk_overlap: int | None = None,
        by_hand: str = "mark",
        schema: str | None = None,
        refresh: bool = False,
    ) -> None:
        if not isinstance(source, str):
            raise errors.InvalidParameter(
                f"the source of an embedded column is a text, not {source!r}",
                hint="A revision has it in SQL: \"name || ': ' || description\".",
            )
        self.table_name = table_name
        self.source = source
        self.column_name = column_name
        self.model = model
        self.sync = sync
        self.metric = metric
        self.chunk_tokens = chunk_tokens
        self.chunk_overlap = chunk_overlap
        self.by_hand = by_hand
        self.schema = schema
        self.refresh = refresh

    @classmethod
    def create_embedding(
        cls,
        operations: Operations,
        table_name: str,
        source: str,
        *,
        column_name: str = "embedding",
        model: str | None = None,
        sync: str = "auto",
        metric: str = "cosine",
        chunk_tokens: int | None = None,
        chunk_overlap: int | None = None,
        by_hand: str = "mark",
        schema: str | None = None,
        refresh: bool = False,
    ) -> None:
        """Give a table an embedded column, as ``pgembed.add_embedding`` does.

        Nothing is embedded and no vector index is built in the migration's transaction: columns are added, empty, which rewrites nothing,
        and a small index over the rows that need work is built, which reads the table once under the lock of ``ALTER TABLE``. Rows that
        are there are embedded by ``CALL pgembed.refresh()``, by a worker (``pgembed worker``), or here and now by refresh.

        Args:
            table_name, source, column_name, model, sync, metric, chunk_tokens, chunk_overlap, by_hand: as of ``pgembed.add_embedding``;
                a model of None is the database's default model at the time of the migration.
            refresh: commit what the migration has done so far, then embed the rows in batches and build the index of a large table, each
                committed by itself; what is said meanwhile is logged (alembic.pgembed). A later failure of the migration does not undo
                what was committed: let such a migration do nothing else, with ``transaction_per_migration=True`` in env.py. Run again
                after an interruption, it goes on with the rows that are left.
        Raises:
            errors.InvalidParameter: the source is no text.
            errors.NotReady: the database has no pgembed.
            errors.NotSupported: refresh, in a transaction that is not Alembic's.
            sqlalchemy.exc.DBAPIError: what ``pgembed.add_embedding`` raises.
        """
        operations.invoke(
            cls(
                table_name,
                source,
                column_name=column_name,
                model=model,
                sync=sync,
                metric=metric,
                chunk_tokens=chunk_tokens,
                chunk_overlap=chunk_overlap,
                by_hand=by_hand,
                schema=schema,
                refresh=refresh,
            )
        )

    @classmethod
    def batch_create_embedding(cls, operations: BatchOperations, source: str, **options: Any) -> None:
        """The same for the table of ``op.batch_alter_table``, after what stands before it in the block; takes no refresh.

        Args:
            source: as of ``op.create_embedding``, and so are the options.
        Raises:
            errors.NotSupported: refresh was asked for.
        """
        operations.invoke(cls(operations.impl.table_name, source, schema=operations.impl.schema, **options))

    def statements(self) -> Sequence[str]:
        said = {name: getattr(self, name) for name in ("source", "model", "column_name", "sync", "metric")}
        said |= {name: getattr(self, name) for name in ("chunk_tokens", "chunk_overlap", "by_hand")}
        said = {name: value for name, value in said.items() if _DEFAULTS.get(name) != value}
        return [call("add_embedding", {"target": regclass(self.table_name, self.schema)}, said)]

    @property
    def commits(self) -> bool:
        return self.refresh

    def is_done(self) -> str:
        said = {name: getattr(self, name) for name in ("source", "metric", "sync", "by_hand", "chunk_tokens")}
        said |= {name: value for name in ("model", "chunk_overlap") if (value := getattr(self, name)) is not None}
        same = "".join(f" AND {name} IS NOT DISTINCT FROM {literal(value)}" for name, value in said.items())
        return (
            f"EXISTS (SELECT FROM pgembed._embedding WHERE table_name = {regclass(self.table_name, self.schema)}"
            f" AND column_name = {literal(self.column_name)} AND role = 'current' AND NOT adopted{same})"
        )

    def afterwards(self) -> Sequence[str]:
        return [_refresh_call(self.table_name, self.schema, self.column_name)]

    def said(self) -> tuple[Sequence[Any], Mapping[str, Any]]:
        names = ("column_name", "model", "sync", "metric", "chunk_tokens", "chunk_overlap", "by_hand", "schema")
        named = {name: getattr(self, name) for name in names if _DEFAULTS.get(name) != getattr(self, name)}
        # said even where it is the default: with what op.drop_embedding() takes it can be found again
        return [self.table_name, self.source], {"column_name": self.column_name, **named, "refresh": self.refresh or None}

    def reverse(self) -> MigrateOperation:
        return DropEmbedding(self.table_name, self.column_name, schema=self.schema, reversed_by=self)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        return (self.called, self.schema, self.table_name, self.column_name)


@Operations.register_operation("adopt_embedding")
class AdoptEmbedding(Operation):
    """See `adopt_embedding`."""

    called = "adopt_embedding"

    def __init__(
        self,
        table_name: str,
        column_name: str,
        *,
        model: str | None = None,
        source: str | None = None,
        metric: str | None = None,
        sync: str = "auto",
        by_hand: str = "mark",
        schema: str | None = None,
    ) -> None:
        self.table_name = table_name
        self.column_name = column_name
        self.model = model
        self.source = source
        self.metric = metric
        self.sync = sync
        self.by_hand = by_hand
        self.schema = schema

    @classmethod
    def adopt_embedding(
        cls,
        operations: Operations,
        table_name: str,
        column_name: str,
        *,
        model: str | None = None,
        source: str | None = None,
        metric: str | None = None,
        sync: str = "auto",
        by_hand: str = "mark",
        schema: str | None = None,
    ) -> None:
        """Declare a column of vectors that exists already, as ``pgembed.adopt_embedding`` does: its vectors count as fresh.

        Args:
            table_name, column_name, model, source, metric, sync, by_hand: as of ``pgembed.adopt_embedding``.
        Raises:
            sqlalchemy.exc.DBAPIError: what ``pgembed.adopt_embedding`` raises.
        """
        operations.invoke(
            cls(table_name, column_name, model=model, source=source, metric=metric, sync=sync, by_hand=by_hand, schema=schema)
        )

    def statements(self) -> Sequence[str]:
        said = {name: getattr(self, name) for name in ("column_name", "model", "source", "metric", "sync", "by_hand")}
        said = {name: value for name, value in said.items() if name == "column_name" or _DEFAULTS.get(name) != value or name == "metric"}
        return [call("adopt_embedding", {"target": regclass(self.table_name, self.schema)}, said)]

    def said(self) -> tuple[Sequence[Any], Mapping[str, Any]]:
        named = {name: getattr(self, name) for name in ("model", "source", "metric", "sync", "by_hand", "schema")}
        return [self.table_name, self.column_name], {
            name: value for name, value in named.items() if name == "metric" or _DEFAULTS.get(name) != value
        }

    def reverse(self) -> MigrateOperation:
        return DropEmbedding(self.table_name, self.column_name, keep_column=True, schema=self.schema, reversed_by=self)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        return (self.called, self.schema, self.table_name, self.column_name)


@Operations.register_operation("drop_embedding")
@BatchOperations.register_operation("drop_embedding", "batch_drop_embedding")
class DropEmbedding(Operation):
    """See `drop_embedding`."""

    called = "drop_embedding"

    def __init__(
        self,
        table_name: str,
        column_name: str = "embedding",
        *,
        keep_column: bool | None = None,
        schema: str | None = None,
        reversed_by: CreateEmbedding | AdoptEmbedding | None = None,
    ) -> None:
        self.table_name = table_name
        self.column_name = column_name
        self.keep_column = keep_column
        self.schema = schema
        self.reversed_by = reversed_by

    @classmethod
    def drop_embedding(
        cls,
        operations: Operations,
        table_name: str,
        column_name: str = "embedding",
        *,
        keep_column: bool | None = None,
        schema: str | None = None,
    ) -> None:
        """Undo `create_embedding` or `adopt_embedding`, as ``pgembed.drop_embedding`` does.

        Args:
            keep_column: keep the vectors, as an ordinary column of pgvector's; None keeps them only where the column was adopted.
        Raises:
            sqlalchemy.exc.DBAPIError: there is no such embedded column (42704), or there are codes of its vectors (2BP01): `drop_code`.
        """
        operations.invoke(cls(table_name, column_name, keep_column=keep_column, schema=schema))

    @classmethod
    def batch_drop_embedding(cls, operations: BatchOperations, column_name: str = "embedding", *, keep_column: bool | None = None) -> None:
        """The same for the table of ``op.batch_alter_table``; keep_column as of `drop_embedding`."""
        operations.invoke(cls(operations.impl.table_name, column_name, keep_column=keep_column, schema=operations.impl.schema))

    def statements(self) -> Sequence[str]:
        said = {"column_name": self.column_name, "keep_column": self.keep_column}
        return [call("drop_embedding", {"target": regclass(self.table_name, self.schema)}, said)]

    def said(self) -> tuple[Sequence[Any], Mapping[str, Any]]:
        return [self.table_name, self.column_name], {"keep_column": self.keep_column, "schema": self.schema}

    def reverse(self) -> MigrateOperation:
        if self.reversed_by is None:
            raise irreversible(self)
        return self.reversed_by

    def to_diff_tuple(self) -> tuple[Any, ...]:
        return (self.called, self.schema, self.table_name, self.column_name)


@Operations.register_operation("alter_embedding")
@BatchOperations.register_operation("alter_embedding", "batch_alter_embedding")
class AlterEmbedding(Operation):
    """See `alter_embedding`."""

    called = "alter_embedding"

    def __init__(
        self,
        table_name: str,
        column_name: str = "embedding",
        *,
        changes: Mapping[str, Any],
        existing: Mapping[str, Any] | None = None,
        schema: str | None = None,
        refresh: bool = False,
    ) -> None:
        if not changes:
            raise errors.NullNotAllowed("nothing is to be changed", hint=f"Say what: {', '.join(_CHANGEABLE)}.")
        self.table_name = table_name
        self.column_name = column_name
        self.changes = dict(changes)
        self.existing = dict(existing or {})
        self.schema = schema
        self.refresh = refresh

    @classmethod
    def alter_embedding(
        cls,
        operations: Operations,
        table_name: str,
        column_name: str = "embedding",
        *,
        source: str | None = None,
        model: str | None = None,
        metric: str | None = None,
        sync: str | None = None,
        chunk_tokens: int | None = None,
        chunk_overlap: int | None = None,
        by_hand: str | None = None,
        existing_source: str | None = None,
        existing_model: str | None = None,
        existing_metric: str | None = None,
        existing_sync: str | None = None,
        existing_chunk_tokens: int | None = None,
        existing_chunk_overlap: int | None = None,
        existing_by_hand: str | None = None,
        schema: str | None = None,
        refresh: bool = False,
    ) -> None:
        """Change an embedded column, as ``pgembed.alter_embedding`` does; what is None stays.

        A new source or new limits of chunks mark all rows stale, and their old vectors serve until they are embedded anew. **A new model
        empties the column** at once: to change the model of a column that is in use, see ``pgembed.change_model``.

        Args:
            table_name, column_name, source, model, metric, sync, chunk_tokens, chunk_overlap, by_hand: as of ``pgembed.alter_embedding``.
            existing_source, existing_model, existing_metric, existing_sync, existing_chunk_tokens, existing_chunk_overlap,
            existing_by_hand: what was there before, which the operation's reverse brings back; not used otherwise.
            refresh: as of `create_embedding`.
        Raises:
            errors.NullNotAllowed: nothing is to be changed.
            sqlalchemy.exc.DBAPIError: what ``pgembed.alter_embedding`` raises.
        """
        values = dict(locals())
        changes = {name: values[name] for name in _CHANGEABLE if values[name] is not None}
        existing = {name: values[f"existing_{name}"] for name in _CHANGEABLE if values[f"existing_{name}"] is not None}
        operations.invoke(cls(table_name, column_name, changes=changes, existing=existing, schema=schema, refresh=refresh))

    @classmethod
    def batch_alter_embedding(cls, operations: BatchOperations, column_name: str = "embedding", **changes: Any) -> None:
        """The same for the table of ``op.batch_alter_table``; takes no refresh."""
        existing = {name.removeprefix("existing_"): value for name, value in changes.items() if name.startswith("existing_")}
        wanted = {name: value for name, value in changes.items() if not name.startswith("existing_")}
        unknown = sorted({*existing, *wanted} - set(_CHANGEABLE))
        if unknown:
            raise TypeError(f"alter_embedding takes no {', '.join(unknown)} within a batch")
        operations.invoke(cls(operations.impl.table_name, column_name, changes=wanted, existing=existing, schema=operations.impl.schema))

    def statements(self) -> Sequence[str]:
        said = {"column_name": self.column_name} | {name: self.changes[name] for name in _CHANGEABLE if name in self.changes}
        return [call("alter_embedding", {"target": regclass(self.table_name, self.schema)}, said)]

    @property
    def commits(self) -> bool:
        return self.refresh

    def afterwards(self) -> Sequence[str]:
        return [_refresh_call(self.table_name, self.schema, self.column_name)]

    def said(self) -> tuple[Sequence[Any], Mapping[str, Any]]:
        named = {name: self.changes[name] for name in _CHANGEABLE if name in self.changes}
        before = {f"existing_{name}": self.existing[name] for name in _CHANGEABLE if name in self.existing}
        return [self.table_name, self.column_name], {**named, **before, "schema": self.schema, "refresh": self.refresh or None}

    def reverse(self) -> MigrateOperation:
        missing = [name for name in self.changes if self.existing.get(name) is None]
        if missing:
            raise ValueError(f"alter_embedding is not reversible: existing_{missing[0]} is not known")
        before = {name: self.existing[name] for name in self.changes}
        return AlterEmbedding(self.table_name, self.column_name, changes=before, existing=self.changes, schema=self.schema)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        return (self.called, self.schema, self.table_name, self.column_name, tuple(self.changes.items()))
