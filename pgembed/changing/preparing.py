"""preparing: the second column, which from then on follows every row as the first one does.

Over chunks it is a second table of chunks, for another model has other tokens, and may read fewer of them.
"""

from __future__ import annotations

from pgembed import chunked, columns, declarations, errors, following, naming
from pgembed.changing import catalogue, locking
from pgembed.changing.catalogue import Change
from pgembed.columns import Column, Writer, literal, quote
from pgembed.conditions import ModelLike
from pgembed.database import Database


def check(db: Database, column: Column) -> None:
    """Raise where a column's model cannot be changed beside it.

    Raises:
        errors.InsufficientPrivilege: the caller does not own the table.
        errors.NotSupported: it has no source from which another model could embed it, or see `chunked.must_be_ours`.
    """
    column.table.must_own()
    if column.chunks is not None:
        chunked.must_be_ours(db, column)
    if column.source_function is None:
        raise errors.NotSupported(
            f"{column.label} has no source from which another model could embed it",
            hint="pgembed.alter_embedding(..., source => '...') gives it one.",
        )


def add_column(db: Database, write: Writer, column: Column, model: ModelLike, seconds: float) -> Change:
    """Add the column of vectors; all that takes the table for itself, and it takes no time.

    Raises:
        errors.DuplicateObject: a column of that name is there already, or the model is the column's own.
        errors.TableBusy: see `locking.take`.
    """
    found = column.table
    if model.fingerprint == column.fingerprint:
        raise errors.DuplicateObject(
            f'{column.label} is of model "{model.name}" already', hint="Name another model; SELECT name FROM pgembed.models lists all."
        )
    name = naming.clip(column.name, "_next")
    previous = naming.clip(column.name, "_previous")
    known = {one.name for one in columns.table(db, str(found.oid))[1]}
    if column.chunks is not None and (name in known or previous in known):
        raise errors.DuplicateObject(
            f'"{name if name in known else previous}" of table "{found.name}" is an embedded column already; a change of the model needs'
            " that name",
            hint="Is it of use still? pgembed.drop_embedding() drops it.",
        )
    for taken in (name, _hash(name), previous) if column.chunks is None else (_hash(name), _hash(previous)):
        if following.column_type(db, found, taken) is not None:
            raise errors.DuplicateObject(
                f'column "{taken}" of table "{found.name}" exists already; a change of the model needs that name',
                hint=f"Rename it: ALTER TABLE {found.sql} RENAME COLUMN {quote(taken)} TO ...",
            )
    locking.take(db, write, found, "ACCESS EXCLUSIVE", seconds)
    with following.as_owner(db, found):
        kind = f"{column.vector_schema}.{column.type}({model.dim})"
        # the hash column too, so that what follows locks readers out no more; a table of chunks does not
        vector = f"ADD COLUMN {quote(name)} {kind}, " if column.chunks is None else ""
        db.execute(f"ALTER TABLE {found.sql} {vector}ADD COLUMN {quote(_hash(name))} pg_catalog.bytea")
        _copy(db, column, name)
    catalogue.begin(write, column, name, model.name, model.fingerprint)
    change = catalogue.find(db, column)
    assert change is not None  # its line was written just now
    return change


def follow(db: Database, write: Writer, change: Change, model: ModelLike, seconds: float, limits: tuple[int, int] | None = None) -> None:
    """Let triggers follow every row in the second column, and register it. Writers wait meanwhile, readers do not.

    Args:
        limits: tokens and overlap of its chunks, where the column is over chunks.
    """
    column = change.column
    locking.take(db, write, column.table, "SHARE ROW EXCLUSIVE", seconds)
    declarations.add_beside(db, write, column, change.new_column, _hash(change.new_column), model, limits)
    catalogue.step(write, column, "filling")


def _hash(name: str) -> str:
    return naming.clip(name, "_hash")


def _copy(db: Database, column: Column, name: str) -> None:
    """Give the second column, and its hash column, the storage and the rights of the first."""
    found = column.table
    rows = db.execute(
        "SELECT a.attname, a.attstorage::pg_catalog.text AS storage, CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL'"
        " WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END AS called, g.privilege_type AS privilege, g.is_grantable AS grantable,"
        " CASE WHEN g.grantee OPERATOR(pg_catalog.=) 0 THEN 'PUBLIC'"
        " ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(g.grantee)) END AS grantee"
        " FROM pg_catalog.pg_attribute AS a LEFT JOIN LATERAL pg_catalog.aclexplode(a.attacl) AS g ON true"
        " WHERE a.attrelid = $1 AND a.attname = ANY ($2)",
        ["pg_catalog.oid", "pg_catalog.text[]"],
        [found.oid, [column.hash_column, *([column.name] if column.chunks is None else [])]],
    )
    for row in rows:
        is_hash = row["attname"] == column.hash_column
        there = quote(_hash(name) if is_hash else name)
        if not is_hash:
            db.execute(f"ALTER TABLE {found.sql} ALTER COLUMN {there} SET STORAGE {row['called']}")
        if row["privilege"] is not None:
            more = " WITH GRANT OPTION" if row["grantable"] else ""
            db.execute(f"GRANT {row['privilege']} ({there}) ON {found.sql} TO {row['grantee']}{more}")
    say(db, column.table, name, _hash(name), over_chunks=column.chunks is not None)


def say(db: Database, found: columns.Table, name: str, hash_column: str, *, over_chunks: bool = False) -> None:
    """Say in the hash column's comment what it is."""
    state = f"pgembed.freshness({hash_column})" if over_chunks else f"pgembed.freshness({name}, {hash_column})"
    said = f"what {name} was made of: {state}"
    db.execute(f"COMMENT ON COLUMN {found.sql}.{quote(hash_column)} IS {literal(said)}")
