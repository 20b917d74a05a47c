"""A standby answers every search, read-only; pg_upgrade carries all along; logical replication calls no model, and marks older texts."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import conninfo

from pgembed import postgres, server

Connection = psycopg.Connection[Any]

URL = os.environ.get("PGEMBED_URL", "")

CONTENT = """
    CREATE TABLE product (id int PRIMARY KEY, name text, price int);
    INSERT INTO product VALUES (1, 'rain jacket', 80), (2, 'camping stove', 40), (3, 'tent', 200), (4, 'lamp', 20);
    SELECT pgembed.add_embedding('product', 'name', sync => 'manual');
    CALL pgembed.refresh('product');
    UPDATE product SET name = 'umbrella' WHERE id = 4;
    CREATE TABLE dot (id int PRIMARY KEY, place int, e vector(8));
    INSERT INTO dot SELECT n, n % 7, ARRAY(SELECT sin(n * d * d)::float4 FROM generate_series(1, 8) AS d)::vector
    FROM generate_series(1, 3000) AS n;
    SELECT pgembed.adopt_embedding('dot', 'e');
    CREATE INDEX ON dot USING hnsw (e vector_cosine_ops);
    CREATE INDEX ON dot (place);
    SELECT pgembed.train_codec('dot_sign', 'dot', 'sign', measure => false);
    SELECT pgembed.add_code('dot', 'dot_sign');
    CALL pgembed.fill_code('dot', 'dot_sign');
    SELECT pgembed.create_linker('things', 'product', names => 'name');
    SELECT pgembed.set_filter_log(true);
    CREATE ROLE reader;
    GRANT SELECT ON dot TO reader;
    ALTER TABLE dot ENABLE ROW LEVEL SECURITY;
    CREATE POLICY not_three ON dot FOR SELECT USING (place <> 3);
    ANALYZE;
