"""comparing: autogenerate for vectors, their indexes and generated columns, by PostgreSQL's own view of what a model declares.

Alembic compares texts. For what has to do with a vector its findings are replaced: what the server takes for the same is no change, and
what it takes for different is one. Nothing else is touched. Where the server may not be asked, Alembic's findings stay, and a warning says
why.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from typing import Any

import alembic.util
from alembic.autogenerate import comparators
from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from sqlalchemy import Column, Connection, Index, Table
from sqlalchemy.exc import DBAPIError

from pgembed.alembic import columns as vector_columns
from pgembed.alembic import indexes as vector_indexes
from pgembed.alembic.definitions import Catalogue, ColumnDefinition, Copy, IndexDefinition, copied
from pgembed.alembic.indexes import CreateVectorIndex, DropVectorIndex
from pgembed.alembic.types import is_vector, render_types

log = logging.getLogger(__name__)

_catalogues: weakref.WeakKeyDictionary[Connection, Catalogue] = weakref.WeakKeyDictionary()

# Since 1.18 Alembic runs its own comparators after those that others have registered, unless those want to be the last.
_priority: Any = getattr(alembic.util, "DispatchPriority", None)
_result: Any = getattr(alembic.util, "PriorityDispatchResult", None)


def _registered(target: str, order: str, subgroup: str | None = None) -> Callable[[Any], Any]:
    dispatch: Callable[..., Callable[[Any], Any]] = comparators.dispatch_for
    if _priority is None:
        return dispatch(target)
    return dispatch(target, priority=_priority[order], subgroup=subgroup)


@_registered("schema", "FIRST")
def _prepare(context: AutogenContext, *_: Any) -> Any:
    if context.dialect is not None and context.dialect.name == "postgresql":
        render_types(context)
        if context.connection is not None:
            _catalogues.pop(context.connection, None)  # what it knows may be of an earlier run
    return _result and _result.CONTINUE


@_registered("column", "FIRST", "server_default")
def _leave_default(
    context: AutogenContext,
    operation: ops.AlterColumnOp,
    schema: str | None,
    table: str,
    name: str,
    found: Column[Any],
    column: Column[Any],
) -> Any:
    """Keep Alembic from comparing a vector's default or expression by its text: `_compare_table` asks the server."""
    if _result is None:
        return None
    if context.dialect is None or context.dialect.name != "postgresql" or not _has_vector(column, context):
        return _result.CONTINUE
    if callable(context.opts.get("compare_server_default")) or (vector_columns.is_generated(found) and column.server_default is None):
        return _result.CONTINUE
    if found.server_default is not None or column.server_default is not None:
        operation.existing_server_default = found.server_default
    return _result.STOP


@_registered("table", "LAST", "pgembed")
def _compare_table(
    context: AutogenContext,
    changes: ops.ModifyTableOps,
    schema: str | None,
    name: str,
    found: Table | None,
    table: Table | None,
) -> Any:
    if context.dialect is not None and context.dialect.name == "postgresql" and context.connection is not None:
        comparison = _Comparison(context, changes, schema, name, found, table)
        if comparison.concerns_vectors():
            comparison.run()
    return _result and _result.CONTINUE


def _has_vector(column: Column[Any], context: AutogenContext) -> bool:
    """Whether a column of a model is of vectors, or computed from one."""
    assert context.dialect is not None
    if "pgembed" in column.info:
        return False  # what is embedded is declared by other means
    if is_vector(column.type, context.dialect):
        return True
    if not vector_columns.is_generated(column) or column.table is None:
        return False
    said = vector_columns.definition(column, context.dialect)
    return any(other.name in said and is_vector(other.type, context.dialect) for other in column.table.columns)


