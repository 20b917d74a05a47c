"""Codes where a database is copied: pg_dump, logical replication, an update of the extension, Alembic's schema without one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from psycopg import conninfo
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool
from support import wait_until

import pgembed.alembic  # noqa: F401  # gives Operations its own
from pgembed import __version__, install

Connection = psycopg.Connection[Any]

URL = os.environ.get("PGEMBED_URL", "")
NEXT = "999.1.0"

# As codecs are: functions of constants with a standard body in the user's schema, codes generated and written, bits and bytes.
CONTENT = """
    CREATE SCHEMA "My Shop";
    CREATE FUNCTION "My Shop".two(v vector) RETURNS bit LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
        RETURN (binary_quantize(v - '[0.5,0.5,0.5]'::vector) || binary_quantize(v - '[-0.5,-0.5,-0.5]'::vector))::bit(6);
    CREATE FUNCTION "My Shop".three(v vector) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
        RETURN substr(vector_send(v), 5, 3);
    CREATE DOMAIN "My Shop".three_code AS bytea CHECK (octet_length(VALUE) = 3);
    CREATE TABLE "My Shop".item (
        id int PRIMARY KEY, kind int, e vector(3),
        two pgembed.binvec(6) GENERATED ALWAYS AS ("My Shop".two(e)) STORED,
        two_bit bit(6) GENERATED ALWAYS AS ("My Shop".two(e)) STORED,
        three "My Shop".three_code GENERATED ALWAYS AS ("My Shop".three(e)) STORED,
        written pgembed.binvec(4) DEFAULT '0101', loose pgembed.binvec, many pgembed.binvec(2)[]
    );
    INSERT INTO "My Shop".item (id, kind, e, loose, many)
        SELECT n, n % 5, ARRAY[sin(n), cos(n), sin(2 * n)]::vector, repeat('01', n % 9)::pgembed.binvec, '{01,NULL}'
        FROM generate_series(1, 300) AS n;
    INSERT INTO "My Shop".item (id, written) VALUES (0, NULL);
    CREATE INDEX item_two ON "My Shop".item USING hnsw (two bit_hamming_ops);
    CREATE INDEX item_kind ON "My Shop".item (kind) INCLUDE (id, two);
    CREATE INDEX item_written ON "My Shop".item (written);
"""
ROWS = 'SELECT id, two::text, two_bit::text, three, written::text, loose::text, many::text FROM "My Shop".item ORDER BY id'
TYPES = (
    "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute"
    " WHERE attrelid = '\"My Shop\".item'::regclass AND attnum > 3 ORDER BY 1"
)
NEAREST = "SELECT id FROM \"My Shop\".item ORDER BY two <~> '110010'::pgembed.binvec(6) LIMIT 5"


def program(db: Connection, name: str) -> str:
    """A program of the server's own version."""
    row = db.execute("SELECT setting FROM pg_config WHERE name = 'BINDIR'").fetchone()
    version = db.info.server_version // 10000
    for path in (Path(row[0]) / name if row else None, Path(f"/usr/lib/postgresql/{version}/bin/{name}")):
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


def plan(db: Connection, statement: str) -> str:
    return "\n".join(row[0] for row in db.execute(f"EXPLAIN (COSTS OFF) {statement}").fetchall())


@pytest.fixture
def other(db: Connection) -> Iterator[str]:
    """The name of a database that does not exist yet and is gone after the test."""
    name = f"{db.info.dbname}_other"
    yield name
    db.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.mark.parametrize("form", ["p", "c"])
