"""calls: calls of pgembed's functions in SQL, and the columns of the rows that they return.

Internal to this package. A call renders row types as ``NULL::shop.product``, everything else by name, and belongs to SQLAlchemy's
statement cache with all that shapes its text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from pgvector.sqlalchemy import VECTOR
from sqlalchemy import (
    BindParameter,
    Boolean,
    Column,
    ColumnElement,
    Float,
    Integer,
    Select,
    Subquery,
    Table,
    Text,
    inspect,
    select,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy import column as sql_column
from sqlalchemy.exc import NoInspectionAvailable
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import MappedColumn, Mapper, QueryableAttribute, aliased
from sqlalchemy.sql import coercions, roles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import quoted_name
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.visitors import InternalTraversal

from pgembed import errors
from pgembed.sqlalchemy import filters, spread

T = TypeVar("T")
RowsT = TypeVar("RowsT", bound=Subquery)

# Names of arguments that PostgreSQL would take for something else.
_KEYWORDS = frozenset({"precision", "into", "values"})


@dataclass(frozen=True)
class Target:
    """A table as a user may name it.

    Attributes:
        columns: the columns that its rows bring: the mapped ones, or all of a Table.
        entity: the mapped class; None for a Table.
        criterion: what makes a row one of the class, where several classes share the table.
        beside: of a class that is spread over several tables, the others, each with what joins its rows.
    """

    table: Table
    columns: tuple[Column[Any], ...]
    entity: Any
    criterion: ColumnElement[bool] | None
    beside: tuple[tuple[Table, ColumnElement[bool]], ...] = ()

    @classmethod
    def of(cls, target: Any, column: Any = None, *, may_spread: bool = False) -> Target:
        """Look at a mapped class or a Table.

        Args:
            column: the embedded column that is meant, as a name or an attribute; None where nothing says it.
            may_spread: the class may be spread over several tables, of which the one with the embedded column is the target.
        Raises:
            errors.InvalidParameter: it is neither.
            errors.NotSupported: the class is spread over several tables, and may not be, or nothing says which of them is meant.
        """
        if isinstance(target, Table):
            return cls(target, tuple(filter(_is_there, target.columns)), None, None)
        try:
            mapper = inspect(target)
        except NoInspectionAvailable:
            mapper = None
        if not isinstance(mapper, Mapper):
            raise errors.InvalidParameter(
                f"a mapped class or a Table is needed, not {target!r}",
                hint="Name the class itself; its alias is what comes back as .entity.",
            )
        table = mapper.local_table
        beside: tuple[tuple[Table, ColumnElement[bool]], ...] = ()
        if not isinstance(table, Table) or mapper.persist_selectable is not table:
            if not may_spread:
                raise errors.NotSupported(
                    f"{mapper.class_.__name__} is not mapped to one table",
                    hint="Name the class or the Table that has the embedded column, and join the result.",
                )
            table, beside = spread.over(mapper, column)
        known = {mapped for attribute in mapper.column_attrs for mapped in attribute.columns}
        mapped = tuple(column for column in table.columns if column in known and _is_there(column))
        return cls(table, mapped, mapper.class_, spread.criterion(mapper, table), beside)

    def condition(self, condition: Any) -> Any:
        """The user's filter together with what belongs to the class; None where there is neither."""
        if self.criterion is None:
            return condition
        return self.criterion if condition is None else select(self.table).where(condition, self.criterion).whereclause


def _is_there(column: Column[Any]) -> bool:
    """Whether a row of the table has the column: one that declares chunks is none."""
    return not column._omit_from_statements


def column_of(attribute: Any) -> tuple[Any, str]:
    """The target and the column's name of ``Model.attribute`` or ``table.c.column``.

    Raises:
        errors.InvalidParameter: it is no column of a table.
    """
    element = attribute.__clause_element__() if isinstance(attribute, QueryableAttribute) else attribute
    if isinstance(element, Column) and isinstance(element.table, Table):
        return (attribute.class_ if isinstance(attribute, QueryableAttribute) else element.table), element.name
    raise errors.InvalidParameter(
        f"a column of a mapped class or of a Table is needed, not {attribute!r}", hint="Such as Product.embedding or product.c.embedding."
    )


def column_name(given: Any) -> str | None:
    """The name of an embedded column, given as text or as attribute."""
    if isinstance(given, MappedColumn):  # in the body of its class
        return given.column.name
    return given if given is None or isinstance(given, str) else column_of(given)[1]


def key(given: Any) -> Any:
    """A primary key as text; of a tuple or a list a JSON array."""
    if given is None:
        raise errors.NullNotAllowed("key is None", hint="Give the primary key of a row.")
    if isinstance(given, str | ColumnElement) or hasattr(given, "__clause_element__"):
        return given
    return json.dumps(given, default=str) if isinstance(given, tuple | list) else str(given)


def value(name: str, given: Any, kind: Any) -> ColumnElement[Any]:
    """An argument: an SQL expression as it is, anything else as a parameter of the statement."""
    if hasattr(given, "__clause_element__") or isinstance(given, ColumnElement):
        return cast(ColumnElement[Any], coercions.expect(roles.ExpressionElementRole, given))
    return BindParameter(name, given, type_=kind, unique=True)


