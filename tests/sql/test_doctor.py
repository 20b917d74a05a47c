"""doctor finds what is wrong, and each of its remedies, run as it stands, mends it."""

from __future__ import annotations

import psycopg
import pytest
from doctored import found, mended
from support import AsRole, Connection, MakeRole

pytestmark = pytest.mark.one_transaction

REGISTERED = "SELECT column_name, hash_column, trigger_name, work_index FROM pgembed._embedding WHERE table_name = %s::regclass"


def test_a_sound_database_has_no_findings_and_errors_come_first(sound: Connection) -> None:
    sound.execute("UPDATE product SET name = 'boat' WHERE id = 3; ALTER TABLE product DISABLE TRIGGER pgembed_embedding")
    lines = found(sound)
    assert [line[0] for line in lines] == ["error", "note"]
    assert {line[1] for line in lines} == {"product.embedding"}


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("ALTER TABLE product DISABLE TRIGGER pgembed_embedding", 'trigger "pgembed_embedding" is disabled'),
        ("ALTER TABLE product ENABLE TRIGGER pgembed_embedding", "not enabled for all sessions"),
        ("DROP TRIGGER pgembed_embedding ON product", 'trigger "pgembed_embedding" does not exist'),
        ("DROP INDEX product_embedding_work", "the index"),
    ],
)
def test_triggers_and_work_index_are_made_anew_without_embedding(sound: Connection, damage: str, said: str) -> None:
    before = sound.execute("SELECT embedding::text, embedding_hash FROM product ORDER BY id").fetchall()
    sound.execute(damage.encode())
    assert mended(sound, said) == "SELECT * FROM pgembed.repair('public.product')"
    assert sound.execute("SELECT embedding::text, embedding_hash FROM product ORDER BY id").fetchall() == before
    sound.execute("UPDATE product SET name = 'boat' WHERE id = 3")
    assert sound.execute("SELECT id FROM product WHERE pgembed.freshness(embedding, embedding_hash) = 'stale'").fetchall() == [(3,)]
    (line,) = sound.execute(REGISTERED, ["product"]).fetchall()
    assert sound.execute("SELECT to_regclass(%s) IS NOT NULL", [line[3]]).fetchone() == (True,)


def test_functions_of_another_owner_are_found_and_given_back(sound: Connection, make_role: MakeRole) -> None:
    other = make_role("other")
    sound.execute(f"ALTER ROUTINE product_embedding_source OWNER TO {other}")
    assert "OWNER TO" in mended(sound, "source function")
    sound.execute(f"ALTER ROUTINE product_embedding_follow OWNER TO {other}")
    mended(sound, "trigger's function")
    sound.execute("ALTER ROUTINE product_embedding_source SECURITY INVOKER")
    mended(sound, "with the rights of whoever calls it")


def test_a_source_function_that_is_gone_is_made_anew(sound: Connection) -> None:
    sound.execute("DROP FUNCTION product_embedding_source CASCADE")
    mended(sound, "source function")
    sound.execute("CALL pgembed.refresh('product')")
    assert found(sound) == []


def test_a_column_that_is_gone_is_forgotten(sound: Connection) -> None:
    sound.execute("ALTER EVENT TRIGGER pgembed_after_drop DISABLE; ALTER TABLE product DROP COLUMN embedding CASCADE")
    mended(sound, 'column "embedding" of the table does not exist any more')
    mended(sound, "it is disabled")
    assert sound.execute("SELECT count(*) FROM pgembed._embedding").fetchone() == (0,)


@pytest.mark.own_database
def test_rows_that_wait_and_nobody_comes(sound: Connection) -> None:
    sound.execute("SELECT pgembed.alter_embedding('product', sync => 'queued'); UPDATE product SET name = 'boat' WHERE id = 3")
    (line,) = found(sound)
    assert line[0] == "warning"
    assert "1 rows wait" in line[2]
    assert "has no worker" in line[2]
    # a worker that is there will do them
    sound.execute("INSERT INTO pgembed._worker (name, pid) VALUES ('w', pg_backend_pid())")
    assert found(sound) == []
    sound.execute("DELETE FROM pgembed._worker")
    assert mended(sound, "rows wait") == "CALL pgembed.work('public.product', 'embedding')"


