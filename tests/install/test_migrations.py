"""migrations/: the objects that Alembic makes are those of CREATE EXTENSION, one by one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"

# A line of text for each object: its identity, and all that can be said of it without a number of the catalogs.
OBJECTS = {
    "schema": """
        SELECT nspname, concat_ws(' | ', nspowner::regrole, nspacl::text, coalesce(obj_description(oid, 'pg_namespace'), '-'))
        FROM pg_namespace WHERE nspname = 'pgembed'
    """,
    "function": """
        SELECT p.oid::regprocedure::text, concat_ws(' | ',
            CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) END, l.lanname, p.prokind, p.prosrc, p.probin,
            p.proargnames::text, p.proargmodes::text, p.proallargtypes::regtype[]::text, pg_get_expr(p.proargdefaults, 0),
            pg_get_function_result(p.oid), pg_get_function_sqlbody(p.oid), p.provolatile, p.proparallel, p.procost, p.prorows,
            p.prosecdef, p.proisstrict, p.proleakproof, p.proretset, p.prosupport::text, p.proconfig::text, p.proacl::text,
            p.proowner::regrole, coalesce(obj_description(p.oid, 'pg_proc'), '-'))
        FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang WHERE p.pronamespace = 'pgembed'::regnamespace
    """,
    "relation": """
        SELECT c.oid::regclass::text, concat_ws(' | ',
            c.relkind, c.relpersistence, c.relacl::text, c.relowner::regrole, c.reloptions::text, c.relrowsecurity, c.relreplident,
            CASE WHEN c.relkind = 'v' THEN pg_get_viewdef(c.oid) END, CASE WHEN c.relkind = 'i' THEN pg_get_indexdef(c.oid) END,
            coalesce(obj_description(c.oid, 'pg_class'), '-'))
        FROM pg_class AS c WHERE c.relnamespace = 'pgembed'::regnamespace
    """,
    "column": """
        SELECT a.attrelid::regclass::text || '.' || a.attnum, concat_ws(' | ',
            a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated, a.attstorage, a.attacl::text,
            a.attcollation::regcollation, pg_get_expr(d.adbin, d.adrelid), coalesce(col_description(a.attrelid, a.attnum), '-'))
        FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
        LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE c.relnamespace = 'pgembed'::regnamespace
    """,
    "constraint": """
        SELECT k.conrelid::regclass::text || '.' || k.conname, pg_get_constraintdef(k.oid)
        FROM pg_constraint AS k WHERE k.connamespace = 'pgembed'::regnamespace
    """,
    "type": """
        SELECT t.oid::regtype::text, concat_ws(' | ', t.typtype, t.typcategory, t.typlen, t.typacl::text, t.typinput, t.typoutput,
            t.typreceive, t.typsend, t.typmodin, t.typmodout, t.typstorage, t.typalign, coalesce(obj_description(t.oid, 'pg_type'), '-'))
        FROM pg_type AS t WHERE t.typnamespace = 'pgembed'::regnamespace
    """,
    "cast": """
        SELECT format('cast from %s to %s', c.castsource::regtype, c.casttarget::regtype),
            concat_ws(' | ', c.castcontext, c.castmethod, c.castfunc::regprocedure)
        FROM pg_cast AS c JOIN pg_type AS t ON t.oid IN (c.castsource, c.casttarget)
        WHERE t.typnamespace = 'pgembed'::regnamespace
    """,
    "event trigger": """
        SELECT e.evtname, concat_ws(' | ', e.evtevent, e.evtowner::regrole, e.evtfoid::regprocedure, e.evtenabled, e.evttags::text,
            coalesce(obj_description(e.oid, 'pg_event_trigger'), '-'))
        FROM pg_event_trigger AS e
    """,
    # whatever else there may be one day: all that lives in the schema or hangs on what lives there
    "member": """
        SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid), 'in the schema' FROM pg_depend AS d
        WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = 'pgembed'::regnamespace
          AND d.classid <> 'pg_extension'::regclass
    """,
}
MEMBERS = """
    SELECT pg_describe_object(d.classid, d.objid, d.objsubid) FROM pg_depend AS d JOIN pg_extension AS x ON x.oid = d.refobjid
    WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND x.extname = 'pgembed'
      -- from PostgreSQL 17 on the row types of tables and views, and arrays of these and of types, are members of their own
      AND NOT EXISTS (
          SELECT FROM pg_type AS t LEFT JOIN pg_type AS element ON element.oid = t.typelem
          WHERE d.classid = 'pg_type'::regclass AND t.oid = d.objid AND (t.typrelid <> 0 OR element.typarray = t.oid)
      )
"""


def alembic(db: psycopg.Connection[Any], *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Alembic's own program."""
    command = [sys.executable, "-m", "alembic", "-c", str(MIGRATIONS / "alembic.ini"), *arguments]
    env = {name: value for name, value in os.environ.items() if name != "PGEMBED_URL"}
    return subprocess.run(command, env=env | environment, capture_output=True, text=True)


def url(db: psycopg.Connection[Any]) -> str:
    info = db.info
    return f"postgresql://{info.user}@/{info.dbname}?host={info.host}&port={info.port}"


