"""sources: a side of a join as SQL, which is all that the execution knows of it."""

from __future__ import annotations

from dataclasses import dataclass

from pgembed.columns import Column

# The place of a row of a table, over its alias, as one text. It holds for the snapshot of one statement.
TABLE_PLACE = "({alias}.tableoid::pg_catalog.text OPERATOR(pg_catalog.||) {alias}.ctid::pg_catalog.text)"


@dataclass(frozen=True)
class Source:
    """The rows of one side.

    Attributes:
        relation: what stands in FROM, without an alias: a schema-qualified, quoted name, or a query in parentheses.
        alias: ``l`` or ``r``; all expressions below are over it.
        place: SQL of type text that names a row: `table_place` for tables; of views and foreign tables the row as text, to be cast back.
            Never NULL. Whoever renders the result finds the rows by it.
        vector: SQL of pgvector's type vector; rows where it is NULL take no part. Exactly one of vector, chunks and text is given.
        text: SQL of type text, embedded on the fly; rows where it is NULL or blank take no part.
        where: SQL of type boolean, what of the condition speaks of this side alone; '' for none.
        group: SQL of type text: only rows of both sides with equal groups are compared, and a row with NULL with none; None compares all.
            Equal values must be equal texts on both sides.
        column: the embedded column that `vector` is, where relation is its table: then single rows may be looked up through its index.
        types, values: of the parameters in these expressions ($1, ...).
        rows: estimated number of rows before `where`; negative where nobody knows.
        chunks: SQL of type bytea, in place of vector where a row has several: those of its chunks as vector_send writes them, one behind
            the other.
    """

    relation: str
    alias: str
    place: str
    vector: str | None = None
    text: str | None = None
    where: str = ""
    group: str | None = None
    column: Column | None = None
    types: tuple[str, ...] = ()
    values: tuple[object, ...] = ()
    rows: float = -1.0
    chunks: str | None = None


def table_place(alias: str) -> str:
    """SQL for the place of a table's row: its table's OID and its ctid, such as ``16384(0,1)``."""
    return TABLE_PLACE.format(alias=alias)


def of_column(column: Column, alias: str, *, where: str = "", group: str | None = None) -> Source:
    """The rows of a table by the vectors of an embedded column."""
    cast = column.to_vector
    return Source(
        relation=column.table.sql,
        alias=alias,
        place=table_place(alias),
        vector=f"{alias}.{column.sql}{cast}",
        where=where,
        group=group,
        column=column,
        rows=column.rows,
    )