def query(given: Any) -> ColumnElement[Any]:
    """What is searched for: a text, a vector, or an expression of either type."""
    if isinstance(given, str):
        return value("query", given, Text())
    if hasattr(given, "__clause_element__") or isinstance(given, ColumnElement):
        return value("query", given, None)
    if given is None:
        raise errors.NullNotAllowed("query is None", hint="Give a text or a vector to search for.")
    # without the cast PostgreSQL would take it for a text
    return sql_cast(value("query", given, VECTOR()), VECTOR())


def options(
    *, k: Any, column_name: str | None, max_distance: Any, recall: Any, exact: Any, consistency: Any = "any"
) -> dict[str, ColumnElement[Any]]:
    """The optional arguments that all searches share; those left at their default do not appear in the statement."""
    given = {
        "k": value("k", k, Integer()),
        "column_name": None if column_name is None else value("column_name", column_name, Text()),
        "max_distance": None if max_distance is None else value("max_distance", max_distance, Float()),
        "recall": None if recall is None else value("recall", recall, Float()),
        "exact": None if exact is False else value("exact", exact, Boolean()),
        "consistency": None if consistency == "any" else value("consistency", consistency, Text()),
    }
    return {name: argument for name, argument in given.items() if argument is not None}


class Call(FunctionElement[Any]):
    """A call of a function of the schema pgembed.

    Args:
        function: its name.
        rows: tables whose row type is an argument, in order, before all others.
        regclass: a table that is an argument as regclass, before all others.
        regclasses: tables that are arguments as regclass, by name.
        arguments: by name.
        condition: (name of the argument, expression, tables by name): rendered together with ``params``.
    """

    _traverse_internals = [  # noqa: RUF012  SQLAlchemy reads it as it stands
        *FunctionElement._traverse_internals,
        ("name", InternalTraversal.dp_string),
        ("rows", InternalTraversal.dp_plain_obj),
        ("regclass", InternalTraversal.dp_plain_obj),
        ("regclasses", InternalTraversal.dp_plain_obj),
        ("names", InternalTraversal.dp_plain_obj),
        ("condition_name", InternalTraversal.dp_string),
        # Part of the cache key, but out of reach of those who adapt the statement around it: a filter is over the table itself, also
        # where the statement replaces the table by an alias.
        ("condition", InternalTraversal.dp_has_cache_key),
    ]

    def __init__(
        self,
        function: str,
        arguments: Mapping[str, ColumnElement[Any]],
        *,
        rows: Iterable[Table] = (),
        regclass: Table | None = None,
        regclasses: Mapping[str, Table] | None = None,
        condition: tuple[str, Any, Mapping[str, Table]] | None = None,
        type_: Any = None,
    ) -> None:
        super().__init__(*arguments.values())
        self.name = function
        self.names = tuple(arguments)
        self.rows = tuple(rows)
        self.regclass = () if regclass is None else (regclass,)
        self.regclasses = tuple((regclasses or {}).items())
        self.condition_name: str | None = None
        self.condition: Select[Any] | None = None
        self.scope: Select[Any] | None = None
        if condition is not None and condition[1] is not None:
            self.condition_name = condition[0]
            self.condition, self.scope = filters.over(condition[1], condition[2])
        if type_ is not None:
            self.type = type_

    def _copy_internals(self, *, omit_attrs: Any = (), **kw: Any) -> None:
        super()._copy_internals(omit_attrs=omit_attrs, **kw)
        clone = kw.pop("clone")
        # Select.params() of SQLAlchemy 2.0 looks for values to replace, and is the one traversal that has this option.
        if kw.get("maintain_key") and self.condition is not None:
            self.condition = clone(self.condition, **kw)


@compiles(Call)
def _render_call(call: Call, compiler: SQLCompiler, **kw: Any) -> str:
    kw = {name: kw[name] for name in ("literal_binds", "render_postcompile") if name in kw}
    parts = [f"NULL::{_table_name(table, compiler)}" for table in call.rows]
    parts += [f"{_regclass(table, compiler)}::pg_catalog.regclass" for table in call.regclass]
    parts += [f"{_argument(name)} => {_regclass(table, compiler)}::pg_catalog.regclass" for name, table in call.regclasses]
    for name, argument in zip(call.names, call.clauses, strict=True):
        parts.append(f"{_argument(name)} => {compiler.process(argument, **kw)}")
    if call.condition is not None and call.scope is not None:
        translate = getattr(compiler, "schema_translate_map", None)
        text, values = filters.render(str(call.condition_name), call.condition, call.scope, compiler.dialect, translate)
        # The text is the same for all values, so it may be made once, while the statement is compiled.
        made: BindParameter[str] = BindParameter(call.condition_name, text, type_=Text(), unique=True)
        parts.append(f"{call.condition_name} => {compiler.process(made, **kw)}")
        if values:
            parts.append(f"params => {_params(values, compiler, kw)}")
    return f"pgembed.{call.name}({', '.join(parts)})"


