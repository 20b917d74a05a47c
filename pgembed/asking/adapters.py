"""adapters: the registry of maps that queries of a column go through."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from pgembed import columns, errors
from pgembed.asking import mapping
from pgembed.asking.mapping import Map
from pgembed.columns import Column, Writer
from pgembed.database import Database

# Of this session: 0.6 MB each at 384 dimensions, 4 MB at 1024.
_MOST_MAPS = 8
_maps: OrderedDict[str, Map] = OrderedDict()


@dataclass(frozen=True)
class Adapter:
    """A map that is in force, without its numbers.

    Attributes:
        digest: names the numbers; see `pgembed.asking.mapping.Map.digest`.
        kind: ``compensation`` or ``low_rank``.
        model, fingerprint: that queries are embedded with before they are mapped.
    """

    digest: str
    kind: str
    model: str
    fingerprint: str


def of(db: Database, column: Column) -> Adapter | None:
    """The adapter of a column; None where it has none, or one for vectors that the column does not hold any more.

    Args:
        column: of a table, or of a view over one.
    """
    home = column.home or column
    if home.fingerprint is None:
        return None
    found = db.execute(
        "SELECT a.adapter, a.kind, a.model, a.fingerprint FROM pgembed._adapter AS a WHERE a.table_name OPERATOR(pg_catalog.=) $1"
        " AND a.column_name OPERATOR(pg_catalog.=) $2 AND a.column_fingerprint OPERATOR(pg_catalog.=) $3",
        ["pg_catalog.oid", "pg_catalog.name", "pg_catalog.text"],
        [home.table.oid, home.name, home.fingerprint],
    )
    return Adapter(found[0]["adapter"], found[0]["kind"], found[0]["model"], found[0]["fingerprint"]) if found else None


def load(db: Database, digest: str) -> Map:
    """The numbers of an adapter, from the session's cache or from the registry.

    Raises:
        errors.UnknownObject: it was dropped a moment ago.
        errors.DimensionMismatch: what is stored makes no map.
    """
    if digest not in _maps:
        found = db.execute(
            "SELECT a.matrix, a.bias, a.right_matrix, a.query_dim, a.rank, a.normalized FROM pgembed._adapter AS a"
            " WHERE a.adapter OPERATOR(pg_catalog.=) $1 LIMIT 1",
            ["pg_catalog.text"],
            [digest],
        )
        if not found:
            raise errors.UnknownObject("the column's adapter was dropped while it was used", hint="Run the statement again.")
        row = found[0]
        made = mapping.from_parts(
            row["matrix"], row["bias"], row["right_matrix"], row["query_dim"], row["rank"], normalized=row["normalized"]
        )
        while len(_maps) >= _MOST_MAPS:
            _maps.popitem(last=False)
        _maps[digest] = made
    _maps.move_to_end(digest)
    return _maps[digest]


def must_be_free(db: Database, column: Column) -> None:
    """Raise where a column has an adapter already.

    Raises:
        errors.DuplicateObject: it has.
    """
    known = of(db, column)
    if known is not None:
        raise errors.DuplicateObject(
            f"queries of {column.label} go through an adapter already, of kind {known.kind} and model {known.model}",
            hint=f"SELECT pgembed.drop_adapter('{column.table.shown}', '{column.name}') takes it back first.",
        )


def save(
    db: Database,
    write: Writer,
    column: Column,
    made: Map,
    kind: str,
    method: str,
    model: tuple[str, str],
    measured: Mapping[str, object],
) -> None:
    """Put an adapter in force; one for vectors that the column does not hold any more gives way.

    Args:
        model: name and fingerprint of the model that queries are embedded with.
        measured: numbers, as JSON.
    Raises:
        errors.InsufficientPrivilege: the caller does not own the table.
    """
    assert column.fingerprint is not None
    matrix, bias, right = made.parts()
    _delete(write, column)
    write(
        column.table,
        "INSERT INTO pgembed._adapter (table_name, column_name, adapter, kind, method, model, fingerprint, column_fingerprint, query_dim,"
        " dim, rank, matrix, right_matrix, bias, normalized, measured)"
        " VALUES ($1::oid::regclass, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
        [
            *("oid", "name", "text", "text", "text", "text", "text", "text", "int4"),
            *("int4", "int4", "bytea", "bytea", "bytea", "bool", "jsonb"),
        ],
        [
            *(column.table.oid, column.name, made.digest(model[1], column.fingerprint), kind, method, *model, column.fingerprint),
            *(made.query_dim, len(made.bias), made.rank, matrix, right, bias, made.normalized, json.dumps(measured)),
        ],
    )


def drop(db: Database, write: Writer, target: str | None, column_name: str | None) -> None:
    """Let queries of a column be compared as its own model makes them; see `pgembed.drop_adapter` in SQL.

    Raises:
        errors.UnknownObject: the column has no adapter.
        errors.InsufficientPrivilege: the caller does not own the table.
        errors.PgembedError: as `pgembed.columns.column`.
    """
    column = columns.column(db, target, column_name)
    column.table.must_own()
    found = db.execute(
        "SELECT FROM pgembed._adapter AS a WHERE a.table_name OPERATOR(pg_catalog.=) $1 AND a.column_name OPERATOR(pg_catalog.=) $2",
        ["pg_catalog.oid", "pg_catalog.name"],
        [column.table.oid, column.name],
    )
    if not found:
        raise errors.UnknownObject(
            f"{column.label} has no adapter", hint="SELECT table_name, column_name, kind FROM pgembed.adapters lists those that there are."
        )
    _delete(write, column)


def _delete(write: Writer, column: Column) -> None:
    write(
        column.table,
        "DELETE FROM pgembed._adapter WHERE table_name OPERATOR(pg_catalog.=) $1::oid::regclass AND column_name = $2",
        ["oid", "name"],
        [column.table.oid, column.name],
    )
