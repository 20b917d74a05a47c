"""calls: calls of pgembed's functions in SQL, and the columns of the rows that they return.

Internal to this package. A call renders row types as ``NULL::shop.product``, everything else by name, and belongs to SQLAlchemy's
statement cache with all that shapes its text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

from pgvector import Vector
from pgvector.sqlalchemy import VECTOR
from sqlalchemy import (
    BindParameter,
    Boolean,
    Column,
    ColumnElement,
    Enum,
    Float,
    Integer,
    Select,
    String,
    Subquery,
    Table,
    Text,
    TypeDecorator,
    inspect,
    literal,
    select,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy import column as sql_column
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import InstanceState, MappedColumn, QueryableAttribute, aliased
from sqlalchemy.sql import coercions, roles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import quoted_name
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.visitors import InternalTraversal
from sqlalchemy.types import TypeEngine

from pgembed import errors
from pgembed.sqlalchemy import filters, spread
from pgembed.sqlalchemy.sources import PLAIN_DIALECT
from pgembed.sqlalchemy.targets import Target, is_there

T = TypeVar("T")
RowsT = TypeVar("RowsT", bound=Subquery)

# Names of arguments that PostgreSQL would take for something else.
_KEYWORDS = frozenset({"precision", "into", "values"})
# Types of PostgreSQL's own, which a name without a schema means before it means a table.
_NAMES_OF_TYPES = """
aclitem bit bool box bpchar bytea char cid cidr circle cstring date datemultirange daterange event_trigger float4 float8 gtsvector inet
int2 int2vector int4 int4multirange int4range int8 int8multirange int8range internal interval json jsonb jsonpath line lseg macaddr
macaddr8 money name numeric nummultirange numrange oid oidvector path point polygon record refcursor text tid time timestamp timestamptz
timetz trigger tsmultirange tsquery tsrange tstzmultirange tstzrange tsvector txid_snapshot unknown uuid varbit varchar void xid xid8 xml
"""
_TYPES = frozenset(_NAMES_OF_TYPES.split())


# A table whose schema a schema_translate_map says, as SQLAlchemy writes it until it is known.
_TRANSLATED = re.compile(r'(__\[SCHEMA_[^\]]+\]\.(?:"(?:[^"]|"")+"|\w+))')


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


def key(given: Any, table: Table | None = None) -> Any:
    """A primary key as text: of a value, of a mapped instance, or as a JSON array of a tuple or a list. A text is one already.

    Args:
        table: whose key it is, so that its types say what values are in the database; None where nothing tells.
    Raises:
        errors.NullNotAllowed: it is None.
        errors.InvalidParameter: it is an instance that was never flushed.
    """
    if given is None:
        raise errors.NullNotAllowed("key is None", hint="Give the primary key of a row.")
    if isinstance(given, ColumnElement) or hasattr(given, "__clause_element__"):
        element = value("key", given, None)
        return element if isinstance(element.type, String) else sql_cast(element, Text())
    state = inspect(given, raiseerr=False)
    if isinstance(state, InstanceState):
        if state.identity is None:
            raise errors.InvalidParameter(f"{given!r} has no key yet", hint="Flush it first; or search with its text.")
        given = state.identity if len(state.identity) > 1 else state.identity[0]
    several = isinstance(given, tuple | list)
    values = list(given) if several else [given]
    columns = [] if table is None else list(table.primary_key)
    if len(columns) == len(values):  # a model may call another key primary than the database
        values = [_in_database(one, column.type) for one, column in zip(values, columns, strict=True)]
    return json.dumps(values, default=str) if several else str(values[0])


def _in_database(given: Any, kind: TypeEngine[Any]) -> Any:
    """A value of a key as the database has it: what SQLAlchemy alone knows of is how a user's own type and an Enum are kept."""
    if isinstance(kind, TypeDecorator | Enum):
        processor: Any = kind.bind_processor(PLAIN_DIALECT)
        given = given if processor is None else processor(given)
    return "\\x" + bytes(given).hex() if isinstance(given, bytes | bytearray | memoryview) else given


def value(name: str, given: Any, kind: Any) -> ColumnElement[Any]:
    """An argument: an SQL expression as it is, anything else as a parameter of the statement."""
    if hasattr(given, "__clause_element__") or isinstance(given, ColumnElement):
        return cast(ColumnElement[Any], coercions.expect(roles.ExpressionElementRole, given))
    return BindParameter(name, given, type_=kind, unique=True)


