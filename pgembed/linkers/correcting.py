"""correcting: what people say of links, one at a time or by INSERT, and what of it still holds.

A correction is of a place and of the words that stand there: as long as the text has these words at these offsets it holds, whatever else
of the text has changed. One without a key says that the words mean no row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgembed import columns, errors, faults
from pgembed.linkers import layout as layouts
from pgembed.linkers import registered, tables
from pgembed.linkers.layout import Entity, Layout

if TYPE_CHECKING:
    from pgembed.database import Database, Row


def read_layout(db: Database, line: Row) -> Layout:
    """The tables that the registry has a line of."""
    declared = registered.read(db, line["linker"])
    return layouts.read(db, line, [(target.number, target.table) for target in declared.targets])


def correct(
    db: Database,
    into: str | None,
    source_key: str | None,
    start: int | None,
    end: int | None,
    entity_key: str | None,
    entity_table: str | None,
) -> str:
    """Say what a place means, instead of what was said of it before; the words that stand there.

    Args:
        into: the table of links, as regclass writes it.
        source_key: of the row that has the text.
        start, end: characters from 1, the end exclusive.
        entity_key: of the row that is meant; None: none is.
        entity_table: which target; None where the linker has only one.
    Raises:
        errors.NullNotAllowed, errors.InvalidParameter: there is no such place in the text.
        errors.NoDataFound: there is no such row.
        errors.UnknownObject: it is no table of links, or no target of the linker.
    """
    for value, what in ((source_key, "source_key"), (start, "start_char"), (end, "end_char")):
        if value is None:
            raise errors.NullNotAllowed(f"{what} is NULL", hint="A correction is of a place in a text: the row's key and two offsets.")
    assert source_key is not None
    assert start is not None
    assert end is not None
    layout = read_layout(db, tables.must_find(db, into))
    mention = _words(db, layout, source_key, start, end)
    source = layout.source
    listed = [*source.columns, "start_char", "end_char", "mention"]
    values = [*source.typed("$1"), "$2", "$3", "$4"]
    meant = None if entity_key is None else _entity(db, layout, entity_table)
    for entity in layout.entities:
        listed += entity.columns
        values += entity.keyed.typed("$5") if meant is entity and entity.keyed is not None else ["NULL"] * len(entity.columns)
    if meant is not None:
        _must_be_there(db, meant, str(entity_key))
    key = [*source.columns, "start_char", "end_char"]
    own = ", ".join(f"{name} = excluded.{name}" for name in [*listed, "corrected_by", "corrected_at"] if name not in key)
    db.execute(
        f"INSERT INTO {layout.corrections} ({', '.join(listed)}) SELECT {', '.join(values)}"
        f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {own}",
        ["pg_catalog.text", "pg_catalog.int4", "pg_catalog.int4", "pg_catalog.text", "pg_catalog.text"],
        [source_key, start, end, mention, entity_key],
    )
    return mention


def listed(db: Database, into: str | None) -> list[dict[str, Any]]:
    """All corrections of a table of links, and which of them are stale: their words do not stand there any more."""
    layout = read_layout(db, tables.must_find(db, into))
    table, key = entity_sql(layout, "c")
    return [
        dict(row)
        for row in db.execute(
            f"SELECT {layout.source.text('c')} AS source_key, c.start_char, c.end_char, c.mention, {table} AS entity_table,"
            f" {key} AS entity_key, ({layout.stands('c', 's')}) IS NOT TRUE AS is_stale, c.corrected_by::pg_catalog.text AS corrected_by,"
            f" c.corrected_at::pg_catalog.text AS corrected_at FROM {layout.corrections} AS c"
            f" LEFT JOIN {layout.source.table.sql} AS s ON {layout.source.is_row('c', 's')} ORDER BY c.corrected_at, 1, 2, 3"
        )
    ]


def entity_sql(layout: Layout, alias: str) -> tuple[str, str]:
    """SQL of the table and of the key as text of the row that is meant; NULL where none is."""
    known = [(entity, entity.keyed) for entity in layout.entities if entity.keyed is not None]
    tables_of = " ".join(
        f"WHEN {entity.known(alias)} THEN {columns.literal(keyed.table.sql)}::pg_catalog.regclass" for entity, keyed in known
    )
    keys = " ".join(f"WHEN {entity.known(alias)} THEN {keyed.text(alias)}" for entity, keyed in known)
    return f"(CASE {tables_of} END)", f"(CASE {keys} END)"


def _words(db: Database, layout: Layout, source_key: str, start: int, end: int) -> str:
    source = layout.source
    with faults.keys_of(source.table.name, source_key):
        rows = db.execute(
            f"SELECT {layout.content('s')} AS content FROM {source.table.sql} AS s WHERE {source.rows_of_keys('s', '$1')}",
            ["pg_catalog.text[]"],
            [[source_key]],
        )
    if not rows:
        raise errors.NoDataFound(f'{source.table.shown} has no row with the key "{source_key}"', hint=faults.KEYS)
    content = rows[0]["content"] or ""
    if not 1 <= start < end <= len(content) + 1:
        raise errors.InvalidParameter(
            f"there is no place from {start} to {end} in a text of {len(content)} characters",
            hint="Characters count from 1, the end is exclusive: substr(text, start_char, end_char - start_char) is the mention.",
        )
    return str(content[start - 1 : end - 1])


def _entity(db: Database, layout: Layout, table: str | None) -> Entity:
    known = {entity.keyed.table.oid: entity for entity in layout.entities if entity.keyed is not None}
    shown = ", ".join(entity.keyed.table.shown for entity in known.values() if entity.keyed is not None)
    if table is None:
        if len(known) > 1:
            raise errors.AmbiguousColumn(
                f"linker {layout.linker} links to {len(known)} tables: {shown}", hint="Say which: entity_table => '...'."
            )
        return next(iter(known.values()))
    found, _ = columns.table(db, table)
    if found.oid not in known:
        raise errors.UnknownObject(f'"{found.name}" is no target of the linker {layout.linker}', hint=f"It links to {shown}.")
    return known[found.oid]


def _must_be_there(db: Database, entity: Entity, key: str) -> None:
    assert entity.keyed is not None
    keyed = entity.keyed
    with faults.keys_of(keyed.table.name, key):
        rows = db.execute(
            f"SELECT FROM {keyed.table.sql} AS e WHERE {keyed.rows_of_keys('e', '$1')} LIMIT 1", ["pg_catalog.text[]"], [[key]]
        )
    if not rows:
        raise errors.NoDataFound(f'{keyed.table.shown} has no row with the key "{key}"', hint=faults.KEYS)