"""
# All that is asked for without writing, by name.
ASKED = {
    "a text": "SELECT (item).name FROM pgembed.search(NULL::product, 'rain gear', k => 1)",
    "fresh alone": "SELECT (item).name FROM pgembed.search(NULL::product, 'rain gear', k => 2, consistency => 'fresh')",
    "a filter": "SELECT (item).id FROM pgembed.search(NULL::dot, '[1,0,0,0,0,0,0,0]'::vector, k => 5, filter => 'place = 3')",
    "no filter": "SELECT (item).id FROM pgembed.search(NULL::dot, '[1,0,0,0,0,0,0,0]'::vector, k => 5, recall => 0.9)",
    "like": "SELECT (item).id FROM pgembed.search_like(NULL::dot, '7', k => 3)",
    "keys": "SELECT key FROM pgembed.search_keys('product', 'rain gear', k => 2)",
    "explained": "SELECT property FROM pgembed.explain_search(NULL::dot, '[1,0,0,0,0,0,0,0]'::vector, k => 3, filter => 'place = 3')",
    "joined": "SELECT (right_row).name FROM pgembed.semantic_join(NULL::product, NULL::product, k => 1) LIMIT 3",
    "linked": "SELECT (entity).name FROM pgembed.link(NULL::product, 'They sell a camping stove.')",
    "plain SQL": "SELECT name FROM product ORDER BY embedding <=> pgembed.embed_query('product', 'rain gear') LIMIT 1",
    "codes": "SELECT key FROM pgembed.scan_codes('dot', '[1,0,0,0,0,0,0,0]'::vector, k => 3)",
    "checked": "SELECT count(*) FROM pgembed.check_query($$ SELECT id FROM dot ORDER BY e <=> '[1,0,0,0,0,0,0,0]' LIMIT 3 $$)",
    "counted": "SELECT table_name::text, rows, fresh, stale, pending FROM pgembed.embeddings ORDER BY 1",
    "models": "SELECT name FROM pgembed.models ORDER BY 1",
    "codecs": "SELECT c.name, k.rows FROM pgembed.codecs AS c JOIN pgembed.codes AS k ON k.codec = c.name",
    "filters": "SELECT count(*) FROM pgembed.filters_used",
    "failures": "SELECT count(*) FROM pgembed.failures",
    "workers": "SELECT count(*) FROM pgembed.workers",
    "progress": "SELECT count(*) FROM pgembed.progress",
    "doctor": "SELECT subject, finding FROM pgembed.doctor() WHERE finding NOT LIKE '%wait%'",
}


@pytest.fixture(scope="module")
def primary() -> Iterator[server.Server]:
    """A private server of this module's own, in a home that the servers' user can enter."""
    folder = Path(tempfile.mkdtemp(prefix="pgembed-test-"))
    folder.chmod(0o755)
    found = server.Server(folder, system=postgres.Postgres.find(server.default_home()))
    found.start(throw_away=True)
    found.install_extension()
    yield found
    found.remove()
    shutil.rmtree(folder)


def answers(connection: Connection) -> dict[str, list[Any]]:
    found = {name: connection.execute(statement.encode()).fetchall() for name, statement in ASKED.items()}
    connection.execute("SET ROLE reader")
    found["as a reader"] = connection.execute(ASKED["no filter"].encode()).fetchall()
    connection.execute("RESET ROLE")
    return found


def test_a_standby_answers_whatever_does_not_write(primary: server.Server) -> None:
    with psycopg.connect(primary.url(), autocommit=True) as connection:
        for statement in filter(str.strip, CONTENT.split(";\n")):
            connection.execute(statement.encode())
        expected = answers(connection)
    assert expected["a text"] == [("rain jacket",)]
    # a server that was stopped and finds this file goes on as a standby: it replays what there is, and waits for more
    primary.stop()
    postgres.run(Path("/usr/bin/touch"), primary.data / "standby.signal")
    primary.start()
    with psycopg.connect(primary.url(), autocommit=True) as connection:
        assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
        assert answers(connection) == expected
        # long enough for what is written now and then, such as the log of filters
        for _ in range(60):
            connection.execute(ASKED["a filter"].encode())
        for refused in ("CALL pgembed.refresh('product')", "CALL pgembed.work('product')", "SELECT * FROM pgembed.repair('product')"):
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction, match=r"pgembed: [a-z]+ writes, and this server is a standby"):
                connection.execute(refused.encode())
        assert connection.execute("SHOW application_name").fetchone() == ("",)
    # promoted, it writes
    status, said = postgres.run(primary.copy.bindir / "pg_ctl", "promote", "-D", primary.data, "-w")
    assert status == 0, said
    with psycopg.connect(primary.url(), autocommit=True) as connection:
        connection.execute("CALL pgembed.refresh('product')")
        assert connection.execute("SELECT stale FROM pgembed.embeddings WHERE table_name = 'product'::regclass").fetchone() == (0,)


UPGRADED = """
    CREATE TABLE "an item" (id int PRIMARY KEY, name text);
    INSERT INTO "an item" VALUES (1, 'rain jacket'), (2, 'camping stove'), (3, NULL), (4, 'lamp');
    SELECT pgembed.register_model('short', 'all-minilm-l6-v2', dim => 16, layers => 1);
    SELECT pgembed.add_embedding('"an item"', 'name', model => 'short', sync => 'manual');
    CALL pgembed.refresh('"an item"');
    UPDATE "an item" SET name = 'umbrella' WHERE id = 4;
    CREATE INDEX ON "an item" USING hnsw (embedding vector_cosine_ops);
    SELECT pgembed.train_codec('item_sign', '"an item"', 'sign', measure => false);
    SELECT pgembed.add_code('"an item"', 'item_sign');
    CALL pgembed.fill_code('"an item"', 'item_sign');
