"""typed: a call of pgembed's from a Python function of its name, whose parameters say how each argument is sent.

Internal to this package. A wrapper is its signature, with the aliases below as annotations, its docstring, and one line::

    def wait_for(target: Relation, timeout: Period = timedelta(minutes=1), column_name: Name | None = None) -> ColumnElement[bool]:
        return scalar(wait_for, locals(), Boolean())

What is left at its default is not in the statement, so SQL's own default holds. Tables are named in the statement; every other value
travels as a parameter, so that the text does not depend on it.
"""

from __future__ import annotations

import datetime
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Generic, TypeAlias, TypeVar, get_args, get_type_hints, overload

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Double,
    Executable,
    Integer,
    Interval,
    LargeBinary,
    SQLColumnExpression,
    Subquery,
    Table,
    Text,
    null,
    select,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy import column as sql_column
from sqlalchemy.dialects.postgresql import JSONB, REGCLASS
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import QueryableAttribute
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.sql.visitors import InternalTraversal, iterate
from sqlalchemy.types import TypeEngine, UserDefinedType

from pgembed import errors
from pgembed.sqlalchemy import calls
from pgembed.sqlalchemy.calls import Call
from pgembed.sqlalchemy.targets import Target

T = TypeVar("T")
OwnerT = TypeVar("OwnerT", bound="Rows")
RowsT = TypeVar("RowsT", bound="Rows")
Given: TypeAlias = Mapping[str, Any]
# A condition: name of the argument, expression, tables by the names that the server gives them.
Bound: TypeAlias = tuple[str, Any, Mapping[str, Table]]


@dataclass(frozen=True)
class Kind:
    """How an argument is sent: as a value of a type, or ``as_`` a table, a column's name, several, a key, a query or a condition."""

    type: Any = None
    as_: str = "value"


# What a wrapper's parameters are annotated with.
Relation: TypeAlias = Annotated[Any, Kind(as_="table")]
"""A mapped class, a Table, or an attribute, which names its column too; a name as text, or an expression of type regclass."""
Name: TypeAlias = Annotated[Any, Kind(Text(), "name")]
"""A column: an attribute, a Column, or its name."""
Names: TypeAlias = Annotated[Sequence[Any], Kind(ARRAY(Text()), "names")]
Key: TypeAlias = Annotated[Any, Kind(as_="key")]
"""A primary key: a value, a tuple of them, a mapped instance, an expression, or the text that SQL has for it."""
Query: TypeAlias = Annotated[Any, Kind(as_="query")]
"""A text, a vector (list, numpy array, pgvector's Vector), or an expression of either."""
Condition: TypeAlias = Annotated[Any, Kind(as_="condition")]
"""A boolean expression of SQLAlchemy's."""
Words: TypeAlias = Annotated[str | SQLColumnExpression[str] | SQLColumnExpression[str | None], Kind(Text())]
Number: TypeAlias = Annotated[int | SQLColumnExpression[int], Kind(Integer())]
Big: TypeAlias = Annotated[int | SQLColumnExpression[int], Kind(BigInteger())]
Real: TypeAlias = Annotated[float | SQLColumnExpression[float], Kind(Double())]
Flag: TypeAlias = Annotated[bool | SQLColumnExpression[bool], Kind(Boolean())]
Period: TypeAlias = Annotated[datetime.timedelta | SQLColumnExpression[datetime.timedelta], Kind(Interval())]
Json: TypeAlias = Annotated[Any, Kind(JSONB())]
Texts: TypeAlias = Annotated[Sequence[str] | SQLColumnExpression[Any], Kind(ARRAY(Text()))]
Bytes: TypeAlias = Annotated[bytes | SQLColumnExpression[bytes] | SQLColumnExpression[bytes | None], Kind(LargeBinary())]

# Where a table is given as an attribute, the parameter that takes its column.
_COLUMN_OF = {
    "target": "column_name",
    "left": "left_column",
    "right": "right_column",
    "queries": "queries_column",
    "corpus": "corpus_column",
    "other": "other_column",
}

# Of which table a key is, where the table is an argument too.
_TABLE_OF = {"key": "target", "other_key": "other"}


