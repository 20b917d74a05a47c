"""running: what is done with claimed rows: read, embedded outside of any transaction, written where their source is still the same.

A row whose text no vector can be made of fails by itself: its batch is split until it is found. A model that fails as a whole, because it
is not there or out of memory, is no row's fault: it is asked for the vector of a harmless text first.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Protocol

from pgembed import columns, errors, faults, following, text
from pgembed.chunks import Chunk
from pgembed.columns import Column
from pgembed.database import Database, Row
from pgembed.sharing import Encoder
from pgembed.work import meeting, reading, writing
from pgembed.work.claims import Held
from pgembed.work.failures import Failure, Unusable
from pgembed.work.meeting import Work
from pgembed.work.tally import Tally
from pgembed.work.writing import Batch, Made

# Rows that are read in one statement, and characters that are kept in memory until they are embedded.
READ_ROWS = 500
MOST_CHARS = 8_000_000
# Chunks that are embedded and written together.
CHUNKS = 1000
WORKED = f"{reading.NEEDY}, 'failed'"

# Errors that say of a model that it serves no text at all.
_WHOLE = (
    errors.NotReady,
    errors.FileMissing,
    errors.FileDamaged,
    errors.RemoteUnavailable,
    errors.RemoteRefused,
    errors.UnknownObject,
    errors.NotSupported,
    errors.InsufficientPrivilege,
)


class Interrupted(Exception):
    """Raised by a ``check`` of a process that is to stop: no row's fault, and no model's."""


class Claim(Protocol):
    """What `pgembed._claim_work` returns."""

    @property
    def id(self) -> int:
        """Its number; 0 where nobody else knows of it."""
        ...

    @property
    def keys(self) -> Sequence[str]:
        """The rows, as `Table.key_text` writes their keys."""
        ...


@dataclass
class Embedded:
    """Images and whether their texts were cut, by position; ``failed`` has the others, without a key."""

    images: dict[int, bytes] = field(default_factory=dict)
    cut: dict[int, bool] = field(default_factory=dict)
    failed: dict[int, Failure] = field(default_factory=dict)
    is_proven: bool = False  # the model was seen to serve another text


def embed_claim(
    db: Database,
    column: Column,
    encoder: Encoder,
    claim: Claim,
    tally: Tally,
    *,
    commits: bool = True,
    chunks: int = CHUNKS,
    states: str = WORKED,
) -> list[Failure]:
    """Embed the rows of a claim; the last of them are written in a transaction that is left open, for the claim to be ended in it.

    Args:
        column: of the claim, described after it was made.
        encoder: of the column's model; what it does is outside of any transaction, but for what it reads of the registry when it loads.
        tally: is added to.
        commits: False where everything is one transaction of the caller's.
        chunks: of a column over chunks, how many are embedded and written together.
        states: of the rows that are worked on; the others need nothing any more.
    Returns:
        The rows that failed; their state says so already.
    Raises:
        Unusable: the model, or the source, serves no row, or no row can be written.
        Exception: whatever the database, or ``db.check_interrupts``, raises. What was not committed is undone.
    """
    failed: list[Failure] = []
    undone, missed, before = False, 0, tally.done
    is_first = True
    for rows in _parts(db, column, claim.keys, states, commits=commits, most=chunks, encoder=encoder):
        if not is_first and claim.id and not _keep(db, claim.id):
            break  # it took so long that somebody else has the rest
        is_first = False
        batch = Batch.of(rows)
        if commits:
            db.commit()
        made, refused = _make(db, column, encoder, batch.changed)
        written = meeting.write(db, column, Work(batch, made, refused), commits=commits)
        if written is None:
            tally.overtaken += len(rows)
            continue
        _add(tally, written.told)
        undone = undone or written.is_undone
        missed += written.left
        failed += written.failed
    if undone and missed == len(claim.keys) and tally.done == before:
        raise Unusable("55000", "rows can be embedded, and nothing is written: does a trigger of the table's, or row security, undo it?")
    return failed


def _add(tally: Tally, more: Tally) -> None:
    for name in ("embedded", "unchanged", "null_source", "failed", "overtaken", "truncated", "chunks"):
        setattr(tally, name, getattr(tally, name) + getattr(more, name))
    tally.last_error = more.last_error or tally.last_error


def _parts(
    db: Database, column: Column, keys: Sequence[str], states: str, *, commits: bool, most: int, encoder: Encoder
) -> Iterator[list[Row]]:
    """The rows of some keys, so many at a time as may stay in memory; those of a column over chunks have their chunks with them."""
    part: list[Row] = []
    size = 0
    is_first = True
    for at in range(0, len(keys), READ_ROWS):
        try:
            with following.as_owner(db, column.table), db.subtransaction():
                rows = reading.rows(db, column, keys[at : at + READ_ROWS], states)
        except Exception as error:
            if meeting.has_changed(db, column, error):
                return
            if faults.is_servers(error):
                raise
            # not of a kind that a row could have
            raise Unusable(faults.sqlstate_of(error), faults.said(error), error) from error
        for row in rows:
            weight, limit = len(row["source"] or ""), MOST_CHARS
            if column.chunks is not None:
                row = {**row, "chunks": _split(db, column, encoder, row)}
                weight, limit = len(row["chunks"]), most
            if part and size + weight > limit:
                if not is_first and commits:
                    db.commit()
                yield part
                part, size, is_first = [], 0, False
            part.append(row)
            size += weight
    if part:
        if not is_first and commits:
            db.commit()
        yield part


def _split(db: Database, column: Column, encoder: Encoder, row: Row) -> list[Chunk]:
    if column.chunks is None or row.get("error") or text.is_empty(row["source"]):
        return []
    try:
        return encoder.split(row["source"], column.chunks.tokens, column.chunks.overlap, db.check_interrupts)
    except errors.PgembedError as error:
        raise Unusable(error.sqlstate, faults.said(error), error) from error


def _make(db: Database, column: Column, encoder: Encoder, rows: Sequence[Row]) -> tuple[list[Made], list[tuple[Row, Failure]]]:
    """Embed rows, or their chunks; those of which no vector can be made, and why, come second."""
    if not rows:
        return [], []
    parts: list[list[Chunk]] = [list(row["chunks"]) if column.chunks else [] for row in rows]
    texts = [
        [row["source"][part.start : part.end] for part in of_row] if column.chunks else [row["source"]]
        for row, of_row in zip(rows, parts, strict=True)
    ]
    flat = [one for of_row in texts for one in of_row]
    ends = [0, *accumulate(map(len, texts))]
    done = embed_texts(encoder, flat, db.check_interrupts)
    bad: dict[int, Failure] = {}
    for position, failure in done.failed.items():
        bad.setdefault(bisect_right(ends, position) - 1, failure)
    made = [
        Made(row, [done.images[at] for at in range(begin, end)], [done.cut[at] for at in range(begin, end)], parts[number])
        for number, (row, (begin, end)) in enumerate(zip(rows, pairwise(ends), strict=True))
        if number not in bad
    ]
    refused = [(rows[at], Failure(rows[at]["key"], why.sqlstate, why.error, why.public)) for at, why in sorted(bad.items())]
    return made, refused


def embed_texts(encoder: Encoder, texts: Sequence[str], check: Callable[[], None]) -> Embedded:
    """Embed texts; those of which the model cannot make a vector fail alone.

    Raises:
        Unusable: the model serves no text.
        Exception: what ``check`` raises, or the server does, such as a cancel.
    """
    done = Embedded()
    _embed(encoder, texts, list(range(len(texts))), check, done)
    return done


def _embed(encoder: Encoder, texts: Sequence[str], positions: list[int], check: Callable[[], None], done: Embedded) -> None:
    if not positions:
        return
    try:
        images, cut = encoder.encode([texts[at] for at in positions], check)
    except errors.TextsRefused as error:
        refused = {positions[at] for at in error.positions}
        public = f"the model has no vector for the text: {error.reason}"
        done.failed.update({at: Failure("", error.sqlstate, public, public) for at in refused})
        _embed(encoder, texts, [at for at in positions if at not in refused], check, done)
        return
    except Interrupted:
        raise
    except Exception as error:
        if faults.is_servers(error):
            raise
        if isinstance(error, _WHOLE):
            raise Unusable(error.sqlstate, faults.said(error), error) from error
        if not done.is_proven:
            _prove(encoder, check, error)
            done.is_proven = True
        if len(positions) == 1:
            sqlstate = faults.sqlstate_of(error)
            done.failed[positions[0]] = Failure("", sqlstate, faults.said(error), f"the model failed with {type(error).__name__}")
            return
        middle = len(positions) // 2
        _embed(encoder, texts, positions[:middle], check, done)
        _embed(encoder, texts, positions[middle:], check, done)
        return
    done.images.update(zip(positions, images, strict=True))
    done.cut.update(zip(positions, cut, strict=True))


def _prove(encoder: Encoder, check: Callable[[], None], error: Exception) -> None:
    """Make sure that the model serves a harmless text, which nobody remembers.

    Raises:
        Unusable: it does not.
    """
    try:
        encoder.encode([f"a text to see whether the model works at all, {time.time_ns()}"], check)
    except Interrupted:
        raise
    except Exception as other:
        if faults.is_servers(other):
            raise
        raise Unusable(faults.sqlstate_of(error), faults.said(error), error) from error


def claim_next(
    db: Database,
    worker: str,
    target: str | None = None,
    column_name: str | None = None,
    *,
    batch_size: int | None = None,
    lease: str = "5 min",
    after: str | None = None,
    with_failed: bool = False,
) -> Held | None:
    """Claim the next batch; see `pgembed.work.claims.take`. Commit at once.

    Args:
        target: a table's name, or its OID, as text.
    """
    rows = db.execute(
        "SELECT claim, target::pg_catalog.oid::pg_catalog.text AS target, column_name, keys, attempts"
        " FROM pgembed._claim_work($1, $2, $3, $4, $5::pg_catalog.interval, $6, $7)",
        [
            "pg_catalog.text",
            "pg_catalog.regclass",
            "pg_catalog.name",
            "pg_catalog.int4",
            "pg_catalog.text",
            "pg_catalog.text",
            "pg_catalog.bool",
        ],
        [worker, target, column_name, batch_size, lease, after, with_failed],
    )
    if not rows:
        return None
    row = rows[0]
    return Held(int(row["claim"]), str(row["target"]), str(row["column_name"]), list(row["keys"]), int(row["attempts"]))


def work_on(db: Database, held: Held, encoder_of: Callable[[Column], Encoder], tally: Tally, *, chunks: int = CHUNKS) -> bool:
    """Embed a claim and end it, committing; a column that fails as a whole is paused. For any adapter: all is said in SQL.

    Args:
        held: as `pgembed._claim_work` returned it, committed.
        encoder_of: the encoder of a column. One that has ``load`` is loaded before the transaction that reads ends.
    Returns:
        Whether the column could be worked on.
    Raises:
        Exception: whatever says nothing of row, source and model, such as a cancel; the claim is ended.
    """
    failed: list[Failure] | None = None
    unusable: Unusable | None = None
    try:
        try:
            with db.subtransaction():
                column = columns.column(db, held.target, held.column_name)
            writing.must_follow(column)
            encoder = encoder_of(column)
            load = getattr(encoder, "load", None)
            if load is not None:
                load()
        except errors.UnknownTable:
            db.execute("SELECT pgembed._release_work($1, NULL, NULL, NULL)", ["pg_catalog.int8"], [held.id])
            db.commit()
            return True
        except errors.PgembedError as error:
            raise Unusable(error.sqlstate, faults.said(error), error) from error
        failed = embed_claim(db, column, encoder, held, tally, chunks=chunks)
    except Unusable as error:
        unusable = error
    except BaseException as error:
        if isinstance(error, Exception) and not isinstance(error, Interrupted) and not faults.is_servers(error):
            unusable = Unusable(faults.sqlstate_of(error), faults.said(error))
        else:
            give_back(db, held)
            raise
    if unusable is not None:
        # ends what the error has left behind
        db.commit()
        db.execute(
            "SELECT pgembed._pause_column($1, $2, $3, $4)",
            ["pg_catalog.regclass", "pg_catalog.name", "pg_catalog.text", "pg_catalog.text"],
            [held.target, held.column_name, unusable.sqlstate, unusable.message],
        )
    release(db, held, failed)
    db.commit()
    return unusable is None


def give_back(db: Database, held: Held) -> None:
    """End a claim of which nothing is known, as well as it goes: a lost connection ends it, too."""
    try:
        db.commit()
        release(db, held, None)
        db.commit()
    except Exception:  # the error that led here is the one to be seen
        return


def _keep(db: Database, claim: int) -> bool:
    return bool(db.execute("SELECT pgembed._keep_claim($1) AS is_kept", ["pg_catalog.int8"], [claim])[0]["is_kept"])


def release(db: Database, held: Held, failed: Sequence[Failure] | None) -> None:
    """End a claim, in the transaction of now.

    Args:
        failed: its rows that failed; None where nothing was tried.
    """
    db.execute(
        "SELECT pgembed._release_work($1, $2, $3, $4)",
        ["pg_catalog.int8", "pg_catalog.text[]", "pg_catalog.text[]", "pg_catalog.text[]"],
        [
            held.id,
            None if failed is None else [failure.key for failure in failed],
            None if failed is None else [failure.sqlstate for failure in failed],
            None if failed is None else [failure.error for failure in failed],
        ],
    )
