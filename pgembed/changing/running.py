"""running: `CALL pgembed.change_model`, step by step; each is committed, and a call after a death goes on from the last one."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgembed import errors, following, indexing
from pgembed.changing import catalogue, concurrently, indexes, preparing, reporting, switching
from pgembed.changing.catalogue import Change
from pgembed.columns import Column, Writer
from pgembed.conditions import ModelLike
from pgembed.database import Database

if TYPE_CHECKING:
    from collections.abc import Iterator

# For how long the table is asked for itself, again and again for a moment, where the caller waits for the end of the call anyway.
PATIENCE_SECONDS = 300.0
# Rows may be written all the time; after so many passes workers, or the next call, do the rest.
_PASSES = 20
# One call at a time for a table. Not a number that another program would choose.
_LOCK = 1_347_570_756


@dataclass(frozen=True)
class Wanted:
    """Arguments of a call; see `pgembed.change_model` in SQL.

    Attributes:
        room: how many tokens of a text the model reads; None where that is not known.
    """

    model: ModelLike
    wait: bool
    build_index: bool
    switch: bool
    room: Callable[[], int | None] = lambda: None


# Embeds what one column needs, committing as it goes.
Fill = Callable[[Column], None]


def change_model(db: Database, write: Writer, fill: Fill, target: str | None, column_name: str | None, wanted: Wanted) -> None:
    """Change the model of an embedded column beside it; see `pgembed.change_model` in SQL.

    Raises:
        errors.NotSupported: inside a transaction block; or see `preparing.check`.
        errors.NotReady: another change is under way, or another call.
        errors.DuplicateObject, errors.TableBusy: see `preparing.add_column`.
    """
    if not db.commit():
        raise errors.NotSupported(
            "change_model commits between its steps, and cannot inside a transaction block or a function",
            hint="CALL pgembed.change_model() by itself.",
        )
    column = catalogue.current(db, target, column_name)
    preparing.check(db, column)
    with _alone(db, column):
        _go_on(db, write, fill, column, wanted)


def _go_on(db: Database, write: Writer, fill: Fill, column: Column, wanted: Wanted) -> None:
    table, name = str(column.table.oid), column.name
    change = catalogue.find(db, column)
    if change is None:
        change = preparing.add_column(db, write, column, wanted.model, PATIENCE_SECONDS)
        db.commit()
    _must_be_same(change, wanted.model)
    catalogue.allow_index(write, column, wanted.build_index)
    db.commit()
    if change.switched:
        db.notice(
            f"{column.label} is of model {change.new_model} already",
            hint=f"SELECT pgembed.finish_model_change('{column.table.shown}', '{name}') drops the old vectors.",
        )
        return
    if change.other is None:
        limits = _limits(db, column, wanted)
        preparing.follow(db, write, change, wanted.model, PATIENCE_SECONDS, limits)
        db.commit()
    if not wanted.wait:
        db.notice(
            f"{column.label}: rows are followed in {change.new_column} too, and workers fill it",
            hint="SELECT * FROM pgembed.model_changes shows how far they are; the same CALL goes on.",
        )
        return
    _fill(db, write, fill, table, name)
    change = _again(db, table, name)
    if not _index(db, write, change, build=wanted.build_index):
        return
    # rows were written meanwhile
    _fill(db, write, fill, table, name)
    change = _again(db, table, name)
    new = change.must_have_other()
    catalogue.step(write, change.column, "measuring")
    db.commit()
    found = reporting.report(db, change.column, new)
    catalogue.report(write, change.column, found)
    catalogue.step(write, change.column, "ready")
    db.commit()
    db.notice(f"{column.label}: {change.new_model} against {column.model or 'what was before'}: {reporting.told(found)}")
    if found["depends"]:
        db.notice(
            f"{column.label}: {', '.join(found['depends'])} will go on reading the old vectors",
            hint="After the switch make them anew, before pgembed.finish_model_change().",
        )
    if not wanted.switch:
        db.notice(
            f"{column.label}: searches still use the old vectors",
            hint=f"SELECT pgembed.switch_model('{column.table.shown}', '{name}').",
        )
        return
    _switch(db, write, fill, table, name)


def _limits(db: Database, column: Column, wanted: Wanted) -> tuple[int, int] | None:
    """Tokens and overlap of the new chunks: those of the old ones, unless the new model reads fewer; None where there are no chunks."""
    if column.chunks is None:
        return None
    tokens, overlap, room = column.chunks.tokens, column.chunks.overlap, wanted.room()
    if room is None or tokens <= room:
        return tokens, overlap
    fewer = max(1, room)
    db.notice(
        f"{column.label}: {wanted.model.name} reads {fewer} tokens, so its chunks are of at most so many, not {tokens}",
        hint="pgembed.alter_embedding(..., chunk_tokens => ...) cuts them otherwise after the change.",
    )
    return fewer, overlap * fewer // tokens


def _switch(db: Database, write: Writer, fill: Fill, table: str, name: str) -> None:
    for left in reversed(range(_PASSES)):
        change = _again(db, table, name)
        try:
            with db.subtransaction():
                switching.switch(db, write, change, PATIENCE_SECONDS, allow_missing=False)
        except errors.NotReady as error:
            db.commit()
            if not left or "failed" in error.message:
                catalogue.step(write, change.column, "ready", error=error.message)
                db.commit()
                raise
            fill(change.must_have_other())
            continue
        db.commit()
        shown = change.column.table.shown
        db.notice(
            f"{change.column.label} is of model {change.new_model} now",
            hint=f"SELECT pgembed.rollback_model('{shown}', '{name}') goes back at once,"
            f" pgembed.finish_model_change('{shown}', '{name}') drops the old vectors.",
        )
        return


def _fill(db: Database, write: Writer, fill: Fill, table: str, name: str) -> None:
    change = _again(db, table, name)
    catalogue.step(write, change.column, "filling")
    catalogue.counting(write, change.column, _done(db, change.must_have_other()))
    db.commit()
    for _ in range(_PASSES):
        fill(change.must_have_other())
        change = _again(db, table, name)
        new = change.must_have_other()
        with following.as_owner(db, new.table):
            left = db.execute(f"SELECT EXISTS (SELECT FROM {new.table.sql} AS t WHERE {new.freshness('t')} = 'pending') AS some")[0]["some"]
        db.commit()
        if not left:
            return


def _index(db: Database, write: Writer, change: Change, *, build: bool) -> bool:
    """Build the indexes that the new column lacks, or say which; returns whether there is none left."""
    old, new = change.column, change.must_have_other()

    def missing() -> list[indexes.Missing]:
        with following.as_owner(db, old.table):
            return indexes.missing(db, old, new)

    catalogue.step(write, old, "indexing")
    db.commit()
    found = missing()
    if not found:
        return True
    done = concurrently.by_worker(db, old.table, lambda: bool(missing())) if build else False
    if done:
        return True
    found = missing()
    if done is False:
        listed = "; ".join(indexes.statements(new, found, concurrently=True))
        why = ", and no worker builds it" if build else ""
        db.notice(f"{old.label}: {change.new_column} lacks {len(found)} index{why}", hint=f"{listed}; then the same CALL again goes on.")
        return False
    db.notice(
        f"{old.label}: {len(found)} index over {change.new_column} is built now, and writers of {old.table.name} wait until it is",
        hint="A worker would build it concurrently: pgembed worker, in a shell. With build_index => false the call stops here and names the"
        " CREATE INDEX CONCURRENTLY for you to run.",
    )
    while not indexing.take_turn_until_commit(db, old.table.oid):
        # a worker has come meanwhile, and what it builds is not missing then
        db.commit()
        time.sleep(concurrently.LOOK_SECONDS)
        db.check_interrupts()
    with following.as_owner(db, old.table):
        indexes.build(db, old, new)
    db.commit()
    return True


def _done(db: Database, new: Column) -> int:
    with following.as_owner(db, new.table):
        return int(db.execute(f"SELECT pg_catalog.count(*) AS n FROM {new.table.sql} AS t WHERE {new.embedded('t')}")[0]["n"])


def _again(db: Database, table: str, name: str) -> Change:
    """The change, as it is now.

    Raises:
        errors.UnknownObject: somebody has given it up meanwhile.
    """
    return catalogue.must_find(db, table, name)


def _must_be_same(change: Change, model: ModelLike) -> None:
    if change.new_fingerprint != model.fingerprint:
        column = change.column
        raise errors.NotReady(
            f"the model of {column.label} is being changed to {change.new_model} ({change.new_fingerprint[:12]}),"
            f" not to {model.name} ({model.fingerprint[:12]})",
            hint=f"SELECT pgembed.rollback_model('{column.table.shown}', '{column.name}') gives that up;"
            " after the switch pgembed.finish_model_change() ends it.",
        )


def _alone(db: Database, column: Column) -> AbstractContextManager[None]:
    @contextmanager
    def locked() -> Iterator[None]:
        types, values = ["pg_catalog.int4", "pg_catalog.int8"], [_LOCK, column.table.oid]
        key = f"$1, {indexing.key(2)}"
        if not db.execute(f"SELECT pg_catalog.pg_try_advisory_lock({key}) AS got", types, values)[0]["got"]:
            raise errors.NotReady(
                f"another session is changing the model of a column of {column.table.name}",
                hint="SELECT * FROM pgembed.model_changes shows how far it is.",
            )
        try:
            yield
        finally:
            db.execute(f"SELECT pg_catalog.pg_advisory_unlock({key})", types, values)

    return locked()
