"""provenance: which model made a vector, and that vectors of two models are never compared."""

from __future__ import annotations

from pgembed import catalogue, columns, errors
from pgembed.columns import Column, literal, quote
from pgembed.database import Database


def must_be_one(one: Column, other: Column, hint: str) -> None:
    """Raise where vectors of two columns are not of one space: of other weights, other options, or another revision of one name.

    Columns that were adopted without a model are of one space as far as their dimensions agree: whoever adopted them vouches for it.

    Raises:
        errors.DimensionMismatch: they are of two models, or of two dimensions.
    """
    if one.fingerprint == other.fingerprint and (one.dim or other.dim) == (other.dim or one.dim):
        return

    def told(column: Column) -> str:
        # of one name and two revisions nothing else tells which is which
        mark = f" ({str(column.fingerprint)[:12]})" if one.model == other.model is not None else ""
        return f"{column.model or 'unknown'}{mark}"

    raise errors.DimensionMismatch(
        f"{one.label} is of model {told(one)} ({one.dim} dimensions), {other.label} of model {told(other)} ({other.dim}):"
        " vectors of two models cannot be compared",
        hint=hint,
    )


def statement(db: Database, target: str | None, column_name: str | None) -> str:
    """A statement that tells of each row which model made its vector; see `pgembed.provenance` in SQL.

    Raises:
        errors.PgembedError: as `pgembed.columns.column`.
    """
    column = columns.column(db, target, column_name)
    hashed = f"t.{quote(column.hash_column)}" if column.hash_column else None
    # of a column that follows no source nobody knows who wrote what
    by_hand = f"pgembed.by_hand({hashed})" if hashed else "NULL::pg_catalog.bool"
    key = column.table.key_text("t") if column.table.keys else "NULL::pg_catalog.text"
    state = column.freshness("t")
    made = f"{state} OPERATOR(pg_catalog.=) ANY ('{{fresh,stale}}'::pg_catalog.text[])"
    if column.chunks is None:
        made = f"t.{column.sql} IS NOT NULL"
    known = f"{made} AND {by_hand} IS NOT TRUE"
    revision = _revision(db, column)

    def where_known(value: str | None, kind: str) -> str:
        return "NULL::pg_catalog." + kind if value is None else f"CASE WHEN {known} THEN {literal(value)}::pg_catalog.{kind} END"

    return (
        f"SELECT {key}, {state}, {by_hand}, {where_known(column.model, 'text')}, {where_known(column.fingerprint, 'text')},"
        f" {where_known(None if revision is None else str(revision), 'int4')} FROM {column.table.sql} AS t"
    )


def _revision(db: Database, column: Column) -> int | None:
    """Of the column's model; None where it has none, or the model is not known here any more."""
    if column.model is None:
        return None
    try:
        return catalogue.describe(db, column.model, column.fingerprint).revision
    except errors.PgembedError:
        return None
