"""indexes: the statements that build what is missing of a column of codes' indexes, without blocking writers.

PostgreSQL lets no function run CREATE INDEX CONCURRENTLY, so these are given out to be run one by one: psql's ``\\gexec`` does, and so does
``pgembed codec add``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pgembed import columns, entries, errors
from pgembed.codes.catalogue import Code
from pgembed.columns import Column, Table, quote
from pgembed.database import Database, Row

# pgvector's limits for HNSW: bits of a bit vector, dimensions of a halfvec.
MOST_BITS, MOST_DIMS = 64_000, 4_000

# Codes tie, so a graph over them wants a wider look while it is built than pgvector's 64. Over 63,166 codes of 768 bits, 200 of 250
# candidates rescored, recall@10 was .988 with 64, .989 with 76 and .991 with 90; building took .60, .62 and .75 of the time of HNSW over
# the vectors.
EF_CONSTRUCTION = 90


def missing(db: Database, code: Code, column: Column, covering: Sequence[str] | None) -> list[str]:
    """Statements, in order; see `pgembed.code_indexes` in SQL. [] where nothing is missing.

    Args:
        column: the embedded column of the codes.
        covering: columns of the table by which filtered searches choose; None for no such index.
    Raises:
        errors.NotReady: the codes are not filled: filling would build the index row by row.
        errors.UnknownColumn, errors.DatatypeMismatch, errors.DimensionMismatch: the column does not serve; see `Code.must_serve`.
        errors.InvalidParameter: covering is empty, or names the codes or the vectors.
        errors.LimitExceeded: codes are too long for the index.
    """
    code.must_serve(column)
    code.table.must_own()
    if not code.is_filled:
        raise errors.NotReady(
            f"{code.label} is not filled, and an index costs more while it is",
            hint=f"CALL pgembed.fill_code('{code.table.shown}', '{code.name}') first.",
        )
    places = _places(db, code.table)
    statements = [f"DROP INDEX CONCURRENTLY {row['sql']}" for row in _broken(db, code, places)]
    statements += vector_index(db, code, column)
    if covering is not None:
        keys = _keys(db, code, covering)
        carried = carried_by(db, code.table, keys, code.name)
        lacking = covering_index(db, code.table, keys, carried)
        if lacking:
            _must_fit(db, code, [*keys, *carried])
        statements += lacking
    return statements


def vector_index(db: Database, code: Code, column: Column) -> list[str]:
    """Statements that build the missing vector indexes on codes; [] where there is none to build, as for codes of bytes.

    Raises:
        errors.LimitExceeded: codes are too long for HNSW.
    """
    if code.codec.kind == "bytes":
        return []
    operator_class = _operator_class(code, column)
    return [
        f"{_create(place)} USING hnsw ({code.sql} {operator_class}) WITH (ef_construction = {EF_CONSTRUCTION})"
        for place in _places(db, code.table)
        if not _exists(db, place, [code.name], 1, f"halfvec_{columns.OPCLASSES[code.codec.metric]}")
    ]


def covering_index(db: Database, table: Table, keys: Sequence[str], carried: Sequence[str]) -> list[str]:
    """Statements that build the missing btree indexes with some key columns that carry other columns.

    Args:
        keys, carried: names of columns; an index counts that has these keys in this order first, and all others anywhere.
    """
    including = f" INCLUDE ({', '.join(map(quote, carried))})" if carried else ""
    return [
        f"{_create(place)} ({', '.join(map(quote, keys))}){including}"
        for place in _places(db, table)
        if not _exists(db, place, [*keys, *carried], len(keys), None)
    ]


def plain_index(db: Database, table: Table, definition: str) -> list[str]:
    """Statements that build an index on a table, of a partitioned one on each partition first.

    Args:
        definition: what follows the table in CREATE INDEX.
    """
    return [f"{_create(place)} {definition}" for place in _places(db, table)]


def carried_by(db: Database, table: Table, keys: Sequence[str], code: str) -> list[str]:
    """What a covering index carries beside its keys: the primary key, what row security asks for, and the codes.

    Whatever a policy reads of the table's own row belongs to the filter of those whom it is for, restrictive or not, also inside of a
    subquery on another table. Policies that only say which rows may be written have no part in a search.

    Args:
        code: name of the column of codes, which need not exist yet.
    """
    policies = db.execute(
        "SELECT DISTINCT a.attname::pg_catalog.text AS name, a.attnum FROM pg_catalog.pg_policy AS p"
        " JOIN pg_catalog.pg_depend AS d ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_policy'::pg_catalog.regclass"
        " AND d.objid = p.oid"
        " AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = p.polrelid"
        " AND d.refobjsubid > 0"
        " JOIN pg_catalog.pg_attribute AS a ON a.attrelid = p.polrelid AND a.attnum = d.refobjsubid"
        " WHERE p.polrelid = $1 AND p.polcmd IN ('*', 'r') ORDER BY a.attnum",
        ["pg_catalog.oid"],
        [table.oid],
    )
    carried = [name[1:-1].replace('""', '"') for name, _ in table.keys] + [row["name"] for row in policies] + [code]
    return [name for name in dict.fromkeys(carried) if name not in keys]


def code_bytes(code: Code) -> int:
    """Bytes of a code, without PostgreSQL's header."""
    return {"bits": (code.codec.length + 7) // 8, "halfvec": 2 * code.codec.length}.get(code.codec.kind, code.codec.length)


def _create(place: Row) -> str:
    # an index on a partitioned table takes up those that its partitions have already
    concurrently = "" if place["kind"] == "p" else "CONCURRENTLY "
    return f"CREATE INDEX {concurrently}ON {place['sql']}"


def _operator_class(code: Code, column: Column) -> str:
    kind, length = code.codec.kind, code.codec.length
    most = MOST_BITS if kind == "bits" else MOST_DIMS
    if length > most:
        raise errors.LimitExceeded(
            f"{code.label} has {length} {'bits' if kind == 'bits' else 'dimensions'}, and pgvector's HNSW takes {most}",
            hint="Train a codec with shorter codes.",
        )
    return f"{column.vector_schema}." + ("bit_hamming_ops" if kind == "bits" else f"halfvec_{columns.OPCLASSES[code.codec.metric]}")


def _keys(db: Database, code: Code, covering: Sequence[str]) -> list[str]:
    """The key columns of a covering index, checked."""
    found = code.table
    keys = list(dict.fromkeys(covering))
    if not keys or code.name in keys or code.embedding_column in keys:
        raise errors.InvalidParameter(
            "covering must name the columns by which searches filter, and neither the codes nor the vectors",
            hint="Such as covering => '{section}'.",
        )
    rows = db.execute(
        "SELECT a.attname::pg_catalog.text AS name FROM pg_catalog.pg_attribute AS a"
        " WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped",
        ["pg_catalog.oid"],
        [found.oid],
    )
    unknown = [name for name in keys if name not in {row["name"] for row in rows}]
    if unknown:
        raise errors.UnknownColumn(
            f'column "{unknown[0]}" of table "{found.name}" does not exist', hint="covering names columns of the table itself."
        )
    return keys


def _must_fit(db: Database, code: Code, names: Sequence[str]) -> None:
    """Raise where entries of a covering index would not fit; tell where one day they might not.

    Raises:
        errors.LimitExceeded: the codes and what has a limit are too large together, or a value that is there is.
    """
    known = entries.attributes(db, code.table)
    known[code.name] = replace(known[code.name], most=code_bytes(code) + 8)
    columns_of = [known[name] for name in names]
    free = [column for column in columns_of if column.most is None]
    most = entries.entry(column for column in columns_of if column.most is not None) or 0
    said = f"codes of {code_bytes(code)} bytes with {', '.join(name for name in names if name != code.name)}"
    if most > entries.MOST_ENTRY:
        raise errors.LimitExceeded(
            f"{said} may need {most} bytes in a btree index, which takes {entries.MOST_ENTRY}, and then inserts would fail",
            hint="Train a codec with shorter codes for filtered searches, or name columns whose types are shorter.",
        )
    for column in free:
        longest = entries.longest(db, code.table, column)
        if longest is not None and longest > entries.MOST_ENTRY - most:
            raise errors.LimitExceeded(
                f'{said} leave {entries.MOST_ENTRY - most} bytes of a btree index, and column "{column.name}" has a value of {longest}',
                hint="Name columns whose values are short.",
            )
    if free:
        (statement, column, _), *_ = entries.bounds(code.table, columns_of) or [("", free[0], 0)]
        db.notice(
            f'nothing limits column "{column.name}": with the index, a row fails to be inserted whose values are longer than about'
            f" {entries.MOST_ENTRY - most - 16} bytes together",
            hint=f"A check says it in your own words: {statement}" if statement else "A type with a limit says so.",
        )


def _places(db: Database, table: Table) -> list[Row]:
    """Where indexes are needed: the table; of a partitioned one the partitions first, then what stands above them."""
    return db.execute(
        "SELECT c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname) AS sql, c.relkind::pg_catalog.text AS kind"
        " FROM (SELECT $1 AS oid, 0 AS level UNION SELECT p.relid, p.level FROM pg_catalog.pg_partition_tree($1::pg_catalog.regclass) AS p)"
        " AS l JOIN pg_catalog.pg_class AS c ON c.oid = l.oid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'p') AND (c.relkind = 'r' OR c.oid = $1) ORDER BY l.level DESC, c.oid",
        ["pg_catalog.oid"],
        [table.oid],
    )


def _broken(db: Database, code: Code, places: Sequence[Row]) -> list[Row]:
    """Indexes with the codes that an interrupted build has left behind; none that is being built."""
    return db.execute(
        "SELECT pg_catalog.format('%I.%I', n.nspname, i.relname) AS sql FROM pg_catalog.pg_index AS x"
        " JOIN pg_catalog.pg_class AS i ON i.oid = x.indexrelid JOIN pg_catalog.pg_namespace AS n ON n.oid = i.relnamespace"
        " JOIN pg_catalog.pg_attribute AS a ON a.attrelid = x.indrelid AND a.attname = $2 AND NOT a.attisdropped"
        " WHERE x.indrelid = ANY ($1) AND NOT x.indisvalid AND a.attnum = ANY (x.indkey) AND i.relkind = 'i' AND NOT EXISTS"
        " (SELECT FROM pg_catalog.pg_stat_progress_create_index AS g WHERE g.relid = x.indrelid) ORDER BY i.oid",
        ["pg_catalog.oid[]", "pg_catalog.name"],
        [[place["oid"] for place in places], code.name],
    )


def _exists(db: Database, place: Row, names: Sequence[str], keys: int, operator_class: str | None) -> bool:
    """Whether a table has an index of these columns, whole and valid.

    Args:
        operator_class: of halfvec codes; None for a btree index with so many keys.
    """
    found = db.execute(
        "SELECT FROM pg_catalog.pg_index AS x JOIN pg_catalog.pg_class AS i ON i.oid = x.indexrelid"
        " JOIN pg_catalog.pg_am AS m ON m.oid = i.relam JOIN pg_catalog.pg_opclass AS o ON o.oid = x.indclass[0]"
        " CROSS JOIN LATERAL (SELECT pg_catalog.array_agg(a.attname::pg_catalog.text ORDER BY u.position) AS names"
        " FROM pg_catalog.unnest(x.indkey) WITH ORDINALITY AS u (attnum, position)"
        " JOIN pg_catalog.pg_attribute AS a ON a.attrelid = x.indrelid AND a.attnum = u.attnum) AS c"
        " WHERE x.indrelid = $1 AND x.indisvalid AND x.indisready AND x.indpred IS NULL AND CASE WHEN $4"
        " THEN m.amname = 'btree' AND c.names[1:x.indnkeyatts] = $2[1:$3] AND c.names @> $2"
        " ELSE m.amname IN ('hnsw', 'ivfflat') AND c.names = $2"
        " AND o.opcname = ANY (ARRAY['bit_hamming_ops', $5]::pg_catalog.name[]) END",
        ["pg_catalog.oid", "pg_catalog.text[]", "pg_catalog.int4", "pg_catalog.bool", "pg_catalog.text"],
        [place["oid"], list(names), keys, operator_class is None, operator_class],
    )
    return bool(found)