def query(given: Any) -> ColumnElement[Any]:
    """What is searched for: a text, a vector, or an expression of either type.

    Raises:
        errors.NullNotAllowed: it is None.
        errors.InvalidParameter: it is none of these.
    """
    if isinstance(given, str):
        return value("query", given, Text())
    if hasattr(given, "__clause_element__") or isinstance(given, ColumnElement):
        return value("query", given, None)
    if given is None:
        raise errors.NullNotAllowed("query is None", hint="Give a text or a vector to search for.")
    if isinstance(given, tuple):
        given = list(given)
    try:
        if not isinstance(given, Vector):
            Vector(given)
    except (TypeError, ValueError) as error:
        raise errors.InvalidParameter(
            f"query is neither a text nor a vector: {error}",
            hint="A vector is a list of numbers, a numpy array of one dimension or pgvector's Vector; several texts are several searches.",
        ) from None
    # without the cast PostgreSQL would take it for a text
    return sql_cast(value("query", given, VECTOR()), VECTOR())


def options(given: Mapping[str, Any]) -> dict[str, ColumnElement[Any]]:
    """The optional arguments that all searches share; but for k, those left at their default do not appear in the statement.

    Args:
        given: the ``locals()`` of a search.
    """
    column, exact, consistency = column_name(given["column_name"]), given["exact"], given["consistency"]
    made = {
        "k": value("k", given["k"], Integer()),
        "column_name": None if column is None else value("column_name", column, Text()),
        "max_distance": None if given["max_distance"] is None else value("max_distance", given["max_distance"], Float()),
        "recall": None if given["recall"] is None else value("recall", given["recall"], Float()),
        "exact": None if exact is False else value("exact", exact, Boolean()),
        # an expression is never equal to a text, and says so with another expression
        "consistency": None if isinstance(consistency, str) and consistency == "any" else value("consistency", consistency, Text()),
    }
    return {name: argument for name, argument in made.items() if argument is not None}


