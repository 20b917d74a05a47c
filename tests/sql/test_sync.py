"""sync: which rows are embedded, or somebody woken for, at the end of the statement that wrote them, and which are not."""

from __future__ import annotations

import psycopg
import pytest
from spied import Calls, declare, settle
from support import AsRole, Connect, Connection, MakeRole, Notices, counts, states

pytestmark = pytest.mark.one_transaction


# -------------------------------------------------------------------------------------------------------------- what is called


def test_auto_embeds_the_rows_of_a_small_insert_in_one_batch(db: Connection, calls: Calls) -> None:
    declare(db)
    db.execute("INSERT INTO t VALUES (4, 'd'), (5, 'e')")
    assert calls() == ["t.embedding: 4 5"]


def test_auto_leaves_a_large_statement_to_workers(db: Connection, calls: Calls) -> None:
    declare(db)
    db.execute("INSERT INTO t SELECT g, 'x' FROM generate_series(10, 25) AS g")
    db.execute("INSERT INTO t SELECT g, 'x' FROM generate_series(30, 46) AS g")
    settle(db)
    assert [said[:5] for said in calls()] == ["t.emb", "woken"]
    db.execute("UPDATE t SET name = 'y' WHERE id BETWEEN 10 AND 25")
    settle(db)
    db.execute("UPDATE t SET name = 'z' WHERE id BETWEEN 30 AND 46")
    assert [said[:5] for said in calls()] == ["t.emb", "woken"]


def test_auto_embeds_what_an_update_makes_stale_in_one_batch(db: Connection, calls: Calls) -> None:
    declare(db)
    db.execute("UPDATE t SET name = CASE WHEN id = 3 THEN name ELSE name || '!' END")
    assert calls() == ["t.embedding: 1 2"]


@pytest.mark.parametrize("statement", ["UPDATE t SET n = n + 1", "UPDATE t SET name = name || ''", "DELETE FROM t", "TRUNCATE t"])
@pytest.mark.parametrize("sync", ["auto", "immediate", "queued"])
def test_what_changes_no_text_calls_nothing(db: Connection, calls: Calls, sync: str, statement: str) -> None:
    declare(db, sync)
    db.execute(statement)
    assert calls() == []


def test_a_null_text_calls_nothing(db: Connection, calls: Calls) -> None:
    declare(db)
    db.execute("UPDATE t SET name = NULL WHERE id = 1")
    assert calls() == []
    assert states(db, "t") == ["null_source", "fresh", "fresh"]


def test_immediate_embeds_statements_of_any_size(db: Connection, calls: Calls) -> None:
    declare(db, "immediate")
    db.execute("INSERT INTO t SELECT g, 'x' FROM generate_series(4, 300) AS g")
    db.execute("UPDATE t SET name = 'y'")
    inserted, updated = calls()
    assert inserted.count(" ") == 297
    assert updated.count(" ") == 300


def test_queued_only_wakes(db: Connection, calls: Calls) -> None:
    declare(db, "queued")
    db.execute("INSERT INTO t VALUES (4, 'd')")
    db.execute("UPDATE t SET name = 'z' WHERE id = 1")
    assert calls() == ["woken", "woken"]


def test_manual_does_neither(db: Connection, calls: Calls) -> None:
    declare(db, "manual")
    db.execute("INSERT INTO t VALUES (4, 'd')")
    db.execute("UPDATE t SET name = 'z' WHERE id = 1")
    assert calls() == []
    assert states(db, "t") == ["stale", "fresh", "fresh", "pending"]


def test_a_remote_model_is_left_to_workers(db: Connection, calls: Calls) -> None:
    db.execute("CREATE TABLE t (id int PRIMARY KEY, name text)")
    # as register_model() would, if there were an endpoint
    db.execute(
        """
        INSERT INTO pgembed._model (name, revision, fingerprint, kind, source, dim, normalized, "precision", remote_model)
        VALUES ('far', 1, repeat('0', 64), 'remote', 'http://localhost:1/v1', 3, true, 'remote', 'm')
        """
    )
    db.execute("SELECT pgembed.add_embedding('t', 'name', 'far')")
    db.execute("INSERT INTO t VALUES (1, 'a')")
    assert calls() == ["woken"]


