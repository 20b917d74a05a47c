"""change_model(): a second column, filled and compared, names exchanged at once, the way back, and no search that compares two spaces."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
import shifted
from meanwhile import Asked, waits
from support import Connect, Connection, MakeRole, Notices, Refused, wait_until

from pgembed import indexing
from pgembed.changing import locking
from pgembed.columns import table as described
from pgembed.psycopgdb import PsycopgDatabase

ROWS = 40
ASKED = 5
# Another row has the text of the row that is asked for.
TWIN = 100 + ASKED
WORD = shifted.word(ASKED)


@pytest.fixture(scope="module")
def database(server_url: str, installed_server: Any) -> Iterator[str]:
    """A clone for all of these tests, which commit and clean up after themselves, with two models."""
    with shifted.database(server_url, installed_server.template_dbname, f"pgembed_change_{os.getpid()}") as name:
        yield name


@pytest.fixture
def db(server_url: str, database: str, roles: list[str]) -> Iterator[Connection]:
    with closing(psycopg.connect(server_url, dbname=database, autocommit=True)) as connection:
        yield connection
        connection.execute("ROLLBACK")
        connection.execute("RESET ROLE")
        connection.execute("DROP TABLE IF EXISTS t, u CASCADE")
        connection.execute("DROP FUNCTION IF EXISTS asked()")
        assert (
            connection.execute("SELECT table_name FROM pgembed._embedding UNION SELECT table_name FROM pgembed._model_change").fetchall()
            == []
        )


@pytest.fixture
def words(db: Connection) -> Connection:
    """A table of words, embedded by the model old; the model new gives each word the vector of its neighbour."""
    db.execute("CREATE TABLE t (id int PRIMARY KEY, body text, other int)")
    with db.cursor() as cursor:
        cursor.executemany("INSERT INTO t VALUES (%s, %s)", [(number, shifted.word(number)) for number in range(ROWS)])
    db.execute("INSERT INTO t VALUES (%s, %s)", [TWIN, WORD])
    db.execute("SELECT pgembed.add_embedding('t', 'body', 'old')")
    db.execute("CALL pgembed.refresh('t')")
    return db


@pytest.fixture
def ready(words: Connection) -> Connection:
    """The same with the model changed up to the switch."""
    words.execute("CALL pgembed.change_model('t', 'new', switch => false)")
    return words


def one(db: Connection, statement: str, values: object = None) -> Any:
    row = db.execute(statement, values).fetchone()
    assert row is not None
    return row[0]


def roles(db: Connection) -> dict[str, tuple[str, str]]:
    """Role and model of each embedded column."""
    found = db.execute("SELECT column_name, role, model FROM pgembed._embedding ORDER BY 1").fetchall()
    return {name: (role, model) for name, role, model in found}


def columns(db: Connection) -> list[str]:
    found = db.execute("SELECT attname FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY 1")
    return [row[0] for row in found.fetchall()]


def is_of(db: Connection, column: str, model: str) -> bool:
    """Whether all vectors of a column are a model's."""
    return bool(one(db, f"SELECT bool_and(({column} <=> pgembed.embed(body, '{model}', 'document')) < 1e-6) FROM t WHERE body IS NOT NULL"))


def top(db: Connection, word: str = WORD, more: str = "") -> set[int]:
    return {row[0] for row in db.execute(f"SELECT (item).id FROM pgembed.search(NULL::t, %s, k => 2{more})", [word]).fetchall()}


BOTH = {ASKED, TWIN}
NAMES = {"before": {"embedding": ("current", "old")}, "after": {"embedding": ("current", "new"), "embedding_previous": ("previous", "old")}}


