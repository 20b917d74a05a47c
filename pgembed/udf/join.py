"""Semantic join: bodies of ``sql/functions/join.sql``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgembed import catalogue, columns, errors, joins, models, rows, text
from pgembed.asking import provenance
from pgembed.changing import pinning
from pgembed.codes import catalogue as code_room
from pgembed.columns import Column, Table, quote
from pgembed.udf import boundary
from pgembed.udf.connection import DATABASE

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MAPPINGS = ("many", "one_to_one")
# Pairs that pass a condition are listed one by one.
CONDITION_PAIRS = 5_000_000


@dataclass(frozen=True)
class Side:
    """One side of a join: an embedded column, or a column whose text is embedded on the fly."""

    table: Table
    name: str
    embedded: Column | None


@boundary
def pairs(
    left_table: str,
    right_table: str,
    left_column: str | None,
    right_column: str | None,
    k: int | None,
    max_distance: float | None,
    mapping: str | None,
    condition: str | None,
    params: str | None,
    precision: float | None,
) -> dict[str, Any]:
    """Body of `pgembed._join_pairs`."""
    if k is None:
        raise errors.NullNotAllowed("k is NULL", hint="k is the number of right rows for each left row, 1 by default.")
    if k <= 0:
        raise errors.InvalidParameter(f"k must be at least 1, not {k}", hint="k is the number of right rows for each left row.")
    if mapping not in MAPPINGS:
        raise errors.InvalidParameter(f"mapping must be many or one_to_one, not {mapping or 'NULL'}", hint="many is the default.")
    if precision is not None and not 0 < precision < 1:
        raise errors.InvalidParameter(f"precision must be between 0 and 1, not {precision:g}", hint="0.95 lets 5 of 100 matches be wrong.")
    left, right = _side(left_table, left_column, "left"), _side(right_table, right_column, "right")
    metric = _metric(left, right)
    model = _model(left, right)
    left_rows, left_vectors = _fetch(left, model)
    right_rows, right_vectors = _fetch(right, model)
    allowed = _allowed(left, right, left_rows, right_rows, condition, params)
    found = joins.join(
        left_vectors,
        right_vectors,
        k,
        metric=metric,
        max_distance=max_distance,
        one_to_one=mapping == "one_to_one",
        precision=precision,
        allowed=allowed,
        same=left.table.oid == right.table.oid and left.name == right.name,
        check=DATABASE.check_interrupts,
    )
    at_left, at_right = found.pairs.left.tolist(), found.pairs.right.tolist()
    return {
        "left_tables": [left_rows.tables[i] for i in at_left],
        "left_places": [left_rows.places[i] for i in at_left],
        "right_tables": [right_rows.tables[i] for i in at_right],
        "right_places": [right_rows.places[i] for i in at_right],
        "distances": found.pairs.distance.tolist(),
        "ranks": found.pairs.rank.tolist(),
        "matches": found.is_match.tolist(),
        "statement": (
            f"SELECT (l.*)::{left.table.sql}, (r.*)::{right.table.sql}, p.distance, p.rank, p.is_match"
            " FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2::pg_catalog.tid[]), pg_catalog.unnest($3),"
            " pg_catalog.unnest($4::pg_catalog.tid[]), pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7))"
            " WITH ORDINALITY AS p (left_table, left_place, right_table, right_place, distance, rank, is_match, position)"
            f" JOIN {left.table.sql} AS l ON l.ctid OPERATOR(pg_catalog.=) p.left_place"
            " AND l.tableoid OPERATOR(pg_catalog.=) p.left_table"
            f" JOIN {right.table.sql} AS r ON r.ctid OPERATOR(pg_catalog.=) p.right_place"
            " AND r.tableoid OPERATOR(pg_catalog.=) p.right_table"
            " ORDER BY p.position"
        ),
    }


def _side(target: str, name: str | None, which: str) -> Side:
    """Which column a side means: an embedded one of that name, else any other of it, whose text is embedded on the fly.

    Raises:
        errors.WrongObjectType: the side is a view, whose rows have no place.
        errors.UnknownColumn: the table has no column of that name.
    """
    pinning.pin(DATABASE, target)
    found, known = columns.table(DATABASE, target)
    if found.relkind not in "rpm":
        raise errors.WrongObjectType(f'"{found.name}" is not a table', hint="Join the table behind it, or make it a materialized view.")
    for column in known:
        if column.name == name:
            column.one_vector("semantic_join()")
            return Side(found, column.name, columns.column(DATABASE, target, name))
    if name is None:
        chosen = columns.column(DATABASE, target, None)
        chosen.one_vector("semantic_join()")
        return Side(found, chosen.name, chosen)
    exists = DATABASE.execute(
        "SELECT t.typname FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) a.atttypid"
        " WHERE a.attrelid OPERATOR(pg_catalog.=) $1 AND a.attname OPERATOR(pg_catalog.=) $2 AND a.attnum OPERATOR(pg_catalog.>) 0"
        " AND NOT a.attisdropped",
        ["pg_catalog.oid", "pg_catalog.name"],
        [found.oid, name],
    )
    if not exists:
        raise errors.UnknownColumn(
            f'column "{name}" of table "{found.name}" does not exist',
            hint=f"{which}_column is a column of text, or an embedded one: {', '.join(c.name for c in known) or 'there is none'}.",
        )
    if any(code.name == name for code in code_room.codes(DATABASE, found)):
        raise errors.WrongObjectType(
            f'column "{name}" of table "{found.name}" holds codes, which are neither texts nor vectors',
            hint=f"Name the embedded column that they are of: {', '.join(c.name for c in known)}.",
        )
    if exists[0]["typname"] in columns.VECTOR_TYPES:
        raise errors.UnknownObject(
            f'column "{name}" of table "{found.name}" holds vectors of an unknown model',
            hint=f"SELECT pgembed.adopt_embedding('{found.shown}', '{name}', 'the model that made it').",
        )
    return Side(found, name, None)


def _metric(left: Side, right: Side) -> Any:
    metrics = {side.embedded.metric for side in (left, right) if side.embedded is not None}
    if len(metrics) > 1:
        raise errors.InvalidParameter(
            f"the columns have different metrics: {left.name} {left.embedded and left.embedded.metric},"
            f" {right.name} {right.embedded and right.embedded.metric}",
            hint="pgembed.alter_embedding(..., metric => ...) changes one of them.",
        )
    return metrics.pop() if metrics else "cosine"


def _model(left: Side, right: Side) -> models.Model | None:
    """The model whose space both sides are in; None where no text is embedded on the fly.

    Raises:
        errors.DimensionMismatch: the sides are of two models.
    """
    made = [side.embedded for side in (left, right) if side.embedded is not None]
    if len(made) == 2:
        provenance.must_be_one(made[0], made[1], "Join columns of one model; pgembed.alter_embedding(..., model => ...) changes one.")
        return None
    if made:
        if made[0].model is None:
            raise errors.NotSupported(
                f"{made[0].label} was adopted without a model, so no text can be compared with it",
                hint="Adopt it again with the name of the model that made it.",
            )
        return catalogue.resolve(DATABASE, made[0].model, made[0].fingerprint, by_backend=True)
    return catalogue.resolve(DATABASE, None, by_backend=True)


def _fetch(side: Side, model: models.Model | None) -> tuple[rows.Places, npt.NDArray[np.float32]]:
    if side.embedded is not None:
        return rows.read_vectors(DATABASE, side.embedded)
    assert model is not None
    places, texts = rows.read_texts(DATABASE, side.table, f"{side.table.alias}.{quote(side.name)}::pg_catalog.text")
    filled = [position for position, content in enumerate(texts) if not text.is_empty(content)]
    places = rows.Places([places.tables[i] for i in filled], [places.places[i] for i in filled])
    distinct: dict[str, int] = {}
    which = [distinct.setdefault(texts[i], len(distinct)) for i in filled]
    made = model.encode(list(distinct), DATABASE.check_interrupts).vectors
    return places, made[which] if which else made


def _allowed(
    left: Side,
    right: Side,
    left_places: rows.Places,
    right_places: rows.Places,
    condition: str | None,
    params: str | None,
) -> tuple[list[int], list[int]] | None:
    """Positions of the pairs that pass a condition over l and r; None where there is no condition.

    Raises:
        errors.StatementRefused: the condition is not one boolean expression.
        errors.LimitExceeded: too many pairs pass.
    """
    if condition is None or not condition.strip():
        return None
    both = f"FROM {left.table.sql} AS l CROSS JOIN {right.table.sql} AS r WHERE"
    wrapped = f"({condition}\n)"
    try:
        for form in (condition, wrapped):
            DATABASE.prepare(f"SELECT {both} {form}", ["pg_catalog.jsonb"])
    except errors.StatementRefused as error:
        error.message = f"condition is not a boolean expression over l and r: {error.message}"
        error.hint = error.hint or "The left row is l, the right one is r: l.country = r.country; values come as params: $1->>'name'."
        raise
    found = DATABASE.execute(
        "SELECT pg_catalog.array_agg(lp) AS lp, pg_catalog.array_agg(rp) AS rp FROM (SELECT l.tableoid || l.ctid::pg_catalog.text AS lp,"
        f" r.tableoid || r.ctid::pg_catalog.text AS rp {both} {wrapped} LIMIT {CONDITION_PAIRS + 1}) AS p",
        ["pg_catalog.jsonb"],
        [params],
    )[0]
    if len(found["lp"] or ()) > CONDITION_PAIRS:
        raise errors.LimitExceeded(
            f"more than {CONDITION_PAIRS} pairs of rows pass the condition",
            hint="Make the condition stricter, or join without one.",
        )
    at_left = {f"{table}{place}": i for i, (table, place) in enumerate(zip(left_places.tables, left_places.places, strict=True))}
    at_right = {f"{table}{place}": i for i, (table, place) in enumerate(zip(right_places.tables, right_places.places, strict=True))}
    listed = [
        (at_left[lp], at_right[rp]) for lp, rp in zip(found["lp"] or (), found["rp"] or (), strict=True) if lp in at_left and rp in at_right
    ]
    return [i for i, _ in listed], [j for _, j in listed]
