"""hand: a thread of a worker: claims a batch, embeds it, writes it, and does so again."""

from __future__ import annotations

import threading
from contextlib import suppress

import psycopg

from pgembed import errors, history
from pgembed.columns import Column
from pgembed.psycopgdb import PsycopgDatabase
from pgembed.sharing import Shared
from pgembed.work import running
from pgembed.work.claims import Held
from pgembed.work.tally import Tally
from pgembed.worker import link
from pgembed.worker.encoding import Models, Unusable
from pgembed.worker.rota import Rota, Stopped
from pgembed.worker.settings import Settings

_CLAIM = (
    "SELECT c.claim, c.target::pg_catalog.oid::pg_catalog.int8 AS target, c.column_name::pg_catalog.text AS column_name, c.keys, c.attempts"
    " FROM pgembed._claim_work($1, $2::pg_catalog.oid::pg_catalog.regclass, $3, $4, pg_catalog.make_interval(secs => $5)) AS c"
)
_CLAIM_TYPES = ("pg_catalog.text", "pg_catalog.int8", "pg_catalog.name", "pg_catalog.int4", "pg_catalog.float8")
# Texts that the model is given at a time, and memory for what it has made lately.
_PAGE, _SHARED_BYTES = 1000, 16 << 20
# What may be claimed, where some columns are left out and so the choice is made here.
_COLUMNS = (
    "SELECT e.table_name::pg_catalog.oid::pg_catalog.int8 AS target, e.column_name::pg_catalog.text AS column_name"
    " FROM pgembed._embedding AS e JOIN pg_catalog.pg_class AS t ON t.oid OPERATOR(pg_catalog.=) e.table_name"
    " WHERE e.source_function IS NOT NULL AND t.relpersistence <> 't' AND pg_catalog.pg_has_role(t.relowner, 'USAGE')"
    " AND CASE WHEN $1 IS NULL THEN e.sync <> 'manual' ELSE e.table_name OPERATOR(pg_catalog.=) $1::pg_catalog.oid END ORDER BY 1, 2"
)

# Classes of SQLSTATE of what is over soon, such as somebody's lock.
_PASSING = ("40", "55", "57")

Key = tuple[int, str]


