"""claims: who embeds which rows. A claim is one batch, committed before the work begins, and ended with what it has written.

Claimers of one column go one after another for the moment that it takes: each holds the column's line in the registry until it commits, and
others pass on to another column meanwhile. A claim holds as long as its backend lives and its lease has not ended. Then somebody else takes
the rows over, in halves: so a row that kills whoever embeds it is alone in the end, and is given up.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from pgembed import catalogue, columns, conditions, declarations, errors, faults, following
from pgembed.columns import Column, Writer
from pgembed.database import Database, Row
from pgembed.work import failures, reading
from pgembed.work.failures import Ask

# Rows of a claim by kind of model, some tenths of a second of work: what is claimed and not committed is lost when its worker dies.
ROWS = {"transformer": 256, "remote": 256, "static": 2000}
# Of a column over chunks: their texts are long, and stay in memory until they are embedded.
LONG_ROWS = 50
# A row that is alone in its claim and whose worker has died so often is to blame.
DEATHS = 5
# Of a claim, how much is left to rows that failed before, so that neither they nor the others wait for ever.
FAILED_SHARE = 4
SWEEP_LOOKS = 200
# Every so many claims a session begins again with the first row: rows that changed wait for no end of new ones.
FROM_THE_START = 64

_LIVE = "c.worker <> '' AND c.expires_at > clock_timestamp() AND EXISTS (SELECT FROM pg_stat_get_activity(c.pid))"
_OF = "c.table_name OPERATOR(pg_catalog.=) $1::oid::regclass AND c.column_name = $2"
_COLUMN = ("oid", "name")

# When this session last claimed rows of a column, in claims.
_turns = count(1)
_last: dict[tuple[int, str], int] = {}
_looks: dict[tuple[int, str], int] = {}
_after: dict[tuple[int, str], str] = {}


@dataclass(frozen=True)
class Held:
    """A claim: its rows, by key as `Table.key_text` writes it, and how often they have been tried, this time included."""

    id: int
    target: str
    column_name: str
    keys: list[str]
    attempts: int


@dataclass(frozen=True)
class Wish:
    """What a claimer asks for.

    Attributes:
        worker: its name.
        batch_size: rows; None for as many as suit the model.
        lease: how long nobody else takes the rows while its backend lives, as an interval.
        after: only rows behind this key; None for all.
        with_failed: failed rows too, whenever they are to be tried again, and whether the column is paused or not.
    """

    worker: str
    batch_size: int | None = None
    lease: str = "5 min"
    after: str | None = None
    with_failed: bool = False


class Anybody:
    """What is asked about is known to be the caller's, or is nobody's secret."""

    def must_own(self) -> None:
        """Nothing to raise."""


def take(db: Database, ask: Ask, write: Writer, target: str | None, name: str | None, wish: Wish) -> Held | None:
    """Claim the next batch; None where there is nothing to do. Commit at once.

    Args:
        target, name: of a table as regclass writes it, and of its column; None for all that the caller owns.
    Raises:
        errors.NotSupported: the transaction would not see what others have claimed meanwhile.
        errors.InsufficientPrivilege: the caller does not own the table.
        errors.InvalidParameter, errors.NullNotAllowed: an argument makes no sense.
    """
    _check(db, wish)
    waiting = _candidates(db, ask, target, name, wish)
    for wait in (False, True):
        busy: list[Column] = []
        for column in waiting:
            try:
                with db.subtransaction():
                    held, is_busy = _of_column(db, ask, write, column, wish, wait=wait)
            except Exception as error:
                if not faults.is_lost_name(error):
                    raise
                continue  # whoever looks next finds what it is called now
            if held is not None:
                return held
            busy += [column] if is_busy else []
        waiting = busy
    return None


def _check(db: Database, wish: Wish) -> None:
    if not wish.worker:
        raise errors.InvalidParameter("worker is empty", hint="Give a name that says who embeds the rows.")
    if wish.batch_size is not None:
        conditions.batch_size(wish.batch_size, "Leave it out for as many rows as suit the model.")
    level = db.execute("SELECT pg_catalog.current_setting('transaction_isolation') AS level")[0]["level"]
    if level not in ("read committed", "read uncommitted"):
        raise errors.NotSupported(
            f"rows cannot be claimed at isolation level {level}: it hides what others have claimed meanwhile",
            hint="SET default_transaction_isolation = 'read committed' in the session that works.",
        )


def _candidates(db: Database, ask: Ask, target: str | None, name: str | None, wish: Wish) -> list[Column]:
    """Columns that the caller may work on, in whose turn it is."""
    if target is not None:
        found, known = columns.table(db, target)
        found.must_own()
        named = {name} if name is not None else {column.name for column in known}
        if name is not None:
            columns.chosen(found, known, name)
        tables = [found.oid]
    else:
        rows = db.execute(
            "SELECT DISTINCT e.table_name::pg_catalog.oid AS table_oid FROM pgembed._embedding AS e"
            " JOIN pg_catalog.pg_class AS t ON t.oid OPERATOR(pg_catalog.=) e.table_name WHERE pg_catalog.pg_has_role(t.relowner, 'USAGE')"
            " AND (t.relpersistence <> 't' OR t.relnamespace = pg_catalog.pg_my_temp_schema()) AND e.source_function IS NOT NULL"
        )
        tables = [int(row["table_oid"]) for row in rows]
        known = []
    paused = set()
    if not wish.with_failed:
        for row in ask(
            Anybody(), "SELECT table_name::oid AS table_oid, column_name FROM pgembed._pause WHERE until > clock_timestamp()", [], []
        ):
            paused.add((int(row["table_oid"]), row["column_name"]))
    all_known = known if target is not None else [column for oid in tables for column in columns.table(db, str(oid))[1]]
    chosen = [
        column
        for column in all_known
        if column.source_function is not None
        and column.type in columns.VECTOR_TYPES
        and column.table.keys
        and (column.table.oid, column.name) not in paused
        and (column.name in named if target is not None else column.sync != "manual")
    ]
    random.shuffle(chosen)
    return sorted(chosen, key=lambda column: _last.get((column.table.oid, column.name), 0))


def _of_column(db: Database, ask: Ask, write: Writer, column: Column, wish: Wish, *, wait: bool) -> tuple[Held | None, bool]:
    """A claim on rows of a column; else whether somebody else is claiming some at this moment."""
    place = (column.table.oid, column.name)
    size = wish.batch_size or suits(db, column)
    states = reading.NEEDY + (", 'failed'" if wish.with_failed else "")
    held, has_dead, due = _look(ask, column, size)
    start = wish.after if wish.after is not None else _start(place)
    # without a lock, so that a look for work writes nothing
    free = _free(db, column, states, start, held, 1)
    if not free and start != wish.after:
        start = wish.after
        free = _free(db, column, states, start, held, 1)
    if not free and not has_dead and (wish.with_failed or not due):
        _looks[place] = _looks.get(place, -1) + 1
        if _looks[place] % SWEEP_LOOKS == 0 and not wish.with_failed:
            failures.sweep(db, ask, column)
        return None, False
    locked = ask(
        column.table,
        f"SELECT FROM pgembed._embedding AS c WHERE {_OF} FOR NO KEY UPDATE{'' if wait else ' SKIP LOCKED'}",
        _COLUMN,
        [column.table.oid, column.name],
    )
    if not locked:
        return None, True
    _last[place] = next(_turns)
    if column.renamed:
        declarations.realign(db, write, column)
    taken = _take_over(db, ask, column, wish, states)
    if taken is not None:
        return taken, False
    held, _, due = _look(ask, column, size)
    late = [] if wish.with_failed or wish.after is not None else due[: max(1, size // FAILED_SHARE)]
    found = _free(db, column, states, start, held, size - len(late))
    if found and not wish.with_failed:
        _after[place] = found[-1]["key"]
    keys = {row["key"]: row["has_failed"] for row in found}
    chosen = [*(key for key in late if key not in keys), *keys]
    if not chosen:
        return None, False
    # what failed and was changed since begins anew
    failures.sweep(db, ask, column, [key for key, has_failed in keys.items() if not has_failed])
    return _claimed(ask, column, wish, chosen, 1), False


def _start(place: tuple[int, str]) -> str | None:
    """Where this session goes on. Before that the work index is full of rows that were embedded lately, until they are vacuumed."""
    if _last.get(place, 0) % FROM_THE_START == 0:
        _after.pop(place, None)
    return _after.get(place)


def _free(db: Database, column: Column, states: str, after: str | None, held: set[str], most: int) -> list[Row]:
    """The next rows that nobody has claimed, at most so many."""
    limit = 1 << (len(held) + most - 1).bit_length()  # few different statements, so that their plans are kept
    with following.as_owner(db, column.table):
        found = reading.page(db, column, states, after, limit)
    return [row for row in found if row["key"] not in held][:most]


def _look(ask: Ask, column: Column, size: int) -> tuple[set[str], bool, list[str]]:
    """Rows of a column that are claimed, whether some claims hold no longer, and failed rows whose time has come, at most ``size``."""
    row = ask(
        column.table,
        "SELECT coalesce((SELECT array_agg(k.key) FROM pgembed._claim AS c CROSS JOIN unnest(c.keys) AS k (key)"
        f" WHERE {_OF}), '{{}}') AS held,"
        f" EXISTS (SELECT FROM pgembed._claim AS c WHERE {_OF} AND NOT ({_LIVE})) AS has_dead,"
        " ARRAY(SELECT c.key FROM pgembed._failure AS c"
        f" WHERE {_OF} AND c.next_try <= clock_timestamp() ORDER BY c.next_try LIMIT $3) AS due",
        [*_COLUMN, "int4"],
        [column.table.oid, column.name, size],
    )[0]
    held = set(row["held"])
    return held, bool(row["has_dead"]), [key for key in row["due"] if key not in held]


def _take_over(db: Database, ask: Ask, column: Column, wish: Wish, states: str) -> Held | None:
    """A claim on rows whose worker has died, or half of them."""
    while True:
        dead = ask(
            column.table,
            "DELETE FROM pgembed._claim WHERE id = (SELECT min(c.id) FROM pgembed._claim AS c"
            f" WHERE {_OF} AND NOT ({_LIVE})) RETURNING keys, worker, attempts",
            _COLUMN,
            [column.table.oid, column.name],
        )
        if not dead:
            return None
        with following.as_owner(db, column.table):
            keys = reading.still(db, column, f"{reading.NEEDY}, 'failed'", dead[0]["keys"])
        attempts = int(dead[0]["attempts"])
        if not keys:
            continue
        if dead[0]["worker"] == "":
            return _claimed(ask, column, wish, keys, attempts)
        if len(keys) == 1 and attempts >= DEATHS:
            failures.park(db, ask, column, keys[0], attempts)
            continue
        middle = (len(keys) + 1) // 2
        if keys[middle:]:
            _claimed(ask, column, Wish("", lease=wish.lease), keys[middle:], attempts + 1)
        return _claimed(ask, column, wish, keys[:middle], attempts + 1)


def _claimed(ask: Ask, column: Column, wish: Wish, keys: Sequence[str], attempts: int) -> Held:
    row = ask(
        column.table,
        "INSERT INTO pgembed._claim (table_name, column_name, keys, worker, attempts, expires_at)"
        " VALUES ($1::oid::regclass, $2, $3, $4, $5, clock_timestamp() + $6) RETURNING id",
        [*_COLUMN, "text[]", "text", "int4", "interval"],
        [column.table.oid, column.name, list(keys), wish.worker, attempts, wish.lease],
    )[0]
    return Held(int(row["id"]), str(column.table.oid), column.name, list(keys), attempts)


def suits(db: Database, column: Column) -> int:
    """How many rows of a column are claimed at once."""
    if column.chunks is not None:
        return LONG_ROWS
    try:
        return ROWS[catalogue.describe(db, column.model, column.fingerprint).kind]
    except errors.PgembedError:  # not installed here: whoever embeds the rows may have it
        return ROWS["transformer"]


def release(db: Database, ask: Ask, claim: int, failed: Sequence[failures.Failure] | None) -> bool:
    """End a claim and keep what became of its rows; False where it is not there any more, and somebody else has them.

    Args:
        failed: None where nothing was tried, so that nothing is known of its rows.
    Raises:
        errors.InsufficientPrivilege: the caller does not own the table.
    """
    column = _column_of(db, ask, claim)
    rows = ask(Anybody(), "DELETE FROM pgembed._claim WHERE id = $1 RETURNING keys", ["int8"], [claim])
    if not rows:
        return False
    if column is not None and failed is None:
        _after.pop((column.table.oid, column.name), None)
    if column is not None and failed is not None:
        keys = set(rows[0]["keys"])
        failures.settle(db, ask, column, rows[0]["keys"], [failure for failure in failed if failure.key in keys])
    return True


def keep(db: Database, ask: Ask, claim: int, lease: str) -> bool:
    """Let a claim last from now on; False where it is not there any more."""
    _column_of(db, ask, claim)
    return bool(
        ask(
            Anybody(),
            "UPDATE pgembed._claim SET expires_at = clock_timestamp() + $2 WHERE id = $1 RETURNING id",
            ["int8", "interval"],
            [claim, lease],
        )
    )


def _column_of(db: Database, ask: Ask, claim: int) -> Column | None:
    """The column of a claim, which must be the caller's; None where either is gone."""
    rows = ask(
        Anybody(),
        "SELECT c.table_name::oid AS table_oid, c.column_name FROM pgembed._claim AS c"
        " JOIN pg_class AS t ON t.oid OPERATOR(pg_catalog.=) c.table_name"
        " WHERE c.id = $1",
        ["int8"],
        [claim],
    )
    if not rows:
        return None
    found, known = columns.table(db, str(rows[0]["table_oid"]))
    found.must_own()
    return next((column for column in known if column.name == rows[0]["column_name"]), None)


__all__ = ["Anybody", "Ask", "Held", "Wish", "keep", "release", "suits", "take"]
