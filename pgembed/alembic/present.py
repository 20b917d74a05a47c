"""present: what a database has of pgembed's, as autogenerate compares it with the models.

Tables are called as Alembic calls them: by schema and name, the schema None where it is the connection's default.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, text

from pgembed.alembic import meaning
from pgembed.alembic.contract import Place
from pgembed.sqlalchemy.declarations import Embedding


@dataclass(frozen=True)
class PresentEmbedding:
    """An embedded column.

    Attributes:
        declared: what the registry says of it; its source is '' where it was adopted without one.
        adopted: the column was there before.
        role: ``current``; or ``next``, ``previous`` of a change of model.
        chunk_table: has its vectors; None: the table itself.
        source: of the registry, by the names that columns have now.
    """

    place: Place
    column: str
    source: str | None
    declared: Embedding
    adopted: bool
    role: str
    chunk_table: Place | None


@dataclass(frozen=True)
class PresentCodec:
    """A codec, and what it was trained on; options and seed are as it was trained."""

    name: str
    place: Place
    column: str
    method: str
    options: Mapping[str, Any]
    seed: int
    code_type: str


@dataclass(frozen=True)
class PresentCode:
    """A column of codes."""

    place: Place
    column: str
    embedding_column: str
    codec: str
    is_generated: bool


@dataclass(frozen=True)
class PresentSource:
    """A table of aliases, or a relation, of a target; see ``pgembed._linker_source``."""

    kind: str
    table: Place
    from_columns: list[str] | None
    to_columns: list[str] | None
    other: Place | None
    value: str | None
    relation: str | None
    label: str | None
    names: str | None


@dataclass(frozen=True)
class PresentTarget:
    """A target of a linker; context is an expression, or the name of an embedded column."""

    place: Place
    key: list[str]
    names: str | None
    aliases: str | None
    types: str | None
    context: str | None
    sources: list[PresentSource]


@dataclass
class Present:
    """All of it.

    Attributes:
        primary_keys: columns of the targets' primary keys.
        owned_tables: made by pgembed for its own use.
        owned_columns: by table: hash columns, vectors that `add_embedding` has made, codes.
        owned_indexes: by schema and name: over owned columns.
    """

    embeddings: dict[tuple[Place, str], PresentEmbedding] = field(default_factory=dict)
    codecs: dict[str, PresentCodec] = field(default_factory=dict)
    codes: dict[tuple[Place, str], PresentCode] = field(default_factory=dict)
    linkers: dict[str, list[PresentTarget]] = field(default_factory=dict)
    primary_keys: dict[Place, list[str]] = field(default_factory=dict)
    owned_tables: set[Place] = field(default_factory=set)
    owned_columns: set[tuple[Place, str]] = field(default_factory=set)
    owned_indexes: set[Place] = field(default_factory=set)


def read(connection: Connection) -> Present | None:
    """What is there; None where the database has no pgembed, or the role may not look into it."""
    default = connection.dialect.default_schema_name
    if not _may_use(connection):
        return None

    def place(name: list[str] | None) -> Place | None:
        return None if name is None else (None if name[0] == default else name[0], name[1])

    def sure(name: list[str]) -> Place:
        return (None if name[0] == default else name[0], name[1])

    found = Present()
    for row in _rows(connection, _EMBEDDINGS):
        _rename(connection, row, sure(row["place"]), "source")
        declared = Embedding(
            row["source"] or "",
            model=row["model"],
            sync=row["sync"],
            metric=row["metric"],
            chunk_tokens=row["chunk_tokens"],
            chunk_overlap=row["chunk_overlap"],
            by_hand=row["by_hand"],
        )
        one = PresentEmbedding(
            sure(row["place"]), row["column_name"], row["source"], declared, row["adopted"], row["role"], place(row["chunk_place"])
        )
        found.embeddings[one.place, one.column] = one
        if row["hash_column"] is not None:
            found.owned_columns.add((one.place, row["hash_column"]))
        if one.chunk_table is not None:
            found.owned_tables.add(one.chunk_table)
        elif not one.adopted:
            found.owned_columns.add((one.place, one.column))
    for row in _rows(connection, _CODECS):
        options = json.loads(row["options"])
        codec = PresentCodec(row["name"], sure(row["place"]), row["column_name"], row["method"], options, row["seed"], row["code_type"])
        found.codecs[codec.name] = codec
    for row in _rows(connection, _CODES):
        code = PresentCode(sure(row["place"]), row["column_name"], row["embedding_column"], row["codec"], row["is_generated"])
        found.codes[code.place, code.column] = code
        found.owned_columns.add((code.place, code.column))
    sources: dict[tuple[str, int], list[PresentSource]] = {}
    for row in _rows(connection, _SOURCES):
        _rename(connection, row, place(row["other_place"]), "names")
        sources.setdefault((row["linker"], row["number"]), []).append(
            PresentSource(
                row["kind"],
                sure(row["place"]),
                row["from_columns"],
                row["to_columns"],
                place(row["other_place"]),
                row["value_column"],
                row["relation_column"],
                row["label"],
                row["names"],
            )
        )
    for row in _rows(connection, _TARGETS):
        _rename(connection, row, sure(row["place"]), "names", "aliases", "types", "context")
        target = PresentTarget(
            sure(row["place"]),
            row["key_columns"],
            row["names"],
            row["aliases"],
            row["types"],
            row["context_column"] or row["context"],
            sources.get((row["linker"], row["number"]), []),
        )
        found.linkers.setdefault(row["linker"], []).append(target)
        found.primary_keys[target.place] = row["primary_key"]
    for row in _rows(connection, _LINK_TABLES):
        found.owned_tables.update(sure(name) for name in (row["destination"], row["texts"], row["corrections"]))
    found.owned_indexes = {sure(row["place"]) for row in _rows(connection, _INDEXES)}
    return found


def is_closed(connection: Connection) -> bool:
    """Whether the database has pgembed, and the role may not look into it."""
    return connection.exec_driver_sql(_MAY_USE).scalar() is False


def columns(connection: Connection, places: list[Place]) -> set[tuple[Place, str]]:
    """The columns that tables have, of those tables that are there."""
    default = connection.dialect.default_schema_name
    made: set[tuple[Place, str]] = set()
    for schema, name in places:
        rows = connection.execute(
            text(
                "SELECT a.attname FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_class AS t ON t.oid = a.attrelid"
                " JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace"
                " WHERE n.nspname = :schema AND t.relname = :name AND a.attnum > 0 AND NOT a.attisdropped"
            ),
            {"schema": schema or default, "name": name},
        )
        made.update(((schema, name), str(column)) for (column,) in rows)
    return made


def default_model(connection: Connection) -> str | None:
    """The database's default model; None where it has no pgembed."""
    if not _may_use(connection):
        return None
    found = connection.exec_driver_sql("SELECT name FROM pgembed.models WHERE is_default").scalar()
    return None if found is None else str(found)


