"""pg_dump and restore into a new database: vectors, registry, triggers and search are there, and no model has run."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import coded
import psycopg
import pytest
from psycopg import conninfo

Connection = psycopg.Connection[Any]

URL = os.environ.get("PGEMBED_URL", "")

CONTENT = """
    CREATE SCHEMA "My Shop";
    CREATE TABLE "My Shop"."Pro""duct" (id int PRIMARY KEY, name text);
    INSERT INTO "My Shop"."Pro""duct" VALUES (1, 'rain jacket'), (2, 'camping stove'), (3, NULL), (4, 'tent');
    SELECT pgembed.add_embedding('"My Shop"."Pro""duct"', 'name', sync => 'manual');
    CREATE TABLE given (id int PRIMARY KEY, name text, e halfvec(3));
    INSERT INTO given VALUES (1, 'a', '[1,0,0]'), (2, 'b', '[0,1,0.333]');
    SELECT pgembed.adopt_embedding('given', 'e', metric => 'l2');
    CREATE INDEX given_idx ON given USING hnsw (e halfvec_l2_ops);
    CREATE TABLE dropped (id int PRIMARY KEY, e vector(2));
    SELECT pgembed.adopt_embedding('dropped', 'e');
    SELECT pgembed.set_default_model('all-minilm-l6-v2-int8');
    SELECT pgembed.register_model('turned', 'all-minilm-l6-v2', dim => 64, basis => 'rotation', document_prompt => 'passage: ');
    SELECT pgembed.register_model('turned', 'all-minilm-l6-v2', dim => 32, basis => 'rotation', document_prompt => 'passage: ');
"""
VECTORS = """SELECT id, embedding::text, embedding_hash FROM "My Shop"."Pro""duct" ORDER BY id"""


def program(db: Connection, name: str) -> str:
    """A program of the server's own version."""
    row = db.execute("SELECT setting FROM pg_config WHERE name = 'BINDIR'").fetchone()
    found = Path(row[0]) / name if row else None
    version = db.info.server_version // 10000
    for path in (found, Path(f"/usr/lib/postgresql/{version}/bin/{name}")):
        if path is not None and path.exists():
            return str(path)
    on_path = shutil.which(name)
    if on_path is None:
        pytest.skip(f"{name} is not installed")
    return on_path


def url(dbname: str) -> str:
    return conninfo.make_conninfo(URL, dbname=dbname)


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def source(db: Connection) -> Connection:
    """A database worth a dump: an embedded table with one stale row, an adopted column, and the line of a table that was dropped."""
    db.execute(CONTENT)
    db.execute("""CALL pgembed.refresh('"My Shop"."Pro""duct"')""")
    db.execute("""UPDATE "My Shop"."Pro""duct" SET name = 'boat' WHERE id = 4""")
    # without the event trigger, as where a superuser has switched it off
    db.execute("ALTER EVENT TRIGGER pgembed_after_drop DISABLE; DROP TABLE dropped; ALTER EVENT TRIGGER pgembed_after_drop ENABLE")
    assert db.execute("SELECT count(*) FROM pgembed._embedding").fetchone() == (3,)
    return db


