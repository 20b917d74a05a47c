"""What `test_interleaving` plays: a table, workers that can be stopped between two statements, writers, refresh, the switch of models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from time import monotonic
from types import SimpleNamespace
from typing import Any

import numpy as np
import psycopg
import pytest
import shifted
from interleaved import Explorer, Gate, Session
from support import Connection

from pgembed import columns, vectors
from pgembed import refresh as refreshing
from pgembed.columns import Column
from pgembed.psycopgdb import PsycopgDatabase
from pgembed.worker import Settings, link
from pgembed.worker.hand import Hand
from pgembed.worker.rota import Rota

WORDS, DIM = 12, 16
OLD, NOW, LATER, OTHER = (shifted.word(number) for number in (0, 1, 2, 3))
HAND = "array_fill(0.5, ARRAY[16])::vector"
SNAPSHOTS = ("REPEATABLE READ", "SERIALIZABLE")
LEVELS = ("READ COMMITTED", *SNAPSHOTS)
# Where a worker is stopped.
WORK = "claim, read, write, commit release"
# The same where a writer has a step more.
SHORTER = "claim, write, commit release"


def truth(model: str) -> Any:
    """The vectors of the words by a model: (WORDS, DIM)."""
    rows = np.random.default_rng(7).standard_normal((WORDS, DIM)).astype(np.float32)
    rows = np.roll(rows, ("old", "new").index(model), axis=0)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


# ---------------------------------------------------------------------------------------------------------------------------- workers


class Gated(PsycopgDatabase):
    """A worker's database, with stops where a session's gate is wanted."""

    stops: frozenset[str] = frozenset()
    gate: Gate | None = None
    step = ""
    sqlstates: list[str | None]

    # What a statement is called, by its words; the first that fits.
    NAMES = (
        ("pgembed._claim_work(", "claim"),
        ("AS source FROM ROWS FROM", "read"),
        ("LOCK TABLE ONLY", "write"),
        ("WITH made AS", "update"),
        ("pgembed._release_work(", "release"),
    )

    def stop(self, step: str) -> None:
        if self.gate is not None and step in self.stops:
            self.gate(step)

    def execute(self, statement: str, types: Sequence[str] = (), values: Sequence[object] = (), *, keep: bool = False) -> Any:
        step = next((name for words, name in self.NAMES if words in statement), None)
        if step is not None:
            self.step = step
            self.stop(step)
        try:
            return super().execute(statement, types, values, keep=keep)
        except psycopg.Error as error:
            self.sqlstates.append(error.sqlstate)
            raise

    def commit(self) -> bool:
        self.stop(f"commit {self.step}")
        self.step = ""
        return super().commit()


class Words:
    """`pgembed.sharing.Encoder` of one of the two models, that keeps what it was asked."""

    def __init__(self, model: str, asked: Counter[str]) -> None:
        self.fingerprint = object()  # so that a hand remembers nothing of it
        self._model = model
        self._vectors = dict(zip(map(shifted.word, range(WORDS)), truth(model), strict=True))
        self._asked = asked

    def encode(self, texts: Sequence[str], check: Callable[[], None]) -> tuple[list[bytes], list[bool]]:
        self._asked.update(f"{text} by {self._model}" for text in texts)
        return vectors.to_images(np.stack([self._vectors[text] for text in texts])), [False] * len(texts)

    def split(self, *_: object) -> Any:
        raise AssertionError("nothing here is over chunks")

    def encoder(self, db: PsycopgDatabase, column: Column) -> Words:
        """As `pgembed.worker.encoding.Models`."""
        db.commit()
        return Words(str(column.model), self._asked)


class Quiet(Rota):
    """A rota that keeps what it has to say."""

    def __init__(self, name: str) -> None:
        super().__init__(name, 1)
        self.complaints: list[str] = []

    def say(self, message: str, hint: str | None = None) -> None:
        self.complaints.append(message)


class Worker:
    """A hand of a worker, its connection, and what it has embedded."""

    def __init__(self, url: str, name: str, asked: Counter[str]) -> None:
        self.rota = Quiet(name)
        self.settings = Settings(url=url, name=name, host="here")
        self.models = Words("old", asked)
        self.db = Gated(link.connect(self.settings, self.rota).connection)
        self.db.sqlstates = []
        # where there is a deadlock, the writer is the victim
        self.db.connection.execute("SET deadlock_timeout = '1min'")
        self.db.connection.commit()

    def turn(self, **changes: Any) -> bool:
        """Claim a batch and embed it; False where there is none."""
        settings = Settings(**(vars(self.settings) | changes))
        return Hand(0, settings, self.rota, self.models, None)._turn(self.db)

    def session(self, stops: str, **changes: Any) -> Session:
        """One turn, with stops before these steps."""

        def body(gate: Gate) -> None:
            self.db.stops, self.db.gate = frozenset(stops.split(", ")), gate
            try:
                self.turn(**changes)
            finally:
                self.db.gate = None

        return Session(self.settings.name, self.db.connection.info.backend_pid, body)


# ------------------------------------------------------------------------------------------------------------------------------- stage


class Stage:
    """The table, its sessions, and what must be true of it."""

    def __init__(self, server_url: str, database: str) -> None:
        self.asked: Counter[str] = Counter()
        self.base = 0
        self._opened: list[Connection] = []
        url = psycopg.conninfo.make_conninfo(server_url, dbname=database)
        plain = "-c default_transaction_isolation=read\\ committed"
        self.owner = self._connect(url)
        self.watching = self._connect(url, options=plain)
        # rows are put there as a restore does it, so that no trigger embeds them
        self._filling = self._connect(url, options=f"{plain} -c session_replication_role=replica")
        self.writers = [self._connect(url) for _ in range(2)]
        self.workers = [Worker(url, name, self.asked) for name in ("one", "two", "last")]
        self._opened += [worker.db.connection for worker in self.workers]

    def _connect(self, url: str, **options: Any) -> Connection:
        self._opened.append(psycopg.connect(url, autocommit=True, **options))
        return self._opened[-1]

    def close(self) -> None:
        for connection in self._opened:
            connection.close()

    def declare(self, sync: str) -> None:
        self.owner.execute("SELECT pgembed.alter_embedding('t', sync => %s)", [sync])

    @property
    def ids(self) -> dict[str, int]:
        return {"a": self.base + 1, "b": self.base + 2, "c": self.base + 3}

    def reset(self, *, divisor: int = 1, has_failed: bool = False) -> None:
        """Row a is stale, row b pending, row c fresh; their keys are behind all that there were, so that no session remembers them."""
        self.base += 10
        self.asked.clear()
        for worker in self.workers:
            worker.db.sqlstates.clear()
            worker.rota.complaints.clear()
        self._filling.execute("DELETE FROM t; DELETE FROM pgembed._claim; DELETE FROM pgembed._failure; DELETE FROM pgembed._pause")
        known = self._columns()
        into = "".join(f", {name}, {hashed}" for name, hashed, _ in known)
        made = "".join(f", o.{model}, m.mark || pgembed._source_hash(m.was)" for _, _, model in known)
        self._filling.execute(
            f"INSERT INTO t (id, body, divisor{into}) SELECT m.id, m.now, m.divisor{made}"
            " FROM (VALUES (%(a)s, %(now)s, %(divisor)s, %(was)s, '\\x00'::bytea), (%(b)s, %(later)s, 1, NULL, NULL),"
            " (%(c)s, %(was)s, 1, %(was)s, '')) AS m (id, now, divisor, was, mark) LEFT JOIN truth AS o ON o.body = m.was",
            self.ids | {"was": OLD, "now": NOW, "later": LATER, "divisor": divisor},
        )
        if has_failed:
            self._filling.execute(
                "WITH a AS (UPDATE t SET embedding_hash = '\\xff' WHERE id = %(a)s RETURNING id)"
                " INSERT INTO pgembed._failure SELECT 't'::regclass, 'embedding', id::text, 1, '22012', 'no', now(), now() FROM a",
                self.ids,
            )

    def check(self) -> None:
        """Rows that are called fresh are: their vectors are those of their texts, or were given by hand when the row had its text."""
        for name, hashed, model in self._columns():
            wrong = self.watching.execute(
                f"SELECT t.id, t.body, t.{name}, t.{hashed} FROM t LEFT JOIN truth AS o ON o.body = t.body"
                f" WHERE pgembed.freshness(t.{name}, t.{hashed}) = 'fresh' AND ((right_hash(t.{hashed}) = pgembed._source_hash(t.body))"
                f" AND t.divisor <> 0 AND t.{name} <-> CASE WHEN pgembed.by_hand(t.{hashed}) THEN {HAND} ELSE o.{model} END < 1e-5"
                ") IS NOT TRUE"
            ).fetchall()
            assert wrong == [], f"called fresh in {name}"

    def check_end(self, *, most: int | None = 1) -> None:
        """The same, and all is embedded that can be, once another worker has done what is left.

        Args:
            most: how often a model may have been asked for a text.
        """
        assert self._one("SELECT count(*) FROM pgembed._pause") == 0, "a column is paused"
        known = self._columns()
        needy = " OR ".join(f"pgembed.freshness({name}, {hashed}) IN ('pending', 'stale')" for name, hashed, _ in known)
        while self._one(f"SELECT EXISTS (SELECT FROM t WHERE {needy})"):
            assert self.workers[-1].turn(), "rows are left that nobody finds"
        self.check()
        for name, hashed, _ in known:
            wrong = self.watching.execute(
                f"SELECT id, body, {name}, {hashed} FROM t WHERE pgembed.freshness({name}, {hashed}) <> CASE WHEN divisor = 0 THEN 'failed'"
                f" WHEN body IS NULL AND NOT pgembed.by_hand({hashed}) THEN 'null_source' ELSE 'fresh' END"
            ).fetchall()
            assert wrong == [], f"not embedded in {name}"
        claims = "SELECT count(*) FROM pgembed._claim"
        if self._one(claims):
            self.workers[-1].turn()  # what one who was taken for dead has left; nobody takes over what somebody holds
        assert self._one(claims) == 0, "rows are claimed"
        kept = "SELECT count(*) FROM pgembed._failure AS f JOIN t ON t.id::text = f.key WHERE t.divisor <> 0"
        assert self._one(kept) == 0, "a row is said to have failed that is embedded"
        for worker in self.workers:
            assert worker.rota.complaints == []
            assert "40P01" not in worker.db.sqlstates, "the worker was in a deadlock"
        if most is not None:
            assert max(self.asked.values(), default=0) <= most, f"embedded without need: {self.asked}"

    def _one(self, statement: str) -> Any:
        row = self.watching.execute(statement).fetchone()
        assert row is not None
        return row[0]

    def _columns(self) -> list[tuple[str, str, str]]:
        return self.watching.execute("SELECT column_name, hash_column, model FROM pgembed._embedding ORDER BY 1").fetchall()

    def writer(self, level: str, *steps: str, end: str = "COMMIT", number: int = 0) -> Session:
        """A transaction; at the levels that have one its snapshot is a step of its own."""
        connection = self.writers[number]
        begin, last = f"BEGIN ISOLATION LEVEL {level}; ", [*steps[1:], end]
        listed = [f"{begin}SELECT count(*) FROM t", steps[0], *last] if level in SNAPSHOTS else [begin + steps[0], *last]
        session = Session(f"writer {number + 1}", connection.info.backend_pid, lambda gate: run(gate))
        ids = self.ids

        def run(gate: Gate) -> None:
            for step in listed:
                step = step.format_map(ids)
                gate(step)
                try:
                    connection.execute(step)
                except psycopg.Error as error:
                    connection.execute("ROLLBACK")
                    session.errors.append(error.sqlstate or "")
                    if not (level in SNAPSHOTS and error.sqlstate == "40001"):
                        raise
                    return

        return session

    def refresh(self, monkeypatch: pytest.MonkeyPatch) -> Session:
        """What `CALL pgembed.refresh` does, where each statement can be stopped at."""
        worker = self.workers[1]
        db = worker.db

        def ask(owned: Any, statement: str, types: Sequence[str], values: Sequence[object]) -> list[Any]:
            owned.must_own()
            return db.execute(statement, types, values)

        def run(gate: Gate) -> None:
            monkeypatch.setattr(refreshing, "time", SimpleNamespace(monotonic=monotonic, sleep=lambda _: gate("look again", looks=True)))
            db.stops, db.gate = frozenset(SHORTER.split(", ")), gate
            try:
                column = columns.column(db, "public.t", "embedding")
                refreshing.refresh(db, ask, column, worker.models, 10, build_index=False)
                db.commit()
            finally:
                db.gate = None

        return Session("refresh", db.connection.info.backend_pid, run)

    def is_switched(self) -> bool:
        return self.owner.execute("SELECT FROM pgembed._embedding WHERE role = 'previous'").fetchone() is not None

    def switch(self) -> Session:
        """An exchange of the names of two columns: there, and in the next run back."""
        call = "rollback_model('t')" if self.is_switched() else "switch_model('t', allow_missing => true)"

        def run(gate: Gate) -> None:
            for step in (f"BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pgembed.{call}", "COMMIT"):
                gate(step)
                self.owner.execute(step)

        return Session("owner", self.owner.info.backend_pid, run)

    def explore(
        self,
        make: Callable[[], Sequence[Session]],
        *,
        first: int | None = None,
        most: int | None = 1,
        looks: bool = True,
        **start: Any,
    ) -> int:
        """Try all orders of some sessions; how many there are.

        Args:
            first: who begins, where they are alike.
            most: as of `check_end`.
            looks: what is fresh is looked at after each step.
            start: of `reset`.
        """
        explorer = Explorer(self.watching, first=first)

        def begin() -> Sequence[Session]:
            self.reset(**start)
            return make()

        try:
            for _ in explorer.orders(begin, self.check if looks else None):
                self.check_end(most=most)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{explorer.story}") from error
        return explorer.runs
