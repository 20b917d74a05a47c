"""pg_dump and restore of codecs: codes are computed again, without the registry too, wherever pgvector lives."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import conninfo

Connection = psycopg.Connection[Any]

URL = os.environ.get("PGEMBED_URL", "")

CODECS = {
    "by_sign": "'sign', centered => true",
    "by_turned": "'sign', rotation => 'random'",
    "by_plain": "'sign', code_type => 'bit'",
    "by_prefix": "'matryoshka', dims => 3",
    "by_pca": "'pca', dims => 3",
    "by_int8": "'int8'",
    "by_pq": "'pq', bytes => 4",
}
CODES = """SELECT id, {} FROM "My Shop".code ORDER BY id"""


def program(db: Connection, name: str) -> str:
    """A program of the server's own version."""
    row = db.execute("SELECT setting FROM pg_config WHERE name = 'BINDIR'").fetchone()
    assert row is not None
    found = Path(row[0]) / name
    if not found.exists():
        pytest.skip(f"{name} is not installed")
    return str(found)


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def source(empty_db: Connection) -> Connection:
    """A table with a generated column of codes of each kind; pgvector lives in a schema that is on no path."""
    empty_db.execute("CREATE SCHEMA ext; CREATE EXTENSION vector SCHEMA ext; CREATE EXTENSION pgembed CASCADE")
    empty_db.execute(
        """
        CREATE SCHEMA "My Shop";
        CREATE TABLE "My Shop".item (id int PRIMARY KEY, e ext.vector(8));
        INSERT INTO "My Shop".item SELECT n, ARRAY(SELECT sin(n * d) + 0.2 FROM generate_series(1, 8) AS d)::real[]::ext.vector
            FROM generate_series(1, 300) AS n;
        SELECT pgembed.adopt_embedding('"My Shop".item', 'e');
        """
    )
    for name, arguments in CODECS.items():
        empty_db.execute(f"""SELECT pgembed.train_codec('{name}', '"My Shop".item', {arguments}, measure => false)""")
    types = dict(empty_db.execute("SELECT name, code_type FROM pgembed._codec").fetchall())
    listed = ", ".join(f'{name} {types[name]} GENERATED ALWAYS AS ("My Shop".{name}(e)) STORED' for name in CODECS)
    empty_db.execute(f"""CREATE TABLE "My Shop".code (id int PRIMARY KEY, e ext.vector(8), {listed})""")
    empty_db.execute("""INSERT INTO "My Shop".code (id, e) SELECT id, e FROM "My Shop".item WHERE id <= 50""")
    return empty_db


@pytest.fixture
def again(source: Connection, tmp_path: Path) -> Iterator[Callable[[Connection], Connection]]:
    """Dump a database and restore it into a new one."""
    opened: list[Connection] = []

    def restored(origin: Connection) -> Connection:
        name = f"{source.info.dbname}_{len(opened)}"
        dump = str(tmp_path / name)
        run(program(source, "pg_dump"), "-d", conninfo.make_conninfo(URL, dbname=origin.info.dbname), "-F", "c", "-f", dump)
        source.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        opened.append(psycopg.connect(URL, dbname=name, autocommit=True))
        run(program(source, "pg_restore"), "--exit-on-error", "-d", conninfo.make_conninfo(URL, dbname=name), dump)
        return opened[-1]

    yield restored
    for connection in opened:
        name = connection.info.dbname
        connection.close()
        source.execute(f"DROP DATABASE {name}")


def test_a_restored_database_has_its_codecs_and_encodes(
    source: Connection, again: Callable[[Connection], Connection], make_role: Callable[..., str]
) -> None:
    codes = CODES.format(", ".join(f"{name}::text" for name in CODECS))
    before = source.execute(codes).fetchall()
    assert len({row[1:] for row in before}) > 30
    clerk = make_role("clerk")

    first = again(source)
    assert first.execute(codes).fetchall() == before
    lines = "SELECT name, table_name::text, column_name, method, options, kind, length FROM pgembed.codecs ORDER BY 1"
    assert first.execute(lines).fetchall() == source.execute(lines).fetchall() != []
    # as an ordinary role, and by the registry's own account of the codec
    first.execute(f"""GRANT USAGE ON SCHEMA "My Shop" TO {clerk}; GRANT INSERT ON "My Shop".code TO {clerk}""")
    insert = """INSERT INTO "My Shop".code (id, e) VALUES (51, '{}')"""
    row = source.execute("""SELECT e::text FROM "My Shop".item WHERE id = 51""").fetchone()
    assert row is not None
    source.execute(insert.format(row[0]))
    expected = source.execute(codes).fetchall()
    first.execute(f"SET ROLE {clerk}")
    first.execute(insert.format(row[0]))
    first.execute("RESET ROLE")
    assert first.execute(codes).fetchall() == expected

    first.execute("DELETE FROM pgembed._codec; ALTER EXTENSION pgembed UPDATE")
    second = again(first)
    assert second.execute(codes).fetchall() == expected
    second.execute("""DELETE FROM "My Shop".code WHERE id = 51""")
    second.execute(insert.format(row[0]))
    assert second.execute(codes).fetchall() == expected
    assert second.execute("SELECT count(*) FROM pgembed.codecs").fetchone() == (0,)
    for connection in (first, second):
        connection.execute(f"DROP OWNED BY {clerk}")

    # and what is restored can be dropped
    third = again(source)
    third.execute("""DROP TABLE "My Shop".code""")
    for name in CODECS:
        third.execute("SELECT pgembed.drop_codec(%s)", [name])
    left = third.execute("""SELECT count(*) FROM pg_proc WHERE pronamespace = '"My Shop"'::regnamespace""").fetchone()
    assert left == (0,)
