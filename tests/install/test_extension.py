"""CREATE, ALTER ... UPDATE and DROP EXTENSION; the update is proven by a second version made here of a copy of sql/."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pgembed import __version__, errors, install

Connection = psycopg.Connection[Any]
Refused = Callable[..., psycopg.Error]

NEXT = "999.0.0"

# Every object of the schema by name, with all that says what it does.
OBJECTS = """
    SELECT 'function', p.oid::regprocedure::text,
           concat_ws(' | ', pg_get_functiondef(p.oid), p.proacl::text, obj_description(p.oid, 'pg_proc'))
    FROM pg_proc AS p WHERE p.pronamespace = 'pgembed'::regnamespace
    UNION ALL
    SELECT 'column', a.attrelid::regclass || '.' || a.attname,
           concat_ws(' | ', format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(x.adbin, x.adrelid))
    FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
    LEFT JOIN pg_attrdef AS x ON x.adrelid = a.attrelid AND x.adnum = a.attnum
    WHERE c.relnamespace = 'pgembed'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'v')
    UNION ALL
    SELECT 'relation', c.oid::regclass::text,
           concat_ws(' | ', c.relkind, c.relacl::text, obj_description(c.oid, 'pg_class'),
                     CASE WHEN c.relkind = 'v' THEN pg_get_viewdef(c.oid) END)
    FROM pg_class AS c WHERE c.relnamespace = 'pgembed'::regnamespace
    UNION ALL
    SELECT 'constraint', o.conrelid::regclass || '.' || o.conname, pg_get_constraintdef(o.oid)
    FROM pg_constraint AS o WHERE o.connamespace = 'pgembed'::regnamespace
    UNION ALL
    SELECT 'event trigger', t.evtname,
           concat_ws(' | ', t.evtevent, t.evttags::text, t.evtfoid::regproc, obj_description(t.oid, 'pg_event_trigger'))
    FROM pg_event_trigger AS t
    UNION ALL
    SELECT 'member', pg_describe_object(d.classid, d.objid, d.objsubid), d.deptype::text
    FROM pg_depend AS d JOIN pg_extension AS x ON x.oid = d.refobjid WHERE x.extname = 'pgembed' AND d.refclassid = 'pg_extension'::regclass
    UNION ALL
    SELECT 'dumped', c::regclass::text, condition
    FROM pg_extension, unnest(extconfig, extcondition) AS u (c, condition) WHERE extname = 'pgembed'
    ORDER BY 1, 2
"""


def objects(db: Connection) -> list[Any]:
    return db.execute(OBJECTS).fetchall()


@pytest.fixture
def next_version(empty_db: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A next version in the server's own folder of extensions, for as long as the test runs; it is not the default one.

    It adds a function and a table, changes a comment, a view and a function, and drops a column by its file in updates/.
    """
    folder = empty_db.execute("SELECT setting FROM pg_config WHERE name = 'SHAREDIR'").fetchone()
    assert folder is not None
    extension = Path(folder[0]) / "extension"
    sources = tmp_path / "sql"
    shutil.copytree(install.sql_dir(), sources)
    (sources / "updates").mkdir(exist_ok=True)
    (sources / "updates" / f"{__version__}--{NEXT}.sql").write_text(
        """
        CREATE TABLE pgembed._later (name text PRIMARY KEY);
        COMMENT ON TABLE pgembed._later IS 'a table of the next version';
        SELECT pg_catalog.pg_extension_config_dump('pgembed._later', '');
        ALTER TABLE pgembed._setting ADD COLUMN remark text;
        """
    )
    (sources / "tables" / "later.sql").write_text(
        """
        CREATE TABLE pgembed._later (name text PRIMARY KEY);
        COMMENT ON TABLE pgembed._later IS 'a table of the next version';
        SELECT pg_catalog.pg_extension_config_dump('pgembed._later', '');
        """
    )
    setting = sources / "tables" / "setting.sql"
    setting.write_text(setting.read_text().replace("value text NOT NULL\n", "value text NOT NULL,\n    remark text\n"))
    (sources / "functions" / "later.sql").write_text(
        """
        CREATE OR REPLACE FUNCTION pgembed.later() RETURNS text LANGUAGE sql IMMUTABLE RETURN 'later';
        COMMENT ON FUNCTION pgembed.later() IS 'a function of the next version';
        """
    )
    dims = sources / "functions" / "search.sql"
    dims.write_text(dims.read_text().replace("RETURN vector_dims(query);", "RETURN vector_dims(query) + 0;"))
    monkeypatch.setattr(install, "sql_dir", lambda: sources)
    monkeypatch.setattr(install, "__version__", NEXT)
    monkeypatch.setattr(install, "ONCE_FIRST", (*install.ONCE_FIRST, "tables/later.sql"))
    monkeypatch.setattr(install, "EVERY_TIME", (*install.EVERY_TIME, "functions/later.sql"))
    built = tmp_path / "built"
    built.mkdir()
    install.write_extension(built)
    # never the control file: it names the default version, and other tests create that one
    written = [extension / path.name for path in built.glob("pgembed--*.sql")]
    try:
        for path in written:
            shutil.copyfile(built / path.name, path)
            path.chmod(0o644)
    except PermissionError:
        pytest.skip(f"{extension} is not this user's to write")
    yield
    for path in written:
        path.unlink()