def test_alter_embedding_changes_sync_and_leaves_no_trigger_behind(db: Connection, calls: Calls) -> None:
    declare(db, "manual")
    triggers = "SELECT count(*) FROM pg_trigger WHERE tgrelid = 't'::regclass AND NOT tgisinternal"
    before = db.execute(triggers).fetchone()
    for sync, called in (("immediate", ["t.embedding: 1"]), ("queued", ["woken"]), ("auto", ["t.embedding: 1"]), ("manual", [])):
        db.execute(f"SELECT pgembed.alter_embedding('t', sync => '{sync}')")
        assert db.execute("SELECT sync FROM pgembed.embeddings").fetchone() == (sync,)
        db.execute("UPDATE t SET name = name || '!' WHERE id = 1")
        settle(db)
        assert calls() == called
    assert db.execute(triggers).fetchone() == before
    db.execute("SELECT pgembed.drop_embedding('t')")
    assert db.execute(triggers).fetchone() == (0,)


def test_upsert_embeds_what_it_inserts_and_what_it_changes(db: Connection, calls: Calls) -> None:
    declare(db)
    db.execute("INSERT INTO t VALUES (1, 'z'), (2, 'b'), (9, 'i') ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name")
    assert sorted(calls()) == ["t.embedding: 1", "t.embedding: 9"]


def test_merge_embeds_what_it_inserts_and_what_it_changes(db: Connection, calls: Calls) -> None:
    declare(db)
    if db.info.server_version < 150000:
        pytest.skip("MERGE came with PostgreSQL 15")
    db.execute(
        """
        MERGE INTO t USING (VALUES (1, 'z'), (2, 'b'), (3, NULL), (9, 'i')) AS s (id, name) ON t.id = s.id
        WHEN MATCHED AND s.name IS NULL THEN DELETE
        WHEN MATCHED THEN UPDATE SET name = s.name
        WHEN NOT MATCHED THEN INSERT (id, name) VALUES (s.id, s.name)
        """
    )
    assert sorted(calls()) == ["t.embedding: 1", "t.embedding: 9"]


def test_copy_embeds_a_few_rows_and_wakes_for_many(db: Connection, calls: Calls) -> None:
    declare(db)
    for rows, called in ((2, ["t.embedding: 100 101"]), (50, ["woken"])):
        with db.cursor() as cursor, cursor.copy("COPY t (id, name) FROM STDIN") as copy:
            for row in range(rows):
                copy.write_row((rows * 50 + row, "x"))
        settle(db)
        assert calls() == called


def test_what_a_savepoint_has_undone_is_not_embedded(db: Connection, calls: Calls) -> None:
    declare(db)
    with pytest.raises(psycopg.errors.DivisionByZero), db.transaction():
        db.execute("UPDATE t SET name = 'x', n = 1 / (3 - id)")
    with db.transaction(force_rollback=True):
        db.execute("UPDATE t SET name = 'y' WHERE id = 2")
    calls()
    db.execute("UPDATE t SET name = 'z' WHERE id = 3")
    # a leftover may be offered again, and needs nothing
    assert "3" in calls()[0].split()
    assert states(db, "t") == ["fresh", "fresh", "stale"]


def test_a_statement_inside_of_a_trigger_of_another_embeds_its_own_rows(db: Connection, calls: Calls) -> None:
    declare(db)
    db.execute(
        """
        CREATE FUNCTION follow() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN UPDATE t SET name = 'of ' || NEW.name WHERE id = NEW.id + 1 AND pg_trigger_depth() = 1; RETURN NULL; END $$;
        CREATE TRIGGER a AFTER UPDATE OF name ON t FOR EACH ROW EXECUTE FUNCTION follow();
        UPDATE t SET name = 'x' WHERE id = 1;
        """
    )
    assert sorted(calls()) == ["t.embedding: 1", "t.embedding: 2"]


def test_one_statement_that_writes_two_tables_embeds_both(db: Connection, calls: Calls) -> None:
    declare(db)
    db.execute("CREATE TABLE u (id int PRIMARY KEY, name text); INSERT INTO u VALUES (1, 'q')")
    db.execute("SELECT pgembed.add_embedding('u', 'name')")
    settle(db, "u")
    db.execute("WITH w AS (UPDATE u SET name = 'r' RETURNING id) UPDATE t SET name = 'x' FROM w WHERE t.id = w.id + 1")
    assert sorted(calls()) == ["t.embedding: 2", "u.embedding: 1"]


def test_keys_of_several_columns_are_json(db: Connection, calls: Calls) -> None:
    db.execute("CREATE TABLE t (a text, b int, name text, PRIMARY KEY (a, b))")
    db.execute("SELECT pgembed.add_embedding('t', 'name')")
    db.execute("INSERT INTO t VALUES ('x', 1, 'n')")
    settle(db)
    db.execute("UPDATE t SET name = 'm'")
    assert calls() == ['t.embedding: ["x", 1]'] * 2


