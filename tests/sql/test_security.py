"""What a role cannot do through pgembed: write the registry, use somebody's rights, read a file, learn of rows that it may not see."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import psycopg
import pytest

pytestmark = pytest.mark.one_transaction

Connection = psycopg.Connection[Any]
Refused = Callable[..., psycopg.Error]
AsRole = Callable[[Connection, str], AbstractContextManager[None]]
MakeRole = Callable[..., str]


@pytest.fixture
def bob(spots: Connection, make_role: MakeRole) -> str:
    """A role that may SELECT the table spot and nothing else."""
    role = make_role("bob")
    spots.execute(f"GRANT SELECT ON spot TO {role}")
    return role


@pytest.fixture
def mallory(db: Connection, make_role: MakeRole) -> str:
    """A role with a schema of its own, named m."""
    role = make_role("mallory")
    db.execute(f"CREATE SCHEMA m AUTHORIZATION {role}")
    return role


# One table and nothing else ---------------------------------------------------------------------------------------------------


def test_a_role_that_may_select_one_table_can_search_it(spots: Connection, bob: str, as_role: AsRole) -> None:
    with as_role(spots, bob):
        for call in (
            "search(NULL::spot, '[1,0,0]'::vector)",
            "search_keys('spot', '[1,0,0]'::vector)",
            "search_like(NULL::spot, '1')",
            "explain_search(NULL::spot, '[1,0,0]'::vector)",
        ):
            assert spots.execute(f"SELECT count(*) > 0 FROM pgembed.{call}").fetchone() == (True,)
        assert spots.execute("SELECT vector_dims(pgembed.embed('a'))").fetchone() == (384,)
        assert spots.execute("SELECT count(*) FROM pgembed.models").fetchone() == (2,)
        assert spots.execute("SELECT rows FROM pgembed.embeddings").fetchone() == (5,)


def test_a_role_that_may_select_one_table_can_search_no_other(spots: Connection, bob: str, as_role: AsRole, refused: Refused) -> None:
    spots.execute("CREATE TABLE other (id int PRIMARY KEY, e vector(2)); SELECT pgembed.adopt_embedding('other', 'e')")
    with as_role(spots, bob):
        refused(spots, "42501", "SELECT * FROM pgembed.search(NULL::other, '[1,0]'::vector)", message="table other", hint="SELECT on other")
        refused(
            spots, "42501", "SELECT * FROM pgembed.search_keys('other', '[1,0]'::vector)", message="table other", hint="SELECT on other"
        )
        refused(
            spots,
            "42501",
            "SELECT * FROM pgembed.search(NULL::spot, '[1,0,0]'::vector, filter => 'EXISTS (SELECT FROM other)')",
            message="table other",
            hint=None,
        )


@pytest.mark.parametrize("table", ["_embedding", "_setting", "_linker", "_linker_model", "_linker_change"])
@pytest.mark.parametrize(
    "statement", ["INSERT INTO {} DEFAULT VALUES", "UPDATE {} SET ctid = ctid", "DELETE FROM {}", "TRUNCATE {}", "DROP TABLE {}"]
)
def test_nobody_writes_the_registry(spots: Connection, bob: str, as_role: AsRole, table: str, statement: str) -> None:
    with as_role(spots, bob), pytest.raises(psycopg.Error) as caught:
        spots.execute(statement.format(f"pgembed.{table}"))
    assert caught.value.sqlstate in ("42501", "0A000")


def test_nobody_writes_the_registry_by_its_own_function(spots: Connection, bob: str, as_role: AsRole, refused: Refused) -> None:
    with as_role(spots, bob):
        refused(spots, "42501", "SELECT pgembed._write_registry()", message="called by pgembed itself only", hint="drop embeddings")
    refused(spots, "42501", "SELECT pgembed._write_registry()", message="called by pgembed itself only")


def test_a_refused_write_leaves_nothing_behind_for_the_next_call(spots: Connection, bob: str, as_role: AsRole, refused: Refused) -> None:
    with as_role(spots, bob):
        refused(spots, "42501", "SELECT pgembed.drop_embedding('spot')", message="must be owner")
        refused(spots, "42501", "SELECT pgembed._write_registry()", message="called by pgembed itself only")
    assert spots.execute("SELECT count(*) FROM pgembed.embeddings").fetchone() == (1,)


@pytest.mark.own_database
def test_a_caller_of_somebodys_security_definer_function_has_its_rights_and_no_more(
    spots: Connection, bob: str, mallory: str, as_role: AsRole, refused: Refused
) -> None:
    # The function runs as bob, who owns nothing: that the session is a superuser's does not help it.
    spots.execute(
        f"""
        CREATE FUNCTION public.deputy() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
        BEGIN
            PERFORM pgembed.drop_embedding('spot');
        END $$;
        ALTER FUNCTION public.deputy() OWNER TO {bob};
        """
    )
    refused(spots, "42501", "SELECT public.deputy()", message="must be owner of table")
    with as_role(spots, mallory):
        refused(spots, "42501", "SELECT public.deputy()", message="must be owner of table")


def test_only_superusers_make_what_runs_python(db: Connection, mallory: str, as_role: AsRole) -> None:
    with as_role(db, mallory), pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.execute("CREATE FUNCTION m.python() RETURNS text LANGUAGE plpython3u AS 'return open(\"/etc/hostname\").read()'")


def test_unchecked_bytes_become_no_vector(db: Connection, mallory: str, as_role: AsRole, refused: Refused) -> None:
    with as_role(db, mallory):
        refused(db, "42501", "SELECT pgembed._vector_relabel('\\x')", message="permission denied for function", hint=None)


# Files ------------------------------------------------------------------------------------------------------------------------


def test_only_a_superuser_chooses_the_default_model(db: Connection, mallory: str, as_role: AsRole, refused: Refused) -> None:
    with as_role(db, mallory):
        refused(db, "42501", "SELECT pgembed.set_default_model('all-minilm-l6-v2')", message="permission denied for function", hint=None)
    refused(db, "22023", "SELECT pgembed.set_default_model('../../etc')", message="invalid model name", hint="letters")


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT pgembed.embed('a', '/etc/passwd')",
        "SELECT pgembed.embed(ARRAY['a'], '../../../../etc/passwd')",
        "SELECT pgembed.token_count('a', 'a/../../b')",
        "SELECT pgembed.add_embedding('m.t', 'name', '../x')",
        "SELECT pgembed.adopt_embedding('m.t', 'e', '../x')",
        "SELECT pgembed.alter_embedding('m.t', 'e', model => '../x')",
    ],
)
def test_no_name_of_a_model_leads_out_of_the_models_folder(
    db: Connection, mallory: str, as_role: AsRole, refused: Refused, statement: str
) -> None:
    with as_role(db, mallory):
        db.execute("CREATE TABLE m.t (id int PRIMARY KEY, name text, e vector(2))")
        refused(db, "22023", statement, message="invalid model name", hint="letters, digits")


@pytest.mark.parametrize("setting", ["model_dir", "models_dir", "home", "python_path", "default_model"])
def test_no_custom_setting_moves_anything(db: Connection, mallory: str, as_role: AsRole, setting: str) -> None:
    with as_role(db, mallory):
        before = db.execute("SELECT array_agg(m ORDER BY name) FROM pgembed.models AS m").fetchone()
        db.execute(f"SET pgembed.{setting} = '/tmp'")
        assert db.execute("SELECT array_agg(m ORDER BY name) FROM pgembed.models AS m").fetchone() == before


def test_a_source_reads_no_file_for_who_may_not(db: Connection, mallory: str, as_role: AsRole) -> None:
    with as_role(db, mallory):
        db.execute("CREATE TABLE m.t (id int PRIMARY KEY, name text); INSERT INTO m.t VALUES (1, '/etc/hostname')")
        db.execute("SELECT pgembed.add_embedding('m.t', 'pg_read_file(name)')")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.execute("CALL pgembed.refresh('m.t')")
    assert db.execute("SELECT embedding IS NULL FROM m.t").fetchone() == (True,)


# The source is evaluated with its owner's rights -------------------------------------------------------------------------------

WHO = """
    CREATE TABLE m.seen (who text);
    CREATE FUNCTION m.told(name text) RETURNS text LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO m.seen VALUES (current_user);
        RETURN name;
    END $$;
    CREATE TABLE m.t (id int PRIMARY KEY, name text);
    INSERT INTO m.t VALUES (1, 'a');
    SELECT pgembed.add_embedding('m.t', 'm.told(name)');
