"""joins: pairs of rows of two tables that mean the same, as a selectable."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ARRAY, Boolean, ColumnElement, Float, Integer, Subquery, Text, null
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import JSONB

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
        """Whether the pair is taken for the same thing; NULL where nothing can be said."""
        return self.c[self._names["is_match"]]

    @property
    def probability(self) -> ColumnElement[float]:
        """That the two rows are the same thing; NULL where nothing can be said."""
        return self.c[self._names["probability"]]

    @property
    def evidence(self) -> ColumnElement[list[str]]:
        """What speaks for the pair: dense, lexical, numbers, mutual and names of attributes."""
        return self.c[self._names["evidence"]]


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
    k: int | ColumnElement[int] | None = 1,
    max_distance: float | ColumnElement[float] | None = None,
    mapping: str = "many",
    condition: Any = None,
    precision: float | None = None,
    recall: float | None = None,
    labels: Any = None,
    attributes: Sequence[str] | Mapping[str, str] | None = None,
    candidates: str = "dense",
    join_type: str = "inner",
    matches_only: bool = False,
    not_equal: bool = False,
    hub_correction: str = "auto",
    search_recall: float = 1.0,
    hubness: str | None = None,
) -> Any:
    """The k nearest right rows of each left row.

    Args:
        left, right: ``Invoice.vendor``, ``Company.name``, or columns of Tables: an embedded column, or a text that is embedded on the
            fly. A mapped class or a Table means its only embedded column, or with attributes the record.
        k: right rows for each left row; None: all within max_distance.
        max_distance: pairs are at most so far.
        mapping: ``many``; ``one_to_one``: each row is in one pair at most; ``mutual``: among the k nearest of both.
        condition: a boolean expression over the columns of both tables; pairs that fail it are not compared.
        precision, recall: share of the pairs with ``is_match`` that are to be right, or of the true matches that are to be found.
        labels: a Table or mapped class of labelled pairs, with columns ``left_key``, ``right_key`` and ``is_match``.
        attributes: names of columns that are compared one by one; left name -> right name where they differ.
        candidates: ``dense``, ``lexical`` or ``hybrid``.
        join_type: ``inner``; ``left``: every left row, the right one NULL without a pair; ``anti``: left rows without a pair.
        matches_only: only matches are pairs.
        not_equal: rows that are equal in what is compared are no pair.
        hub_correction: ``auto``, ``none``, ``soft``, ``best``, ``csls`` or ``qb_norm``: how rows that are near to everything are put back.
        search_recall: share of the nearest rows that must be found, 1 is exact.
        hubness: a column of the right table with numbers of `pgembed.hubness`, for ``csls`` and ``qb_norm``.
    Returns:
        `EntityPairs` with ``.left`` and ``.right`` where both sides are attributes of different mapped classes, else `Pairs`.
    Raises:
        errors.InvalidParameter: a side is no column.
        errors.NotSupported: a condition where both sides are of one table: it could not tell them apart.
    """
    (left_target, left_column), (right_target, right_column) = _side(left), _side(right)
    at_left, at_right = Target.of(left_target), Target.of(right_target)
    same = at_left.table is at_right.table
    if same and condition is not None:
        raise errors.NotSupported(
            "a condition cannot tell the two sides of a table joined with itself apart",
            hint="Join two Tables of different names, or say it in SQL: condition => $$ l.id < r.id $$.",
        )
    columns = {"left_column": left_column, "right_column": right_column}
    arguments = {name: calls.value(name, column, Text()) for name, column in columns.items() if column is not None}
    if k is None:
        arguments["k"] = sql_cast(null(), Integer())
    else:
        arguments["k"] = calls.value("k", k, Integer())
    if max_distance is not None:
        arguments["max_distance"] = calls.value("max_distance", max_distance, Float())
    given: dict[str, tuple[Any, Any, Any]] = {
        "mapping": (mapping, "many", Text()),
        '"precision"': (precision, None, Float()),
        "recall": (recall, None, Float()),
        "attributes": (None if attributes is None else _json(attributes), None, Text()),
        "candidates": (candidates, "dense", Text()),
        "join_type": (join_type, "inner", Text()),
        "matches_only": (matches_only, False, Boolean()),
        "not_equal": (not_equal, False, Boolean()),
        "hub_correction": (hub_correction, "auto", Text()),
        "search_recall": (search_recall, 1.0, Float()),
        "hubness": (hubness, None, Text()),
    }
    for name, (value, default, kind) in given.items():
        if value != default:
            arguments[name] = calls.value(name.strip('"'), value, kind)
    if "attributes" in arguments:
        arguments["attributes"] = sql_cast(arguments["attributes"], JSONB())
    call = Call(
        "semantic_join",
        arguments,
        rows=[at_left.table, at_right.table],
        # "l" and "r" are how the server names the two sides in a condition
        condition=("condition", condition, {"l": at_left.table, "r": at_right.table}),
        regclasses=None if labels is None else {"labels": Target.of(labels).table},
    )
    entities = (at_left.entity, at_right.entity)
    made: type[Pairs] = EntityPairs if all(entities) and not same else Pairs
    pairs = calls.rows_of(
        made,
        call,
        {"left_row": (at_left, "left_"), "right_row": (at_right, "right_")},
        {
            "distance": Float(),
            "rank": Integer(),
            "is_match": Boolean(),
            "probability": Float(),
            "evidence": ARRAY(Text()),
        },
    )
    if isinstance(pairs, EntityPairs):
        pairs._entities = entities
    return pairs


def _side(side: Any) -> tuple[Any, str | None]:
    """The target and the column's name of a side; no name where a class or a Table stands for itself."""
    try:
        Target.of(side)
    except errors.InvalidParameter:
        return calls.column_of(side)
    return side, None


def _json(attributes: Sequence[str] | Mapping[str, str]) -> str:
    return json.dumps(dict(attributes) if isinstance(attributes, Mapping) else list(attributes))
