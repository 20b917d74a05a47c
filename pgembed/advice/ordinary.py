"""ordinary: a table's indexes, and those by which PostgreSQL would find a filter's rows."""

from __future__ import annotations

from dataclasses import dataclass

from pgembed.advice import shapes
from pgembed.advice.grouping import Use
from pgembed.columns import Table, quote
from pgembed.database import Database
from pgembed.entries import MOST_ENTRY, Attribute, entry

_RANGES = {"btree": (*shapes.BY_EQUALITY, shapes.RANGE), "hash": (shapes.EQUALITY, shapes.ANY), "brin": (shapes.EQUALITY, shapes.RANGE)}
_OTHERS = (shapes.OVERLAP, shapes.CONTAINS, shapes.TEXT, shapes.LIKE)


@dataclass(frozen=True)
class Index:
    """A valid index of a table.

    Attributes:
        keys: names of its key columns, '' for an expression.
        columns: names of all its columns.
        predicate: of a partial index, as PostgreSQL writes it; None for a whole one.
    """

    method: str
    keys: tuple[str, ...]
    columns: tuple[str, ...]
    predicate: str | None

    @property
    def is_whole(self) -> bool:
        """Every row has an entry."""
        return self.predicate is None

    def serves(self, form: str) -> bool:
        """Whether rows are found by it for a condition of a form on its first key column."""
        return self.is_whole and form in _RANGES.get(self.method, _OTHERS if self.method in ("gin", "gist", "spgist") else ())


def existing(db: Database, table: Table) -> list[Index]:
    """The indexes of a table that are ready."""
    rows = db.execute(
        "SELECT m.amname::pg_catalog.text AS method, x.indnkeyatts AS keys, pg_catalog.pg_get_expr(x.indpred, x.indrelid) AS predicate,"
        " (SELECT pg_catalog.array_agg(coalesce(a.attname::pg_catalog.text, '') ORDER BY u.position)"
        " FROM pg_catalog.unnest(x.indkey) WITH ORDINALITY AS u (attnum, position)"
        " LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = x.indrelid AND a.attnum = u.attnum AND u.attnum > 0) AS names"
        " FROM pg_catalog.pg_index AS x JOIN pg_catalog.pg_class AS i ON i.oid = x.indexrelid"
        " JOIN pg_catalog.pg_am AS m ON m.oid = i.relam WHERE x.indrelid = $1 AND x.indisvalid AND x.indisready ORDER BY i.oid",
        ["pg_catalog.oid"],
        [table.oid],
    )
    return [Index(row["method"], tuple(row["names"][: row["keys"]]), tuple(row["names"]), row["predicate"]) for row in rows]


def definition(use: Use, attributes: dict[str, Attribute]) -> tuple[str, tuple[str, ...], str] | None:
    """What follows the table in CREATE INDEX, the columns, and what is in the way of it, or ''; None where no index would help.

    Of a column that nothing limits a hash index is made: it takes values of any length, while a btree refuses long ones.
    """
    equal = [attributes[name] for name in use.equal]
    if equal:
        best = max(equal, key=lambda one: (one.distinct or 0.0, one.name))
        null = all(term.form == shapes.NULL for term in use.shape.terms if best.name in term.columns)
        fits = (entry([best]) or MOST_ENTRY + 1) <= MOST_ENTRY
        if not fits and null:
            return "", (best.name,), f"{best.name} may hold values too long for a btree"
        return f"({quote(best.name)})" if fits else f"USING hash ({quote(best.name)})", (best.name,), ""
    for term in use.shape.terms:
        if len(term.columns) != 1:
            continue
        attribute = attributes[term.columns[0]]
        name = quote(attribute.name)
        if term.form in (shapes.OVERLAP, shapes.CONTAINS, shapes.TEXT):
            if attribute.category == "R":
                return f"USING gist ({name})", (attribute.name,), ""
            if attribute.category == "A" or attribute.type in ("jsonb", "tsvector"):
                return f"USING gin ({name})", (attribute.name,), ""
            if term.form == shapes.TEXT:
                trouble = "build one on the very expression that it compares, such as USING gin (to_tsvector('english', body))"
                return "", (attribute.name,), trouble
        if term.form == shapes.RANGE:
            if (entry([attribute]) or MOST_ENTRY + 1) <= MOST_ENTRY:
                return f"({name})", (attribute.name,), ""
            trouble = f"nothing limits {attribute.name}, and a btree index would refuse values above {MOST_ENTRY} bytes"
            return "", (attribute.name,), trouble
    return None
