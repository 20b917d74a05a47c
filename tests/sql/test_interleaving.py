"""Writers, workers, refresh and the switch of models on the same rows, in every order of their steps, at every isolation level.

The sessions here are what they are elsewhere: writers over SQL, workers as `pgembed.worker.hand` works, with stops between the statements
that others can see. After each step no row may be called fresh that is not. After each order one more worker embeds what is left; then
every row is right, nothing is claimed, and no text was embedded twice. The database's default level is SERIALIZABLE, so each one who
works chooses a level for itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
import shifted
from interleaved import Explorer
from staged import DIM, HAND, LEVELS, OLD, OTHER, SHORTER, SNAPSHOTS, WORDS, WORK, Stage, truth

from pgembed.work import meeting


@pytest.fixture(scope="module")
def stage(server_url: str, installed_server: Any) -> Iterator[Stage]:
    """One database for all of these tests, whose transactions are SERIALIZABLE where nobody says something else."""
    name = f"pgembed_interleaved_{os.getpid()}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {installed_server.template_dbname}")
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
        connection.execute(f"ALTER DATABASE {name} SET deadlock_timeout = '300ms'")
        with closing(psycopg.connect(server_url, dbname=name, autocommit=True)) as inside:
            shifted.register(inside.execute, "old", "new", dim=DIM, words=WORDS)
            inside.execute(
                """
                CREATE TABLE t (id int PRIMARY KEY, body text, divisor int NOT NULL DEFAULT 1, other int);
                CREATE TABLE truth (body text PRIMARY KEY, old vector(16), new vector(16));
                CREATE FUNCTION right_hash(bytea) RETURNS bytea IMMUTABLE LANGUAGE sql AS 'SELECT substr($1, length($1) - 15)';
                """
            )
            inside.execute("SELECT pgembed.add_embedding('t', $$ body || left('', 1 / divisor) $$, 'old', sync => 'queued')")
            with inside.cursor() as cursor:
                rows = zip(map(shifted.word, range(WORDS)), truth("old").tolist(), truth("new").tolist(), strict=True)
                cursor.executemany("INSERT INTO truth VALUES (%s, %s::float4[]::vector, %s::float4[]::vector)", list(rows))
        made = Stage(server_url, name)
        yield made
        made.close()
        with closing(psycopg.connect(server_url, dbname=name, autocommit=True)) as inside:
            shifted.forget(inside.execute)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_every_order_is_tried_and_who_waits_has_no_next_step(stage: Stage) -> None:
    """Two transactions of three steps have 20 orders; where the second steps want the same row, 14 of them can be."""
    for write, orders in (("SELECT", 20), ("UPDATE t SET other = 1 WHERE id = {a}", 14)):
        explorer = Explorer(stage.watching)
        told = set()
        stage.reset()
        for _ in explorer.orders(lambda write=write: [stage.writer("REPEATABLE READ", write, number=number) for number in (0, 1)]):
            told.add(explorer.story)
        assert (explorer.runs, len(told), explorer.strayed) == (orders, orders, 0)


# ------------------------------------------------------------------------------------------------------------------- writer and worker

WRITES = {
    "text": f"UPDATE t SET body = '{OTHER}' WHERE id = {{a}}",
    "unrelated": "UPDATE t SET other = 1 WHERE id = {a}",
    "vector": f"UPDATE t SET embedding = {HAND} WHERE id = {{b}}",
    "delete": "DELETE FROM t WHERE id = {a}",
}
MORE_WRITES = {
    "nothing": "UPDATE t SET body = NULL WHERE id = {a}",
    "upsert": f"INSERT INTO t (id, body) VALUES ({{a}}, '{OTHER}') ON CONFLICT (id) DO UPDATE SET body = excluded.body",
    "key": "UPDATE t SET id = id + 5 WHERE id = {a}",
    "back": f"UPDATE t SET body = '{OTHER}' WHERE id = {{a}}; UPDATE t SET body = '{OLD}' WHERE id = {{a}}",
    "all": "UPDATE t SET body = (ARRAY['wad', 'wae', 'waf'])[id % 10]",
}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("write", WRITES)
def test_a_writer_and_a_worker(stage: Stage, write: str, level: str) -> None:
    stage.declare("queued")
    stops = SHORTER if level in SNAPSHOTS else WORK
    assert stage.explore(lambda: [stage.writer(level, WRITES[write]), stage.workers[0].session(stops)]) >= 10


@pytest.mark.parametrize("write", MORE_WRITES)
def test_a_writer_and_a_worker_at_read_committed(stage: Stage, write: str) -> None:
    stage.declare("queued")
    # a row with another key is another row
    most = 2 if write == "key" else 1
    stage.explore(lambda: [stage.writer("READ COMMITTED", MORE_WRITES[write]), stage.workers[0].session(WORK)], most=most)


def test_a_writer_who_takes_it_back_and_a_worker(stage: Stage) -> None:
    stage.declare("queued")
    stage.explore(lambda: [stage.writer("READ COMMITTED", WRITES["text"], end="ROLLBACK"), stage.workers[0].session(WORK)])


def test_a_writer_who_goes_the_other_way_is_no_deadlocks_victim(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "LOCK_MILLISECONDS", 50)
    stage.declare("queued")
    steps = (WRITES["text"].replace("{a}", "{b}"), WRITES["text"])
    stage.explore(lambda: [stage.writer("READ COMMITTED", *steps), stage.workers[0].session(WORK)])


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("write", ["text", "unrelated", "upsert"])
def test_a_writer_who_embeds_at_once_and_a_worker(stage: Stage, write: str, level: str) -> None:
    stage.declare("immediate")
    stops = SHORTER if level in SNAPSHOTS else WORK
    stage.explore(lambda: [stage.writer(level, (WRITES | MORE_WRITES)[write]), stage.workers[0].session(stops)])


@pytest.mark.parametrize("sync", ["queued", "immediate"])
@pytest.mark.parametrize("divisor", [0, 1], ids=["mended", "broken"])
def test_a_writer_on_a_row_whose_source_fails_and_a_worker(stage: Stage, sync: str, divisor: int) -> None:
    stage.declare(sync)
    write = f"UPDATE t SET divisor = {1 - divisor} WHERE id = {{a}}"
    stage.explore(lambda: [stage.writer("READ COMMITTED", write), stage.workers[0].session(WORK)], divisor=divisor)


@pytest.mark.parametrize("failed", ["before", "now"])
def test_a_writer_who_has_written_of_failures_is_no_deadlocks_victim(stage: Stage, monkeypatch: pytest.MonkeyPatch, failed: str) -> None:
    """It embeds at once: a row that failed, or one that fails. Then it writes one that the worker may hold, who has the same to say."""
    monkeypatch.setattr(meeting, "LOCK_MILLISECONDS", 50)
    stage.declare("immediate")
    first = WRITES["text"] if failed == "before" else "UPDATE t SET divisor = 0 WHERE id = {c}"
    steps = (first, WRITES["text"].replace("{a}", "{b}"))
    worker = stage.workers[0]
    stage.explore(
        lambda: [stage.writer("READ COMMITTED", *steps), worker.session("claim, write, release, commit release")],
        divisor=int(failed == "before"),
        has_failed=failed == "before",
    )


# --------------------------------------------------------------------------------------------------------------------- worker and worker


def test_two_workers(stage: Stage) -> None:
    stage.declare("queued")
    stops = "claim, commit claim, write, commit release"
    stage.explore(lambda: [worker.session(stops, batch_size=1) for worker in stage.workers[:2]], first=0)


def test_two_workers_one_of_which_is_taken_for_dead(stage: Stage) -> None:
    stage.declare("queued")
    slow, other = stage.workers[:2]
    stage.explore(lambda: [slow.session(WORK, lease=1e-6), other.session(WORK)], most=None)


def test_a_worker_and_refresh(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.declare("queued")
    stage.explore(lambda: [stage.workers[0].session(WORK, batch_size=1), stage.refresh(monkeypatch)])


# --------------------------------------------------------------------------------------------------------------------- writer and writer

PAIRS = [("text", "text"), ("text", "unrelated"), ("text", "delete"), ("upsert", "upsert"), ("back", "text")]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("pair", PAIRS, ids=" and ".join)
def test_two_writers_who_embed_at_once(stage: Stage, pair: tuple[str, str], level: str) -> None:
    stage.declare("immediate")
    one, two = ((WRITES | MORE_WRITES)[write] for write in pair)
    two = two.replace(OTHER, shifted.word(4))
    stage.explore(lambda: [stage.writer(level, one), stage.writer(level, two, number=1)])


# ------------------------------------------------------------------------------------------------------------------------- change of model


@pytest.fixture(scope="module", params=["queued", "immediate"])
def changing(stage: Stage, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """The same while the model is being changed: rows are followed in both columns, and names are exchanged there and back."""
    stage.declare(request.param)
    stage.reset()
    while stage.workers[-1].turn():
        pass
    stage.owner.execute("CALL pgembed.change_model('t', 'new', build_index => false, switch => false)")
    yield stage
    if stage.is_switched():
        stage.owner.execute("SELECT pgembed.rollback_model('t')")
    stage.owner.execute("SELECT pgembed.rollback_model('t')")


@pytest.mark.parametrize("level", LEVELS)
def test_the_switch_and_a_writer(changing: Stage, level: str) -> None:
    changing.explore(lambda: [changing.switch(), changing.writer(level, WRITES["text"])], looks=False)


def test_the_switch_and_a_worker(changing: Stage) -> None:
    # of a batch that the switch finds between reading and writing nobody says any more what it was for
    changing.explore(lambda: [changing.switch(), changing.workers[0].session(WORK)], most=2, looks=False)