def test_a_whole_row_source_is_called_for_when_its_text_changes_alone(db: Connection, calls: Calls) -> None:
    db.execute(
        """
        CREATE TABLE t (id int PRIMARY KEY, name text, n int);
        CREATE FUNCTION told(t) RETURNS text LANGUAGE sql STABLE AS $$ SELECT $1.name $$;
        INSERT INTO t VALUES (1, 'a');
        """
    )
    db.execute("SELECT pgembed.add_embedding('t', 'told(t)')")
    settle(db)
    db.execute("UPDATE t SET n = 1")
    assert calls() == []
    db.execute("UPDATE t SET name = 'b'")
    assert calls() == ["t.embedding: 1"]


def test_a_generated_column_is_called_for_when_what_it_is_made_of_changes(db: Connection, calls: Calls) -> None:
    db.execute("CREATE TABLE t (id int PRIMARY KEY, a text, n int, name text GENERATED ALWAYS AS (upper(a)) STORED)")
    db.execute("INSERT INTO t VALUES (1, 'x')")
    db.execute("SELECT pgembed.add_embedding('t', 'name')")
    settle(db)
    db.execute("UPDATE t SET n = 1")
    assert calls() == []
    db.execute("UPDATE t SET a = 'y'")
    assert calls() == ["t.embedding: 1"]


def test_a_text_that_a_users_trigger_writes_is_followed(db: Connection, calls: Calls) -> None:
    db.execute(
        """
        CREATE TABLE t (id int PRIMARY KEY, title text, name text);
        CREATE FUNCTION name_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.name := lower(NEW.title); RETURN NEW; END $$;
        CREATE TRIGGER tidy BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION name_it();
        INSERT INTO t VALUES (1, 'A'), (2, 'B');
        """
    )
    db.execute("SELECT pgembed.add_embedding('t', 'name')")
    settle(db)
    db.execute("UPDATE t SET title = 'X' WHERE id = 1")
    assert states(db, "t") == ["stale", "fresh"]
    assert calls() == ["t.embedding: 1"]
    db.execute("UPDATE t SET title = 'b' WHERE id = 2")
    assert calls() == []


def test_inserted_rows_that_have_their_vectors_are_not_called_for(db: Connection, calls: Calls) -> None:
    declare(db)
    db.execute("CREATE TABLE kept AS SELECT * FROM t; DELETE FROM t; INSERT INTO t SELECT * FROM kept")
    assert calls() == []
    assert states(db, "t") == ["fresh"] * 3


# ------------------------------------------------------------------------------------------------------------------- whole paths


def test_rows_are_found_as_soon_as_they_are_written(db: Connection) -> None:
    db.execute("CREATE TABLE t (id int PRIMARY KEY, name text); SELECT pgembed.add_embedding('t', 'name')")
    db.execute("INSERT INTO t VALUES (1, 'a violin has four strings'), (2, 'granite is a hard rock'), (3, NULL)")
    found = "SELECT (item).id FROM pgembed.search(NULL::t, 'music', k => 1)"
    assert db.execute(found).fetchone() == (1,)
    db.execute("UPDATE t SET name = 'trumpets and drums' WHERE id = 2; UPDATE t SET name = 'a law' WHERE id = 1")
    assert db.execute(found).fetchone() == (2,)
    assert db.execute("SELECT embedding = pgembed.embed('a law') FROM t WHERE id = 1").fetchone() == (True,)
    assert counts(db, "t") == {"fresh": 2, "null_source": 1}


def test_a_row_whose_whole_row_source_fails_is_tried_once(db: Connection, notices: Notices) -> None:
    """A trigger on every UPDATE evaluated the source again when the failure was written down, and had the row tried again, without end."""
    db.execute(
        """
        CREATE TABLE t (id int PRIMARY KEY, n int);
        SELECT pgembed.add_embedding('t', 't::text || 10 / n', sync => 'immediate');
        INSERT INTO t VALUES (1, 0), (2, 5);
        UPDATE t SET n = 0 WHERE id = 2;
        """
    )
    assert states(db, "t") == ["failed", "failed"]
    failures = db.execute("SELECT key, attempts, sqlstate FROM pgembed.failures ORDER BY key").fetchall()
    assert failures == [("1", 1, "22012"), ("2", 1, "22012")]
    assert [notice.severity for notice in notices].count("WARNING") == 2
    db.execute("UPDATE t SET n = 2")
    assert states(db, "t") == ["fresh", "fresh"]


