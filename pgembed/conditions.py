"""conditions: what a table, a model and the arguments of a declaration must be."""

from __future__ import annotations

from typing import Protocol

from pgembed import catalogue, columns, errors
from pgembed.columns import Column, Table, quote
from pgembed.database import Database
from pgembed.following import BY_HAND, SYNC, Rules

MOST_BATCH = 100_000  # rows


class ModelLike(Protocol):
    """What a declaration needs to know of a model."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def dim(self) -> int: ...
    @property
    def fingerprint(self) -> str: ...


def must_follow(db: Database, found: Table) -> None:
    if found.relkind not in "rp":
        raise errors.WrongObjectType(
            f'"{found.name}" is not a table',
            hint="Embed the columns of the table behind it; a view can select the embedding too.",
        )
    found.must_own()
    if not found.keys:
        raise found.no_key()
    children = db.execute(
        "SELECT FROM pg_catalog.pg_inherits WHERE inhparent = $1 AND $2 = 'r'",
        ["pg_catalog.oid", "pg_catalog.text"],
        [found.oid, found.relkind],
    )
    if children:
        raise errors.NotSupported(
            f'table "{found.name}" has children by inheritance, whose rows neither its triggers nor its primary key reach',
            hint="Embed each of the children by itself, or make partitions of them.",
        )


def must_tell(found: Table, rules: Rules, *, over_chunks: bool = False) -> None:
    """Raise where a vector that somebody else writes could not be told from others."""
    if rules.by_hand != "refuse":
        return
    if over_chunks:
        raise errors.NotSupported(
            "by_hand => 'refuse' is for columns with one vector for each row, not for chunks",
            hint="Who may write the table of chunks is a matter of privileges on it: nobody but its owner, unless you grant it.",
        )
    if rules.adopted and found.relkind == "p":
        raise errors.NotSupported(
            f"by_hand => 'refuse' is not for an adopted column of the partitioned table \"{found.name}\": a row that moves to another"
            " partition looks like one with a new vector",
            hint="Leave it out, or give the table a column by pgembed.add_embedding().",
        )


def indexed_metric(db: Database, found: Table, name: str) -> str | None:
    """The metric of an index on the column, where one says it."""
    rows = db.execute(
        "SELECT oc.opcname FROM pg_catalog.pg_index AS x JOIN pg_catalog.pg_opclass AS oc ON oc.oid = x.indclass[0]"
        " JOIN pg_catalog.pg_attribute AS a ON a.attrelid = x.indrelid AND a.attnum = x.indkey[0]"
        " WHERE x.indrelid = $1 AND a.attname = $2 ORDER BY x.indexrelid",
        ["pg_catalog.oid", "pg_catalog.name"],
        [found.oid, name],
    )
    said = [metric for row in rows for metric, stem in columns.OPCLASSES.items() if str(row["opcname"]).endswith("_" + stem)]
    return said[0] if said else None


def stored_dim(db: Database, found: Table, name: str) -> int | None:
    """Dimensions of a vector column: declared, else those of some row, else None."""
    declared = db.execute(
        "SELECT atttypmod FROM pg_catalog.pg_attribute WHERE attrelid = $1 AND attname = $2",
        ["pg_catalog.oid", "pg_catalog.name"],
        [found.oid, name],
    )[0]["atttypmod"]
    if declared > 0:
        return int(declared)
    schema = vector_schema(db)
    rows = db.execute(f"SELECT {schema}.vector_dims({quote(name)}) AS dim FROM {found.sql} WHERE {quote(name)} IS NOT NULL LIMIT 1")
    return int(rows[0]["dim"]) if rows else None


def vector_schema(db: Database) -> str:
    rows = db.execute(
        "SELECT pg_catalog.quote_ident(n.nspname) AS name FROM pg_catalog.pg_extension AS e"
        " JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname = 'vector'"
    )
    if not rows:
        raise errors.NotReady("the extension vector is not installed in this database", hint="CREATE EXTENSION vector.")
    return str(rows[0]["name"])


def batch_size(value: int | None, hint: str) -> int:
    """How many rows are worked on at a time.

    Args:
        hint: what the default is, or what leaving it out means.
    Raises:
        errors.NullNotAllowed, errors.InvalidParameter: it is no number of rows.
    """
    if value is None:
        raise errors.NullNotAllowed("batch_size is NULL", hint="Leave it out for the default.")
    if not 1 <= value <= MOST_BATCH:
        raise errors.InvalidParameter(f"batch_size must be from 1 to {MOST_BATCH}, not {value}", hint=hint)
    return value


def required(value: str | None, what: str) -> str:
    if value is None:
        raise errors.NullNotAllowed(f"{what} is NULL", hint=f"Give {what}.")
    return value


def rules(sync: str | None, by_hand: str | None, kind: str | None, *, adopted: bool = False) -> Rules:
    checked_choice("sync", sync, SYNC)
    checked_choice("by_hand", by_hand, BY_HAND)
    return Rules(str(sync), str(by_hand), kind, adopted)


def kind(db: Database, column: Column, model: ModelLike | None) -> str | None:
    """Kind of the model that a column has, or will have; None where nobody knows."""
    if model is not None:
        return model.kind
    if column.model is None:
        return None
    try:
        return catalogue.describe(db, column.model, column.fingerprint).kind
    except errors.PgembedError:
        return None  # it is not installed here: nothing could be embedded at once


def checked_choice(what: str, value: str | None, known: tuple[str, ...]) -> None:
    if value not in known:
        raise errors.InvalidParameter(
            f"{what} must be one of {', '.join(known)}, not {value or 'NULL'}", hint=f"{known[0]} is the default."
        )