class _Comparison:
    """One table's."""

    def __init__(
        self, context: AutogenContext, changes: ops.ModifyTableOps, schema: str | None, name: str, found: Table | None, table: Table | None
    ) -> None:
        assert context.dialect is not None
        assert context.connection is not None
        self.context = context
        self.dialect = context.dialect
        self.connection: Connection = context.connection
        self.changes = changes
        self.schema = schema
        self.name = name
        self.found = found
        self.table = table
        self.columns = {} if table is None else {column.name: column for column in table.columns if not column.system}
        self.indexes = {} if table is None else {self._index_name(index): index for index in table.indexes if index.name is not None}

    def concerns_vectors(self) -> bool:
        """Whether there is a vector on either side; asks the server nothing."""
        for side in (self.found, self.table):
            if side is None:
                continue
            if any(is_vector(column.type, self.dialect) for column in side.columns):
                return True
            if any(vector_indexes.is_vector_index(index, side, self.dialect) for index in side.indexes):
                return True
        return False

    def run(self) -> None:
        """Replace what Alembic has found."""
        existing: dict[str, IndexDefinition] = {}
        catalogue = _catalogues.get(self.connection)
        if catalogue is None:
            catalogue = _catalogues[self.connection] = Catalogue(self.connection)
        real = catalogue.table(self.schema, self.name) if self.found is not None else None
        if real is not None:
            compared = self._compare(catalogue, *real) if self.table is not None else None
            if compared is None and any(isinstance(operation, ops.DropIndexOp) for operation in self.changes.ops):
                (compared,) = catalogue.indexes(real[0])
            existing = compared or {}
        self._make_faithful(existing)

    def _compare(self, catalogue: Catalogue, oid: int, schema: str) -> dict[str, IndexDefinition] | None:
        """By an empty copy of the table that has the model's columns and indexes; the table's own indexes, if they were asked for."""
        assert self.found is not None
        present = {column.name: column for column in self.found.columns}
        compared = [
            name
            for name, column in self.columns.items()
            if name in present and "pgembed" not in column.info
            if is_vector(present[name].type, self.dialect) or _has_vector(column, self.context)
            if self._passes(column, name, "column", present[name])
        ]
        existing = {str(index.name): index for index in self.found.indexes}
        tried = {
            name: index
            for name, index in self.indexes.items()
            if name in existing and (self._has_vector_index(index) or self._has_vector_index(existing[name]))
            if self._passes(index, name, "index", existing[name])
        }
        if not compared and not tried:
            return None
        try:
            with copied(catalogue, schema, self.name, [name for name in present if name not in compared]) as copy:
                added = [name for name in self.columns if name in compared or name not in present]
                added.sort(key=lambda name: vector_columns.is_generated(self.columns[name]))  # which are made of the others
                copy.fill(
                    {name: vector_columns.definition(self.columns[name], self.dialect) for name in added},
                    {name: (bool(index.unique), vector_indexes.statement(index, self.dialect)) for name, index in tried.items()},
                )
                real_columns, declared_columns = catalogue.columns(oid, copy.table)
                real_indexes, declared_indexes = catalogue.indexes(oid, copy.table)
                changed = {name for name in tried if name in declared_indexes and declared_indexes[name] != real_indexes[name]}
                changed = self._restated(catalogue, copy, {name: (declared_indexes[name], real_indexes[name]) for name in changed})
                anew = {
                    name
                    for name in compared
                    if name in declared_columns and self._change_column(copy, declared_columns[name], real_columns[name])
                }
        except DBAPIError as error:
            log.warning("vectors of %s are compared by their texts only: %s", self.name, str(error.orig).strip().partition("\n")[0])
            return None
        for name, said in copy.refused.items():
            if name in compared or name.removeprefix("index ") in tried:
                log.warning("%s of %s cannot be compared, for the server refuses what the model declares: %s", name, self.name, said)
        for name in tried:
            if name in declared_indexes:
                # an index goes with a column that is made anew
                self._change_index(name, real_indexes[name], name in changed or bool(real_indexes[name].uses & anew))
        return real_indexes

    def _restated(self, catalogue: Catalogue, copy: Copy, pairs: dict[str, tuple[IndexDefinition, IndexDefinition]]) -> set[str]:
        """Of indexes that differ those that still do once both sides are created from what PostgreSQL has written.

        Its texts are not always what they become when they are read again: a condition ``title IN ('a', 'b')`` moves its casts.
        """
        if not pairs:
            return set()
        names = {name: (f"pgembed_trial_{number}_a", f"pgembed_trial_{number}_b") for number, name in enumerate(pairs)}
        sides = [one for name, pair in pairs.items() for one in zip(names[name], pair, strict=True)]
        copy.fill({}, {name: (definition.unique, definition.statement()) for name, definition in sides})
        (found,) = catalogue.indexes(copy.table)
        return {name for name, (left, right) in names.items() if left not in found or found[left] != found.get(right)}

    def _has_vector_index(self, index: Index) -> bool:
        return index.table is not None and vector_indexes.is_vector_index(index, index.table, self.dialect)

    def _change_column(self, copy: Copy, declared: ColumnDefinition, present: ColumnDefinition) -> bool:
        """Replace what Alembic says of a column; whether it has to be made anew."""
        assert self.table is not None
        column, found = self.columns[declared.name], self._found_column(declared.name)
        operation = self._column_operation(column, found)
        if declared.generated is not None:
            if not vector_columns.differs(declared, present):
                operation.modify_type = None
                operation.modify_server_default = False
                self._put(operation)
                return False
            self._remove(operation)
            self.changes.ops.append(ops.DropColumnOp.from_column_and_tablename(self.schema, self.name, found))
            self.changes.ops.append(ops.AddColumnOp.from_column_and_tablename(self.schema, self.name, column))
            log.info("Detected another expression of the generated column '%s.%s'", self.name, declared.name)
            return True
        using = back = None
        options = self.context.opts
        if options.get("compare_type", True) and not callable(options.get("compare_type")):
            operation.modify_type = None if declared.same_type(present) else column.type
            if operation.modify_type is not None:
                log.info("Detected type change from %s to %s on '%s.%s'", present.type, declared.type, self.name, declared.name)
                using = vector_columns.conversion(copy, declared.name, present.type, declared.type)
                back = vector_columns.conversion(copy, declared.name, declared.type, present.type)
        if options.get("compare_server_default") is True and present.generated is None:
            operation.modify_server_default = False if declared.default == present.default else column.server_default
        self._put(operation, vector_columns.with_using(operation, using, back) if operation.modify_type is not None else operation)
        return False

    def _column_operation(self, column: Column[Any], found: Column[Any]) -> ops.AlterColumnOp:
        for operation in self.changes.ops:
            if isinstance(operation, ops.AlterColumnOp) and operation.column_name == column.name:
                return operation
        return ops.AlterColumnOp(
            self.name,
            column.name,
            schema=self.schema,
            existing_type=found.type,
            existing_nullable=found.nullable,
            existing_server_default=found.server_default if found.server_default is not None else False,
            existing_comment=found.comment,
        )

    def _put(self, operation: ops.AlterColumnOp, instead: ops.AlterColumnOp | None = None) -> None:
        """Have an operation, or another in its place, among the changes if it changes anything."""
        place = self._remove(operation)
        made = instead or operation
        if made.has_changes():
            self.changes.ops.insert(place, made)

    def _remove(self, operation: Any) -> int:
        if operation in self.changes.ops:
            place = self.changes.ops.index(operation)
            del self.changes.ops[place]
            return place
        return len(self.changes.ops)

    def _change_index(self, name: str, present: IndexDefinition, differs: bool) -> None:
        """Replace what Alembic says of an index."""
        assert self.table is not None
        for operation in list(self.changes.ops):
            if isinstance(operation, ops.CreateIndexOp | ops.DropIndexOp) and str(operation.index_name) == name:
                self._remove(operation)
        if differs:
            log.info("Detected changed index '%s' on '%s'", name, self.name)
            self.changes.ops.insert(0, DropVectorIndex(vector_indexes.recreate(present, self.table)))
            self.changes.ops.append(vector_indexes.create(self.indexes[name], self.table, self.dialect))

    def _make_faithful(self, existing: dict[str, IndexDefinition]) -> None:
        """Let operations create indexes as they are, forwards and backwards, and drop them before the type of a column changes."""
        side = self.table if self.table is not None else self.found
        assert side is not None
        for place, operation in enumerate(self.changes.ops):
            name = str(getattr(operation, "index_name", ""))
            if isinstance(operation, CreateVectorIndex | DropVectorIndex):
                continue
            if isinstance(operation, ops.CreateIndexOp):
                index = self.indexes.get(name)
                if index is not None and self.table is not None and vector_indexes.is_vector_index(index, self.table, self.dialect):
                    self.changes.ops[place] = vector_indexes.create(index, self.table, self.dialect)
            elif isinstance(operation, ops.DropIndexOp) and name in existing and existing[name].vector:
                self.changes.ops[place] = DropVectorIndex(vector_indexes.recreate(existing[name], side))
        self.changes.ops.sort(key=lambda operation: not isinstance(operation, DropVectorIndex))

    def _index_name(self, index: Index) -> str:
        preparer: Any = self.dialect.identifier_preparer
        return str(preparer.format_constraint(index, _alembic_quote=False))

    def _found_column(self, name: str) -> Column[Any]:
        assert self.found is not None
        return self.found.columns[name]

    def _passes(self, item: Any, name: str, kind: Any, found: Any) -> bool:
        """Whether the project's include_object and include_name let a difference be seen."""
        names: Any = {"table_name": self.name, "schema_name": self.schema}
        return self.context.run_name_filters(name, kind, names) and self.context.run_object_filters(item, name, kind, False, found)