def _argument(name: str) -> str:
    return f'"{name}"' if name in _KEYWORDS else name


def _params(values: Sequence[tuple[BindParameter[Any], str, bool]], compiler: SQLCompiler, kw: Mapping[str, Any]) -> str:
    # jsonb_build_object() would end at 50 values, and would make JSON of arrays and JSON null of a null in a jsonb.
    texts = []
    for bind, kind, dated in values:
        typed = compiler.process(bind, **kw)
        if kind != "TEXT" and not typed.endswith(f"::{kind}"):
            typed = f"CAST({typed} AS {kind})"
        if not dated:
            texts.append(f"CAST({typed} AS TEXT)")
        elif kind.endswith("[]"):
            each = f"ARRAY(SELECT {_iso('d')} FROM pg_catalog.unnest({typed}) AS d)"
            texts.append(f"CASE WHEN {typed} IS NOT NULL THEN CAST({each} AS TEXT) END")
        else:
            texts.append(_iso(typed))
    names = ", ".join(f"'p{place}'" for place in range(1, len(texts) + 1))
    return f"pg_catalog.jsonb_object(ARRAY[{names}], ARRAY[{', '.join(texts)}])"


def _iso(date: str) -> str:
    # As text a point in time depends on DateStyle, and "IST" is read as another zone than it was written for; as jsonb it does not.
    return f"pg_catalog.to_jsonb({date}) #>> '{{}}'"


def _table_name(table: Table, compiler: SQLCompiler) -> str:
    name = table.name
    # Always quoted, unless forbidden: a table may be called "position" or "time", which would be read as part of a type's name.
    quoted = name if getattr(name, "quote", None) is False else quoted_name(str(name), quote=True)
    return compiler.preparer.format_table(table, name=quoted)


def _regclass(table: Table, compiler: SQLCompiler) -> str:
    name = _table_name(table, compiler)
    if "__[SCHEMA_" in name:
        raise errors.NotSupported(
            "schema_translate_map cannot reach a table that is named as a value",
            hint='Use a copy of the Table that names its schema: table.to_metadata(MetaData(), schema="...").',
        )
    return compiler.render_literal_value(name, Text())


class Field(ColumnElement[Any]):
    """A column of a row that a function returned: ``(hit.item).price``.

    For SQLAlchemy it stands for the table's column, which is how a mapped class finds its attributes in it.
    """

    __visit_name__ = "pgembed_field"
    _traverse_internals = [  # noqa: RUF012  SQLAlchemy reads it as it stands
        ("row", InternalTraversal.dp_clauseelement),
        ("name", InternalTraversal.dp_string),
        ("type", InternalTraversal.dp_type),
    ]

    def __init__(self, row: ColumnElement[Any], column: Column[Any], *, of_entity: bool = True) -> None:
        self.row = row
        self.name = str(column.name)
        self.type = column.type
        self._proxies = [column] if of_entity else []

    @property
    def _from_objects(self) -> list[Any]:
        return list(self.row._from_objects)


@compiles(Field)
def _render_field(field: Field, compiler: SQLCompiler, **_: Any) -> str:
    return f"({compiler.process(field.row)}).{compiler.preparer.quote(field.name)}"


def rows_of(
    made: type[RowsT],
    call: Call,
    rows: Mapping[str, tuple[Target, str]],
    others: Mapping[str, Any],
    *,
    beside: tuple[str, ...] = (),
) -> RowsT:
    """SELECT the columns of the rows that a call returns, as a subquery.

    Args:
        made: class of the result.
        rows: column of the call's result that is a row -> (its table, prefix of its columns' names in the result).
        others: column of the call's result -> its type.
        beside: rows of which only the columns are there: a mapped class finds itself in another one.
    Returns:
        The subquery; its attribute ``_names`` tells how each of the others is called in it, since the table may have such a column.
    """
    source = call.table_valued(*(sql_column(name) for name in rows), *(sql_column(name, kind) for name, kind in others.items()))
    fields: list[Any] = [
        Field(source.c[name], column, of_entity=name not in beside).label(prefix + str(column.name))
        for name, (target, prefix) in rows.items()
        for column in target.columns
    ]
    taken = {field.name for field in fields}
    joined: Any = source
    for name, (target, prefix) in rows.items():
        own: dict[Column[Any], ColumnElement[Any]] = {column: Field(source.c[name], column) for column in target.table.columns}
        for table, condition in target.beside:
            joined = joined.outerjoin(table, spread.replaced(condition, own))
            for column in filter(_is_there, table.columns):
                label = _free(prefix + str(column.name), taken)
                taken.add(label)
                fields.append(column.label(label))
    names = {name: _free(name, taken) for name in others}
    statement = select(*fields, *(source.c[name].label(names[name]) for name in others))
    if joined is not source:
        statement = statement.select_from(joined)
    result = made._construct(statement)
    result.__dict__["_names"] = names
    return result


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def entity(rows: Any, target: Any) -> Any:
    """The mapped class over the columns of a result."""
    return aliased(target, rows)
