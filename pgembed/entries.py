"""entries: how large an entry of a btree index can become, so that no index is advised with which an insert would fail one day.

PostgreSQL refuses an entry above a third of a page: 2,704 bytes. What is counted is the largest value that a column's type, its modifier,
its domain or a validated CHECK constraint admits, not the largest that happens to be stored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pgembed.columns import Table, quote
from pgembed.database import Database

# For pages of 8 kB: header of the page with three line pointers, the page's own 16 bytes, and room for the place of a row.
MOST_ENTRY = 2_704
HEADER = 16  # of an entry that may have NULLs
LINE, FILL = 4, 0.9  # bytes of a line pointer; share of a page that is filled


@dataclass(frozen=True)
class Attribute:
    """A column of a table.

    Attributes:
        type: its name, of a domain its base type's.
        category: ``pg_type.typcategory`` of it.
        align: 1, 2, 4 or 8 bytes.
        most: bytes of the largest value, its own header included; None where nothing limits it.
        width: bytes of a value on average, as PostgreSQL last counted; None where it never has.
        distinct: different values, as PostgreSQL last counted; None where it never has.
    """

    name: str
    type: str
    category: str
    align: int
    most: int | None
    width: int | None
    distinct: float | None


def attributes(db: Database, table: Table) -> dict[str, Attribute]:
    """The columns of a table, by name. Statistics are those that the caller may read."""
    rows = db.execute(
        "WITH RECURSIVE known AS (SELECT a.attnum, a.attname, a.atttypid AS type, a.atttypmod AS modifier, 0 AS depth"
        " FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped"
        " UNION ALL SELECT k.attnum, k.attname, t.typbasetype, t.typtypmod, k.depth + 1 FROM known AS k"
        " JOIN pg_catalog.pg_type AS t ON t.oid = k.type WHERE t.typtype = 'd'),"
        " checks AS (SELECT k.attnum, pg_catalog.array_agg(pg_catalog.pg_get_constraintdef(c.oid)) AS texts FROM known AS k"
        " JOIN pg_catalog.pg_constraint AS c ON c.contype = 'c' AND c.convalidated"
        " AND (c.conrelid = $1 AND c.conkey = ARRAY[k.attnum] AND k.depth = 0 OR c.contypid = k.type) GROUP BY k.attnum)"
        " SELECT DISTINCT ON (k.attnum) k.attname::pg_catalog.text AS name, t.typname::pg_catalog.text AS type, t.typlen AS length,"
        " t.typcategory::pg_catalog.text AS category, t.typalign::pg_catalog.text AS align, k.modifier, r.typlen AS range_of,"
        " pg_catalog.pg_encoding_max_length(d.encoding) AS per_char, s.avg_width AS width, s.n_distinct::pg_catalog.float8 AS distinct,"
        " greatest(l.reltuples, 0)::pg_catalog.float8 AS rows, h.texts"
        " FROM known AS k JOIN pg_catalog.pg_type AS t ON t.oid = k.type"
        " JOIN pg_catalog.pg_class AS l ON l.oid = $1 JOIN pg_catalog.pg_namespace AS n ON n.oid = l.relnamespace"
        " JOIN pg_catalog.pg_database AS d ON d.datname = pg_catalog.current_database()"
        " LEFT JOIN pg_catalog.pg_range AS g ON g.rngtypid = t.oid LEFT JOIN pg_catalog.pg_type AS r ON r.oid = g.rngsubtype"
        " LEFT JOIN checks AS h ON h.attnum = k.attnum"
        " LEFT JOIN pg_catalog.pg_stats AS s ON s.schemaname = n.nspname AND s.tablename = l.relname AND s.attname = k.attname"
        " AND s.inherited = (l.relkind = 'p')"
        " ORDER BY k.attnum, k.depth DESC",
        ["pg_catalog.oid"],
        [table.oid],
    )
    found = {}
    for row in rows:
        distinct = row["distinct"]
        found[row["name"]] = Attribute(
            name=row["name"],
            type=row["type"],
            category=row["category"],
            align={"c": 1, "s": 2, "i": 4, "d": 8}[row["align"]],
            most=_most(row["type"], row["length"], row["modifier"], row["range_of"], row["per_char"], row["texts"] or (), row["name"]),
            width=row["width"],
            distinct=None if distinct is None else -distinct * row["rows"] if distinct < 0 else distinct,
        )
    return found


def entry(columns: Iterable[Attribute]) -> int | None:
    """Bytes of the largest entry of an index with these columns, in this order; None where one of them has no limit."""
    size = HEADER
    for column in columns:
        if column.most is None:
            return None
        size = -(-size // column.align) * column.align + column.most
    return -(-size // 8) * 8


def index_bytes(columns: Iterable[Attribute], rows: float) -> int:
    """About how large an index with these columns will be."""
    size = 8.0
    for column in columns:
        size += (column.width if column.width is not None else min(column.most or 32, 32)) + (column.align - 1) / 2 * (
            column.most is not None
        )
    return round(rows * (-(-size // 8) * 8 + LINE) / FILL)


def bounds(table: Table, columns: Sequence[Attribute]) -> list[tuple[str, Attribute, int]]:
    """Statements that would limit the columns that nothing limits, so that the entry fits; [] where that would not do.

    Returns:
        (statement, column, bytes it admits), two statements a column: the second checks the rows that are there, without blocking writers.
    """
    free = [column for column in columns if column.most is None]
    rest = HEADER + sum(column.align - 1 + column.most for column in columns if column.most is not None)
    each = (MOST_ENTRY - 8 - rest) // max(1, len(free)) - 8
    each -= each % 100 if each > 200 else 0
    if each < 32:
        return []
    made = []
    for column in free:
        counted = "octet_length" if column.category == "S" or column.type in ("bytea", "varbit") else "pg_column_size"
        name = quote(f"{table.name[:20]}_{column.name[:20]}_bytes")
        made.append(
            (f"ALTER TABLE {table.sql} ADD CONSTRAINT {name} CHECK ({counted}({quote(column.name)}) <= {each}) NOT VALID", column, each)
        )
        made.append((f"ALTER TABLE {table.sql} VALIDATE CONSTRAINT {name}", column, each))
    return made


def longest(db: Database, table: Table, column: Attribute) -> int | None:
    """Bytes of the longest value of a column that the caller sees; None where there is none."""
    counted = "octet_length" if column.category == "S" or column.type in ("bytea", "varbit") else "pg_column_size"
    rows = db.execute(f"SELECT pg_catalog.max(pg_catalog.{counted}({quote(column.name)})) AS most FROM {table.sql}")
    most = rows[0]["most"]
    return None if most is None else int(most)


_CHECK = re.compile(
    r"CHECK \(\((?P<function>octet_length|pg_column_size|char_length|character_length|length)"
    r"\(\(?(?P<column>\"(?:[^\"]|\"\")*\"|\w+)\)?(?:::\w+)?\)"
    r" (?P<operator><=?) (?P<number>\d+)\)\)"
)


def _most(name: str, length: int, modifier: int, range_of: int | None, per_char: int, checks: Sequence[str], column: str) -> int | None:
    limits = [_by_type(name, length, modifier, range_of, per_char)]
    for text in checks:
        found = _CHECK.fullmatch(text)
        if found is None or found["column"] not in ("VALUE", column, quote(column)):
            continue
        number = int(found["number"]) - (found["operator"] == "<")
        if found["function"] == "pg_column_size":
            limits.append(number)
        elif found["function"] == "octet_length" and name != "varbit":
            limits.append(number + 4)
        elif name in ("text", "varchar", "bpchar", "bytea"):
            limits.append(number * (1 if name == "bytea" else per_char) + 4)
    known = [limit for limit in limits if limit is not None]
    return min(known) if known else None


def _by_type(name: str, length: int, modifier: int, range_of: int | None, per_char: int) -> int | None:
    if length > 0:
        return length
    if range_of is not None:
        return 9 + 2 * (range_of + 7) if range_of > 0 else None
    if modifier < 0:
        return None
    if name in ("varchar", "bpchar"):
        return 4 + per_char * (modifier - 4)
    if name in ("bit", "varbit", "binvec"):
        return 8 + (modifier + 7) // 8
    if name == "numeric":
        precision = ((modifier - 4) >> 16) & 0xFFFF
        return 8 + 2 * ((precision + 6) // 4)
    if name in ("vector", "halfvec"):
        return 8 + (4 if name == "vector" else 2) * modifier
    return None


def stored(name: str, length: int, category: str = "U") -> Attribute:
    """A column that is to be made yet, of codes of so many bytes."""
    return Attribute(name, "bytea", category, 4, length + 8, length + 8, None)
