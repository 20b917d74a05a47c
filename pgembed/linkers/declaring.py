"""declaring: a linker is proven when it is declared, so that linking only meets what the rows themselves bring."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pgembed import asking, columns, errors, expressions, naming
from pgembed.columns import RowFunction, Table, Writer, quote, unquoted
from pgembed.following.owning import as_owner, by_ourselves
from pgembed.linkers import following, registered, relations
from pgembed.linkers.contract import Line, Target
from pgembed.linkers.relations import Declared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgembed.database import Database

_TARGET_KINDS = "rpvmf"


@dataclass(frozen=True)
class Asked:
    """The arguments of a declaration, as they were given; None where nothing was said, '' for none."""

    key: str | None = None
    names: str | None = None
    aliases: str | None = None
    context: str | None = None
    relations: str | None = None
    types: str | None = None
    alias_tables: str | None = None


def create(db: Database, write: Writer, name: str | None, target: str | None, asked: Asked) -> None:
    """Body of `pgembed.create_linker`.

    Raises:
        errors.PgembedError: what it says of the declaration.
    """
    if name is None or not name.strip():
        raise errors.NullNotAllowed("name is NULL or empty", hint="Give the linker a name.")
    table = _target(db, target)
    if registered.exists(db, name):
        raise errors.DuplicateObject(f'linker "{name}" exists already', hint=f"SELECT pgembed.drop_linker('{name}') drops it.")
    write(table, "INSERT INTO pgembed._linker (name) VALUES ($1)", ["text"], [name])
    _add(db, write, name, table, asked, 1)


def add_target(db: Database, write: Writer, name: str | None, target: str | None, asked: Asked) -> None:
    """Body of `pgembed.add_linker_target`."""
    line = registered.read(db, name)
    line.must_own()
    table = _target(db, target)
    if table.oid in {one.table.oid for one in line.targets}:
        raise errors.DuplicateObject(
            f'table "{table.name}" is a target of linker "{name}" already',
            hint=f"SELECT pgembed.alter_linker('{name}', target => '{table.shown}', ...) changes it.",
        )
    used = db.execute(
        "SELECT pg_catalog.max(t.number) AS n FROM pgembed._linker_target AS t WHERE t.linker OPERATOR(pg_catalog.=) $1",
        ["pg_catalog.text"],
        [name],
    )
    _add(db, write, str(name), table, asked, int(used[0]["n"]) + 1)
    _raise_revision(write, table, str(name))


def alter(db: Database, write: Writer, name: str | None, target: str | None, asked: Asked) -> None:
    """Body of `pgembed.alter_linker`: what is not said stays."""
    line = registered.read(db, name)
    line.must_own()
    if target is None and len(line.targets) > 1:
        raise errors.AmbiguousColumn(
            f'linker "{name}" has {len(line.targets)} targets', hint=f"Say which: target => '{line.targets[0].table.shown}'."
        )
    oid = line.targets[0].table.oid if target is None else columns.table(db, target)[0].oid
    found = [one for one in line.targets if one.table.oid == oid]
    if not found:
        raise _no_target(str(name), columns.table(db, target)[0], [one.table for one in line.targets])
    if asked == Asked():
        raise errors.NullNotAllowed(
            "nothing is to be changed", hint="Say what: names, aliases, types, context, relations, alias_tables or key."
        )
    old = found[0]
    before = db.execute(
        "SELECT t.names, t.aliases, t.types, t.context, t.context_column FROM pgembed._linker_target AS t"
        " WHERE t.linker OPERATOR(pg_catalog.=) $1 AND t.number OPERATOR(pg_catalog.=) $2",
        ["pg_catalog.text", "pg_catalog.int4"],
        [name, old.number],
    )[0]
    kept = Asked(
        key=asked.key or ",".join(unquoted(column) for column, _ in old.table.keys),
        names=before["names"] if asked.names is None else asked.names,
        aliases=before["aliases"] if asked.aliases is None else asked.aliases,
        types=before["types"] if asked.types is None else asked.types,
        context=(before["context_column"] or before["context"]) if asked.context is None else asked.context,
        relations=asked.relations,
        alias_tables=asked.alias_tables,
    )
    table = _target(db, str(oid))
    stay = [
        row["place"]
        for row in db.execute(
            "SELECT s.place, s.kind FROM pgembed._linker_source AS s WHERE s.linker OPERATOR(pg_catalog.=) $1"
            " AND s.number OPERATOR(pg_catalog.=) $2 ORDER BY s.place",
            ["pg_catalog.text", "pg_catalog.int4"],
            [name, old.number],
        )
        if (asked.alias_tables if row["kind"] == "alias" else asked.relations) is None
    ]
    _remove(db, write, str(name), old, stay)
    _add(db, write, str(name), table, kept, old.number, first=max(stay, default=-1) + 1)
    _raise_revision(write, table, str(name))
    _align(db, write, [old])


def drop_target(db: Database, write: Writer, name: str | None, target: str | None) -> None:
    """Body of `pgembed.drop_linker_target`."""
    line = registered.read(db, name)
    line.must_own()
    table = columns.table(db, target)[0]
    found = [one for one in line.targets if one.table.oid == table.oid]
    if not found:
        raise _no_target(str(name), table, [one.table for one in line.targets])
    if len(line.targets) == 1:
        raise errors.DependentObjects(
            f'"{table.name}" is the only target of linker "{name}"', hint=f"SELECT pgembed.drop_linker('{name}') drops the linker."
        )
    unnamed = [
        one.table.name
        for one in line.targets
        for source in one.sources
        if one is not found[0] and source.other is not None and source.other.oid == table.oid and source.names is None
    ]
    if unnamed:
        raise errors.DependentObjects(
            f'relations of "{unnamed[0]}" lead to rows of "{table.name}", which nothing would name any more',
            hint=f"SELECT pgembed.alter_linker('{name}', target => '{unnamed[0]}', relations => ...) first, with \"names\" for them.",
        )
    _remove(db, write, str(name), found[0], [])
    _raise_revision(write, table, str(name))
    _align(db, write, found)


def drop(db: Database, write: Writer, name: str | None) -> None:
    """Body of `pgembed.drop_linker`."""
    line = registered.read(db, name)
    line.must_own()
    table = line.targets[0].table
    for target in line.targets:
        _remove(db, write, line.name, target, [])
    write(table, "DELETE FROM pgembed._linker_model WHERE linker = $1", ["text"], [line.name])
    write(table, "DELETE FROM pgembed._linker WHERE name = $1", ["text"], [line.name])
    _align(db, write, line.targets)


def realign(db: Database, write: Writer, table: Table) -> None:
    """Make the triggers of a table anew by what the registry says now."""
    following.align(db, write, table, following.merged(_all(db), table))


def _add(db: Database, write: Writer, name: str, table: Table, asked: Asked, number: int, *, first: int = 0) -> None:
    table = replace(table, keys=_key(db, table, asked.key))
    others = [one for one in registered.tables(db, name) if one.oid != table.oid]
    found = [
        *relations.aliases(db, table, relations.spelled(db, table, asked.alias_tables, "alias_tables")),
        *relations.relations(db, table, relations.spelled(db, table, asked.relations, "relations"), [table, *others]),
    ]
    names, aliases, types, context = (one or None for one in (asked.names, asked.aliases, asked.types, asked.context))
    if names is None and aliases is None and not found:
        raise errors.NullNotAllowed(
            f'nothing says how a row of "{table.name}" is named', hint="names => 'title' says which column, or expression, names a row."
        )
    column, text = _context(db, table, context)
    expression = "pg_catalog.json_build_array({})::pg_catalog.text".format(
        ", ".join(
            [
                _text(db, table, names, "names"),
                _texts(db, table, aliases, "aliases"),
                _texts(db, table, types, "types"),
                _text(db, table, text, "context"),
            ]
        )
    )
    with as_owner(db, table):
        # SECURITY DEFINER: whoever links, the owner's expressions are evaluated with the owner's rights, on rows the caller may see
        read = expressions.create(db, table, naming.clip(table.name, f"_{name}_link"), expression, "pg_catalog.text", definer=True)
    write(
        table,
        "INSERT INTO pgembed._linker_target (linker, number, target, key_columns, names, aliases, types, context, context_column,"
        " read_function, read_columns) VALUES ($1, $2, $3::oid::regclass, $4, $5, $6, $7, $8, $9, $10, $11)",
        ["text", "int4", "oid", "name[]", "text", "text", "text", "text", "name", "text", "name[]"],
        [
            *(name, number, table.oid, [unquoted(key) for key, _ in table.keys], names, aliases, types, text, column),
            *(read.name, None if read.columns is None else list(read.columns)),
        ],
    )
    for place, one in enumerate(found, first):
        _write_source(db, write, name, number, place, table, one)
    _align_tables(db, write, [table, *(source for one in found for source in (one.source.table, one.source.other) if source is not None)])


def _write_source(db: Database, write: Writer, name: str, number: int, place: int, table: Table, one: Declared) -> None:
    source, names = one.source, None
    if one.names is not None and source.other is not None:
        expressions.prove(db, source.other, one.names, "names")
        with as_owner(db, table):
            stem = naming.clip(source.other.name, f"_{name}_name")
            named = f"({one.names}\n)::pg_catalog.text"
            names = expressions.create(db, source.other, stem, named, "pg_catalog.text", definer=True, schema=table.schema)
    write(
        table,
        "INSERT INTO pgembed._linker_source (linker, number, place, kind, source, from_columns, target_columns, to_columns, other,"
        " other_columns, value_column, relation_column, label, names, names_function, names_columns)"
        " VALUES ($1, $2, $3, $4, $5::oid::regclass, $6, $7, $8, $9::oid::regclass, $10, $11, $12, $13, $14, $15, $16)",
        ["text", "int4", "int4", "text", "oid", *["name[]"] * 3, "oid", "name[]", "name", "name", *["text"] * 3, "name[]"],
        [
            *(name, number, place, source.kind, source.table.oid),
            *map(_list, (source.from_columns, source.target_columns, source.to_columns)),
            *(None if source.other is None else source.other.oid, _list(source.other_columns)),
            *(source.value, source.relation, source.label, one.names),
            *(None if names is None else names.name, None if names is None or names.columns is None else list(names.columns)),
        ],
    )


def _remove(db: Database, write: Writer, name: str, target: Target, stay: Sequence[int]) -> None:
    """Forget a target and what was made for it, but for the sources at some places."""
    gone = db.execute(
        "SELECT s.names_function FROM pgembed._linker_source AS s WHERE s.linker OPERATOR(pg_catalog.=) $1"
        " AND s.number OPERATOR(pg_catalog.=) $2 AND NOT s.place OPERATOR(pg_catalog.=) ANY ($3) AND s.names_function IS NOT NULL",
        ["pg_catalog.text", "pg_catalog.int4", "pg_catalog.int4[]"],
        [name, target.number, list(stay)],
    )
    with as_owner(db, target.table):
        for function in [target.read.name, *(row["names_function"] for row in gone)]:
            expressions.drop(db, RowFunction(function, None))
    write(
        target.table,
        "DELETE FROM pgembed._linker_source WHERE linker = $1 AND number = $2 AND NOT place = ANY ($3)",
        ["text", "int4", "int4[]"],
        [name, target.number, list(stay)],
    )
    write(target.table, "DELETE FROM pgembed._linker_target WHERE linker = $1 AND number = $2", ["text", "int4"], [name, target.number])


def _raise_revision(write: Writer, table: Table, name: str) -> None:
    write(table, "UPDATE pgembed._linker SET revision = revision + 1 WHERE name = $1", ["text"], [name])


def _align(db: Database, write: Writer, targets: Sequence[Target]) -> None:
    sources = [source for target in targets for source in target.sources]
    _align_tables(db, write, [*(target.table for target in targets), *(t for s in sources for t in (s.table, s.other) if t is not None)])


def _align_tables(db: Database, write: Writer, tables: Sequence[Table]) -> None:
    lines = _all(db)
    with by_ourselves():
        for table in {one.oid: one for one in tables}.values():
            following.align(db, write, table, following.merged(lines, table))


def _all(db: Database) -> list[Line]:
    rows = db.execute(
        "SELECT DISTINCT t.linker FROM pgembed._linker_target AS t JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) t.target"
    )
    return [registered.read(db, row["linker"]) for row in rows]


def _target(db: Database, target: str | None) -> Table:
    table, _ = columns.table(db, target)
    table.must_own()
    if table.relkind not in _TARGET_KINDS:
        raise errors.WrongObjectType(f'"{table.name}" is not a table', hint="Declare a linker over a table, a view or a foreign table.")
    return table


def _key(db: Database, table: Table, key: str | None) -> tuple[tuple[str, str], ...]:
    """Columns of the key and their types; they tell rows apart."""
    if key is None:
        if not table.keys:
            raise errors.InvalidTableDefinition(
                f'"{table.name}" has no primary key, and key says nothing', hint="key => 'a' or 'a, b' names columns that are unique."
            )
        return table.keys
    names = relations.listed(key, "key")
    found = registered.key_types(db, table, names)
    if table.relkind not in "rp":
        return found  # nothing keeps it so: every reading looks
    unique = db.execute(
        "SELECT FROM pg_catalog.pg_index AS x WHERE x.indrelid OPERATOR(pg_catalog.=) $1 AND x.indisunique AND x.indisvalid"
        " AND x.indimmediate AND x.indpred IS NULL AND x.indexprs IS NULL"
        " AND (SELECT pg_catalog.bool_and(a.attname OPERATOR(pg_catalog.=) ANY ($2))"
        " FROM pg_catalog.unnest(x.indkey) WITH ORDINALITY AS u (n, place) JOIN pg_catalog.pg_attribute AS a"
        " ON a.attrelid OPERATOR(pg_catalog.=) x.indrelid AND a.attnum OPERATOR(pg_catalog.=) u.n"
        " WHERE u.place OPERATOR(pg_catalog.<=) x.indnkeyatts)",
        ["pg_catalog.oid", "pg_catalog.name[]"],
        [table.oid, names],
    )
    if not unique:
        raise errors.InvalidTableDefinition(
            f'no unique index says that {", ".join(names)} tells the rows of "{table.name}" apart',
            hint=f"CREATE UNIQUE INDEX ON {table.shown} ({', '.join(names)}), then try again.",
        )
    null = db.execute(
        "SELECT a.attname FROM pg_catalog.pg_attribute AS a WHERE a.attrelid OPERATOR(pg_catalog.=) $1"
        " AND a.attname OPERATOR(pg_catalog.=) ANY ($2) AND NOT a.attnotnull ORDER BY a.attnum",
        ["pg_catalog.oid", "pg_catalog.name[]"],
        [table.oid, names],
    )
    if null:
        raise errors.InvalidTableDefinition(
            f'column "{null[0]["attname"]}" of the key may be NULL',
            hint=f"ALTER TABLE {table.shown} ALTER COLUMN {quote(null[0]['attname'])} SET NOT NULL, then try again.",
        )
    return found


def _context(db: Database, table: Table, context: str | None) -> tuple[str | None, str | None]:
    """The embedded column, and the expression of the text, that a context means."""
    if context is None:
        return None, None
    known = columns.table(db, str(table.oid))[1]
    if not any(context in (one.name, one.now) for one in known):
        _must_be_text(db, table, context)
        return None, context
    column = columns.chosen(table, known, context)
    column.one_vector("link()")
    asking.column_model(db, column, by_backend=True)
    return column.name, column.source


def _must_be_text(db: Database, table: Table, context: str) -> None:
    """A column of vectors that is no embedded one would be read as text: its numbers would be what rows are about."""
    found = db.execute(
        "SELECT a.attname AS name FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS y ON y.oid OPERATOR(pg_catalog.=) a.atttypid"
        " WHERE a.attrelid OPERATOR(pg_catalog.=) $1 AND NOT a.attisdropped"
        " AND $2 OPERATOR(pg_catalog.=) ANY (ARRAY[a.attname::pg_catalog.text, pg_catalog.quote_ident(a.attname)])"
        " AND y.typname OPERATOR(pg_catalog.=) ANY ('{vector,halfvec,sparsevec}'::pg_catalog.name[])",
        ["pg_catalog.oid", "pg_catalog.text"],
        [table.oid, context.strip()],
    )
    if found:
        raise errors.InvalidParameter(
            f'context "{found[0]["name"]}" of table "{table.name}" is a column of vectors, and no embedded column',
            hint="pgembed.adopt_embedding() makes it one, of the model that its vectors are of; or give an expression of text.",
        )


def _text(db: Database, table: Table, expression: str | None, what: str) -> str:
    if expression is None:
        return "NULL::pg_catalog.text"
    expressions.prove(db, table, expression, what)
    return f"({expression}\n)::pg_catalog.text"


def _texts(db: Database, table: Table, expression: str | None, what: str) -> str:
    """SQL of type text[] for an expression of one text or an array of them."""
    if expression is None:
        return "NULL::pg_catalog.text[]"
    try:
        db.prepare(f"SELECT FROM {table.sql} AS {table.alias} WHERE pg_catalog.array_ndims(({expression}\n)) IS NULL")
        many = True
    except errors.StatementRefused:
        many = False
    expressions.prove(db, table, expression, what, "pg_catalog.text[]" if many else "pg_catalog.text")
    if many:
        return f"({expression}\n)::pg_catalog.text[]"
    return f"CASE WHEN ({expression}\n) IS NOT NULL THEN ARRAY[({expression}\n)::pg_catalog.text] END"


def _no_target(name: str, table: Table, targets: Sequence[Table]) -> errors.PgembedError:
    return errors.UnknownObject(
        f'"{table.name}" is no target of linker "{name}"', hint=f"Its targets are {', '.join(one.shown for one in targets)}."
    )


def _list(names: tuple[str, ...]) -> list[str] | None:
    return list(names) or None


__all__ = ["Asked", "add_target", "alter", "create", "drop", "drop_target", "realign"]
