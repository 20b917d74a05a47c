"""Declaring linkers: what is proven, what is dropped, what the view says."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from conftest import Refused
from support import Notices

pytestmark = pytest.mark.one_transaction

Connection = psycopg.Connection[Any]


@pytest.fixture
def people(db: Connection) -> Connection:
    """Cities, people who live in them, other names of these."""
    db.execute(
        """
        CREATE TABLE city (id int PRIMARY KEY, name text, code text UNIQUE);
        CREATE TABLE person (id int PRIMARY KEY, name text, title text, city_id int REFERENCES city, born date);
        CREATE TABLE person_alias (person_id int REFERENCES person, alias text);
        INSERT INTO city VALUES (1, 'Ulmstadt', 'u'), (2, 'Kelheim', 'k');
        INSERT INTO person VALUES (1, 'Ada Fabrikova', 'engineer', 1, '1980-02-03'), (2, 'Bo Contosson', NULL, 2, NULL);
        INSERT INTO person_alias VALUES (1, 'Countess Zero'), (1, NULL);
        """
    )
    return db


def linked(db: Connection, table: str, content: str, linker: str | None = None) -> list[tuple[str, int]]:
    return db.execute(
        f"SELECT mention, (entity).id FROM pgembed.link(NULL::{table}, %s, %s) WHERE (entity).id IS NOT NULL", [content, linker]
    ).fetchall()


def keys(db: Connection, linker: str, content: str) -> list[tuple[str, str, str]]:
    return db.execute(
        "SELECT mention, entity_table::text, entity_key FROM pgembed.link_keys(%s, %s) WHERE entity_key IS NOT NULL", [linker, content]
    ).fetchall()


def test_a_table_of_aliases_names_rows(people: Connection) -> None:
    people.execute("SELECT pgembed.create_linker('p', 'person', names => 'name', alias_tables => '[\"person_alias\"]')")
    assert linked(people, "person", "We met Countess Zero.") == [("Countess Zero", 1)]


def test_declaring_and_dropping_says_nothing(people: Connection, notices: Notices) -> None:
    people.execute("SELECT pgembed.create_linker('p', 'person', names => 'name', alias_tables => '[\"person_alias\"]')")
    people.execute("SELECT pgembed.create_linker('q', 'person', names => 'title')")
    people.execute("SELECT pgembed.alter_linker('q', names => 'name'); SELECT pgembed.drop_linker('p'); SELECT pgembed.drop_linker('q')")
    assert notices == []


@pytest.mark.parametrize("aliases", ["nick", "ARRAY[nick]", "nick::varchar(20)", "string_to_array(nick, '/')"])
def test_aliases_are_a_text_or_an_array_of_them(people: Connection, aliases: str) -> None:
    people.execute("ALTER TABLE person ADD nick text; UPDATE person SET nick = 'Countess Zero' WHERE id = 1")
    people.execute("SELECT pgembed.create_linker('p', 'person', names => 'name', aliases => %s)", [aliases])
    assert linked(people, "person", "We met Countess Zero.") == [("Countess Zero", 1)]


def test_several_targets_compete_and_each_has_its_rows(people: Connection) -> None:
    people.execute("SELECT pgembed.create_linker('both', 'person', names => 'name')")
    people.execute("SELECT pgembed.add_linker_target('both', 'city', names => 'name')")
    content = "Ada Fabrikova moved to Kelheim."
    assert keys(people, "both", content) == [("Ada Fabrikova", "person", "1"), ("Kelheim", "city", "2")]
    assert linked(people, "person", content) == [("Ada Fabrikova", 1)]
    assert linked(people, "city", content) == [("Kelheim", 2)]
    people.execute("SELECT pgembed.drop_linker_target('both', 'person')")
    assert keys(people, "both", content) == [("Kelheim", "city", "2")]
    # the number of a target is not used again
    people.execute("SELECT pgembed.add_linker_target('both', 'person', names => 'name')")
    assert people.execute("SELECT number FROM pgembed._linker_target ORDER BY 1").fetchall() == [(2,), (3,)]


def test_what_is_altered_is_declared_anew_and_the_rest_stays(people: Connection) -> None:
    people.execute("SELECT pgembed.create_linker('p', 'person', names => 'name', alias_tables => '[\"person_alias\"]', types => 'title')")
    people.execute("SELECT pgembed.alter_linker('p', names => 'upper(name)')")
    assert linked(people, "person", "COUNTESS ZERO and ADA FABRIKOVA") == [("COUNTESS ZERO", 1), ("ADA FABRIKOVA", 1)]
    assert people.execute("SELECT names, types, aliases, revision FROM pgembed.linkers").fetchone() == (
        ["upper(name)"],
        ["title"],
        ["person_alias.alias"],
        1,
    )
    people.execute("SELECT pgembed.alter_linker('p', alias_tables => '[]', types => '')")
    assert linked(people, "person", "Countess Zero said so.") == []
    assert people.execute("SELECT types, aliases FROM pgembed.linkers").fetchone() == ([None], [""])


def test_the_view_says_what_is_declared(people: Connection) -> None:
    people.execute(
        "SELECT pgembed.create_linker('p', 'person', names => 'name', context => 'title', types => $$'person'$$,"
        ' relations => \'[{"column": "city_id", "names": "name"}, "born"]\')'
    )
    people.execute("ANALYZE person")
    assert people.execute(
        "SELECT targets::text, key, names, context, relations, rows, revision, trained_at, labels, status FROM pgembed.linkers"
    ).fetchone() == ("{person}", ["id"], ["name"], ["title"], ["city, born"], 2, 0, None, 0, "ready")


def test_a_linker_leaves_nothing_behind(people: Connection) -> None:
    before = people.execute("SELECT oid FROM pg_proc UNION ALL SELECT oid FROM pg_trigger ORDER BY 1").fetchall()
    people.execute(
        "SELECT pgembed.create_linker('p', 'person', names => 'name', alias_tables => '[\"person_alias\"]',"
        ' relations => \'[{"column": "city_id", "names": "name"}]\')'
    )
    people.execute("SELECT pgembed.create_linker('q', 'person', names => 'name')")
    people.execute("SELECT pgembed.drop_linker('p')")
    assert people.execute("SELECT table_name::text FROM pgembed._linker_table").fetchall() == [("person",)]
    people.execute("SELECT pgembed.drop_linker('q')")
    assert people.execute("SELECT oid FROM pg_proc UNION ALL SELECT oid FROM pg_trigger ORDER BY 1").fetchall() == before
    for table in ("_linker", "_linker_target", "_linker_source", "_linker_table", "_linker_model"):
        assert people.execute(f"SELECT count(*) FROM pgembed.{table}").fetchone() == (0,)


def test_a_target_that_is_dropped_leaves_the_others(people: Connection) -> None:
    people.execute("SELECT pgembed.create_linker('both', 'city', names => 'name')")
    people.execute("SELECT pgembed.add_linker_target('both', 'person', names => 'name', relations => '[\"city_id\"]')")
    people.execute("DROP TABLE person CASCADE")
    assert keys(people, "both", "Ada Fabrikova moved to Kelheim.") == [("Kelheim", "city", "2")]


def test_a_dropped_column_is_told(people: Connection, refused: Refused) -> None:
    people.execute("SELECT pgembed.create_linker('p', 'person', names => 'name', types => 'title')")
    people.execute("ALTER TABLE person DROP COLUMN title")
    refused(people, "55000", "SELECT * FROM pgembed.link_keys('p', 'Ada Fabrikova')", message='"title"', hint="alter_linker")
    assert people.execute("SELECT status FROM pgembed.linkers").fetchone() == ("column title of table person is gone: alter_linker",)
    people.execute("SELECT pgembed.alter_linker('p', types => '')")
    assert keys(people, "p", "Ada Fabrikova") == [("Ada Fabrikova", "person", "1")]


def test_a_dropped_context_is_told(people: Connection, refused: Refused) -> None:
    people.execute("SELECT pgembed.add_embedding('person', 'title', sync => 'manual')")
    people.execute("SELECT pgembed.create_linker('p', 'person', names => 'name', context => 'embedding')")
    assert people.execute("SELECT context, status FROM pgembed.linkers").fetchone() == (["embedding"], "ready")
    people.execute("SELECT pgembed.drop_embedding('person')")
    refused(people, "55000", "SELECT * FROM pgembed.link_keys('p', 'Ada')", message='"embedding"', hint="context => ''")
    assert people.execute("SELECT status FROM pgembed.linkers").fetchone() == ("column embedding of its context is gone: alter_linker",)
    people.execute("SELECT pgembed.alter_linker('p', context => '')")
    assert keys(people, "p", "Ada Fabrikova") == [("Ada Fabrikova", "person", "1")]


def test_columns_and_tables_of_other_names_are_followed(people: Connection) -> None:
    people.execute(
        "SELECT pgembed.create_linker('p', 'person', names => 'name', alias_tables => '[\"person_alias\"]',"
        ' relations => \'[{"column": "city_id", "names": "name"}]\')'
    )
    for statement in (
        "ALTER TABLE person RENAME name TO called",
        "ALTER TABLE person RENAME id TO number",
        "ALTER TABLE person_alias RENAME person_id TO who",
        "ALTER TABLE person_alias RENAME alias TO aka",
        "ALTER TABLE city RENAME name TO town",
        "ALTER TABLE person RENAME TO human",
        "CREATE SCHEMA elsewhere",
        "ALTER TABLE human SET SCHEMA elsewhere",
        "ALTER SCHEMA elsewhere RENAME TO abroad",
        "ALTER SCHEMA abroad RENAME TO elsewhere",
    ):
        people.execute(statement)
        table = people.execute("SELECT targets[1]::text FROM pgembed.linkers").fetchone()
        assert table is not None
        assert keys(people, "p", "Countess Zero") == [("Countess Zero", table[0], "1")], statement
    people.execute("UPDATE elsewhere.human SET called = 'Cy Wingtip' WHERE number = 2")
    people.execute("UPDATE person_alias SET aka = 'Lady Nought' WHERE aka IS NOT NULL")
    assert keys(people, "p", "Cy Wingtip and Lady Nought") == [
        ("Cy Wingtip", "elsewhere.human", "2"),
        ("Lady Nought", "elsewhere.human", "1"),
    ]
    people.execute("SELECT pgembed.drop_linker('p')")


@pytest.mark.parametrize("key", ["a, b", "b, a"])
def test_composite_keys_come_back_as_rows(db: Connection, key: str) -> None:
    db.execute("CREATE TABLE part (a text, b int, name text, PRIMARY KEY (a, b))")
    db.execute("INSERT INTO part VALUES ('x', 1, 'Sprocket Alpha'), ('x', 2, 'Flange Beta')")
    db.execute("SELECT pgembed.create_linker('l', 'part', key => %s, names => 'name')", [key])
    assert db.execute("SELECT (entity).a, (entity).b FROM pgembed.link(NULL::part, 'The Flange Beta broke.')").fetchall() == [("x", 2)]
    db.execute("UPDATE part SET b = 3 WHERE b = 2")
    assert db.execute("SELECT (entity).a, (entity).b FROM pgembed.link(NULL::part, 'The Flange Beta broke.')").fetchall() == [("x", 3)]


@pytest.mark.parametrize(
    "made",
    [
        "CREATE VIEW thing AS SELECT id, name FROM city",
        "CREATE MATERIALIZED VIEW thing AS SELECT id, name FROM city",
        "CREATE TABLE thing (id int PRIMARY KEY, name text) PARTITION BY RANGE (id);"
        " CREATE TABLE thing_1 PARTITION OF thing FOR VALUES FROM (0) TO (2); CREATE TABLE thing_2 PARTITION OF thing DEFAULT;"
        " INSERT INTO thing SELECT id, name FROM city",
        "CREATE EXTENSION file_fdw; CREATE SERVER f FOREIGN DATA WRAPPER file_fdw;"
        " CREATE FOREIGN TABLE thing (id int, name text) SERVER f OPTIONS (program 'printf \"1\\tUlmstadt\\n2\\tKelheim\\n\"')",
    ],
    ids=["view", "materialized", "partitioned", "foreign"],
)
def test_targets_of_all_kinds(people: Connection, made: str) -> None:
    people.execute(made)  # type: ignore[arg-type]
    people.execute("SELECT pgembed.create_linker('t', 'thing', key => 'id', names => 'name')")
    assert keys(people, "t", "They came to Kelheim.") == [("Kelheim", "thing", "2")]
    assert linked(people, "thing", "They came to Kelheim.") == [("Kelheim", 2)]
    if "FOREIGN" in made:
        return
    home = "thing" if "PARTITION" in made else "city"
    people.execute(f"UPDATE {home} SET name = 'Wingtip' WHERE id = 2")  # type: ignore[arg-type]
    if "MATERIALIZED" in made:
        people.execute("REFRESH MATERIALIZED VIEW thing")
    assert keys(people, "t", "They came to Wingtip, not Kelheim.") == [("Wingtip", "thing", "2")]


def test_keys_of_a_view_are_looked_at(people: Connection, refused: Refused) -> None:
    people.execute("CREATE VIEW twice AS SELECT id / 3 AS id, name FROM city")
    people.execute("SELECT pgembed.create_linker('t', 'twice', key => 'id', names => 'name')")
    refused(people, "42P16", "SELECT * FROM pgembed.link_keys('t', 'Kelheim')", message="same key", hint="unique")
    people.execute("CREATE OR REPLACE VIEW twice AS SELECT nullif(id, 2) AS id, name FROM city")
    refused(people, "42P16", "SELECT * FROM pgembed.link_keys('t', 'Kelheim')", message="NULL", hint="leave such rows out")


def test_an_empty_target_links_nothing(people: Connection) -> None:
    people.execute("CREATE TABLE void (id int PRIMARY KEY, name text)")
    people.execute("SELECT pgembed.create_linker('v', 'void', names => 'name')")
    assert keys(people, "v", "Ada Fabrikova moved to Kelheim.") == []


CALLS = [
    ("create_linker('x', 'nokey', names => 'name')", "42P16", "no primary key", "key =>"),
    ("create_linker('x', 'nokey', key => 'id', names => 'name')", "42P16", "no unique index", "CREATE UNIQUE INDEX"),
    ("create_linker('x', 'city', key => 'code', names => 'name')", "42P16", "may be NULL", "SET NOT NULL"),
    ("create_linker('x', 'city', key => 'nothing', names => 'name')", "42703", '"nothing"', "id, name, code"),
    ("create_linker('x', 'city', key => '', names => 'name')", "22023", "key", "commas"),
    ("create_linker('x', 'city')", "22004", "nothing says how", "names =>"),
    ("create_linker('x', 'city', names => 'count(*)::text')", "42803", "names", "expression"),
    ("create_linker('x', 'city', names => 'name', types => 'name, id')", "42601", "types", "expression"),
    ("create_linker('x', 'city', names => 'name', relations => '\"a\"')", "22023", "JSON array", "Spell"),
    ("create_linker('x', 'city', names => 'name', relations => '[1]')", "22023", "neither text nor object", "Spell"),
    ("create_linker('x', 'city', names => 'name', relations => '[{}]')", "22023", "without", "Spell"),
    ("create_linker('x', 'city', names => 'name', relations => '[{\"tabel\": \"person\"}]')", "22023", "tabel", "table"),
    ("create_linker('x', 'city', names => 'name', relations => '[\"nothing\"]')", "42P01", "nothing", "search_path"),
    ("create_linker('x', 'person', names => 'name', relations => '[\"city_id\"]')", "22004", "names a row of", '"names"'),
    ("create_linker('x', 'city', names => 'name', relations => '[\"nokey\"]')", "42P16", "0 foreign keys", "Spell"),
    ("create_linker('x', 'person', names => 'name', relations => '[{\"column\": \"title\", \"references\": \"nokey\"}]')", "42P16", "", ""),
    ("create_linker('x', 'person', names => 'name', alias_tables => '[\"nokey\"]')", "42P16", "foreign keys", "from"),
    ("create_linker('x', 'city', names => 'name', context => 'v')", "22023", "no embedded column", "adopt_embedding"),
    ("create_linker('x', 'city', names => 'name', context => '\"V 2\"')", "22023", "no embedded column", "adopt_embedding"),
    ("add_linker_target('p', 'person', names => 'name')", "42710", "already", "alter_linker"),
    ("add_linker_target('none', 'person', names => 'name')", "42704", "none", "pgembed.linkers"),
    ("drop_linker_target('p', 'city')", "42704", "no target", "person"),
    ("drop_linker_target('p', 'person')", "2BP01", "only target", "drop_linker"),
    ("alter_linker('p')", "22004", "nothing", "names"),
    ("alter_linker('p', names => 'nothing')", "42703", "names", "expression"),
    ("link_keys('p', 'x', filter => 'nothing')", "42703", "filter", "WHERE"),
]


@pytest.mark.parametrize(("call", "sqlstate", "message", "hint"), CALLS, ids=[call for call, *_ in CALLS])
def test_bad_declarations_are_told_with_a_hint(
    people: Connection, refused: Refused, call: str, sqlstate: str, message: str, hint: str
) -> None:
    people.execute('CREATE TABLE nokey (id int, name text); ALTER TABLE city ADD v vector(3), ADD "V 2" halfvec(3)')
    people.execute("SELECT pgembed.create_linker('p', 'person', names => 'name')")
    before = people.execute("SELECT count(*) FROM pg_proc").fetchone()
    refused(people, sqlstate, f"SELECT * FROM pgembed.{call}", message=message, hint=hint)
    assert people.execute("SELECT count(*) FROM pg_proc").fetchone() == before
    assert people.execute("SELECT name FROM pgembed.linkers").fetchall() == [("p",)]