"""
# Nothing here may depend on statistics, which pg_upgrade to 15 leaves behind.
KEPT = (
    "SELECT * FROM pgembed._embedding ORDER BY 1, 2",
    'SELECT id, embedding::text, embedding_hash, item_sign::text FROM "an item" ORDER BY id',
    "SELECT tgname, tgenabled, pg_get_triggerdef(oid), obj_description(oid, 'pg_trigger') FROM pg_trigger"
    " WHERE tgrelid = '\"an item\"'::regclass ORDER BY 1",
    "SELECT pg_get_indexdef(indexrelid), indisvalid FROM pg_index WHERE indrelid = '\"an item\"'::regclass ORDER BY 1",
    "SELECT name, fingerprint, is_default FROM pgembed.models ORDER BY 1, 2",
    "SELECT name, table_name, method, options FROM pgembed.codecs ORDER BY 1",
    "SELECT codec, is_active, is_filled, rows FROM pgembed.codes ORDER BY 1",
    "SELECT table_name::text, rows, fresh, stale, pending, null_source FROM pgembed.embeddings ORDER BY 1",
    "SELECT (item).id, distance FROM pgembed.search(NULL::\"an item\", 'rain', consistency => 'fresh') ORDER BY rank",
)


def test_pg_upgrade_carries_all_along(primary: server.Server) -> None:
    """To a cluster of the same version, which it treats as any other: a dump of the schemas, and the tables' files as they are."""
    with psycopg.connect(primary.url(), autocommit=True) as connection:
        for statement in filter(str.strip, UPGRADED.split(";\n")):
            connection.execute(statement.encode())
        before = [connection.execute(statement.encode()).fetchall() for statement in KEPT]
    primary.stop()
    old = primary.data.with_name("data.old")
    primary.data.rename(old)
    primary.start(throw_away=True)  # makes a new cluster
    primary.stop()
    bindir, room = primary.copy.bindir, primary.folder / "room"
    postgres.own_folder(room)
    places = f"-b {bindir} -B {bindir} -d {old} -D {primary.data} -s {room}"
    upgrade = f"cd {room} && {bindir}/pg_upgrade {places} -U postgres -k"
    status, said = postgres.run(Path("/bin/sh"), "-c", upgrade)
    assert status == 0, said
    primary.start()
    with psycopg.connect(primary.url(), autocommit=True) as connection:
        assert [connection.execute(statement.encode()).fetchall() for statement in KEPT] == before
        connection.execute("UPDATE \"an item\" SET name = 'tent' WHERE id = 1")
        states = connection.execute('SELECT pgembed.freshness(embedding, embedding_hash) FROM "an item" ORDER BY id').fetchall()
        assert [row[0] for row in states] == ["stale", "fresh", "null_source", "stale"]
        connection.execute('CALL pgembed.refresh(\'"an item"\'); DROP TABLE "an item" CASCADE')


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end, "it has not come"
        time.sleep(0.05)


def url(name: str) -> str:
    return conninfo.make_conninfo(URL, dbname=name)


STATES = "SELECT id, name, embedding::text, embedding_hash FROM {} ORDER BY id"


