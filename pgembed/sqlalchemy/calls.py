"""calls: calls of pgembed's functions in SQL, and the columns of the rows that they return.

Internal to this package. A call renders row types as ``NULL::shop.product``, everything else by name, and belongs to SQLAlchemy's
statement cache with all that shapes its text.
"""

from __future__ import annotations

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
from sqlalchemy.orm import Mapper, QueryableAttribute, aliased
from sqlalchemy.sql import coercions, roles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import quoted_name
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.visitors import InternalTraversal

from pgembed import errors
from pgembed.sqlalchemy import filters

T = TypeVar("T")
RowsT = TypeVar("RowsT", bound=Subquery)


@dataclass(frozen=True)
class Target:
    """A table as a user may name it.

    Attributes:
        columns: the columns that its rows bring: the mapped ones, or all of a Table.
        entity: the mapped class; None for a Table.
        criterion: what makes a row one of the class, where several classes share the table.
    """

    table: Table
    columns: tuple[Column[Any], ...]
    entity: Any
    criterion: ColumnElement[bool] | None

    @classmethod
    def of(cls, target: Any) -> Target:
        """Look at a mapped class or a Table.

        Raises:
            errors.InvalidParameter: it is neither.
            errors.NotSupported: the class is spread over several tables.
        """
        if isinstance(target, Table):
            return cls(target, tuple(target.columns), None, None)
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
        if not isinstance(table, Table) or mapper.persist_selectable is not table:
            raise errors.NotSupported(
                f"{mapper.class_.__name__} is not mapped to one table",
                hint="Search the class or the Table that has the embedded column, and join the result.",
            )
        criterion = None
        if mapper.single and mapper.polymorphic_on is not None:
            criterion = mapper.polymorphic_on.in_([one.polymorphic_identity for one in mapper.self_and_descendants])
        mapped = tuple(column for column in table.columns if column in mapper.columns.values())
        return cls(table, mapped, mapper.class_, criterion)

    def condition(self, condition: Any) -> Any:
        """The user's filter together with what belongs to the class; None where there is neither."""
        if self.criterion is None:
            return condition
        return self.criterion if condition is None else select(self.table).where(condition, self.criterion).whereclause


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
    return given if given is None or isinstance(given, str) else column_of(given)[1]


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
    parts += [f"{name} => {_regclass(table, compiler)}::pg_catalog.regclass" for name, table in call.regclasses]
    for name, argument in zip(call.names, call.clauses, strict=True):
        parts.append(f"{name} => {compiler.process(argument, **kw)}")
    if call.condition is not None and call.scope is not None:
        translate = getattr(compiler, "schema_translate_map", None)
        text, values = filters.render(str(call.condition_name), call.condition, call.scope, compiler.dialect, translate)
        # The text is the same for all values, so it may be made once, while the statement is compiled.
        made: BindParameter[str] = BindParameter(call.condition_name, text, type_=Text(), unique=True)
        parts.append(f"{call.condition_name} => {compiler.process(made, **kw)}")
        if values:
            parts.append(f"params => {_params(values, compiler, kw)}")
    return f"pgembed.{call.name}({', '.join(parts)})"


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

    def __init__(self, row: ColumnElement[Any], column: Column[Any]) -> None:
        self.row = row
        self.name = str(column.name)
        self.type = column.type
        self._proxies = [column]

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
) -> RowsT:
    """SELECT the columns of the rows that a call returns, as a subquery.

    Args:
        made: class of the result.
        rows: column of the call's result that is a row -> (its table, prefix of its columns' names in the result).
        others: column of the call's result -> its type.
    Returns:
        The subquery; its attribute ``_names`` tells how each of the others is called in it, since the table may have such a column.
    """
    source = call.table_valued(*(sql_column(name) for name in rows), *(sql_column(name, kind) for name, kind in others.items()))
    fields = [
        Field(source.c[name], column).label(prefix + str(column.name))
        for name, (target, prefix) in rows.items()
        for column in target.columns
    ]
    taken = {field.name for field in fields}
    names = {name: _free(name, taken) for name in others}
    statement = select(*fields, *(source.c[name].label(names[name]) for name in others))
    result = made._construct(statement)
    result.__dict__["_names"] = names
    return result


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def entity(rows: Subquery, target: Any) -> Any:
    """The mapped class over the columns of a result."""
    return aliased(target, rows)
