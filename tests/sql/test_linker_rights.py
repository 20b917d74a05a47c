"""A linker shows nobody what they may not read, and evaluates nothing with rights that are not its owner's."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import psycopg
import pytest
from conftest import Refused

from pgembed.linkers import registered
from pgembed.linkers.known import Known
from pgembed.psycopgdb import PsycopgDatabase

pytestmark = pytest.mark.one_transaction

Connection = psycopg.Connection[Any]
AsRole = Callable[[Connection, str], AbstractContextManager[None]]
CONTENT = "Ada met Bo in Ulmstadt, and the Countess in Kelheim."


@pytest.fixture
def reader(db: Connection, make_role: Callable[[str], str]) -> str:
    """Somebody who may read all of a linker's tables."""
    db.execute(
        """
        CREATE TABLE city (id int PRIMARY KEY, name text, secret text);
        CREATE TABLE person (id int PRIMARY KEY, name text, city_id int REFERENCES city, secret text);
        CREATE TABLE aka (person_id int REFERENCES person, alias text);
        INSERT INTO city VALUES (1, 'Ulmstadt'), (2, 'Kelheim');
        INSERT INTO person VALUES (1, 'Ada', 1), (2, 'Bo', 2);
        INSERT INTO aka VALUES (1, 'Countess');
        SELECT pgembed.create_linker('l', 'person', names => 'name', alias_tables => '["aka"]',
            relations => '[{"column": "city_id", "names": "name"}]');
        """
    )
    role = make_role("linker_reader")
    db.execute(f"GRANT SELECT ON city, person, aka TO {role}")
    return role


def keys(db: Connection) -> set[str]:
    rows = db.execute("SELECT entity_key FROM pgembed.link_keys('l', %s) WHERE entity_key IS NOT NULL", [CONTENT]).fetchall()
    return {key for (key,) in rows}


def facts(db: Connection) -> set[str]:
    port = PsycopgDatabase(db)
    known = Known(registered.read(port, "l"))
    known.read(port)
    return set(known.knowledge().facts.text)


def test_columns_that_are_read_are_enough(db: Connection, reader: str, as_role: AsRole) -> None:
    db.execute(f"REVOKE SELECT ON person, city, aka FROM {reader}")
    db.execute(f"GRANT SELECT (id, name, city_id) ON person TO {reader}; GRANT SELECT (id, name) ON city TO {reader}")
    db.execute(f"GRANT SELECT ON aka TO {reader}")
    with as_role(db, reader):
        assert keys(db) == {"1", "2"}
        assert facts(db) == {"Ulmstadt", "Kelheim"}
    db.execute("UPDATE person SET name = 'Cy' WHERE id = 2")
    with as_role(db, reader):
        assert keys(db) == {"1"}


@pytest.mark.parametrize("lost", ["SELECT ON person", "SELECT ON aka", "SELECT ON city"])
def test_whatever_is_read_must_be_readable(db: Connection, reader: str, as_role: AsRole, lost: str) -> None:
    assert keys(db) == {"1", "2"}  # that somebody else has compiled it helps nobody
    with as_role(db, reader):
        assert keys(db) == {"1", "2"}
    db.execute(f"REVOKE {lost} FROM {reader}")  # type: ignore[arg-type]
    with as_role(db, reader), pytest.raises(psycopg.errors.InsufficientPrivilege):
        keys(db)


@pytest.mark.parametrize(
    ("table", "policy", "rows", "known"),
    [
        ("person", "id = 2", {"2"}, {"Kelheim"}),
        ("aka", "false", {"1", "2"}, {"Ulmstadt", "Kelheim"}),
        ("city", "id = 2", {"1", "2"}, {"Kelheim"}),
    ],
)
def test_hidden_rows_are_no_rows_no_names_and_no_facts(
    db: Connection, reader: str, as_role: AsRole, table: str, policy: str, rows: set[str], known: set[str]
) -> None:
    db.execute(f"CREATE POLICY shown ON {table} USING ({policy}); ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")  # type: ignore[arg-type]
    assert keys(db) == {"1", "2"}
    with as_role(db, reader):
        assert keys(db) == rows
        assert facts(db) == known
        spoken = db.execute("SELECT mention FROM pgembed.link_keys('l', 'The Countess spoke.') WHERE entity_key IS NOT NULL").fetchall()
        assert bool(spoken) == (table == "city")
    assert keys(db) == {"1", "2"}


