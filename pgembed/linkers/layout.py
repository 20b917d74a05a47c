"""layout: the tables that links of a whole table are kept in, and how keys stand in them.

Beside the links (``article_link``) stand a line for each text (``article_link_text``: what it was when it was linked, and by what), what
people have said (``article_link_correction``), and a view of what holds (``article_link_entity``). Keys of both sides are columns of their
own types.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pgembed import columns, errors, naming, viewed
from pgembed.columns import Table, literal, quote, unquoted
from pgembed.linkers.keyed import IS, Keyed, keyed

if TYPE_CHECKING:
    from pgembed.database import Database, Row

IS_NOT = "OPERATOR(pg_catalog.<>)"
LIKE_WHAT = {"r": "table", "p": "table", "m": "materialized view", "v": "view", "f": "foreign table"}
# What stands in the tables beside keys.
OWN = (
    *("mention", "start_char", "end_char", "mention_type", "score", "margin", "decision", "linker_revision", "linked_at"),
    *("corrected_by", "corrected_at", "text_hash", "linker_hash", "links"),
)


@dataclass(frozen=True)
class Entity:
    """The columns that hold keys of one target.

    Attributes:
        number: of the target in its linker.
        keyed: the row that is meant; None where the linker has no such target any more.
        columns, runner_up: ours, quoted.
        row: what the view calls the row itself, quoted.
    """

    number: int
    keyed: Keyed | None
    columns: tuple[str, ...]
    runner_up: tuple[str, ...]
    row: str

    def known(self, alias: str) -> str:
        """SQL that is true where a row of this target is meant."""
        return f"({alias}.{self.columns[0]} IS NOT NULL)"


@dataclass(frozen=True)
class Layout:
    """Where the links of a table are.

    Attributes:
        linker: its name.
        source: the texts; columns of ours that hold their key.
        text: the column of the source that is linked, quoted.
        key: names of the columns of the source's key, where the caller has named them.
        entities: targets that the linker has, or once had.
        results, texts, corrections, view: in SQL.
        owner: of the results.
    """

    linker: str
    source: Keyed
    text: str
    key: tuple[str, ...] | None
    entities: tuple[Entity, ...]
    results: str
    texts: str
    corrections: str
    view: str
    owner: Table | None = None

    @property
    def present(self) -> tuple[Entity, ...]:
        """The entities whose target the linker has."""
        return tuple(entity for entity in self.entities if entity.keyed is not None)

    @property
    def shown(self) -> str:
        """The results in messages."""
        return self.results if self.owner is None else self.owner.shown

    def content(self, alias: str) -> str:
        """SQL of the text of a row of the source."""
        return f"{alias}.{self.text}::pg_catalog.text"

    def meant(self, alias: str) -> str:
        """SQL that is true where a row of some target is meant."""
        return f"({' OR '.join(entity.known(alias) for entity in self.entities)})"

    def stands(self, correction: str, row: str) -> str:
        """SQL that is true where the text still says what a correction is of."""
        length = f"{correction}.end_char OPERATOR(pg_catalog.-) {correction}.start_char"
        return f"pg_catalog.substr({self.content(row)}, {correction}.start_char, {length}) {IS} {correction}.mention"

    def stored(self) -> str:
        """The names of our columns, as the registry keeps them."""
        return json.dumps(
            {
                "source": [unquoted(name) for name in self.source.columns],
                "entities": [
                    {
                        "number": entity.number,
                        "columns": [unquoted(name) for name in entity.columns],
                        "runner_up": [unquoted(name) for name in entity.runner_up],
                        "row": unquoted(entity.row),
                    }
                    for entity in self.entities
                ],
            }
        )


def keyed_source(db: Database, target: str | None, key: Sequence[str] | None) -> Table:
    """The table or view of texts, with the key by which links refer to it.

    Args:
        key: names of columns; None: the primary key, or that of the table under a view.
    Raises:
        errors.WrongObjectType: it is no table or view.
        errors.UnknownColumn, errors.InvalidTableDefinition: it has no such key.
    """
    if target is not None and not target.isdigit():
        db.prepare(f"SELECT FROM {target} AS t WHERE false")  # its columns keep their names until the transaction ends
    table, _ = columns.table(db, target)
    if table.relkind not in LIKE_WHAT:
        raise errors.WrongObjectType(f'"{table.name}" is not a table or a view', hint="Texts are in a table, a view or a foreign table.")
    if key is None:
        table = viewed.with_key(db, table)
        if not table.keys:
            raise errors.InvalidTableDefinition(
                f'{LIKE_WHAT[table.relkind]} "{table.name}" has no primary key',
                hint="key => 'id' names columns whose values are different in all rows, with commas between.",
            )
        return table
    types = column_types(db, table)
    for name in key:
        if name not in types:
            raise errors.UnknownColumn(f'{LIKE_WHAT[table.relkind]} "{table.name}" has no column "{name}"', hint=_has(types))
    return replace(table, keys=tuple((quote(name), types[name]) for name in key))


def text_column(db: Database, table: Table, name: str | None) -> str:
    """The column of texts, quoted.

    Raises:
        errors.NullNotAllowed, errors.UnknownColumn: it is none.
    """
    if name is None:
        raise errors.NullNotAllowed("text_column is NULL", hint="Name the column whose texts are to be linked.")
    types = column_types(db, table)
    if name not in types:
        raise errors.UnknownColumn(f'{LIKE_WHAT[table.relkind]} "{table.name}" has no column "{name}"', hint=_has(types))
    return quote(name)


def column_types(db: Database, table: Table) -> dict[str, str]:
    """Names of columns and their types, in order."""
    rows = db.execute(
        "SELECT a.attname::pg_catalog.text AS name, pg_catalog.format_type(a.atttypid, a.atttypmod) AS type"
        " FROM pg_catalog.pg_attribute AS a WHERE a.attrelid OPERATOR(pg_catalog.=) $1 AND a.attnum OPERATOR(pg_catalog.>) 0"
        " AND NOT a.attisdropped ORDER BY a.attnum",
        ["pg_catalog.oid"],
        [table.oid],
    )
    return {row["name"]: row["type"] for row in rows}


def planned(
    db: Database, linker: str, targets: Iterable[tuple[int, Table]], source: Table, text: str, key: Sequence[str] | None, results: str
) -> Layout:
    """The layout of tables that are to be made.

    Args:
        targets: numbers and tables of the linker.
        results: what they are to be called, in SQL.
    """
    taken = set(OWN)
    ours = keyed(db, source, tuple(map(quote, source_names(source.name, [unquoted(name) for name, _ in source.keys], taken))))
    layout = Layout(linker, ours, text, None if key is None else tuple(key), (), results, *beside(results))
    return with_targets(db, layout, targets)


def with_targets(db: Database, layout: Layout, targets: Iterable[tuple[int, Table]]) -> Layout:
    """The layout with the targets that the linker has now; those that are new come last."""
    there = dict(targets)
    taken = {*OWN, *map(unquoted, layout.source.columns)}
    taken |= {unquoted(name) for entity in layout.entities for name in (*entity.columns, *entity.runner_up, entity.row)}
    made = [
        replace(entity, keyed=keyed(db, there[entity.number], entity.columns) if entity.number in there else None)
        for entity in layout.entities
    ]
    for number in sorted({*there} - {entity.number for entity in layout.entities}):
        table = there[number]
        mine, beside_it, row = entity_names(table.name, [unquoted(name) for name, _ in table.keys], taken)
        ours = tuple(map(quote, mine))
        made.append(Entity(number, keyed(db, table, ours), ours, tuple(map(quote, beside_it)), quote(row)))
    return replace(layout, entities=tuple(made))


def read(db: Database, line: Row, targets: Iterable[tuple[int, Table]]) -> Layout:
    """The layout of tables that are there, as the registry has it.

    Args:
        line: of `pgembed._link_table`.
        targets: numbers and tables of the linker.
    """
    owner, _ = columns.table(db, line["destination"])
    key = None if line["key_columns"] is None else tuple(line["key_columns"])
    source = keyed_source(db, line["source"], key)
    stored: dict[str, Any] = json.loads(line["layout"])
    entities = tuple(
        Entity(one["number"], None, tuple(map(quote, one["columns"])), tuple(map(quote, one["runner_up"])), quote(one["row"]))
        for one in stored["entities"]
    )
    layout = Layout(
        linker=line["linker"],
        source=keyed(db, source, tuple(map(quote, stored["source"]))),
        text=quote(line["text_column"]),
        key=key,
        entities=entities,
        results=owner.sql,
        texts=line["texts_name"],
        corrections=line["corrections_name"],
        view=line["view_name"] or beside(owner.sql)[2],
        owner=owner,
    )
    return with_targets(db, layout, targets)


def beside(results: str) -> tuple[str, str, str]:
    """What the tables of texts and of corrections and the view are called, in SQL."""
    schema, name = results.split('"."', 1)
    stem = unquoted(f'"{name}')
    texts, corrections, view = (f'{schema}".{quote(naming.clip(stem, suffix))}' for suffix in ("_text", "_correction", "_entity"))
    return texts, corrections, view


def source_names(table: str, keys: Sequence[str], taken: set[str]) -> list[str]:
    """What the columns are called that hold the key of a text: ``article_id`` for the column ``id`` of ``article``.

    Args:
        table, keys: names, not quoted.
        taken: names that are there, at first `OWN`; those that are given are added.
    """
    return _named(table, keys, "source", taken)


def entity_names(table: str, keys: Sequence[str], taken: set[str]) -> tuple[list[str], list[str], str]:
    """What the columns are called that hold the key of the row that is meant and of the runner-up, and the row itself in the view.

    Args as of `source_names`.
    """
    mine = _named(table, keys, "entity", taken)
    beside_it = [_free(naming.clip("runner_up_", name), taken) for name in mine]
    return mine, beside_it, _free(table, taken)


def _named(table: str, names: Sequence[str], side: str, taken: set[str]) -> list[str]:
    """Columns for a key: ``article_id`` for the column ``id``, or ``article_id``, of ``article``."""
    made = []
    for name in names:
        full = name if name.startswith(f"{table}_") else naming.clip(table, f"_{name}")
        made.append(_free(full if full not in taken else naming.clip(side, f"_{full}"), taken))
    return made


def _free(name: str, taken: set[str]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = naming.clip(name, str(number))
    taken.add(free)
    return free


def _has(types: dict[str, str]) -> str:
    return f"It has the columns {', '.join(types)}." if types else "It has no columns."


def view_statement(layout: Layout, readable: frozenset[int], *, invoker: bool) -> str:
    """The view of what holds: links, but where somebody has said otherwise; and the rows that are meant.

    Args:
        readable: targets whose rows the view may show.
        invoker: whether its reader's rights count, which PostgreSQL knows since 15.
    """
    source = layout.source
    keys = [name for entity in layout.entities for name in entity.columns]
    beside_it = [name for entity in layout.entities for name in entity.runner_up]
    plain = ["mention", "start_char", "end_char", "mention_type", "score", "margin", "decision", "linker_revision", "linked_at"]
    corrected = f"{layout.corrections} AS c JOIN {source.table.sql} AS s ON {source.is_row('c', 's')} AND {layout.stands('c', 's')}"
    same = f"c.start_char {IS} r.start_char AND c.end_char {IS} r.end_char"
    overlap = "c.start_char OPERATOR(pg_catalog.<) r.end_char AND r.start_char OPERATOR(pg_catalog.<) c.end_char"
    links = (
        f"SELECT {source.list('r')}, {', '.join(f'r.{name}' for name in [*plain, *keys, *beside_it])},"
        " NULL::pg_catalog.name AS corrected_by, NULL::pg_catalog.timestamptz AS corrected_at"
        f" FROM {layout.results} AS r WHERE NOT EXISTS (SELECT FROM {corrected}"
        f" WHERE {source.same('c', 'r')} AND ({same} OR {layout.meant('c')} AND {overlap}))"
    )
    kind = f"(SELECT r.mention_type FROM {layout.results} AS r WHERE {source.same('r', 'c')} AND {same})"
    nothing = ", ".join("NULL" for _ in beside_it)
    said = (
        f"SELECT {source.list('c')}, c.mention, c.start_char, c.end_char, {kind}, NULL::pg_catalog.float8, NULL::pg_catalog.float8,"
        f" CASE WHEN {layout.meant('c')} THEN 'link' ELSE 'nil' END, NULL::pg_catalog.int4, NULL::pg_catalog.timestamptz,"
        f" {', '.join(f'c.{name}' for name in keys)}, {nothing}, c.corrected_by, c.corrected_at FROM {corrected}"
    )
    listed = [*source.columns, *plain, "corrected_by", "corrected_at"]
    shown = [f"l.{name}" for name in listed]
    joins = ""
    for entity in layout.entities:
        shown += [f"l.{name}" for name in (*entity.columns, *entity.runner_up)]
        if entity.keyed is not None and entity.number in readable:
            alias = f"e{entity.number}"
            shown.append(f"{alias} AS {entity.row}")
            joins += f" LEFT JOIN {entity.keyed.table.sql} AS {alias} ON {entity.keyed.is_row('l', alias)}"
    option = " WITH (security_invoker = true)" if invoker else ""
    return f"VIEW {layout.view}{option} AS SELECT {', '.join(shown)} FROM ({links} UNION ALL {said}) AS l{joins}"


def comments(layout: Layout, target_names: str) -> list[str]:
    """COMMENT statements of the tables and of the view."""
    source = layout.source.table.shown
    told = {
        f"TABLE {layout.results}": f"links of {source}.{unquoted(layout.text)} by the linker {layout.linker} to {target_names}:"
        f" CALL pgembed.link_table() keeps them, {layout.view} shows what holds",
        f"TABLE {layout.texts}": f"of which texts of {source} the links in {layout.results} are, kept by pgembed.link_table()",
        f"TABLE {layout.corrections}": f"what people say of links in {layout.results}: no key says that nothing is meant; never changed by"
        " pgembed.link_table(), read by pgembed.train_linker()",
        f"VIEW {layout.view}": f"links in {layout.results} as they hold, corrections first, with the rows that are meant",
        f"COLUMN {layout.results}.start_char": "characters from 1; substr(text, start_char, end_char - start_char) is the mention",
        f"COLUMN {layout.results}.end_char": "exclusive",
        f"COLUMN {layout.results}.score": "the probability that the mention means its best candidate",
        f"COLUMN {layout.results}.margin": "what the runner-up's probability falls short of it",
        f"COLUMN {layout.results}.decision": "link, review, or nil: it means no row",
        f"COLUMN {layout.texts}.text_hash": "of the text that was linked; empty for one without words",
        f"COLUMN {layout.texts}.linker_hash": "of the linker, its revision and the options of the call",
    }
    return [f"COMMENT ON {what} IS {literal(comment)}" for what, comment in told.items()]
