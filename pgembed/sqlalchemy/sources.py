"""sources: expressions of SQLAlchemy over one table's own columns, as the SQL text that pgembed's declarations take.

Internal to this package. A text is kept by the database and proven there, so it names columns without their table, and has its values
written out.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeAlias

from sqlalchemy import BindParameter, Column, ColumnElement, Table
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.exc import CompileError
from sqlalchemy.sql import coercions, roles, visitors
from sqlalchemy.sql.selectable import SelectBase

from pgembed import errors

Source: TypeAlias = str | ColumnElement[Any] | Callable[..., Any]

# Writes SQL that is sent as a value, or is put into a statement that is made for a driver as a whole: so with a paramstyle in which a
# percent sign stands for itself.
PLAIN_DIALECT: Any = PGDialect(paramstyle="named")  # type: ignore[no-untyped-call]  # SQLAlchemy has no types for it
PLAIN_DIALECT._backslash_escapes = False  # SQLAlchemy 2.0 supposes them until it is told by a server


def text_of(source: Source, table: Table, what: str, origin: Table | None = None) -> str:
    """SQL over a table's own columns.

    Args:
        source: the text itself; an expression; or what returns either, called with the table's columns (``table.c``) where it takes an
            argument.
        what: what messages call it.
        origin: the table of which ``table`` is a copy; its columns count as the table's own.
    Raises:
        errors.InvalidParameter: it is none of these, is empty, cannot be called, or has a value that cannot be written as SQL.
        errors.NotSupported: it reads another table.
    """
    given = source
    if callable(given) and not isinstance(given, ColumnElement) and not hasattr(given, "__clause_element__"):
        given = _called(given, table, what)
    if isinstance(given, str):
        if not given.strip():
            raise errors.InvalidParameter(f"{what} is empty", hint="""Such as "name || ': ' || description".""")
        return given
    if not isinstance(given, ColumnElement) and not hasattr(given, "__clause_element__"):
        raise errors.InvalidParameter(
            f"{what} must be an SQL expression or its text, not {type(given).__name__}",
            hint='Such as lambda: Product.name + ": " + Product.description.',
        )
    element: Any = coercions.expect(roles.ExpressionElementRole, given)
    _must_be_own(element, table, table if origin is None else origin, what)
    try:
        return str(element.compile(dialect=PLAIN_DIALECT, compile_kwargs={"literal_binds": True, "include_table": False}))
    except (CompileError, NotImplementedError) as error:
        raise errors.InvalidParameter(f"{what} cannot be written as SQL: {error}", hint="Give it as SQL text.") from error


def _called(made: Callable[..., Any], table: Table, what: str) -> Any:
    try:
        takes = len(inspect.signature(made).parameters)
    except (TypeError, ValueError):
        takes = 0
    if takes > 1:
        raise errors.InvalidParameter(
            f"{what} takes {takes} arguments, expected none or one",
            hint="The one is the table's columns: lambda c: c.name + c.description.",
        )
    try:
        return made(table.c) if takes else made()
    except (AttributeError, NameError, KeyError) as error:
        raise errors.InvalidParameter(
            f"{what} of table {table.name} cannot be evaluated: {error}",
            hint="It is called once the class is mapped; lambda c: c.name gets the table's columns, whatever the class is called.",
        ) from error


def _must_be_own(element: Any, table: Table, origin: Table, what: str) -> None:
    # Row security, keys and triggers are of one table, and so is what the server evaluates.
    for found in visitors.iterate(element):
        if isinstance(found, SelectBase):
            raise errors.NotSupported(f"{what} of table {table.name} has a subquery", hint="It is over the columns of its own row.")
        if isinstance(found, BindParameter) and found.required:
            raise errors.InvalidParameter(f"{what} has a parameter without a value: {found.key}", hint="Write the value itself.")
        if not isinstance(found, Column):
            continue
        other = found.table
        if other is not None and other is not table and other is not origin and getattr(other, "element", None) is not table:
            raise errors.NotSupported(
                f"{what} of table {table.name} reads column {getattr(other, 'name', other)}.{found.name}",
                hint="It is over the columns of its own table; where a class has several, declare the column beside those that it reads.",
            )
