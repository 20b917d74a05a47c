"""filtering: filters to measure with, of the table's own columns where indexes say by which ones searches filter."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pgembed.codes.catalogue import Code
from pgembed.columns import Column, literal, quote
from pgembed.database import Database

SHARES = (0.5, 0.2, 0.1, 0.05, 0.02)
MOST_COLUMNS = 3
# A value far from every share that is wanted tells nothing new.
_NEAR = 2.0
_PARTS = 1024
# The least and the greatest values are further from what most queries ask for than the middle is.
_PLACES = (0.5, 0.0, 1.0)


@dataclass(frozen=True)
class Filter:
    """A condition over the table.

    Attributes:
        condition: SQL in parentheses; ``true`` for none.
        kind: ``none``, ``value``, ``range`` or ``random``, with a number where there are several columns: it names no column.
        covered: an index has its column and the codes.
    """

    condition: str
    kind: str
    covered: bool = False


def filters(db: Database, column: Column, code: Code | None, seed: int) -> list[Filter]:
    """No filter, and filters near each of SHARES: of columns that indexes begin with, and of rows at random."""
    made = [Filter("true", "none", code is not None)]
    for number, (name, kind, covered) in enumerate(_columns(db, column, code), 1):
        made += _of_column(db, column, name, kind, number, covered)
    key = ", ".join(f"{column.table.alias}.{key}" for key in [name for name, _ in column.table.keys] or ["tableoid", "ctid"])
    for share in SHARES[:4]:
        hashed = f"pg_catalog.hashtextextended(ROW({key})::pg_catalog.text, {seed})"
        part = f"({hashed} OPERATOR(pg_catalog.&) {_PARTS - 1}) OPERATOR(pg_catalog.<) {round(share * _PARTS)}"
        made.append(Filter(f"({part})", "random"))
    return made


def _columns(db: Database, column: Column, code: Code | None) -> list[tuple[str, str, bool]]:
    """Columns that an index begins with, as (name, type, whether it has the codes): those with codes first. Of PostgreSQL's own types."""
    found = db.execute(
        "SELECT a.attname::pg_catalog.text AS name, pg_catalog.format_type(a.atttypid, NULL) AS kind,"
        " pg_catalog.bool_or(k.attnum IS NOT NULL) AS covered"
        " FROM pg_catalog.pg_index AS x JOIN pg_catalog.pg_class AS i ON i.oid OPERATOR(pg_catalog.=) x.indexrelid"
        " JOIN pg_catalog.pg_am AS m ON m.oid OPERATOR(pg_catalog.=) i.relam AND m.amname OPERATOR(pg_catalog.=) 'btree'"
        " JOIN pg_catalog.pg_attribute AS a ON a.attrelid OPERATOR(pg_catalog.=) x.indrelid"
        " AND a.attnum OPERATOR(pg_catalog.=) x.indkey[0]"
        " JOIN pg_catalog.pg_type AS y ON y.oid OPERATOR(pg_catalog.=) a.atttypid"
        " AND y.typnamespace OPERATOR(pg_catalog.=) 'pg_catalog'::pg_catalog.regnamespace"
        " LEFT JOIN pg_catalog.pg_attribute AS k ON k.attrelid OPERATOR(pg_catalog.=) x.indrelid"
        " AND k.attname OPERATOR(pg_catalog.=) $2::pg_catalog.name AND k.attnum OPERATOR(pg_catalog.=) ANY (x.indkey)"
        " WHERE x.indrelid OPERATOR(pg_catalog.=) $1 AND x.indisvalid AND x.indpred IS NULL AND NOT x.indisprimary"
        # only types that btree orders by PostgreSQL's own operators
        " AND y.typcategory OPERATOR(pg_catalog.=) ANY (ARRAY['B', 'D', 'I', 'N', 'S', 'T', 'U']::pg_catalog.\"char\"[])"
        " GROUP BY 1, 2 ORDER BY 3 DESC, 1",
        ["pg_catalog.oid", "pg_catalog.text"],
        [column.table.oid, None if code is None else code.name],
    )
    return [(row["name"], row["kind"], row["covered"]) for row in found][:MOST_COLUMNS]


def _of_column(db: Database, column: Column, name: str, kind: str, number: int, covered: bool) -> list[Filter]:
    """Frequent values and ranges of a column, by what PostgreSQL counted; [] where it has not."""
    stats = db.execute(
        "SELECT s.most_common_vals::pg_catalog.text::pg_catalog.text[] AS vals, s.most_common_freqs AS shares,"
        " s.histogram_bounds::pg_catalog.text::pg_catalog.text[] AS bounds FROM pg_catalog.pg_stats AS s"
        " WHERE s.schemaname OPERATOR(pg_catalog.=) $1::pg_catalog.name AND s.tablename OPERATOR(pg_catalog.=) $2::pg_catalog.name"
        " AND s.attname OPERATOR(pg_catalog.=) $3::pg_catalog.name ORDER BY s.inherited DESC LIMIT 1",
        ["pg_catalog.text"] * 3,
        [column.table.schema, column.table.name, name],
    )
    if not stats:
        return []
    at = f"{column.table.alias}.{quote(name)}"
    values = list(zip(stats[0]["vals"] or (), map(float, stats[0]["shares"] or ()), strict=True))
    made = [Filter(f"({at} OPERATOR(pg_catalog.=) {literal(value)}::{kind})", f"value {number}", covered) for value in near(values, SHARES)]
    bounds = stats[0]["bounds"] or ()
    spread = 1 - sum(share for _, share in values)
    if len(bounds) > 20 and spread > 0.3:
        for place, share in enumerate(SHARES):
            low, high = window(len(bounds), min(1.0, share / spread), _PLACES[place % len(_PLACES)])
            if low < high:
                between = f"{at} OPERATOR(pg_catalog.>=) {literal(bounds[low])}::{kind}"
                between += f" AND {at} OPERATOR(pg_catalog.<=) {literal(bounds[high])}::{kind}"
                made.append(Filter(f"({between})", f"range {number}", covered))
    return made


def near(values: list[tuple[str, float]], wanted: tuple[float, ...]) -> list[str]:
    """For each share that is wanted the value whose own is nearest, in proportion; none twice, and none that is far."""
    left = [(value, share) for value, share in values if share > 0]
    made = []
    for share in wanted:
        found = min(left, key=lambda one: abs(math.log(one[1] / share)), default=None)
        if found is not None and abs(math.log(found[1] / share)) <= math.log(_NEAR):
            made.append(found[0])
            left.remove(found)
    return made


def window(bounds: int, share: float, place: float) -> tuple[int, int]:
    """First and last of the bounds of a histogram that enclose a share of it.

    Args:
        place: of the window, 0 for the least values, 1 for the greatest.
    """
    size = min(bounds - 1, max(1, round(share * (bounds - 1))))
    low = round(place * (bounds - 1 - size))
    return low, low + size