def test_the_model_is_changed_and_changed_back_and_the_old_column_goes_last(words: Connection, notices: Notices) -> None:
    words.execute("CREATE INDEX ON t USING hnsw (embedding vector_cosine_ops) WITH (m = 5, ef_construction = 20)")
    words.execute("CREATE INDEX ON t USING hnsw (embedding vector_cosine_ops) WHERE id < 10")
    before = columns(words)
    words.execute("CALL pgembed.change_model('t', 'new')")
    assert roles(words) == NAMES["after"]
    assert is_of(words, "embedding", "new")
    assert is_of(words, "embedding_previous", "old")
    assert top(words) == BOTH
    assert top(words, more=", column_name => 'embedding_previous'") == BOTH
    made = [row[0].split(" USING ")[1] for row in words.execute("SELECT indexdef FROM pg_indexes WHERE indexdef LIKE '%hnsw%'").fetchall()]
    assert sorted(made) == sorted(
        tail.format(name)
        for name in ("embedding", "embedding_previous")
        for tail in ("hnsw ({} vector_cosine_ops) WITH (m='5', ef_construction='20')", "hnsw ({} vector_cosine_ops) WHERE (id < 10)")
    )
    assert any("writers of t wait" in said.message and "CONCURRENTLY" in (said.hint or "") for said in notices)
    words.execute("SELECT pgembed.rollback_model('t')")
    assert roles(words) == {"embedding": ("current", "old"), "embedding_next": ("next", "new")}
    assert is_of(words, "embedding", "old")
    assert top(words) == BOTH
    words.execute("SELECT pgembed.switch_model('t')")
    words.execute("SELECT pgembed.finish_model_change('t')")
    assert roles(words) == {"embedding": ("current", "new")}
    assert columns(words) == before
    assert is_of(words, "embedding", "new")
    assert top(words) == BOTH
    # nothing is left, and it can be done again
    assert one(words, "SELECT count(*) FROM pg_proc WHERE proname LIKE '%previous%' OR proname LIKE '%pgembed_probe%'") == 0
    words.execute("CALL pgembed.change_model('t', 'old')")
    assert roles(words)["embedding"] == ("current", "old")
    assert top(words) == BOTH


def test_rows_are_followed_in_both_columns_before_and_after_the_switch(ready: Connection) -> None:
    def write(key: int, word: str) -> None:
        ready.execute("INSERT INTO t VALUES (%s, 'waa') ON CONFLICT (id) DO UPDATE SET body = 'waa'", [key])
        ready.execute("UPDATE t SET body = %s WHERE id = %s", [word, key])
        ready.execute("CALL pgembed.refresh('t')")

    write(200, shifted.word(7))
    ready.execute("UPDATE t SET other = 1")
    assert is_of(ready, "embedding", "old")
    assert is_of(ready, "embedding_next", "new")
    ready.execute("SELECT pgembed.switch_model('t')")
    write(201, shifted.word(8))
    write(3, shifted.word(9))
    ready.execute("DELETE FROM t WHERE id = 4")
    assert is_of(ready, "embedding", "new")
    assert is_of(ready, "embedding_previous", "old")
    states = "SELECT bool_and(pgembed.freshness({0}, {0}_hash) = 'fresh') FROM t"
    assert one(ready, states.format("embedding"))
    assert one(ready, states.format("embedding_previous"))
    ready.execute("SELECT pgembed.rollback_model('t')")
    assert is_of(ready, "embedding", "old")
    assert top(ready, shifted.word(8)) == {8, 201}


def test_a_change_that_died_goes_on_and_one_that_is_given_up_leaves_nothing(words: Connection, refused: Refused) -> None:
    before = columns(words)
    words.execute("CALL pgembed.change_model('t', 'new', wait => false)")
    assert roles(words) == {"embedding": ("current", "old"), "embedding_next": ("next", "new")}
    # an index is there and valid, or it is not: nothing else of a step can be half done
    refused(words, "55000", "SELECT pgembed.switch_model('t')", message="41 rows of t.embedding have no vector of model new")
    refused(words, "55000", "SELECT pgembed.finish_model_change('t')", message="still use the old vectors")
    refused(words, "2BP01", "SELECT pgembed.drop_embedding('t')", hint="rollback_model('t', 'embedding')")
    refused(words, "2BP01", "SELECT pgembed.alter_embedding('t', source => 'body || body')", hint="finish_model_change('t', 'embedding')")
    words.execute("CALL pgembed.change_model('t', 'new', switch => false)")
    assert one(words, "SELECT state FROM pgembed.model_changes") == "ready"
    words.execute("SELECT pgembed.rollback_model('t')")
    assert columns(words) == before
    assert roles(words) == {"embedding": ("current", "old")}
    assert one(words, "SELECT state FROM pgembed.model_changes") == "abandoned"
    # dead between the column and its triggers
    words.execute("CALL pgembed.change_model('t', 'new', wait => false)")
    words.execute("SELECT pgembed.rollback_model('t')")
    words.execute(
        "ALTER TABLE t ADD embedding_next vector(16), ADD embedding_next_hash bytea; UPDATE pgembed._model_change SET state = 'preparing'"
    )
    words.execute("CALL pgembed.change_model('t', 'new')")
    assert roles(words) == NAMES["after"]
    assert is_of(words, "embedding", "new")