class Hand(threading.Thread):
    """Works until the rota says stop.

    Args:
        number: of this hand, from 0.
        target: OID of the only table to work on; None for all.
    """

    def __init__(self, number: int, settings: Settings, rota: Rota, models: Models, target: int | None) -> None:
        super().__init__(name=f"hand-{number}", daemon=True)
        self._number = number
        self._settings = settings
        self._rota = rota
        self._models = models
        self._target = target
        self._db: PsycopgDatabase | None = None
        self._shown = ""
        self._last: Key | None = None
        self._shared: tuple[str, Shared] | None = None
        self._labels: dict[Key, str] = {}
        self._held: Held | None = None  # a claim that is not released yet

    def run(self) -> None:
        """Body of the thread."""
        backoff = link.Backoff()
        try:
            while not self._rota.stopping:
                try:
                    if self._db is None:
                        self._db = link.connect(self._settings, self._rota)
                        self._shown = ""
                    if self._held is not None:
                        self._give_back(self._db, self._held)
                    worked = self._turn(self._db)
                    backoff.reset()
                except Stopped:
                    break
                except psycopg.Error as error:
                    # What can be said of a column is said there.
                    self._rota.does(self._number, None)
                    # a hand that was in the model hears of a restart when the main thread has said that all is well again
                    what = "no connection to the database" if self._db is None else "a batch was cut off and is done again"
                    self._close()
                    self._rota.say(f"{what}: {link.words(error)}" + ("; trying again" if what.startswith("no") else ""))
                    self._rota.pause(backoff.wait())
                else:
                    if not worked:
                        self._rota.rest()
            if self._db is not None and self._held is None and self._rota.crash is None:
                # a lost connection is no crash: what was to be done is done
                with suppress(psycopg.Error):
                    self._note(self._db, idle=True)
        except BaseException as error:  # the main thread ends the process, and says why
            self._rota.stop(error)
        finally:
            self._close()
            self._rota.ring()

    def cancel(self) -> None:
        """Called by another thread: end the statement that runs, if one does."""
        db = self._db
        if db is not None:
            with suppress(psycopg.Error):
                db.connection.cancel_safe(timeout=2)

    def _close(self) -> None:
        link.close(self._db)
        self._db = None

    def _turn(self, db: PsycopgDatabase) -> bool:
        """One batch; False where there is none."""
        claim = self._claim(db)
        self._note(db, idle=claim is None)
        if claim is None:
            self._show(db, None)
            db.commit()
            return False
        self._held = claim
        self._rota.found()
        key = (int(claim.target), claim.column_name)
        tally = Tally()
        try:
            # pauses the column for everybody where its model fails as a whole
            usable = running.work_on(db, claim, lambda column: self._encoder(db, column), tally)
            self._held = None
            if usable:
                self._rota.worked(key)
            else:
                self._rota.has_paused = True
                hint = "pgembed.embeddings.last_error says why."
                self._rota.say(f"{self._label(key)} is paused: its model or its source fails as a whole", hint)
        except Unusable as error:
            self._undo(db)
            self._rota.avoid(key, error.message)
            self._rota.say(error.message, error.hint)
        except Stopped:
            self._undo(db)
            self._give_back(db, claim)
            raise
        except Exception as error:
            if link.is_lost(error, db):
                raise
            self._undo(db)
            self._put_off(key, error)
        finally:
            self._rota.tally(tally.done - tally.failed, tally.failed, key)
        if self._held is not None:
            self._give_back(db, claim)
        return True

    def _encoder(self, db: PsycopgDatabase, column: Column) -> Shared:
        """The encoder of a column; its model remembers texts from one claim to the next."""
        self._labels[column.table.oid, column.name] = column.label
        self._show(db, column)
        encoder = self._models.encoder(db, column)
        if self._shared is None or self._shared[0] != encoder.fingerprint:
            self._shared = (encoder.fingerprint, Shared(encoder, _PAGE, _SHARED_BYTES))
        return self._shared[1]

    def _claim(self, db: PsycopgDatabase) -> Held | None:
        """A batch to embed; committed, so that it is known whatever becomes of this process."""
        self._rota.check()
        for target, name in self._choices(db):
            try:
                values = [self._settings.name, target, name, self._settings.batch_size, self._settings.lease]
                rows = db.execute(_CLAIM, _CLAIM_TYPES, values)
                db.commit()
            except psycopg.Error as error:
                if link.is_lost(error, db):
                    raise
                self._undo(db)
                if target is not None and name is not None:
                    self._put_off((target, name), error)
                else:
                    self._rota.say(f"cannot look for work: {link.words(error)}")
                continue
            if rows:
                found = rows[0]
                self._last = (int(found["target"]), str(found["column_name"]))
                return Held(int(found["claim"]), str(found["target"]), self._last[1], list(found["keys"]), int(found["attempts"]))
        return None

    def _choices(self, db: PsycopgDatabase) -> list[tuple[int | None, str | None]]:
        """What to claim of, in this order. As a rule the database chooses; where this worker has to leave a column to others, it does."""
        avoided = self._rota.avoided()
        if not avoided:
            return [(self._target, None)]
        found = db.execute(_COLUMNS, ["pg_catalog.int8"], [self._target])
        db.commit()
        known = [(int(row["target"]), str(row["column_name"])) for row in found]
        # in a circle, so that none is always the first
        known = [key for key in known if self._last is None or key > self._last] + [
            key for key in known if self._last is not None and key <= self._last
        ]
        return [key for key in known if key not in avoided]

    def _note(self, db: PsycopgDatabase, *, idle: bool) -> None:
        """Write down how fresh columns are, now and then."""
        for target, name in self._rota.notable(idle=idle):
            try:
                history.noted(db, target, name)
                db.commit()
            except psycopg.Error as error:
                if link.is_lost(error, db):
                    raise
                self._undo(db)

    def _give_back(self, db: PsycopgDatabase, claim: Held) -> None:
        """End a claim of which nothing is known."""
        db.execute("SELECT pgembed._release_work($1, NULL, NULL, NULL)", ["pg_catalog.int8"], [claim.id])
        db.commit()
        self._held = None

    def _put_off(self, key: Key, error: Exception) -> None:
        # The error may quote a row, and what the worker says of itself in the database is for everybody.
        sqlstate = getattr(error, "sqlstate", None) or errors.PgembedError.sqlstate
        passes = sqlstate[:2] in _PASSING
        seconds = self._rota.avoid(key, f"{self._label(key)}: SQLSTATE {sqlstate}", grows=not passes)
        hint = error.diag.message_hint if isinstance(error, psycopg.Error) else getattr(error, "hint", None)
        self._rota.say(f"{self._label(key)} is put off for {seconds:.0f} s: {link.words(error)}", hint)

    def _label(self, key: Key) -> str:
        return self._labels.get(key, f"column {key[1]} of the table with OID {key[0]}")

    def _undo(self, db: PsycopgDatabase) -> None:
        db.connection.rollback()
        self._shown = ""  # what was said in the transaction is undone, too

    def _show(self, db: PsycopgDatabase, column: Column | None) -> None:
        """Say in the session's name what it does."""
        self._rota.does(self._number, f"{column.table.shown}.{column.name}" if column else None)
        doing = f"embeds {column.label}" if column else "waits"
        if doing != self._shown:
            self._shown = doing
            name = f"pgembed worker {self._settings.name}: {doing}"
            db.execute("SELECT pg_catalog.set_config('application_name', $1, false)", ["pg_catalog.text"], [name])
