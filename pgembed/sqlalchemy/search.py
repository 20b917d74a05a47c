"""search: the nearest rows of a table as a selectable."""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar, overload

from sqlalchemy import Boolean, ColumnElement, Float, Integer, Subquery, Table, Text

from pgembed.sqlalchemy import calls
from pgembed.sqlalchemy.calls import Call
from pgembed.sqlalchemy.targets import Target

T = TypeVar("T")


class Hits(Subquery):
    """Rows found by a search, with all columns of the table in ``.c``. Made by `search` and `search_like`."""

    inherit_cache = True

    @property
    def distance(self) -> ColumnElement[float]:
        """Distance to the query in the embedded column's metric; smaller is nearer."""
        return self.c[self._names["distance"]]

    @property
    def rank(self) -> ColumnElement[int]:
        """1 for the nearest row; order by it, since a statement around a search has no order of its own."""
        return self.c[self._names["rank"]]

    @property
    def chunk(self) -> ColumnElement[str | None]:
        """The part of the row's text that is nearest to the query, in a column over chunks; else NULL."""
        return self.c[self._names["chunk"]]

    @property
    def start_char(self) -> ColumnElement[int | None]:
        """Where that part begins in the source text, counted from 1."""
        return self.c[self._names["start_char"]]

    @property
    def end_char(self) -> ColumnElement[int | None]:
        """Where it ends, exclusive: its length is end_char - start_char."""
        return self.c[self._names["end_char"]]

    _names: dict[str, str]


class EntityHits(Hits, Generic[T]):
    """Rows found by a search over a mapped class."""

    inherit_cache = True
    _entity: type[T]

    @property
    def entity(self) -> type[T]:
        """The mapped class over these rows, as ``sqlalchemy.orm.aliased`` makes it: selecting it gives instances of the class.

        Of a class that loads subclasses with it (``with_polymorphic``), these are with it too, as ``hits.entity.Engineer``.
        """
        if "_aliased" not in self.__dict__:
            self.__dict__["_aliased"] = calls.entity(self, self._entity)
        found: type[T] = self.__dict__["_aliased"]
        return found


class Keys(Subquery):
    """Keys of rows found by `search_keys`."""

    inherit_cache = True

    @property
    def key(self) -> ColumnElement[str]:
        """The primary key as text; a composite key as a JSON array."""
        return self.c.key

    @property
    def distance(self) -> ColumnElement[float]:
        """Distance to the query in the embedded column's metric."""
        return self.c.distance

    @property
    def rank(self) -> ColumnElement[int]:
        """1 for the nearest row."""
        return self.c.rank


class Explanation(Subquery):
    """Lines of `explain_search`, in ``.c.property`` and ``.c.value``, in the order in which they come."""

    inherit_cache = True


@overload
def search(
    target: Table,
    query: Any,
    k: int | ColumnElement[int] = 10,
    *,
    filter: Any = None,
    column_name: Any = None,
    max_distance: float | ColumnElement[float] | None = None,
    recall: float | None = None,
    exact: bool = False,
    consistency: Literal["any", "fresh"] = "any",
) -> Hits: ...


@overload
def search(
    target: type[T],
    query: Any,
    k: int | ColumnElement[int] = 10,
    *,
    filter: Any = None,
    column_name: Any = None,
    max_distance: float | ColumnElement[float] | None = None,
    recall: float | None = None,
    exact: bool = False,
    consistency: Literal["any", "fresh"] = "any",
) -> EntityHits[T]: ...


def search(
    target: Any,
    query: Any,
    k: int | ColumnElement[int] = 10,
    *,
    filter: Any = None,
    column_name: Any = None,
    max_distance: float | ColumnElement[float] | None = None,
    recall: float | None = None,
    exact: bool = False,
    consistency: Literal["any", "fresh"] = "any",
) -> Any:
    """The k rows nearest to a text or a vector among those that pass a filter.

    Args:
        target: a mapped class, or a Table.
        query: a text, which the column's own model embeds; a vector (list, numpy array, pgvector's Vector); or an expression of either.
            One of a table beside the search is read for each of its rows: ``near = search(Product, Offer.title, k=1).lateral()``, joined
            ``ON true``, and ``aliased(Product, near)`` is what ``.entity`` is elsewhere.
        filter: a boolean expression over the target's own columns (of a class, those of all its tables), decided before k is: what
            ``where()`` around the search decides is decided after, and may leave fewer than k rows. Criteria that the session adds by
            itself (``with_loader_criteria``) are such a ``where()``, and reach ``.entity`` only with ``include_aliases=True``: say them
            here. Values travel as parameters and are never part of the text.
        column_name: the embedded column, as its name or as ``Model.attribute``; needed where the table has several.
        max_distance: results are at most so far.
        recall: share of the true k nearest that is asked for, above 0 and at most 1.
        exact: compare every row that passes.
        consistency: ``fresh`` lets no vector of an older text decide: few rows whose text has changed are embedded during the search,
            and more are left out, with a notice.
    Returns:
        A selectable: ``.entity`` (of a mapped class), ``.distance``, ``.rank``, ``.chunk``, ``.start_char``, ``.end_char``, ``.c``. It has
        fewer than k rows only where fewer rows with a vector pass.
    Raises:
        errors.InvalidParameter: the target is neither a mapped class nor a Table.
        errors.NotSupported: the class is spread over several tables, and neither a declaration nor column_name says which has the embedded
            column; or, when the statement is compiled, the filter reads other tables outside of a subquery, or has a value without a type.
    """
    given, found = locals(), Target.of(target, column_name, may_spread=True)
    arguments = {
        "query": calls.query(query),
        **calls.options(given),
    }
    return _hits("search", found, arguments, filter)


