"""sides: what of a table or view a join compares, as SQL over the alias l or r.

A side is an embedded column, a column whose text is embedded on the fly, or the attributes of a record. Tables and materialized views give
a row back by its ctid. Views and foreign tables have none that lasts: there the row itself, as text, is the place, and is cast back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from pgembed import columns, errors, viewed
from pgembed.changing import pinning
from pgembed.codes import catalogue as code_room
from pgembed.columns import Chunks, Column, Table, quote
from pgembed.database import Database
from pgembed.joining.options import Options
from pgembed.joining.sources import Source, table_place

# What a row of the result is made of: both rows, or their keys alone.
Form: TypeAlias = Literal["rows", "keys"]
Kind: TypeAlias = Literal["text", "number", "date", "boolean", "enum", "array"]

_NUMBERS = ("int2", "int4", "int8", "numeric", "float4", "float8")
_DATES = ("date", "timestamp", "timestamptz")
_WORDS = {"r": "table", "p": "table", "m": "materialized view", "v": "view", "f": "foreign table"}


@dataclass(frozen=True)
class Attribute:
    """One of several columns that are compared one by one.

    Attributes:
        name: as the caller calls it, on the left.
        sql: of type text, for people and for comparing words.
        kind: of the column here.
    """

    name: str
    sql: str
    kind: Kind

    def value(self, kind: Kind) -> str:
        """SQL of type text of the value as `pgembed.joining.records` reads it.

        Args:
            kind: that both sides have in common.
        """
        column = self.sql.removesuffix("::pg_catalog.text")
        if kind == "date":
            return f"pg_catalog.date_part('epoch', {column}::pg_catalog.timestamp)::pg_catalog.text"
        return f"pg_catalog.array_to_json({column})::pg_catalog.text" if kind == "array" else self.sql


@dataclass(frozen=True)
class Side:
    """One side of a join.

    Attributes:
        which: left or right.
        label: what is compared, in messages.
        source: the same as SQL; without a condition as yet.
        embedded: the column where vectors are stored; None where they are made.
        key: SQL of a row's key as text, as `pgembed.search_keys` writes it; None where there is none.
        words: SQL of the text that is compared word by word and shown in a review; None where nobody knows one.
        attributes: in the order in which the caller names them.
        hubness: SQL of type float8 of how much of a hub a row is; None where no column was named.
    """

    which: str
    table: Table
    label: str
    source: Source
    embedded: Column | None
    key: str | None
    words: str | None
    attributes: tuple[Attribute, ...] = ()
    hubness: str | None = None

    @property
    def word(self) -> str:
        """What the relation is, in messages."""
        return _WORDS.get(self.table.relkind, "table")

    @property
    def lines(self) -> float:
        """How many chunks there are, as PostgreSQL last counted them; negative where rows have none, or nobody has counted."""
        chunks = None if self.embedded is None or self.source.chunks is None else self.embedded.chunks
        return -1.0 if chunks is None else chunks.lines

    @property
    def by_ctid(self) -> bool:
        """Whether a row's place is a table and a ctid, not the row as text."""
        return self.table.relkind in "rpm"

    def no_key(self) -> errors.PgembedError:
        """The error where a key is needed and there is none."""
        if self.by_ctid:
            return self.table.no_key()
        return errors.InvalidTableDefinition(
            f'{self.word} "{self.table.name}" shows no primary key',
            hint="A view over one table that shows its primary key has keys; pgembed.semantic_join() gives rows and needs none.",
        )


