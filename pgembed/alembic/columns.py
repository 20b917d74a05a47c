"""columns: columns of vectors, as a model declares them and as a migration changes them."""

from __future__ import annotations

from typing import Any

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from sqlalchemy import Column, Computed, Dialect
from sqlalchemy.schema import DefaultClause

from pgembed.alembic.definitions import ColumnDefinition, Copy, quote
from pgembed.alembic.indexes import compiled_for


class AlterVectorColumn(ops.AlterColumnOp):
    """``op.alter_column`` with an expression that turns the values of one type into another, in either direction."""

    back: str | None = None

    def reverse(self) -> ops.AlterColumnOp:
        """The change undone."""
        made = super().reverse()
        made.kw.pop("postgresql_using", None)
        if self.back:
            made.kw["postgresql_using"] = self.back
        if isinstance(made, AlterVectorColumn):
            made.back = self.kw.get("postgresql_using")
        return made


@renderers.dispatch_for(AlterVectorColumn)
def _render_alter(context: AutogenContext, operation: AlterVectorColumn) -> str:
    render: Any = renderers.dispatch(ops.AlterColumnOp)
    rendered = str(render(context, operation))
    using = operation.kw.get("postgresql_using")
    return f"{rendered.removesuffix(')')},\n{' ' * 11}postgresql_using={using!r})" if using else rendered


def with_using(operation: ops.AlterColumnOp, using: str | None, back: str | None) -> AlterVectorColumn:
    """The same change with the expressions that it needs."""
    made = AlterVectorColumn(
        operation.table_name,
        operation.column_name,
        schema=operation.schema,
        existing_type=operation.existing_type,
        existing_server_default=operation.existing_server_default,
        existing_nullable=operation.existing_nullable,
        existing_comment=operation.existing_comment,
        modify_nullable=operation.modify_nullable,
        modify_comment=operation.modify_comment,
        modify_server_default=operation.modify_server_default,
        modify_name=operation.modify_name,
        modify_type=operation.modify_type,
        **operation.kw,
    )
    if using:
        made.kw["postgresql_using"] = using
    made.back = back
    return made


def conversion(copy: Copy, column: str, before: str, after: str) -> str | None:
    """What follows USING to turn a column into another type; None if PostgreSQL needs nothing, or nothing is known that does it.

    A number of dimensions is never changed here: which ones to leave out is not ours to say, and PostgreSQL refuses where there are values.
    """
    if copy.alters(column, before, after, None):
        return None
    name = quote(column) if column != column.lower() or not column.isidentifier() else column
    ways = [f"{name}::{after}", f"binary_quantize({name})::{after}"]
    if before.startswith("bit"):
        ways.append(f"string_to_array({name}::text, NULL)::real[]::{after}")
    if "json" in before or "json" in after:
        ways = [f"{name}::text::{after}"]
    return next((using for using in ways if copy.alters(column, before, after, using)), None)


def definition(column: Column[Any], dialect: Dialect) -> str:
    """What follows a column's name in CREATE TABLE as far as it is compared: type, default or expression."""
    compiler: Any = dialect.ddl_compiler(dialect, None)  # type: ignore[arg-type]  # of no statement: it renders a part
    said = str(compiler.type_compiler.process(column.type, type_expression=column))
    default = column.server_default
    if isinstance(default, Computed):
        expression = compiler.sql_compiler.process(default.sqltext, include_table=False, literal_binds=True)
        said += f" GENERATED ALWAYS AS ({expression}) STORED"
    elif isinstance(default, DefaultClause):
        said += f" DEFAULT {compiler.get_column_default_string(column)}"
    return compiled_for(dialect, said)


def is_generated(column: Column[Any] | None) -> bool:
    """Whether a column's values are computed from others."""
    return column is not None and isinstance(column.server_default, Computed)


def differs(declared: ColumnDefinition, found: ColumnDefinition) -> bool:
    """Whether a generated column has to be made anew: PostgreSQL cannot change its expression, nor its type by another one."""
    return not declared.same_type(found) or declared.generated != found.generated
