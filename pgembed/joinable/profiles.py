"""profiles: what the catalogs and PostgreSQL's statistics tell a caller of the columns that they may read."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pgembed.columns import quote
from pgembed.database import Database, Row

# Types whose values can be equal to those of another column in a way that means something; floats and truth values are not among them.
_GROUPS = {
    "int2": "integer",
    "int4": "integer",
    "int8": "integer",
    "numeric": "integer",
    "text": "text",
    "varchar": "text",
    "bpchar": "text",
    "name": "text",
    "citext": "text",
    "uuid": "uuid",
    "date": "date",
    "inet": "address",
    "cidr": "address",
    "macaddr": "macaddr",
}

_COLUMNS = """
SELECT c.oid::pg_catalog.int8 AS oid, c.oid::pg_catalog.regclass::pg_catalog.text AS shown, n.nspname AS schema, c.relname AS table,
       c.reltuples, c.relpages, a.attname AS column, coalesce(b.typname, y.typname) AS type,
       coalesce(b.oid, y.oid)::pg_catalog.int8 AS type_oid, coalesce(b.typtype, y.typtype) AS kind,
       pg_catalog.col_description(c.oid, a.attnum) AS comment, pg_catalog.row_security_active(c.oid) AS guarded,
       s.attname IS NOT NULL AS known, s.null_frac, s.avg_width, s.n_distinct,
       s.most_common_vals::pg_catalog.text::pg_catalog.text[] AS common, s.histogram_bounds::pg_catalog.text::pg_catalog.text[] AS bounds,
       EXISTS (SELECT FROM pg_catalog.pg_index AS i WHERE i.indrelid = c.oid AND i.indisunique AND i.indpred IS NULL AND i.indnkeyatts = 1
               AND i.indkey[0] = a.attnum) AS is_unique,
       (SELECT pg_catalog.array_agg(f.confrelid::pg_catalog.text || ' ' || g.attname) FROM pg_catalog.pg_constraint AS f
        JOIN pg_catalog.pg_attribute AS g ON g.attrelid = f.confrelid AND g.attnum = f.confkey[1]
        WHERE f.conrelid = c.oid AND f.contype = 'f' AND pg_catalog.cardinality(f.conkey) = 1 AND f.conkey[1] = a.attnum) AS refers
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_catalog.pg_type AS y ON y.oid = a.atttypid
LEFT JOIN pg_catalog.pg_type AS b ON b.oid = y.typbasetype AND y.typtype = 'd'
LEFT JOIN LATERAL (
    SELECT * FROM pg_catalog.pg_stats AS t
    WHERE t.schemaname = n.nspname AND t.tablename = c.relname AND t.attname = a.attname ORDER BY t.inherited DESC LIMIT 1
) AS s ON true
WHERE c.relkind IN ('r', 'p', 'm', 'f') AND (NOT c.relispartition OR c.oid = $1)
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pgembed') AND n.nspname NOT LIKE 'pg\\_toast%'
  AND NOT pg_catalog.pg_is_other_temp_schema(n.oid)
  AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT')
  AND (coalesce(b.typname, y.typname) = ANY ($2) OR coalesce(b.typtype, y.typtype) = 'e')
