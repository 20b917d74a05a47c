"""indexes: indexes of vectors, as a model declares them and as a migration writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from sqlalchemy import Column, Dialect, Index, Table, literal_column, text
from sqlalchemy.sql import coercions, roles
from sqlalchemy.sql.elements import ColumnClause

from pgembed.alembic.definitions import IndexDefinition, quote
from pgembed.alembic.types import NAMES, is_vector

_METHODS = ("hnsw", "ivfflat")


class CreateVectorIndex(ops.CreateIndexOp):
    """``op.create_index`` of an index whose keys keep their operator classes, outside of the transaction if it is built concurrently."""

    def reverse(self) -> ops.DropIndexOp:
        """Drop it."""
        return DropVectorIndex(self)


class DropVectorIndex(ops.DropIndexOp):
    """``op.drop_index`` that knows how to create the index again."""

    def __init__(self, created: CreateVectorIndex) -> None:
        super().__init__(str(created.index_name), created.table_name, schema=created.schema)
        self.created = created

    def to_index(self, migration_context: Any = None) -> Index:
        """The index that is dropped."""
        return self.created.to_index(migration_context)

    def reverse(self) -> ops.CreateIndexOp:
        """Create it again."""
        return self.created


@renderers.dispatch_for(CreateVectorIndex)
def _render_create(context: AutogenContext, operation: CreateVectorIndex) -> str:
    render: Any = renderers.dispatch(ops.CreateIndexOp)
    # Alembic writes expressions as the driver gets them
    return _outside(context, compiled_for(context.dialect, render(context, operation)), _concurrently(operation))


@renderers.dispatch_for(DropVectorIndex)
def _render_drop(context: AutogenContext, operation: DropVectorIndex) -> str:
    concurrently = _concurrently(operation.created)
    options: dict[str, Any] = {"postgresql_concurrently": True} if concurrently else {}
    # the index itself may have a name by a convention, which is written as op.f(...)
    plain = ops.DropIndexOp(operation.created.index_name or "", operation.table_name, schema=operation.schema, **options)
    render: Any = renderers.dispatch(ops.DropIndexOp)
    return _outside(context, render(context, plain), concurrently)


def _concurrently(operation: ops.CreateIndexOp) -> bool:
    return bool(operation.kw.get("postgresql_concurrently"))


def _outside(context: AutogenContext, rendered: str, concurrently: bool) -> str:
    """PostgreSQL builds no index concurrently inside of a transaction, and Alembic's migrations are in one."""
    if not concurrently:
        return rendered
    prefix = context.opts["alembic_module_prefix"] or ""
    return f"with {prefix}get_context().autocommit_block():\n    {rendered}"


def key_texts(index: Index, dialect: Dialect) -> list[str]:
    """SQL of each key, with the operator class that ``postgresql_ops`` has for it."""
    classes = index.dialect_options["postgresql"]["ops"] or {}
    texts = []
    keys: Sequence[Any] = index.expressions
    for key in keys:
        compiled = _compile(key if isinstance(key, ColumnClause) else key.self_group(), dialect)
        name = getattr(key, "key", None)
        texts.append(f"{compiled} {classes[name]}" if name in classes else compiled)
    return texts


def statement(index: Index, dialect: Dialect) -> str:
    """What follows the table in the CREATE INDEX of a model's index, but for its tablespace."""
    options = index.dialect_options["postgresql"]
    parts = []
    if options["using"]:
        parts.append(f"USING {options['using']}")
    parts.append(f"({', '.join(key_texts(index, dialect))})")
    if options["include"]:
        parts.append(f"INCLUDE ({', '.join(quote(name) for name in _included(index))})")
    nulls_not_distinct = options.get("nulls_not_distinct")
    if nulls_not_distinct is not None:
        parts.append("NULLS NOT DISTINCT" if nulls_not_distinct else "NULLS DISTINCT")
    if options["with"]:
        parts.append(f"WITH ({', '.join(f'{name} = {value}' for name, value in options['with'].items())})")
    if options["where"] is not None:
        parts.append(f"WHERE {_compile(coercions.expect(roles.DDLExpressionRole, options['where']), dialect)}")
    return " ".join(parts)


def is_vector_index(index: Index, table: Table, dialect: Dialect) -> bool:
    """Whether a model's index has to do with a vector: by its method, a column, or a name in a text."""
    options = index.dialect_options["postgresql"]
    if str(options["using"] or "").lower() in _METHODS:
        return True
    vectors = {column.name for column in table.columns if is_vector(column.type, dialect)}
    if vectors & ({column.name for column in index.columns} | set(_included(index))):
        return True
    said = statement(index, dialect)
    return NAMES.search(said) is not None or any(name in said for name in vectors)


def create(index: Index, table: Table, dialect: Dialect) -> CreateVectorIndex:
    """The operation for a model's index.

    A migration has an expression as a text, which no longer is what ``postgresql_ops`` names: its operator class stands behind it.
    """
    classes = index.dialect_options["postgresql"]["ops"] or {}
    columns: list[Any] = []
    kept = {}
    for key, said in zip(index.expressions, key_texts(index, dialect), strict=True):
        if isinstance(key, Column):
            columns.append(key)
            kept.update({key.key: classes[key.key]} if key.key in classes else {})
        else:
            columns.append(literal_column(said))
    options = {name: value for name, value in index.dialect_kwargs.items() if name != "postgresql_ops"}
    if options.get("postgresql_include"):
        options["postgresql_include"] = _included(index)
    if kept:
        options["postgresql_ops"] = kept
    return CreateVectorIndex(index.name, table.name, columns, schema=table.schema, unique=bool(index.unique), **options)


def recreate(definition: IndexDefinition, table: Table) -> CreateVectorIndex:
    """The operation for an index as it is in the database: what undoes its being dropped."""
    columns: list[Any] = []
    options: dict[str, Any] = {"postgresql_using": definition.method} if definition.method != "btree" else {}
    classes = {}
    for said, column, operator_class in zip(definition.keys, definition.columns, definition.classes, strict=True):
        bare = column is not None and said in (
            f"{name}{' ' + operator_class if operator_class else ''}" for name in (column, quote(column))
        )
        if bare and column is not None:
            columns.append(column)
            classes.update({column: operator_class} if operator_class else {})
        else:
            columns.append(literal_column(said))
    if classes:
        options["postgresql_ops"] = classes
    if definition.include:
        options["postgresql_include"] = list(definition.include)
    if definition.options:
        options["postgresql_with"] = {name: int(value) if value.isdecimal() else value for name, value in sorted(definition.options)}
    if definition.condition:
        options["postgresql_where"] = text(definition.condition.replace(":", r"\:"))
    if definition.nulls_not_distinct:
        options["postgresql_nulls_not_distinct"] = True
    return CreateVectorIndex(definition.name, table.name, columns, schema=table.schema, unique=definition.unique, **options)


def _included(index: Index) -> list[str]:
    given: Sequence[Any] = index.dialect_options["postgresql"]["include"] or ()
    table = index.table
    return [table.c[one].name if isinstance(one, str) and table is not None else getattr(one, "name", str(one)) for one in given]


def compiled_for(dialect: Dialect | None, said: str) -> str:
    """SQL that SQLAlchemy has compiled, for a statement without parameters: some drivers have percent signs doubled."""
    return said.replace("%%", "%") if dialect is not None and dialect.paramstyle in ("format", "pyformat") else said


def _compile(element: Any, dialect: Dialect) -> str:
    compiled = element.compile(dialect=dialect, compile_kwargs={"include_table": False, "literal_binds": True})
    return compiled_for(dialect, str(compiled))
