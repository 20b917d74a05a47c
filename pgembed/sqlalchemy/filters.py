"""filters: a boolean expression of SQLAlchemy as the text and the params that a pgembed function takes.

The expression is compiled over the table's own name, each value in it becomes ``($1->>'p1')::type``, and the values travel beside it as
parameters of the one statement. So the text depends on the expression's shape alone, and no value is ever part of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    ARRAY,
    Alias,
    BindParameter,
    Dialect,
    Enum,
    Select,
    Table,
    TypeDecorator,
    all_,
    any_,
    literal_column,
    select,
    types,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql.base import PGCompiler
from sqlalchemy.dialects.postgresql.operators import PATH_EXISTS, PATH_MATCH
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.util import ClauseAdapter

from pgembed import errors
from pgembed.sqlalchemy.sources import PLAIN_DIALECT

# What a value is cast to. Length and precision are left out: a cast to VARCHAR(3) or NUMERIC(5, 2) would change the value in silence.
_BARE_NAMES = {
    **dict.fromkeys(("string", "text", "unicode", "unicode_text", "VARCHAR", "NVARCHAR", "CHAR", "NCHAR", "TEXT", "CLOB"), "TEXT"),
    **dict.fromkeys(("numeric", "NUMERIC", "DECIMAL"), "NUMERIC"),
    # a driver sends Python's float as float8, whatever the column is
    **dict.fromkeys(("float", "double", "FLOAT", "DOUBLE", "DOUBLE_PRECISION", "REAL"), "DOUBLE PRECISION"),
    **dict.fromkeys(("interval", "INTERVAL"), "INTERVAL"),
    "BIT": "VARBIT",
}
_WITH_ZONE = {**dict.fromkeys(("datetime", "DATETIME", "TIMESTAMP"), "TIMESTAMP"), **dict.fromkeys(("time", "TIME"), "TIME")}


def over(condition: Any, tables: Mapping[str, Table]) -> tuple[Select[Any], Select[Any]]:
    """Bind a condition to tables under the names by which the server's statement knows them.

    Args:
        condition: what ``select().where()`` takes; any expression, subqueries included.
        tables: name in the statement -> the table, whose columns the condition may use.
    Returns:
        A SELECT with the condition and the same without it; `render` makes text of the two.
    Raises:
        errors.NotSupported: the condition compares tuples with IN.
        sqlalchemy.exc.ArgumentError: it is not an SQL expression.
    """
    whole = _json_paths(_arrays(select(literal_column("1")).where(condition).whereclause))
    scope = [table.alias(name) for name, table in tables.items()]
    for alias in scope:
        whole = ClauseAdapter(alias).traverse(whole)
    without: Select[Any] = select(literal_column("1")).select_from(*scope)
    return without.where(whole), without


def render(
    argument: str, condition: Select[Any], scope: Select[Any], dialect: Dialect, translate: Mapping[str | None, Any] | None
) -> tuple[str, list[tuple[BindParameter[Any], str, bool]]]:
    """Compile what `over` made.

    Args:
        argument: what messages call the condition.
        dialect: the one that the values will be sent through.
        translate: the schema_translate_map of the statement.
    Returns:
        The text of the condition, and for each value, named ``p1``, ``p2`` ..., its parameter, its type and whether it is made of dates.
    Raises:
        errors.NotSupported: the condition reads other tables than it may, or has a value that cannot be sent.
    """
    # by name and table, for the condition may be a copy whose aliases are copies too
    own = {(alias.name, alias.element) for alias in scope.get_final_froms() if isinstance(alias, Alias)}
    others = [found for found in condition.get_final_froms() if not isinstance(found, Alias) or (found.name, found.element) not in own]
    if others:
        names = ", ".join(str(getattr(found, "name", found)) for found in others)
        raise errors.NotSupported(
            f"the {argument} reads another table: {names}",
            hint="It is over the columns of what is searched; others are read by Model.relation.has(...), .any(...) or exists().",
        )
    kwargs: dict[str, Any] = {"schema_translate_map": translate} if translate else {}
    compiled = _FilterCompiler(argument, dialect, condition, **kwargs)
    text = str(compiled.string)
    head = str(scope.compile(dialect=PLAIN_DIALECT, **kwargs).string) + " \nWHERE "
    if not text.startswith(head):
        raise errors.NotSupported(f"the {argument} is not one boolean expression", hint=f"It became: {text}")
    if "__[SCHEMA_" in text.removeprefix(head):
        raise errors.NotSupported(
            f"the {argument} names a schema that schema_translate_map replaces",
            hint="Keep to the columns of what is searched, and join the result with the other table.",
        )
    return text.removeprefix(head), [(bind, *_sent_as(bind.type, dialect)) for bind in compiled.values]


class _FilterCompiler(PGCompiler):
    """PostgreSQL's compiler, but for values: they become places in a jsonb document."""

    def __init__(self, argument: str, value_dialect: Dialect, statement: Select[Any], **kwargs: Any) -> None:
        self.argument = argument
        self.value_dialect = value_dialect
        self.values: list[BindParameter[Any]] = []
        super().__init__(PLAIN_DIALECT, statement, **kwargs)

    def visit_bindparam(self, bindparam: BindParameter[Any], *_: Any, **__: Any) -> str:
        if bindparam.expanding:
            raise errors.NotSupported(f"the {self.argument} has a list outside of IN", hint="Write column.in_([...]), or an ARRAY.")
        place = next((place for place, known in enumerate(self.values, 1) if known is bindparam), None)
        if place is None:
            self.values.append(bindparam)
            place = len(self.values)
        return f"($1->>'p{place}')::{_sent_as(bindparam.type, self.value_dialect)[0]}"


