"""reading: what the report takes from the database: what is said of a column, and a sample of its rows. All as the caller."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pgembed import errors, vectors
from pgembed.columns import Column, quote
from pgembed.database import Database, Row

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Characters of a row's text that are read, and that are shown.
READ, SHOWN = 400, 160
# Columns whose text is PostgreSQL's own code: output functions of other types may be anybody's.
_TEXTS = ("text", "varchar", "bpchar", "name")
_NUMBERS = ("int2", "int4", "int8", "float4", "float8", "numeric", "oid")
_TIMES = ("date", "timestamp", "timestamptz")
_OTHERS = ("bool", "uuid")
# Of a column by which rows may be coloured: values, more are "other".
_COLOURS = 40


@dataclass(frozen=True)
class Plain:
    """A column of the table's own with values that can be shown: kind is text, number, time, boolean or enum."""

    name: str
    kind: str
    type: str

    @property
    def sql(self) -> str:
        return quote(self.name)


@dataclass
class Sample:
    """Rows drawn at random.

    Attributes:
        vectors: float32, shape (n, dim).
        keys, texts: n each; a text is what stands in the columns of text that the source reads, its first characters.
        values: by column, n values: str, float or None.
        held: rows of the column that have a vector (of a column over chunks, chunks).
        others: by name, the same rows' vectors in other embedded columns; None where a row has none.
        left_out: why rows are not in it, in a sentence; '' where there is no reason.
    """

    vectors: NDArray[np.float32]
    keys: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    values: dict[str, list[Any]] = field(default_factory=dict)
    held: int = 0
    others: dict[str, list[bytes | None]] = field(default_factory=dict)
    left_out: str = ""

    def __len__(self) -> int:
        return len(self.keys)


def facts(db: Database, column: Column) -> dict[str, Any]:
    """The line of the view pgembed.embeddings, and what the model says of itself; counts are None for whom they are hidden."""
    found = db.execute(
        "SELECT e.*, m.kind AS model_kind, m.dim AS model_dim FROM pgembed.embeddings AS e"
        " LEFT JOIN pgembed.models AS m ON m.name = e.model"
        " WHERE e.table_name OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND e.column_name = $2",
        ["pg_catalog.oid", "pg_catalog.name"],
        [column.table.oid, column.name],
    )
    return dict(found[0]) if found else {}


def sizes(db: Database, column: Column) -> list[Row]:
    """Bytes of the table, of what it keeps out of line, and of each index: what, bytes, definition; partitions are added up."""
    oids = [column.table.oid]
    if column.chunks is not None:
        found = db.execute("SELECT pg_catalog.to_regclass($1)::pg_catalog.oid AS oid", ["pg_catalog.text"], [column.chunks.sql])
        oids += [row["oid"] for row in found if row["oid"] is not None]
    return db.execute(
        """
        WITH parts AS (
            SELECT o.oid AS home, coalesce(p.relid::pg_catalog.oid, o.oid) AS oid
            FROM pg_catalog.unnest($1) AS o (oid) LEFT JOIN LATERAL pg_catalog.pg_partition_tree(o.oid) AS p ON p.isleaf
        )
        SELECT pg_catalog.format('table %s', h.oid::pg_catalog.regclass) AS what,
            sum(pg_catalog.pg_relation_size(p.oid)) AS bytes, '' AS definition, 0 AS part
        FROM parts AS p JOIN pg_catalog.pg_class AS h ON h.oid = p.home GROUP BY h.oid
        UNION ALL
        SELECT 'out of line', sum(pg_catalog.pg_table_size(p.oid) - pg_catalog.pg_relation_size(p.oid)), '', 1 FROM parts AS p
        UNION ALL
        SELECT 'index ' || i.relname, pg_catalog.pg_relation_size(i.oid), pg_catalog.pg_get_indexdef(i.oid), 2
        FROM parts AS p JOIN pg_catalog.pg_index AS x ON x.indrelid = p.oid JOIN pg_catalog.pg_class AS i ON i.oid = x.indexrelid
        ORDER BY 4, 2 DESC
        """,
        ["pg_catalog.oid[]"],
        [oids],
    )