def migrate(db: psycopg.Connection[Any], *arguments: str) -> str:
    done = alembic(db, "-x", f"url={url(db)}", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def run_script(db: psycopg.Connection[Any], script: str) -> None:
    command = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url(db)]
    done = subprocess.run(command, input=script, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def objects(db: psycopg.Connection[Any]) -> dict[tuple[str, str], str]:
    """Every object of the schema pgembed."""
    # Names are shown as this path has them; pgvector's are on it, so that they read the same in both databases.
    db.execute("SET search_path = public")
    return {(kind, name): said for kind, query in OBJECTS.items() for name, said in db.execute(query).fetchall()}


def differences(
    left: dict[tuple[str, str], str], right: dict[tuple[str, str], str]
) -> dict[tuple[str, str], tuple[str | None, str | None]]:
    return {key: (left.get(key), right.get(key)) for key in left.keys() | right.keys() if left.get(key) != right.get(key)}


def test_alembic_makes_what_create_extension_makes(db: psycopg.Connection[Any], empty_db: psycopg.Connection[Any]) -> None:
    migrate(empty_db, "upgrade", "head")
    made, expected = objects(empty_db), objects(db)
    assert differences(made, expected) == {}
    assert {kind for kind, _ in made} >= {"schema", "function", "relation", "column", "constraint", "type", "member"}
    assert len(made) > 100
    # Membership is the one difference; and no member of the extension lives where was not looked.
    assert empty_db.execute(MEMBERS).fetchall() == []
    seen = {name for kind, name in made if kind in ("member", "cast")}
    seen |= {f"event trigger {name}" for kind, name in made if kind == "event trigger"}
    assert {name for (name,) in db.execute(MEMBERS).fetchall()} - seen == set()


def test_a_comparison_would_see_a_difference(db: psycopg.Connection[Any]) -> None:
    before = objects(db)
    db.execute("COMMENT ON FUNCTION pgembed.version() IS 'other'")
    db.execute("ALTER FUNCTION pgembed.freshness(vector, bytea) COST 7")
    db.execute("GRANT INSERT ON pgembed._setting TO PUBLIC")
    assert {name for _, name in differences(before, objects(db))} == {
        "pgembed.version()",
        "pgembed.freshness(vector,bytea)",
        "pgembed._setting",
    }


def test_the_script_makes_what_the_connection_makes(empty_db: psycopg.Connection[Any]) -> None:
    written = alembic(empty_db, "upgrade", "head", "--sql")
    assert written.returncode == 0, written.stderr
    migrate(empty_db, "upgrade", "head")
    online = objects(empty_db)
    migrate(empty_db, "downgrade", "base")
    assert empty_db.execute("SELECT to_regnamespace('pgembed')").fetchone() == (None,)
    empty_db.execute("DROP TABLE pgembed_alembic_version")
    run_script(empty_db, written.stdout)
    assert differences(online, objects(empty_db)) == {}
    assert empty_db.execute("SELECT version_num FROM pgembed_alembic_version").fetchall() == [("0001",)]
    downgrade = alembic(empty_db, "downgrade", "0001:base", "--sql")
    run_script(empty_db, downgrade.stdout)
    assert empty_db.execute("SELECT to_regnamespace('pgembed')").fetchone() == (None,)


def test_upgrade_twice_and_search(empty_db: psycopg.Connection[Any]) -> None:
    done = alembic(empty_db, "upgrade", "head", PGEMBED_URL=url(empty_db))
    assert done.returncode == 0, done.stderr
    first = objects(empty_db)
    newest = empty_db.execute("SELECT max(oid) FROM pg_proc").fetchone()
    migrate(empty_db, "upgrade", "head")
    assert objects(empty_db) == first
    assert empty_db.execute("SELECT max(oid) FROM pg_proc").fetchone() == newest
    empty_db.execute("CREATE TABLE book (id int PRIMARY KEY, title text)")
    empty_db.execute("INSERT INTO book VALUES (1, 'The Time Machine'), (2, 'The Old Man and the Sea')")
    empty_db.execute("SELECT pgembed.add_embedding('book', 'title')")
    empty_db.execute("CALL pgembed.refresh('book')")
    found = empty_db.execute("SELECT (item).id FROM pgembed.search(NULL::book, 'fishing', k => 1, filter => 'id < 9')").fetchall()
    assert found == [(2,)]


def test_other_roles_may_use_it(empty_db: psycopg.Connection[Any], make_role: Any, as_role: Any) -> None:
    migrate(empty_db, "upgrade", "head")
    empty_db.execute("CREATE TABLE place (id int PRIMARY KEY, e vector(2)); INSERT INTO place VALUES (1, '[1,0]')")
    empty_db.execute("SELECT pgembed.adopt_embedding('place', 'e')")
    role = make_role("reader")
    empty_db.execute(f"GRANT SELECT ON place TO {role}")
    with as_role(empty_db, role):
        assert empty_db.execute("SELECT (item).id FROM pgembed.search(NULL::place, '[1,0]'::vector)").fetchall() == [(1,)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            empty_db.execute("SELECT pgembed.set_default_model('x')")


def test_no_database_is_one_clear_sentence(server_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "-c", str(MIGRATIONS / "alembic.ini"), "current"],
        env={name: value for name, value in os.environ.items() if name != "PGEMBED_URL"},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "no database is named" in done.stderr
