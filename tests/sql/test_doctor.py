"""doctor finds what is wrong, and each of its remedies, run as it stands, mends it. repair, renames and drops, progress."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import psycopg
import pytest
from psycopg import sql

Connection = psycopg.Connection[Any]
AsRole = Callable[[Connection, str], AbstractContextManager[None]]

pytestmark = pytest.mark.one_transaction

REGISTERED = "SELECT column_name, hash_column, trigger_name, work_index FROM pgembed._embedding WHERE table_name = %s::regclass"


def found(db: Connection, subject: str = "") -> list[tuple[str, str, str, str]]:
    """Lines of doctor whose subject or finding contains a text."""
    lines = db.execute("SELECT * FROM pgembed.doctor()").fetchall()
    return [line for line in lines if subject in line[1] or subject in line[2]]


def mended(db: Connection, said: str) -> str:
    """Run the remedy of the one finding that says this; then it is gone. The remedy."""
    (line,) = [line for line in found(db) if said in line[2]]
    db.execute(line[3].encode())
    assert [line for line in found(db) if said in line[2]] == []
    return str(line[3])


@pytest.fixture
def sound(db: Connection) -> Connection:
    """Three rows, embedded, of which nothing is to be said."""
    db.execute(
        """
        CREATE TABLE product (id int PRIMARY KEY, name text, price int);
        INSERT INTO product VALUES (1, 'jacket', 80), (2, 'stove', 40), (3, 'tent', 200);
        """
    )
    db.execute("SELECT pgembed.add_embedding('product', 'name', sync => 'manual')")
    db.execute("CALL pgembed.refresh('product')")
    assert found(db) == []
    return db


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


def test_functions_of_another_owner_are_found_and_given_back(sound: Connection, make_role: Callable[..., str]) -> None:
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
def test_a_worker_that_leaves_columns_to_others(sound: Connection, make_role: Any, as_role: AsRole) -> None:
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


@pytest.mark.own_database
def test_another_version_of_the_objects_is_the_only_finding(db: Connection) -> None:
    db.execute("CREATE OR REPLACE FUNCTION pgembed.version() RETURNS text LANGUAGE sql IMMUTABLE RETURN '0.0.1'")
    (line,) = found(db)
    assert line[:2] == ("error", "pgembed")
    assert "0.0.1" in line[2]
    assert line[3].startswith("ALTER EXTENSION pgembed UPDATE")


def test_everybody_is_told_of_their_own_tables_alone(sound: Connection, make_role: Callable[..., str], as_role: AsRole) -> None:
    other = make_role("other")
    sound.execute("DROP TRIGGER pgembed_embedding ON product; GRANT SELECT ON product TO PUBLIC")
    with as_role(sound, other):
        assert found(sound) == []
        assert sound.execute("SELECT count(*) FROM pgembed._queue").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            sound.execute("SELECT pgembed.repair('product')")
        assert sound.execute("SELECT pgembed.repair()").fetchall() == []
    assert len(found(sound)) == 1


@pytest.fixture
def unregistered(sound: Connection) -> Connection:
    """As after a restore of the schema alone: the objects are there, the registry is empty."""
    sound.execute("UPDATE product SET name = 'boat' WHERE id = 3; DELETE FROM pgembed._embedding")
    return sound


def test_a_column_is_registered_again_from_what_its_trigger_declares(unregistered: Connection) -> None:
    rows = "SELECT embedding::text, embedding_hash FROM product ORDER BY id"
    before = unregistered.execute(rows).fetchall()
    assert mended(unregistered, "not registered") == "SELECT * FROM pgembed.repair('public.product')"
    assert unregistered.execute(rows).fetchall() == before
    line = "SELECT column_name, source, model, sync, fresh, stale FROM pgembed.embeddings"
    assert unregistered.execute(line).fetchall() == [("embedding", "name", "all-minilm-l6-v2", "manual", 2, 1)]
    unregistered.execute("CALL pgembed.refresh('product')")
    assert unregistered.execute(line).fetchall() == [("embedding", "name", "all-minilm-l6-v2", "manual", 3, 0)]
    assert unregistered.execute("SELECT (item).name FROM pgembed.search(NULL::product, 'a ship', k => 1)").fetchall() == [("boat",)]
    unregistered.execute("SELECT pgembed.drop_embedding('product')")
    assert unregistered.execute("SELECT count(*) FROM pg_proc WHERE proname LIKE 'product_embedding%'").fetchone() == (0,)


def test_a_declaration_follows_changes_of_the_column(sound: Connection) -> None:
    sound.execute("SELECT pgembed.alter_embedding('product', source => 'upper(name)', metric => 'l2')")
    sound.execute("ALTER TABLE product RENAME COLUMN embedding TO e")
    sound.execute("DELETE FROM pgembed._embedding; SELECT pgembed.repair()")
    line = "SELECT column_name, source, metric, hash_column FROM pgembed._embedding"
    assert sound.execute(line).fetchall() == [("e", "upper(name)", "l2", "embedding_hash")]
    assert found(sound, "not registered") == []


def test_chunks_are_registered_again(doc: Connection) -> None:
    before = doc.execute("SELECT * FROM pgembed.embeddings").fetchall()
    doc.execute("DELETE FROM pgembed._embedding")
    assert doc.execute("SELECT column_name::text, done FROM pgembed.repair('doc')").fetchall() == [("part", "registered again")]
    assert doc.execute("SELECT * FROM pgembed.embeddings").fetchall() == before


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("ALTER ROUTINE product_embedding_source OWNER TO {other}", "source function"),
        ("ALTER ROUTINE product_embedding_source SECURITY INVOKER", "source function"),
        ("ALTER TABLE product DROP COLUMN embedding CASCADE; ALTER TABLE product ADD embedding text", "which the table does not have"),
    ],
)
def test_a_declaration_is_believed_only_where_it_can_harm_nobody(
    unregistered: Connection, make_role: Callable[..., str], damage: str, message: str
) -> None:
    unregistered.execute(damage.format(other=make_role("other")).encode())
    with pytest.raises(psycopg.Error, match=message):
        unregistered.execute("SELECT pgembed.repair('product')")
    assert unregistered.execute("SELECT count(*) FROM pgembed._embedding").fetchone() == (0,)


def test_a_forged_function_name_is_looked_up_among_the_owners(unregistered: Connection, make_role: Callable[..., str]) -> None:
    victim = make_role("victim")
    unregistered.execute("CREATE FUNCTION precious() RETURNS text LANGUAGE sql SECURITY DEFINER RETURN 'x'")
    unregistered.execute(f"ALTER FUNCTION precious() OWNER TO {victim}")
    said = unregistered.execute("SELECT obj_description(oid, 'pg_trigger') FROM pg_trigger WHERE tgname = 'pgembed_embedding'").fetchone()
    assert said is not None
    forged = said[0].replace("product_embedding_source", "precious")
    assert forged != said[0]
    unregistered.execute(sql.SQL("COMMENT ON TRIGGER pgembed_embedding ON product IS {}").format(forged))
    with pytest.raises(psycopg.Error, match="source function"):
        unregistered.execute("SELECT pgembed.repair('product')")
    unregistered.execute("COMMENT ON TRIGGER pgembed_embedding ON product IS 'pgembed: {nonsense'")
    assert found(unregistered) == []


@pytest.fixture
def renamed(sound: Connection) -> Connection:
    """All that can have another name has one: columns, table and schema; and one row has changed since."""
    for statement in (
        "CREATE SCHEMA shop",
        "ALTER TABLE product RENAME COLUMN embedding TO e",
        "ALTER TABLE product RENAME COLUMN embedding_hash TO h",
        "ALTER TABLE product RENAME COLUMN name TO title",
        "ALTER TABLE product RENAME COLUMN id TO no",
        "ALTER TABLE product RENAME TO ware",
        "ALTER TABLE ware SET SCHEMA shop",
        'ALTER SCHEMA shop RENAME TO "My Shop"',
        'ALTER INDEX "My Shop".product_embedding_work RENAME TO w',
        """UPDATE "My Shop".ware SET title = 'boat' WHERE no = 3""",
    ):
        sound.execute(statement.encode())
    return sound


def test_everything_works_under_other_names(renamed: Connection) -> None:
    assert [line[1:] for line in found(renamed) if line[0] != "note"] == []
    line = "SELECT column_name, fresh, stale FROM pgembed.embeddings"
    assert renamed.execute(line).fetchall() == [("e", 2, 1)]
    renamed.execute("""CALL pgembed.refresh('"My Shop".ware')""")
    assert renamed.execute(line).fetchall() == [("e", 3, 0)]
    search = """SELECT (item).title FROM pgembed.search(NULL::"My Shop".ware, 'a ship', k => 1)"""
    assert renamed.execute(search).fetchall() == [("boat",)]
    renamed.execute("""INSERT INTO "My Shop".ware VALUES (4, 'lamp', 1); CALL pgembed.refresh('"My Shop".ware', 'e')""")
    assert renamed.execute(line).fetchall() == [("e", 4, 0)]
    renamed.execute("""SELECT pgembed.drop_embedding('"My Shop".ware')""")
    assert renamed.execute("SELECT count(*) FROM pg_proc WHERE proname ~ '(product|ware)_'").fetchone() == (0,)


def test_names_may_change_places(sound: Connection) -> None:
    sound.execute("SELECT pgembed.add_embedding('product', 'price::text', column_name => 'other', sync => 'manual')")
    for old, new in (("embedding", "x"), ("other", "embedding"), ("x", "other")):
        sound.execute(f"ALTER TABLE product RENAME COLUMN {old} TO {new}")
    lines = sound.execute("SELECT column_name, source FROM pgembed._embedding ORDER BY 1").fetchall()
    assert lines == [("embedding", "price::text"), ("other", "name")]
    sound.execute("CALL pgembed.refresh('product')")
    assert found(sound) == []


def test_chunks_follow_renamed_keys(doc: Connection) -> None:
    for old, new in (("id", "no"), ("body", "content"), ("part_hash", "h")):
        doc.execute(f"ALTER TABLE doc RENAME COLUMN {old} TO {new}")
    doc.execute("UPDATE doc SET content = NULL WHERE no = 1")
    assert doc.execute("SELECT count(*) FROM doc_part_chunk WHERE id = 1").fetchone() == (0,)
    doc.execute("UPDATE doc SET content = 'A harp has many strings.' WHERE no = 1; CALL pgembed.refresh('doc')")
    assert doc.execute("SELECT (item).no FROM pgembed.search(NULL::doc, 'harp', k => 1)").fetchall() == [(1,)]


def test_codes_follow_renamed_columns(dots: Connection) -> None:
    dots.execute("SELECT pgembed.add_code('dot', 'dot_sign')")
    dots.execute("CALL pgembed.fill_code('dot', 'dot_sign')")
    dots.execute("ALTER TABLE dot RENAME COLUMN e TO vec")
    dots.execute("ALTER TABLE dot RENAME COLUMN dot_sign TO code")
    dots.execute("UPDATE dot SET vec = '[1,2,3,4,-1,-2,-3,-4]' WHERE id = 9; INSERT INTO dot VALUES (999, 1, '[1,2,3,4,-1,-2,-3,-4]')")
    assert dots.execute("SELECT count(DISTINCT code), count(code) FROM dot WHERE id IN (9, 999)").fetchone() == (1, 2)
    assert dots.execute("SELECT column_name, embedding_column, is_filled FROM pgembed.codes").fetchall() == [("code", "vec", True)]
    assert found(dots) == []
    assert dots.execute("SELECT column_name FROM pgembed.codecs ORDER BY name LIMIT 1").fetchone() == ("vec",)


def test_what_is_known_of_the_work_goes_with_the_column(sound: Connection) -> None:
    sound.execute(
        """
        INSERT INTO pgembed._claim (table_name, column_name, keys, worker, attempts, expires_at)
        VALUES ('product', 'embedding', '{3}', 'w', 1, now());
        INSERT INTO pgembed._failure (table_name, column_name, key, attempts, sqlstate, error)
        VALUES ('product', 'embedding', '3', 1, '22000', 'x');
        INSERT INTO pgembed._pause (table_name, column_name, attempts, sqlstate, error, until)
        VALUES ('product', 'embedding', 1, '58000', 'x', now());
        """
    )
    names = " UNION ALL ".join(f"SELECT column_name FROM pgembed.{table}" for table in ("_claim", "_failure", "_pause"))
    sound.execute("ALTER TABLE product RENAME COLUMN embedding TO e")
    assert sound.execute(names).fetchall() == [("e",)] * 3
    sound.execute("DROP TABLE product")
    assert sound.execute(names).fetchall() == []


def test_dropping_the_vectors_leaves_nothing_behind(sound: Connection) -> None:
    with pytest.raises(psycopg.errors.DependentObjectsStillExist):
        sound.execute("ALTER TABLE product DROP COLUMN embedding")
    sound.execute("ALTER TABLE product DROP COLUMN embedding CASCADE")
    assert sound.execute("SELECT count(*) FROM pgembed._embedding").fetchone() == (0,)
    assert sound.execute("SELECT count(*) FROM pg_proc WHERE proname LIKE 'product_embedding%'").fetchone() == (0,)
    left = sound.execute("SELECT attname FROM pg_attribute WHERE attrelid = 'product'::regclass AND attnum > 0 AND NOT attisdropped")
    assert left.fetchall() == [("id",), ("name",), ("price",)]
    assert sound.execute("SELECT count(*) FROM pg_trigger WHERE tgrelid = 'product'::regclass").fetchone() == (0,)
    sound.execute("SELECT pgembed.add_embedding('product', 'name')")


def test_dropping_adopted_vectors_takes_their_codes_along(dots: Connection) -> None:
    dots.execute("SELECT pgembed.add_code('dot', 'dot_sign'), pgembed.add_code('dot', 'dot_int8')")
    with pytest.raises(psycopg.errors.DependentObjectsStillExist):
        dots.execute("ALTER TABLE dot DROP COLUMN e")
    dots.execute("ALTER TABLE dot DROP COLUMN e CASCADE")
    assert dots.execute("SELECT (SELECT count(*) FROM pgembed._code), (SELECT count(*) FROM pgembed._embedding)").fetchone() == (0, 0)
    left = dots.execute("SELECT attname FROM pg_attribute WHERE attrelid = 'dot'::regclass AND attnum > 0 AND NOT attisdropped")
    assert left.fetchall() == [("id",), ("place",)]
    for line in found(dots):
        assert line[1].startswith("codec ")
        dots.execute(line[3].encode())
    assert found(dots) == []
    assert dots.execute("SELECT count(*) FROM pg_proc WHERE proname LIKE 'dot_%'").fetchone() == (0,)


def test_a_change_that_cannot_be_followed_is_made_anyway(sound: Connection, notices: list[Any]) -> None:
    # where pgembed would put its own
    sound.execute("CREATE TRIGGER pgembed_e BEFORE DELETE ON product EXECUTE FUNCTION suppress_redundant_updates_trigger()")
    sound.execute("ALTER TABLE product RENAME COLUMN embedding TO e")
    assert [notice.severity for notice in notices if "does not follow this change" in notice.message] == ["WARNING"]
    assert sound.execute("SELECT count(e) FROM product").fetchone() == (3,)
    assert [line[0] for line in found(sound, "product.embedding")] == ["error"]


def test_drop_extension_says_what_it_would_take_along(sound: Connection, refused: Callable[..., psycopg.Error]) -> None:
    error = refused(sound, "2BP01", "DROP EXTENSION vector", hint="CASCADE")
    assert "product" in str(error.diag.message_detail)


@pytest.mark.own_database
def test_progress_is_seen_by_others_and_gone_at_the_end(
    db: Connection, connect: Callable[[Connection], Connection], notices: list[Any]
) -> None:
    """The source itself looks at what the view says while refresh runs; it says the same to all sessions."""
    db.execute("CREATE TABLE product (id int PRIMARY KEY, name text)")
    db.execute("INSERT INTO product SELECT n, 'row ' || n FROM generate_series(1, 6) AS n")
    db.execute(
        """
        CREATE FUNCTION look(n int) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
        BEGIN
            IF n > 4 THEN
                PERFORM pg_stat_clear_snapshot();
                RAISE NOTICE '%', (
                    SELECT p.what || ' ' || p.target || ' ' || p.done || '/' || coalesce(p.total::text, '?') || ' '
                        || (p.started_at BETWEEN now() - interval '1 hour' AND clock_timestamp()) || ' ' || p.role
                    FROM pgembed.progress AS p
                );
            END IF;
            RETURN 'row ' || n;
        END $$
        """
    )
    db.execute("SELECT pgembed.add_embedding('product', 'look(id)', sync => 'manual')")
    db.execute("SET application_name = 'my own'")
    db.execute("CALL pgembed.refresh('product', batch_size => 2)")
    told = {notice.message for notice in notices if notice.message.startswith("refresh ")}
    assert told & {"refresh product.embedding 4/6 true postgres"}, told
    assert db.execute("SHOW application_name").fetchone() == ("my own",)
    other = connect(db)
    assert other.execute("SELECT count(*) FROM pgembed.progress").fetchone() == (0,)
    # a name as a call sets it is there for other sessions at once
    db.execute("BEGIN; SELECT set_config('application_name', 'pgembed refresh product.embedding 2/8 @t5i8g0', true)")
    line = other.execute("SELECT what, target, done, total, started_at, eta > started_at FROM pgembed.progress").fetchone()
    assert line is not None
    assert line[:4] == ("refresh", "product.embedding", 2, 8)
    assert int(line[4].timestamp()) == int("t5i8g0", 36)
    assert line[5] is True
    db.execute("ROLLBACK")
    assert other.execute("SELECT count(*) FROM pgembed.progress").fetchone() == (0,)


@pytest.mark.own_database
def test_after_an_error_the_name_is_the_old_one(db: Connection) -> None:
    db.execute("CREATE TABLE dot (id int PRIMARY KEY, e vector(3)); SELECT pgembed.adopt_embedding('dot', 'e')")
    db.execute("SET application_name = 'my own'")
    with pytest.raises(psycopg.Error):
        db.execute("SELECT pgembed.train_codec('c', 'dot', 'sign')")
    with pytest.raises(psycopg.Error):
        db.execute("CALL pgembed.calibrate('dot', 'e')")
    assert db.execute("SHOW application_name").fetchone() == ("my own",)
