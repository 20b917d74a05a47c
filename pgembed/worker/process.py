"""process: the main thread of a worker. It tells the database of the worker, lets hands look for work, sleeps, and is woken.

Asleep, a worker looks now and then, and writers notify it. So that they rarely have to, one that has woken stays awake for a while and
looks often. It falls asleep when writers ring for it from now on and all that wrote before have committed (`pgembed._begin_sleep`); then it
looks once more, and misses nothing. One worker holds the lock by which writers know, for all that sleep; where it is gone, another one
takes its place after a while.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import psycopg

from pgembed import errors
from pgembed.clientdb import FIND_TABLE, HOW_TABLES_ARE_WRITTEN, no_connection
from pgembed.models import threads
from pgembed.psycopgdb import PsycopgDatabase
from pgembed.worker import encoding, link
from pgembed.worker.builder import Builder
from pgembed.worker.encoding import Models
from pgembed.worker.hand import Hand
from pgembed.worker.rota import Rota
from pgembed.worker.settings import Settings

_FIRST_LOOK, _LONGEST_LOOK = 0.05, 1.0
# How often the database is told of the worker: at least, and at most.
_TELL_SECONDS, _SOON_SECONDS = 15.0, 1.0
# When the server takes it for stopped, where its lease is longer.
_SILENCE = 60.0
# At the end: how long hands may go on with what they are at before it is cancelled, and before they are left.
_PATIENCE, _LAST_PATIENCE = 3.0, 3.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run(settings: Settings) -> int:
    """Work until a signal says stop, or, where it is once only, until nothing is left to do.

    Returns:
        0; 1 where it is once only and some rows or columns have failed.
    Raises:
        errors.NotReady: there is no connection; or a living worker has this name; or the database's pgembed is of another version.
        errors.NotSupported: the server is a standby.
        errors.InsufficientPrivilege: the role owns no table with an embedded column.
        errors.UnknownTable: there is no such table.
    """
    process = _Process(settings)
    with process.signals():
        process.begin()
        return process.work()


class _Process:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._rota = Rota(settings.name, settings.jobs)
        self._db: PsycopgDatabase | None = None
        self._pid = 0
        self._hands: list[Hand] = []
        self._builder: Builder | None = None
        self._asleep = False
        self._holds = False  # the lock by which writers know that somebody sleeps
        self._notified = False
        self._slept_at = 0.0
        self._told_at = 0.0
        self._told: tuple[object, ...] = ()
        self._look_at = 0.0
        self._delay = _FIRST_LOOK
        self._backoff = link.Backoff()
        self._connect_at = 0.0
        self._looked_last = False

    @contextmanager
    def signals(self) -> Iterator[None]:
        """The first signal ends the work, the second one the process."""

        def handle(number: int, frame: FrameType | None) -> None:
            if self._rota.stopping:
                os._exit(128 + number)
            self._rota.stop()

        before = {number: signal.signal(number, handle) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def begin(self) -> None:
        """Register, and start the hands."""
        try:
            self._db = self._connected()
        except psycopg.Error as error:
            raise _refused(error) from None
        encoding.find_server_folder(self._db)
        target = _target(self._db, self._settings.table)
        models = Models(self._settings.threads)
        with threads.signals_blocked():  # signals are the main thread's
            for number in range(self._settings.jobs):
                self._hands.append(Hand(number, self._settings, self._rota, models, target))
                self._hands[-1].start()
            self._builder = Builder(self._settings, self._rota, target)
            self._builder.start()
        self._rota.say("ready")

    def work(self) -> int:
        """The loop of the main thread."""
        rota = self._rota
        while not rota.stopping:
            try:
                if self._db is None and time.monotonic() >= self._connect_at:
                    self._db = self._connected()
                    self._backoff.reset()
                    rota.say("connected again")
                self._step()
                if self._settings.once and rota.is_idle() and self._has_built():
                    break
                self._wait()
            except psycopg.Error as error:
                link.close(self._db)
                self._db = None
                rota.say(f"no connection to the database: {link.words(error)}; trying again")
                self._connect_at = time.monotonic() + self._backoff.wait()
            except errors.PgembedError as error:
                rota.stop(error)
        return self._end()

    def _has_built(self) -> bool:
        """Whether no index is to be built, at the end of the work."""
        if self._db is None or self._builder is None:
            return True
        if not self._looked_last:
            self._looked_last = True
            self._builder.look(self._db, now=True)
        return self._builder.is_done()

    def _connected(self) -> PsycopgDatabase:
        db = link.connect(self._settings, self._rota, autocommit=True)
        db.connection.add_notify_handler(self._note)
        try:
            # The server ends the session of a worker that is stopped, as its claims end: writers must not ring for it any more.
            db.execute(f"SET idle_session_timeout = {round(1000 * min(self._settings.lease, _SILENCE))}")
            db.execute("LISTEN pgembed_work")
            started = db.execute(
                "SELECT pgembed._start_worker($1, $2, $3) AS yes",
                ["pg_catalog.text", "pg_catalog.text", "pg_catalog.int4"],
                [self._settings.name, self._settings.host, self._pid],
            )
            if not started[0]["yes"]:
                raise errors.NotReady(
                    f'a worker with the name "{self._settings.name}" is at work in this database',
                    hint="Give this one another: --name. SELECT * FROM pgembed.workers shows those that are there.",
                )
        except BaseException:
            link.close(db)
            raise
        self._pid = db.connection.info.backend_pid
        self._asleep, self._holds, self._told, self._told_at = False, False, (), time.monotonic()
        return db

    def _step(self) -> None:
        """Do what is due."""
        now = time.monotonic()
        rota = self._rota
        if self._db is None:
            return
        if self._builder is not None:
            self._builder.look(self._db, now=self._notified)
        if self._notified:
            self._notified = False
            rota.last_found = now
            self._look_at = now
        if self._asleep and rota.last_found > self._slept_at:
            self._wake()
        if self._asleep:
            if now >= self._look_at:
                rota.look()
                self._look_at = now + self._settings.poll
        elif not rota.is_idle():
            self._delay, self._look_at = _FIRST_LOOK, now + _FIRST_LOOK
        elif now - rota.last_found >= self._settings.awake and not self._settings.once and self._may_sleep():
            self._asleep, self._slept_at = True, now
            self._tell()
            rota.look()
            self._look_at = now + self._settings.poll
        elif now >= self._look_at:
            rota.look()
            self._delay = min(self._delay * 2, _LONGEST_LOOK)
            self._look_at = now + self._delay
        is_due = now - self._told_at >= self._tell_seconds()
        if is_due and self._asleep and not self._holds:
            self._stand_in()
        if is_due or (self._facts() != self._told and now - self._told_at >= _SOON_SECONDS):
            self._tell()

    def _wait(self) -> None:
        """Until something happens, or is due."""
        rota = self._rota
        now = time.monotonic()
        due = self._told_at + (self._tell_seconds() if self._facts() == self._told else _SOON_SECONDS)
        if self._db is None:
            due = self._connect_at
        elif self._asleep or rota.is_idle():
            due = min(due, self._look_at)
        if self._notified:
            return
        files = [rota.bell] + ([self._db.connection.fileno()] if self._db is not None else [])
        ready, _, _ = select.select(files, [], [], min(max(due - now, 0.01), 60.0))
        if rota.bell in ready:
            rota.hear()
        if len(ready) > (rota.bell in ready):
            self._read()

    def _read(self) -> None:
        """Take what the server has sent: notifications, or the connection's end."""
        assert self._db is not None
        pgconn = self._db.connection.pgconn
        with suppress(psycopg.Error):  # the next statement says what is wrong
            pgconn.consume_input()
        while pgconn.notifies() is not None:
            self._notified = True
        if pgconn.status != psycopg.pq.ConnStatus.OK:
            self._told_at = 0.0  # find out now

    def _note(self, _: psycopg.Notify) -> None:
        """A notification that came with the answer to a statement."""
        self._notified = True

    def _may_sleep(self) -> bool:
        """Whether writers ring from now on; no, while one is at it who does not know."""
        assert self._db is not None
        found = self._db.execute("SELECT s.sleeps, s.holds FROM pgembed._begin_sleep() AS s", keep=True)[0]
        self._holds = bool(found["holds"])
        return bool(found["sleeps"])

    def _stand_in(self) -> None:
        """Where the worker is gone that slept for this one too, take its place, or get up. Writers may have rung for nobody."""
        if not self._may_sleep():
            self._wake()
        elif self._holds:
            self._rota.look()

    def _wake(self) -> None:
        """From now on writers need not notify."""
        assert self._db is not None
        if self._holds:
            self._holds = False
            self._db.execute("SELECT pgembed._end_sleep()", keep=True)
        self._asleep = False
        self._delay = _FIRST_LOOK
        self._tell()

    def _facts(self) -> tuple[object, ...]:
        rota = self._rota
        return (self._asleep, rota.doing(), rota.problem(), rota.done, rota.failed)

    def _tell_seconds(self) -> float:
        # three times in a lease, which this extends
        return min(_TELL_SECONDS, self._settings.lease / 3)

    def _tell(self) -> None:
        assert self._db is not None
        facts = self._facts()
        found = self._db.execute(
            "SELECT pgembed._tell_worker($1, $2, $3, $4, $5, $6, $7) AS yes",
            [
                "pg_catalog.text",
                "pg_catalog.bool",
                "pg_catalog.text",
                "pg_catalog.text",
                "pg_catalog.int8",
                "pg_catalog.int8",
                "pg_catalog.interval",
            ],
            [self._settings.name, *facts, f"{self._settings.lease} s"],
            keep=True,
        )
        self._told, self._told_at = facts, time.monotonic()
        if not found[0]["yes"]:
            raise errors.NotReady(
                f'another worker has taken the name "{self._settings.name}"', hint="Start each with a --name of its own, or without one."
            )

    def _end(self) -> int:
        """Let hands finish or give back what they have, and take the worker's line away."""
        rota = self._rota
        rota.stop()
        if self._builder is not None:
            self._builder.cancel()
        self._join(_PATIENCE)
        if any(hand.is_alive() for hand in self._hands):
            for hand in self._hands:
                hand.cancel()
            self._join(_LAST_PATIENCE)
        if self._db is not None:
            with suppress(psycopg.Error):  # where its backend is gone, that says as much
                self._db.execute("SELECT pgembed._end_worker($1)", ["pg_catalog.text"], [self._settings.name])
            link.close(self._db)
        if isinstance(rota.crash, psycopg.Error):
            raise _refused(rota.crash)
        if rota.crash is not None:
            raise rota.crash
        rota.say(f"ended: {rota.done} rows embedded, {rota.failed} failed")
        status = int(self._settings.once and (rota.failed > 0 or rota.has_paused or rota.problem() is not None))
        if any(hand.is_alive() for hand in self._hands):
            os._exit(status)  # whoever is still in a model must not meet an interpreter that is taken apart
        return status

    def _join(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        for thread in (*self._hands, self._builder):
            if thread is not None:
                thread.join(max(0.0, end - time.monotonic()))


def _refused(error: psycopg.Error) -> errors.PgembedError:
    """What the server has said, as an error of ours."""
    if error.sqlstate is None or error.sqlstate.startswith("08"):
        return no_connection(error)
    said = error.diag
    return errors.StatementRefused(link.words(error), sqlstate=error.sqlstate, hint=said.message_hint, detail=said.message_detail)


def _target(db: PsycopgDatabase, typed: str | None) -> int | None:
    """OID of a table that somebody has typed: schema.table, or a table of the role's own schema or of public."""
    if typed is None:
        return None
    try:
        found = db.execute(FIND_TABLE.format("$1"), ["pg_catalog.text"], [typed])
    except psycopg.errors.InvalidParameterValue:
        found = []
    if not found:
        raise errors.UnknownTable(f'table "{typed}" does not exist', hint=HOW_TABLES_ARE_WRITTEN)
    return int(found[0]["oid"])
