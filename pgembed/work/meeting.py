"""meeting: what a worker does when it meets writers on the rows that it is about to write.

It holds rows while it writes a batch, so it must not wait long for others: a writer who goes through the same rows in another order would
wait for it in turn, and be the one that PostgreSQL ends. It gives way first, and then takes only rows that nobody has.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

from pgembed import faults, following
from pgembed.columns import Column
from pgembed.database import Database, Row
from pgembed.work import reading, writing
from pgembed.work.failures import Failure, Unusable
from pgembed.work.tally import Tally
from pgembed.work.writing import Batch, Changed, Made

# How often a batch is written on which something else goes wrong.
TRIES = 5
# For how long a worker that holds rows waits for others: much shorter than PostgreSQL's deadlock_timeout, so that it gives way.
LOCK_MILLISECONDS = 200
_LOCK_NOT_AVAILABLE = "55P03"


@dataclass
class Written:
    """What became of a batch.

    Attributes:
        failed: rows whose state says now that they failed.
        left: how many rows were not written, because they have changed meanwhile, or something undoes it.
        is_undone: something of the table's own undoes it.
    """

    told: Tally
    failed: list[Failure]
    left: int
    is_undone: bool


@dataclass(frozen=True)
class Work:
    """A batch, and what was made of it; see `pgembed.work.writing.write`."""

    batch: Batch
    made: Sequence[Made]
    refused: Sequence[tuple[Row, Failure]]

    @property
    def keys(self) -> list[str]:
        """Of all its rows."""
        batch = self.batch
        rows = [*batch.broken, *batch.empty, *batch.back, *(one.row for one in self.made), *(row for row, _ in self.refused)]
        return [row["key"] for row in rows]

    def only(self, keys: Set[str]) -> Work:
        """What of it is about these rows."""
        lists = (self.batch.broken, self.batch.empty, self.batch.back, self.batch.changed)
        return replace(
            self,
            batch=Batch(*([row for row in rows if row["key"] in keys] for rows in lists)),
            made=[one for one in self.made if one.row["key"] in keys],
            refused=[(row, why) for row, why in self.refused if row["key"] in keys],
        )


def write(db: Database, column: Column, work: Work, *, commits: bool) -> Written | None:
    """Write a batch; None where the column is another one now.

    Args:
        commits: False in a transaction of the caller's, who waits as long as he likes.
    Raises:
        Exception: what the database raises, and neither a writer nor a source is to blame.
    """
    tries = TRIES if commits else 1
    met = False
    whole = len(work.keys)
    while True:
        tries -= 1
        try:
            with following.as_owner(db, column.table), db.subtransaction():
                writing.check(db, column)
                mine = work.only(_free(db, column, work.keys)) if met else work
                before = None if met or not commits else _hurry(db)
                told = Tally()
                left, failed = writing.write(db, column, mine.batch, mine.made, mine.refused, told)
                is_undone = bool(left) and writing.suppressed(db, column, left, mine.made)
                if before is not None:
                    _set_timeout(db, before)
                gone = whole - len(mine.keys)
                told.overtaken += gone
                return Written(told, failed, len(left) + gone, is_undone)
        except Changed:
            return None
        except Exception as error:
            sqlstate = faults.sqlstate_of(error)
            if tries and (sqlstate == _LOCK_NOT_AVAILABLE or sqlstate[:2] == "40"):
                met = True
                continue
            if tries and faults.is_data_error(error):
                # somebody has written a row of which the source fails now; whoever reads it next finds out
                broken = _broken(db, column, work.keys)
                if broken:
                    work = work.only(set(work.keys) - broken)
                    continue
            if has_changed(db, column, error):
                return None
            raise


def has_changed(db: Database, column: Column, error: Exception) -> bool:
    """Whether an error comes of the column's having become another one meanwhile."""
    # what the source's evaluation says in our words may come of it, too
    if faults.is_servers(error) or isinstance(error, Unusable):
        return False
    try:
        with following.as_owner(db, column.table), db.subtransaction():
            writing.check(db, column)
    except Changed:
        return True
    except Exception as other:
        return faults.is_lost_name(other)
    return False


def _free(db: Database, column: Column, keys: Sequence[str]) -> set[str]:
    """Those of some rows that nobody has, locked; where somebody has each of them, the first one, waited for with no row in hand."""
    found = reading.lock(db, column, keys, "SKIP LOCKED")
    return set(found or reading.lock(db, column, keys[:1], ""))


def _broken(db: Database, column: Column, keys: Sequence[str]) -> set[str]:
    with following.as_owner(db, column.table), db.subtransaction():
        rows = reading.rows(db, column, keys, f"{reading.NEEDY}, {reading.quoted('failed')}")
    return {row["key"] for row in rows if row.get("error")}


def _hurry(db: Database) -> str:
    """Wait no longer than a moment for others from now on; returns for how long before."""
    row = db.execute("SELECT pg_catalog.current_setting('lock_timeout') AS before")[0]
    _set_timeout(db, f"{LOCK_MILLISECONDS}ms")
    return str(row["before"])


def _set_timeout(db: Database, value: str) -> None:
    db.execute("SELECT pg_catalog.set_config('lock_timeout', $1, true)", ["pg_catalog.text"], [value])
