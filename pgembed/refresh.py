"""refresh: embeds what is pending, stale or failed, batch by batch, until a table's rows are fresh.

One pass over the table in the order of its key. Each batch is claimed, so that workers beside it embed other rows, embedded with no lock
held, written where the source is still the text that was embedded, and committed, so that an interruption loses one batch at the most. Rows
that others have claimed are waited for. Inside of a transaction block there is one transaction, in which claims would mean nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext

from pgembed import chunked, conditions, errors, following, history, indexing, progress
from pgembed.columns import Column
from pgembed.database import Database
from pgembed.isolation import read_committed
from pgembed.sharing import Encoder, Shared
from pgembed.work import claims, failures, reading, running, writing
from pgembed.work.claims import Held
from pgembed.work.failures import Ask, Unusable
from pgembed.work.tally import Tally, tell_end, tell_progress

_WAIT = 0.1


def refresh(
    db: Database,
    ask: Ask,
    column: Column,
    encode: Encoder,
    batch_size: int | None,
    *,
    worker: str = "refresh",
    build_index: bool = True,
    recheck: bool = False,
) -> Tally:
    """Bring an embedded column up to date; see `pgembed.refresh` in SQL.

    Args:
        worker: what the claims are called.
        recheck: look at every row's source first, whoever has changed what it reads.
    Raises:
        errors.NullNotAllowed, errors.InvalidParameter: batch_size is no number of rows.
        errors.NotSupported: the column has no source to embed.
        errors.InsufficientPrivilege: the caller is not the owner, with whose rights the source is evaluated.
        Exception: the model's error, or the source's, where it serves no row.
    """
    batch_size = conditions.batch_size(batch_size, "1000 is the default.")
    writing.must_follow(column)
    commits = db.commit()
    if not commits:
        db.notice(
            "refresh runs inside a transaction block or a function: all batches become one transaction",
            hint="CALL pgembed.refresh() by itself commits after each batch.",
        )
    tally = Tally()
    shared = Shared(encode, chunked.PAGE if column.chunks else batch_size)
    limit = batch_size if column.chunks is None else min(batch_size, claims.LONG_ROWS)
    with read_committed(db) if commits else nullcontext():
        if recheck:
            _recheck(db, column, batch_size, commits=commits)
        with following.as_owner(db, column.table):
            total = reading.count(db, column)

        def embed(held: Held) -> None:
            failed = running.embed_claim(db, column, shared, held, tally, commits=commits, chunks=batch_size)
            if commits:
                running.release(db, held, failed)
                db.commit()
            else:
                failures.settle(db, ask, column, held.keys, failed)
            tally.seen += len(held.keys)
            tell_progress(db, column, tally, total)

        try:
            if commits:
                _claimed(db, column, worker, limit, embed)
            else:
                for held in _pages(db, column, limit):
                    embed(held)
        except Unusable as error:
            raise error.cause or errors.NotReady(error.message, hint="See pgembed.failures.") from None
        failures.sweep(db, ask, column)
        if build_index:
            with following.as_owner(db, column.table):
                indexing.build(db, column)
        if commits:
            # inside of somebody's transaction nobody else would see it, and what it locks stays locked
            db.commit()
            history.noted(db, column.table.oid, column.name)
    tally.texts, tally.sharing = shared.texts, shared.sharing
    tell_end(db, column, tally)
    return tally


def _pages(db: Database, column: Column, limit: int) -> Iterator[Held]:
    """The rows in need of work, in batches that nobody else knows of."""
    after: str | None = None
    while True:
        with following.as_owner(db, column.table):
            keys = [str(row["key"]) for row in reading.page(db, column, running.WORKED, after, limit)]
        if not keys:
            return
        yield Held(0, str(column.table.oid), column.name, keys, 1)
        if len(keys) < limit:
            return
        after = keys[-1]


def _claimed(db: Database, column: Column, worker: str, limit: int, embed: Callable[[Held], None]) -> None:
    """The same by claims; at last what others had claimed meanwhile, if they have not embedded it."""
    # those of now, too: one who gives rows back between our last look for some and the wait is not there to be waited for
    had_others = bool(_claims(db, column))
    _pass(db, column, worker, limit, embed, with_failed=True)
    if _wait_for_others(db, column) or had_others:
        _pass(db, column, worker, limit, embed, with_failed=False)


def _pass(db: Database, column: Column, worker: str, limit: int, embed: Callable[[Held], None], *, with_failed: bool) -> None:
    after: str | None = None
    while True:
        held = running.claim_next(db, worker, str(column.table.oid), column.name, batch_size=limit, after=after, with_failed=with_failed)
        db.commit()
        if held is None:
            return
        try:
            embed(held)
        except BaseException:
            running.give_back(db, held)
            raise
        # what was taken over from somebody else lies anywhere
        after = held.keys[-1] if held.attempts == 1 else after


def _wait_for_others(db: Database, column: Column) -> bool:
    """Wait until the claims of now are ended or hold no longer; whether there are any."""
    awaited = _claims(db, column)
    is_any = bool(awaited)
    told = time.monotonic()
    while awaited:
        if time.monotonic() - told >= progress.NOTICE_SECONDS:
            told = time.monotonic()
            db.notice(f"{column.label}: waits for rows that others are embedding", hint="SELECT * FROM pgembed.work_in_progress.")
        time.sleep(_WAIT)
        awaited &= _claims(db, column)
        db.commit()
    return is_any


def _claims(db: Database, column: Column) -> set[int]:
    rows = db.execute(
        "SELECT claim FROM pgembed.work_in_progress WHERE table_name OPERATOR(pg_catalog.=) $1 AND column_name = $2 AND is_live",
        ["pg_catalog.oid", "pg_catalog.name"],
        [column.table.oid, column.name],
    )
    return {int(row["claim"]) for row in rows}


def _recheck(db: Database, column: Column, limit: int, *, commits: bool) -> None:
    """Mark rows stale whose source has another text than their vectors, where no trigger has seen it."""
    after: str | None = None
    marked = 0
    while True:
        with following.as_owner(db, column.table):
            keys = [str(row["key"]) for row in reading.page(db, column, "'fresh', 'null_source'", after, limit)]
            rows = reading.rows(db, column, keys, "'fresh', 'null_source'") if keys else []
            other = [row for row in rows if writing.is_other(row)]
            with db.subtransaction():
                marked += len(writing.mark(db, column, other, [writing.stale(row) for row in other], None))
        if commits:
            db.commit()
        db.check_interrupts()
        if len(keys) < limit:
            break
        after = keys[-1]
    if marked:
        db.notice(f"{column.label}: {marked} rows have another source text than they were embedded from")
