"""pgembed.alembic: the operations by themselves; what they make is compared in tests/install/test_migrations.py."""

from __future__ import annotations

import asyncio
import io
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import URL, Connection, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

import pgembed.alembic.installing
from pgembed import __version__, errors, install


@pytest.fixture
def bare(empty_db: psycopg.Connection[Any]) -> Iterator[Connection]:
    """A connection of SQLAlchemy's to a database without the extension."""
    info = empty_db.info
    query = {"host": info.host, "port": str(info.port)}
    url = URL.create("postgresql+psycopg", username=info.user, password=info.password or None, database=info.dbname, query=query)
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def operations(connection: Connection) -> Any:
    return Operations(MigrationContext.configure(connection))


def script(run: Callable[[Any], None]) -> str:
    """What a migration writes with --sql."""
    written = io.StringIO()
    context = MigrationContext.configure(dialect_name="postgresql", opts={"as_sql": True, "output_buffer": written})
    run(Operations(context))
    return written.getvalue()


@pytest.fixture
def next_release(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The package as it might be at its next release: a column more."""
    folder = tmp_path / "sql"
    shutil.copytree(install.sql_dir(), folder)
    (folder / "updates").mkdir(exist_ok=True)
    (folder / "updates" / f"{__version__}--9.9.0.sql").write_text("ALTER TABLE pgembed._setting ADD COLUMN note text DEFAULT '50% :x';\n")
    monkeypatch.setattr(install, "sql_dir", lambda: folder)
    monkeypatch.setattr(install, "__version__", "9.9.0")
    monkeypatch.setattr(pgembed.alembic.installing, "__version__", "9.9.0")
    return "9.9.0"


def test_a_script_has_the_definitions_verbatim() -> None:
    written = script(lambda op: op.install_pgembed())
    for _path, definition in install.definitions():
        for line in definition.strip().split("\n"):
            assert line in written or line.startswith("SELECT pg_catalog.pg_extension_config_dump(")
    assert "pg_extension_config_dump(" not in re.sub("--.*", "", written)
    assert 'CREATE EXTENSION vector SCHEMA "public";' in written
    assert "%%" not in written.replace("%%", "", 0) or "%%" in "".join(definition for _, definition in install.definitions())


def test_a_script_quotes_the_schema_of_pgvector() -> None:
    written = script(lambda op: op.install_pgembed(vector_schema='it\'s "odd"'))
    assert 'SET LOCAL search_path = pgembed, "it\'s ""odd""", pg_temp;' in written
    assert "found.nspname <> 'it''s \"odd\"'" in written


def test_install_brings_extensions_and_leaves_settings_as_they_were(bare: Connection) -> None:
    bare.execute(text("SET search_path = pg_catalog, public; SET check_function_bodies = on"))
    with bare.begin_nested() as _:
        operations(bare).install_pgembed()
        assert bare.scalar(text("SHOW search_path")) == "pg_catalog, public"
        assert bare.scalar(text("SHOW check_function_bodies")) == "on"
    assert bare.scalar(text("SELECT pgembed.version()")) == __version__
    bare.commit()
    found = bare.execute(text("SELECT extname, extnamespace::regnamespace::text FROM pg_extension ORDER BY 1")).all()
    assert [tuple(row) for row in found] == [("plpgsql", "pg_catalog"), ("plpython3u", "pg_catalog"), ("vector", "public")]
    assert bare.scalar(text("SHOW search_path")) == "pg_catalog, public"


def test_install_finds_pgvector_where_it_is(bare: Connection) -> None:
    bare.execute(text('CREATE SCHEMA "Odd one"; CREATE EXTENSION vector SCHEMA "Odd one"'))
    operations(bare).install_pgembed()
    assert bare.scalar(text("SELECT pgembed.embed('a')::text")).startswith("[")
    with pytest.raises(DBAPIError) as caught:
        bare.exec_driver_sql(
            script(lambda op: op.drop_pgembed()) + script(lambda op: op.install_pgembed()), execution_options={"no_parameters": True}
        )
    assert getattr(caught.value.orig, "sqlstate", None) == "55000"
    assert 'pgvector is in the schema "Odd one", not in "public"' in str(caught.value)
    assert "op.install_pgembed(vector_schema='Odd one')" in str(caught.value)


def test_install_twice_is_once(bare: Connection) -> None:
    operations(bare).install_pgembed()
    before = bare.scalar(text("SELECT max(oid::bigint) FROM pg_proc"))
    operations(bare).install_pgembed()
    assert bare.scalar(text("SELECT max(oid::bigint) FROM pg_proc")) == before


def test_an_extension_is_not_touched(db: psycopg.Connection[Any], engine: Any, make_role: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One history does for the developer's own database and for that of an administrator, where the role is nobody."""
    role = make_role("pgembed_nobody")
    before = db.execute("SELECT max(oid::bigint) FROM pg_proc").fetchone()
    with engine.connect() as connection:
        connection.exec_driver_sql(f"SET ROLE {role}")
        op = operations(connection)
        op.install_pgembed()
        op.update_pgembed(minimum=__version__)
        monkeypatch.setattr(pgembed.alembic.installing, "__version__", "9.9.0")
        op.install_pgembed()
        with pytest.raises(errors.NotReady, match=rf"needs pgembed 9\.9\.0, the extension in this database is {__version__}") as caught:
            op.update_pgembed(minimum="9.9.0")
        assert "ALTER EXTENSION pgembed UPDATE" in (caught.value.hint or "")
        op.drop_pgembed()
        connection.exec_driver_sql(script(lambda op: op.drop_pgembed()), execution_options={"no_parameters": True})
        connection.exec_driver_sql("RESET ROLE")
        with pytest.raises(DBAPIError) as refused, connection.begin_nested():
            connection.exec_driver_sql(script(lambda op: op.install_pgembed()), execution_options={"no_parameters": True})
        assert getattr(refused.value.orig, "sqlstate", None) == "42710"
        connection.commit()
    assert db.execute("SELECT max(oid::bigint) FROM pg_proc").fetchone() == before


@pytest.mark.parametrize(
    ("before", "sqlstate", "message", "hint"),
    [
        ("CREATE SCHEMA pgembed", "42P06", 'schema "pgembed" exists already', "DROP SCHEMA"),
        ("CREATE ROLE pgembed_nobody; SET LOCAL ROLE pgembed_nobody", "42501", 'role "pgembed_nobody" is not a superuser', "superuser"),
        (
            "CREATE EXTENSION vector; UPDATE pg_extension SET extversion = '0.7.4' WHERE extname = 'vector'",
            "55000",
            "pgvector is 0.7.4, needed is 0.8 or newer",
            "ALTER EXTENSION vector UPDATE",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_a_hint(bare: Connection, before: str, sqlstate: str, message: str, hint: str) -> None:
    bare.execute(text(before))
    with pytest.raises(DBAPIError) as caught:
        operations(bare).install_pgembed()
    error = caught.value.orig
    assert isinstance(error, psycopg.Error)
    assert error.sqlstate == sqlstate
    assert error.diag.message_primary == message
    assert hint in (error.diag.message_hint or "")


def test_a_package_of_another_version_on_the_server_is_refused(bare: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pgembed.alembic.installing, "__version__", "9.9.0")
    with pytest.raises(DBAPIError) as caught:
        operations(bare).install_pgembed()
    error = caught.value.orig
    assert isinstance(error, psycopg.Error)
    assert error.sqlstate == "55000"
    assert f"server's Python is {__version__}, needed is 9.9.0" in str(error)
    assert "pgembed install" in (error.diag.message_hint or "")


def test_update_does_nothing_where_the_minimum_is_there(bare: Connection) -> None:
    with pytest.raises(errors.NotReady, match="not in this database"):
        operations(bare).update_pgembed(minimum=__version__)
    operations(bare).install_pgembed()
    before = bare.scalar(text("SELECT max(oid::bigint) FROM pg_proc"))
    operations(bare).update_pgembed(minimum="0.0.1")
    operations(bare).update_pgembed(minimum=__version__)
    assert bare.scalar(text("SELECT max(oid::bigint) FROM pg_proc")) == before
    with pytest.raises(errors.NotSupported, match=r"needs pgembed 9\.9\.0") as caught:
        operations(bare).update_pgembed(minimum="9.9.0")
    assert caught.value.hint == "Update the package: pip install -U pgembed-extension."


def test_what_is_wrong_is_said_shortly(bare: Connection) -> None:
    with pytest.raises(errors.InvalidParameter, match="minimum is no version: 'newest'"):
        operations(bare).update_pgembed(minimum="newest")
    with pytest.raises(DBAPIError, match="pgembed is not in this database"), bare.begin_nested():
        operations(bare).drop_pgembed()
    bare.execute(text("CREATE SCHEMA pgembed"))
    with pytest.raises(DBAPIError, match="exists already") as caught:
        operations(bare).install_pgembed()
    assert len(str(caught.value)) < 2000  # and not the 4,000 lines that were sent


def test_asyncpg_sends_scripts_as_well(bare: Connection) -> None:
    pytest.importorskip("asyncpg")

    async def run() -> tuple[Any, Any]:
        engine = create_async_engine(bare.engine.url.set(drivername="postgresql+asyncpg"), poolclass=NullPool)
        async with engine.connect() as connection:
            await connection.run_sync(lambda made: operations(made).install_pgembed())
            version = await connection.scalar(text("SELECT pgembed.version()"))
            await connection.run_sync(lambda made: operations(made).drop_pgembed())
            left = await connection.scalar(text("SELECT to_regnamespace('pgembed')::text"))
        await engine.dispose()
        return version, left

    assert asyncio.run(run()) == (__version__, None)


@pytest.mark.parametrize("how", ["update", "install", "script"])
def test_update_runs_what_lies_between(bare: Connection, how: str, request: pytest.FixtureRequest) -> None:
    operations(bare).install_pgembed()
    version = request.getfixturevalue("next_release")
    if how == "update":
        operations(bare).update_pgembed(minimum=version)
        operations(bare).update_pgembed(minimum=version)
    elif how == "install":
        operations(bare).install_pgembed()
    else:
        with pytest.raises(errors.InvalidParameter, match="cannot ask"):
            script(lambda op: op.update_pgembed(minimum=version))
        written = script(lambda op: op.update_pgembed(minimum=version, from_version=__version__))
        bare.exec_driver_sql(written, execution_options={"no_parameters": True})
    assert bare.scalar(text("SELECT pgembed.version()")) == version
    bare.execute(text("INSERT INTO pgembed._setting VALUES ('default_model', 'x')"))
    assert bare.scalar(text("SELECT note FROM pgembed._setting")) == "50% :x"


def test_drop_leaves_the_users_vectors(bare: Connection) -> None:
    op = operations(bare)
    op.install_pgembed()
    bare.execute(text("CREATE TABLE book (id int PRIMARY KEY, title text)"))
    bare.execute(text("INSERT INTO book VALUES (1, 'The Time Machine')"))
    bare.execute(text("SELECT pgembed.add_embedding('book', 'title'), pgembed.create_linker('books', 'book', names => 'title')"))
    bare.execute(text("CALL pgembed.refresh('book')"))
    bare.execute(text("CREATE VIEW near AS SELECT pgembed.embed('x')"))
    with pytest.raises(DBAPIError) as caught, bare.begin_nested():
        op.drop_pgembed()
    error = caught.value.orig
    assert isinstance(error, psycopg.Error)
    assert error.sqlstate == "2BP01"
    assert "view near" in (error.diag.message_detail or "")
    bare.execute(text("DROP VIEW near"))
    op.drop_pgembed()
    assert bare.scalar(text("SELECT to_regnamespace('pgembed')")) is None
    assert bare.scalar(text("SELECT vector_dims(embedding) FROM book")) == 384
    columns = bare.scalars(text("SELECT attname FROM pg_attribute WHERE attrelid = 'book'::regclass AND attnum > 0 AND NOT attisdropped"))
    assert columns.all() == ["id", "title", "embedding"]
    bare.execute(text("UPDATE book SET title = 'The Invisible Man'"))
    op.install_pgembed()
    bare.execute(text("SELECT pgembed.adopt_embedding('book', 'embedding', 'all-minilm-l6-v2')"))
    assert bare.scalar(text("SELECT (item).id FROM pgembed.search(NULL::book, 'time travel')")) == 1


def test_drop_takes_codes_and_codecs_along(bare: Connection) -> None:
    op = operations(bare)
    op.install_pgembed()
    bare.execute(
        text(
            """
            CREATE TABLE spot (id int PRIMARY KEY, e vector(8));
            INSERT INTO spot
            SELECT n, ARRAY(SELECT sin(n * d)::float4 FROM generate_series(1, 8) AS d)::vector FROM generate_series(1, 60) AS n;
            SELECT pgembed.adopt_embedding('spot', 'e');
            SELECT pgembed.train_codec('spot_pq', 'spot', 'pq', bytes => 4, measure => false);
            SELECT pgembed.train_codec('spot_sign', 'spot', 'sign', measure => false);
            SELECT pgembed.train_codec('spot_turned', 'spot', 'sign', rotation => 'random', measure => false);
            SELECT pgembed.add_code('spot', 'spot_pq'), pgembed.add_code('spot', 'spot_sign');
            SELECT pgembed.add_code('spot', 'spot_turned', is_generated => true);
            ALTER TABLE spot ADD COLUMN mine spot_pq_code GENERATED ALWAYS AS (spot_pq(e)) STORED;
            """
        )
    )
    if (bare.dialect.server_version_info or ()) >= (15,):  # before, PostgreSQL drops a generated column with a function that it calls
        with pytest.raises(DBAPIError) as caught, bare.begin_nested():
            op.drop_pgembed()
        error = caught.value.orig
        assert isinstance(error, psycopg.Error)
        assert error.sqlstate == "2BP01"
        assert "column mine of table public.spot" in (error.diag.message_detail or "")
        bare.execute(text("ALTER TABLE spot DROP COLUMN mine"))
    op.drop_pgembed()
    assert bare.scalar(text("SELECT to_regnamespace('pgembed')")) is None
    columns = bare.scalars(text("SELECT attname FROM pg_attribute WHERE attrelid = 'spot'::regclass AND attnum > 0 AND NOT attisdropped"))
    assert columns.all() == ["id", "e"]
    made = "SELECT count(*) FROM pg_proc WHERE proname LIKE 'spot%'"
    assert bare.scalar(text(made)) == 0
    op.install_pgembed()
    bare.execute(text("SELECT pgembed.adopt_embedding('spot', 'e'), pgembed.train_codec('spot_pq', 'spot', 'pq', measure => false)"))


def test_operations_are_each_others_reverse() -> None:
    made = pgembed.alembic.InstallPgembed()
    assert isinstance(made.reverse(), pgembed.alembic.DropPgembed)
    assert isinstance(made.reverse().reverse(), pgembed.alembic.InstallPgembed)
    assert made.to_diff_tuple() == ("install_pgembed", "public")
