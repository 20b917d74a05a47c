"""Writers of the kill suite: each writes rows of its own and keeps a journal of what it has committed.

Where a connection is lost during COMMIT nobody has said whether it came to pass; a table, written in the same transaction, tells.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psycopg
import shifted
from kill.support import PATIENCE, Connection, Mortal, is_lost

# A row's topic of which its source is no text, but an error.
POISON = "poison"
# A writer has about so many rows.
FEW, MANY = 40, 110

# place, topic, body
Content = tuple[int, str | None, str]


@dataclass
class Draft:
    """What tables hold of a writer's: rows of ``doc`` and texts of ``side``, by id."""

    doc: dict[int, Content] = field(default_factory=dict)
    side: dict[int, str] = field(default_factory=dict)

    def copy(self) -> Draft:
        return Draft(dict(self.doc), dict(self.side))


def words(drawn: random.Random, most: int = 5) -> str:
    return " ".join(shifted.word(drawn.randrange(shifted.WORDS)) for _ in range(drawn.randint(1, most)))


class Writer(threading.Thread):
    """Writes until told to stop, over the deaths of its backends.

    Args:
        number: of this writer, from 0; its ids have it as remainder.
        of: how many writers there are.
        pace: seconds between two transactions, at most.
        poison: now and then a row has a source that fails.
    """

    def __init__(self, mortal: Mortal, number: int, of: int, seed: int, *, pace: float, poison: bool = True) -> None:
        super().__init__(daemon=True)
        self._mortal = mortal
        self._number = number
        self._drawn = random.Random(f"writer {number} {seed}")
        self._ids = itertools.count(number + of, of)
        self._gone: list[int] = []
        self._pace = pace
        self._poison = poison
        self._turn = threading.Lock()
        self._gate = threading.Event()
        self._stop_asked = threading.Event()
        self._session: Connection | None = None
        self._crash: BaseException | None = None
        self.committed = Draft()
        self.transactions = 0  # committed ones, as the table ledger has it
        self.victims = 0  # of deadlocks
        self.unknown = self.kept = 0  # ends of a transaction that nobody told, and those that had been a commit
        self.pid = 0
        self._gate.set()
        mortal.db.execute("INSERT INTO ledger VALUES (%s, 0)", [number])
        self.start()

    def run(self) -> None:
        try:
            while not self._stop_asked.is_set():
                self._gate.wait()
                with self._turn:
                    self._transact()
                time.sleep(self._drawn.uniform(0, self._pace))
        except BaseException as error:  # the test's thread raises it
            self._crash = error
        finally:
            if self._session is not None:
                self._session.close()

    @contextmanager
    def still(self) -> Iterator[None]:
        """Between two of its transactions."""
        self._gate.clear()
        try:
            assert self._turn.acquire(timeout=PATIENCE), "a writer hangs"
            try:
                self.must_be_well()
                yield
            finally:
                self._turn.release()
        finally:
            self._gate.set()

    def must_be_well(self) -> None:
        """Writers meet no error but deaths and deadlocks, whatever becomes of the vectors."""
        if self._crash is not None:
            raise AssertionError(f"writer {self._number} has ended: {self._crash!r}") from self._crash

    def end(self) -> None:
        self._stop_asked.set()
        self.join(PATIENCE)
        assert not self.is_alive(), "a writer hangs"
        self.must_be_well()

    def _transact(self) -> None:
        draft = self.committed.copy()
        is_committing = False
        try:
            if self._session is None:
                self._session = self._mortal.connect(autocommit=False)
                self.pid = self._session.info.backend_pid
            session = self._session
            session.execute("SELECT")  # so that blocks inside are savepoints
            for _ in range(self._drawn.randint(1, 3)):
                self._step(session, draft)
            if self._drawn.random() < 0.08:
                session.rollback()
                return
            session.execute("UPDATE ledger SET transactions = transactions + 1 WHERE writer = %s", [self._number])
            is_committing = True
            session.commit()
        except psycopg.Error as error:
            if is_lost(error) or (self._session is not None and self._session.closed):
                self._session = None
                self.unknown += is_committing
                if self._was_kept():
                    assert is_committing, "a transaction was committed that had not been asked to be"
                    self.kept += 1
                    self._keep(draft)
            elif error.sqlstate == "40P01":
                assert self._session is not None
                self._session.rollback()
                self.victims += 1
            else:
                raise
            return
        self._keep(draft)

    def _keep(self, draft: Draft) -> None:
        self._gone = [*self._gone, *(self.committed.doc.keys() - draft.doc.keys())][-20:]
        self.committed = draft
        self.transactions += 1

    def _was_kept(self) -> bool:
        while True:
            try:
                with self._mortal.connect() as session:
                    # waits for a transaction that has not ended yet
                    statement = "SELECT transactions FROM ledger WHERE writer = %s FOR UPDATE"
                    row = session.execute(statement, [self._number]).fetchone()
                    assert row is not None
                    assert row[0] in (self.transactions, self.transactions + 1)
                    return bool(row[0] > self.transactions)
            except psycopg.Error as error:
                if not is_lost(error):
                    raise

    def _step(self, session: Connection, draft: Draft) -> None:
        drawn = self._drawn
        if self._number == 0 and drawn.random() < 0.2:
            self._write_side(session, draft)
            return
        if drawn.random() < 0.1:
            thrown_away = draft.copy()
            session.execute("SAVEPOINT before")
            self._choose(thrown_away)(session, thrown_away)
            session.execute("ROLLBACK TO before")
        self._choose(draft)(session, draft)

    def _choose(self, draft: Draft) -> Callable[[Connection, Draft], None]:
        grow = [(self._insert, 4), (self._insert_some, 2), (self._copy, 1)]
        change = [(self._update, 6), (self._update_some, 3), (self._back_again, 2), (self._change_other, 2), (self._move, 1)]
        shrink = [(self._remove, 3)]
        size = len(draft.doc)
        options = grow if size < 5 else [*grow, *change] if size < FEW else [*change, *shrink] if size > MANY else [*grow, *change, *shrink]
        return self._drawn.choices([one for one, _ in options], [weight for _, weight in options])[0]

    def _content(self) -> Content:
        drawn = self._drawn
        topic: str | None = words(drawn, 1)
        if drawn.random() < 0.05:
            topic = None
        elif self._poison and drawn.random() < 0.02:
            topic = POISON
        return (drawn.randrange(2), topic, words(drawn))

    def _fresh_id(self, draft: Draft) -> int:
        gone = [one for one in self._gone if one not in draft.doc]
        # one that was there, with another text, and may be in somebody's batch
        return self._drawn.choice(gone) if gone and self._drawn.random() < 0.3 else next(self._ids)

    def _some(self, draft: Draft, most: int) -> list[int]:
        return self._drawn.sample(sorted(draft.doc), min(len(draft.doc), self._drawn.randint(1, most)))

    def _insert(self, session: Connection, draft: Draft) -> None:
        number, content = self._fresh_id(draft), self._content()
        draft.doc[number] = content
        session.execute("INSERT INTO doc (id, place, topic, body) VALUES (%s, %s, %s, %s)", [number, *content])

    def _insert_some(self, session: Connection, draft: Draft) -> None:
        made = {next(self._ids): self._content() for _ in range(self._drawn.randint(2, 15))}
        draft.doc |= made
        session.execute(
            "INSERT INTO doc (id, place, topic, body) SELECT * FROM unnest(%s::int[], %s::int[], %s::text[], %s::text[])",
            [list(made), *map(list, zip(*made.values(), strict=True))],
        )

    def _copy(self, session: Connection, draft: Draft) -> None:
        made = {next(self._ids): self._content() for _ in range(self._drawn.randint(5, 30))}
        draft.doc |= made
        with session.cursor().copy("COPY doc (id, place, topic, body) FROM STDIN") as copy:
            for number, content in made.items():
                copy.write_row((number, *content))

    def _update(self, session: Connection, draft: Draft) -> None:
        (number,) = self._some(draft, 1)
        place, _, _ = draft.doc[number]
        _, topic, body = self._content()
        draft.doc[number] = (place, topic, body)
        session.execute("UPDATE doc SET topic = %s, body = %s WHERE id = %s", [topic, body, number])

    def _update_some(self, session: Connection, draft: Draft) -> None:
        made = {number: words(self._drawn) for number in sorted(self._some(draft, 40))}
        for number, body in made.items():
            draft.doc[number] = (*draft.doc[number][:2], body)
        session.execute(
            "UPDATE doc SET body = m.body FROM unnest(%s::int[], %s::text[]) AS m (id, body) WHERE doc.id = m.id",
            [list(made), list(made.values())],
        )

    def _back_again(self, session: Connection, draft: Draft) -> None:
        (number,) = self._some(draft, 1)
        for body in (words(self._drawn), draft.doc[number][2]):
            session.execute("UPDATE doc SET body = %s WHERE id = %s", [body, number])

    def _change_other(self, session: Connection, draft: Draft) -> None:
        """A column that is not of the source; in a partitioned table the row moves to another partition."""
        (number,) = self._some(draft, 1)
        place, topic, body = draft.doc[number]
        draft.doc[number] = (1 - place, topic, body)
        session.execute("UPDATE doc SET place = 1 - place WHERE id = %s", [number])

    def _move(self, session: Connection, draft: Draft) -> None:
        (number,) = self._some(draft, 1)
        other = self._fresh_id(draft)
        draft.doc[other] = draft.doc.pop(number)
        session.execute("UPDATE doc SET id = %s WHERE id = %s", [other, number])

    def _remove(self, session: Connection, draft: Draft) -> None:
        gone = self._some(draft, 10)
        for number in gone:
            del draft.doc[number]
        session.execute("DELETE FROM doc WHERE id = ANY (%s)", [gone])

    def _write_side(self, session: Connection, draft: Draft) -> None:
        """The table whose rows have several vectors; it is emptied now and then."""
        drawn, side = self._drawn, draft.side
        what = drawn.random()
        if what < 0.05 or len(side) > 40:
            # what others are at in this table is not waited for for long, for it may wait for us
            with suppress(psycopg.errors.LockNotAvailable), session.transaction():
                session.execute("SET LOCAL lock_timeout = '100ms'; TRUNCATE side CASCADE")
                side.clear()
                session.execute("SET LOCAL lock_timeout = 0")
        elif what < 0.6 or not side:
            made = {next(self._ids): words(drawn, 20) for _ in range(drawn.randint(1, 5))}
            side |= made
            session.execute("INSERT INTO side (id, body) SELECT * FROM unnest(%s::int[], %s::text[])", [list(made), list(made.values())])
        elif what < 0.9:
            number = drawn.choice(sorted(side))
            side[number] = words(drawn, 20)
            session.execute("UPDATE side SET body = %s WHERE id = %s", [side[number], number])
        else:
            number = drawn.choice(sorted(side))
            del side[number]
            session.execute("DELETE FROM side WHERE id = %s", [number])