def _arrays(condition: Any) -> Any:
    """Replace ``x IN (list)`` by ``x = ANY (array)``: one value, whatever its length, and the same for NULL and the empty list."""
    if not any(isinstance(found, BindParameter) and found.expanding for found in visitors.iterate(condition)):
        return condition

    def replace(element: Any) -> None:
        bind = element.right
        if not (isinstance(bind, BindParameter) and bind.expanding):
            return
        if isinstance(bind.type, types.TupleType | ARRAY):
            raise errors.NotSupported(
                "a filter cannot compare tuples or arrays with IN", hint="Combine the comparisons with or_() and and_()."
            )
        element.operator = {operators.in_op: operators.eq, operators.not_in_op: operators.ne}[element.operator]
        array: BindParameter[Any] = BindParameter(
            None if bind.unique else bind.key,
            None if bind.value is None else list(bind.value),
            type_=ARRAY(_bare(bind.type)),
            unique=bind.unique,
            required=bind.required,
            callable_=bind.callable,
        )
        element.right = any_(array) if element.operator is operators.eq else all_(array)

    return visitors.cloned_traverse(condition, {}, {"binary": replace})


def _json_paths(condition: Any) -> Any:
    """Say of the paths of ``@?`` and ``@@`` that they are such: SQLAlchemy has one type for them and for the lists of keys of ``#>``."""

    def is_path(element: Any) -> bool:
        return getattr(element, "operator", None) in (PATH_EXISTS, PATH_MATCH) and isinstance(element.right, BindParameter)

    def name(element: Any) -> None:
        if is_path(element):
            element.right.type = postgresql.JSONPATH()

    return visitors.cloned_traverse(condition, {}, {"binary": name}) if any(map(is_path, visitors.iterate(condition))) else condition


def _bare(kind: types.TypeEngine[Any]) -> types.TypeEngine[Any]:
    """The type without length and precision, which the cast of an array to it would apply to its elements."""
    if isinstance(kind, TypeDecorator):
        copied = kind.copy()
        copied.impl = copied.impl_instance = _bare(kind.impl_instance)
        return copied
    if isinstance(kind, Enum):
        return kind
    name = kind.__visit_name__
    if _BARE_NAMES.get(name) == "TEXT":
        return types.Text()
    if _BARE_NAMES.get(name) == "NUMERIC":
        return types.Numeric()
    return kind


def _sent_as(kind: types.TypeEngine[Any], dialect: Dialect) -> tuple[str, bool]:
    """Name of a value's type in SQL, and whether it is made of dates or points in time.

    Raises:
        errors.NotSupported: the type has no name, or no single text.
    """
    if isinstance(kind, types.JSON.JSONPathType) and not isinstance(kind, postgresql.JSONPATH):
        return "TEXT[]", False  # column[("a", 1)]; its own name, JSONPATH, is that of another type of PostgreSQL's
    if isinstance(_undecorated(kind), postgresql.CITEXT):
        return "CITEXT", False  # the dialects make a plain string of it
    known = dialect if dialect.name == "postgresql" else PLAIN_DIALECT
    impl: Any = _undecorated(kind.dialect_impl(known))
    if isinstance(impl, types.NullType | types.TupleType):
        raise errors.NotSupported(
            "a value in a filter is of no type that SQLAlchemy knows",
            hint="Name its type: sqlalchemy.literal(value, type_), or cast(value, type_).",
        )
    if isinstance(impl, ARRAY):
        name, dated = _sent_as(impl.item_type, dialect)
        return name + "[]" * (impl.dimensions or 1), dated and impl.dimensions in (None, 1)
    name = impl.__visit_name__
    if isinstance(impl, Enum) and not impl.native_enum:
        return "TEXT", False
    if name in _BARE_NAMES:
        return _BARE_NAMES[name], False
    if name in _WITH_ZONE:
        zone = " WITH TIME ZONE" if impl.timezone else " WITHOUT TIME ZONE"
        return _WITH_ZONE[name] + zone, _WITH_ZONE[name] == "TIMESTAMP"
    return str(known.type_compiler_instance.process(impl)), isinstance(impl, types.Date)


def _undecorated(kind: types.TypeEngine[Any]) -> types.TypeEngine[Any]:
    while isinstance(kind, TypeDecorator):
        kind = kind.impl_instance
    return kind
