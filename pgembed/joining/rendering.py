"""rendering: the statements that turn places of rows into rows, a part of the result at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgembed.joining.sides import Form, Side

if TYPE_CHECKING:
    from pgembed.joins.neighbours import Floats, Ints

# Pairs of one part.
PART = 8_192


@dataclass(frozen=True)
class Result:
    """Pairs with all that is said of them; arrays and lists of one length but for the last.

    Attributes:
        is_match: True, False or None; probability: NaN where nothing can be said; evidence: of each pair an array of text as PostgreSQL
            writes it.
        alone: places of left rows that are given without a pair.
    """

    left_places: list[str]
    right_places: list[str]
    distance: Floats
    rank: Ints
    is_match: list[bool | None]
    probability: Floats
    evidence: list[str]
    alone: list[str]


def placed(side: Side, place: str, *, outer: bool = False) -> str:
    """A JOIN that puts the row of a place beside it, as l or r.

    Args:
        place: column of p with the place.
        outer: a place may be NULL.
    """
    alias, join = side.source.alias, "LEFT JOIN" if outer else "JOIN"
    if side.source.place == side.key:
        return f"{join} {side.table.sql} AS {alias} ON {side.key} OPERATOR(pg_catalog.=) p.{place}"
    if not side.by_ctid:
        cast = f"pg_catalog.unnest(ARRAY[p.{place}::{side.table.sql}])"
        return f"LEFT JOIN LATERAL {cast} AS {alias} ON true" if outer else f"CROSS JOIN LATERAL {cast} AS {alias}"
    return (
        f"{join} {side.table.sql} AS {alias} ON {alias}.ctid OPERATOR(pg_catalog.=)"
        f" ('(' OPERATOR(pg_catalog.||) pg_catalog.split_part(p.{place}, '(', 2))::pg_catalog.tid"
        f" AND {alias}.tableoid OPERATOR(pg_catalog.=) pg_catalog.split_part(p.{place}, '(', 1)::pg_catalog.oid"
    )


def statement(left: Side, right: Side, form: Form, *, paired: bool) -> str:
    """The statement of a part, whose parameters are the columns of `parts` in their order.

    Args:
        paired: every left row has a right one; else none has.
    """
    rows = (
        "ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[]),"
        " pg_catalog.unnest($3::pg_catalog.float8[]), pg_catalog.unnest($4::pg_catalog.int4[]), pg_catalog.unnest($5::pg_catalog.bool[]),"
        " pg_catalog.unnest($6::pg_catalog.float8[]), pg_catalog.unnest($7::pg_catalog.text[])) WITH ORDINALITY"
        " AS p (left_place, right_place, distance, rank, is_match, probability, evidence, position)"
    )
    said = "p.distance, p.rank, p.is_match, p.probability, p.evidence::pg_catalog.text[]"
    if form == "keys":
        return f"SELECT p.left_place, p.right_place, {said} FROM {rows} ORDER BY p.position"
    other = f"(r.*)::{right.table.sql}" if paired else f"NULL::{right.table.sql}"
    joins = " ".join([placed(left, "left_place"), *([placed(right, "right_place")] if paired else [])])
    return f"SELECT (l.*)::{left.table.sql}, {other}, {said} FROM {rows} {joins} ORDER BY p.position"


def parts(left: Side, right: Side, form: Form, result: Result) -> Iterator[dict[str, Any]]:
    """The result in parts: a statement, and the arrays that it takes as parameters."""
    import numpy as np

    pairs = statement(left, right, form, paired=True)
    for start in range(0, len(result.left_places), PART):
        part = slice(start, start + PART)
        yield {
            "statement": pairs,
            "left_places": result.left_places[part],
            "right_places": result.right_places[part],
            "distances": [None if np.isnan(one) else one for one in result.distance[part].tolist()],
            "ranks": result.rank[part].tolist(),
            "matches": result.is_match[part],
            "probabilities": [None if np.isnan(one) else one for one in result.probability[part].tolist()],
            "evidences": result.evidence[part],
        }
    single = statement(left, right, form, paired=False)
    for start in range(0, len(result.alone), PART):
        places = result.alone[start : start + PART]
        nothing = [None] * len(places)
        yield {
            "statement": single,
            "left_places": places,
            **dict.fromkeys(("right_places", "distances", "ranks", "matches", "probabilities", "evidences"), nothing),
        }