def test_changes_of_hidden_rows_are_told_to_nobody(db: Connection, reader: str, as_role: AsRole, refused: Refused) -> None:
    db.execute("CREATE POLICY shown ON person USING (id = 2); ALTER TABLE person ENABLE ROW LEVEL SECURITY")
    db.execute("UPDATE person SET name = 'Cy' WHERE id = 1")
    with as_role(db, reader):
        for table in ("_linker_change", "_linker_model"):
            refused(db, "42501", f"SELECT * FROM pgembed.{table}", message=table, hint=None)
        assert db.execute("SELECT pgembed._load_linker_changes(ARRAY['person'::regclass::oid])::text").fetchone() == ("",)
        assert db.execute("SELECT pgembed._load_linker_model('l')::text").fetchone() == ("",)
        refused(db, "42501", "SELECT pgembed._linker_changed('person'::regclass, '{id}', '[]')", message="triggers", hint="itself")


def test_writers_need_no_right_on_what_notes_changes(db: Connection, reader: str, as_role: AsRole) -> None:
    db.execute(f"GRANT INSERT, UPDATE, DELETE ON person TO {reader}")
    assert keys(db) == {"1", "2"}
    with as_role(db, reader):
        db.execute("UPDATE person SET name = 'Cy' WHERE id = 2")
        assert keys(db) == {"1"}
    assert keys(db) == {"1"}


def test_expressions_have_their_owners_rights(db: Connection, make_role: Callable[[str], str], as_role: AsRole) -> None:
    owner = make_role("linker_owner")
    db.execute(f"CREATE SCHEMA own AUTHORIZATION {owner}")
    with as_role(db, owner):
        db.execute("CREATE FUNCTION own.who(name text) RETURNS text LANGUAGE sql STABLE AS $$ SELECT name || ' ' || current_user $$")
        db.execute("CREATE TABLE own.city (id int PRIMARY KEY, name text); INSERT INTO own.city VALUES (1, 'Ulmstadt')")
        db.execute("CREATE TABLE own.person (id int PRIMARY KEY, name text, city_id int REFERENCES own.city)")
        db.execute("INSERT INTO own.person VALUES (1, 'Ada', 1)")
        db.execute(
            "SELECT pgembed.create_linker('l', 'own.person', names => 'own.who(name)',"
            ' relations => \'[{"column": "city_id", "names": "own.who(name)"}]\')'
        )
    port = PsycopgDatabase(db)
    known = Known(registered.read(port, "l"))
    known.read(port)
    assert known.knowledge().names == [f"Ada {owner}"]
    assert known.knowledge().facts.text == [f"Ulmstadt {owner}"]


def test_only_owners_declare_and_drop(db: Connection, reader: str, as_role: AsRole, refused: Refused) -> None:
    with as_role(db, reader):
        for call in (
            "create_linker('mine', 'person', names => 'name')",
            "add_linker_target('l', 'city', names => 'name')",
            "alter_linker('l', names => 'name')",
            "drop_linker_target('l', 'person')",
            "drop_linker('l')",
        ):
            refused(db, "42501", f"SELECT pgembed.{call}", message="must be owner", hint="SET ROLE")


def test_relations_over_tables_of_others_need_their_rights(
    db: Connection, make_role: Callable[[str], str], as_role: AsRole, refused: Refused
) -> None:
    owner = make_role("linker_guest")
    db.execute("CREATE TABLE city (id int PRIMARY KEY, name text); INSERT INTO city VALUES (1, 'Ulmstadt')")
    db.execute(f"CREATE SCHEMA own AUTHORIZATION {owner}; GRANT REFERENCES ON city TO {owner}")
    with as_role(db, owner):
        db.execute("CREATE TABLE own.person (id int PRIMARY KEY, name text, city_id int REFERENCES city)")
        db.execute("INSERT INTO own.person VALUES (1, 'Ada', 1)")
    declared = (
        "SELECT pgembed.create_linker('l', 'own.person', names => 'name', relations => '[{\"column\": \"city_id\", \"names\": \"name\"}]')"
    )
    with as_role(db, owner):
        db.execute(declared)
        with pytest.raises(psycopg.errors.InsufficientPrivilege), db.transaction():
            keys(db)
    db.execute(f"GRANT SELECT ON city TO {owner}")
    with as_role(db, owner):
        assert keys(db) == {"1"}
        assert facts(db) == {"Ulmstadt"}
    # nothing notes changes of a table of somebody else's: its rows are compared
    db.execute("UPDATE city SET name = 'Kelheim'")
    with as_role(db, owner):
        assert keys(db) == {"1"}
        assert facts(db) == {"Kelheim"}