@overload
def search_like(
    target: Table,
    key: Any,
    k: int | ColumnElement[int] = 10,
    *,
    filter: Any = None,
    column_name: Any = None,
    max_distance: float | ColumnElement[float] | None = None,
    recall: float | None = None,
    exact: bool = False,
    consistency: Literal["any", "fresh"] = "any",
) -> Hits: ...


@overload
def search_like(
    target: type[T],
    key: Any,
    k: int | ColumnElement[int] = 10,
    *,
    filter: Any = None,
    column_name: Any = None,
    max_distance: float | ColumnElement[float] | None = None,
    recall: float | None = None,
    exact: bool = False,
    consistency: Literal["any", "fresh"] = "any",
) -> EntityHits[T]: ...


def search_like(
    target: Any,
    key: Any,
    k: int | ColumnElement[int] = 10,
    *,
    filter: Any = None,
    column_name: Any = None,
    max_distance: float | ColumnElement[float] | None = None,
    recall: float | None = None,
    exact: bool = False,
    consistency: Literal["any", "fresh"] = "any",
) -> Any:
    """The k rows nearest to a row of the same table, itself left out.

    Args:
        key: the row's primary key, a value as its attribute has it, or the text that it is in SQL; a tuple where it is composite, in the
            order of the key in the database. Or the row itself, an instance; or an expression of the key.
    All else is as in `search`.
    """
    given, found = locals(), Target.of(target, column_name, may_spread=True)
    arguments = {
        "key": calls.value("key", calls.key(key, found.table), Text()),
        **calls.options(given),
    }
    return _hits("search_like", found, arguments, filter)


def search_keys(
    target: Any,
    query: Any,
    k: int | ColumnElement[int] = 10,
    *,
    filter: Any = None,
    column_name: Any = None,
    max_distance: float | ColumnElement[float] | None = None,
    recall: float | None = None,
    exact: bool = False,
    consistency: Literal["any", "fresh"] = "any",
) -> Keys:
    """Keys and distances of the k nearest rows, for callers who may not read every column of the table; otherwise as `search`."""
    given, found = locals(), Target.of(target, column_name, may_spread=True)
    arguments = {
        "query": calls.query(query),
        **calls.options(given),
    }
    condition = ("filter", found.condition(filter), {found.table.name: found.table})
    call = Call("search_keys", arguments, regclass=found.table, condition=condition)
    return calls.rows_of(Keys, call, {}, {"key": Text(), "distance": Float(), "rank": Integer()})


def explain_search(
    target: Any,
    query: Any,
    k: int | ColumnElement[int] = 10,
    *,
    filter: Any = None,
    column_name: Any = None,
    max_distance: float | ColumnElement[float] | None = None,
    recall: float | None = None,
    exact: bool = False,
    consistency: Literal["any", "fresh"] = "any",
    execute: bool = True,
) -> Explanation:
    """How `search` answers, why, and what it takes: ``dict(session.execute(select(explain_search(...))).all())``.

    Args:
        execute: run the search and measure; else nothing of the filter is run.
    All else is as in `search`.
    """
    given, found = locals(), Target.of(target, column_name, may_spread=True)
    arguments = {
        "query": calls.query(query),
        **calls.options(given),
        **({} if execute else {"execute": calls.value("execute", execute, Boolean())}),
    }
    condition = ("filter", found.condition(filter), {found.table.name: found.table})
    call = Call("explain_search", arguments, rows=[found.table], condition=condition)
    return calls.rows_of(Explanation, call, {}, {"property": Text(), "value": Text()})


def _hits(function: str, found: Target, arguments: dict[str, ColumnElement[Any]], condition: Any) -> Hits:
    call = Call(
        function,
        arguments,
        rows=[found.table],
        condition=("filter", found.condition(condition), {found.table.name: found.table}),
    )
    made: type[Hits] = Hits if found.entity is None else EntityHits
    others = {"distance": Float(), "rank": Integer(), "chunk": Text(), "start_char": Integer(), "end_char": Integer()}
    hits = calls.rows_of(made, call, {"item": (found, "")}, others)
    if isinstance(hits, EntityHits):
        hits._entity = found.entity
    return hits
