"""A scene: tables with embedded columns, those who write and embed them, and what has happened to them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from kill import proof
from kill.support import PATIENCE, Caller, Mortal, Worker, wait_until
from kill.writers import POISON, Writer

# A source that fails for some rows, and reads two columns.
SOURCE = f"CASE WHEN topic = '{POISON}' THEN (1 / length(ltrim(topic, '{POISON}')))::text ELSE topic || ' ' || body END"
TABLES = {
    "plain": "CREATE TABLE doc (id int PRIMARY KEY, place int NOT NULL, topic text, body text NOT NULL)",
    "partitioned": """
        CREATE TABLE doc (id int, place int, topic text, body text NOT NULL, PRIMARY KEY (id, place)) PARTITION BY LIST (place);
        CREATE TABLE doc_0 PARTITION OF doc FOR VALUES IN (0);
        CREATE TABLE doc_1 PARTITION OF doc FOR VALUES IN (1);
    """,
}


class Scene:
    """Two tables, and who is at them.

    Args:
        sync: of ``doc``.
        shape: of ``doc``, see TABLES.
    """

    def __init__(self, mortal: Mortal, models: dict[str, proof.Expected], logs: Path, seed: int, *, sync: str, shape: str) -> None:
        self.mortal = mortal
        self.models = models
        self.seed = seed
        self.drawn = random.Random(f"scene {seed}")
        self.writers: list[Writer] = []
        self.workers: list[Worker] = []
        self.callers: list[Caller] = []
        self.told: list[str] = []
        self.last: Counter[str] = Counter()  # rows by state, after the last death
        self.dead_claims = 0
        self._logs = logs
        self._made: list[Worker] = []
        db = mortal.db
        db.execute("CREATE TABLE ledger (writer int PRIMARY KEY, transactions bigint NOT NULL)")
        db.execute(TABLES[shape].encode())
        db.execute("CREATE TABLE side (id int PRIMARY KEY, body text NOT NULL)")
        db.execute("SELECT pgembed.add_embedding('doc', %s, 'old', sync => %s)", [SOURCE, sync])
        db.execute("SELECT pgembed.add_embedding('side', 'body', 'old', 'part', chunk_tokens => 4, sync => 'queued')")

    def write(self, writers: int, pace: float, *, poison: bool = True) -> None:
        """Let so many writers begin."""
        for number in range(writers):
            self.writers.append(Writer(self.mortal, number, writers, self.seed, pace=pace, poison=poison))
        wait_until(lambda: all(writer.transactions >= 5 for writer in self.writers), "writing")

    def hire(self, *arguments: str) -> Worker:
        """Start a worker."""
        self._made.append(Worker(self.mortal, self._logs / f"worker-{len(self._made)}.log", *arguments))
        self.workers.append(self._made[-1])
        return self._made[-1]

    def call(self, statement: str) -> Caller:
        """Let a session run a statement again and again."""
        self.callers.append(Caller(self.mortal, statement))
        return self.callers[-1]

    def prove(self, victim: str, *, lost: bool = True) -> None:
        """After a death, and before any work: what must be so."""
        db = self.mortal.db
        self.last = proof.every_row_is_right_or_says_so(db, self.models)
        row = db.execute("SELECT count(*) FROM pgembed._claim WHERE NOT EXISTS (SELECT FROM pg_stat_get_activity(pid))").fetchone()
        dead = row[0] if row else 0
        self.dead_claims += bool(dead)
        self.told.append(f"{victim}: {dict(self.last)}, {dead} claims of the dead")
        if lost:
            proof.nothing_is_lost(db, self.writers)
        for writer in self.writers:
            writer.must_be_well()

    def settle(self) -> None:
        """Everybody stops, work is done to its end, and everything is right."""
        for writer in self.writers:
            writer.end()
        for caller in self.callers:
            caller.end()
        for worker in self.workers:
            wait_until(worker.is_ready, "the start of a worker")
            worker.stop()
        db = self.mortal.db
        # a row at which five workers died, one after the other, is given up, with that as its reason
        for table in ("doc", "side"):
            for (name,) in db.execute(
                "SELECT column_name FROM pgembed._failure WHERE sqlstate = '58000' AND table_name = %s::regclass GROUP BY 1", [table]
            ).fetchall():
                db.execute("SELECT pgembed.retry_failed(%s::regclass, %s)", [table, name])
        wait_until(self._is_done, "the work that was left")
        proof.all_is_done(db, self.models)
        proof.nothing_is_lost(db, self.writers)
        self.mortal.must_be_well()
        assert db.execute("SELECT * FROM pgembed.workers WHERE state <> 'gone'").fetchall() == []

    def _is_done(self) -> bool:
        db = self.mortal.db
        db.execute("CALL pgembed.work()")
        # a claim whose backend still ends, or whose lease has to
        return db.execute("SELECT count(*) FROM pgembed._claim").fetchone() == (0,)

    def clear(self) -> None:
        """Take everything away, whatever the test has come to."""
        for worker in self._made:
            worker.forget()
        for thread in (*self.writers, *self.callers):
            thread._stop_asked.set()
        for thread in (*self.writers, *self.callers):
            thread.join(PATIENCE)
        print(f"seed {self.seed}", *self.told, sep="\n")
        done, victims, unknown, kept = (
            sum(getattr(writer, name) for writer in self.writers) for name in ("transactions", "victims", "unknown", "kept")
        )
        print(
            f"{done} transactions, {victims} ended by deadlocks, {unknown} of unknown end, of which {kept} were committed;"
            f" {self.dead_claims} deaths left claims behind"
        )
        self.mortal.db = self.mortal.connect()
        self.mortal.db.execute("DROP TABLE IF EXISTS doc, side, ledger CASCADE; DELETE FROM pgembed._worker")
        for table in ("_embedding", "_claim", "_failure", "_pause"):
            left = self.mortal.db.execute(f"SELECT * FROM pgembed.{table}".encode()).fetchall()
            assert left == [], f"{table}: {left}"


Open = Callable[..., Scene]