def _rename(connection: Connection, row: dict[str, Any], place: Place | None, *expressions: str) -> None:
    """Let a row's expressions name columns as they are called now; the registry has them as they were declared."""
    if place is None or row["renamed"] is None:
        return
    names = [(was, now) for was, now in json.loads(row["renamed"])]
    for expression in expressions:
        if row[expression]:
            row[expression] = meaning.by_names_of_now(connection, place, row[expression], names)


def _may_use(connection: Connection) -> bool:
    return bool(connection.exec_driver_sql(_MAY_USE).scalar())


def _rows(connection: Connection, statement: str) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.exec_driver_sql(statement).mappings()]


# NULL without pgembed. A name within a schema may not even be looked up without the right to use it.
_MAY_USE = "SELECT pg_catalog.has_schema_privilege(pg_catalog.to_regnamespace('pgembed'), 'USAGE')"
# The registry's tables, not its views: these count rows.
_PLACE = "ARRAY[{n}.nspname::text, {t}.relname::text]"


def _renamed(function: str, columns: str) -> str:
    """Names of the columns that a function of pgembed's reads, as its arguments are called and as they are now; NULL where these agree."""
    return (
        "(SELECT pg_catalog.json_agg(ARRAY[o.was, o.now] ORDER BY o.number)::text"
        " FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS f ON f.oid = p.pronamespace"
        f" CROSS JOIN unnest(p.proargnames, {columns}::text[]) WITH ORDINALITY AS o (was, now, number)"
        f" WHERE ARRAY[f.nspname, p.proname]::text[] = pg_catalog.parse_ident({function})"
        " HAVING pg_catalog.bool_or(o.was <> o.now)) AS renamed"
    )


def _joined(oid: str, t: str, n: str, kind: str = "") -> str:
    return (
        f" {kind}JOIN pg_catalog.pg_class AS {t} ON {t}.oid = {oid} {kind}JOIN pg_catalog.pg_namespace AS {n} ON {n}.oid = {t}.relnamespace"
    )