class VOID(UserDefinedType[None]):
    """What a function returns that returns nothing: None."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """See SQLAlchemy."""
        return "void"

    def result_processor(self, dialect: Any, coltype: object) -> Callable[[Any], None]:
        """See SQLAlchemy."""
        return lambda _: None


class Out(Generic[T]):
    """A column that a function returns, as an attribute of its rows.

    Args:
        kind: its type in SQL.
        name: in SQL, where a selectable of SQLAlchemy's has such an attribute already.
    """

    def __init__(self, kind: TypeEngine[T] | type[TypeEngine[T]], name: str | None = None) -> None:
        self.kind = kind
        self.name = name

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self.name = self.name or name

    @overload
    def __get__(self, rows: None, owner: type[OwnerT]) -> Out[T]: ...

    @overload
    def __get__(self, rows: OwnerT, owner: type[OwnerT]) -> ColumnElement[T]: ...

    def __get__(self, rows: Any, owner: Any) -> Any:
        return self if rows is None else rows.c[self.name]


class Rows(Subquery):
    """What a function of pgembed's returns as a table: a selectable, with its columns as attributes and in ``.c``, by the names of SQL."""

    inherit_cache = True

    @classmethod
    def out(cls) -> dict[str, Any]:
        """Names of the columns and their types, in order."""
        found = [each for one in reversed(cls.__mro__) for each in vars(one).values() if isinstance(each, Out)]
        return {str(each.name): each.kind for each in found}


class Procedure(Executable, ClauseElement):
    """``CALL pgembed.refresh(...)``: for ``execute()`` of a Connection or a Session, also of the asynchronous ones. It returns no rows.

    Those that commit as they go want no transaction around them: ``engine.execution_options(isolation_level="AUTOCOMMIT")``. In one,
    which SQLAlchemy begins by itself, `work` and `change_model` are refused with SQLSTATE 0A000; `refresh`, `fill_code`, `calibrate`,
    `link_table` and `train_linker` do the same work as part of it: all is kept or lost together, its locks are held, and nobody sees any
    of it until the commit. What a Session has not flushed they don't see.
    """

    inherit_cache = True
    _traverse_internals = [("call", InternalTraversal.dp_clauseelement)]  # noqa: RUF012  SQLAlchemy reads it as it stands

    def __init__(self, call: Call) -> None:
        self.call = call


@compiles(Procedure)
def _render_procedure(procedure: Procedure, compiler: SQLCompiler, **kw: Any) -> str:
    return f"CALL {compiler.process(procedure.call, **kw)}"


def scalar(function: Callable[..., Any], given: Given, kind: Any) -> ColumnElement[Any]:
    """A call that returns one value.

    Args:
        function: the wrapper.
        given: its ``locals()``.
        kind: the type of the value.
    """
    return _call(function, given, type_=kind)


def nothing(function: Callable[..., Any], given: Given) -> ColumnElement[None]:
    """A call that returns nothing, for ``select()``."""
    return _call(function, given, type_=VOID())


def procedure(function: Callable[..., Any], given: Given) -> Procedure:
    """A CALL."""
    return Procedure(_call(function, given))


def rows(made: type[RowsT], function: Callable[..., Any], given: Given) -> RowsT:
    """A call that returns rows."""
    return calls.rows_of(made, _call(function, given), {}, made.out())


def texts(made: type[RowsT], function: Callable[..., Any], given: Given) -> RowsT:
    """A call that returns a set of values, which has no name of its own."""
    ((name, kind),) = made.out().items()
    source = _call(function, given).table_valued(sql_column(name, kind)).render_derived()
    return made._construct(select(source.c[name]))


def arguments(
    function: Callable[..., Any], given: Given, over: Mapping[str, Table] | None = None
) -> tuple[dict[str, ColumnElement[Any]], dict[str, Table], Bound | None]:
    """What a call is made of: values by name, tables by name, and the condition.

    Args:
        over: tables that a condition is over, by the names that the server gives them; None: the target, or the one table that it names.
    """
    values: dict[str, ColumnElement[Any]] = {}
    tables: dict[str, Table] = {}
    condition: Bound | None = None
    known = parameters(function)
    given = _with_columns(given, known)
    for name, (kind, default) in known.items():
        argument = given[name]
        if _unchanged(argument, default):
            continue
        if kind.as_ == "table" and not isinstance(argument, str) and not _is_expression(argument):
            column = _COLUMN_OF.get(name)
            # of a class that is spread over several tables it is the one with the column
            found = Target.of(argument, given[column], may_spread=True) if column in known else Target.of(argument)
            tables[name] = found.table
        elif kind.as_ == "condition":
            condition = (name, argument, over) if over is not None else (name, *_over(given.get("target"), argument))
        elif kind.as_ == "key":
            values[name] = calls.value(name, calls.key(argument, tables.get(_TABLE_OF.get(name, ""))), Text())
        else:
            values[name] = _value(name, argument, kind)
    return values, tables, condition


