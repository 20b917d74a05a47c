"""comparing: how far two codes are apart, or a code and a vector, or two rows; and what must never be compared.

A code of bytes says by its domain which codec made it. Bits and halfvec do not, so whoever compares them has to say it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgembed import columns, errors, faults, vectors
from pgembed.asking import provenance
from pgembed.codes import catalogue
from pgembed.codes.catalogue import Code, CodecRow
from pgembed.columns import Column, Table, quote
from pgembed.database import Database

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_TEXT, _OID = "pg_catalog.text", "pg_catalog.oid"

# What the server says of a type never changes while its number is the same, but for names; a codec is looked up at every call.
_MOST_TYPES = 64
_types: OrderedDict[int, Type] = OrderedDict()
_rows: OrderedDict[tuple[str, str], CodecRow] = OrderedDict()


@dataclass(frozen=True)
class Type:
    """The type of an argument.

    Attributes:
        shown: as PostgreSQL writes it.
        base: ``vector``, ``halfvec``, ``bits``, ``bytes``, or ``other``.
        domains: by name in SQL, in both ways of quoting: the type, and the domains that it is over.
    """

    shown: str
    base: str
    domains: tuple[str, ...]


@dataclass(frozen=True)
class Value:
    """An argument: its type, and what the type's send function makes of it."""

    type: Type
    sent: bytes

    @property
    def length(self) -> int:
        """In bits, bytes or dimensions."""
        head = {"bits": 4, "vector": 2, "halfvec": 2}.get(self.type.base)
        return len(self.sent) if head is None else int.from_bytes(self.sent[:head], "big")


def values(db: Database, sent: bytes, codec: str | None) -> float | None:
    """The distance of two values of which one at least is a code.

    Args:
        sent: what record_send() makes of a row of both: a number of the type and bytes for each.
        codec: that made the codes; None where a domain says it.
    Returns:
        Of a code and a vector the estimate by the codec's metric, as pgvector's operator for it counts; of two codes
        `pgembed.codecs.contract.Codec.between`; None where a value is NULL.
    Raises:
        errors.DatatypeMismatch: codes of another codec, or a type that is neither a code nor a vector.
        errors.DimensionMismatch: a code of another length, a vector of another dimension.
        errors.InvalidParameter: nothing says which codec is meant, or neither value is a code.
        errors.UnknownObject: the codec does not exist.
    """
    fields = list(_fields(sent))
    if any(value is None for _, value in fields):
        return None
    left, right = _sides(db, fields)
    try:
        row = _meant(db, codec, left, right)
    except errors.InvalidParameter:
        # a schema may have been renamed since its types were looked at
        _types.clear()
        _rows.clear()
        left, right = _sides(db, fields)
        row = _meant(db, codec, left, right)
    return _distance(db, row, left, right)


def _sides(db: Database, fields: Sequence[tuple[int, bytes | None]]) -> tuple[Value, Value]:
    types = [_type(db, oid) for oid, _ in fields]
    left, right = (Value(kind, value) for kind, (_, value) in zip(types, fields, strict=True) if value is not None)
    for value in (left, right):
        if value.type.base == "other":
            raise errors.DatatypeMismatch(
                f"{value.type.shown} is neither a code nor a vector",
                hint="Cast it: '[1,2,3]'::vector, '0101'::pgembed.binvec(4).",
            )
    if {left.type.base, right.type.base} <= {"vector"}:
        raise errors.InvalidParameter(
            "neither argument is a code", hint="Two vectors are compared by pgvector's operators, such as a <=> b for cosine distance."
        )
    return left, right


@dataclass(frozen=True)
class Row:
    """A row and the column of it that is compared: an embedded one, or one of codes."""

    table: Table
    key: str
    column: Column | Code

    @property
    def label(self) -> str:
        """The column in messages."""
        return self.column.label