def test_what_cannot_be_changed_is_refused_with_a_way_out(words: Connection, refused: Refused, make_role: MakeRole) -> None:
    refused(words, "42710", "CALL pgembed.change_model('t', 'old')", message='t.embedding is of model "old" already')
    refused(words, "42704", "CALL pgembed.change_model('t', 'none')", message='"none" does not exist')
    refused(words, "22004", "CALL pgembed.change_model('t', NULL)", message="model is NULL")
    refused(words, "42704", "SELECT pgembed.switch_model('t')", message="is not being changed", hint="CALL pgembed.change_model")
    words.execute("BEGIN")
    refused(words, "0A000", "CALL pgembed.change_model('t', 'new')", message="inside a transaction block")
    words.execute("ROLLBACK")
    words.execute("ALTER TABLE t ADD embedding_next int")
    refused(words, "42710", "CALL pgembed.change_model('t', 'new')", message='"embedding_next"', hint="RENAME COLUMN")
    words.execute("ALTER TABLE t DROP embedding_next; CREATE TABLE u (id int PRIMARY KEY, e vector(16), body text)")
    words.execute("SELECT pgembed.adopt_embedding('u', 'e', 'old')")
    refused(words, "0A000", "CALL pgembed.change_model('u', 'new')", message="u.e has no source", hint="alter_embedding")
    role = make_role("alice")
    words.execute("CALL pgembed.change_model('t', 'new', switch => false)")
    words.execute(f"GRANT SELECT ON t TO {role}; SET ROLE {role}")
    for call in ("CALL pgembed.change_model('t', 'new')", "SELECT pgembed.switch_model('t')", "SELECT pgembed.rollback_model('t')"):
        refused(words, "42501", call, message="must be owner of table")
    assert words.execute("SELECT * FROM pgembed.model_changes").fetchall() == []
    refused(words, "42501", "SELECT * FROM pgembed._model_change", hint=None)
    words.execute("RESET ROLE")


def test_a_table_in_use_is_not_waited_for_long(ready: Connection, connect: Connect, refused: Refused) -> None:
    reader = connect(ready)
    reader.execute("BEGIN; SELECT FROM t LIMIT 1")
    error = refused(
        ready, "55P03", "SELECT pgembed.switch_model('t', timeout => '0.2 s')", message="was in use all the time", hint="pg_stat"
    )
    assert "0.2 s" in str(error)
    assert roles(ready)["embedding"] == ("current", "old")
    assert top(ready) == BOTH
    assert one(ready, "SELECT current_setting('lock_timeout')") == "0"
    reader.execute("COMMIT")
    ready.execute("SELECT pgembed.switch_model('t')")


def test_only_a_vacuum_is_waited_for_until_it_gives_way(ready: Connection, connect: Connect) -> None:
    """An autovacuum is cancelled by PostgreSQL for whoever has waited for deadlock_timeout; for others that would be long."""
    db = PsycopgDatabase(connect(ready))
    found = described(db, "t")[0]
    others = [connect(ready), connect(ready)]
    assert locking._patience(db, found) == locking.LOCK_MILLISECONDS
    others[0].execute("BEGIN; LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE")  # as VACUUM does
    assert locking._patience(db, found) == 1000 + locking.LOCK_MILLISECONDS
    others[1].execute("BEGIN; SELECT FROM t LIMIT 1")
    assert locking._patience(db, found) == locking.LOCK_MILLISECONDS
    for other in others:
        other.execute("COMMIT")


def test_an_index_may_be_built_by_hand_and_the_call_goes_on(words: Connection, notices: Notices) -> None:
    words.execute("CREATE INDEX ON t USING hnsw (embedding vector_cosine_ops)")
    words.execute("CALL pgembed.change_model('t', 'new', build_index => false)")
    said = next(notice for notice in notices if "lacks 1 index" in notice.message)
    (statement,) = (row[0] for row in words.execute("SELECT pgembed.model_change_indexes('t')").fetchall())
    assert statement in (said.hint or "")
    assert statement.startswith("CREATE INDEX CONCURRENTLY ON ")
    assert one(words, "SELECT state FROM pgembed.model_changes") == "indexing"
    words.execute(statement)
    words.execute("CALL pgembed.change_model('t', 'new', build_index => false)")
    assert roles(words) == NAMES["after"]


