"""registered: linkers as the registry has them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pgembed import columns, errors
from pgembed.columns import RowFunction, Table, quote
from pgembed.linkers.contract import Line, Source, Target

if TYPE_CHECKING:
    from pgembed.database import Database, Row

_LINES = (
    "SELECT l.name, l.revision FROM pgembed._linker AS l WHERE EXISTS (SELECT FROM pgembed._linker_target AS t"
    " JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) t.target"
    " WHERE t.linker OPERATOR(pg_catalog.=) l.name AND {where}) ORDER BY l.name"
)


def exists(db: Database, name: str) -> bool:
    """Whether the name is taken, also by a linker whose tables are gone."""
    return bool(db.execute("SELECT FROM pgembed._linker WHERE name OPERATOR(pg_catalog.=) $1", ["pg_catalog.text"], [name]))


def of_name(db: Database, name: str | None) -> Row:
    """Name and revision of a linker.

    Raises:
        errors.NullNotAllowed: the name is NULL.
        errors.UnknownObject: there is none.
    """
    if name is None:
        raise errors.NullNotAllowed("the name of the linker is NULL", hint="SELECT name, targets FROM pgembed.linkers lists them.")
    found = db.execute(_LINES.format(where="l.name OPERATOR(pg_catalog.=) $1"), ["pg_catalog.text"], [name])
    if not found:
        raise errors.UnknownObject(f'linker "{name}" does not exist', hint="SELECT name, targets FROM pgembed.linkers lists them.")
    return found[0]


def of_table(db: Database, table: Table, name: str | None) -> str:
    """The linker that a call over a table means: of that name, else the only one of the table.

    Raises:
        errors.UnknownObject: there is none.
        errors.AmbiguousColumn: the table has several and none was named.
        errors.WrongObjectType: the linker is of other tables.
    """
    found = [row["name"] for row in db.execute(_LINES.format(where="c.oid OPERATOR(pg_catalog.=) $1"), ["pg_catalog.oid"], [table.oid])]
    if name is not None:
        of_name(db, name)
        if name not in found:
            targets = [target.shown for target in tables(db, name)]
            raise errors.WrongObjectType(
                f'linker "{name}" is of the table {", ".join(targets)}, not of {table.name}',
                hint=f"Write NULL::{targets[0]} as the first argument.",
            )
        return name
    if not found:
        raise errors.UnknownObject(
            f'table "{table.name}" has no linker',
            hint=f"SELECT pgembed.create_linker('a name', '{table.shown}', names => 'the column that names a row').",
        )
    if len(found) > 1:
        raise errors.AmbiguousColumn(
            f'table "{table.name}" has {len(found)} linkers: {", ".join(found)}', hint=f"Say which: linker => '{found[0]}'."
        )
    return str(found[0])


def tables(db: Database, name: str) -> list[Table]:
    """The targets of a linker, as far as they exist."""
    rows = db.execute(
        "SELECT t.target FROM pgembed._linker_target AS t JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) t.target"
        " WHERE t.linker OPERATOR(pg_catalog.=) $1 ORDER BY t.number",
        ["pg_catalog.text"],
        [name],
    )
    return [columns.table(db, row["target"])[0] for row in rows]


def read(db: Database, name: str | None) -> Line:
    """A linker with all that is declared of it.

    Raises:
        errors.NullNotAllowed, errors.UnknownObject: there is none of that name.
        errors.UnknownColumn: a column of its key is gone.
    """
    line = of_name(db, name)
    rows = db.execute(
        "SELECT t.* FROM pgembed._linker_target AS t JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) t.target"
        " WHERE t.linker OPERATOR(pg_catalog.=) $1 ORDER BY t.number",
        ["pg_catalog.text"],
        [name],
    )
    sources = db.execute(
        "SELECT s.* FROM pgembed._linker_source AS s JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) s.source"
        " WHERE s.linker OPERATOR(pg_catalog.=) $1 AND (s.other IS NULL"
        " OR EXISTS (SELECT FROM pg_catalog.pg_class AS o WHERE o.oid OPERATOR(pg_catalog.=) s.other)) ORDER BY s.number, s.place",
        ["pg_catalog.text"],
        [name],
    )
    targets = []
    for row in rows:
        table = columns.table(db, row["target"])[0]
        targets.append(
            Target(
                number=row["number"],
                table=replace(table, keys=key_types(db, table, row["key_columns"], gone=True)),
                read=RowFunction(row["read_function"], _names(row["read_columns"])),
                context=row["context"],
                context_column=row["context_column"],
                sources=tuple(_source(db, source) for source in sources if source["number"] == row["number"]),
            )
        )
    return Line(name=line["name"], revision=line["revision"], targets=tuple(targets))


def must_be_whole(db: Database, line: Line) -> None:
    """Raise where a linker knows a column that a table does not have any more.

    Raises:
        errors.NotReady: it does.
    """
    gone = db.execute(
        "SELECT r.name, c.relname FROM pgembed._linker_reads AS r"
        " JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) r.table_name"
        " WHERE r.linker OPERATOR(pg_catalog.=) $1 AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute AS a"
        " WHERE a.attrelid OPERATOR(pg_catalog.=) r.table_name AND a.attname OPERATOR(pg_catalog.=) r.name AND NOT a.attisdropped)"
        " ORDER BY 2, 1",
        ["pg_catalog.text"],
        [line.name],
    )
    if gone:
        raise errors.NotReady(
            f'linker "{line.name}" reads the column "{gone[0]["name"]}" of table "{gone[0]["relname"]}", which is gone',
            hint=f"SELECT pgembed.alter_linker('{line.name}', ...) says what it is to read instead.",
        )


def key_types(db: Database, table: Table, names: list[str], *, gone: bool = False) -> tuple[tuple[str, str], ...]:
    """Columns quoted, and their types, as `columns.Table.keys` has them.

    Args:
        gone: a column that is gone has the type text.
    Raises:
        errors.UnknownColumn: the table has no such column.
    """
    types = {
        row["attname"]: row["type"]
        for row in db.execute(
            # whatever the search_path is: a line is kept for the session
            "SELECT a.attname, CASE WHEN n.nspname OPERATOR(pg_catalog.=) 'pg_catalog'"
            " THEN pg_catalog.format_type(a.atttypid, a.atttypmod) ELSE pg_catalog.format('%I.%I', n.nspname, y.typname) END AS type"
            " FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS y ON y.oid OPERATOR(pg_catalog.=) a.atttypid"
            " JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) y.typnamespace"
            " WHERE a.attrelid OPERATOR(pg_catalog.=) $1 AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped ORDER BY a.attnum",
            ["pg_catalog.oid"],
            [table.oid],
        )
    }
    for name in names:
        if name not in types and not gone:
            raise errors.UnknownColumn(
                f'table "{table.name}" has no column "{name}"', hint=f"It has the columns {', '.join(types) or 'of none'}."
            )
    return tuple((quote(name), types.get(name, "text")) for name in names)


def _names(read: list[str] | None) -> tuple[str, ...] | None:
    return None if read is None else tuple(read)


def _source(db: Database, row: Row) -> Source:
    return Source(
        kind=row["kind"],
        table=columns.table(db, row["source"])[0],
        from_columns=tuple(row["from_columns"] or ()),
        target_columns=tuple(row["target_columns"] or ()),
        to_columns=tuple(row["to_columns"] or ()),
        other=None if row["other"] is None else columns.table(db, row["other"])[0],
        other_columns=tuple(row["other_columns"] or ()),
        value=row["value_column"],
        relation=row["relation_column"],
        label=row["label"],
        names=None if row["names_function"] is None else RowFunction(row["names_function"], _names(row["names_columns"])),
    )
