"""Restores of a part: a schema into a database whose registry is empty, the data alone, by several processes. No restore calls a model."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import conninfo

Connection = psycopg.Connection[Any]

URL = os.environ.get("PGEMBED_URL", "")

CONTENT = """
    CREATE TABLE product (id int PRIMARY KEY, name text);
    INSERT INTO product VALUES (1, 'rain jacket'), (2, 'camping stove'), (3, NULL), (4, 'tent');
    SELECT pgembed.add_embedding('product', 'name', sync => '{sync}');
    CREATE TABLE doc (id int PRIMARY KEY, body text);
    INSERT INTO doc VALUES (1, 'A violin has four strings. A volcano throws out lava.'), (2, 'A contract binds two parties.');
    SELECT pgembed.add_embedding('doc', 'body', chunk_tokens => 10, sync => '{sync}');
"""
ROWS = "SELECT id, name, embedding::text, embedding_hash FROM product ORDER BY id"
CHUNKS = "SELECT * FROM doc_embedding_chunk ORDER BY id, ordinal"
STATES = "fresh, stale, pending, null_source, chunks"
LINES = f"SELECT table_name::text, column_name, source, model, sync, {STATES} FROM pgembed.embeddings ORDER BY 1"
# Nothing that loads a model may have run. Triggers may, which call _embed_rows(); it has embedded nothing if what is pending still is.
CALLED = r"SELECT funcname FROM pg_stat_user_functions WHERE schemaname = 'pgembed' AND funcname ~ '_embed$|refresh|search|work$'"


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def program(db: Connection, name: str) -> str:
    """A program of the server's own version."""
    row = db.execute("SELECT setting FROM pg_config WHERE name = 'BINDIR'").fetchone()
    found = Path(row[0]) / name if row else Path()
    path = str(found) if found.exists() else shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


@pytest.fixture
def source(db: Connection) -> Connection:
    """Two embedded tables, one of them over chunks; rows that are fresh, stale, pending and without text."""
    db.execute(CONTENT.format(sync="manual").encode())
    db.execute("CALL pgembed.refresh('product'); CALL pgembed.refresh('doc')")
    db.execute("SELECT pgembed.alter_embedding('product', sync => 'auto'), pgembed.alter_embedding('doc', sync => 'auto')")
    db.execute("ALTER TABLE product DISABLE TRIGGER on_insert_pgembed_embedding, DISABLE TRIGGER on_update_pgembed_embedding")
    db.execute("UPDATE product SET name = 'boat' WHERE id = 4; INSERT INTO product VALUES (5, 'umbrella')")
    db.execute("ALTER TABLE product ENABLE TRIGGER on_insert_pgembed_embedding, ENABLE TRIGGER on_update_pgembed_embedding")
    assert db.execute(LINES).fetchall()[1][5:9] == (2, 1, 1, 1)
    return db


@pytest.fixture
def target(source: Connection) -> Iterator[Callable[[bool], Connection]]:
    """A new database, with the extension or without; its calls of functions are counted."""
    name = f"{source.info.dbname}_again"
    opened: list[Connection] = []

    def make(with_extension: bool) -> Connection:
        source.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        source.execute(f"ALTER DATABASE {name} SET track_functions = 'all'")
        opened.append(psycopg.connect(conninfo.make_conninfo(URL, dbname=name), autocommit=True))
        if with_extension:
            opened[0].execute("CREATE EXTENSION pgembed CASCADE")
        return opened[0]

    yield make
    for connection in opened:
        connection.close()
    source.execute(f"DROP DATABASE IF EXISTS {name}")


def dumped(source: Connection, folder: Path, *options: str) -> str:
    dump = str(folder / f"dump{len(list(folder.iterdir()))}")
    run(program(source, "pg_dump"), "-d", conninfo.make_conninfo(URL, dbname=source.info.dbname), "-f", dump, *options)
    return dump


def restored(target: Connection, dump: str, *options: str) -> None:
    where = conninfo.make_conninfo(URL, dbname=target.info.dbname)
    run(program(target, "pg_restore"), "--exit-on-error", "-d", where, *options, dump)


def check(source: Connection, target: Connection) -> None:
    """The target has what the source has, nothing is wrong with it, and no model has run."""
    assert target.execute(CALLED).fetchall() == []
    for statement in (ROWS, CHUNKS, LINES):
        assert target.execute(statement).fetchall() == source.execute(statement).fetchall() != []
    assert [line for line in target.execute("SELECT * FROM pgembed.doctor()").fetchall() if line[0] == "error"] == []


def check_use(target: Connection) -> None:
    """What is restored is searched, followed and refreshed."""
    target.execute("CALL pgembed.work()")
    assert [line[5:8] for line in target.execute(LINES).fetchall()] == [(2, 0, 0), (4, 0, 0)]
    assert target.execute("SELECT (item).name FROM pgembed.search(NULL::product, 'a ship', k => 1)").fetchall() == [("boat",)]
    target.execute("UPDATE doc SET body = 'A harp has many strings.' WHERE id = 2")
    assert target.execute("SELECT chunk FROM pgembed.search(NULL::doc, 'harp', k => 1)").fetchall() == [("A harp has many strings.",)]


def test_a_schema_is_adopted_again_where_the_registry_is_empty(
    source: Connection, target: Callable[[bool], Connection], tmp_path: Path
) -> None:
    again = target(True)
    dump = dumped(source, tmp_path, "-F", "c", "-n", "public")
    restored(again, dump, "-n", "public")
    assert again.execute("SELECT count(*) FROM pgembed._embedding").fetchone() == (0,)
    found = again.execute("SELECT severity, subject, remedy FROM pgembed.doctor() ORDER BY 2").fetchall()
    assert found == [
        ("error", "doc.embedding", "SELECT * FROM pgembed.repair('public.doc')"),
        ("error", "product.embedding", "SELECT * FROM pgembed.repair('public.product')"),
    ]
    for line in found:
        again.execute(line[2])
    check(source, again)
    check_use(again)


