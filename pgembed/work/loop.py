"""loop: what `CALL pgembed.work` does in the server: batch after batch of whatever column has its turn, until there is nothing to do."""

from __future__ import annotations

import time
from collections.abc import Callable

from pgembed import chunked, conditions, errors, history, progress
from pgembed.columns import Column
from pgembed.database import Database
from pgembed.isolation import read_committed
from pgembed.sharing import Encoder, Shared
from pgembed.work import claims, running
from pgembed.work.tally import Tally


def work(
    db: Database,
    encoder_of: Callable[[Column], Encoder],
    worker: str,
    target: str | None,
    name: str | None,
    max_rows: int | None,
    max_seconds: float | None,
    batch_size: int | None,
) -> Tally:
    """Embed what needs it; see `pgembed.work` in SQL.

    Raises:
        errors.InvalidParameter: a limit makes no sense.
        errors.NotSupported: it is called inside of a transaction block or a function, where it cannot commit.
        Exception: what says nothing of row, source and model, such as a cancel. An error of one column pauses that column.
    """
    if max_rows is not None and max_rows < 1:
        raise errors.InvalidParameter(f"max_rows must be above 0, not {max_rows}", hint="Leave it out to work until nothing is left.")
    if max_seconds is not None and not 0 < max_seconds < float("inf"):
        raise errors.InvalidParameter(f"max_seconds must be above 0, not {max_seconds}", hint="Leave it out to work until nothing is left.")
    if name is not None and target is None:
        raise errors.NullNotAllowed("column_name needs target", hint="Name the table too.")
    if not db.commit():
        raise errors.NotSupported(
            "work cannot run inside a transaction block or a function, where it cannot commit",
            hint="CALL pgembed.work() by itself; CALL pgembed.refresh('a table') runs anywhere.",
        )
    tally = Tally()
    worked: set[tuple[int, str]] = set()
    noted = time.monotonic()
    encoders: dict[tuple[int, str, str | None], Encoder] = {}

    def shared(column: Column) -> Encoder:
        place = (column.table.oid, column.name, column.fingerprint)
        if place not in encoders:
            encoders.clear()  # what is remembered of texts is of one column at a time
            encoders[place] = Shared(encoder_of(column), chunked.PAGE if column.chunks else claims.ROWS["static"])
        return encoders[place]

    with read_committed(db):
        while max_rows is None or tally.seen < max_rows:
            if max_seconds is not None and time.monotonic() - tally.started >= max_seconds:
                break
            size = batch_size
            if max_rows is not None:
                size = min(
                    batch_size or conditions.MOST_BATCH,
                    max_rows - tally.seen,
                    claims.ROWS["transformer"] if batch_size is None else conditions.MOST_BATCH,
                )
            held = running.claim_next(db, worker, target, name, batch_size=size)
            db.commit()
            if held is None:
                break
            running.work_on(db, held, shared, tally)
            tally.seen += len(held.keys)
            worked.add((int(held.target), held.column_name))
            if time.monotonic() - noted >= history.APART_SECONDS:
                noted = time.monotonic()
                _note(db, worked)
            progress.tell(db, tally.seen, max_rows)
            now = time.monotonic()
            if now - tally.told >= progress.NOTICE_SECONDS:
                tally.told = now
                db.notice(f"{tally.seen} rows so far, {tally.seen / (now - tally.started):.0f} a second")
        _note(db, worked)
    if tally.seen:
        failed = f", {tally.failed} failed" if tally.failed else ""
        db.notice(f"{tally.embedded} rows embedded{failed} in {time.monotonic() - tally.started:.1f} s")
    return tally


def _note(db: Database, worked: set[tuple[int, str]]) -> None:
    """Write down how fresh the columns are that were worked on since."""
    for target, name in sorted(worked):
        history.noted(db, target, name)
        db.commit()
    worked.clear()