def rows(
    db: Database,
    target: tuple[str | None, str | None, str | None],
    other: tuple[str | None, str | None, str | None],
) -> float | None:
    """The distance of two rows: exact by the metric of their embedded columns, or by their codes.

    Args:
        target, other: table, as regclass writes it; key, as text; name of the column, None for the embedded one. Of ``other`` None stands
            for the column that goes with the first one.
    Returns:
        None where a key is NULL, or a row has no vector or code yet.
    Raises:
        errors.DimensionMismatch: the columns are of two models or dimensions.
        errors.DatatypeMismatch: the codes are of two codecs.
        errors.InvalidParameter: the columns have different metrics.
        errors.NoDataFound: no row that the caller may see has the key.
        errors.UnknownTable, errors.UnknownObject, errors.AmbiguousColumn, errors.UnknownColumn: as `pgembed.columns.column`.
        errors.StatementRefused: a text is no key of the table.
    """
    first_table, first = _column(db, target[0], target[2])
    if target[0] == other[0] and other[2] is None:
        second_table, second = first_table, first
    else:
        second_table, second = _column(db, other[0], other[2], beside=first)
    if target[1] is None or other[1] is None:
        return None
    left, right = Row(first_table, target[1], first), Row(second_table, other[1], second)
    codec = _common(left, right)
    one, two = _read(db, left), _read(db, right)
    if one is None or two is None:
        return None
    if codec is not None:
        return _distance(db, codec, one, two)
    assert isinstance(first, Column)  # neither is of codes
    images = [vectors.to_image(vectors.from_send(value.sent)) for value in (one, two)]
    found = db.execute(
        f"SELECT pgembed._vector($1) {first.operator} pgembed._vector($2) AS distance", ["pg_catalog.bytea", "pg_catalog.bytea"], images
    )
    return float(found[0]["distance"])


def _column(db: Database, target: str | None, name: str | None, beside: Column | Code | None = None) -> tuple[Table, Column | Code]:
    """The column that a call means.

    Args:
        beside: the other row's, which decides where no name is given.
    """
    table, embedded = columns.table(db, target)
    if name is None and isinstance(beside, Code):
        same = [code for code in catalogue.codes(db, table) if code.codec.name == beside.codec.name]
        if len(same) == 1:
            return table, same[0]
        raise errors.UnknownObject(
            f'table "{table.name}" has {len(same) or "no"} columns of codes of "{beside.codec.name}", like {beside.label}',
            hint="Say which one is meant: other_column => '...'.",
        )
    if name is None or any(column.name == name for column in embedded):
        return table, columns.column(db, target, name)
    codes = catalogue.codes(db, table)
    if all(code.name != name for code in codes):
        known = ", ".join([column.name for column in embedded] + [code.name for code in codes]) or "none"
        raise errors.UnknownObject(
            f'column "{name}" of table "{table.name}" is neither an embedded column nor one of codes',
            hint=f"Columns of this table that can be compared: {known}.",
        )
    code = next(code for code in codes if code.name == name)
    for column in embedded:
        if column.name == code.embedding_column:
            code.must_serve(column)
    return table, code


def _common(left: Row, right: Row) -> CodecRow | None:
    """The codec by which two rows are compared; None where they are compared by their vectors."""
    one, two = left.column, right.column
    if isinstance(one, Code) and isinstance(two, Code):
        if one.codec.name != two.codec.name:
            raise _two_codecs(one.codec.name, two.codec.name)
        return one.codec
    for column in (one, two):
        if isinstance(column, Column):
            column.one_vector("distance()")
    if isinstance(one, Code):
        assert isinstance(two, Column)
        one.codec.must_fit(two)
        return one.codec
    if isinstance(two, Code):
        two.codec.must_fit(one)
        return two.codec
    provenance.must_be_one(one, two, "Name columns of one model; pgembed.alter_embedding(..., model => ...) changes one.")
    if one.metric != two.metric:
        raise errors.InvalidParameter(
            f"the columns have different metrics: {one.label} {one.metric}, {two.label} {two.metric}",
            hint="pgembed.alter_embedding(..., metric => ...) changes one of them.",
        )
    return None