def test_a_text_that_every_write_changes_is_embedded_once(db: Connection) -> None:
    """Writing the vector changes it, too; the row says that it is stale."""
    db.execute(
        """
        CREATE TABLE t (id int PRIMARY KEY, version int);
        CREATE FUNCTION next_version() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.version := OLD.version + 1; RETURN NEW; END $$;
        CREATE TRIGGER a_count BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION next_version();
        SELECT pgembed.add_embedding('t', 't::text', sync => 'immediate');
        INSERT INTO t VALUES (1, 0);
        """
    )
    assert states(db, "t") == ["stale"]
    assert db.execute("SELECT version, embedding IS NOT NULL FROM t").fetchone() == (1, True)


def test_chunks_are_made_at_once(db: Connection) -> None:
    db.execute("CREATE TABLE doc (id int PRIMARY KEY, body text)")
    db.execute("SELECT pgembed.add_embedding('doc', 'body', column_name => 'part', chunk_tokens => 10)")
    db.execute("INSERT INTO doc VALUES (1, E'A violin has four strings.\\n\\nA volcano throws out lava.')")
    chunks = "SELECT string_agg(content, '|' ORDER BY ordinal) FROM doc_part_chunk"
    assert db.execute(chunks).fetchone() == ("A violin has four strings.|A volcano throws out lava.",)
    db.execute("UPDATE doc SET body = 'Granite is hard.'")
    assert db.execute(chunks).fetchone() == ("Granite is hard.",)


def test_a_writer_who_is_not_the_owner_may_write(db: Connection, make_role: MakeRole, as_role: AsRole) -> None:
    bob = make_role("bob")
    db.execute("CREATE TABLE t (id int PRIMARY KEY, name text); SELECT pgembed.add_embedding('t', 'name')")
    db.execute(f"GRANT INSERT, UPDATE (name), SELECT ON t TO {bob}")
    with as_role(db, bob):
        db.execute("INSERT INTO t VALUES (1, 'a'); UPDATE t SET name = 'b'")
    assert states(db, "t") == ["fresh"]


def test_a_failure_at_the_end_of_a_statement_is_a_warning(db: Connection, notices: Notices, calls: Calls) -> None:
    declare(db)
    db.execute(
        "CREATE OR REPLACE FUNCTION pgembed._embed_rows(target regclass, column_name name, keys text[]) RETURNS bigint"
        " LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'secret'; END $$"
    )
    db.execute("INSERT INTO t VALUES (4, 'd'); UPDATE t SET name = 'z' WHERE id = 1")
    assert states(db, "t") == ["stale", "fresh", "fresh", "pending"]
    told = [notice for notice in notices if notice.severity == "WARNING"]
    assert [notice.message for notice in told] == ['rows of "t" are written and not embedded: SQLSTATE P0001'] * 2


@pytest.mark.own_database
def test_tables_can_be_written_when_pgembed_is_gone(db: Connection) -> None:
    db.execute("CREATE TABLE t (id int PRIMARY KEY, name text); SELECT pgembed.add_embedding('t', 'name', sync => 'queued')")
    db.execute("CREATE TABLE u (id int PRIMARY KEY, name text); SELECT pgembed.add_embedding('u', 'name')")
    db.execute("INSERT INTO t VALUES (1, 'a')")
    db.execute("DROP EXTENSION pgembed CASCADE")
    for table in ("t", "u"):
        db.execute(f"INSERT INTO {table} VALUES (2, 'b'), (3, 'c'); UPDATE {table} SET name = 'd' WHERE id = 2; DELETE FROM {table}")


@pytest.mark.own_database
def test_two_sessions_may_write_the_same_row(db: Connection, connect: Connect) -> None:
    db.execute("CREATE TABLE t (id int PRIMARY KEY, name text); SELECT pgembed.add_embedding('t', 'name')")
    db.execute("INSERT INTO t VALUES (1, 'a')")
    other = connect(db)
    for isolation in ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"):
        other.execute(f"BEGIN ISOLATION LEVEL {isolation}")
        other.execute(f"UPDATE t SET name = '{isolation}'")
        other.execute("COMMIT")
        assert db.execute("SELECT embedding = pgembed.embed(name) FROM t").fetchone() == (True,)