def test_create_extension_brings_what_it_requires(empty_db: Connection) -> None:
    empty_db.execute("CREATE EXTENSION pgembed CASCADE")
    found = empty_db.execute("SELECT extname, extnamespace::regnamespace::text FROM pg_extension ORDER BY 1").fetchall()
    assert found == [("pgembed", "pgembed"), ("plpgsql", "pg_catalog"), ("plpython3u", "pg_catalog"), ("vector", "public")]
    assert empty_db.execute("SELECT extversion FROM pg_extension WHERE extname = 'pgembed'").fetchone() == (__version__,)


def test_create_extension_is_for_superusers(empty_db: Connection, make_role: Callable[..., str], as_role: Callable[..., Any]) -> None:
    empty_db.execute("CREATE EXTENSION vector; CREATE EXTENSION plpython3u")
    alice = make_role("alice")
    empty_db.execute(f"ALTER DATABASE {empty_db.info.dbname} OWNER TO {alice}")
    with as_role(empty_db, alice), pytest.raises(psycopg.errors.InsufficientPrivilege):
        empty_db.execute("CREATE EXTENSION pgembed")
    empty_db.execute(f"ALTER DATABASE {empty_db.info.dbname} OWNER TO postgres")


def test_create_extension_where_the_search_path_is_hostile(empty_db: Connection) -> None:
    empty_db.execute(
        """
        CREATE SCHEMA evil;
        CREATE FUNCTION evil.octet_length(bytea) RETURNS int LANGUAGE sql IMMUTABLE RETURN 8;
        CREATE FUNCTION evil.substr(bytea, int, int) RETURNS bytea LANGUAGE sql IMMUTABLE RETURN $1;
        SET search_path = evil, pg_catalog;
        CREATE EXTENSION vector SCHEMA evil;
        CREATE EXTENSION pgembed CASCADE;
        RESET search_path;
        """
    )
    bound = empty_db.execute(
        """
        SELECT count(*) FROM pg_depend AS d JOIN pg_proc AS f ON f.oid = d.refobjid AND d.refclassid = 'pg_proc'::regclass
        WHERE f.pronamespace = 'evil'::regnamespace AND f.proname IN ('octet_length', 'substr')
        """
    ).fetchone()
    assert bound == (0,)


def test_drop_extension_leaves_the_users_columns_and_their_tables_writable(db: Connection, refused: Callable[..., psycopg.Error]) -> None:
    db.execute("CREATE TABLE product (id int PRIMARY KEY, name text); INSERT INTO product VALUES (1, 'tent')")
    db.execute("SELECT pgembed.add_embedding('product', 'name')")
    db.execute("CALL pgembed.refresh('product')")
    before = db.execute("SELECT embedding FROM product").fetchone()
    error = refused(db, "2BP01", "DROP EXTENSION pgembed", hint="CASCADE")
    assert (
        error.diag.message_detail == "column embedding of table public.product is not followed and not searched any more; its vectors stay"
    )
    db.execute("DROP EXTENSION pgembed CASCADE")
    assert db.execute("SELECT embedding FROM product").fetchone() == before
    db.execute(
        "UPDATE product SET name = 'boat'; INSERT INTO product VALUES (2, 'stove'); DELETE FROM product WHERE id = 1; DROP TABLE product"
    )


