"""Sessions are killed in link_table while texts change: no text has links of two states, or lacks some, and a later call goes on."""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict

import pytest
from kill.support import Connection, Mortal, is_lost, pause, portions, wait_until
from psycopg import Error

NAMES = ("Contoso", "Fabrikam", "Northwind", "Tailspin", "Wingtip", "Proseware", "Litware", "Adatum", "Trey", "Lucerne")
TEXTS = 240
CALL = "CALL pgembed.link_table('makers', 'article', 'body', 'article_link', batch_size => 6)"

Links = frozenset[tuple[int, int, int]]


class Story:
    """Texts that change, and what their links must be in each of their states."""

    def __init__(self, db: Connection, seed: int) -> None:
        self.drawn = random.Random(f"links {seed}")
        self.links: dict[int, dict[str, Links]] = defaultdict(dict)  # of a text: by the hash of a state
        db.execute("CREATE TABLE maker (id int PRIMARY KEY, name text); CREATE TABLE article (id int PRIMARY KEY, body text)")
        for number, name in enumerate(NAMES):
            db.execute("INSERT INTO maker VALUES (%s, %s)", [number, name])
        db.execute("SELECT pgembed.create_linker('makers', 'maker', names => 'name')")
        for number in range(TEXTS):
            db.execute("INSERT INTO article VALUES (%s, %s)", [number, self.body(number)])

    def body(self, number: int) -> str:
        """A new state of a text."""
        content, places = "", []
        for maker in self.drawn.sample(range(len(NAMES)), self.drawn.randint(1, 4)):
            content += "We met "
            places.append((len(content) + 1, len(content) + 1 + len(NAMES[maker]), maker))
            content += f"{NAMES[maker]} today. "
        self.links[number][hashlib.sha256(content.encode()).hexdigest()[:32]] = frozenset(places)
        return content

    def go_on(self, db: Connection) -> None:
        """Change, delete and bring back some texts."""
        for number in self.drawn.sample(range(TEXTS), TEXTS // 2):
            if self.drawn.random() < 0.1:
                db.execute("DELETE FROM article WHERE id = %s", [number])
            else:
                body = self.body(number)
                db.execute("INSERT INTO article VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET body = excluded.body", [number, body])

    def prove(self, db: Connection) -> int:
        """Every text has all links of the state that it was linked in; how many are linked as they are now."""
        found: dict[int, set[tuple[int, int, int]]] = defaultdict(set)
        for number, start, end, maker in db.execute(
            "SELECT article_id, start_char, end_char, maker_id FROM article_link WHERE decision = 'link'"
        ).fetchall():
            found[number].add((start, end, maker))
        states = dict(db.execute("SELECT article_id, encode(text_hash, 'hex') FROM article_link_text").fetchall())
        for number, state in states.items():
            assert found.pop(number, set()) == self.links[number][state], f"text {number}"
        assert not found, f"links of texts that nobody has linked: {found}"
        now = dict(db.execute("SELECT id, encode(substr(sha256(convert_to(body, 'UTF8')), 1, 16), 'hex') FROM article").fetchall())
        assert {*states} <= {*now}
        return sum(states.get(number) == state for number, state in now.items())


@pytest.mark.parametrize(("seed", "kills"), portions("links", 10))
def test_sessions_that_link_die(mortal: Mortal, seed: int, kills: int) -> None:
    story = Story(mortal.db, seed)
    try:
        mortal.db.execute(CALL)
        assert story.prove(mortal.db) == TEXTS
        half = 0
        for number in range(kills):
            story.go_on(mortal.db)
            before = story.prove(mortal.db)
            session = mortal.connect()
            session.execute("SELECT mention FROM pgembed.link(NULL::maker, 'Contoso')")  # all that it needs is loaded
            pid = session.info.backend_pid
            call = _Call(session)
            waited = pause(story.drawn, 0.5)
            if mortal.is_backend(pid):
                mortal.kill_backend(pid)
            call.end()
            done = story.prove(mortal.db)
            half += before < done < TEXTS and not call.finished
            assert done >= before, f"{number}: after {waited:.3f} s work was lost"
        mortal.db.execute(CALL)
        rows = mortal.db.execute("SELECT count(*) FROM article").fetchone()
        assert rows == (story.prove(mortal.db),)
        assert half, "none has died half way: nothing was tried"
    finally:
        mortal.db.execute("SELECT pgembed.drop_linker('makers')")
        mortal.db.execute("DROP TABLE maker, article, article_link, article_link_correction CASCADE")
    mortal.must_be_well()


class _Call:
    """One call in a session of its own, until its end or its death."""

    def __init__(self, session: Connection) -> None:
        import threading

        self._session = session
        self.finished = False
        self._errors: list[Error] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._session.execute(CALL.encode())
            self.finished = True
        except Error as error:
            self._errors.append(error)

    def end(self) -> None:
        wait_until(lambda: not self._thread.is_alive(), "the end of a call")
        self._session.close()
        assert all(is_lost(error) for error in self._errors), self._errors