def test_what_a_worker_is_about_to_build_is_not_built_twice(words: Connection, connect: Connect) -> None:
    words.execute("CREATE INDEX ON t USING hnsw (embedding vector_cosine_ops)")
    # a worker that has its turn but has not told yet that it is there, as after a restart of the server
    worker, table = PsycopgDatabase(connect(words)), one(words, "SELECT 't'::regclass::oid::int8")
    assert indexing.take_turn(worker, table)
    thread = Asked(connect(words), "CALL pgembed.change_model('t', 'new')")
    wait_until(lambda: one(words, "SELECT max(state) FROM pgembed.model_changes") == "indexing")
    (statement,) = (row[0] for row in words.execute("SELECT pgembed.model_change_indexes('t')").fetchall())
    worker.execute(statement)
    indexing.end_turn(worker, table)
    thread.join(60)
    assert roles(words) == NAMES["after"]
    built = "SELECT count(*) FROM pg_index AS x JOIN pg_class AS c ON c.oid = indexrelid JOIN pg_am AS m ON m.oid = c.relam"
    assert one(words, f"{built} WHERE indrelid = 't'::regclass AND amname = 'hnsw'") == 2


def test_the_report_says_what_moves_and_what_stays_behind(words: Connection) -> None:
    words.execute("CREATE VIEW seen AS SELECT id, embedding FROM t")
    words.execute("CREATE FUNCTION f() RETURNS bigint LANGUAGE sql STABLE BEGIN ATOMIC SELECT count(embedding) FROM t; END")
    words.execute(
        "SELECT pgembed.train_codec('sign', 't', 'sign', measure => false); SELECT pgembed.add_code('t', 'sign', is_generated => false)"
    )
    words.execute("CALL pgembed.fill_code('t', 'sign')")
    words.execute("CREATE INDEX ON t USING hnsw (embedding vector_cosine_ops)")
    words.execute("CALL pgembed.change_model('t', 'new')")
    columns = "overlap, cka, old_recall, new_recall, depends, moved->0->>'key', report->>'queries', report->>'rows'"
    overlap, cka, old, new, depends, key, queries, rows = words.execute(f"SELECT {columns} FROM pgembed.model_changes").fetchone() or ()
    assert depends == ["column sign", "function f()", "view seen"]
    assert (queries, rows) == ("41", "41")
    assert key is not None
    assert old == new == 1
    # the same by SQL alone
    near = "ARRAY(SELECT o.id FROM t AS o WHERE o.id <> t.id ORDER BY o.{0} <=> t.{0} LIMIT 10)"
    shared = f"cardinality(ARRAY(SELECT unnest({near.format('embedding')}) INTERSECT SELECT unnest({near.format('embedding_previous')})))"
    assert one(words, f"SELECT avg({shared} / 10.0)::float8 FROM t") == pytest.approx(overlap, abs=0.03)
    assert 0 < cka < 1
    # codes stay with the vectors that they are of, in new rows too
    words.execute("INSERT INTO t VALUES (300, 'wab')")
    words.execute("CALL pgembed.refresh('t')")
    assert words.execute("SELECT embedding_column FROM pgembed._code").fetchall() == [("embedding_previous",)]
    assert one(words, "SELECT t.sign = o.sign FROM t, t AS o WHERE t.id = 300 AND o.id = 1")
    # a view shows the old vectors on, and is searched with their model
    assert {row[0] for row in words.execute("SELECT (item).id FROM pgembed.search(NULL::seen, %s, k => 2)", [WORD])} == BOTH