def test_drop_extension_leaves_nothing_of_its_own(db: Connection) -> None:
    db.execute("DROP EXTENSION pgembed")
    left = db.execute("SELECT pg_describe_object(classid, objid, 0) FROM pg_depend WHERE refobjid = to_regnamespace('pgembed')").fetchall()
    assert left == []
    assert db.execute("SELECT count(*) FROM pg_event_trigger").fetchone() == (0,)


def test_the_extension_can_be_created_again_and_takes_the_columns_back(db: Connection) -> None:
    db.execute("CREATE TABLE product (id int PRIMARY KEY, name text); INSERT INTO product VALUES (1, 'tent'), (2, 'stove')")
    db.execute("SELECT pgembed.add_embedding('product', 'name')")
    db.execute("CALL pgembed.refresh('product')")
    db.execute("DROP EXTENSION pgembed CASCADE")
    db.execute("CREATE EXTENSION pgembed")
    db.execute("SELECT pgembed.adopt_embedding('product', 'embedding', 'all-minilm-l6-v2')")
    assert db.execute("SELECT (item).name FROM pgembed.search(NULL::product, 'camping stove', k => 1)").fetchall() == [("stove",)]


def test_drop_extension_with_codes_of_vectors(db: Connection, refused: Callable[..., psycopg.Error]) -> None:
    db.execute(
        """
        CREATE TABLE spot (id int PRIMARY KEY, e vector(4));
        INSERT INTO spot SELECT n, ARRAY[sin(n), cos(n), sin(n * n), 1]::real[]::vector FROM generate_series(1, 60) AS n;
        SELECT pgembed.adopt_embedding('spot', 'e');
        SELECT pgembed.train_codec('by_sign', 'spot', 'sign', code_type => 'bit', measure => false);
        SELECT pgembed.train_codec('by_pq', 'spot', 'pq', bytes => 2, measure => false);
        SELECT pgembed.add_code('spot', 'by_sign'), pgembed.add_code('spot', 'by_pq'), pgembed.add_code('spot', 'by_pq', 'made', true);
        CALL pgembed.fill_code('spot', 'by_sign');
        CALL pgembed.fill_code('spot', 'by_pq');
        """
    )
    error = refused(db, "2BP01", "DROP EXTENSION pgembed", hint="CASCADE")
    assert "function public.by_pq(public.vector) depends on function pgembed._encode" in (error.diag.message_detail or "")
    # what cannot do without goes along, plain columns stay, and whoever writes is not held up
    db.execute("DROP EXTENSION pgembed CASCADE")
    db.execute("INSERT INTO spot VALUES (61, '[1,-1,1,1]'); UPDATE spot SET e = '[1,1,1,1]' WHERE id = 1")
    row = "SELECT row_to_json(s) ->> 'by_sign', by_pq FROM spot AS s WHERE id = {}"
    assert db.execute(row.format(61)).fetchone() == ("1011", None)
    assert db.execute(row.format(1)).fetchone() == ("1111", None)
    assert db.execute("SELECT count(by_pq) FROM spot").fetchone() == (59,)
    columns = db.execute("SELECT attname FROM pg_attribute WHERE attrelid = 'spot'::regclass AND attnum > 0 AND NOT attisdropped")
    assert [name for (name,) in columns] == ["id", "e", "by_sign", "by_pq"]


