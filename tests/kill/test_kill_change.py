"""Sessions are killed in every step of a change of models: each step has come to pass or it has not, and the same call goes on."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from kill.scene import Open, Scene
from kill.support import PATIENCE, Connection, Mortal, is_lost, portions, wait_until

# A call is killed within so many seconds, the short ones within as many as they took the last time; some are left alone.
CHANGE_SECONDS = (0.4, 1.5)
FIRST_SECONDS = 0.15
ALONE = 0.3
CALLS = {
    "change": "CALL pgembed.change_model('{table}', '{model}')",
    "switch": "SELECT pgembed.switch_model('{table}', allow_missing => true)",
    "rollback": "SELECT pgembed.rollback_model('{table}')",
    "finish": "SELECT pgembed.finish_model_change('{table}')",
}
# What a step may lead to, from where; whoever is killed leaves one of these, or what was before.
BESIDE = ("filling", "indexing", "measuring", "ready")
STEPS = {
    ("none", "change"): ("preparing", *BESIDE, "switched"),
    ("preparing", "change"): (*BESIDE, "switched"),
    ("preparing", "rollback"): ("none",),
    **{(state, "change"): (*BESIDE, "switched") for state in BESIDE},
    **{(state, "switch"): ("switched",) for state in BESIDE},
    **{(state, "rollback"): ("none",) for state in BESIDE},
    ("switched", "rollback"): ("ready",),
    ("switched", "finish"): ("none",),
}


@dataclass(frozen=True)
class Place:
    """The column whose model is changed.

    Attributes:
        own: the other columns of its table.
        chunks: the table that has its vectors; None where it has them itself.
        seconds: a call of change_model is killed within one of these.
    """

    table: str
    column: str
    own: frozenset[str]
    chunks: str | None
    seconds: tuple[float, ...]


DOC = Place("doc", "embedding", frozenset({"id", "place", "topic", "body"}), None, CHANGE_SECONDS)
SIDE = Place("side", "part", frozenset({"id", "body"}), "side_part_chunk", (0.15, 0.5))


class Call(threading.Thread):
    """One call in a session of its own, whose backend has all that it needs loaded already."""

    def __init__(self, mortal: Mortal, statement: str) -> None:
        super().__init__(daemon=True)
        self._session: Connection = mortal.connect()
        self._session.execute("SELECT pgembed.embed('waa', 'old'), pgembed.embed('waa', 'new')")
        self._statement = statement
        self.pid = self._session.info.backend_pid
        self.error: psycopg.Error | None = None
        self.seconds = 0.0
        self.start()

    def run(self) -> None:
        begun = time.monotonic()
        try:
            self._session.execute(self._statement.encode())
        except psycopg.Error as error:
            self.error = error
        self.seconds = time.monotonic() - begun
        self._session.close()


def state_of(db: Connection, at: Place) -> tuple[str, str, str | None]:
    """How far the change is, the model that searches use, and the other one; registry, columns and triggers agree on it."""
    found = {
        name: (role, model, change_of)
        for name, role, model, change_of in db.execute(
            "SELECT column_name, role, model, change_of FROM pgembed._embedding WHERE table_name = %s::regclass", [at.table]
        ).fetchall()
    }
    row = db.execute("SELECT state, new_model FROM pgembed._model_change WHERE table_name = %s::regclass", [at.table]).fetchone()
    state = "none" if row is None or row[0] in ("finished", "abandoned") else row[0]
    role, model, change_of = found.pop(at.column)
    following, before = f"{at.column}_next", f"{at.column}_previous"
    assert (role, change_of) == ("current", None)
    wanted: dict[str, Any] = {}
    if state in BESIDE:
        wanted = {following: ("next", row and row[1], at.column)}
    elif state == "switched":
        wanted = {before: ("previous", "old" if model == "new" else "new", at.column)}
        assert row is not None
        assert row[1] == model
    assert found == wanted, f"{state}: {found}"
    columns = {at.column, *wanted, *([following] if state == "preparing" else [])}
    there = {
        row[0]
        for row in db.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped", [at.table]
        ).fetchall()
    }
    assert there == {*at.own, *(columns if at.chunks is None else ()), *(f"{name}_hash" for name in columns)}, f"{state}: {there}"
    if at.chunks is not None:
        names = {row[0] for row in db.execute("SELECT relname FROM pg_class WHERE relname ~ '_chunk$' AND relkind = 'r'").fetchall()}
        assert names == {f"{at.table}_{name}_chunk" for name in (at.column, *wanted)}, f"{state}: {names}"
    followed = db.execute(
        """
        SELECT e.column_name, strpos(p.prosrc, format('NEW."%%s" :=', e.hash_column)) > 0 FROM pgembed._embedding AS e
        LEFT JOIN pg_trigger AS t ON t.tgrelid = e.table_name AND t.tgname = e.trigger_name AND t.tgenabled = 'A'
        LEFT JOIN pg_proc AS p ON p.oid = t.tgfoid WHERE e.table_name = %s::regclass
        """,
        [at.table],
    ).fetchall()
    assert sorted(followed) == sorted((name, True) for name in (at.column, *wanted)), f"{state}: {followed}"
    other = next((value[1] for value in wanted.values()), None)
    return state, model, other


def objects(db: Connection, at: Place) -> list[Any]:
    """How many things of each kind belong to the table, and to the one that has its vectors."""
    tables = f"('{at.table}'::regclass, '{at.chunks or at.table}'::regclass)"
    return db.execute(
        f"""
        SELECT 'column', count(*) FROM pg_attribute WHERE attrelid IN {tables} AND attnum > 0 AND NOT attisdropped
        UNION ALL SELECT 'trigger', count(*) FROM pg_trigger WHERE tgrelid IN {tables}
        UNION ALL SELECT 'index', count(*) FROM pg_index WHERE indrelid IN {tables} AND indisvalid
        UNION ALL SELECT 'invalid index', count(*) FROM pg_index WHERE indrelid IN {tables} AND NOT indisvalid
        UNION ALL SELECT 'function', count(*) FROM pg_proc AS p WHERE pronamespace = 'public'::regnamespace
            AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e')
        """.encode()
    ).fetchall()


def indexes(db: Connection, at: Place) -> str:
    """The indexes of the same tables, where one too many is found."""
    return "\n".join(
        row[0]
        for row in db.execute(
            "SELECT pg_get_indexdef(indexrelid) FROM pg_index"
            f" WHERE indrelid IN ('{at.table}'::regclass, '{at.chunks or at.table}'::regclass)".encode()
        ).fetchall()
    )


def next_step(here: Scene, state: str) -> str:
    """What is called next: mostly what leads on, now and then what leads back."""
    if state == "none":
        return "change"
    if state == "switched":
        return here.drawn.choices(["rollback", "finish"], [2, 1])[0]
    if state == "ready":
        return here.drawn.choices(["switch", "rollback", "change"], [5, 2, 1])[0]
    return here.drawn.choices(["change", "rollback"], [8, 1])[0]


def go(here: Scene, at: Place, step: str, longest: float | None) -> tuple[Call, bool]:
    """Make a call, and kill its backend after a random time at most so long; whether it was killed."""
    _, model, other = state_of(here.mortal.db, at)
    call = Call(here.mortal, CALLS[step].format(table=at.table, model=other or ("old" if model == "new" else "new")))
    if longest is not None:
        call.join(here.drawn.uniform(0, longest))
        if call.is_alive() and here.mortal.is_backend(call.pid):
            here.mortal.kill_backend(call.pid)
            call.join(PATIENCE)
            assert not call.is_alive()
            return call, call.error is not None and is_lost(call.error)
    call.join(PATIENCE)
    assert not call.is_alive(), f"{step} hangs"
    return call, False


def search_is_of_one_space(here: Scene, text: str) -> None:
    """Whoever asks for the text of a row finds one at distance 0; in the space of the other model it would be far."""
    found = here.mortal.db.execute(
        "SELECT (item).topic || ' ' || (item).body, distance FROM pgembed.search(NULL::doc, %s, k => 1)", [text]
    ).fetchone()
    assert found is not None
    assert abs(found[1]) < 1e-5, f"searched for {text!r}, found {found}"


@pytest.mark.parametrize(("seed", "kills"), portions("change", 20))
def test_changes_of_models_die(scene: Open, seed: int, kills: int) -> None:
    here = scene(seed, sync=("queued", "auto")[seed % 2])
    die(here, DOC, kills)
    some = here.mortal.db.execute("SELECT topic || ' ' || body FROM doc WHERE topic IS NOT NULL ORDER BY id LIMIT 1").fetchone()
    assert some is not None
    search_is_of_one_space(here, some[0])


@pytest.mark.parametrize(("seed", "kills"), portions("chunked", 10))
def test_changes_of_models_over_chunks_die(scene: Open, seed: int, kills: int) -> None:
    here = scene(seed)
    die(here, SIDE, kills)
    for (content,) in here.mortal.db.execute("SELECT content FROM side_part_chunk ORDER BY id, ordinal LIMIT 3").fetchall():
        found = here.mortal.db.execute("SELECT chunk, distance FROM pgembed.search(NULL::side, %s, k => 1)", [content]).fetchone()
        assert found is not None
        assert abs(found[1]) < 1e-5, f"searched for {content!r}, found {found}"


def die(here: Scene, at: Place, kills: int) -> None:
    """Change the model of a column again and again, and back, and kill so many of the calls."""
    db = here.mortal.db
    db.execute(
        f"CREATE INDEX ON {at.chunks or at.table} USING hnsw (embedding vector_cosine_ops) WITH (m = 4, ef_construction = 16)".encode()
    )
    before = objects(db, at)
    here.write(2, pace=0.03, poison=False)
    worker = here.hire("--batch-size", "20")
    wait_until(worker.is_ready, "the start of a worker")
    taken: dict[str, float] = defaultdict(lambda: FIRST_SECONDS)
    killed = 0
    for number in range(10 * kills):
        if killed == kills:
            break
        state, model, _ = state_of(here.mortal.db, at)
        step = next_step(here, state)
        longest = here.drawn.choice(at.seconds) if step == "change" else taken[step]
        call, was_killed = go(here, at, step, None if here.drawn.random() < ALONE else longest)
        after, model_after, _ = state_of(here.mortal.db, at)
        said = f"{number}: {step} at {state} {'killed' if was_killed else 'done'} after {call.seconds:.3f} s, now {after}"
        assert after in (*STEPS[state, step], *((state,) if was_killed or step == "change" else ())), said
        assert (model_after != model) == (("switched" in (state, after)) and after != state and step != "finish"), said
        killed += was_killed
        if not was_killed:
            taken[step] = call.seconds
            assert call.error is None, f"{said}: {call.error}"
        here.prove(said)
    assert killed == kills, "the calls were too quick to be killed"
    # the same call goes on, whatever was left, and then nothing remains of it
    if state_of(here.mortal.db, at)[0] not in ("none", "switched"):
        call, _ = go(here, at, "change", None)
        assert call.error is None, call.error
        assert state_of(here.mortal.db, at)[0] == "switched"
    if state_of(here.mortal.db, at)[0] == "switched":
        call, _ = go(here, at, "finish", None)
        assert call.error is None, call.error
    here.settle()
    assert objects(here.mortal.db, at) == before, indexes(here.mortal.db, at)
