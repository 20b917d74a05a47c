"""tables: the tables of links made, found again, and followed when their linker gets another target.

Everything is made in one transaction, or nothing. Foreign keys are made where PostgreSQL allows them: not to views, nor to tables that the
owner of the links may not refer to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pgembed import columns, errors, faults, following, naming
from pgembed.columns import quote, unquoted
from pgembed.linkers import layout as layouts
from pgembed.linkers.keyed import IS, Keyed
from pgembed.linkers.layout import Entity, Layout

if TYPE_CHECKING:
    from pgembed.columns import Table, Writer
    from pgembed.database import Database, Row

_LINE = (
    "SELECT l.destination, l.linker, l.source, l.text_column::pg_catalog.text AS text_column,"
    " l.key_columns::pg_catalog.text[] AS key_columns, {texts} AS texts_name,"
    " {corrections} AS corrections_name, {entities} AS view_name, l.layout::pg_catalog.text AS layout"
    " FROM pgembed._link_table AS l JOIN pg_catalog.pg_class AS d ON d.oid OPERATOR(pg_catalog.=) l.destination"
    " JOIN pg_catalog.pg_class AS s ON s.oid OPERATOR(pg_catalog.=) l.source WHERE {where} ORDER BY l.destination"
)
# A new foreign key needs its table for itself for a moment: tried for so long, never waiting long enough that others queue behind it.
_LOCK = "200ms"
_TRIES = 25
_LOCK_NOT_AVAILABLE, _DEADLOCK = "55P03", "40P01"
# Why PostgreSQL makes no foreign key: no unique key there, another kind of object, no right, temporary and lasting tables mixed, or lines
# that were there before, of rows that are not.
_NO_KEY = ("42830", "42809", "42501", "42P16", "42804", "0A000", "42883", "42P17", "23503")
_NOT_IN_PLACE = ("42P16",)
_CORRECTED = {"mention": "text", "start_char": "integer", "end_char": "integer", "corrected_by": "name"}


def name_of(db: Database, into: str | None) -> str:
    """What a person calls a table, schema-qualified and quoted, whether it is there or not.

    Raises:
        errors.NullNotAllowed, errors.InvalidParameter: it is no name.
    """
    if into is None or not into.strip():
        raise errors.NullNotAllowed(f"into is {'NULL' if into is None else 'empty'}", hint="Name a table.")
    parts = naming.parts(db, into)
    if len(parts) == 2:
        if not db.execute(
            "SELECT FROM pg_catalog.pg_namespace AS n WHERE n.nspname OPERATOR(pg_catalog.=) $1", ["pg_catalog.name"], parts[:1]
        ):
            raise errors.UnknownObject(f'schema "{parts[0]}" does not exist', hint=f"CREATE SCHEMA {quote(parts[0])} makes it.")
        return ".".join(map(quote, parts))
    found = db.execute(
        "SELECT (SELECT n.nspname FROM pg_catalog.pg_class AS c"
        " JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace"
        " WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass($1)) AS there, pg_catalog.current_schema()::pg_catalog.text AS new",
        ["pg_catalog.text"],
        [quote(parts[0])],
    )[0]
    schema = found["there"] or found["new"]
    if schema is None:
        raise errors.InvalidParameter(f'no schema is there for "{into}" in search_path', hint="Name it: schema.name.")
    return f"{quote(schema)}.{quote(parts[0])}"


def exists(db: Database, name: str) -> bool:
    """Whether a name in SQL is that of a relation."""
    return bool(db.execute("SELECT pg_catalog.to_regclass($1) IS NOT NULL AS yes", ["pg_catalog.text"], [name])[0]["yes"])


def line(db: Database, destination: str) -> Row | None:
    """What the registry says of a table of links; None where it is none.

    Args:
        destination: in SQL.
    """
    found = _lines(db, "d.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass($1)", destination)
    return found[0] if found else None


def lines_of(db: Database, linker: str) -> list[Row]:
    """The same of all that a linker keeps."""
    return _lines(db, "l.linker OPERATOR(pg_catalog.=) $1", linker)


def must_find(db: Database, into: str | None) -> Row:
    """What the registry says of a table of links.

    Args:
        into: as regclass writes it.
    Raises:
        errors.NullNotAllowed, errors.UnknownObject: it is none.
    """
    if into is None:
        raise errors.NullNotAllowed("into is NULL", hint="SELECT destination FROM pgembed.link_tables lists the tables of links.")
    found = _lines(db, "d.oid OPERATOR(pg_catalog.=) $1::pg_catalog.regclass", into)
    if not found:
        raise errors.UnknownObject(
            f"{into} is no table that pgembed.link_table() keeps",
            hint="SELECT destination FROM pgembed.link_tables lists them; name the table of links, not that of texts.",
        )
    return found[0]


def make(db: Database, write: Writer, layout: Layout, target_names: str) -> Layout:
    """Make the tables and the view, and register them.

    Raises:
        errors.InvalidTableDefinition: what is left of corrections does not fit.
        Exception: PostgreSQL's own, such as that the caller may make no tables there.
    """
    source = layout.source
    own_keys = [f"{name} {kind} NOT NULL" for name, (_, kind) in zip(source.columns, source.table.keys, strict=True)]
    offsets = ["mention pg_catalog.text NOT NULL", "start_char pg_catalog.int4 NOT NULL", "end_char pg_catalog.int4 NOT NULL"]
    entity_keys, beside_it = _entity_columns(layout.entities)
    key = ", ".join(source.columns)
    at = "linked_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now()"
    told = ("score pg_catalog.float8 NOT NULL", "margin pg_catalog.float8 NOT NULL", "decision pg_catalog.text NOT NULL")
    hashes = ("text_hash pg_catalog.bytea NOT NULL", "linker_hash pg_catalog.bytea NOT NULL", "links pg_catalog.int4 NOT NULL")
    made_by = ("linker_revision pg_catalog.int4 NOT NULL", at, f"PRIMARY KEY ({key}, start_char, end_char)")
    _create(db, layout.results, *own_keys, *offsets, "mention_type pg_catalog.text NOT NULL", *entity_keys, *told, *beside_it, *made_by)
    _create(db, layout.texts, *own_keys, *hashes, at, f"PRIMARY KEY ({key})")
    if exists(db, layout.corrections):
        _must_fit(db, layout)
    else:
        length = "end_char OPERATOR(pg_catalog.-) start_char"
        _create(
            db,
            layout.corrections,
            *(*own_keys, *offsets, *entity_keys),
            "corrected_by pg_catalog.name NOT NULL DEFAULT CURRENT_USER",
            "corrected_at pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now()",
            f"PRIMARY KEY ({key}, start_char, end_char)",
            # a wrong offset is found when it is written, whoever writes
            "CHECK (start_char OPERATOR(pg_catalog.>=) 1)",
            f"CHECK (pg_catalog.char_length(mention) {IS} ({length}))",
            "CHECK (mention OPERATOR(pg_catalog.<>) '')",
        )
    missing = [
        *(_refer(db, table, source.columns, source) for table in (layout.results, layout.texts, layout.corrections)),
        *_refer_to(db, layout, layout.entities),
    ]
    _tell_missing(db, layout, [one for one in missing if one is not None])
    made = replace(layout, owner=columns.table(db, layout.results)[0])
    _make_view(db, made)
    for statement in layouts.comments(layout, target_names):
        db.execute(statement)
    _register(db, write, made)
    return made


def adopt(db: Database, write: Writer, layout: Layout) -> Layout:
    """Register tables that are there: pg_dump of a schema leaves the registry behind, and brings them along; or the texts were dropped, and
    are there again.

    Raises:
        errors.DuplicateObject: they are not as `make` makes them.
        errors.InsufficientPrivilege: the caller does not own them.
    """
    keys = _key_types(layout)
    texts = {unquoted(name): kind for name, (_, kind) in zip(layout.source.columns, layout.source.table.keys, strict=True)}
    wanted = {
        layout.results: keys | {"mention": "text", "mention_type": "text", "linker_revision": "integer", "decision": "text"},
        layout.texts: texts | {"text_hash": "bytea", "linker_hash": "bytea", "links": "integer"},
        layout.corrections: keys | _CORRECTED,
    }
    for name, types in wanted.items():
        if not exists(db, name) or not types.items() <= layouts.column_types(db, columns.table(db, name)[0]).items():
            raise errors.DuplicateObject(
                f"relation {layout.results} exists already, and pgembed.link_table() has not made it", hint="Drop it, or give another name."
            )
    made = replace(layout, owner=columns.table(db, layout.results)[0])
    assert made.owner is not None
    with following.as_owner(db, made.owner):
        missing = [_refer(db, table, layout.source.columns, layout.source) for table in (layout.results, layout.texts, layout.corrections)]
        _tell_missing(db, layout, [one for one in missing if one is not None])
        _make_view(db, made)
    _register(db, write, made)
    return made


def _register(db: Database, write: Writer, layout: Layout) -> None:
    assert layout.owner is not None
    write(
        layout.owner,
        "INSERT INTO pgembed._link_table (destination, linker, source, text_column, key_columns, texts, corrections, entities, layout)"
        " VALUES ($1::regclass, $2, $3::oid::regclass, $4, $5, $6::regclass, $7::regclass, $8::regclass, $9::json)",
        ["text", "text", "oid", "name", "name[]", "text", "text", "text", "text"],
        [
            *(
                layout.results,
                layout.linker,
                layout.source.table.oid,
                unquoted(layout.text),
                None if layout.key is None else list(layout.key),
            ),
            *(layout.texts, layout.corrections, layout.view, layout.stored()),
        ],
    )


def _create(db: Database, name: str, *definitions: str) -> None:
    db.execute(f"CREATE TABLE {name} ({', '.join(definitions)})")


def follow(db: Database, write: Writer, layout: Layout, before: Row) -> None:
    """Bring tables that are there up to their linker's targets, and to another column of texts.

    Args:
        layout: as it is to be.
        before: what the registry says.
    """
    known = len(_numbers(before))
    new = layout.entities[known:]
    view_gone = before["view_name"] is None
    if not new and not view_gone and quote(before["text_column"]) == layout.text:
        return
    assert layout.owner is not None
    with following.as_owner(db, layout.owner):
        entity_keys, beside_it = _entity_columns(new)
        for definition in entity_keys:
            db.execute(f"ALTER TABLE {layout.results} ADD COLUMN {definition}")
            db.execute(f"ALTER TABLE {layout.corrections} ADD COLUMN {definition}")
        for definition in beside_it:
            db.execute(f"ALTER TABLE {layout.results} ADD COLUMN {definition}")
        _tell_missing(db, layout, _refer_to(db, layout, new))
        _make_view(db, layout)
    write(
        layout.owner,
        "UPDATE pgembed._link_table SET text_column = $2, layout = $3::json, entities = $4::regclass"
        " WHERE destination OPERATOR(pg_catalog.=) $1::regclass",
        ["text", "name", "text", "text"],
        [layout.results, unquoted(layout.text), layout.stored(), layout.view],
    )


def referred(db: Database, table: str) -> frozenset[int]:
    """OIDs of the tables that a table, in SQL, refers to by foreign keys."""
    rows = db.execute(
        "SELECT c.confrelid FROM pg_catalog.pg_constraint AS c WHERE c.contype OPERATOR(pg_catalog.=) 'f'"
        " AND c.conrelid OPERATOR(pg_catalog.=) $1::pg_catalog.regclass",
        ["pg_catalog.text"],
        [table],
    )
    return frozenset(row["confrelid"] for row in rows)


def _lines(db: Database, where: str, value: str) -> list[Row]:
    names = {
        name: f'(SELECT pg_catalog.format(\'"%s"."%s"\', pg_catalog.replace(n.nspname, \'"\', \'""\'),'
        " pg_catalog.replace(c.relname, '\"', '\"\"'))"
        " FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace"
        f" WHERE c.oid OPERATOR(pg_catalog.=) l.{name})"
        for name in ("texts", "corrections", "entities")
    }
    return db.execute(_LINE.format(where=where, **names), ["pg_catalog.text"], [value])


def _numbers(before: Row) -> Sequence[int]:
    import json

    return [one["number"] for one in json.loads(before["layout"])["entities"]]


def _entity_columns(entities: Iterable[Entity]) -> tuple[list[str], list[str]]:
    """Definitions of the columns that hold keys of targets, and of those for the runners-up."""
    keys, beside_it = [], []
    for entity in entities:
        assert entity.keyed is not None
        kinds = [kind for _, kind in entity.keyed.table.keys]
        keys += [f"{name} {kind}" for name, kind in zip(entity.columns, kinds, strict=True)]
        beside_it += [f"{name} {kind}" for name, kind in zip(entity.runner_up, kinds, strict=True)]
    return keys, beside_it


def _refer_to(db: Database, layout: Layout, entities: Iterable[Entity]) -> list[str]:
    """Foreign keys to targets, and the indexes that their deletions need; the targets to which there are none, and why."""
    missing = []
    for entity in entities:
        assert entity.keyed is not None
        failed = [_refer(db, table, entity.columns, entity.keyed) for table in (layout.results, layout.corrections)]
        missing += [failed[0]] if failed[0] is not None else []
        db.execute(f"CREATE INDEX ON {layout.results} ({', '.join(entity.columns)})")
    return missing


def _refer(db: Database, table: str, ours: Sequence[str], keyed: Keyed) -> str | None:
    """One foreign key; None where it is made, else why it is not."""
    theirs = ", ".join(name for name, _ in keyed.table.keys)
    # of several columns all are NULL or none
    full = " MATCH FULL" if len(ours) > 1 else ""
    statement = (
        f"ALTER TABLE {table} ADD FOREIGN KEY ({', '.join(ours)}) REFERENCES {keyed.table.sql} ({theirs}){full}"
        " ON UPDATE CASCADE ON DELETE CASCADE"
    )
    if keyed.table.oid in referred(db, table):
        return None
    before = str(db.execute("SELECT pg_catalog.current_setting('lock_timeout') AS value")[0]["value"])
    for _ in range(_TRIES):
        try:
            with db.subtransaction():
                _set_lock_timeout(db, _LOCK)
                db.execute(statement)
                _set_lock_timeout(db, before)
            return None
        except Exception as error:
            sqlstate = faults.sqlstate_of(error)
            if sqlstate in _NO_KEY:
                return f"{keyed.table.shown}: {faults.said(error)}"
            if sqlstate not in (_LOCK_NOT_AVAILABLE, _DEADLOCK):
                raise
        db.execute("SELECT pg_catalog.pg_sleep(0.2)")
    raise errors.TableBusy(
        f'table "{keyed.table.name}" was in use all the time: a foreign key to it needs it for a moment',
        hint="Nothing was made. Is a transaction left open? SELECT * FROM pg_stat_activity shows it. Then call again.",
    )


def _set_lock_timeout(db: Database, value: str) -> None:
    db.execute("SELECT pg_catalog.set_config('lock_timeout', $1, true)", ["pg_catalog.text"], [value])


def _tell_missing(db: Database, layout: Layout, missing: Sequence[str]) -> None:
    for one in dict.fromkeys(missing):
        db.notice(
            f"links have no foreign key to {one}",
            hint=f"What is deleted there is noticed by the next CALL pgembed.link_table('{layout.linker}', ...).",
        )


def _make_view(db: Database, layout: Layout) -> None:
    """The view, in place where that is possible: whoever was granted rights on it keeps them."""
    assert layout.owner is not None
    readable = frozenset(
        entity.number for entity in layout.present if entity.keyed is not None and _may_read(db, layout.owner, entity.keyed.table)
    )
    version = db.execute("SELECT pg_catalog.current_setting('server_version_num')::pg_catalog.int4 AS number")[0]["number"]
    statement = layouts.view_statement(layout, readable, invoker=version >= 150_000)
    try:
        with db.subtransaction():
            db.execute(f"CREATE OR REPLACE {statement}")
    except Exception as error:
        if faults.sqlstate_of(error) not in _NOT_IN_PLACE:
            raise
        db.execute(f"DROP VIEW {layout.view}")
        db.execute(f"CREATE {statement}")


def _may_read(db: Database, owner: Table, table: Table) -> bool:
    found = db.execute(
        "SELECT pg_catalog.has_table_privilege($1, $2, 'SELECT') AS yes", ["pg_catalog.name", "pg_catalog.oid"], [owner.owner, table.oid]
    )
    return bool(found[0]["yes"])


def _must_fit(db: Database, layout: Layout) -> None:
    """What people have said outlives the links: a table of corrections that is there is taken on."""
    table, _ = columns.table(db, layout.corrections)
    table.must_own()
    types = layouts.column_types(db, table)
    for name, kind in (_key_types(layout) | _CORRECTED).items():
        if types.get(name) != kind:
            raise errors.InvalidTableDefinition(
                f'table "{table.name}" is there already, and its column "{name}" is {types.get(name, "not there")}, not {kind}',
                hint=f"ALTER TABLE {table.shown} RENAME TO ..., or choose another name for into.",
            )


def _key_types(layout: Layout) -> dict[str, str]:
    """Our columns that hold keys, and their types."""
    keyed = [(layout.source.columns, layout.source.table)]
    keyed += [(entity.columns, entity.keyed.table) for entity in layout.present if entity.keyed is not None]
    return {unquoted(name): kind for names, table in keyed for name, (_, kind) in zip(names, table.keys, strict=True)}