def test_both_tables_of_chunks_of_a_change_are_restored_and_the_way_back_is_open(
    source: Connection, target: Callable[[bool], Connection], tmp_path: Path
) -> None:
    source.execute("SELECT pgembed.register_model('small', 'all-minilm-l6-v2', dim => 32)")
    source.execute("CALL pgembed.change_model('doc', 'small')")
    again = target(False)
    restored(again, dumped(source, tmp_path, "-F", "c"))
    lines = "SELECT * FROM {} ORDER BY id, ordinal"
    tables = ("doc_embedding_chunk", "doc_embedding_previous_chunk")
    for table in tables:
        assert again.execute(lines.format(table)).fetchall() == source.execute(lines.format(table)).fetchall() != []
    assert again.execute("SELECT * FROM pgembed.doctor() WHERE severity = 'error'").fetchall() == []
    again.execute("UPDATE doc SET body = 'A harp has many strings.' WHERE id = 2")
    again.execute("CALL pgembed.work()")
    made = "SELECT content, vector_dims(embedding) FROM {} WHERE id = 2"
    assert [again.execute(made.format(table)).fetchall() for table in tables] == [[("A harp has many strings.", dim)] for dim in (32, 384)]
    again.execute("SELECT pgembed.rollback_model('doc')")
    assert again.execute(made.format(tables[0])).fetchall() == [("A harp has many strings.", 384)]
    assert again.execute("SELECT chunk FROM pgembed.search(NULL::doc, 'harp', k => 1)").fetchall() == [("A harp has many strings.",)]


def test_several_processes_restore_everything(source: Connection, target: Callable[[bool], Connection], tmp_path: Path) -> None:
    dump = dumped(source, tmp_path, "-F", "d", "--jobs", "2")
    again = target(False)
    restored(again, dump, "--jobs", "2")
    check(source, again)


@pytest.mark.parametrize("options", [(), ("--disable-triggers",)], ids=["with triggers", "without"])
def test_the_data_alone(source: Connection, target: Callable[[bool], Connection], tmp_path: Path, options: tuple[str, ...]) -> None:
    again = target(False)
    restored(again, dumped(source, tmp_path, "-F", "c", "--schema-only"))
    assert again.execute("SELECT count(*) FROM pgembed._embedding").fetchone() == (0,)
    restored(again, dumped(source, tmp_path, "-F", "c", "--data-only"), *options)
    if options:
        # pg_restore enables all triggers again, and not for all sessions as they were
        lines = again.execute("SELECT finding, remedy FROM pgembed.doctor() WHERE finding LIKE 'trigger%'").fetchall()
        assert ["not enabled for all sessions" in line[0] for line in lines] == [True, True]
        for line in lines:
            again.execute(line[1])
        assert again.execute("SELECT count(*) FROM pgembed.doctor() WHERE finding LIKE 'trigger%'").fetchone() == (0,)
    check(source, again)


def test_where_the_model_is_not_installed_all_but_texts_works(source: Connection, connect: Callable[[Connection], Connection]) -> None:
    source.execute("SELECT pgembed.register_model('mine', 'all-minilm-l6-v2', dim => 64)")
    source.execute("SELECT pgembed.alter_embedding('product', model => 'mine'); CALL pgembed.refresh('product')")
    # as where a dump was restored and the model was not: neither files nor a line of the registry
    source.execute("DELETE FROM pgembed._model")
    source = connect(source)  # which has not loaded it
    (line,) = [line for line in source.execute("SELECT * FROM pgembed.doctor()").fetchall() if line[0] == "error"]
    assert line[1] == "product.embedding"
    assert line[3] == "pgembed model add mine"
    vector = "(SELECT embedding FROM product WHERE id = 2)"
    assert source.execute(f"SELECT (item).id FROM pgembed.search(NULL::product, {vector}, k => 1)").fetchall() == [(2,)]
    # whoever writes is not held up
    source.execute("INSERT INTO product VALUES (6, 'lamp'); UPDATE product SET name = 'raft' WHERE id = 4")
    states = "SELECT pgembed.freshness(embedding, embedding_hash) FROM product WHERE id IN (4, 6) ORDER BY id"
    assert source.execute(states).fetchall() == [("stale",), ("pending",)]


def test_what_pg_upgrade_refuses_is_not_there(source: Connection) -> None:
    # check_for_data_types_usage() in src/bin/pg_upgrade/check.c: OIDs that are not the same after an upgrade
    reg = "regcollation,regconfig,regdictionary,regnamespace,regoper,regoperator,regproc,regprocedure"
    used = source.execute(
        "SELECT a.attrelid::regclass::text, a.attname FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid"
        " WHERE c.relkind IN ('r', 'm', 'i') AND NOT a.attisdropped AND a.atttypid = ANY (%s::regtype[])"
        " AND c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)",
        [reg.split(",")],
    ).fetchall()
    assert used == []
    # and what it loads libraries of: PL/Python and pgvector alone, which the new server has if it has pgembed
    libraries = source.execute("SELECT DISTINCT probin FROM pg_proc WHERE probin IS NOT NULL AND oid >= 16384").fetchall()
    assert {Path(library).name for (library,) in libraries} <= {"plpython3", "vector", "vector.so", "plpython3.so"}
