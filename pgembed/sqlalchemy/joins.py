"""joins: pairs of rows of two tables that mean the same, as a selectable."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean, ColumnElement, Float, Integer, Subquery, Text

from pgembed import errors
from pgembed.sqlalchemy import calls
from pgembed.sqlalchemy.calls import Call, Target


class Pairs(Subquery):
    """Pairs found by `semantic_join`; ``.c`` has the columns of both rows, named ``left_...`` and ``right_...``."""

    inherit_cache = True
    _names: dict[str, str]

    @property
    def distance(self) -> ColumnElement[float]:
        """Distance between the two rows."""
        return self.c[self._names["distance"]]

    @property
    def rank(self) -> ColumnElement[int]:
        """1 for the right row that is nearest to its left row."""
        return self.c[self._names["rank"]]

    @property
    def is_match(self) -> ColumnElement[bool]:
        """Whether the pair is taken for the same thing."""
        return self.c[self._names["is_match"]]


class EntityPairs(Pairs):
    """Pairs of two different mapped classes."""

    inherit_cache = True
    _entities: tuple[Any, Any]

    @property
    def left(self) -> Any:
        """The left mapped class over these pairs."""
        return self._side("_left", 0)

    @property
    def right(self) -> Any:
        """The right mapped class over these pairs."""
        return self._side("_right", 1)

    def _side(self, name: str, place: int) -> Any:
        if name not in self.__dict__:
            self.__dict__[name] = calls.entity(self, self._entities[place])
        return self.__dict__[name]


def semantic_join(
    left: Any,
    right: Any,
    *,
    k: int | ColumnElement[int] = 1,
    max_distance: float | ColumnElement[float] | None = None,
    mapping: str = "many",
    condition: Any = None,
    precision: float | None = None,
) -> Any:
    """The k nearest right rows of each left row.

    Args:
        left, right: ``Invoice.vendor``, ``Company.name``, or columns of Tables: an embedded column, or a text that is embedded on the
            fly.
        k: right rows for each left row.
        max_distance: pairs are at most so far.
        mapping: ``many``, or ``one_to_one``: each row is in one pair at most.
        condition: a boolean expression over the columns of both tables; pairs that fail it are not compared.
        precision: share of the pairs with ``is_match`` that are to be right.
    Returns:
        `EntityPairs` with ``.left`` and ``.right`` where both sides are attributes of different mapped classes, else `Pairs`.
    Raises:
        errors.InvalidParameter: a side is no column.
        errors.NotSupported: a condition where both sides are of one table: it could not tell them apart.
    """
    (left_target, left_column), (right_target, right_column) = calls.column_of(left), calls.column_of(right)
    at_left, at_right = Target.of(left_target), Target.of(right_target)
    same = at_left.table is at_right.table
    if same and condition is not None:
        raise errors.NotSupported(
            "a condition cannot tell the two sides of a table joined with itself apart",
            hint="Join two Tables of different names, or say it in SQL: condition => $$ l.id < r.id $$.",
        )
    arguments = {
        "left_column": calls.value("left_column", left_column, Text()),
        "right_column": calls.value("right_column", right_column, Text()),
        **calls.options(k=k, column_name=None, max_distance=max_distance, recall=None, exact=False),
    }
    if mapping != "many":
        arguments["mapping"] = calls.value("mapping", mapping, Text())
    if precision is not None:
        arguments['"precision"'] = calls.value("precision", precision, Float())
    call = Call(
        "semantic_join",
        arguments,
        rows=[at_left.table, at_right.table],
        # "l" and "r" are how the server names the two sides in a condition
        condition=("condition", condition, {"l": at_left.table, "r": at_right.table}),
    )
    entities = (at_left.entity, at_right.entity)
    made: type[Pairs] = EntityPairs if all(entities) and not same else Pairs
    pairs = calls.rows_of(
        made,
        call,
        {"left_row": (at_left, "left_"), "right_row": (at_right, "right_")},
        {"distance": Float(), "rank": Integer(), "is_match": Boolean()},
    )
    if isinstance(pairs, EntityPairs):
        pairs._entities = entities
    return pairs