def look(db: Database, target: str | None, which: str, options: Options, form: Form) -> Side:
    """What a side means.

    Args:
        target: table or view, as regclass writes it.
        which: left or right.
    Raises:
        errors.NullNotAllowed, errors.WrongObjectType: it is no table or view.
        errors.UnknownColumn, errors.UnknownObject, errors.AmbiguousColumn: nothing there is meant by the column's name.
        errors.InvalidTableDefinition: keys are asked for, and it has none.
        errors.InsufficientPrivilege: the caller may not read what is needed.
    """
    if target is None:
        raise errors.NullNotAllowed(f"{which} is NULL", hint="Name a table: 'product' or 'schema.product'.")
    alias = which[0]
    name = options.left_column if which == "left" else options.right_column
    pinning.pin(db, target)
    table, known = columns.table(db, target)
    if table.relkind not in _WORDS:
        raise errors.WrongObjectType(f'"{table.name}" is not a table or a view', hint="Join a table, a view or a materialized view.")
    column = _embedded(db, table, known, name, bool(options.attributes))
    # what of a stored vector alone is compared asks for no other column
    numbered = options.hubness if which == "right" else None
    kinds = types(db, table) if column is None or options.attributes or numbered or _reads(column) else {}
    hubness = None if numbered is None else _number(table, kinds, numbered, alias)
    attributes = tuple(_attribute(table, kinds, names[0], names[which == "right"], alias) for names in options.attributes)
    table = column.table if column is not None else viewed.with_key(db, table)
    key = table.key_text(alias) if table.keys else None
    words = _joined([one.sql for one in attributes]) if attributes else None
    chunks = None
    if column is not None and column.chunks is not None:
        label, vector, text, chunks = column.label, None, None, _of_chunks(column, column.chunks, alias)
        words = words or _source_words(column, kinds, alias)
    elif column is not None:
        label, vector, text = column.label, f"{alias}.{column.sql}{column.to_vector}", None
        words = words or _source_words(column, kinds, alias)
    elif name is not None:
        _must_be_text(db, table, known, kinds, name, which)
        label, vector, text = f"{table.name}.{name}", None, f"{alias}.{quote(name)}::pg_catalog.text"
        words = words or text
    else:
        label, vector, text = f"{table.name} ({', '.join(one.name for one in attributes)})", None, words
    place = key or "" if form == "keys" else bare(table, which).place
    # rows are looked up by a table's own column alone
    indexed = column if column is not None and column.home is None and chunks is None else None
    source = Source(table.sql, alias, place, vector, text, column=indexed, rows=-1.0 if column is None else column.rows, chunks=chunks)
    side = Side(which, table, label, source, column, key, words, attributes, hubness)
    if form == "keys" and key is None:
        raise side.no_key()
    return side


def check_rights(db: Database, side: Side, form: Form, options: Options) -> None:
    """PostgreSQL checks the caller's rights itself; asked before, there is a word on what is needed.

    Raises:
        errors.InsufficientPrivilege: the caller may not read whole rows, where these are asked for.
    """
    if form == "keys":
        return
    found = db.execute("SELECT pg_catalog.has_table_privilege($1, 'SELECT') AS readable", ["pg_catalog.oid"], [side.table.oid])
    if not found[0]["readable"]:
        raise errors.InsufficientPrivilege(
            f"permission denied for {side.word} {side.table.name}",
            hint=f"Rows need SELECT on {side.table.shown}; pgembed.semantic_join_keys() only on its key and on what is compared.",
        )


def bare(table: Table, which: str) -> Source:
    """The rows of a table without anything that is compared."""
    alias = which[0]
    place = table_place(alias) if table.relkind in "rpm" else f"({alias}.*)::pg_catalog.text"
    return Source(table.sql, alias, place)


def filtered(side: Side, where: str, group: str | None, types: Sequence[str], values: Sequence[object]) -> Side:
    """The side with what of the condition speaks of it alone."""
    return replace(side, source=replace(side.source, where=where, group=group, types=tuple(types), values=tuple(values)))


def _number(table: Table, kinds: dict[str, tuple[str, str]], name: str, alias: str) -> str:
    """SQL of the numbers that `pgembed.hubness` has made."""
    if name not in kinds or kinds[name][0] not in _NUMBERS:
        raise errors.UnknownColumn(
            f'column "{name}" of {_WORDS[table.relkind]} "{table.name}" {"is of no number" if name in kinds else "does not exist"}',
            hint=f"hubness is a column of the right table: ALTER TABLE {table.shown} ADD COLUMN hub float8, and fill it from"
            f" pgembed.hubness('{table.shown}').",
        )
    return f"{alias}.{quote(name)}::pg_catalog.float8"


def _embedded(db: Database, table: Table, known: Sequence[Column], name: str | None, has_attributes: bool) -> Column | None:
    """The embedded column that is meant; None where a text is."""
    if table.relkind == "v" and not known:
        try:
            return viewed.column(db, str(table.oid), name, keyed=False)
        except (errors.WrongObjectType, errors.UnknownObject, errors.UnknownColumn, errors.NotSupported):
            if name is None and not has_attributes:
                raise
            return None
    if name is None:
        # beside a column whose model is being changed stands another, which is meant only where it is named
        return None if has_attributes and not known else columns.chosen(table, known, None)
    if any(name in (one.name, one.now) for one in known):
        return columns.chosen(table, known, name)
    return None