def test_codes_are_restored_and_their_indexes_serve(db: Connection, other: str, tmp_path: Path, form: str) -> None:
    db.execute(CONTENT)
    dump = tmp_path / "dump"
    run(program(db, "pg_dump"), "-d", url(db.info.dbname), "-F", form, "-f", str(dump))
    db.execute(f"CREATE DATABASE {other} TEMPLATE template0")
    if form == "p":
        assert "CREATE TYPE" not in dump.read_text()  # the extension brings it
        run(program(db, "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url(other), "-f", str(dump))
    else:
        run(program(db, "pg_restore"), "--exit-on-error", "-d", url(other), str(dump))
    with psycopg.connect(url(other), autocommit=True) as restored:
        assert restored.execute(ROWS).fetchall() == db.execute(ROWS).fetchall()
        assert restored.execute(TYPES).fetchall() == db.execute(TYPES).fetchall()
        assert ("two", "pgembed.binvec(6)") in restored.execute(TYPES).fetchall()
        restored.execute("INSERT INTO \"My Shop\".item (id, e) VALUES (1000, '[1,-1,0]')")
        assert restored.execute('SELECT two::text, written::text FROM "My Shop".item WHERE id = 1000').fetchone() == ("100101", "0101")
        restored.execute('SET enable_seqscan = off; ANALYZE "My Shop".item')
        assert "item_two" in plan(restored, NEAREST)
        assert len(restored.execute(NEAREST).fetchall()) == 5
        with pytest.raises(psycopg.errors.StringDataLengthMismatch):
            restored.execute("UPDATE \"My Shop\".item SET written = '010'")


def test_a_dump_of_insert_statements_is_restored(db: Connection, other: str, tmp_path: Path) -> None:
    db.execute(CONTENT)
    dump = tmp_path / "dump"
    run(program(db, "pg_dump"), "-d", url(db.info.dbname), "--column-inserts", "--rows-per-insert=50", "-f", str(dump))
    db.execute(f"CREATE DATABASE {other} TEMPLATE template0")
    run(program(db, "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url(other), "-f", str(dump))
    with psycopg.connect(url(other), autocommit=True) as restored:
        assert restored.execute(ROWS).fetchall() == db.execute(ROWS).fetchall()


def test_codes_are_replicated_in_both_formats(db: Connection, other: str) -> None:
    if db.execute("SHOW wal_level").fetchone() != ("logical",):
        pytest.skip("the server has no wal_level = logical; that of `make test` has")
    formats = {"as_text": "false", "as_binary": "true"}
    db.execute(f"CREATE DATABASE {other} TEMPLATE template0")
    with psycopg.connect(url(other), autocommit=True) as copy:
        copy.execute("CREATE EXTENSION pgembed CASCADE")
        for connection in (db, copy):
            connection.execute("CREATE DOMAIN four_code AS bytea CHECK (octet_length(VALUE) = 4)")
            for name in formats:
                connection.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, bits pgembed.binvec(4), bytes four_code)")
        for name in formats:
            db.execute(f"ALTER TABLE {name} REPLICA IDENTITY FULL")  # so that codes are compared, too
            db.execute(f"INSERT INTO {name} VALUES (1, '0001', '\\x01020304'), (2, NULL, NULL)")
            db.execute(f"CREATE PUBLICATION {name} FOR TABLE {name}")
            # within one server CREATE SUBSCRIPTION would wait for its own transaction to end
            db.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [f"{other}_{name}"])
        with copy.transaction():  # or the launcher waits 5 s between the two
            for name, binary in formats.items():
                copy.execute(
                    f"CREATE SUBSCRIPTION {name} CONNECTION '{url(db.info.dbname)}' PUBLICATION {name}"
                    f" WITH (create_slot = false, slot_name = {other}_{name}, binary = {binary})"
                )

        def arrived(expected: list[tuple[int, str | None, bytes | None]]) -> bool:
            rows = (copy.execute(f"SELECT id, bits::text, bytes FROM {name} ORDER BY id").fetchall() for name in formats)
            return all(found == expected for found in rows)

        try:
            wait_until(lambda: arrived([(1, "0001", b"\1\2\3\4"), (2, None, None)]))
            for name in formats:
                db.execute(f"INSERT INTO {name} VALUES (3, '0011', '\\x05060708')")
                db.execute(f"UPDATE {name} SET bits = '1111' WHERE id = 1; UPDATE {name} SET bits = '0000' WHERE id = 2")
                db.execute(f"DELETE FROM {name} WHERE bits = '1111'")
            wait_until(lambda: arrived([(2, "0000", None), (3, "0011", b"\5\6\7\x08")]))
        finally:
            for name in formats:
                copy.execute(f"ALTER SUBSCRIPTION {name} DISABLE; ALTER SUBSCRIPTION {name} SET (slot_name = NONE)")
                copy.execute(f"DROP SUBSCRIPTION {name}")
            ours = "FROM pg_replication_slots WHERE slot_name LIKE %s"
            wait_until(lambda: db.execute(f"SELECT bool_or(active) {ours}", [f"{other}%"]).fetchone() != (True,))
            db.execute(f"SELECT pg_drop_replication_slot(slot_name) {ours}", [f"{other}%"])


def test_a_type_that_tables_use_is_not_dropped(db: Connection) -> None:
    db.execute(CONTENT)
    with pytest.raises(psycopg.errors.DependentObjectsStillExist) as caught:
        db.execute("DROP EXTENSION pgembed")
    assert 'column loose of table "My Shop".item depends on type pgembed.binvec' in (caught.value.diag.message_detail or "")


def test_an_update_of_the_extension_makes_no_type_again(empty_db: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = empty_db.execute("SELECT setting FROM pg_config WHERE name = 'SHAREDIR'").fetchone()
    assert folder is not None
    sources = tmp_path / "sql"
    shutil.copytree(install.sql_dir(), sources)
    (sources / "updates").mkdir(exist_ok=True)
    (sources / "updates" / f"{__version__}--{NEXT}.sql").write_text("SELECT 1;\n")
    monkeypatch.setattr(install, "sql_dir", lambda: sources)
    monkeypatch.setattr(install, "__version__", NEXT)
    script = install.update_script(__version__)
    assert "CREATE TYPE" not in script
    assert "CREATE CAST" not in script
    path = Path(folder[0]) / "extension" / f"pgembed--{__version__}--{NEXT}.sql"
    try:
        path.write_text(script)
        path.chmod(0o644)
    except PermissionError:
        pytest.skip(f"{path.parent} is not this user's to write")
    try:
        empty_db.execute("CREATE EXTENSION pgembed CASCADE")
        empty_db.execute(CONTENT)
        before = empty_db.execute(ROWS).fetchall()
        kept = "SELECT 'pgembed.binvec'::regtype::oid, (SELECT max(oid) FROM pg_cast)"
        number = empty_db.execute(kept).fetchone()
        empty_db.execute(f"ALTER EXTENSION pgembed UPDATE TO '{NEXT}'")
        assert empty_db.execute(kept).fetchone() == number
        assert empty_db.execute(ROWS).fetchall() == before
    finally:
        path.unlink()


def test_alembics_type_is_the_same_and_is_dumped_with_the_schema(empty_db: Connection, tmp_path: Path) -> None:
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url(empty_db.info.dbname)), poolclass=NullPool)
    with engine.begin() as connection:
        Operations(MigrationContext.configure(connection)).install_pgembed()  # type: ignore[attr-defined]
    empty_db.execute(CONTENT)
    name = f"{empty_db.info.dbname}_other"
    dump = tmp_path / "dump"
    run(program(empty_db, "pg_dump"), "-d", url(empty_db.info.dbname), "-f", str(dump))
    empty_db.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    try:
        run(program(empty_db, "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url(name), "-f", str(dump))
        with psycopg.connect(url(name), autocommit=True) as restored:
            assert restored.execute(ROWS).fetchall() == empty_db.execute(ROWS).fetchall()
            assert restored.execute(TYPES).fetchall() == empty_db.execute(TYPES).fetchall()
            with pytest.raises(psycopg.errors.StringDataLengthMismatch):
                restored.execute("SELECT '0101'::pgembed.binvec(5)")
    finally:
        empty_db.execute(f"DROP DATABASE {name}")
    with engine.connect() as connection, pytest.raises(DBAPIError) as caught:
        Operations(MigrationContext.configure(connection)).drop_pgembed()  # type: ignore[attr-defined]
    error = caught.value.orig
    assert isinstance(error, psycopg.Error)
    assert error.sqlstate == "2BP01"
    assert 'table "My Shop".item' in (error.diag.message_detail or "")
    assert "cast from" not in (error.diag.message_detail or "")
    empty_db.execute('DROP SCHEMA "My Shop" CASCADE')
    with engine.begin() as connection:
        Operations(MigrationContext.configure(connection)).drop_pgembed()  # type: ignore[attr-defined]
    assert empty_db.execute("SELECT to_regtype('pgembed.binvec')").fetchone() == (None,)
    engine.dispose()
