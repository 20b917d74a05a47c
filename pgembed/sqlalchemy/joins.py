"""joins: pairs of rows of two tables that mean the same, as a selectable; their keys, their reasons, and pairs worth labelling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias, overload

from sqlalchemy import ARRAY, BigInteger, Boolean, Column, ColumnElement, Double, Float, Integer, Table, Text
from sqlalchemy.dialects.postgresql import JSONB, REGCLASS
from sqlalchemy.orm import QueryableAttribute

from pgembed import errors
from pgembed.sqlalchemy import calls
from pgembed.sqlalchemy.calls import Call
from pgembed.sqlalchemy.pairs import Again, EntityPairs, LeftT, Pairs, RightT
from pgembed.sqlalchemy.targets import Target
from pgembed.sqlalchemy.typed import Condition, Flag, Kind, Name, Number, Out, Real, Relation, Rows, Words, arguments, rows, scalar

Entity: TypeAlias = type[Any] | QueryableAttribute[Any]
# What `Call` takes of conditions.
Conditions: TypeAlias = dict[str, Any]
Attributes: TypeAlias = Annotated[Sequence[str] | Mapping[str, str], Kind(JSONB())]


class KeyPairs(Rows):
    """Pairs found by `semantic_join_keys`; keys are text, a composite one a JSON array."""

    inherit_cache = True
    left_key = Out(Text)
    right_key = Out(Text)
    distance: Out[float] = Out(Double)
    rank = Out(Integer)
    is_match = Out(Boolean)
    probability: Out[float] = Out(Double)
    evidence: Out[Any] = Out(ARRAY(Text()))


class JoinExplanation(Rows):
    """Lines of `explain_join`, in the order in which they come."""

    inherit_cache = True
    property = Out(Text)
    value = Out(Text)


class PairsToReview(Rows):
    """Lines of `review_pairs`, the most useful first; keys and texts of both rows, and why it is worth a look."""

    inherit_cache = True
    left_key = Out(Text)
    right_key = Out(Text)
    left_text = Out(Text)
    right_text = Out(Text)
    probability: Out[float] = Out(Double)
    reason = Out(Text)


class Hubs(Rows):
    """Lines of `hubness`: the key of a row as text, and a number that is larger for what is near to everything."""

    inherit_cache = True
    key = Out(Text)
    hubness: Out[float] = Out(Double)


@overload
def semantic_join(
    left: type[LeftT],
    right: type[RightT],
    left_column: Name | None = None,
    right_column: Name | None = None,
    k: Number | None = 1,
    max_distance: Real | None = None,
    mapping: Words = "many",
    condition: Condition = None,
    precision: Real | None = None,
    recall: Real | None = None,
    labels: Relation | None = None,
    attributes: Attributes | None = None,
    candidates: Words = "dense",
    join_type: Words = "inner",
    matches_only: Flag = False,
    not_equal: Flag = False,
    hub_correction: Words = "auto",
    search_recall: Real = 1.0,
    hubness: Words | None = None,
) -> EntityPairs[LeftT, RightT]: ...


@overload
def semantic_join(
    left: Table | Column[Any],
    right: Table | Column[Any] | Entity,
    left_column: Name | None = None,
    right_column: Name | None = None,
    k: Number | None = 1,
    max_distance: Real | None = None,
    mapping: Words = "many",
    condition: Condition = None,
    precision: Real | None = None,
    recall: Real | None = None,
    labels: Relation | None = None,
    attributes: Attributes | None = None,
    candidates: Words = "dense",
    join_type: Words = "inner",
    matches_only: Flag = False,
    not_equal: Flag = False,
    hub_correction: Words = "auto",
    search_recall: Real = 1.0,
    hubness: Words | None = None,
) -> Pairs: ...


@overload
def semantic_join(
    left: Entity,
    right: Table | Column[Any],
    left_column: Name | None = None,
    right_column: Name | None = None,
    k: Number | None = 1,
    max_distance: Real | None = None,
    mapping: Words = "many",
    condition: Condition = None,
    precision: Real | None = None,
    recall: Real | None = None,
    labels: Relation | None = None,
    attributes: Attributes | None = None,
    candidates: Words = "dense",
    join_type: Words = "inner",
    matches_only: Flag = False,
    not_equal: Flag = False,
    hub_correction: Words = "auto",
    search_recall: Real = 1.0,
    hubness: Words | None = None,
) -> Pairs: ...


@overload
def semantic_join(
    left: Entity,
    right: Entity,
    left_column: Name | None = None,
    right_column: Name | None = None,
    k: Number | None = 1,
    max_distance: Real | None = None,
    mapping: Words = "many",
    condition: Condition = None,
    precision: Real | None = None,
    recall: Real | None = None,
    labels: Relation | None = None,
    attributes: Attributes | None = None,
    candidates: Words = "dense",
    join_type: Words = "inner",
    matches_only: Flag = False,
    not_equal: Flag = False,
    hub_correction: Words = "auto",
    search_recall: Real = 1.0,
    hubness: Words | None = None,
) -> EntityPairs[Any, Any]: ...


def semantic_join(
    left: Relation,
    right: Relation,
    left_column: Name | None = None,
    right_column: Name | None = None,
    k: Number | None = 1,
    max_distance: Real | None = None,
    mapping: Words = "many",
    condition: Condition = None,
    precision: Real | None = None,
    recall: Real | None = None,
    labels: Relation | None = None,
    attributes: Attributes | None = None,
    candidates: Words = "dense",
    join_type: Words = "inner",
    matches_only: Flag = False,
    not_equal: Flag = False,
    hub_correction: Words = "auto",
    search_recall: Real = 1.0,
    hubness: Words | None = None,
) -> Any:
    """The k nearest right rows of each left row.

    Args:
        left, right: ``Invoice.vendor``, ``Company.name``, or columns of Tables: an embedded column, or a text that is embedded on the
            fly. A mapped class or a Table means its only embedded column, or with attributes the record.
        left_column, right_column: the column, where a side is a class or a Table: ``semantic_join(Invoice, Company, "vendor", "name")``
            is the form of which a type checker knows ``.left`` and ``.right``.
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
        `EntityPairs` with ``.left`` and ``.right`` where both sides are of mapped classes, else `Pairs`.
    Raises:
        errors.InvalidParameter: a side is no column.
        errors.NotSupported: a condition where both sides are of one table: it could not tell them apart.
    """
    at_left, at_right, values, tables, conditions = _joined(semantic_join, locals())
    call = Call("semantic_join", values, rows=[at_left.table, at_right.table], regclasses=tables, **conditions)
    made: type[Pairs] = EntityPairs if at_left.entity and at_right.entity else Pairs
    others = {"distance": Float(), "rank": Integer(), "is_match": Boolean(), "probability": Float(), "evidence": ARRAY(Text())}
    sides, twice = {"left_row": (at_left, "left_"), "right_row": (at_right, "right_")}, at_left.table is at_right.table
    inner = isinstance(join_type, str) and join_type == "inner"
    may_miss, unasked = ((), ()) if inner else (("right_row",), ("left_row",))
    pairs = calls.rows_of(made, call, sides, others, beside=("right_row",) if twice else (), may_miss=may_miss, unasked=unasked)
    if isinstance(pairs, EntityPairs):
        pairs._entities = (at_left.entity, at_right.entity)
        if twice:
            other = pairs._other = calls.rows_of(Again, call, sides, others, beside=("left_row",), may_miss=may_miss, unasked=unasked)
            other.name, other._pairs = pairs.name, pairs
    return pairs


def semantic_join_keys(
    left: Relation,
    right: Relation,
    left_column: Name | None = None,
    right_column: Name | None = None,
    k: Number | None = 1,
    max_distance: Real | None = None,
    mapping: Words = "many",
    condition: Condition = None,
    precision: Real | None = None,
    recall: Real | None = None,
    labels: Relation | None = None,
    attributes: Attributes | None = None,
    candidates: Words = "dense",
    join_type: Words = "inner",
    matches_only: Flag = False,
    not_equal: Flag = False,
    hub_correction: Words = "auto",
    search_recall: Real = 1.0,
    hubness: Words | None = None,
) -> KeyPairs:
    """The keys of the pairs of `semantic_join`, for callers who may not read every column; arguments as there."""
    return calls.rows_of(KeyPairs, _by_keys(semantic_join_keys, locals()), {}, KeyPairs.out())


def semantic_join_into(
    destination: Words,
    left: Relation,
    right: Relation,
    left_column: Name | None = None,
    right_column: Name | None = None,
    k: Number | None = 1,
    max_distance: Real | None = None,
    mapping: Words = "many",
    condition: Condition = None,
    precision: Real | None = None,
    recall: Real | None = None,
    labels: Relation | None = None,
    attributes: Attributes | None = None,
    candidates: Words = "dense",
    join_type: Words = "inner",
    matches_only: Flag = False,
    not_equal: Flag = False,
    hub_correction: Words = "auto",
    search_recall: Real = 1.0,
    hubness: Words | None = None,
) -> ColumnElement[int]:
    """`semantic_join_keys` into a new table with typed keys; the number of pairs.

    Args:
        destination: name of the table that is made.
    All else is as in `semantic_join`.
    """
    return _by_keys(semantic_join_into, locals(), BigInteger())


def explain_join(
    left: Relation,
    right: Relation,
    left_column: Name | None = None,
    right_column: Name | None = None,
    k: Number | None = 1,
    max_distance: Real | None = None,
    mapping: Words = "many",
    condition: Condition = None,
    precision: Real | None = None,
    recall: Real | None = None,
    labels: Relation | None = None,
    attributes: Attributes | None = None,
    candidates: Words = "dense",
    join_type: Words = "inner",
    matches_only: Flag = False,
    not_equal: Flag = False,
    hub_correction: Words = "auto",
    search_recall: Real = 1.0,
    hubness: Words | None = None,
    execute: Flag = True,
) -> JoinExplanation:
    """How `semantic_join` goes about it, and how good its matches are estimated to be: property, value.

    Args:
        execute: read rows; else only what the catalogs know is told.
    All else is as in `semantic_join`.
    """
    at_left, at_right, values, tables, conditions = _joined(explain_join, locals())
    call = Call("explain_join", values, rows=[at_left.table, at_right.table], regclasses=tables, **conditions)
    return calls.rows_of(JoinExplanation, call, {}, JoinExplanation.out())


def create_labels(name: Words, left: Relation, right: Relation) -> ColumnElement[str]:
    """Make a table of labelled pairs of rows of left and right, which ``labels=`` names in a join: left_key, right_key, ...; its name."""
    return scalar(create_labels, locals(), REGCLASS())


def review_pairs(
    left: Relation,
    right: Relation,
    labels: Relation | None = None,
    n: Number = 20,
    left_column: Name | None = None,
    right_column: Name | None = None,
    k: Number | None = 1,
    max_distance: Real | None = None,
    mapping: Words = "many",
    condition: Condition = None,
    precision: Real | None = None,
    recall: Real | None = None,
    attributes: Attributes | None = None,
    candidates: Words = "dense",
    not_equal: Flag = False,
    hub_correction: Words = "auto",
    search_recall: Real = 1.0,
    hubness: Words | None = None,
) -> PairsToReview:
    """The n pairs worth labelling next, with a reason for each.

    Args:
        labels: the pairs that are labelled already.
        n: how many.
    All else is as in `semantic_join`.
    """
    return calls.rows_of(PairsToReview, _by_keys(review_pairs, locals()), {}, PairsToReview.out())


def hubness(
    target: Relation,
    column_name: Name | None = None,
    queries: Relation | None = None,
    queries_column: Name | None = None,
    method: Literal["csls", "qb_norm"] | Words = "csls",
) -> Hubs:
    """How much of a hub each row is, which is near to everything: by ``csls`` the mean similarity of the ten nearest queries, by
    ``qb_norm`` the denominator of an inverted softmax over all, negative for a row that is no query's nearest.

    Args:
        queries: a table, or its column; None: the rows themselves.
        method: ``csls`` (Conneau et al. 2018, https://arxiv.org/abs/1710.04087) or ``qb_norm`` (Bogolin et al. 2022,
            https://arxiv.org/abs/2112.12777).
    """
    return rows(Hubs, hubness, locals())


def _joined(function: Any, given: Mapping[str, Any]) -> tuple[Target, Target, dict[str, ColumnElement[Any]], dict[str, Table], Conditions]:
    """Both sides, the arguments beside them, and what pairs are asked for: by the caller, and by the classes of the sides."""
    (left, left_column), (right, right_column) = _side(given["left"]), _side(given["right"])
    columns = {"left_column": left_column or given["left_column"], "right_column": right_column or given["right_column"]}
    # "l" and "r" are how the server names the two sides in a condition
    targets = {"l": Target.of(left), "r": Target.of(right)}
    sides = {name: target.table for name, target in targets.items()}
    if given["condition"] is not None and sides["l"] is sides["r"]:
        raise errors.NotSupported(
            "a condition cannot tell the two sides of a table joined with itself apart",
            hint="Join two Tables of different names, or say it in SQL: condition => $$ l.id < r.id $$.",
        )
    values, tables, condition = arguments(function, {**given, **columns, "left": left, "right": right}, sides)
    del tables["left"], tables["right"]
    criteria = {name: target.criterion for name, target in targets.items() if target.criterion is not None}
    conditions: Conditions = {"condition": condition or ("condition", None, sides), "criteria": criteria}
    return targets["l"], targets["r"], values, tables, conditions


def _by_keys(function: Any, given: Mapping[str, Any], type_: Any = None) -> Call:
    at_left, at_right, values, tables, conditions = _joined(function, given)
    named = {"left": at_left.table, "right": at_right.table, **tables}
    return Call(function.__name__, values, regclasses=named, type_=type_, **conditions)


def _side(side: Any) -> tuple[Any, str | None]:
    """The target and the column's name of a side; no name where a class or a Table stands for itself."""
    try:
        Target.of(side)
    except errors.InvalidParameter:
        return calls.column_of(side)
    return side, None