def vector_bytes(db: Database, column: Column, held: float) -> int | None:
    """About how many bytes the vectors take, by PostgreSQL's own count of their width; None where nobody has counted."""
    found = db.execute(
        "SELECT s.avg_width AS width, 1 - s.null_frac AS there FROM pg_catalog.pg_stats AS s"
        " WHERE s.schemaname = $1 AND s.tablename = $2 AND s.attname = $3",
        ["pg_catalog.name", "pg_catalog.name", "pg_catalog.name"],
        [column.table.schema, column.table.name, column.now or column.name],
    )
    width = None if column.dim is None else column.dim * (2 if column.type == "halfvec" else 4) + 8
    if width is None and found:
        width = found[0]["width"]
    return None if width is None else int(width * held)


def plain_columns(db: Database, column: Column) -> list[Plain]:
    """The table's columns that the caller may read and that can be shown, in their order, without those of ours."""
    found = db.execute(
        "SELECT a.attname AS name, coalesce(b.typname, y.typname) AS type, coalesce(b.typtype, y.typtype)::pg_catalog.text AS sort,"
        " coalesce(b.typnamespace, y.typnamespace) OPERATOR(pg_catalog.=) 'pg_catalog'::pg_catalog.regnamespace AS builtin"
        " FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS y ON y.oid OPERATOR(pg_catalog.=) a.atttypid"
        " LEFT JOIN pg_catalog.pg_type AS b ON b.oid OPERATOR(pg_catalog.=) y.typbasetype"
        " WHERE a.attrelid OPERATOR(pg_catalog.=) $1 AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped"
        " AND pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'SELECT') ORDER BY a.attnum",
        ["pg_catalog.oid"],
        [column.table.oid],
    )
    kinds = {**dict.fromkeys(_TEXTS, "text"), **dict.fromkeys(_NUMBERS, "number"), **dict.fromkeys(_TIMES, "time")}
    kinds |= {"bool": "boolean", "uuid": "text"}
    made = []
    for row in found:
        kind = "enum" if row["sort"] == "e" else kinds.get(row["type"]) if row["builtin"] else None
        if kind is not None:
            made.append(Plain(str(row["name"]), kind, str(row["type"])))
    return made


def text_columns(column: Column, known: list[Plain]) -> list[Plain]:
    """Of these, those whose text is shown for a row: the texts that the source reads, else all texts; a few."""
    read = column.source_function.columns if column.source_function is not None else None
    texts = [one for one in known if one.kind == "text" and one.type in _TEXTS]
    return ([one for one in texts if one.name in (read or ())] or texts)[:4]


