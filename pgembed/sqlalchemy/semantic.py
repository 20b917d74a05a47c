"""semantic: what ``WHERE`` and ``ORDER BY`` take of an embedded column, ``semantic(Product.embedding).nearest("rain gear")``."""

from __future__ import annotations

from typing import Any, Literal, cast

from sqlalchemy import Column, ColumnElement, Float, String, Table, select, tuple_
from sqlalchemy import cast as sql_cast
from sqlalchemy.orm import QueryableAttribute

from pgembed import errors
from pgembed.columns import OPERATORS
from pgembed.sqlalchemy import calls
from pgembed.sqlalchemy.declarations import declared
from pgembed.sqlalchemy.functions import embed_query
from pgembed.sqlalchemy.search import search, search_keys


class Semantic:
    """Comparisons by meaning with an embedded column; made by `semantic`."""

    def __init__(self, column: ColumnElement[Any], target: Any, base: Column[Any], metric: str, over_chunks: bool) -> None:
        self._column = column  # as the statement has it, which may be of an alias
        self._target = target
        self._base = base
        self._table: Table = base.table
        self._metric = metric
        self._over_chunks = over_chunks

    def nearest(
        self,
        query: Any,
        k: int | ColumnElement[int] = 10,
        *,
        filter: Any = None,
        max_distance: float | ColumnElement[float] | None = None,
        recall: float | None = None,
        exact: bool = False,
        consistency: Literal["any", "fresh"] = "any",
    ) -> ColumnElement[bool]:
        """Whether a row is among the k nearest to a text or a vector: a criterion for ``where()``, answered as `search` answers.

        ::

            select(Product).where(semantic(Product.embedding).nearest("rain gear", k=10)).order_by(
                semantic(Product.embedding).distance("rain gear"))

        Other criteria of the statement are decided after k is; ``filter`` is decided before. Where order, distance or chunk matter, take
        `search`, which has them.

        Args:
            query, k, filter, max_distance, recall, exact, consistency: as `search` takes them.
        Raises:
            errors.InvalidTableDefinition: the table has no primary key.
        """
        keys = list(self._keys())
        wanted: dict[str, Any] = {
            "filter": filter,
            "column_name": self._base,
            "max_distance": max_distance,
            "recall": recall,
            "exact": exact,
            "consistency": consistency,
        }
        if len(keys) == 1:
            key = search_keys(self._target, query, k, **wanted).key
            return cast(ColumnElement[bool], keys[0].in_(select(sql_cast(key, keys[0].type))))
        # In what order a composite key is told the database knows, and a model may have another.
        rows = search(self._target, query, k, **wanted)
        return cast(ColumnElement[bool], tuple_(*keys).in_(select(*(rows.c[one.name] for one in self._table.primary_key))))

    def distance(self, other: Any) -> ColumnElement[float]:
        """Distance to a text, a vector or another column, in the column's metric; NULL for a row without a vector.

        A text is embedded by the column's own model, once a statement. ``ORDER BY`` it with ``LIMIT`` is what a vector index serves.

        Args:
            other: a text; a vector (list, numpy array, pgvector's Vector); a column or an expression, of type vector, or of type text if
                SQLAlchemy knows it to be text.
        Raises:
            errors.NotSupported: the column is over chunks.
            errors.NullNotAllowed: other is None.
        """
        if self._over_chunks:
            raise errors.NotSupported(
                f"{self._base.name} is over chunks, of which a row has several",
                hint="search() finds rows by their nearest chunk; see .distance.",
            )
        if isinstance(other, Semantic):
            other = other._column
        operand = calls.query(other)
        if isinstance(operand.type, String):
            vector: Any = embed_query(self._table, operand, str(self._base.name))
            # a scalar subquery is computed once, and is a constant for an index; of an outer row's text it cannot be
            operand = select(vector).scalar_subquery() if isinstance(other, str) else vector
        return self._column.op(OPERATORS[self._metric], return_type=Float())(operand)

    def _keys(self) -> Any:
        columns = [self._of_source(column) for column in self._table.primary_key]
        if not columns:
            raise errors.InvalidTableDefinition(
                f"table {self._table.name} has no primary key", hint="nearest() names rows by it; search() needs none in the model."
            )
        return columns

    def _of_source(self, column: Column[Any]) -> ColumnElement[Any]:
        source: Any = getattr(self._column, "table", self._table)
        found = None if source is self._table else source.corresponding_column(column)
        return cast(ColumnElement[Any], column if found is None else found)


def semantic(column: Any, *, metric: str | None = None) -> Semantic:
    """Comparisons by meaning with an embedded column.

    Args:
        column: ``Model.embedding``, that of an alias, or ``table.c.embedding``, declared with `embedded` or not.
        metric: ``cosine``, ``l2`` or ``inner_product``, for ``.distance``; None for the declared one, and cosine where none is.
    Raises:
        errors.InvalidParameter: it is no column of a table, or there is no such metric.
    """
    element: Any = column.__clause_element__() if isinstance(column, QueryableAttribute) else column
    # what an alias, or a subquery that an alias of several tables is, has its column of
    bases = [one for one in getattr(element, "base_columns", ()) if isinstance(one, Column) and isinstance(one.table, Table)]
    if len(bases) != 1:
        raise errors.InvalidParameter(
            f"a column of a mapped class or of a Table is needed, not {column!r}", hint="Such as Product.embedding or product.c.embedding."
        )
    table = bases[0].table
    base_column = table.c[bases[0].key]
    found = declared(base_column)
    chosen = metric or (found.rest.metric if found is not None else "cosine")
    if chosen not in OPERATORS:
        raise errors.InvalidParameter(f"metric must be one of {', '.join(OPERATORS)}, not {chosen}", hint="cosine is the default.")
    mapper = column.parent.mapper if isinstance(column, QueryableAttribute) else None
    entity = mapper.class_ if mapper is not None and table in mapper.tables else table
    return Semantic(element, entity, base_column, chosen, found is not None and found.rest.chunk_tokens is not None)