@cache
def parameters(function: Callable[..., Any]) -> dict[str, tuple[Kind, Any]]:
    """Of each parameter of a wrapper how it is sent, and its default."""
    hints = get_type_hints(function, include_extras=True)
    found = inspect.signature(function).parameters
    return {name: (_kind(hints[name]), one.default) for name, one in found.items()}


def _kind(hint: Any) -> Kind:
    for one in (hint, *get_args(hint)):
        for said in getattr(one, "__metadata__", ()):
            if isinstance(said, Kind):
                return said
    raise AssertionError(f"{hint} does not say how it is sent")


def _call(function: Callable[..., Any], given: Given, *, type_: Any = None) -> Call:
    values, tables, condition = arguments(function, given)
    first = next(iter(parameters(function)), None)
    target = tables.pop("target", None) if first == "target" else None
    return Call(function.__name__, values, regclass=target, regclasses=tables, condition=condition, type_=type_)


def _with_columns(given: Given, known: Mapping[str, tuple[Kind, Any]]) -> dict[str, Any]:
    """The arguments, where a table that is given as an attribute names its column as well."""
    made = dict(given)
    for name, (kind, _) in known.items():
        if kind.as_ != "table" or not isinstance(made[name], QueryableAttribute | Column) or _is_expression(made[name]):
            continue
        attribute, paired = made[name], _COLUMN_OF.get(name)
        owner, column_name = calls.column_of(attribute)
        made[name] = _one_table(owner, attribute)
        if paired is None or paired not in known:
            raise errors.InvalidParameter(f"{name} is a table, not its column {attribute}", hint="Give the mapped class or the Table.")
        if not _unchanged(made[paired], known[paired][1]) and calls.column_name(made[paired]) != column_name:
            raise errors.InvalidParameter(
                f"{name} names column {column_name}, and {paired} {calls.column_name(made[paired])}",
                hint=f"Leave {paired} out, or give the class.",
            )
        made[paired] = column_name
    return made


def _one_table(owner: Any, attribute: Any) -> Any:
    """The owner of an attribute; the table of its column, where a class is spread over several."""
    try:
        Target.of(owner)
    except errors.NotSupported:
        return attribute.__clause_element__().table
    return owner


def _is_expression(argument: Any) -> bool:
    """Whether it is SQL that tells a table, as a view's column of tables does, and no column of a table to name."""
    element = argument.__clause_element__() if isinstance(argument, QueryableAttribute) else argument
    return isinstance(element, ColumnElement) and (not isinstance(element, Column) or isinstance(element.type, REGCLASS))


def _unchanged(argument: Any, default: Any) -> bool:
    return argument is default or (type(argument) is type(default) and isinstance(argument, int | float | str) and argument == default)


def _value(name: str, argument: Any, kind: Kind) -> ColumnElement[Any]:
    if kind.as_ == "query":
        return calls.query(argument)
    if argument is None:
        return sql_cast(null(), Text() if kind.type is None else kind.type)
    if kind.as_ == "table":
        if _is_expression(argument) and isinstance(argument.type, REGCLASS):
            return calls.value(name, argument, None)
        return sql_cast(calls.value(name, argument, Text()), REGCLASS())
    if kind.as_ == "name":
        return calls.value(name, calls.column_name(argument), kind.type)
    if kind.as_ == "names":
        return calls.value(name, [calls.column_name(one) for one in argument], kind.type)
    if isinstance(argument, tuple | Mapping):
        argument = dict(argument) if isinstance(argument, Mapping) else list(argument)
    return calls.value(name, argument, kind.type)


def _over(target: Any, condition: Any) -> tuple[Any, Mapping[str, Table]]:
    """A condition on rows of a target together with what belongs to its class, or on those of the one table that it names."""
    if target is not None:
        found = Target.of(target)
        return found.condition(condition), {found.table.name: found.table}
    element = condition.__clause_element__() if hasattr(condition, "__clause_element__") else condition
    named = dict.fromkeys(one.table for one in iterate(element) if isinstance(one, Column) and isinstance(one.table, Table))
    if len(named) != 1:
        raise errors.NotSupported(
            f"a filter must be over the columns of one table, not of {len(named)}", hint="It is over the table that is linked to."
        )
    (table,) = named
    return condition, {table.name: table}
