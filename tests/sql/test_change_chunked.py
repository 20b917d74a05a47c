"""change_model() of a column over chunks: a second table of chunks, which takes the name of the first at the switch, and gives it back."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import shifted
from meanwhile import Asked
from rechunked import ASKED, RIGHT, ROWS, WORD, emptied, found, is_of, make, one, text
from support import AsRole, Connect, Connection, MakeRole, Notices, Refused


@pytest.fixture(scope="module")
def database(server_url: str, installed_server: Any) -> Iterator[str]:
    """A clone for all of these tests, which commit and clean up after themselves, with two models."""
    with shifted.database(server_url, installed_server.template_dbname, f"pgembed_change_chunked_{os.getpid()}") as name:
        yield name


@pytest.fixture
def db(server_url: str, database: str, roles: list[str]) -> Iterator[Connection]:
    with emptied(server_url, database) as connection:
        yield connection


@pytest.fixture
def words(db: Connection) -> Connection:
    """A table of rows with two chunks each, embedded by the model old."""
    make(db)
    return db


@pytest.fixture
def ready(words: Connection) -> Connection:
    """The same with the model changed up to the switch."""
    words.execute("CALL pgembed.change_model('t', 'new', switch => false)")
    return words


def roles_of(db: Connection) -> dict[str, tuple[str, str, str]]:
    """Role, model and table of chunks of each embedded column."""
    found = db.execute("SELECT column_name, role, model, chunk_table::text FROM pgembed._embedding ORDER BY 1").fetchall()
    return {name: (role, model, chunks) for name, role, model, chunks in found}


BEFORE = {"part": ("current", "old", "t_part_chunk")}
BESIDE = {**BEFORE, "part_next": ("next", "new", "t_part_next_chunk")}
AFTER = {"part": ("current", "new", "t_part_chunk"), "part_previous": ("previous", "old", "t_part_previous_chunk")}
FINISHED = {"part": AFTER["part"]}


def things(db: Connection) -> list[Any]:
    """Columns, triggers, indexes and functions of the table, tables in its schema, and what is said of them."""
    return db.execute(
        """
        SELECT 'column', attname::text, col_description(attrelid, attnum) FROM pg_attribute
        WHERE attrelid = 't'::regclass AND attnum > 0 AND NOT attisdropped
        UNION ALL SELECT 'trigger', tgname, NULL FROM pg_trigger WHERE tgrelid = 't'::regclass AND NOT tgisinternal
        UNION ALL SELECT 'index', NULL, count(*)::text FROM pg_index WHERE indrelid IN ('t'::regclass, 't_part_chunk'::regclass)
        UNION ALL SELECT 'table', relname, obj_description(oid, 'pg_class') FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
        UNION ALL SELECT 'function', NULL, count(*)::text FROM pg_proc AS p WHERE pronamespace = 'public'::regnamespace
            AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e')
        ORDER BY 1, 2
        """
    ).fetchall()


def test_the_model_is_changed_and_changed_back_and_the_old_chunks_go_last(words: Connection) -> None:
    words.execute("CREATE INDEX ON t_part_chunk USING hnsw (embedding vector_cosine_ops) WITH (m = 5, ef_construction = 20)")
    words.execute("CREATE INDEX ON t_part_chunk USING hnsw (embedding vector_cosine_ops) WHERE ordinal = 1")
    before = things(words)
    words.execute("CALL pgembed.change_model('t', 'new')")
    assert roles_of(words) == AFTER
    assert is_of(words, "t_part_chunk", "new")
    assert is_of(words, "t_part_previous_chunk", "old")
    assert found(words) == RIGHT == found(words, more=", column_name => 'part_previous'")
    made = words.execute("SELECT tablename, split_part(indexdef, ' USING ', 2) FROM pg_indexes WHERE indexdef LIKE '%hnsw%'").fetchall()
    tails = (
        "hnsw (embedding vector_cosine_ops) WITH (m='5', ef_construction='20')",
        "hnsw (embedding vector_cosine_ops) WHERE (ordinal = 1)",
    )
    assert sorted(made) == sorted((table, tail) for table in ("t_part_chunk", "t_part_previous_chunk") for tail in tails)
    words.execute("SELECT pgembed.rollback_model('t')")
    assert roles_of(words) == BESIDE
    assert is_of(words, "t_part_chunk", "old")
    assert found(words) == RIGHT
    words.execute("SELECT pgembed.switch_model('t')")
    words.execute("SELECT pgembed.finish_model_change('t')")
    assert roles_of(words) == FINISHED
    assert things(words) == before
    assert is_of(words, "t_part_chunk", "new")
    assert found(words) == RIGHT
    # and it can be done again
    words.execute("CALL pgembed.change_model('t', 'old')")
    assert is_of(words, "t_part_chunk", "old")
    assert found(words) == RIGHT


def test_rows_are_followed_in_both_tables_before_and_after_the_switch(ready: Connection) -> None:
    def write(key: int, first: int) -> None:
        ready.execute("INSERT INTO t VALUES (%s, 'waa') ON CONFLICT (id) DO UPDATE SET body = 'waa'", [key])
        ready.execute("UPDATE t SET body = %s WHERE id = %s", [text(first, first + 1), key])
        ready.execute("CALL pgembed.refresh('t')")

    write(100, 45)
    ready.execute("UPDATE t SET kind = 'other' WHERE id = 3; DELETE FROM t WHERE id = 4; UPDATE t SET id = 90 WHERE id = 9")
    assert is_of(ready, "t_part_chunk", "old")
    assert is_of(ready, "t_part_next_chunk", "new")
    ready.execute("SELECT pgembed.switch_model('t')")
    write(101, 48)
    write(3, 51)
    ready.execute("DELETE FROM t WHERE id = 6")
    assert is_of(ready, "t_part_chunk", "new")
    assert is_of(ready, "t_part_previous_chunk", "old")
    states = "SELECT array_agg(DISTINCT pgembed.freshness(part_hash) || pgembed.freshness({})) FROM t"
    assert one(ready, states.format("part_previous_hash")) == ["freshfresh"]
    # without a text there are no chunks of either
    ready.execute("UPDATE t SET body = NULL WHERE id = 7")
    asked = "SELECT count(*) FROM {} WHERE id = 7"
    assert [one(ready, asked.format(name)) for name in ("t_part_chunk", "t_part_previous_chunk")] == [0, 0]
    ready.execute("UPDATE t SET body = %s WHERE id = 7", [text(7)])
    ready.execute("CALL pgembed.refresh('t')")
    ready.execute("SELECT pgembed.rollback_model('t')")
    assert is_of(ready, "t_part_chunk", "old")
    assert found(ready, shifted.word(49)) == [(101, f"{shifted.word(49)} {shifted.word(49)}")]


def test_a_change_that_died_goes_on_and_one_that_is_given_up_leaves_nothing(words: Connection, refused: Refused) -> None:
    before = things(words)
    words.execute("ALTER TABLE t ADD part_next int")  # no column of that name is needed, nor dropped
    words.execute("CALL pgembed.change_model('t', 'new', wait => false)")
    assert roles_of(words) == BESIDE
    progress = words.execute("SELECT rows, done, failed FROM pgembed.model_changes").fetchone()
    assert progress == (ROWS, 0, 0)
    refused(words, "55000", "SELECT pgembed.switch_model('t')", message="20 rows of t.part have no vector of model new")
    refused(words, "2BP01", "SELECT pgembed.drop_embedding('t', 'part_next')", hint="rollback_model('t', 'part')")
    refused(words, "2BP01", "SELECT pgembed.alter_embedding('t', chunk_tokens => 3)", hint="finish_model_change('t', 'part')")
    words.execute("CALL pgembed.change_model('t', 'new', switch => false)")
    assert words.execute("SELECT state, rows, done FROM pgembed.model_changes").fetchone() == ("ready", ROWS, ROWS)
    words.execute("SELECT pgembed.rollback_model('t')")
    words.execute("ALTER TABLE t DROP part_next")
    assert things(words) == before
    assert roles_of(words) == BEFORE
    # dead between the hash column and the triggers: given up, and gone on with
    for call in ("SELECT pgembed.rollback_model('t')", "CALL pgembed.change_model('t', 'new')"):
        words.execute("CALL pgembed.change_model('t', 'new', wait => false)")
        words.execute("SELECT pgembed.rollback_model('t')")
        words.execute("ALTER TABLE t ADD part_next_hash bytea; UPDATE pgembed._model_change SET state = 'preparing'")
        words.execute(call)
        if "rollback" in call:
            assert things(words) == before
    assert roles_of(words) == AFTER
    assert is_of(words, "t_part_chunk", "new")
    words.execute("SELECT pgembed.finish_model_change('t')")
    assert things(words) == before


def test_a_call_that_is_killed_anywhere_is_gone_on_with(words: Connection, connect: Connect) -> None:
    drawn = random.Random(3)
    watching = connect(words)
    for number in range(5):
        killed = connect(words)
        killed.execute("SELECT pgembed.embed('waa', 'old'), pgembed.embed('waa', 'new')")
        thread = Asked(killed, "CALL pgembed.change_model('t', 'new')")
        time.sleep(drawn.random() * 0.2)
        watching.execute("SELECT pg_terminate_backend(%s, 5000)", [killed.info.backend_pid])
        thread.join(60)
        # whole or not at all: searches find the word, in a table that is written
        assert found(words) == RIGHT
        words.execute("INSERT INTO t VALUES (%s, %s)", [600 + number, text(number + 40, number + 50)])
        assert roles_of(words) in (BEFORE, BESIDE, AFTER)
    words.execute("CALL pgembed.change_model('t', 'new')")
    words.execute("CALL pgembed.refresh('t')")
    assert roles_of(words) == AFTER
    assert is_of(words, "t_part_chunk", "new")
    assert is_of(words, "t_part_previous_chunk", "old")


def test_the_report_says_what_moves_and_what_stays_behind(words: Connection) -> None:
    words.execute("CREATE INDEX by_text ON t_part_chunk (content); CREATE PUBLICATION p FOR TABLE t_part_chunk")
    words.execute("CREATE VIEW seen AS SELECT id, embedding FROM t_part_chunk; SELECT pgembed.adopt_embedding('t_part_chunk', 'embedding')")
    words.execute("CREATE INDEX ON t_part_chunk USING hnsw (embedding vector_cosine_ops)")
    words.execute("CALL pgembed.change_model('t', 'new', 'part', switch => false)")
    asked = "overlap, cka, old_recall, new_recall, depends, jsonb_array_length(moved), report->>'queries', report->>'rows'"
    overlap, cka, old, new, depends, moved, queries, rows = words.execute(f"SELECT {asked} FROM pgembed.model_changes").fetchone() or ()
    assert depends == [
        "embedded column t_part_chunk.embedding",
        "index by_text",
        "publication of table t_part_chunk in publication p",
        "view seen",
    ]
    assert (queries, rows, old, new) == ("20", "20", 1, 1)
    assert 0 < moved <= 10
    assert 0 < cka < 1
    # the same by SQL alone: the middle of a row's chunks asks, and the nearest chunk of another row answers
    middle = "(SELECT avg(q.embedding) FROM {0} AS q WHERE q.id = t.id)"
    far = f"(SELECT min(c.embedding <=> {middle}) FROM {{0}} AS c WHERE c.id = o.id)"
    near = f"ARRAY(SELECT o.id FROM t AS o WHERE o.id <> t.id ORDER BY {far} LIMIT 10)"
    both = f"SELECT unnest({near.format('t_part_chunk')}) INTERSECT SELECT unnest({near.format('t_part_next_chunk')})"
    assert one(words, f"SELECT avg(cardinality(ARRAY({both})) / 10.0)::float8 FROM t") == pytest.approx(overlap, abs=0.02)
    words.execute("SELECT pgembed.switch_model('t', 'part')")
    with pytest.raises(psycopg.errors.DependentObjectsStillExist, match=r"t_part_previous_chunk\.embedding"):
        words.execute("SELECT pgembed.finish_model_change('t', 'part')")
    words.execute("SELECT pgembed.drop_embedding('t_part_previous_chunk'); DROP VIEW seen; DROP PUBLICATION p")
    words.execute("SELECT pgembed.finish_model_change('t', 'part')")


def test_a_model_that_reads_less_gets_shorter_chunks(words: Connection, notices: Notices) -> None:
    words.execute("SELECT pgembed.drop_embedding('t'); DELETE FROM t WHERE id > 1; UPDATE t SET body = repeat('waa wab. ', 300)")
    words.execute("SELECT pgembed.add_embedding('t', 'body', 'old', 'part', chunk_tokens => 500, chunk_overlap => 50)")
    words.execute("CALL pgembed.refresh('t')")
    words.execute("CALL pgembed.change_model('t', 'all-minilm-l6-v2')")
    assert any("reads 254 tokens, so its chunks are of at most so many, not 500" in said.message for said in notices)
    lines = words.execute("SELECT column_name, chunk_tokens, chunk_overlap, truncated FROM pgembed.embeddings ORDER BY 1").fetchall()
    assert lines == [("part", 254, 25, 0), ("part_previous", 500, 50, 0)]
    sizes = "SELECT max(pgembed.token_count(content, '{}')), count(*) FROM {}"
    now, before = (
        words.execute(sizes.format(model, name)).fetchone() or ()
        for model, name in (("all-minilm-l6-v2", "t_part_chunk"), ("old", "t_part_previous_chunk"))
    )
    assert now[0] <= 256
    assert 400 < before[0] <= 500
    assert now[1] > before[1]
    words.execute("SELECT pgembed.rollback_model('t')")
    assert one(words, "SELECT chunk_tokens FROM pgembed.embeddings WHERE column_name = 'part'") == 500


def test_who_sees_the_chunks_is_who_saw_them_all_the_while(words: Connection, make_role: MakeRole, as_role: AsRole) -> None:
    reader, narrow, stranger, late = (make_role(name) for name in ("reader", "narrow", "stranger", "late"))
    words.execute("UPDATE t SET kind = 'secret' WHERE id IN (5, 6)")
    words.execute("ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (kind <> 'secret')")
    words.execute(f"GRANT SELECT ON t, t_part_chunk TO {reader}; GRANT SELECT ON t TO {narrow}, {stranger}")
    words.execute(f"GRANT SELECT (id, embedding) ON t_part_chunk TO {narrow}")

    def told(table: str) -> list[Any]:
        """What each may see of a table of chunks."""
        seen: list[Any] = []
        for role in (reader, narrow, stranger):
            with as_role(words, role):
                try:
                    rows = words.execute(f"SELECT DISTINCT id FROM {table} WHERE id IN (4, 5, 6, 7) ORDER BY 1").fetchall()
                    seen.append([row[0] for row in rows])
                    words.execute(f"SELECT content FROM {table}")
                    seen.append("all")
                except psycopg.errors.InsufficientPrivilege:
                    seen.append("refused")
        return seen

    right = [[4, 7], "all", [4, 7], "refused", "refused"]
    assert told("t_part_chunk") == right
    words.execute("CALL pgembed.change_model('t', 'new', switch => false)")
    assert told("t_part_next_chunk") == right
    for change in ("switch_model", "rollback_model", "switch_model"):
        words.execute(f"SELECT pgembed.{change}('t')")
        assert told("t_part_chunk") == right, change
        with as_role(words, reader):
            assert found(words, shifted.word(7)) == [(7, f"{shifted.word(7)} {shifted.word(7)}")]
            assert found(words) != RIGHT
    # who gets or loses a right meanwhile has it, or not, behind the next exchange
    for given, change in (("GRANT SELECT ON t_part_chunk TO", "rollback_model"), ("REVOKE ALL ON t_part_chunk FROM", "switch_model")):
        words.execute(f"{given} {late}; SELECT pgembed.{change}('t')")
        assert one(words, "SELECT has_table_privilege(%s, 't_part_chunk', 'SELECT')", [late]) == ("GRANT" in given)
    # row security that comes later holds for both
    words.execute("ALTER TABLE t FORCE ROW LEVEL SECURITY")
    flags = "SELECT relname, relforcerowsecurity FROM pg_class WHERE relname IN ('t_part_chunk', 't_part_previous_chunk') ORDER BY 1"
    assert words.execute(flags).fetchall() == [("t_part_chunk", True), ("t_part_previous_chunk", True)]
    words.execute("SELECT pgembed.finish_model_change('t')")
    assert told("t_part_chunk") == right


def test_what_cannot_be_changed_is_refused_with_a_way_out(words: Connection, refused: Refused) -> None:
    words.execute("CREATE POLICY mine ON t_part_chunk AS RESTRICTIVE USING (ordinal < 9)")
    refused(words, "0A000", "CALL pgembed.change_model('t', 'new')", message="policies of its own", hint="DROP POLICY")
    words.execute("DROP POLICY mine ON t_part_chunk")
    words.execute("CALL pgembed.change_model('t', 'new', switch => false)")
    words.execute("CREATE POLICY mine ON t_part_chunk AS RESTRICTIVE USING (ordinal < 9)")
    refused(words, "0A000", "SELECT pgembed.switch_model('t')", message="policies of its own", hint="DROP POLICY")
    words.execute("DROP POLICY mine ON t_part_chunk; SELECT pgembed.rollback_model('t')")
    words.execute("ALTER TABLE t ADD part_previous_hash int")
    refused(words, "42710", "CALL pgembed.change_model('t', 'new')", message='"part_previous_hash"', hint="RENAME COLUMN")
    words.execute("ALTER TABLE t DROP part_previous_hash; SELECT pgembed.add_embedding('t', 'kind', 'old', 'part_next', chunk_tokens => 2)")
    refused(words, "42710", "CALL pgembed.change_model('t', 'new', 'part')", message='"part_next"', hint="drop_embedding")
    words.execute("SELECT pgembed.drop_embedding('t', 'part_next')")
    refused(words, "42710", "CALL pgembed.change_model('t', 'old')", message='t.part is of model "old" already')


def test_a_table_of_chunks_that_was_dropped_is_told_and_the_change_ended(ready: Connection, refused: Refused) -> None:
    ready.execute("DROP TABLE t_part_next_chunk")
    refused(ready, "55000", "SELECT pgembed.switch_model('t')", message="t.part_next does not exist any more", hint="rollback_model")
    assert found(ready) == RIGHT
    ready.execute("SELECT pgembed.rollback_model('t')")
    assert roles_of(ready) == BEFORE
    ready.execute("CALL pgembed.change_model('t', 'new')")
    ready.execute("DROP TABLE t_part_previous_chunk")
    refused(ready, "55000", "SELECT pgembed.rollback_model('t')", message="t.part_previous does not", hint="finish_model_change")
    ready.execute("SELECT pgembed.finish_model_change('t')")
    assert roles_of(ready) == FINISHED
    assert found(ready) == RIGHT


def test_who_reads_the_chunks_alone_is_not_waited_for_long(ready: Connection, connect: Connect, refused: Refused) -> None:
    reader = connect(ready)
    reader.execute("BEGIN; SELECT FROM t_part_chunk LIMIT 1")
    refused(ready, "55P03", "SELECT pgembed.switch_model('t', timeout => '0.2 s')", message="was in use all the time", hint="pg_stat")
    assert roles_of(ready) == BESIDE
    reader.execute("COMMIT")
    ready.execute("SELECT pgembed.switch_model('t')")


def test_names_are_followed_while_the_model_is_changed(ready: Connection) -> None:
    ready.execute(
        """
        ALTER TABLE t RENAME id TO nr; ALTER TABLE t_part_chunk RENAME TO piece; ALTER TABLE t_part_next_chunk RENAME id TO of_nr;
        ALTER TABLE t RENAME body TO said; UPDATE t SET said = NULL WHERE nr = 6
        """
    )
    ready.execute("CALL pgembed.refresh('t')")
    assert {value[2] for value in roles_of(ready).values()} == {"piece", "t_part_next_chunk"}
    ready.execute("SELECT pgembed.switch_model('t')")
    assert roles_of(ready)["part"] == ("current", "new", "piece")
    assert one(ready, "SELECT count(*) FROM piece WHERE of_nr = 6") == 0
    assert ready.execute("SELECT (item).nr FROM pgembed.search(NULL::t, %s, k => 1)", [WORD]).fetchall() == [(ASKED,)]
    ready.execute("SELECT pgembed.finish_model_change('t')")
    ready.execute("ALTER TABLE t RENAME nr TO id")