_EMBEDDINGS = (
    f"SELECT {_PLACE.format(n='n', t='t')} AS place, e.column_name::text, e.source, e.model, e.sync, e.metric, e.chunk_tokens,"
    f" e.chunk_overlap, e.by_hand, e.adopted, e.role, e.hash_column::text, {_renamed('e.source_function', 'e.source_columns')},"
    f" CASE WHEN c.oid IS NOT NULL THEN {_PLACE.format(n='cn', t='c')} END AS chunk_place"
    f" FROM pgembed._embedding AS e{_joined('e.table_name', 't', 'n')}{_joined('e.chunk_table', 'c', 'cn', 'LEFT ')}"
    " ORDER BY 1, 2"
)
_CODECS = (
    f"SELECT c.name, {_PLACE.format(n='n', t='t')} AS place, c.column_name::text, c.method, c.options::text, c.seed, c.code_type"
    f" FROM pgembed._codec AS c{_joined('c.table_name', 't', 'n')} ORDER BY 1"
)
_CODES = (
    f"SELECT {_PLACE.format(n='n', t='t')} AS place, e.column_name::text, e.embedding_column::text, e.codec, e.is_generated"
    f" FROM pgembed._code AS e{_joined('e.table_name', 't', 'n')} ORDER BY 1, 2"
)
_TARGETS = (
    f"SELECT l.linker, l.number, {_PLACE.format(n='n', t='t')} AS place, l.key_columns::text[], l.names, l.aliases, l.types, l.context,"
    f" l.context_column::text, {_renamed('l.read_function', 'l.read_columns')},"
    " ARRAY(SELECT a.attname::text FROM pg_catalog.pg_index AS x CROSS JOIN"
    " pg_catalog.unnest(x.indkey) WITH ORDINALITY AS u (attnum, place) JOIN pg_catalog.pg_attribute AS a"
    " ON a.attrelid = x.indrelid AND a.attnum = u.attnum"
    " WHERE x.indrelid = t.oid AND x.indisprimary AND u.place <= x.indnkeyatts ORDER BY u.place) AS primary_key"
    f" FROM pgembed._linker_target AS l{_joined('l.target', 't', 'n')} ORDER BY 1, 2"
)
_SOURCES = (
    f"SELECT s.linker, s.number, s.kind, {_PLACE.format(n='n', t='t')} AS place, s.from_columns::text[], s.to_columns::text[],"
    f" CASE WHEN o.oid IS NOT NULL THEN {_PLACE.format(n='m', t='o')} END AS other_place, s.value_column::text, s.relation_column::text,"
    f" s.label, s.names, {_renamed('s.names_function', 's.names_columns')}"
    f" FROM pgembed._linker_source AS s{_joined('s.source', 't', 'n')}{_joined('s.other', 'o', 'm', 'LEFT ')}"
    " ORDER BY s.linker, s.number, s.place"
)
_LINK_TABLES = (
    f"SELECT {_PLACE.format(n='n', t='t')} AS destination, {_PLACE.format(n='n2', t='t2')} AS texts,"
    f" {_PLACE.format(n='n3', t='t3')} AS corrections FROM pgembed._link_table AS l"
    f"{_joined('l.destination', 't', 'n')}{_joined('l.texts', 't2', 'n2')}{_joined('l.corrections', 't3', 'n3')}"
)
# Over columns of pgembed's, also in an expression or condition. Of a column that was there before, its indexes are the user's, but for the
# one that refresh() builds by a name of its own.
_INDEXES = f"""
    SELECT DISTINCT {_PLACE.format(n="n", t="i")} AS place
    FROM (
        SELECT e.table_name AS relation, e.column_name, e.adopted, e.table_name::oid AS named FROM pgembed._embedding AS e
        UNION ALL
        SELECT e.table_name, e.hash_column, false, NULL FROM pgembed._embedding AS e WHERE e.hash_column IS NOT NULL
        UNION ALL
        SELECT e.table_name, e.column_name, false, NULL FROM pgembed._code AS e
    ) AS o
    JOIN pg_catalog.pg_class AS t ON t.oid = o.relation
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = t.oid AND a.attname = o.column_name AND NOT a.attisdropped
    JOIN pg_catalog.pg_index AS x ON x.indrelid = t.oid
    JOIN pg_catalog.pg_class AS i ON i.oid = x.indexrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = i.relnamespace
    WHERE (a.attnum = ANY (x.indkey::int2[]) OR EXISTS (
        SELECT FROM pg_catalog.pg_depend AS d
        WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = i.oid AND d.refobjid = t.oid AND d.refobjsubid = a.attnum
    )) AND (NOT o.adopted OR i.relname = pg_catalog.left(t.relname || '_' || o.column_name, 59) || '_idx')
"""