class Call(FunctionElement[Any]):
    """A call of a function of the schema pgembed.

    Args:
        function: its name.
        rows: tables whose row type is an argument, in order, before all others.
        regclass: a table that is an argument as regclass, before all others.
        regclasses: tables that are arguments as regclass, by name.
        arguments: by name.
        condition: (name of the argument, expression or None, tables by name): rendered together with ``params``.
        criteria: what is asked of rows of these tables anyhow, each over its table, by the same names.
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
        criteria: Mapping[str, ColumnElement[bool]] | None = None,
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
        if condition is not None and (condition[1] is not None or criteria):
            self.condition_name = condition[0]
            self.condition, self.scope = filters.over(condition[1], condition[2], criteria or {})
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
    parts = [_row_type(table, compiler) for table in call.rows]
    parts += [_regclass(table, compiler) for table in call.regclass]
    parts += [f"{_argument(name)} => {_regclass(table, compiler)}" for name, table in call.regclasses]
    for name, argument in zip(call.names, call.clauses, strict=True):
        parts.append(f"{_argument(name)} => {compiler.process(argument, **kw)}")
    if call.condition is not None and call.scope is not None:
        translate = getattr(compiler, "schema_translate_map", None)
        text, values = filters.render(str(call.condition_name), call.condition, call.scope, compiler.dialect, translate)
        parts.append(f"{call.condition_name} => {_condition(str(call.condition_name), text, compiler, kw)}")
        if values:
            parts.append(f"params => {_params(values, compiler, kw)}")
    return f"pgembed.{call.name}({', '.join(parts)})"


def _condition(name: str, text: str, compiler: SQLCompiler, kw: Mapping[str, Any]) -> str:
    made = []
    for place, piece in enumerate(_TRANSLATED.split(text)):
        if place % 2:
            table = piece.replace("%", "%%") if compiler.preparer._double_percents else piece
            made.append(_translated(table))
        elif piece:
            # The text is the same for all values, so it may be made once, while the statement is compiled.
            made.append(str(compiler.process(BindParameter(name, piece, type_=Text(), unique=True), **kw)))
    return " || ".join(made)


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


def _row_type(table: Table, compiler: SQLCompiler) -> str:
    name = _table_name(table, compiler)
    if str(table.name) in _TYPES and compiler.preparer.schema_for_object(table) is None:
        return f"(SELECT pgembed_row FROM {name} AS pgembed_row WHERE false)"
    return f"NULL::{name}"


def _regclass(table: Table, compiler: SQLCompiler) -> str:
    name = _table_name(table, compiler)
    if "__[SCHEMA_" in name:
        return f"{_translated(name)}::pg_catalog.regclass"
    if compiler.preparer._double_percents:
        name = name.replace("%%", "%")  # as a value it is doubled once more
    return f"{compiler.render_literal_value(name, Text())}::pg_catalog.regclass"


def _translated(name: str) -> str:
    """The name of a table as a value, where its schema is put in once the statement is compiled, and so may not be in a literal."""
    return f"pg_catalog.pg_typeof(NULL::{name})::pg_catalog.text"  # no subquery: CALL takes none


class Field(ColumnElement[Any]):
    """A column of a row that a function returned: ``(hit.item).price``.

    For SQLAlchemy it stands for the table's column, which is how a mapped class finds its attributes in it.

    Args:
        missing: what it is where there is no row; None for NULL.
    """

    __visit_name__ = "pgembed_field"
    _traverse_internals = [  # noqa: RUF012  SQLAlchemy reads it as it stands
        ("row", InternalTraversal.dp_clauseelement),
        ("name", InternalTraversal.dp_string),
        ("type", InternalTraversal.dp_type),
        ("missing", InternalTraversal.dp_clauseelement),
    ]

    def __init__(self, row: ColumnElement[Any], column: Column[Any], *, of_entity: bool = True, missing: Any = None) -> None:
        self.row = row
        self.missing = None if missing is None else literal(missing, column.type)
        self.name = str(column.name)
        self.type = column.type
        self._proxies = [column] if of_entity else []

    @property
    def _from_objects(self) -> list[Any]:
        return list(self.row._from_objects)


@compiles(Field)
def _render_field(field: Field, compiler: SQLCompiler, **kw: Any) -> str:
    text = f"({compiler.process(field.row)}).{compiler.preparer.quote(field.name)}"
    kw = {name: kw[name] for name in ("literal_binds", "render_postcompile") if name in kw}
    return text if field.missing is None else f"coalesce({text}, {compiler.process(field.missing, **kw)})"


def rows_of(
    made: type[RowsT],
    call: Call,
    rows: Mapping[str, tuple[Target, str]],
    others: Mapping[str, Any],
    *,
    beside: tuple[str, ...] = (),
    may_miss: tuple[str, ...] = (),
    unasked: tuple[str, ...] = (),
) -> RowsT:
    """SELECT the columns of the rows that a call returns, as a subquery.

    Args:
        made: class of the result.
        rows: column of the call's result that is a row -> (its table, prefix of its columns' names in the result).
        others: column of the call's result -> its type.
        beside: rows of which only the columns are there: a mapped class finds itself in another one.
        may_miss: rows that may be NULL. Of one class of a table SQLAlchemy asks its rows for the class, and would leave these out.
        unasked: rows that come whatever the call was asked for, and are not of the class then.
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
    for name in may_miss:
        target, prefix = rows[name]
        if target.told_by is None:
            continue
        column, missing = target.told_by
        # the column itself, which is NULL where there is no row, and beside it the one that the class looks at
        place = next(place for place, field in enumerate(fields) if field.name == prefix + str(column.name))
        fields[place] = Field(source.c[name], column, of_entity=False).label(fields[place].name)
        label = _free(fields[place].name, taken)
        taken.add(label)
        fields.append(Field(source.c[name], column, of_entity=name not in beside, missing=missing).label(label))
    joined: Any = source
    for name, (target, prefix) in rows.items():
        own: dict[Column[Any], ColumnElement[Any]] = {column: Field(source.c[name], column) for column in target.table.columns}
        for table, condition in (*target.beside, *spread.joined(target.below, target.table, target.beside)):
            joined = joined.outerjoin(table, spread.replaced(condition, own))
            for column in filter(is_there, table.columns):
                label = _free(prefix + str(column.name), taken)
                taken.add(label)
                fields.append(column.label(label))
    names = {name: _free(name, taken) for name in others}
    statement = select(*fields, *(source.c[name].label(names[name]) for name in others))
    if joined is not source:
        statement = statement.select_from(joined)
    for name in unasked:
        target, _ = rows[name]
        if target.criterion is not None:
            own = {column: Field(source.c[name], column) for column in target.table.columns}
            statement = statement.where(spread.replaced(target.criterion, own))
    result = made._construct(statement)
    result.__dict__["_names"] = names
    return result


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def entity(rows: Any, target: Any) -> Any:
    """The mapped class over the columns of a result, with those of its subclasses that it loads and the result has."""
    return aliased(target, rows)
