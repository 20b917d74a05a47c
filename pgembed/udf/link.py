"""Entity linking: bodies of ``sql/functions/link.sql``."""

from __future__ import annotations

from typing import Any

from pgembed import columns, errors, following, linking
from pgembed.columns import Table
from pgembed.udf import boundary, registry
from pgembed.udf.connection import DATABASE
from pgembed.udf.embeddings import column_model


@boundary
def create_linker(name: str | None, target: str | None, names: str | None, aliases: str | None, context: str | None) -> None:
    """Body of `pgembed.create_linker`."""
    if name is None or not name.strip():
        raise errors.NullNotAllowed("name is NULL or empty", hint="Give the linker a name.")
    if names is None:
        raise errors.NullNotAllowed("names is NULL", hint="names => 'title' says which column, or expression, names a row.")
    table, _ = columns.table(DATABASE, target)
    registry.must_own(table)
    if table.relkind not in "rpm":
        raise errors.WrongObjectType(f'"{table.name}" is not a table', hint="Declare a linker over the table behind it.")
    if _lines("name OPERATOR(pg_catalog.=) $1", ["pg_catalog.text"], [name]):
        raise errors.DuplicateObject(f'linker "{name}" exists already', hint=f"SELECT pgembed.drop_linker('{name}') drops it.")
    following.prove_source(DATABASE, table, names, "names")
    expression = f"ARRAY[({names}\n)::pg_catalog.text]"
    if aliases is not None:
        following.prove_source(DATABASE, table, aliases, "aliases", "pg_catalog.text[]")
        expression += f" OPERATOR(pg_catalog.||) pg_catalog.coalesce(({aliases}\n)::pg_catalog.text[], '{{}}')"
    if context is not None:
        column_model(columns.column(DATABASE, target, context))
    with following.as_owner(DATABASE, table):
        # SECURITY DEFINER: whoever links, the owner's expression is evaluated with the owner's rights, on rows the caller may see
        function = following.create_function(
            DATABASE,
            table,
            following.clip(f"{table.name}_{name}", "_names"),
            expression,
            "pg_catalog.text[]",
            definer=True,
        )
    registry.write_for(
        table,
        "INSERT INTO pgembed._linker (name, target, names, aliases, context_column, names_function)"
        " VALUES ($1, $2::oid::regclass, $3, $4, $5, $6)",
        ["text", "oid", "text", "text", "name", "text"],
        [name, table.oid, names, aliases, context, function],
    )


@boundary
def drop_linker(name: str | None) -> None:
    """Body of `pgembed.drop_linker`."""
    line = _linker(None, name)
    table, _ = columns.table(DATABASE, line["target"])
    with following.as_owner(DATABASE, table):
        DATABASE.execute(f"DROP FUNCTION IF EXISTS {line['names_function']}({table.sql})")
    registry.write_for(table, "DELETE FROM pgembed._linker WHERE name = $1", ["text"], [line["name"]])


@boundary
def find(target: str, content: str | None, linker: str | None) -> dict[str, Any]:
    """Body of `pgembed._find_links`; NULL or empty text has no mentions."""
    table, _ = columns.table(DATABASE, target)
    line = _linker(table, linker)
    places, dictionary = _dictionary(table, line)
    context = _Context(table, target, line["context_column"], places) if line["context_column"] else None
    found = linking.link(content or "", dictionary, context)
    return {
        "mentions": [link.mention for link in found],
        "starts": [link.start_char for link in found],
        "ends": [link.end_char for link in found],
        "tables": [None if link.row is None else places.tables[link.row] for link in found],
        "places": [None if link.row is None else places.places[link.row] for link in found],
        "scores": [link.score for link in found],
        "margins": [link.margin for link in found],
        "decisions": [link.decision for link in found],
        "statement": "",
    }


def _lines(where: str, types: list[str], values: list[object]) -> list[Any]:
    return DATABASE.execute(
        f"SELECT name, target, target::pg_catalog.oid AS target_oid, names_function, context_column FROM pgembed._linker WHERE {where}"
        " ORDER BY name",
        types,
        values,
    )


def _linker(table: Table | None, name: str | None) -> Any:
    raise NotImplementedError