def sample(db: Database, column: Column, most: int, seed: int, shown: list[Plain], valued: list[Plain], others: list[Column]) -> Sample:
    """Rows drawn at random, the same ones for a seed while nobody writes the table.

    Args:
        most: rows.
        shown: columns whose texts are read.
        valued: columns whose values are read.
        others: embedded columns of the same table whose vectors are read beside.
    Raises:
        Exception: what PostgreSQL says to a caller who may not read the vectors.
    """
    import numpy as np

    place = f"FROM {column.place} AS v"
    alias = "v"
    if column.chunks is not None:
        alias = "t"
        keys = [name for name, _ in column.table.keys]
        place += f" JOIN {column.table.sql} AS t ON {column.chunks.of_row('v', 't', keys)}"
    held = int(db.execute(f"SELECT pg_catalog.count(v.{column.sql}) AS n FROM {column.place} AS v")[0]["n"])
    if not held:
        return Sample(np.empty((0, column.dim or 1), dtype=np.float32))
    spare = most + 5 * most**0.5 + 10
    part = ""
    if spare < held:
        part = f" TABLESAMPLE BERNOULLI ({100 * spare / held}) REPEATABLE ({seed})"
        place = place.replace(" AS v", f" AS v{part}", 1)
    key = column.table.key_text(alias) if column.table.keys else f"{alias}.ctid::pg_catalog.text"
    said = ", ".join(f"pg_catalog.left({alias}.{one.sql}::pg_catalog.text, {READ})" for one in shown)
    read = [f"{key} AS k", f"pg_catalog.concat_ws(' · ', {said}) AS x" if said else "''::pg_catalog.text AS x"]
    read += [f"{_sent(column, 'v')} AS v"]
    read += [f"{_value(one, alias)} AS c{number}" for number, one in enumerate(valued)]
    read += [f"{_sent(one, alias)} AS o{number}" for number, one in enumerate(others)]
    rows = db.execute(f"SELECT {', '.join(read)} {place} WHERE v.{column.sql} IS NOT NULL LIMIT {int(4 * spare)}")
    if len(rows) > most:
        rows = [rows[int(at)] for at in np.sort(np.random.default_rng(seed).permutation(len(rows))[:most])]
    dims = Counter(len(row["v"]) for row in rows)
    if not dims:
        return Sample(np.empty((0, column.dim or 1), dtype=np.float32), held=held)
    usual = dims.most_common(1)[0][0]
    kept = [row for row in rows if len(row["v"]) == usual]
    left_out = ""
    if len(kept) < len(rows):
        left_out = f"{len(rows) - len(kept)} of the sampled rows are left out: their vectors have other dimensions than most."
    made = vectors.from_send_many(b"".join(row["v"] for row in kept), len(kept), vectors.sent_dim(kept[0]["v"]))
    return Sample(
        vectors=made,
        keys=[str(row["k"]) for row in kept],
        texts=[str(row["x"] or "") for row in kept],
        values={one.name: [row[f"c{number}"] for row in kept] for number, one in enumerate(valued)},
        held=held,
        others={one.name: [row[f"o{number}"] for row in kept] for number, one in enumerate(others)},
        left_out=left_out,
    )


def _sent(column: Column, alias: str) -> str:
    cast = column.to_vector
    return f"{column.vector_schema}.vector_send({alias}.{column.sql}{cast})"


def _value(plain: Plain, alias: str) -> str:
    name = f"{alias}.{plain.sql}"
    if plain.kind == "number":
        # a number beyond float8's range is none that a colour could show
        moderate = f"{name}::pg_catalog.text !~ '[Nn]' AND abs({name}::pg_catalog.numeric) < 1e300"
        return f"CASE WHEN {moderate} THEN {name}::pg_catalog.numeric::pg_catalog.float8 END"
    if plain.kind == "time":
        return f"CASE WHEN pg_catalog.isfinite({name}) THEN extract(epoch FROM {name})::pg_catalog.float8 END"
    if plain.kind == "boolean":
        return f"CASE {name} WHEN true THEN 'true' WHEN false THEN 'false' END"
    return f"pg_catalog.left({name}::pg_catalog.text, 80)"


def valued_columns(known: list[Plain], column: Column, asked: str | None) -> list[Plain]:
    """The columns by which rows may be coloured and filtered.

    Args:
        asked: the one that must be among them; None for none.
    Raises:
        errors.UnknownColumn: there is no such column that could be shown.
    """
    keys = {name for name, _ in column.table.keys}
    found = [one for one in known if quote(one.name) not in keys or one.kind in ("time", "boolean", "enum")][:_COLOURS]
    if asked is not None and asked not in [one.name for one in found]:
        chosen = [one for one in known if one.name == asked]
        if not chosen:
            names = ", ".join(one.name for one in known) or "none"
            raise errors.UnknownColumn(f'column "{asked}" of table "{column.table.name}" cannot colour rows', hint=f"These can: {names}.")
        found += chosen
    return found