ORDER BY c.oid, a.attnum
"""


@dataclass(frozen=True)
class Profile:
    """A column, as statistics describe it.

    Attributes:
        shown: the table as regclass writes it.
        group: columns of one group can be compared with ``=``.
        distinct: how many different values it has, None where nobody knows.
        values: some of its different values as text: the frequent ones, and quantiles of the others in their order.
        frequent: so many of them are the frequent ones.
        is_complete: there are no others.
        refers: (OID of a table, column) of foreign keys of this column alone.
        known: there are statistics that the caller may see; guarded: row security hides them.
    """

    oid: int
    shown: str
    schema: str
    table: str
    column: str
    group: str
    rows: float
    pages: int
    distinct: float | None
    width: float
    values: tuple[str, ...]
    frequent: int
    is_complete: bool
    is_unique: bool
    comment: str | None
    refers: frozenset[tuple[int, str]]
    known: bool
    guarded: bool

    @property
    def sql(self) -> str:
        """The table in SQL, schema-qualified and quoted."""
        return f"{quote(self.schema)}.{quote(self.table)}"

    @property
    def label(self) -> str:
        """The column in messages."""
        return f"{self.table}.{self.column}"


def read(db: Database, oid: int) -> list[Profile]:
    """All columns of the database that the caller may read and whose values can be equal to others'.

    Args:
        oid: of the table that is asked about, which may also be a partition.
    """
    found = db.execute(_COLUMNS, ["pg_catalog.oid", "pg_catalog.text[]"], [oid, list(_GROUPS)])
    return [_profile(row) for row in found]


def _profile(row: Row) -> Profile:
    rows = max(0.0, float(row["reltuples"]))
    distinct = None
    if row["known"]:
        said = float(row["n_distinct"])
        # below 0 it is a share of the rows, 0 is unknown
        distinct = said if said > 0 else -said * rows if said < 0 else None
    common = [value for value in row["common"] or () if value is not None]
    bounds = [value for value in row["bounds"] or () if value is not None]
    return Profile(
        oid=int(row["oid"]),
        shown=row["shown"],
        schema=row["schema"],
        table=row["table"],
        column=row["column"],
        group=f"enum {row['type_oid']}" if row["kind"] == "e" else _GROUPS[row["type"]],
        rows=rows,
        pages=int(row["relpages"]),
        distinct=distinct,
        width=float(row["avg_width"] or 0),
        values=(*common, *bounds),
        frequent=len(common),
        is_complete=bool(common) and not bounds and distinct is not None and distinct <= len(common),
        is_unique=row["is_unique"] or (distinct is not None and rows > 1 and distinct >= rows),
        comment=row["comment"],
        refers=frozenset((int(one.split(" ", 1)[0]), one.split(" ", 1)[1]) for one in row["refers"] or ()),
        known=row["known"] or row["reltuples"] == 0,  # an empty table has been looked at
        guarded=row["guarded"],
    )


SAMPLE = 2000  # rows that are looked at where values are sampled
KEPT = 300  # different values of them, at most


def sampled(db: Database, profile: Profile) -> Profile:
    """The same with values that are read now, of a part of the rows that the caller may see: of a large table, of pages drawn at random."""
    large = profile.rows > 20 * SAMPLE
    share = max(1e-4, min(100.0, 400.0 * SAMPLE / max(1.0, profile.rows)))
    part = f" TABLESAMPLE SYSTEM ({share}) REPEATABLE (1)" if large else ""
    column = quote(profile.column)
    rows = db.execute(
        "SELECT v, pg_catalog.count(*) AS n FROM ("
        f"SELECT {column}::pg_catalog.text AS v FROM {profile.sql}{part} WHERE {column} IS NOT NULL LIMIT {SAMPLE}) AS s"
        " GROUP BY v ORDER BY pg_catalog.count(*) DESC, pg_catalog.md5(v)"
    )
    values = [str(row["v"]) for row in rows]
    seen = sum(int(row["n"]) for row in rows)
    once = sum(int(row["n"]) == 1 for row in rows)
    held = max(profile.rows, float(seen))
    # Chao's estimate of what was not seen: https://www.jstor.org/stable/4615964
    twice = sum(int(row["n"]) == 2 for row in rows)
    unseen = held - seen if once == seen and seen >= SAMPLE else min(held - seen, once * once / (2 * twice) if twice else 0.0)
    distinct = profile.distinct if profile.distinct is not None else len(values) + max(0.0, unseen)
    return replace(
        profile,
        values=tuple(values[:KEPT]),
        frequent=0,
        distinct=distinct,
        width=profile.width or sum(map(len, values)) / max(1, len(values)),
        is_complete=len(values) <= KEPT and seen < SAMPLE and not large,
        is_unique=profile.is_unique or (once == seen and seen > 1),
        rows=held,
    )
