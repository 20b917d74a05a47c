"""switching: two columns exchange their names, in one transaction and at once; the way back; and the end.

All that names columns goes along: hash columns, the registry, the functions of triggers. What knows a column by its number stays with the
vectors that it was made for: indexes, views, policies, columns of codes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pgembed import chunked, columns, declarations, errors, following, naming, renaming
from pgembed.changing import catalogue, locking, preparing
from pgembed.changing.catalogue import Change
from pgembed.codes import adding
from pgembed.codes import catalogue as codes
from pgembed.columns import Column, Writer, quote
from pgembed.database import Database


@dataclass(frozen=True)
class _Name:
    """What a column is to be called, and what it is then."""

    column: Column
    name: str
    hash_column: str
    role: str
    change_of: str | None
    adopted: bool


def switch(db: Database, write: Writer, change: Change, seconds: float, *, allow_missing: bool) -> None:
    """Let searches use the new vectors; see `pgembed.switch_model` in SQL.

    Raises:
        errors.NotReady: it is done already, or rows that are found now have no new vector.
        errors.TableBusy: see `locking.take`.
    """
    column = change.column
    new = change.must_have_other()
    if change.switched:
        raise errors.NotReady(
            f"{column.label} is of model {change.new_model} already",
            hint=f"SELECT pgembed.finish_model_change('{column.table.shown}', '{column.name}') drops the old vectors,"
            " pgembed.rollback_model() goes back to them.",
        )
    _must_be_there(new)
    if not allow_missing:
        _must_be_whole(db, column, new)
    locking.take(db, write, column.table, "ACCESS EXCLUSIVE", seconds)
    if not allow_missing:
        _must_miss_none(db, column, new)  # what was written meanwhile
    previous = naming.clip(column.name, "_previous")
    _rename(
        db,
        write,
        _Name(column, previous, naming.clip(previous, "_hash"), "previous", column.name, False),
        _Name(new, column.name, str(column.hash_column), "current", None, column.adopted),
    )
    catalogue.step(write, column, "switched")


def roll_back(db: Database, write: Writer, change: Change, seconds: float) -> bool:
    """Undo `switch`, or before it give up the change; see `pgembed.rollback_model` in SQL. Returns whether there was a switch."""
    column = change.column
    if not change.switched:
        locking.take(db, write, column.table, "ACCESS EXCLUSIVE", seconds)
        if change.other is not None:
            declarations.drop(db, write, str(column.table.oid), change.other.name, False)
        else:
            # nobody follows it yet
            with following.as_owner(db, column.table):
                made = [change.new_column] if column.chunks is None else []  # a table of chunks comes with the triggers
                for name in (*made, naming.clip(change.new_column, "_hash")):
                    db.execute(f"ALTER TABLE {column.table.sql} DROP COLUMN IF EXISTS {quote(name)}")
        catalogue.step(write, column, "abandoned")
        return False
    old = change.must_have_other()
    _must_be_there(old)
    locking.take(db, write, column.table, "ACCESS EXCLUSIVE", seconds)
    again = naming.clip(column.name, "_next")
    _rename(
        db,
        write,
        _Name(column, again, naming.clip(again, "_hash"), "next", column.name, False),
        _Name(old, column.name, str(column.hash_column), "current", None, column.adopted),
    )
    catalogue.step(write, column, "ready")
    return True


def finish(db: Database, write: Writer, change: Change, seconds: float) -> None:
    """Drop the old column; see `pgembed.finish_model_change` in SQL.

    Raises:
        errors.NotReady: searches use it still.
        errors.DependentObjects: there are codes of its vectors.
    """
    column = change.column
    if not change.switched:
        raise errors.NotReady(
            f"searches still use the old vectors of {column.label}",
            hint=f"SELECT pgembed.switch_model('{column.table.shown}', '{column.name}') first;"
            " pgembed.rollback_model() gives up the change.",
        )
    old = change.must_have_other()
    adding.must_have_none(db, old, "drop")
    chunked.must_not_be_embedded(db, old)
    locking.take(db, write, column.table, "ACCESS EXCLUSIVE", seconds)
    declarations.drop(db, write, str(column.table.oid), old.name, False)
    catalogue.step(write, column, "finished")


def _rename(db: Database, write: Writer, first: _Name, second: _Name) -> None:
    """Give two columns other names, the first of which frees the second's."""
    found = first.column.table
    names = _chunk_names(db, first, second)
    if first.column.chunks is not None and second.column.chunks is not None:
        # who has got, or lost, rights on the table of that name meanwhile
        chunked.must_be_ours(db, first.column)
        with following.as_owner(db, found):
            chunked.give_rights(db, first.column.chunks, second.column.chunks)
    with renaming.by_ourselves():
        for one in (first, second):
            with following.as_owner(db, found):
                hashed = quote(str(one.column.hash_column))
                db.execute(f"ALTER TABLE {found.sql} RENAME COLUMN {hashed} TO {quote(one.hash_column)}")
                if one.column.chunks is None:
                    db.execute(f"ALTER TABLE {found.sql} RENAME COLUMN {one.column.sql} TO {quote(one.name)}")
                else:
                    _rename_chunks(db, one, names[one.name])
                preparing.say(db, found, one.name, one.hash_column, over_chunks=one.column.chunks is not None)
            write(
                found,
                "UPDATE pgembed._embedding SET column_name = $3, hash_column = $4, role = $5, change_of = $6, adopted = $7"
                " WHERE table_name OPERATOR(pg_catalog.=) $1::oid::regclass AND column_name = $2",
                ["oid", "name", "name", "name", "text", "name", "bool"],
                [found.oid, one.column.name, one.name, one.hash_column, one.role, one.change_of, one.adopted],
            )
            # what else speaks of embedded columns by name follows the registry by triggers and foreign keys
            for table, which in (("pgembed._codec", "column_name"), ("pgembed._code", "embedding_column")):
                write(
                    found,
                    f"UPDATE {table} SET {which} = $3 WHERE table_name OPERATOR(pg_catalog.=) $1::oid::regclass AND {which} = $2",
                    ["oid", "name", "name"],
                    [found.oid, one.column.name, one.name],
                )
        known = {column.name: column for column in columns.table(db, str(found.oid))[1]}
        # the first one's triggers have the names that the second one's get
        for one in (first, second):
            declarations.realign(db, write, known[one.name])
        for code in codes.codes(db, found):
            if code.trigger_name is not None and code.embedding_column in (first.name, second.name):
                adding.mend(db, code, known[code.embedding_column], renamed=True)