def types(db: Database, table: Table) -> dict[str, tuple[str, str]]:
    """Name of a column -> name of its type, and the category that PostgreSQL puts that into."""
    found = db.execute(
        "SELECT a.attname::pg_catalog.text AS name, t.typname::pg_catalog.text AS type, t.typcategory::pg_catalog.text AS category"
        " FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS t ON t.oid OPERATOR(pg_catalog.=) a.atttypid"
        " WHERE a.attrelid OPERATOR(pg_catalog.=) $1 AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped",
        ["pg_catalog.oid"],
        [table.oid],
    )
    return {row["name"]: (row["type"], row["category"]) for row in found}


def _attribute(table: Table, kinds: dict[str, tuple[str, str]], name: str, here: str, alias: str) -> Attribute:
    if here not in kinds:
        raise errors.UnknownColumn(
            f'column "{here}" of {_WORDS[table.relkind]} "{table.name}" does not exist',
            hint='attributes are columns of both sides; where they differ in name: \'{"name on the left": "name on the right"}\'.',
        )
    return Attribute(name, f"{alias}.{quote(here)}::pg_catalog.text", _kind(*kinds[here]))


def _kind(name: str, category: str) -> Kind:
    """The kind of a type, by its name and the category that PostgreSQL puts it into."""
    if name in _NUMBERS or name in _DATES:
        return "number" if name in _NUMBERS else "date"
    return "boolean" if category == "B" else "enum" if category == "E" else "array" if category == "A" else "text"


def _joined(texts: Sequence[str]) -> str:
    return f"pg_catalog.concat_ws(' ', {', '.join(texts)})"


def _reads(column: Column) -> tuple[str, ...]:
    """The columns that the source of an embedded column reads, where it is known to read some alone."""
    function = column.source_function
    return () if function is None or function.columns is None or column.home is not None else function.columns


def _source_words(column: Column, kinds: dict[str, tuple[str, str]], alias: str) -> str | None:
    """The same as one text; the source itself is its owner's, and the caller evaluates nothing of it."""
    read = [name for name in _reads(column) if name in kinds]
    return _joined([f"{alias}.{quote(name)}::pg_catalog.text" for name in read]) if read else None


def _must_be_text(db: Database, table: Table, known: Sequence[Column], kinds: dict[str, tuple[str, str]], name: str, which: str) -> None:
    word = _WORDS[table.relkind]
    if name not in kinds:
        raise errors.UnknownColumn(
            f'column "{name}" of {word} "{table.name}" does not exist',
            hint=f"{which}_column is a column of text, or an embedded one: {', '.join(one.name for one in known) or 'there is none'}.",
        )
    if any(code.name == name for code in code_room.codes(db, table)):
        raise errors.WrongObjectType(
            f'column "{name}" of table "{table.name}" holds codes, which are neither texts nor vectors',
            hint=f"Name the embedded column that they are of: {', '.join(one.name for one in known)}.",
        )
    if kinds[name][0] in columns.VECTOR_TYPES:
        adopt = f"SELECT pgembed.adopt_embedding('{table.shown}', '{name}', 'the model that made it')."
        raise errors.UnknownObject(
            f'column "{name}" of {word} "{table.name}" holds vectors of an unknown model',
            hint=adopt if table.relkind in "rpm" else "Join the table that has them, or a view that shows its embedded column as it is.",
        )


def _of_chunks(column: Column, chunks: Chunks, alias: str) -> str:
    """SQL of the vectors of a row's chunks, one behind the other; NULL where it has none."""
    lines = f"{alias}_chunk"
    sent = f"{column.vector_schema}.vector_send({lines}.{column.sql}{column.to_vector})"
    of_row = chunks.of_row(lines, alias, [name for name, _ in column.table.keys])
    return f"(SELECT pg_catalog.string_agg({sent}, ''::pg_catalog.bytea) FROM {chunks.sql} AS {lines} WHERE {of_row})"