@pytest.fixture
def restore(source: Connection, tmp_path: Path) -> Iterator[Callable[[str], Connection]]:
    """Dump the source in a format of pg_dump's and restore it into a new database, with every function call counted there."""
    name = f"{source.info.dbname}_restored"
    opened: list[Connection] = []

    def again(form: str) -> Connection:
        dump = tmp_path / "dump"
        run(program(source, "pg_dump"), "-d", url(source.info.dbname), "-F", form, "-f", str(dump))
        source.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        source.execute(f"ALTER DATABASE {name} SET track_functions = 'all'")
        if form == "p":
            run(program(source, "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url(name), "-f", str(dump))
        else:
            run(program(source, "pg_restore"), "--exit-on-error", "-d", url(name), str(dump))
        opened.append(psycopg.connect(url(name), autocommit=True))
        return opened[-1]

    yield again
    for connection in opened:
        connection.close()
    source.execute(f"DROP DATABASE IF EXISTS {name}")


@pytest.mark.parametrize("form", ["p", "c"])
def test_what_is_restored_is_what_was_dumped(source: Connection, restore: Callable[[str], Connection], form: str) -> None:
    restored = restore(form)
    assert restored.execute(VECTORS).fetchall() == source.execute(VECTORS).fetchall()
    given = "SELECT id, e::text FROM given ORDER BY id"
    assert restored.execute(given).fetchall() == source.execute(given).fetchall()
    columns = "SELECT table_name::text, column_name, source, model, metric, fresh, stale, null_source FROM pgembed.embeddings ORDER BY 1"
    lines = restored.execute(columns).fetchall()
    assert lines == source.execute(columns).fetchall()
    assert [line[0] for line in lines] == ['"My Shop"."Pro""duct"', "given"]
    assert restored.execute("SELECT name FROM pgembed.models WHERE is_default").fetchall() == [("all-minilm-l6-v2-int8",)]


def test_registered_models_are_restored_with_their_revisions_and_bases(source: Connection, restore: Callable[[str], Connection]) -> None:
    restored = restore("p")
    rows = "SELECT * FROM pgembed._model ORDER BY name, revision"
    lines = restored.execute(rows).fetchall()
    assert lines == source.execute(rows).fetchall()
    assert len(lines) == 2
    made = "SELECT pgembed.embed('a', 'turned', 'document')::text"
    assert restored.execute(made).fetchone() == source.execute(made).fetchone()


def test_no_model_is_called_during_the_restore(restore: Callable[[str], Connection]) -> None:
    restored = restore("c")
    called = restored.execute(
        "SELECT funcname FROM pg_stat_user_functions WHERE schemaname = 'pgembed' AND funcname ~ 'embed|refresh|search|models'"
    ).fetchall()
    assert called == []
    # and it would have been seen
    restored.execute("SELECT pgembed.embed('a')")
    restored.execute("SELECT pg_stat_force_next_flush()" if restored.info.server_version >= 150000 else "SELECT pg_sleep(1)")
    counted = restored.execute("SELECT funcname FROM pg_stat_user_functions WHERE schemaname = 'pgembed'").fetchall()
    assert ("_embed",) in counted


def test_lines_of_dropped_tables_are_not_dumped(restore: Callable[[str], Connection]) -> None:
    restored = restore("p")
    assert restored.execute("SELECT count(*) FROM pgembed._embedding").fetchone() == (2,)


def test_what_is_restored_is_searched_followed_and_refreshed(restore: Callable[[str], Connection]) -> None:
    restored = restore("c")
    found = restored.execute(
        """SELECT (item).name FROM pgembed.search(NULL::"My Shop"."Pro""duct", 'cooking outdoors', k => 1)"""
    ).fetchall()
    assert found == [("camping stove",)]
    assert restored.execute("SELECT (item).name FROM pgembed.search(NULL::given, '[0,1,0]'::vector, k => 1)").fetchall() == [("b",)]
    restored.execute("""UPDATE "My Shop"."Pro""duct" SET name = 'umbrella' WHERE id = 1""")
    freshness = """SELECT pgembed.freshness(embedding, embedding_hash) FROM "My Shop"."Pro""duct" ORDER BY id"""
    assert restored.execute(freshness).fetchall() == [("stale",), ("fresh",), ("null_source",), ("stale",)]
    restored.execute("""CALL pgembed.refresh('"My Shop"."Pro""duct"')""")
    assert restored.execute(freshness).fetchall() == [("fresh",), ("fresh",), ("null_source",), ("fresh",)]
    restored.execute("""SELECT pgembed.drop_embedding('"My Shop"."Pro""duct"')""")


def test_pgvector_in_another_schema_is_restored(empty_db: Connection, tmp_path: Path) -> None:
    empty_db.execute("CREATE SCHEMA ext; CREATE EXTENSION vector SCHEMA ext; CREATE EXTENSION pgembed CASCADE")
    empty_db.execute("CREATE TABLE product (id int PRIMARY KEY, name text); INSERT INTO product VALUES (1, 'tent')")
    empty_db.execute("SELECT pgembed.add_embedding('product', 'name')")
    empty_db.execute("CALL pgembed.refresh('product')")
    name = f"{empty_db.info.dbname}_restored"
    dump = tmp_path / "dump"
    run(program(empty_db, "pg_dump"), "-d", url(empty_db.info.dbname), "-F", "c", "-f", str(dump))
    empty_db.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    try:
        run(program(empty_db, "pg_restore"), "--exit-on-error", "-d", url(name), str(dump))
        with psycopg.connect(url(name), autocommit=True) as restored:
            restored.execute("UPDATE product SET name = 'boat'")
            restored.execute("CALL pgembed.refresh('product')")
            assert restored.execute("SELECT (item).name FROM pgembed.search(NULL::product, 'a ship', k => 1)").fetchall() == [("boat",)]
    finally:
        empty_db.execute(f"DROP DATABASE {name}")


@pytest.mark.parametrize("form", ["p", "c"])
def test_chunks_are_restored_with_their_rows(db: Connection, tmp_path: Path, form: str) -> None:
    db.execute("CREATE TABLE doc (id int PRIMARY KEY, body text)")
    db.execute("INSERT INTO doc VALUES (1, 'A violin has four strings. A volcano throws out lava.'), (2, 'A contract binds two parties.')")
    db.execute("SELECT pgembed.add_embedding('doc', 'body', chunk_tokens => 10, sync => 'manual')")
    db.execute("SELECT pgembed.add_embedding('doc', 'body', column_name => 'lost', chunk_tokens => 10, sync => 'manual')")
    db.execute("CALL pgembed.refresh('doc')")
    db.execute("UPDATE doc SET body = 'short' WHERE id = 2; ALTER TABLE doc ENABLE ROW LEVEL SECURITY; DROP TABLE doc_lost_chunk")
    name = f"{db.info.dbname}_restored"
    dump = tmp_path / "dump"
    run(program(db, "pg_dump"), "-d", url(db.info.dbname), "-F", form, "-f", str(dump))
    db.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    lines = "SELECT * FROM doc_embedding_chunk ORDER BY id, ordinal"
    described = "SELECT chunk_table::text, chunk_tokens, chunk_overlap, fresh, stale, chunks FROM pgembed.embeddings"
    security = "SELECT relrowsecurity FROM pg_class WHERE relname = 'doc_embedding_chunk'"
    try:
        if form == "p":
            run(program(db, "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url(name), "-f", str(dump))
        else:
            run(program(db, "pg_restore"), "--exit-on-error", "-d", url(name), str(dump))
        with psycopg.connect(url(name), autocommit=True) as restored:
            assert restored.execute(lines).fetchall() == db.execute(lines).fetchall() != []
            assert restored.execute(described).fetchall() == [("doc_embedding_chunk", 10, 0, 1, 1, 3)]
            assert restored.execute(security).fetchone() == (True,)
            restored.execute("DELETE FROM doc WHERE id = 1")
            restored.execute("CALL pgembed.refresh('doc')")
            found = restored.execute("SELECT (item).id, chunk FROM pgembed.search(NULL::doc, 'x')").fetchall()
            assert found == [(2, "short")]
            restored.execute("SELECT pgembed.drop_embedding('doc')")
    finally:
        db.execute(f"DROP DATABASE {name}")


@pytest.mark.parametrize("form", ["p", "c"])
def test_columns_of_codes_are_restored_with_their_triggers_and_indexes(db: Connection, tmp_path: Path, form: str) -> None:
    db.execute(
        """
        CREATE SCHEMA "My Shop";
        CREATE TABLE "My Shop".item (id int PRIMARY KEY, e vector(8));
        INSERT INTO "My Shop".item
        SELECT n, ARRAY(SELECT sin(n * d * d)::float4 FROM generate_series(1, 8) AS d)::vector FROM generate_series(1, 600) AS n;
        SELECT pgembed.adopt_embedding('"My Shop".item', 'e');
        SELECT pgembed.train_codec('by_turned', '"My Shop".item', 'sign', rotation => 'random', measure => false);
        SELECT pgembed.train_codec('by_pq', '"My Shop".item', 'pq', bytes => 4);
        SELECT pgembed.add_code('"My Shop".item', 'by_turned');
        SELECT pgembed.add_code('"My Shop".item', 'by_pq');
        CALL pgembed.fill_code('"My Shop".item', 'by_turned');
        CALL pgembed.fill_code('"My Shop".item', 'by_pq');
        SELECT pgembed.use_code('"My Shop".item', 'by_turned');
        SELECT pgembed.add_code('"My Shop".item', 'by_pq', 'unfilled');
        CREATE INDEX item_code ON "My Shop".item USING hnsw (by_turned bit_hamming_ops);
        """
    )
    coded.measured(db, "by_turned")
    name = f"{db.info.dbname}_restored"
    dump = tmp_path / "dump"
    run(program(db, "pg_dump"), "-d", url(db.info.dbname), "-F", form, "-f", str(dump))
    db.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    codes = 'SELECT id, by_turned::text, by_pq, unfilled FROM "My Shop".item ORDER BY id'
    described = (
        "SELECT column_name, codec, code_type, is_generated, is_active, is_filled, rows, pending, index_name FROM pgembed.codes ORDER BY 1"
    )
    measured = "SELECT name, method, length, recall_100, sample_rows FROM pgembed.codecs ORDER BY 1"
    scanned = """
        SELECT key, distance FROM pgembed.scan_codes('"My Shop".item', (SELECT e FROM "My Shop".item WHERE id = 5), code => '{}')
    """
    searched = """SELECT key, rank FROM pgembed.search_keys('"My Shop".item', (SELECT e FROM "My Shop".item WHERE id = 5), k => 3)"""
    try:
        if form == "p":
            run(program(db, "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url(name), "-f", str(dump))
        else:
            run(program(db, "pg_restore"), "--exit-on-error", "-d", url(name), str(dump))
        with psycopg.connect(url(name), autocommit=True) as restored:
            assert restored.execute(codes).fetchall() == db.execute(codes).fetchall()
            lines = restored.execute(described).fetchall()
            assert lines == db.execute(described).fetchall()
            assert [(line[0], line[4], line[5], line[8]) for line in lines] == [
                ("by_pq", False, True, None),
                ("by_turned", True, True, "item_code"),
                ("unfilled", False, False, None),
            ]
            assert restored.execute(measured).fetchall() == db.execute(measured).fetchall()
            for column in ("by_turned", "by_pq"):
                assert restored.execute(scanned.format(column)).fetchall() == db.execute(scanned.format(column)).fetchall() != []
            # many more rows in PostgreSQL's eyes, and the search goes through the index on codes
            coded.seem_large(restored, '"My Shop".item')
            explained = "SELECT value FROM pgembed.explain_search({}, k => 3) WHERE property = 'path'"
            row = restored.execute(explained.format("""NULL::"My Shop".item, '[1,0,0,0,0,0,0,0]'::vector""")).fetchone()
            assert row is not None
            assert "code" in row[0]
            found = restored.execute(searched).fetchall()
            assert found[0] == ("5", 1)
            assert len(found) == 3
            # a written row, and the rows that were not filled, get the codes they would have had
            for connection in (db, restored):
                connection.execute("""UPDATE "My Shop".item SET e = '[1,2,3,4,-1,-2,-3,-4]' WHERE id = 9""")
                connection.execute("""CALL pgembed.fill_code('"My Shop".item', 'unfilled')""")
            assert restored.execute(codes).fetchall() == db.execute(codes).fetchall()
            assert restored.execute('SELECT bool_and(by_pq = unfilled) FROM "My Shop".item').fetchone() == (True,)
            restored.execute("""SELECT pgembed.drop_code('"My Shop".item', column_name) FROM pgembed.codes""")
            restored.execute("SELECT pgembed.drop_codec(name) FROM pgembed.codecs")
            left = restored.execute("""SELECT count(*) FROM pg_proc WHERE pronamespace = '"My Shop"'::regnamespace""").fetchone()
            assert left == (0,)
    finally:
        db.execute(f"DROP DATABASE {name}")