def _read(db: Database, row: Row) -> Value | None:
    """A row's vector or code; None where it has none."""
    column = row.column
    named = f"t.{quote(column.name)}"
    if isinstance(column, Column) and column.type != "vector":
        named += f"::{column.vector_schema}.vector"
    with faults.keys_of(row.table.name, row.key):
        found = db.execute(
            f"SELECT pg_catalog.record_send(ROW({named})) AS sent FROM {row.table.sql} AS t WHERE {row.table.key_matches('t', '$1')}",
            [_TEXT],
            [row.key],
        )
    if not found:
        raise errors.NoDataFound(f'no row of {row.table.name} has the key "{row.key}"', hint=faults.KEYS)
    oid, sent = next(_fields(found[0]["sent"]))
    return None if sent is None else Value(_type(db, oid), sent)


def _distance(db: Database, row: CodecRow, left: Value, right: Value) -> float:
    codec = row.load(db)
    one, other = _code(row, left), _code(row, right)
    if one is not None and other is not None:
        return float(codec.between(one, other)[0])
    if one is None and other is None:
        raise errors.InvalidParameter(
            f'neither argument is a code of "{row.name}", which are of type {row.code_type}',
            hint="Two vectors are compared by pgvector's operators, such as a <=> b for cosine distance.",
        )
    query = _vector(row, left if one is None else right)
    code = other if one is None else one
    assert code is not None
    return float(codec.distances(query[None, :], code)[0, 0])


def _code(row: CodecRow, value: Value) -> NDArray[Any] | None:
    """A code as the codec takes it, shape (1, ...); None for a vector."""
    import numpy as np  # loading the codec has imported it, with signals blocked

    base = value.type.base
    if base == "vector" or (base == "halfvec" and row.kind != "halfvec"):
        return None
    if base == "halfvec" and value.length == row.dim != row.length:
        return None
    if base != row.kind:
        raise errors.DatatypeMismatch(
            f'codes of "{row.name}" are of type {row.code_type}, not {value.type.shown}',
            hint="SELECT name, method, bytes FROM pgembed.codecs tells what there is.",
        )
    if value.length != row.length:
        unit = "dimensions" if base == "halfvec" else base
        raise errors.DimensionMismatch(
            f'code has {value.length} {unit}, codes of "{row.name}" have {row.length}',
            hint="SELECT name, method, bytes FROM pgembed.codecs tells what there is.",
        )
    if base == "halfvec":
        return np.frombuffer(value.sent, ">f2", offset=4).astype(np.float16)[None, :]
    return np.frombuffer(value.sent, np.uint8, offset=4 if base == "bits" else 0)[None, :]


def _vector(row: CodecRow, value: Value) -> NDArray[np.float32]:
    import numpy as np

    if value.length != row.dim:
        raise errors.DimensionMismatch(
            f'{value.type.base} has {value.length} dimensions, codec "{row.name}" is for {row.dim}',
            hint=f"Compare with vectors like those of {row.column_name}, which the codec was trained on.",
        )
    if value.type.base == "halfvec":
        return np.frombuffer(value.sent, ">f2", offset=4).astype(np.float32)
    return vectors.from_send(value.sent)


def _meant(db: Database, name: str | None, left: Value, right: Value) -> CodecRow:
    """The codec that made the codes: the one that is named, and no other that a domain names."""
    sides = [value.type.domains if value.type.base == "bytes" else () for value in (left, right)]
    found = db.execute(
        "SELECT name, domain, trained_at::pg_catalog.text AS trained_at FROM pgembed._codec WHERE name = $1 OR domain = ANY ($2)",
        [_TEXT, "pg_catalog.text[]"],
        [name, [*sides[0], *sides[1]]],
    )
    made = {str(line["name"]): str(line["trained_at"]) for line in found}
    if name is not None and name not in made:
        raise errors.UnknownObject(
            f'codec "{name}" does not exist', hint="SELECT name FROM pgembed.codecs lists all; pgembed.train_codec() makes one."
        )
    said = [str(line["name"]) for names in sides for line in found if line["domain"] in names]
    chosen = [*([] if name is None else [name]), *said]
    if not chosen:
        shown = next(value.type.shown for value in (left, right) if value.type.base != "vector")
        raise errors.InvalidParameter(
            f"codec is needed, for {shown} does not say which codec made it",
            hint="distance(a, b, codec => '...') names one; SELECT name FROM pgembed.codecs lists them. Bits that differ are counted by"
            " pgvector's a <~> b.",
        )
    for one in chosen[1:]:
        if one != chosen[0]:
            raise _two_codecs(chosen[0], one)
    return _row(db, chosen[0], made[chosen[0]])