def _chunk_names(db: Database, first: _Name, second: _Name) -> dict[str, str]:
    """What the tables of chunks of two columns are to be called, by the columns' new names: the second one's as the first one's now."""
    ours, theirs = first.column.chunks, second.column.chunks
    if ours is None or theirs is None:
        return {}
    return {first.name: naming.free(db, ours.schema, "tables", f"{first.column.table.name}_{first.name}", "_chunk"), second.name: ours.name}


def _rename_chunks(db: Database, one: _Name, name: str) -> None:
    chunks = one.column.chunks
    assert chunks is not None
    db.execute(f"ALTER TABLE {chunks.sql} RENAME TO {quote(name)}")
    chunked.say(db, one.column.table, one.name, replace(chunks, name=name))


def _must_be_there(column: Column) -> None:
    """Raise where a column's table of chunks has been dropped by hand, so that there is nothing to switch to."""
    if column.chunks is not None and not column.chunks.name:
        shown, name = column.table.shown, column.change_of
        ends = "finish_model_change" if column.role == "previous" else "rollback_model"
        raise errors.NotReady(
            f"the table of chunks of {column.label} does not exist any more",
            hint=f"SELECT pgembed.{ends}('{shown}', '{name}') ends the change of the model.",
        )


def _must_be_whole(db: Database, column: Column, new: Column) -> None:
    """Raise where rows that have a vector now have failed, or have not been embedded, with the new model. It reads the table."""
    with following.as_owner(db, column.table):
        left = db.execute(
            f"SELECT pg_catalog.count(*) AS n, pg_catalog.count(*) FILTER (WHERE {new.freshness('t')} = 'failed') AS failed"
            f" FROM {column.table.sql} AS t WHERE {column.embedded('t')} AND NOT {new.embedded('t')}"
        )[0]
    if left["failed"]:
        raise errors.NotReady(
            f"{left['failed']} rows of {column.label} have a vector now, and have failed with model {new.model}",
            hint=f"SELECT * FROM pgembed.failures says why; pgembed.switch_model('{column.table.shown}', '{column.name}',"
            " allow_missing => true) lets searches miss them.",
        )
    if left["n"]:
        raise _missing(column, new, int(left["n"]))


def _must_miss_none(db: Database, column: Column, new: Column) -> None:
    """The same of rows that were written since; the index over rows in need of work finds them."""
    with following.as_owner(db, column.table):
        left = db.execute(
            f"SELECT pg_catalog.count(*) AS n FROM {column.table.sql} AS t WHERE {new.freshness('t')} IN ('pending', 'stale')"
            f" AND {column.embedded('t')} AND NOT {new.embedded('t')}"
        )[0]["n"]
    if left:
        raise _missing(column, new, int(left))


def _missing(column: Column, new: Column, left: int) -> errors.PgembedError:
    return errors.NotReady(
        f"{left} rows of {column.label} have no vector of model {new.model} yet, and searches would miss them",
        hint=f"CALL pgembed.change_model('{column.table.shown}', '{new.model}', '{column.name}') goes on; or allow_missing => true.",
    )