def test_a_call_that_is_killed_anywhere_is_gone_on_with(words: Connection, connect: Connect) -> None:
    drawn = random.Random(11)
    watching = connect(words)
    for number in range(6):
        killed = connect(words)
        thread = Asked(killed, "CALL pgembed.change_model('t', 'new')")
        time.sleep(drawn.random() * 0.15)
        watching.execute("SELECT pg_terminate_backend(%s, 5000)", [killed.info.backend_pid])
        thread.join(60)
        # whole or not at all: searches find the word, in a table that is written
        assert ASKED in top(words)
        words.execute("INSERT INTO t VALUES (%s, %s)", [600 + number, shifted.word(number + 30)])
        assert sorted(roles(words).items()) in (
            [("embedding", ("current", "old"))],
            [("embedding", ("current", "old")), ("embedding_next", ("next", "new"))],
            sorted(NAMES["after"].items()),
        )
    words.execute("CALL pgembed.change_model('t', 'new')")
    words.execute("CALL pgembed.refresh('t')")
    assert roles(words) == NAMES["after"]
    assert is_of(words, "embedding", "new")
    assert is_of(words, "embedding_previous", "old")


def test_columns_of_a_change_are_meant_only_by_their_names(ready: Connection, refused: Refused) -> None:
    assert top(ready) == BOTH == top(ready, more=", column_name => 'embedding_next'")
    distance = ready.execute("SELECT embedding <=> pgembed.embed_query('t', body) FROM t").fetchall()
    assert max(row[0] for row in distance) < 1e-6
    distance = ready.execute("SELECT embedding_next <=> pgembed.embed_query('t', body, 'embedding_next') FROM t").fetchall()
    assert max(row[0] for row in distance) < 1e-6
    ready.execute("SELECT pgembed.add_embedding('t', 'other::text', 'new', 'second')")
    error = refused(ready, "42702", "SELECT pgembed.search_keys('t', 'wab')", message="2 embedded columns: embedding, second")
    assert "next" not in str(error)


def test_progress_is_seen_and_two_calls_do_not_meet(words: Connection, connect: Connect, refused: Refused) -> None:
    words.execute("CALL pgembed.change_model('t', 'new', wait => false)")
    words.execute("UPDATE pgembed._model_change SET filling_since = clock_timestamp() - interval '10 s', filled_before = 0")
    words.execute("UPDATE t SET embedding_next = pgembed.embed(body, 'new'), embedding_next_hash = embedding_hash WHERE id < 20")
    row = words.execute("SELECT rows, done, failed, rate, extract(epoch FROM eta)::float8 FROM pgembed.model_changes").fetchone()
    assert row is not None
    assert row[:3] == (41, 20, 0)
    assert row[3] == pytest.approx(2, rel=0.3)
    assert row[4] == pytest.approx(21 / row[3], rel=1e-3)
    other = connect(words)
    key = "pg_advisory_lock(1347570756, 't'::regclass::oid::int)"
    other.execute(f"SELECT {key}")
    refused(words, "55000", "CALL pgembed.change_model('t', 'new')", message="another session is changing")
    other.close()


# What is asked while names change places: each gives the row, or rows, of the word in both spaces; a mixture gives the neighbour's.
STATEMENTS = {
    "search": f"SELECT (item).id FROM pgembed.search(NULL::t, '{WORD}', k => 1, filter => 'id < 100')",
    "exact": f"SELECT (item).id FROM pgembed.search(NULL::t, '{WORD}', k => 1, filter => 'id < 100', exact => true)",
    "fresh": f"SELECT (item).id FROM pgembed.search(NULL::t, '{WORD}', k => 1, filter => 'id < 100', consistency => 'fresh')",
    "named": f"SELECT (item).id FROM pgembed.search(NULL::t, '{WORD}', k => 1, filter => 'id < 100', column_name => 'embedding')",
    "keys": f"SELECT key::int FROM pgembed.search_keys('t', '{WORD}', k => 1, filter => 'id < 100')",
    "like": f"SELECT (item).id FROM pgembed.search_like(NULL::t, '{TWIN}', k => 1)",
    "join": "SELECT (right_row).id FROM pgembed.semantic_join(NULL::u, NULL::t, 'name', condition => 'r.id < 100')",
    "view": f"SELECT (item).id FROM pgembed.search(NULL::v, '{WORD}', k => 1, filter => 'id < 100')",
    "inside": "SELECT asked()",
}
# These embed by embed_query(), as what is written by hand does.
BY_HAND = {
    "vector": f"SELECT (item).id FROM pgembed.search(NULL::t, pgembed.embed_query('t', '{WORD}'), k => 1, filter => 'id < 100')",
    "plain": f"SELECT id FROM t WHERE id < 100 ORDER BY embedding <=> pgembed.embed_query('t', '{WORD}') LIMIT 1",
}