@pytest.mark.own_database
def test_a_worker_that_leaves_columns_to_others(sound: Connection, make_role: MakeRole, as_role: AsRole) -> None:
    said = 'product.embedding is left to others: its model "m" cannot be loaded here: no file'
    sound.execute("INSERT INTO pgembed._worker (name, pid, host, problem) VALUES ('w', pg_backend_pid(), 'far', %s)", [said])
    assert found(sound) == [("warning", "worker w", f"{said}; its log on far says more", "CALL pgembed.work()")]
    with as_role(sound, make_role("stranger")):
        assert found(sound) == []
    sound.execute("UPDATE pgembed._worker SET pid = 1")  # gone
    assert found(sound) == []


def test_an_adapter_for_vectors_of_another_model(sound: Connection) -> None:
    zeros = "decode(repeat('00', %s), 'hex')"
    sound.execute(
        f"""
        INSERT INTO pgembed._adapter (table_name, column_name, adapter, kind, method, model, fingerprint, column_fingerprint, query_dim,
            dim, matrix, bias, normalized, measured)
        SELECT 'product', 'embedding', 'a', 'compensation', 'm', 'new', 'f', e.fingerprint, 1, 1, {zeros % 4}, {zeros % 4}, true, '{{}}'
        FROM pgembed._embedding AS e
        """
    )
    assert found(sound) == []
    sound.execute("UPDATE pgembed._adapter SET column_fingerprint = repeat('0', 64)")
    assert mended(sound, "is not in force") == "SELECT pgembed.drop_adapter('public.product', 'embedding')"


@pytest.mark.own_database
def test_batches_whose_worker_died_paused_columns_and_failed_rows(sound: Connection) -> None:
    sound.execute(
        """
        UPDATE product SET name = 'boat' WHERE id = 3;
        INSERT INTO pgembed._claim (table_name, column_name, keys, worker, attempts, expires_at)
        VALUES ('product', 'embedding', '{3}', 'gone', 1, now() - interval '1 hour');
        """
    )
    mended(sound, "never ended")
    sound.execute(
        "INSERT INTO pgembed._pause (table_name, column_name, attempts, sqlstate, error, until)"
        " VALUES ('product', 'embedding', 3, '58000', 'endpoint down', now() + interval '1 hour')"
    )
    assert "after 3 attempts: 58000, endpoint down" in found(sound)[0][2]
    mended(sound, "put off until")
    sound.execute(r"UPDATE product SET embedding = NULL, embedding_hash = '\xff' WHERE id = 1")
    mended(sound, "1 rows failed")


def test_a_model_that_is_not_there(sound: Connection) -> None:
    sound.execute("UPDATE pgembed._embedding SET fingerprint = repeat('0', 64)")
    remedy = mended(sound, "the model of its vectors is not there")
    assert remedy == "SELECT pgembed.alter_embedding('public.product', 'embedding', model => 'all-minilm-l6-v2')"
    sound.execute("UPDATE pgembed._embedding SET model = 'gone'")
    (line,) = [line for line in found(sound) if "is not there" in line[2]]
    assert line[3] == "pgembed model add gone"


def test_orphaned_codecs_and_codes(dots: Connection) -> None:
    dots.execute("SELECT pgembed.drop_codec('dot_int8'), pgembed.drop_codec('dot_pca'), pgembed.add_code('dot', 'dot_sign')")
    mended(dots, "rows may be without codes")
    dots.execute("ALTER TABLE dot DISABLE TRIGGER zz_pgembed_dot_sign")
    assert mended(dots, "is not enabled for all sessions") == 'ALTER TABLE public.dot ENABLE ALWAYS TRIGGER "zz_pgembed_dot_sign"'
    mended(dots, "rows may be without codes")
    dots.execute("DROP TRIGGER zz_pgembed_dot_sign ON dot")
    mended(dots, "rows are written without codes")
    dots.execute("DELETE FROM pgembed._embedding")
    mended(dots, "is not an embedded column any more")
    assert dots.execute("SELECT count(*) FROM pgembed._codec").fetchone() == (0,)


