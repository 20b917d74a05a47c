"""sync: which rows are embedded, or somebody woken for, at the end of the statement that wrote them, and which are not."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from support import AsRole, Connect, Connection, MakeRole, Notices, counts, states

pytestmark = pytest.mark.one_transaction

Calls = Callable[[], list[str]]

# In place of what embeds and what wakes: they write down what they were called for. All of it is undone with the test's transaction.
SPIES = """
    CREATE TABLE called (n int GENERATED ALWAYS AS IDENTITY, what text);
    CREATE OR REPLACE FUNCTION pgembed._embed_rows(target regclass, column_name name, keys text[]) RETURNS bigint
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER AS $$
    BEGIN
        INSERT INTO public.called (what)
        SELECT format('%s.%s: %s', relname, column_name, (SELECT string_agg(k, ' ' ORDER BY k) FROM unnest(keys) AS k))
        FROM pg_class WHERE oid = target;
        RETURN 0;
    END $$;
    CREATE OR REPLACE FUNCTION pgembed._wake_workers() RETURNS void LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER AS
    $$ INSERT INTO public.called (what) VALUES ('woken') $$;
"""


@pytest.fixture
def calls(db: Connection, connect: Connect) -> Calls:
    """What was called since it was last asked; a worker sleeps."""
    db.execute(SPIES)
    # as _begin_sleep() does; the session of the test before may not be gone yet
    connect(db).execute("SELECT pg_advisory_lock(1885824365, 2002873189)")

    def read() -> list[str]:
        rows = db.execute("SELECT what FROM called ORDER BY n").fetchall()
        db.execute("DELETE FROM called")
        return [row[0] for row in rows]

    return read


def declare(db: Connection, sync: str = "auto", arguments: str = "") -> None:
    """Three rows that are fresh, as far as they say, and how they are kept so."""
    db.execute(
        """
        CREATE TABLE t (id int PRIMARY KEY, name text, n int DEFAULT 0);
        INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c');
        """
    )
    db.execute(f"SELECT pgembed.add_embedding('t', 'name', sync => '{sync}' {arguments})")
    settle(db)


def settle(db: Connection, table: str = "t") -> None:
    """Let all rows be as if they had been embedded."""
    db.execute(
        f"UPDATE {table} SET embedding = array_fill(1, ARRAY[384])::vector, embedding_hash = pgembed._source_hash(name)"
        " WHERE pgembed.freshness(embedding, embedding_hash) <> 'fresh'"
    )


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


# ------------------------------------------------------------------------------------------------------------------- partitions


@pytest.fixture
def parts(db: Connection) -> Connection:
    """A partitioned table, whose second partition has its columns in another order."""
    db.execute(
        """
        CREATE TABLE t (id int, region text, name text, n int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
        CREATE TABLE t_a PARTITION OF t FOR VALUES IN ('a');
        CREATE TABLE t_b (gone int, n int, name text, region text NOT NULL, id int NOT NULL);
        ALTER TABLE t_b DROP COLUMN gone;
        ALTER TABLE t ATTACH PARTITION t_b FOR VALUES IN ('b');
        INSERT INTO t VALUES (1, 'a', 'jacket'), (2, 'b', 'stove'), (3, 'b', 'tent');
        """
    )
    db.execute("SELECT pgembed.add_embedding('t', 'name')")
    settle(db)
    return db


def test_rows_of_partitions_are_embedded_together(parts: Connection, calls: Calls) -> None:
    parts.execute("INSERT INTO t VALUES (4, 'a', 'x'), (5, 'b', 'y')")
    parts.execute("UPDATE t SET name = 'z' WHERE id < 3")
    assert calls() == ['t.embedding: [4, "a"] [5, "b"]', 't.embedding: [1, "a"] [2, "b"]']


def test_a_row_that_moves_is_embedded_if_its_text_has_changed(parts: Connection, calls: Calls) -> None:
    parts.execute("UPDATE t SET region = 'b' WHERE id = 1")
    assert calls() == []
    parts.execute("UPDATE t SET region = 'a', name = 'z' WHERE id = 1")
    assert calls() == ['t.embedding: [1, "a"]']
    assert states(parts, "t") == ["stale", "fresh", "fresh"]


def test_what_names_a_partition_is_left_to_workers_and_says_so(parts: Connection, calls: Calls) -> None:
    parts.execute("INSERT INTO t_a (id, region, name) VALUES (4, 'a', 'x'); UPDATE t_b SET name = 'z' WHERE id = 2")
    assert calls() == []
    assert states(parts, "t") == ["fresh", "stale", "fresh", "pending"]


def test_a_partition_that_comes_later_is_followed_also_as_a_replica(parts: Connection, calls: Calls) -> None:
    parts.execute("CREATE TABLE t_c PARTITION OF t FOR VALUES IN ('c'); INSERT INTO t VALUES (4, 'c', 'x')")
    settle(parts)
    parts.execute("SET session_replication_role = replica")
    parts.execute("UPDATE t SET name = 'z' WHERE id IN (1, 4)")
    parts.execute("RESET session_replication_role")
    assert states(parts, "t") == ["stale", "fresh", "fresh", "stale"]


def test_the_work_index_covers_partitions(parts: Connection) -> None:
    rows = parts.execute(
        "SELECT c.relkind::text FROM pg_index AS x JOIN pg_class AS c ON c.oid = x.indexrelid"
        " WHERE c.relname ~ '^t_' AND pg_get_expr(x.indpred, x.indrelid) ~ 'pending' ORDER BY 1"
    )
    assert rows.fetchall() == [("I",), ("i",), ("i",)]


def test_a_table_with_children_is_refused(db: Connection) -> None:
    db.execute("CREATE TABLE t (id int PRIMARY KEY, name text); CREATE TABLE child () INHERITS (t)")
    with pytest.raises(psycopg.errors.FeatureNotSupported, match="children by inheritance"):
        db.execute("SELECT pgembed.add_embedding('t', 'name')")
    db.execute("DROP TABLE child; SELECT pgembed.add_embedding('t', 'name')")


# ------------------------------------------------------------------------------------------------------------------ replication


def test_a_replica_marks_rows_and_calls_nothing(db: Connection, calls: Calls) -> None:
    declare(db)
    db.execute("SET session_replication_role = replica")
    db.execute("UPDATE t SET name = 'z' WHERE id = 1; INSERT INTO t VALUES (4, 'd')")
    db.execute("RESET session_replication_role")
    assert states(db, "t") == ["stale", "fresh", "fresh", "pending"]
    assert calls() == []


def test_replicated_rows_that_bring_vector_and_hash_are_what_they_say(db: Connection) -> None:
    declare(db)
    db.execute("SET session_replication_role = replica")
    vector = "array_fill(2, ARRAY[384])::vector"
    db.execute(f"UPDATE t SET name = 'x', embedding = {vector}, embedding_hash = '\\x01' || pgembed._source_hash('x') WHERE id = 1")
    db.execute("UPDATE t SET name = 'y', embedding_hash = '\\x00' || pgembed._source_hash('b') WHERE id = 2")
    # a hash that is not that of the text is not believed
    db.execute(f"UPDATE t SET name = 'z', embedding = {vector}, embedding_hash = pgembed._source_hash('other') WHERE id = 3")
    db.execute("RESET session_replication_role")
    assert states(db, "t") == ["fresh", "stale", "stale"]
    assert db.execute("SELECT bool_or(pgembed.by_hand(embedding_hash)), bool_or(pgembed.truncated(embedding_hash)) FROM t").fetchone() == (
        False,
        True,
    )


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


# ------------------------------------------------------------------------------------------------------------------ the work index


@pytest.mark.parametrize("arguments", ["", ", chunk_tokens => 10"], ids=["row", "chunks"])
def test_the_planner_proves_the_work_index(db: Connection, arguments: str) -> None:
    db.execute("CREATE TABLE t (id int PRIMARY KEY, name text)")
    db.execute(f"SELECT pgembed.add_embedding('t', 'name', sync => 'manual' {arguments})")
    state = "pgembed.freshness(t.embedding_hash)" if arguments else "pgembed.freshness(t.embedding, t.embedding_hash)"
    db.execute("SET LOCAL enable_seqscan = off")
    plan = "\n".join(row[0] for row in db.execute(f"EXPLAIN SELECT id FROM t WHERE {state} IN ('pending', 'stale')").fetchall())
    assert "t_embedding_work" in plan
    assert db.execute("SELECT work_index FROM pgembed._embedding").fetchone() == ('"public"."t_embedding_work"',)


def test_the_work_index_goes_with_the_column_whatever_it_is_called(db: Connection) -> None:
    declare(db)
    db.execute("ALTER INDEX t_embedding_work RENAME TO other")
    db.execute("SELECT pgembed.drop_embedding('t', keep_column => true)")
    assert db.execute("SELECT to_regclass('other'), to_regclass('t_embedding_work')").fetchone() == (None, None)


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