@pytest.fixture
def asked(ready: Connection) -> Connection:
    """The same with all that the statements need."""
    ready.execute(f"CREATE TABLE u (id int, name text); INSERT INTO u VALUES (1, '{WORD}'); CREATE VIEW v AS SELECT id, embedding FROM t")
    ready.execute(f"CREATE FUNCTION asked() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN ({BY_HAND['plain']}); END $$")
    return ready


# There and back.
EXCHANGES = ("SELECT pgembed.switch_model('t')", "SELECT pgembed.rollback_model('t')")
SESSIONS = 4


def test_a_search_that_waits_for_the_switch_keeps_to_one_space(asked: Connection, connect: Connect) -> None:
    """Its snapshot is from before the switch, its lock from after it."""
    watching, sessions = connect(asked), [connect(asked) for _ in range(SESSIONS)]
    every = list((STATEMENTS | BY_HAND).values())
    for first in range(0, len(every), SESSIONS):
        for exchange in EXCHANGES:
            pairs = list(zip(sessions, every[first : first + SESSIONS], strict=False))
            for session, statement in pairs:
                session.execute(statement)  # else the look at the table's row type is what waits
            asked.execute("BEGIN")
            asked.execute(exchange)
            threads = [Asked(*pair) for pair in pairs]
            for session in sessions[: len(threads)]:
                wait_until(waits(watching, session))
            asked.execute("COMMIT")
            for thread in threads:
                thread.join(60)
                assert thread.answer == [(ASKED,)], (exchange, thread.statement)


def test_a_statement_that_began_before_the_switch_keeps_to_one_space(asked: Connection, connect: Connect) -> None:
    """At READ COMMITTED what embeds sees the statement's snapshot, and what plans a later one."""
    watching, session = connect(asked), connect(asked)
    every = [*STATEMENTS.values(), BY_HAND["vector"]]
    late = f"SELECT CASE WHEN pg_advisory_lock_shared(1)::text = '' THEN ARRAY[{', '.join(f'({statement})' for statement in every)}] END"
    for exchange in EXCHANGES:
        watching.execute("SELECT pg_advisory_lock(1)")
        thread = Asked(session, late)
        wait_until(waits(watching, session))
        asked.execute(exchange)
        watching.execute("SELECT pg_advisory_unlock(1)")
        thread.join(60)
        assert thread.answer == [([ASKED] * len(every),)], exchange
        session.execute("SELECT pg_advisory_unlock_shared(1)")


def test_a_transaction_that_began_before_the_switch_goes_on_in_its_own_space(asked: Connection, connect: Connect) -> None:
    session = connect(asked)
    for level, exchange in zip(("REPEATABLE READ", "SERIALIZABLE"), EXCHANGES, strict=True):
        session.execute(f"BEGIN ISOLATION LEVEL {level}")
        session.execute("SELECT FROM pgembed._setting")
        asked.execute(exchange)
        for name, statement in STATEMENTS.items():
            if name != "inside":
                assert session.execute(statement).fetchall() == [(ASKED,)], (exchange, name)
        with pytest.raises(psycopg.errors.SerializationFailure, match="since this transaction began"):
            session.execute(STATEMENTS["inside"])
        session.execute("ROLLBACK")
        for name, statement in (STATEMENTS | BY_HAND).items():
            assert session.execute(statement).fetchall() == [(ASKED,)], (exchange, name)


def test_a_writer_between_two_snapshots_writes_each_space_into_its_own_column(asked: Connection, connect: Connect) -> None:
    session = connect(asked)
    for number, (level, exchange) in enumerate((level, each) for level in ("READ COMMITTED", "REPEATABLE READ") for each in EXCHANGES):
        session.execute(f"BEGIN ISOLATION LEVEL {level}")
        session.execute("SELECT FROM pgembed._setting")
        asked.execute(exchange)
        session.execute("INSERT INTO t VALUES (%s, %s)", [500 + number, shifted.word(number + 10)])
        session.execute("UPDATE t SET body = %s WHERE id = %s", [shifted.word(number + 20), 500 + number])
        session.execute("COMMIT")
        asked.execute("CALL pgembed.refresh('t')")
        is_switched = "switch" in exchange
        assert is_of(asked, "embedding", "new" if is_switched else "old")
        assert is_of(asked, "embedding_previous" if is_switched else "embedding_next", "old" if is_switched else "new")