"""


def test_refresh_by_a_superuser_evaluates_the_source_as_the_owner(db: Connection, mallory: str, as_role: AsRole) -> None:
    with as_role(db, mallory):
        db.execute(WHO)
    db.execute("CALL pgembed.refresh('m.t')")
    assert db.execute("SELECT DISTINCT who FROM m.seen").fetchall() == [(mallory,)]


def test_the_trigger_evaluates_the_source_as_the_owner_whoever_writes(
    db: Connection, mallory: str, make_role: MakeRole, as_role: AsRole
) -> None:
    writer = make_role("writer")
    with as_role(db, mallory):
        db.execute(WHO)
        db.execute(f"GRANT USAGE ON SCHEMA m TO {writer}; GRANT SELECT, UPDATE ON m.t TO {writer}")
    with as_role(db, writer):
        db.execute("UPDATE m.t SET name = 'b'")
    db.execute("UPDATE m.t SET name = 'c'")
    assert db.execute("SELECT DISTINCT who FROM m.seen").fetchall() == [(mallory,)]


ESCAPES = ["RESET ROLE", "SET ROLE postgres", "SET SESSION AUTHORIZATION postgres", "RESET SESSION AUTHORIZATION"]


@pytest.mark.own_database
@pytest.mark.parametrize("escape", ESCAPES)
def test_a_source_cannot_take_the_rights_of_the_superuser_who_refreshes(db: Connection, mallory: str, as_role: AsRole, escape: str) -> None:
    with as_role(db, mallory):
        db.execute(
            f"""
            CREATE FUNCTION m.evil(name text) RETURNS text LANGUAGE plpgsql AS $$
            BEGIN
                EXECUTE '{escape}';
                ALTER ROLE {mallory} SUPERUSER;
                RETURN name;
            END $$;
            CREATE TABLE m.t (id int PRIMARY KEY, name text);
            INSERT INTO m.t VALUES (1, 'a');
            SELECT pgembed.add_embedding('m.t', 'm.evil(name)');
            """
        )
    with pytest.raises(psycopg.Error):
        db.execute("CALL pgembed.refresh('m.t')")
    assert db.execute("SELECT rolsuper FROM pg_roles WHERE rolname = %s", [mallory]).fetchone() == (False,)


@pytest.mark.parametrize(
    "change",
    [
        "ALTER FUNCTION m.t_embedding_source(text) SECURITY INVOKER",
        "CREATE OR REPLACE FUNCTION m.t_embedding_source(name text) RETURNS text LANGUAGE plpgsql AS"
        " $$ BEGIN EXECUTE 'RESET ROLE'; ALTER ROLE {mallory} SUPERUSER; RETURN name; END $$",
    ],
)
def test_a_source_function_that_was_changed_is_not_evaluated_for_others(
    db: Connection, mallory: str, as_role: AsRole, refused: Refused, change: str
) -> None:
    with as_role(db, mallory):
        db.execute("CREATE TABLE m.t (id int PRIMARY KEY, name text); INSERT INTO m.t VALUES (1, 'a')")
        db.execute("SELECT pgembed.add_embedding('m.t', 'name')")
        db.execute(change.format(mallory=mallory))
    refused(db, "55000", "CALL pgembed.refresh('m.t')", message="rights of the table's owner", hint="alter_embedding")
    assert db.execute("SELECT rolsuper FROM pg_roles WHERE rolname = %s", [mallory]).fetchone() == (False,)


@pytest.mark.own_database
def test_a_source_that_changes_its_own_function_is_not_evaluated_a_second_time(db: Connection, mallory: str, as_role: AsRole) -> None:
    with as_role(db, mallory):
        db.execute(
            f"""
            CREATE FUNCTION m.evil(name text) RETURNS text LANGUAGE plpgsql AS $$
            BEGIN
                ALTER FUNCTION m.t_embedding_source(text) SECURITY INVOKER;
                BEGIN
                    EXECUTE 'RESET ROLE';
                    ALTER ROLE {mallory} SUPERUSER;
                EXCEPTION WHEN OTHERS THEN NULL;
                END;
                RETURN name;
            END $$;
            CREATE TABLE m.t (id int PRIMARY KEY, name text);
            INSERT INTO m.t VALUES (1, 'a');
            SELECT pgembed.add_embedding('m.t', 'm.evil(name)');
            """
        )
    with pytest.raises(psycopg.Error):
        db.execute("CALL pgembed.refresh('m.t')")
    assert db.execute("SELECT rolsuper FROM pg_roles WHERE rolname = %s", [mallory]).fetchone() == (False,)


def test_the_source_function_is_the_owners_alone(
    db: Connection, mallory: str, make_role: MakeRole, as_role: AsRole, refused: Refused
) -> None:
    bob = make_role("bob")
    with as_role(db, mallory):
        db.execute(f"GRANT USAGE ON SCHEMA m TO {bob}")
        db.execute("CREATE TABLE m.t (id int PRIMARY KEY, name text); SELECT pgembed.add_embedding('m.t', 'name')")
    with as_role(db, bob):
        refused(db, "42501", "SELECT m.t_embedding_source('a')", message="permission denied for function", hint=None)


def test_nobody_attaches_the_trigger_of_another(db: Connection, mallory: str, make_role: MakeRole, as_role: AsRole) -> None:
    bob = make_role("bob")
    with as_role(db, mallory):
        db.execute(f"GRANT USAGE ON SCHEMA m TO {bob}")
        db.execute("CREATE TABLE m.t (id int PRIMARY KEY, name text); SELECT pgembed.add_embedding('m.t', 'name')")
    db.execute(f"CREATE SCHEMA bob AUTHORIZATION {bob}")
    with as_role(db, bob):
        db.execute("CREATE TABLE bob.t (id int PRIMARY KEY, name text, embedding vector(384), embedding_hash bytea)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute("CREATE TRIGGER x BEFORE UPDATE ON bob.t FOR EACH ROW EXECUTE FUNCTION m.t_embedding_follow()")


# Types that are only called like ours ------------------------------------------------------------------------------------------


@pytest.fixture
def impostor(db: Connection, mallory: str, as_role: AsRole) -> Connection:
    """A type m.vector whose cast to pgvector's runs code of mallory's, and a table with a column of it."""
    with as_role(db, mallory):
        db.execute(
            f"""
            CREATE TYPE m.vector AS (a int);
            CREATE FUNCTION m.evil(m.vector) RETURNS public.vector LANGUAGE plpgsql AS $$
            BEGIN
                ALTER ROLE {mallory} SUPERUSER;
                RETURN '[1,2,3]';
            END $$;
            CREATE CAST (m.vector AS public.vector) WITH FUNCTION m.evil(m.vector) AS IMPLICIT;
            CREATE TABLE m.t (id int PRIMARY KEY, e m.vector);
            INSERT INTO m.t VALUES (1, ROW(1));
            GRANT SELECT ON m.t TO PUBLIC;
            """
        )
    return db


def test_a_type_that_is_only_called_vector_is_not_adopted(impostor: Connection, mallory: str, as_role: AsRole, refused: Refused) -> None:
    with as_role(impostor, mallory):
        refused(impostor, "42804", "SELECT pgembed.adopt_embedding('m.t', 'e')", message="of type m.vector", hint="pgvector's types")


def test_a_column_that_became_of_such_a_type_is_not_read(impostor: Connection, mallory: str, as_role: AsRole, refused: Refused) -> None:
    with as_role(impostor, mallory):
        impostor.execute("CREATE TABLE m.u (id int PRIMARY KEY, e public.vector); SELECT pgembed.adopt_embedding('m.u', 'e')")
        impostor.execute("ALTER TABLE m.u DROP COLUMN e; ALTER TABLE m.u ADD COLUMN e m.vector; INSERT INTO m.u VALUES (1, ROW(1))")
    impostor.execute("SELECT * FROM pgembed.embeddings")
    refused(impostor, "42704", "SELECT * FROM pgembed.search(NULL::m.u, '[1,2,3]'::vector)", message="has no embedded column")
    assert impostor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = %s", [mallory]).fetchone() == (False,)


@pytest.mark.own_database
def test_a_hash_column_that_became_of_another_type_is_not_read(db: Connection, mallory: str, as_role: AsRole) -> None:
    with as_role(db, mallory):
        db.execute(
            f"""
            CREATE TABLE m.t (id int PRIMARY KEY, name text);
            INSERT INTO m.t VALUES (1, 'a');
            SELECT pgembed.add_embedding('m.t', 'name');
            CREATE TYPE m.bytea AS (a int);
            CREATE FUNCTION m.evil(m.bytea) RETURNS pg_catalog.bytea LANGUAGE plpgsql AS $$
            BEGIN
                ALTER ROLE {mallory} SUPERUSER;
                RETURN NULL;
            END $$;
            CREATE CAST (m.bytea AS pg_catalog.bytea) WITH FUNCTION m.evil(m.bytea) AS IMPLICIT;
            ALTER TABLE m.t DROP COLUMN embedding_hash CASCADE;
            ALTER TABLE m.t ADD COLUMN embedding_hash m.bytea DEFAULT ROW(1);
            """
        )
    db.execute("SELECT * FROM pgembed.embeddings")
    with pytest.raises(psycopg.errors.UndefinedColumn):
        db.execute("CALL pgembed.refresh('m.t')")
    assert db.execute("SELECT rolsuper FROM pg_roles WHERE rolname = %s", [mallory]).fetchone() == (False,)


def test_no_table_of_somebodys_breaks_the_view_for_others(db: Connection, mallory: str, make_role: MakeRole, as_role: AsRole) -> None:
    bob = make_role("bob")
    with as_role(db, mallory):
        db.execute(
            """
            CREATE TABLE m.closed (id int PRIMARY KEY, e vector(2));
            CREATE MATERIALIZED VIEW m.unfilled AS SELECT 1 AS id, '[1,2]'::vector(2) AS e WITH NO DATA;
            CREATE TABLE m.broken (id int PRIMARY KEY, name text);
            GRANT SELECT ON ALL TABLES IN SCHEMA m TO PUBLIC;
            SELECT pgembed.adopt_embedding('m.closed', 'e');
            SELECT pgembed.adopt_embedding('m.unfilled', 'e');
            SELECT pgembed.add_embedding('m.broken', 'name');
            ALTER TABLE m.broken DROP COLUMN embedding_hash CASCADE;
            """
        )
    for _ in (1, 2):
        with as_role(db, bob):
            assert db.execute("SELECT count(*) FROM pgembed.embeddings").fetchone() == (3,)
        db.execute("GRANT USAGE ON SCHEMA m TO PUBLIC")
