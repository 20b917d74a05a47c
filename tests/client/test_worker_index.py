"""pgembed worker builds indexes concurrently: of a new model, and the first one of a column that it has filled; and dies meanwhile."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest
from support import Connect, Connection, MakeRole, Notices, wait_until
from workers import Start, Worker, one, states

MODEL = "all-minilm-l6-v2-int8"


@pytest.fixture
def words(db: Connection) -> Connection:
    """Forty rows with vectors of one model, with an index, and another model beside it."""
    db.execute("SELECT pgembed.register_model('old', %s, dim => 32), pgembed.register_model('new', %s, dim => 48)", [MODEL, MODEL])
    db.execute("CREATE TABLE t (id int PRIMARY KEY, body text)")
    db.execute("INSERT INTO t SELECT n, 'thing ' || n FROM generate_series(1, 40) AS n")
    db.execute("SELECT pgembed.add_embedding('t', 'body', 'old', sync => 'queued')")
    db.execute("CALL pgembed.refresh('t')")
    db.execute("CREATE INDEX ON t USING hnsw (embedding vector_cosine_ops) WITH (m = 5)")
    return db


@pytest.fixture
def held(words: Connection, connect: Connect, start: Start) -> tuple[Worker, Connection]:
    """A worker that builds the index of the new model, and a session that has written: its transaction is what the index waits for."""
    words.execute("CALL pgembed.change_model('t', 'new', wait => false)")
    writer = connect(words)
    writer.execute("BEGIN; INSERT INTO t VALUES (1000, 'late')")
    worker = start("--name", "one")
    wait_until(lambda: "index of t.embedding_next" in str(one(words, "SELECT doing FROM pgembed.workers UNION ALL SELECT '' LIMIT 1")))
    wait_until(lambda: indexes(words) == [False])
    return worker, writer


def indexes(db: Connection, column: str = "embedding_next") -> list[bool]:
    """Whether each hnsw index of a column is valid."""
    found = db.execute(
        "SELECT i.indisvalid FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]"
        " WHERE i.indrelid = 't'::regclass AND a.attname = %s AND pg_get_indexdef(i.indexrelid) LIKE '%%hnsw%%'",
        [column],
    )
    return [row[0] for row in found.fetchall()]


class Call(threading.Thread):
    """A statement in another session."""

    def __init__(self, session: Connection, statement: str) -> None:
        super().__init__()
        self._session, self._statement = session, statement
        self.error: psycopg.Error | None = None
        self.start()

    def run(self) -> None:
        try:
            self._session.execute(self._statement)
        except psycopg.Error as error:
            self.error = error


def backend(db: Connection) -> Any:
    return one(db, "SELECT max(pid) FROM pg_stat_activity WHERE application_name LIKE 'pgembed worker one: builds index%'")


def test_nobody_waits_for_the_index_of_a_new_model(words: Connection, held: tuple[Worker, Connection], connect: Connect) -> None:
    worker, writer = held
    other = connect(words)
    other.execute("SET lock_timeout = '5s'; INSERT INTO t VALUES (2000, 'new')")
    # hands go on
    wait_until(lambda: bool(one(other, "SELECT embedding IS NOT NULL AND embedding_next IS NOT NULL FROM t WHERE id = 2000")))
    assert indexes(words) == [False]
    call = Call(other, "CALL pgembed.change_model('t', 'new')")
    wait_until(lambda: one(words, "SELECT state FROM pgembed._model_change") == "indexing")
    assert one(words, "SELECT count(*) FROM pgembed.search(NULL::t, 'thing 5', k => 3)") == 3
    writer.execute("COMMIT")
    call.join(60)
    assert call.error is None
    assert words.execute("SELECT column_name, model FROM pgembed._embedding WHERE role = 'current'").fetchall() == [("embedding", "new")]
    assert (indexes(words, "embedding"), indexes(words, "embedding_previous")) == ([True], [True])
    made = "SELECT count(*) FROM pg_indexes WHERE indexdef LIKE '%(embedding vector_cosine_ops) WITH (m=''5'')%'"
    assert one(words, made) == 1
    assert "built 1 index of t.embedding_next" in worker.said()
    wait_until(lambda: one(words, "SELECT doing FROM pgembed.workers") is None)


def test_chunks_of_a_new_model_are_made_by_a_worker_and_so_is_their_index(words: Connection, start: Start) -> None:
    words.execute("SELECT pgembed.add_embedding('t', 'body', 'old', 'part', chunk_tokens => 1, sync => 'queued')")
    words.execute("CALL pgembed.refresh('t', 'part')")
    words.execute("CREATE INDEX ON t_part_chunk USING hnsw (embedding vector_cosine_ops) WITH (m = 6)")
    words.execute("CALL pgembed.change_model('t', 'new', 'part', wait => false)")
    worker = start("--once")
    assert worker.ended() == 0
    assert "built 1 index of t.part_next" in worker.said()
    valid = (
        "SELECT bool_and(indisvalid) FROM pg_index WHERE indrelid = 't_part_next_chunk'::regclass AND pg_get_indexdef(indexrelid) LIKE %s"
    )
    assert one(words, valid, ["%USING hnsw (embedding vector_cosine_ops) WITH (m='6')"])
    words.execute("SELECT pgembed.switch_model('t', 'part')")
    assert one(words, "SELECT count(*) FROM t_part_chunk WHERE vector_dims(embedding) = 48") == 80
    assert one(words, "SELECT (item).id FROM pgembed.search(NULL::t, 'thing', k => 1, column_name => 'part')")


def test_the_call_builds_none_while_a_worker_is_alive(words: Connection, start: Start, notices: Notices) -> None:
    start()
    wait_until(lambda: one(words, "SELECT count(*) FROM pgembed.workers") == 1)
    words.execute("CALL pgembed.change_model('t', 'new')")
    assert not any("wait until it is" in said.message for said in notices)
    assert indexes(words, "embedding") == [True]


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_what_a_worker_has_left_unfinished_the_next_one_builds_anew(
    words: Connection, held: tuple[Worker, Connection], start: Start, how: str
) -> None:
    worker, writer = held
    if how == "kill":
        pid = backend(words)
        worker.process.kill()
        words.execute("SELECT pg_terminate_backend(%s)", [pid])
        wait_until(lambda: one(words, "SELECT count(*) FROM pg_stat_activity WHERE pid = %s", [pid]) == 0)
        assert indexes(words) == [False]
    else:
        assert worker.stop() == 0
        assert "Traceback" not in worker.said()
    writer.execute("COMMIT")
    second = start("--once")
    assert second.ended() == 0
    assert indexes(words) == [True]
    assert one(words, "SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0
    assert one(words, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 1347570757") == 0


def test_whoever_builds_by_hand_is_not_disturbed(words: Connection, start: Start) -> None:
    words.execute("CALL pgembed.change_model('t', 'new', build_index => false)")
    assert start("--once").ended() == 0
    assert indexes(words) == []
    words.execute("CALL pgembed.change_model('t', 'new', wait => false)")
    words.execute("SELECT pgembed._wake_workers()")
    assert start("--once", "--no-indexes").ended() == 0
    assert indexes(words) == []
    assert start("--once").ended() == 0
    assert indexes(words) == [True]


def test_a_worker_of_the_tables_owner_builds_it_too(words: Connection, start: Start, connect: Connect, make_role: MakeRole) -> None:
    role = make_role("owner", "NOSUPERUSER")
    words.execute(f"GRANT CREATE, USAGE ON SCHEMA public TO {role}; ALTER TABLE t OWNER TO {role}")
    ours = "SELECT p.oid::regprocedure::text FROM pg_proc AS p WHERE pronamespace = 'public'::regnamespace AND proname LIKE 't\\_%%'"
    for (function,) in words.execute(ours).fetchall():
        words.execute(f"ALTER ROUTINE {function} OWNER TO {role}")
    session = connect(words)
    session.execute(f"SET ROLE {role}")
    session.execute("CALL pgembed.change_model('t', 'new', wait => false)")
    assert start("--once", options=f"-c role={role}").ended() == 0
    assert indexes(words) == [True]
    session.execute("CALL pgembed.change_model('t', 'new')")
    assert one(session, "SELECT state FROM pgembed.model_changes") == "switched"
    session.execute("SELECT pgembed.rollback_model('t')")
    session.execute("SELECT pgembed.switch_model('t')")
    session.execute("SELECT pgembed.finish_model_change('t')")


def test_a_large_column_that_a_worker_has_filled_gets_its_first_index(db: Connection, start: Start) -> None:
    db.execute("SELECT pgembed.register_model('old', %s, dim => 8)", [MODEL])
    db.execute("CREATE TABLE t (id int PRIMARY KEY, body text)")
    db.execute("SELECT pgembed.add_embedding('t', 'body', 'old', sync => 'queued')")
    db.execute("INSERT INTO t SELECT n, 'thing ' || n % 10 FROM generate_series(1, 5100) AS n")
    db.execute("CALL pgembed.refresh('t', build_index => false)")
    # a few rows say nothing: somebody may have dropped the index
    db.execute("UPDATE t SET body = 'thing 1' WHERE id < 20")
    assert start("--once").ended() == 0
    assert indexes(db, "embedding") == []
    db.execute("INSERT INTO t SELECT n, 'thing ' || n % 10 FROM generate_series(6001, 6550) AS n")
    assert start("--once", "--batch-size", "100").ended() == 0
    assert indexes(db, "embedding") == [True]
    assert one(db, "SELECT to_regclass('t_embedding_idx') IS NOT NULL")


def test_two_workers_carry_the_backfill_and_all_can_see_how_far_they_are(db: Connection, start: Start, connect: Connect) -> None:
    db.execute("SELECT pgembed.register_model('old', %s, dim => 32), pgembed.register_model('new', %s, dim => 48)", [MODEL, MODEL])
    db.execute("CREATE TABLE t (id int PRIMARY KEY, body text)")
    db.execute("INSERT INTO t SELECT n, 'thing ' || n FROM generate_series(1, 600) AS n")
    db.execute("SELECT pgembed.add_embedding('t', 'body', 'old', sync => 'queued')")
    db.execute("CALL pgembed.refresh('t')")
    for name in ("one", "two"):
        start("--name", name, "--batch-size", "20")
    wait_until(lambda: one(db, "SELECT count(*) FROM pgembed.workers") == 2)
    call = Call(connect(db), "CALL pgembed.change_model('t', 'new', batch_size => 20)")
    seen: list[tuple[int, int, Any]] = []
    while call.is_alive():
        row = db.execute("SELECT done, rows, extract(epoch FROM eta)::float8 FROM pgembed.model_changes WHERE state = 'filling'").fetchone()
        if row is not None and row[0] is not None:
            seen.append(row)
    call.join()
    assert call.error is None
    assert {row[1] for row in seen} == {600}
    counted = [row[0] for row in seen]
    assert counted == sorted(counted)
    assert any(0 < done < 600 and eta is not None and 0 < eta < 600 for done, _, eta in seen)
    wait_until(lambda: one(db, "SELECT min(rows_done) FROM pgembed.workers") > 0)
    assert states(db, "t") == {"fresh": 600}
    assert one(db, "SELECT bool_and((embedding <=> pgembed.embed(body, 'new', 'document')) < 1e-6) FROM t WHERE id % 50 = 0")
