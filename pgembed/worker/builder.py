"""builder: the thread of a worker that builds vector indexes concurrently, while hands embed; what is built, `concurrently` says.

It has a connection only while it looks closer, or builds. The first look, at what is small, is the main thread's.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import psycopg

from pgembed import errors, indexing
from pgembed.changing import concurrently
from pgembed.changing.concurrently import Job
from pgembed.psycopgdb import PsycopgDatabase
from pgembed.worker import link
from pgembed.worker.rota import Rota, Stopped
from pgembed.worker.settings import Settings

# How soon after the last work, and how often at last, it is looked whether there is something to build; and how far it is.
_FIRST_LOOK, _LONGEST_LOOK, _TELL_SECONDS = 0.5, 5.0, 2.0
# What fails is tried again after so long; doubled each time.
_FIRST_PUT_OFF, _LONGEST_PUT_OFF = 30.0, 3600.0
# At the end of the process, for taking away what is half built.
_LAST_MILLISECONDS = 1000
# For what others are at, such as an index of their own; hands have the same.
_LOCK_TIMEOUT = "10s"
# Its number among the hands.
_HAND = -1

Key = tuple[int, str]


class Builder(threading.Thread):
    """Builds what is missing until the rota says stop.

    Args:
        target: OID of the only table to work on; None for all.
    """

    def __init__(self, settings: Settings, rota: Rota, target: int | None) -> None:
        super().__init__(name="builder", daemon=True)
        self._settings = settings
        self._rota = rota
        self._target = target
        self._rung = threading.Event()
        self._asked = self._answered = 0
        self._look_at, self._delay = 0.0, _LONGEST_LOOK
        self._found_at = 0.0
        self._put_off: dict[Key, tuple[float, float]] = {}
        self._db: PsycopgDatabase | None = None
        self._building: tuple[str, int] | None = None  # what, and by which backend
        self._saying = threading.Lock()

    # Of the main thread.

    def look(self, db: PsycopgDatabase, *, now: bool = False) -> None:
        """Look whether there may be something to build, if it is time to, or ``now``; and say how far the present index is."""
        building = self._building
        if self._found_at != self._rota.last_found and self._rota.is_idle():
            # what was embedded may have been the last row
            self._found_at, self._delay = self._rota.last_found, _FIRST_LOOK
            now = True
        if time.monotonic() < self._look_at and not (now and building is None):
            return
        self._look_at = time.monotonic() + (_TELL_SECONDS if building else self._delay)
        self._delay = min(self._delay * 2, _LONGEST_LOOK)
        if building is not None:
            self._say_how_far(db, *building)
        elif self._settings.indexes and self._asked == self._answered and (self._filled() or concurrently.changes(db, self._target)):
            self._asked += 1
            self._rung.set()

    def is_done(self) -> bool:
        """Whether what was seen is built, or cannot be."""
        return self._asked == self._answered

    def cancel(self) -> None:
        """End what it is at, once the rota says stop: an index may take hours."""
        self._rung.set()
        db = self._db
        if db is not None:
            with suppress(psycopg.Error):
                db.connection.cancel_safe(timeout=2)

    def _filled(self) -> list[Key]:
        """Columns that were filled, once there is no more to embed for now."""
        return self._rota.filled() if self._rota.is_idle() else []

    def _say_how_far(self, db: PsycopgDatabase, what: str, pid: int) -> None:
        rows = db.execute(
            "SELECT 100 * coalesce(nullif(p.blocks_done, 0)::pg_catalog.float8 / nullif(p.blocks_total, 0),"
            " p.tuples_done::pg_catalog.float8 / nullif(p.tuples_total, 0), 0) AS percent"
            " FROM pg_catalog.pg_stat_progress_create_index AS p WHERE p.pid = $1",
            ["pg_catalog.int4"],
            [pid],
        )
        with self._saying:
            if rows and self._building is not None:
                self._rota.does(_HAND, f"{what} ({min(100.0, rows[0]['percent']):.0f} %)")

    # Of its own.

    def run(self) -> None:
        """Body of the thread."""
        try:
            while True:
                self._rung.wait()
                self._rung.clear()
                if self._rota.stopping:
                    return
                asked = self._asked
                try:
                    self._work()
                except Stopped:
                    return
                except (psycopg.Error, errors.PgembedError) as error:
                    if not self._rota.stopping:
                        self._rota.say(f"cannot look for indexes to build: {link.words(error)}")
                finally:
                    link.close(self._db)
                    self._db = None
                    self._answered = asked
                    self._rota.ring()
        except BaseException as error:  # the main thread ends the process, and says why
            self._rota.stop(error)

    def _work(self) -> None:
        """Build all that is due."""
        db = self._db = link.connect(self._settings, self._rota)
        for key in dict.fromkeys([*concurrently.changes(db, self._target), *self._filled()]):
            db.commit()
            self._rota.check()
            if self._put_off.get(key, (0.0, 0.0))[0] > time.monotonic():
                continue
            try:
                found = concurrently.due(db, *key)
                db.commit()
                if found is None:
                    self._rota.is_indexed(key)
                elif found.is_full:
                    self._build(db, key)
                self._put_off.pop(key, None)
            except (psycopg.Error, errors.PgembedError) as error:
                if self._rota.stopping or link.is_lost(error, db):
                    raise
                db.connection.rollback()
                self._fails(key, error)

    def _build(self, db: PsycopgDatabase, key: Key) -> None:
        """Build the indexes of a column, unless somebody else is at it."""
        table, name = key
        if not indexing.take_turn(db, table):
            return
        try:
            job = concurrently.due(db, table, name, alone=True)
            db.commit()
            if job is not None and job.is_full:
                self._carry_out(db, job, key)
        finally:
            if not db.connection.closed:
                db.connection.rollback()
                indexing.end_turn(db, table)
                db.commit()

    def _carry_out(self, db: PsycopgDatabase, job: Job, key: Key) -> None:
        what = f"index of {job.table.shown}.{job.label.rpartition('.')[2]}"
        _set(db, "application_name", f"pgembed worker {self._settings.name}: builds {what}")
        # a transaction that is open is waited for, and blocks nobody meanwhile
        _set(db, "lock_timeout", "0")
        _set(db, "maintenance_work_mem", job.memory)
        _set(db, "role", job.table.owner)
        db.commit()
        db.connection.autocommit = True
        self._rota.does(_HAND, what)
        self._building = (what, db.connection.info.backend_pid)
        try:
            for leftover in job.leftovers:
                db.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {leftover}")
            for statement in job.statements:
                self._rota.check()
                db.execute(statement)
            self._rota.say(f"built {len(job.statements)} index of {job.label}")
        except psycopg.Error:
            if not db.connection.closed:
                self._take_away(db, job, key)
            raise
        finally:
            with self._saying:
                self._building = None
                self._rota.does(_HAND, None)
            if not db.connection.closed:
                for name in ("role", "maintenance_work_mem"):
                    db.execute(f"RESET {name}")
                _set(db, "lock_timeout", _LOCK_TIMEOUT)
                db.connection.autocommit = False

    def _take_away(self, db: PsycopgDatabase, job: Job, key: Key) -> None:
        """Drop what is half built, if that is quickly done; else the next try does."""
        with suppress(psycopg.Error):
            _set(db, "statement_timeout", str(_LAST_MILLISECONDS))
            for leftover in concurrently.leftovers(db, job, *key):
                db.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {leftover}")
        with suppress(psycopg.Error):
            _set(db, "statement_timeout", "0")

    def _fails(self, key: Key, error: Exception) -> None:
        seconds = min(self._put_off.get(key, (0.0, _FIRST_PUT_OFF / 2))[1] * 2, _LONGEST_PUT_OFF)
        self._put_off[key] = (time.monotonic() + seconds, seconds)
        hint = error.diag.message_hint if isinstance(error, psycopg.Error) else getattr(error, "hint", None)
        self._rota.say(f"the index of column {key[1]} is put off for {seconds:.0f} s: {link.words(error)}", hint)


def _set(db: PsycopgDatabase, name: str, value: str) -> None:
    db.execute("SELECT pg_catalog.set_config($1, $2, false)", ["pg_catalog.text", "pg_catalog.text"], [name, value])
