"""scanning: the rows nearest to a query by what their codes say, in exact order: every row that passes a filter is scored.

What costs is reading. Beside its code a row gives only what finds it again, as bytes of one length: its primary key where that is of
numbers or uuids, so that an index that has key, code and the filter's columns answers without the table; a text for other keys; table and
ctid where there is no key. PostgreSQL aggregates them, so a page of a million rows is one value on its way. All of a scan must see one
snapshot, which STABLE functions have.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pgembed import errors
from pgembed.codes.catalogue import Code, CodecRow
from pgembed.columns import Column, Table
from pgembed.database import Database

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PAGE_BYTES = 128 << 20  # of codes and places that are one value; PostgreSQL's limit is 1 GB, and it doubles its buffer as it grows
SLICE_NUMBERS = 1 << 20  # of points that are scored at a time: they stay in the processor's cache, and a cancel is seen between
RECALL = 0.99  # what the rows that are compared exactly are to contain of the nearest
UNMEASURED_RESCORE, MOST_RESCORE, RESCORE_PER_RESULT = 200, 1000, 4

# Types of key columns that are sent with one length: name, numpy's type of it, PostgreSQL's functions that send and hash it.
_FIXED = {
    "smallint": ((">i2",), "int2send", "hashint2"),
    "integer": ((">i4",), "int4send", "hashint4"),
    "bigint": ((">i8",), "int8send", "hashint8"),
    "uuid": ((">u8", ">u8"), "uuid_send", "uuid_hash"),
}
_OR = " OPERATOR(pg_catalog.||) "
_PLACE = '"pgembed place"'  # no table's name: nothing of the caller's is shadowed


@dataclass(frozen=True)
class Found:
    """Rows by estimated distance, nearest first; at one distance by place.

    Attributes:
        places: a row each, as `same_row` finds it: its key as `Table.key_text` writes it, ``<oid>:<ctid>`` where the table has none.
        distances: estimated, float32, shape (n,).
        scored: rows with a code that passed.
        without_code: rows that passed and have none.
    """

    places: list[str]
    distances: NDArray[np.float32]
    scored: int
    without_code: int


def must_read(db: Database, code: Code, column: Column) -> None:
    """Raise where a column of codes is not what its codec makes of the column's vectors, or the caller may not read it.

    Raises:
        errors.UnknownColumn, errors.DatatypeMismatch, errors.DimensionMismatch: as `Code.must_serve`.
        errors.InsufficientPrivilege: the caller may not read the codes.
    """
    code.must_serve(column)
    found = db.execute(
        "SELECT pg_catalog.has_column_privilege($1, $2, 'SELECT') AS readable",
        ["pg_catalog.oid", "pg_catalog.text"],
        [code.table.oid, code.name],
    )
    if not found[0]["readable"]:
        raise errors.InsufficientPrivilege(
            f"permission denied for column {code.label}", hint=f"GRANT SELECT ({code.sql}) ON {code.table.sql} TO ..."
        )


def default_rescore(codec: CodecRow, k: int) -> int:
    """How many of the rows nearest by code contain RECALL of the k nearest, as it was measured last; four for each result at least."""
    measured = codec.checked or codec.measured
    enough = UNMEASURED_RESCORE
    if measured is not None:
        # of more results than were measured, each needs as many
        share = max(1.0, k / measured["k"])
        enough = math.ceil(share * (measured["asymmetric_rescore"].get(str(RECALL)) or MOST_RESCORE))
    return max(RESCORE_PER_RESULT * k, min(MOST_RESCORE, enough))


def scan(db: Database, code: Code, vector_schema: str, query: NDArray[np.float32], condition: str, params: str | None, keep: int) -> Found:
    """Score the codes of all rows that pass.

    Args:
        code: for which `must_read` has not raised.
        vector_schema: pgvector's, quoted where it must be.
        query: float32, shape (dim,).
        condition: SQL, as `planner.proven` returns it; ``$1`` is the params.
        params: JSON text.
        keep: so many of the nearest come back.
    Raises:
        errors.DimensionMismatch: the query has another dimension than the codec, or a code another length.
    """
    codec = code.codec.load(db)  # which imports numpy as it must be
    import numpy as np

    score = codec.scorer(query)
    place, record = _place(code.table), _record(code, codec.shape.bytes)
    step = max(256, SLICE_NUMBERS // max(1, code.codec.dim))
    kept: list[tuple[float, Any]] = []
    scored = without = 0
    for page, keys, missing in _pages(db, code, vector_schema, condition, params, record):
        without += missing
        rows = _rows(page, keys, record, code)
        scored += len(rows)
        distances = np.empty(len(rows), dtype=np.float32)
        for first in range(0, len(rows), step):
            distances[first : first + step] = score(_codes(rows[first : first + step], code))
            db.check_interrupts()
        near = _nearest(distances, keep)
        places = [keys[i] for i in near] if keys is not None else rows["place"][near].tolist()
        # places of one page are of one kind, so that they can be compared where distances are equal
        kept = sorted([*kept, *zip(distances[near].tolist(), places, strict=True)])[:keep]
    return Found([place.text(found) for _, found in kept], np.array([distance for distance, _ in kept], dtype=np.float32), scored, without)


def nearest_of(db: Database, column: Column, places: list[str], query: bytes, k: int) -> list[tuple[str, float]]:
    """The k rows nearest by their vectors among some rows, as (key, distance), nearest first.

    Args:
        query: an image of a vector, as `vectors.to_image` makes it.
    """
    alias, cast = column.table.alias, column.from_vector
    order = ", ".join(f"{alias}.{name}" for name, _ in column.table.keys) or f"{alias}.tableoid, {alias}.ctid"
    found = db.execute(
        f"SELECT {column.table.key_text(alias)} AS key, {alias}.{column.sql} {column.operator}"
        f" (SELECT pgembed._vector($2){cast}) AS distance"  # a subquery is computed once
        f" FROM pg_catalog.unnest($1) AS {_PLACE} (place) JOIN {column.table.sql} AS {alias} ON {same_row(column.table, f'{_PLACE}.place')}"
        f" WHERE {alias}.{column.sql} IS NOT NULL ORDER BY 2, ROW({order}) LIMIT $3",
        ["pg_catalog.text[]", "pg_catalog.bytea", "pg_catalog.int4"],
        [places, query, k],
    )
    return [(row["key"], row["distance"]) for row in found]


def same_row(table: Table, place: str) -> str:
    """SQL that is true for the row of a place.

    Args:
        place: an expression of type text.
    """
    if table.keys:
        return table.key_matches(table.alias, place)
    part = f"pg_catalog.split_part({place}, ':', "
    return (
        f"{table.alias}.ctid OPERATOR(pg_catalog.=) {part}2)::pg_catalog.tid"
        f" AND {table.alias}.tableoid OPERATOR(pg_catalog.=) {part}1)::pg_catalog.oid"
    )


@dataclass(frozen=True)
class _Place:
    """How a row is named while codes are scored.

    Attributes:
        sent: SQL of type bytea, of one length; '' where keys come as texts.
        dtype: of it in numpy.
        hashed: SQL of type integer, for pages.
        table: None where a place is an oid and a ctid.
    """

    sent: str
    dtype: list[tuple[str, str]]
    hashed: str
    types: tuple[str, ...]

    def text(self, place: Any) -> str:
        """See `Found.places`.

        Args:
            place: bytes of a key as text, or the numbers of a record.
        """
        if isinstance(place, bytes):
            return place.decode()
        if not self.types:
            return f"{place[0]}:({place[1]},{place[2]})"
        numbers = iter(place)
        parts = [str(UUID(int=(next(numbers) << 64) | next(numbers))) if kind == "uuid" else next(numbers) for kind in self.types]
        return str(parts[0]) if len(parts) == 1 else json.dumps(parts)


def _place(table: Table) -> _Place:
    alias = table.alias
    if not table.keys:
        sent = f"pg_catalog.oidsend({alias}.tableoid){_OR}pg_catalog.tidsend({alias}.ctid)"
        return _Place(sent, [("table", ">u4"), ("block", ">u4"), ("line", ">u2")], f"pg_catalog.hashtid({alias}.ctid)", ())
    types = tuple(kind for _, kind in table.keys)
    if not all(kind in _FIXED for kind in types):
        return _Place("", [], f"pg_catalog.hashtext({table.key_text(alias)})", types)
    sent = _OR.join(f"pg_catalog.{_FIXED[kind][1]}({alias}.{name})" for name, kind in table.keys)
    numbers = [number for kind in types for number in _FIXED[kind][0]]
    return _Place(
        sent,
        [(f"n{position}", number) for position, number in enumerate(numbers)],
        # of all columns: the first one alone may have few values
        " OPERATOR(pg_catalog.#) ".join(f"pg_catalog.{_FIXED[kind][2]}({alias}.{name})" for name, kind in table.keys),
        types,
    )


def _record(code: Code, size: int) -> list[tuple[Any, ...]]:
    """What a row is in a page, as numpy describes it: place, what the type sends before a code, and the code of so many bytes."""
    head = {"bits": [("head", ">i4")], "halfvec": [("head", ">i2"), ("unused", ">i2")], "bytes": []}[code.codec.kind]
    place = _place(code.table).dtype
    return [*([("place", place)] if place else []), *head, ("code", "u1", (size,))]


def _sent(code: Code, vector_schema: str) -> str:
    value = f"{code.table.alias}.{code.sql}"
    if code.codec.kind == "bits":
        return f"pg_catalog.bit_send({value}::pg_catalog.bit)"
    return f"{vector_schema}.halfvec_send({value})" if code.codec.kind == "halfvec" else f"{value}::pg_catalog.bytea"


def _pages(
    db: Database, code: Code, vector_schema: str, condition: str, params: str | None, record: list[tuple[Any, ...]]
) -> Iterator[tuple[bytes, list[bytes] | None, int]]:
    """Pages of records, keys where they are texts, and how many rows of the page have no code."""
    import numpy as np

    table, place = code.table, _place(code.table)
    alias, value = table.alias, f"{table.alias}.{code.sql}"
    held = f"{value} IS NOT NULL"
    records = _OR.join(part for part in (place.sent, _sent(code, vector_schema)) if part)
    keys = (
        "NULL::pg_catalog.bytea"
        if place.sent
        # no text contains the zero byte
        else f"pg_catalog.string_agg(pg_catalog.convert_to({table.key_text(alias)}, 'UTF8'), '\\x00'::pg_catalog.bytea)"
        f" FILTER (WHERE {held})"
    )
    statement = (
        f"SELECT pg_catalog.string_agg({records}, ''::pg_catalog.bytea) AS page, {keys} AS keys,"
        f" pg_catalog.count(*) OPERATOR(pg_catalog.-) pg_catalog.count({value}) AS missing"
        f" FROM {table.sql} AS {alias} WHERE {condition}"
    )
    size = np.dtype(record).itemsize if place.sent else np.dtype(record).itemsize + 32
    pages = max(1, math.ceil(_held(db, table, size) * size / PAGE_BYTES))
    if pages > 1:
        # the sign bit apart, for a remainder of a negative number is negative
        hashed = f"(({place.hashed}) OPERATOR(pg_catalog.&) 2147483647) OPERATOR(pg_catalog.%) {pages}"
        statement += f" AND {hashed} OPERATOR(pg_catalog.=) $2"
    for page in range(pages):
        types, values = ["pg_catalog.jsonb", "pg_catalog.int4"], [params, page]
        row = db.execute(statement, types[: 1 + (pages > 1)], values[: 1 + (pages > 1)])[0]
        listed = None if place.sent else [] if row["keys"] is None else bytes(row["keys"]).split(b"\0")
        yield bytes(row["page"] or b""), listed, int(row["missing"])


def _held(db: Database, table: Table, size: int) -> float:
    """About how many rows a table has, its partitions included, rather more than fewer where nobody has counted."""
    found = db.execute(
        "SELECT pg_catalog.sum(CASE WHEN c.reltuples OPERATOR(pg_catalog.>) 0 AND c.relpages OPERATOR(pg_catalog.>) 0"
        " THEN c.reltuples::pg_catalog.float8 OPERATOR(pg_catalog./) c.relpages::pg_catalog.float8 OPERATOR(pg_catalog.*)"
        " (pg_catalog.pg_relation_size(c.oid) OPERATOR(pg_catalog./)"
        " pg_catalog.current_setting('block_size')::pg_catalog.int8)::pg_catalog.float8"
        f" ELSE (pg_catalog.pg_relation_size(c.oid) OPERATOR(pg_catalog./) {24 + size})::pg_catalog.float8 END) AS held"
        " FROM pg_catalog.pg_class AS c WHERE c.relkind OPERATOR(pg_catalog.<>) 'p' AND (c.oid OPERATOR(pg_catalog.=) $1"
        " OR c.oid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT p.relid::pg_catalog.oid FROM pg_catalog.pg_partition_tree($1) AS p)))",
        ["pg_catalog.oid"],
        [table.oid],
    )
    return float(found[0]["held"] or 0)


def _rows(page: bytes, keys: list[bytes] | None, record: list[tuple[Any, ...]], code: Code) -> NDArray[Any]:
    import numpy as np

    dtype = np.dtype(record)
    count = len(page) // dtype.itemsize if keys is None else len(keys)
    if len(page) != count * dtype.itemsize:
        raise _wrong_length(code)
    rows = np.frombuffer(page, dtype)
    expected = code.codec.length
    if "head" in (dtype.names or ()) and bool((rows["head"] != expected).any()):
        raise _wrong_length(code)
    return rows


def _wrong_length(code: Code) -> errors.DimensionMismatch:
    unit = {"bits": "bits", "bytes": "bytes", "halfvec": "dimensions"}[code.codec.kind]
    return errors.DimensionMismatch(
        f"{code.label} holds codes of another length than {code.codec.length} {unit}",
        hint=f"Fill it anew: CALL pgembed.fill_code('{code.table.shown}', '{code.name}').",
    )


def _codes(rows: NDArray[Any], code: Code) -> NDArray[Any]:
    import numpy as np

    codes = np.ascontiguousarray(rows["code"])
    return codes.view(">f2").astype(np.float16) if code.codec.kind == "halfvec" else codes


def _nearest(distances: NDArray[np.float32], keep: int) -> NDArray[np.intp]:
    """Positions of the ``keep`` smallest, and of all that are as small as the last of them."""
    import numpy as np

    if len(distances) <= keep:
        return np.arange(len(distances))
    return np.flatnonzero(distances <= np.partition(distances, keep - 1)[keep - 1])
