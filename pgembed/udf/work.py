"""Work on embedded columns: bodies of ``sql/functions/work.sql``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pgembed import columns, declarations, errors, faults, progress
from pgembed import refresh as refreshing
from pgembed.columns import Column
from pgembed.udf import boundary, registry
from pgembed.udf.connection import DATABASE
from pgembed.work import claims, failures, loop, reading, running, writing
from pgembed.work.encoding import ColumnEncoder
from pgembed.work.failures import Failure, Unusable
from pgembed.work.tally import Tally


@boundary
def claim_work(
    worker: str | None,
    target: str | None,
    column_name: str | None,
    batch_size: int | None,
    lease: str | None,
    after: str | None,
    with_failed: bool | None,
) -> list[dict[str, Any]]:
    """Body of `pgembed._claim_work`."""
    wish = claims.Wish(worker or "", batch_size, lease or "5 min", after, bool(with_failed))
    held = claims.take(DATABASE, registry.ask_for, registry.write_for, target, column_name, wish)
    if held is None:
        return []
    return [
        {"claim": held.id, "target": held.target, "column_name": held.column_name, "keys": held.keys, "attempts": held.attempts},
    ]


@boundary
def release_work(claim: int | None, failed_keys: list[str] | None, sqlstates: list[str] | None, errors: list[str] | None) -> bool:
    """Body of `pgembed._release_work`; NULL for the keys says that nothing was tried."""
    if claim is None:
        return False
    failed = None
    if failed_keys is not None:
        failed = [
            Failure(key, sqlstate or "XX000", error or "unknown")
            for key, sqlstate, error in zip(failed_keys, sqlstates or [], errors or [], strict=True)
        ]
    return claims.release(DATABASE, registry.ask_for, claim, failed)


@boundary
def keep_claim(claim: int | None, lease: str | None) -> bool:
    """Body of `pgembed._keep_claim`."""
    return claim is not None and claims.keep(DATABASE, registry.ask_for, claim, lease or "5 min")


@boundary
def pause_column(target: str | None, column_name: str | None, sqlstate: str | None, error: str | None) -> None:
    """Body of `pgembed._pause_column`; a column that is gone needs no pause."""
    found, known = columns.table(DATABASE, target)
    found.must_own()
    for column in known:
        if column.name == column_name:
            failures.pause(registry.ask_for, column, sqlstate or "XX000", error or "unknown")


_being_written: set[tuple[int, str, str]] = set()  # oid, column, key


@contextmanager
def _written(column: Column, keys: Sequence[str]) -> Iterator[list[str]]:
    """Those of some rows that no call further out in this session is writing; these are being written meanwhile.

    Where a trigger of the user's gives a row another text whenever it is written, the row would be embedded without end; it is left stale.
    """
    rows = {(column.table.oid, column.name, key): key for key in keys}
    mine = rows.keys() - _being_written
    _being_written.update(mine)
    try:
        yield [key for row, key in rows.items() if row in mine]
    finally:
        _being_written.difference_update(mine)


@boundary
def embed_rows(target: str | None, column_name: str | None, keys: list[str] | None) -> int:
    """Body of `pgembed._embed_rows`: how many rows were written. No fault of the model, the source or a text is the writer's."""
    if not keys or _is_restore():
        return 0
    tally = Tally()
    label = str(column_name)
    try:
        column = columns.column(DATABASE, target, column_name)
        column.table.must_own()
        label = column.label
        if column.source_function is None:
            return 0
        with _written(column, keys) as mine:
            if not mine:
                return 0
            held = claims.Held(0, str(column.table.oid), column.name, mine, 1)
            encoder = ColumnEncoder(DATABASE, column, by_backend=True)
            failed = running.embed_claim(DATABASE, column, encoder, held, tally, commits=False, states=reading.NEEDY)
            _settle(column, held, failed)
    except Unusable as error:
        _tell_left(label, len(keys), error.sqlstate, error.message if isinstance(error.cause, errors.PgembedError) else None)
    except errors.PgembedError as error:
        _tell_left(label, len(keys), error.sqlstate, error.message)
    except Exception as error:
        if faults.is_servers(error):
            raise
        _tell_left(label, len(keys), faults.sqlstate_of(error), None)
    if tally.failed:
        DATABASE.warning(f"{label}: {tally.failed} rows could not be embedded, the last with {tally.last_error}")
    return tally.embedded


def _is_restore() -> bool:
    """Whether the rows come out of a dump, whose scripts all say this: a restore calls no model, and what is pending was so before."""
    return bool(DATABASE.execute("SELECT pg_catalog.current_setting('row_security') = 'off' AS yes")[0]["yes"])


def _settle(column: Column, held: claims.Held, failed: Sequence[Failure]) -> None:
    """Forget failures of rows that are embedded now, keep those of rows that are not."""
    gone = sorted({*held.keys} - {failure.key for failure in failed})
    failures.sweep(DATABASE, registry.ask_for, column, gone)
    failures.record(registry.ask_for, column, failed, tells=False)


def _tell_left(label: str, rows: int, sqlstate: str, why: str | None) -> None:
    """The writer need not be the table's owner, so that nothing is told which could quote a row."""
    DATABASE.warning(
        f"{label}: {rows} rows are written and not embedded: {why or f'SQLSTATE {sqlstate}'}",
        hint="A worker, CALL pgembed.work() or CALL pgembed.refresh() embeds them later.",
    )


@boundary
def retry_failed(target: str | None, column_name: str | None, key: str | None) -> int:
    """Body of `pgembed.retry_failed`."""
    column = columns.column(DATABASE, target, column_name)
    column.table.must_own()
    writing.must_follow(column)
    retried = failures.retry(DATABASE, registry.ask_for, column, key)
    if retried:
        DATABASE.execute("SELECT pgembed._wake_workers()")
    return retried


@boundary
def work(target: str | None, column_name: str | None, max_rows: int | None, max_seconds: float | None, batch_size: int | None) -> None:
    """Body of `pgembed.work`."""
    with progress.shown(DATABASE, "work", column_name or "all columns"):
        loop.work(
            DATABASE, lambda column: ColumnEncoder(DATABASE, column), _name("work"), target, column_name, max_rows, max_seconds, batch_size
        )


@boundary
def refresh(target: str | None, column_name: str | None, batch_size: int | None, build_index: bool | None, recheck: bool | None) -> None:
    """Body of `pgembed.refresh`: one column, or all that the table has."""
    if column_name is None:
        _, known = columns.table(DATABASE, target)
        chosen = [column for column in known if column.source_function is not None and column.type in columns.VECTOR_TYPES]
        if not chosen:
            chosen = [columns.column(DATABASE, target, None)]
        names = [column.name for column in chosen]
    else:
        names = [column_name]
    for name in names:
        column = columns.column(DATABASE, target, name)
        column.table.must_own()
        if column.renamed:
            declarations.realign(DATABASE, registry.write_for, column)
        with progress.shown(DATABASE, "refresh", column.label):
            tally = refreshing.refresh(
                DATABASE,
                registry.ask_for,
                column,
                ColumnEncoder(DATABASE, column),
                batch_size,
                worker=_name("refresh"),
                build_index=bool(build_index),
                recheck=bool(recheck),
            )
        failures.resume(registry.ask_for, column)
        failures.tell_all(registry.ask_for, column, tally.last_error)


def _name(what: str) -> str:
    """What claims of this backend are called."""
    return f"{what} in backend {DATABASE.execute('SELECT pg_catalog.pg_backend_pid() AS pid')[0]['pid']}"