def _row(db: Database, name: str, trained_at: str) -> CodecRow:
    if (name, trained_at) not in _rows:
        while len(_rows) >= _MOST_TYPES:
            _rows.popitem(last=False)
        _rows[name, trained_at] = catalogue.codec(db, name)
    return _rows[name, trained_at]


def _two_codecs(one: str, other: str) -> errors.PgembedError:
    return errors.DatatypeMismatch(
        f'codes of two codecs cannot be compared: "{one}" and "{other}"',
        hint="Encode both with one codec, or compare their vectors.",
    )


def _fields(sent: bytes) -> Iterator[tuple[int, bytes | None]]:
    """Number of the type and value of the first two columns of what record_send() makes; src/backend/utils/adt/rowtypes.c."""
    at = 4
    for _ in range(min(int.from_bytes(sent[:4], "big"), 2)):
        oid, size = int.from_bytes(sent[at : at + 4], "big"), int.from_bytes(sent[at + 4 : at + 8], "big", signed=True)
        at += 8
        yield oid, None if size < 0 else sent[at : at + size]
        at += max(size, 0)


def _type(db: Database, oid: int) -> Type:
    found = _types.get(oid)
    if found is None:
        found = _described(db.execute(_DESCRIBE, [_OID], [oid]))
        while len(_types) >= _MOST_TYPES:
            _types.popitem(last=False)
        _types[oid] = found
    return found


def _described(levels: Sequence[Any]) -> Type:
    names = [name for level in levels for name in (level["plain"], f"{quote(level['schema'])}.{quote(level['name'])}")]
    return Type(levels[0]["shown"], levels[-1]["base"], tuple(names))


# A line for the type, and one for each that it is a domain over.
_DESCRIBE = """
    WITH RECURSIVE level AS (
        SELECT t.oid, t.typname, t.typnamespace, t.typbasetype, 0 AS depth FROM pg_catalog.pg_type AS t WHERE t.oid = $1
        UNION ALL
        SELECT t.oid, t.typname, t.typnamespace, t.typbasetype, l.depth + 1
        FROM level AS l JOIN pg_catalog.pg_type AS t ON t.oid = l.typbasetype
    )
    SELECT n.nspname::pg_catalog.text AS schema, l.typname::pg_catalog.text AS name,
        pg_catalog.format('%I.%I', n.nspname, l.typname) AS plain, pg_catalog.format_type(l.oid, NULL) AS shown,
        CASE
            WHEN l.oid OPERATOR(pg_catalog.=) 'pg_catalog.bytea'::pg_catalog.regtype THEN 'bytes'
            WHEN l.oid = ANY ('{pg_catalog.bit,pg_catalog.varbit}'::pg_catalog.regtype[]) THEN 'bits'
            WHEN n.nspname = 'pgembed' AND l.typname = 'binvec' THEN 'bits'
            WHEN l.typname = ANY ('{vector,halfvec}'::pg_catalog.name[])
                AND n.oid = (SELECT x.extnamespace FROM pg_catalog.pg_extension AS x WHERE x.extname = 'vector')
                THEN l.typname::pg_catalog.text
            ELSE 'other'
        END AS base
    FROM level AS l JOIN pg_catalog.pg_namespace AS n ON n.oid = l.typnamespace ORDER BY l.depth
"""
