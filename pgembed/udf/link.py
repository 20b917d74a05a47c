"""Entity linking: bodies of ``sql/functions/link.sql``."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from pgembed import asking, catalogue, columns, errors, expressions, following, linking, naming, rows, vectors
from pgembed.changing import pinning
from pgembed.columns import RowFunction, Table
from pgembed.database import Row
from pgembed.udf import boundary, registry
from pgembed.udf.connection import DATABASE

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# Compiled dictionaries of this session, by a hash of all names: what the caller may see of the table is part of the key.
DICTIONARIES = 4
_dictionaries: OrderedDict[bytes, linking.Dictionary] = OrderedDict()


@boundary
def create_linker(name: str | None, target: str | None, names: str | None, aliases: str | None, context: str | None) -> None:
    """Body of `pgembed.create_linker`."""
    if name is None or not name.strip():
        raise errors.NullNotAllowed("name is NULL or empty", hint="Give the linker a name.")
    if names is None:
        raise errors.NullNotAllowed("names is NULL", hint="names => 'title' says which column, or expression, names a row.")
    table, _ = columns.table(DATABASE, target)
    table.must_own()
    if table.relkind not in "rpm":
        raise errors.WrongObjectType(f'"{table.name}" is not a table', hint="Declare a linker over the table behind it.")
    if _lines("l.name OPERATOR(pg_catalog.=) $1", ["pg_catalog.text"], [name]):
        raise errors.DuplicateObject(f'linker "{name}" exists already', hint=f"SELECT pgembed.drop_linker('{name}') drops it.")
    expressions.prove(DATABASE, table, names, "names")
    expression = f"ARRAY[({names}\n)::pg_catalog.text]"
    if aliases is not None:
        expressions.prove(DATABASE, table, aliases, "aliases", "pg_catalog.text[]")
        expression += f" OPERATOR(pg_catalog.||) coalesce(({aliases}\n)::pg_catalog.text[], '{{}}')"
    if context is not None:
        column = columns.column(DATABASE, target, context)
        column.one_vector("link()")
        asking.column_model(DATABASE, column, by_backend=True)
    with following.as_owner(DATABASE, table):
        # SECURITY DEFINER: whoever links, the owner's expression is evaluated with the owner's rights, on rows the caller may see
        function = expressions.create(
            DATABASE, table, naming.clip(table.name, f"_{name}_names"), expression, "pg_catalog.text[]", definer=True
        )
    registry.write_for(
        table,
        "INSERT INTO pgembed._linker (name, target, names, aliases, context_column, names_function, names_columns)"
        " VALUES ($1, $2::oid::regclass, $3, $4, $5, $6, $7)",
        ["text", "oid", "text", "text", "name", "text", "name[]"],
        [name, table.oid, names, aliases, context, function.name, None if function.columns is None else list(function.columns)],
    )


@boundary
def drop_linker(name: str | None) -> None:
    """Body of `pgembed.drop_linker`."""
    line = _linker(None, name)
    table, _ = columns.table(DATABASE, line["target"])
    with following.as_owner(DATABASE, table):
        expressions.drop(DATABASE, _names_function(line))
    registry.write_for(table, "DELETE FROM pgembed._linker WHERE name = $1", ["text"], [line["name"]])


@boundary
def find(target: str, content: str | None, linker: str | None) -> dict[str, Any]:
    """Body of `pgembed._find_links`; NULL or empty text has no mentions."""
    pinning.pin(DATABASE, target)
    table, _ = columns.table(DATABASE, target)
    line = _linker(table, linker)
    places, dictionary = _dictionary(table, line)
    context = _Context(target, line["context_column"], places) if line["context_column"] else None
    found = linking.link(content or "", dictionary, context, check=DATABASE.check_interrupts)
    return {
        "mentions": [link.mention for link in found],
        "starts": [link.start_char for link in found],
        "ends": [link.end_char for link in found],
        "tables": [None if link.row is None else places.tables[link.row] for link in found],
        "places": [None if link.row is None else places.places[link.row] for link in found],
        "scores": [link.score for link in found],
        "margins": [link.margin for link in found],
        "decisions": [link.decision for link in found],
        "statement": (
            f"SELECT m.mention, m.start_char, m.end_char, CASE WHEN m.place IS NOT NULL THEN (e.*)::{table.sql} END,"
            " m.score, m.margin, m.decision"
            " FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4),"
            " pg_catalog.unnest($5::pg_catalog.tid[]), pg_catalog.unnest($6), pg_catalog.unnest($7), pg_catalog.unnest($8))"
            " AS m (mention, start_char, end_char, table_oid, place, score, margin, decision)"
            f" LEFT JOIN {table.sql} AS e ON e.ctid OPERATOR(pg_catalog.=) m.place AND e.tableoid OPERATOR(pg_catalog.=) m.table_oid"
            " ORDER BY m.start_char, m.end_char"
        ),
    }


class _Context:
    """`linking.Context` over an embedded column: vectors are fetched for candidates only."""

    def __init__(self, target: str, column_name: str, places: rows.Places) -> None:
        self.column = columns.column(DATABASE, target, column_name)
        self.way = asking.way(DATABASE, self.column)
        catalogue.resolve(DATABASE, self.way.model, self.way.fingerprint, by_backend=True)
        self.dim = self.column.dim or catalogue.describe(DATABASE, self.column.model, self.column.fingerprint).dim
        self.places = places

    def embed(self, texts: list[str]) -> npt.NDArray[np.float32]:
        """Embeddings of texts, float32 (n, dim)."""
        return asking.encode(DATABASE, self.way, texts).vectors

    def vectors(self, positions: list[int]) -> npt.NDArray[np.float32]:
        """Embeddings of rows, float32 (n, dim); zeros for a row that has none yet."""
        import numpy as np

        made = np.zeros((len(positions), self.dim), dtype=np.float32)
        for place, sent in enumerate(rows.read_vectors_at(DATABASE, self.column, self.places, positions)):
            if sent is not None:
                made[place] = vectors.from_send(sent)
        return made

    def nearest(self, queries: npt.NDArray[np.float32], k: int) -> list[list[int]]:
        """For each vector the k rows nearest to it, as PostgreSQL finds them: by index where it likes."""
        at = {place: position for position, place in enumerate(zip(self.places.tables, self.places.places, strict=True))}
        found = rows.nearest(DATABASE, self.column, vectors.to_images(queries), k)
        return [[at[place] for place in places if place in at] for places in found]


def _dictionary(table: Table, line: Row) -> tuple[rows.Places, linking.Dictionary]:
    places, names = rows.read_names(DATABASE, table, _names_function(line).call(table.alias))
    digest = hashlib.sha256(repr(names).encode()).digest()
    if digest not in _dictionaries:
        if len(_dictionaries) >= DICTIONARIES:
            _dictionaries.popitem(last=False)
        _dictionaries[digest] = linking.compile(
            names=[(row, given[0]) for row, given in enumerate(names) if given and given[0]],
            aliases=[(row, alias) for row, given in enumerate(names) for alias in given[1:] if alias],
        )
    _dictionaries.move_to_end(digest)
    return places, _dictionaries[digest]


def _names_function(line: Row) -> RowFunction:
    read = line["names_columns"]
    return RowFunction(line["names_function"], None if read is None else tuple(read))


def _lines(where: str, types: list[str], values: list[object]) -> list[Row]:
    return DATABASE.execute(
        "SELECT l.name, l.target, l.names_function, l.names_columns, l.context_column FROM pgembed._linker AS l"
        f" JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) l.target WHERE {where} ORDER BY l.name",
        types,
        values,
    )


def _linker(table: Table | None, name: str | None) -> Row:
    """The linker that a call means: of that name, else the only one of the table.

    Raises:
        errors.UnknownObject: there is none.
        errors.AmbiguousColumn: the table has several and none was named.
        errors.WrongObjectType: the linker is of another table.
    """
    if name is not None:
        found = _lines("l.name OPERATOR(pg_catalog.=) $1", ["pg_catalog.text"], [name])
        if not found:
            raise errors.UnknownObject(f'linker "{name}" does not exist', hint="SELECT name, target FROM pgembed.linkers lists them.")
        if table is not None and columns.table(DATABASE, found[0]["target"])[0].oid != table.oid:
            raise errors.WrongObjectType(
                f'linker "{name}" is of the table {found[0]["target"]}, not of {table.name}',
                hint=f"Write NULL::{found[0]['target']} as the first argument.",
            )
        return found[0]
    if table is None:
        raise errors.NullNotAllowed("name is NULL", hint="SELECT name, target FROM pgembed.linkers lists the linkers.")
    found = _lines("l.target OPERATOR(pg_catalog.=) $1::pg_catalog.oid", ["pg_catalog.oid"], [table.oid])
    if not found:
        raise errors.UnknownObject(
            f'table "{table.name}" has no linker',
            hint=f"SELECT pgembed.create_linker('a name', '{table.shown}', names => 'the column that names a row').",
        )
    if len(found) > 1:
        names = ", ".join(line["name"] for line in found)
        raise errors.AmbiguousColumn(
            f'table "{table.name}" has {len(found)} linkers: {names}', hint=f"Say which: linker => '{found[0]['name']}'."
        )
    return found[0]