@pytest.mark.own_database
def test_indexes_that_are_missing_or_not_valid(db: Connection) -> None:
    db.execute(
        """
        CREATE TABLE dot (id int PRIMARY KEY, e vector(3));
        INSERT INTO dot SELECT n, ARRAY[sin(n), cos(n), 1]::vector FROM generate_series(1, 5001) AS n;
        ANALYZE dot;
        SELECT pgembed.adopt_embedding('dot', 'e', metric => 'l2');
        SELECT pgembed.set_search_defaults();
        """
    )
    assert "vector_l2_ops" in mended(db, "no index on them")
    db.execute("UPDATE pg_index SET indisvalid = false WHERE indrelid = 'dot'::regclass AND NOT indisprimary")
    assert mended(db, "is not valid").startswith("REINDEX INDEX CONCURRENTLY ")
    # PostgreSQL leaves such a one where REINDEX CONCURRENTLY fails
    db.execute("CREATE INDEX dot_e_idx_ccnew ON dot (id)")
    db.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'dot_e_idx_ccnew'::regclass")
    assert mended(db, "is not valid").startswith("DROP INDEX CONCURRENTLY ")
    # settings of the database hold for sessions to come
    db.execute("SELECT pgembed.reset_search_defaults()")
    mended(db, "loses rows")


@pytest.mark.own_database
def test_a_calibration_that_is_not_true_any_more(db: Connection) -> None:
    db.execute(
        """
        CREATE TABLE dot (id int PRIMARY KEY, e vector(3));
        INSERT INTO dot SELECT n, ARRAY[sin(n), cos(n), sin(n * n)]::vector FROM generate_series(1, 300) AS n;
        SELECT pgembed.adopt_embedding('dot', 'e');
        CALL pgembed.calibrate('dot', 'e', sample => 10);
        """
    )
    assert found(db) == []
    db.execute("UPDATE pgembed._calibration SET metric = 'l2'")
    assert mended(db, "calibrate() measured") == "CALL pgembed.calibrate('public.dot', 'e')"


def test_lines_of_tables_that_were_dropped_unseen(sound: Connection) -> None:
    sound.execute("ALTER EVENT TRIGGER pgembed_after_drop DISABLE; DROP TABLE product")
    sound.execute("ALTER EVENT TRIGGER pgembed_after_drop ENABLE")
    assert mended(sound, "tables that do not exist any more") == "SELECT * FROM pgembed.repair()"
    assert sound.execute("SELECT count(*) FROM pg_proc WHERE proname LIKE 'product_embedding%'").fetchone() == (0,)


def test_linkers_that_lack_something(sound: Connection) -> None:
    sound.execute("SELECT pgembed.create_linker('things', 'product', names => 'name', context => 'embedding', types => 'price::text')")
    assert found(sound) == []
    sound.execute("ALTER TABLE product DISABLE TRIGGER pgembed_linked_update")
    assert mended(sound, "compares all rows") == "SELECT * FROM pgembed.repair('public.product')"
    sound.execute("DROP TRIGGER pgembed_linked_insert ON product")
    assert sound.execute("SELECT column_name, done FROM pgembed.repair()").fetchall() == [
        (None, "triggers made anew that tell linkers of changed rows")
    ]
    sound.execute("UPDATE pgembed._linker_target SET context_column = 'other'")
    # the remedy forgets what was learned, so it is said what does not
    assert any("pgembed.alter_linker() mends that; the remedy forgets" in str(line) for line in found(sound))
    assert mended(sound, "column other of its context is gone") == "SELECT pgembed.drop_linker('things')"


@pytest.mark.own_database
def test_another_version_of_the_objects_is_the_only_finding(db: Connection) -> None:
    db.execute("CREATE OR REPLACE FUNCTION pgembed.version() RETURNS text LANGUAGE sql IMMUTABLE RETURN '0.0.1'")
    (line,) = found(db)
    assert line[:2] == ("error", "pgembed")
    assert "0.0.1" in line[2]
    assert line[3].startswith("ALTER EXTENSION pgembed UPDATE")


def test_everybody_is_told_of_their_own_tables_alone(sound: Connection, make_role: MakeRole, as_role: AsRole) -> None:
    other = make_role("other")
    sound.execute("DROP TRIGGER pgembed_embedding ON product; GRANT SELECT ON product TO PUBLIC")
    with as_role(sound, other):
        assert found(sound) == []
        assert sound.execute("SELECT count(*) FROM pgembed._queue").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            sound.execute("SELECT pgembed.repair('product')")
        assert sound.execute("SELECT pgembed.repair()").fetchall() == []
    assert len(found(sound)) == 1