def test_logical_replication_needs_no_model(db: Connection) -> None:
    """Three copies: of all columns without pgembed, of all columns where pgembed follows them, and of the source column alone."""
    if db.execute("SHOW wal_level").fetchone() != ("logical",):
        pytest.skip("the server has no wal_level = logical; that of `make test` has")
    if db.info.server_version < 150000:
        pytest.skip("lists of columns came with 15")
    bare, other = f"{db.info.dbname}_bare", f"{db.info.dbname}_other"
    tables = {"whole": "", "part": " (id, name)"}
    for table in tables:
        db.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, name text)")
        db.execute(f"INSERT INTO {table} VALUES (1, 'jacket'), (2, 'stove'), (3, NULL)")
        db.execute(f"SELECT pgembed.add_embedding('{table}', 'name')")
        db.execute(f"CALL pgembed.refresh('{table}')")
        db.execute(f"CREATE PUBLICATION {table} FOR TABLE {table}{tables[table]}")
    slots = {(bare, "whole"): f"{bare}_whole", (other, "whole"): f"{other}_whole", (other, "part"): f"{other}_part"}
    copies: dict[str, Connection] = {}
    try:
        for name in (bare, other):
            db.execute(f"CREATE DATABASE {name} TEMPLATE template0")
            copies[name] = psycopg.connect(url(name), autocommit=True)
        copies[bare].execute("CREATE EXTENSION vector")
        copies[bare].execute("CREATE TABLE whole (id int PRIMARY KEY, name text, embedding vector(384), embedding_hash bytea)")
        copies[other].execute("CREATE EXTENSION pgembed CASCADE")
        for table in tables:
            copies[other].execute(f"CREATE TABLE {table} (id int PRIMARY KEY, name text)")
            copies[other].execute(f"SELECT pgembed.add_embedding('{table}', 'name')")
        # a model that is not on this server
        copies[other].execute("UPDATE pgembed._embedding SET model = 'elsewhere', fingerprint = repeat('0', 64)")
        for slot in slots.values():
            db.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [slot])
        for name, copy in copies.items():
            with copy.transaction():
                for (database, table), slot in slots.items():
                    if database == name:
                        copy.execute(
                            f"CREATE SUBSCRIPTION {table} CONNECTION '{url(db.info.dbname)}' PUBLICATION {table}"
                            f" WITH (create_slot = false, slot_name = {slot})"
                        )
        whole = STATES.format("whole")

        def are_alike() -> bool:
            return all(copy.execute(whole).fetchall() == db.execute(whole).fetchall() for copy in copies.values())

        parts = "SELECT id, name, pgembed.freshness(embedding, embedding_hash) FROM part ORDER BY id"
        wait_until(are_alike)
        wait_until(lambda: len(copies[other].execute(parts).fetchall()) == 3)
        # somebody has embedded the copy of the source
        vectors = "UPDATE part SET embedding = w.embedding, embedding_hash = w.embedding_hash FROM whole AS w WHERE w.id = part.id"
        copies[other].execute(vectors)
        assert [row[2] for row in copies[other].execute(parts).fetchall()] == ["fresh", "fresh", "null_source"]
        for table in tables:
            db.execute(f"UPDATE {table} SET name = 'boat' WHERE id = 1; DELETE FROM {table} WHERE id = 3")
            db.execute(f"INSERT INTO {table} VALUES (4, 'tent')")
        wait_until(are_alike)
        # of an older text, and without a vector: it says so itself
        expected = [(1, "boat", "stale"), (2, "stove", "fresh"), (4, "tent", "pending")]
        wait_until(lambda: copies[other].execute(parts).fetchall() == expected)
        errors = "SELECT sum(apply_error_count + sync_error_count) FROM pg_stat_subscription_stats"
        assert [copy.execute(errors).fetchone() for copy in copies.values()] == [(0,), (0,)]
        nearest = "SELECT name FROM whole ORDER BY embedding <=> (SELECT embedding FROM whole WHERE id = 2) LIMIT 1"
        assert copies[bare].execute(nearest).fetchall() == [("stove",)]
    finally:
        for database, table in slots:
            copy = copies[database]
            copy.execute(f"ALTER SUBSCRIPTION {table} DISABLE; ALTER SUBSCRIPTION {table} SET (slot_name = NONE)")
            copy.execute(f"DROP SUBSCRIPTION {table}")
        ours, made = "FROM pg_replication_slots WHERE slot_name = ANY (%s)", [list(slots.values())]
        wait_until(lambda: db.execute(f"SELECT bool_or(active) {ours}", made).fetchone() != (True,))
        db.execute(f"SELECT pg_drop_replication_slot(slot_name) {ours}", made)
        for name, copy in copies.items():
            copy.close()
            db.execute(f"DROP DATABASE {name}")