def test_drop_extension_after_codes_and_codecs_leaves_nothing(db: Connection) -> None:
    db.execute(
        """
        CREATE TABLE spot (id int PRIMARY KEY, e vector(4));
        INSERT INTO spot SELECT n, ARRAY[sin(n), cos(n), sin(n * n), 1]::real[]::vector FROM generate_series(1, 60) AS n;
        SELECT pgembed.adopt_embedding('spot', 'e');
        SELECT pgembed.train_codec('by_sign', 'spot', 'sign', measure => false);
        SELECT pgembed.train_codec('by_pq', 'spot', 'pq', bytes => 2, measure => false);
        SELECT pgembed.add_code('spot', 'by_sign'), pgembed.add_code('spot', 'by_pq');
        SELECT pgembed.drop_code(table_name, column_name) FROM pgembed.codes;
        SELECT pgembed.drop_codec(name) FROM pgembed.codecs;
        DROP EXTENSION pgembed CASCADE;
        """
    )
    made = "SELECT proname FROM pg_proc WHERE proname ~ '^(by|spot)_' UNION ALL SELECT typname FROM pg_type WHERE typname ~ '^by_'"
    assert db.execute(made).fetchall() == []


def test_vector_cannot_be_dropped_under_it(db: Connection) -> None:
    with pytest.raises(psycopg.errors.DependentObjectsStillExist):
        db.execute("DROP EXTENSION vector")


def test_an_updated_extension_is_what_a_fresh_one_is(empty_db: Connection, next_version: None) -> None:
    empty_db.execute(f"CREATE EXTENSION pgembed VERSION '{NEXT}' CASCADE")
    fresh = objects(empty_db)
    empty_db.execute("DROP EXTENSION pgembed; DROP SCHEMA IF EXISTS pgembed")
    empty_db.execute(f"CREATE EXTENSION pgembed VERSION '{__version__}'")
    assert objects(empty_db) != fresh
    empty_db.execute(f"ALTER EXTENSION pgembed UPDATE TO '{NEXT}'")
    updated = objects(empty_db)
    assert [(kind, name) for kind, name, _ in updated] == [(kind, name) for kind, name, _ in fresh]
    assert updated == fresh


def test_an_update_keeps_embedded_columns_and_plain_functions_work(empty_db: Connection, next_version: None) -> None:
    empty_db.execute(f"CREATE EXTENSION pgembed VERSION '{__version__}' CASCADE")
    empty_db.execute("CREATE TABLE product (id int PRIMARY KEY, name text); INSERT INTO product VALUES (1, 'tent')")
    empty_db.execute("SELECT pgembed.add_embedding('product', 'name', sync => 'manual')")
    empty_db.execute("CALL pgembed.refresh('product')")
    empty_db.execute("SELECT pgembed.set_default_model('all-minilm-l6-v2-int8')")
    registry = "SELECT (SELECT array_agg(e) FROM pgembed._embedding AS e)::text, (SELECT value FROM pgembed._setting)"
    before = empty_db.execute(registry).fetchone()
    empty_db.execute(f"ALTER EXTENSION pgembed UPDATE TO '{NEXT}'")
    assert empty_db.execute(registry).fetchone() == before
    assert empty_db.execute("SELECT pgembed.later(), pgembed.version()").fetchone() == ("later", NEXT)
    assert empty_db.execute("SELECT pgembed.freshness(embedding, embedding_hash) FROM product").fetchone() == ("fresh",)
    empty_db.execute("UPDATE product SET name = 'boat'")
    assert empty_db.execute("SELECT pgembed.freshness(embedding, embedding_hash) FROM product").fetchone() == ("stale",)


def test_objects_and_package_of_two_versions_are_told(
    empty_db: Connection, next_version: None, connect: Callable[[Connection], Connection], refused: Refused
) -> None:
    empty_db.execute(f"CREATE EXTENSION pgembed VERSION '{NEXT}' CASCADE")
    refused(
        connect(empty_db),
        "55000",
        "SELECT pgembed.embed('a')",
        message=f"are of version {NEXT}, its Python package on this server is of {__version__}",
        hint="ALTER EXTENSION pgembed UPDATE",
    )


def test_a_version_without_a_way_to_it_is_refused(db: Connection) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        db.execute("ALTER EXTENSION pgembed UPDATE TO '0.0.0'")


def test_an_update_file_must_lead_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "updates").mkdir()
    (tmp_path / "updates" / "0.0.1--0.0.2.sql").write_text("")
    monkeypatch.setattr(install, "sql_dir", lambda: tmp_path)
    with pytest.raises(errors.NotSupported, match=f"no update from version 0.0.1 to {__version__}"):
        install.update_script("0.0.1")
