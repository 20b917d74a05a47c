"""create_linker, drop_linker and link on a real server. What a mention is and how it is ranked is tested in tests/unit/linking."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import psycopg
import pytest

pytestmark = pytest.mark.one_transaction

Connection = psycopg.Connection[Any]
AsRole = Callable[[Connection, str], AbstractContextManager[None]]


class Refused(Protocol):
    def __call__(self, connection: Connection, sqlstate: str, statement: str, **expected: str) -> psycopg.Error: ...


@pytest.fixture
def companies(db: Connection) -> Connection:
    db.execute("CREATE TABLE company (id int PRIMARY KEY, name text, also text[])")
    db.execute(
        "INSERT INTO company VALUES (1, 'International Business Machines', '{IBM,\"Big Blue\"}'), (2, 'Red Hat', NULL),"
        " (3, 'Nestlé', '{}'), (4, NULL, NULL)"
    )
    db.execute("SELECT pgembed.create_linker('companies', 'company', names => 'name', aliases => 'also')")
    return db


def links(db: Connection, content: str | None, linker: str | None = None) -> list[tuple[str, int | None, str]]:
    return db.execute(
        "SELECT mention, (entity).id, decision FROM pgembed.link(NULL::company, %s, %s) ORDER BY start_char", [content, linker]
    ).fetchall()


def test_names_and_aliases_lead_to_their_row(companies: Connection) -> None:
    assert links(companies, "Big Blue bought Red Hat in 2019.") == [("Big Blue", 1, "link"), ("Red Hat", 2, "link")]


def test_a_misspelt_name_is_linked(companies: Connection) -> None:
    assert ("Redhat", 2, "link") in links(companies, "He works for Redhat now.")


def test_a_name_of_no_row_is_nil_and_has_no_entity(companies: Connection) -> None:
    row = companies.execute(
        "SELECT mention, entity IS NULL, decision FROM pgembed.link(NULL::company, 'She left Siemens Energy last year.')"
    ).fetchall()
    assert row == [("Siemens Energy", True, "nil")]


def test_offsets_cut_the_mention_out_of_the_text(companies: Connection) -> None:
    content = "🎉 Zum Frühstück: Nestlé — und IBM."
    rows = companies.execute(
        "SELECT mention, substr(%(c)s, start_char, end_char - start_char) FROM pgembed.link(NULL::company, %(c)s)", {"c": content}
    ).fetchall()
    assert {mention for mention, _ in rows} >= {"Nestlé", "IBM"}
    assert all(mention == cut for mention, cut in rows)


def test_score_and_margin_are_between_0_and_1(companies: Connection) -> None:
    rows = companies.execute("SELECT score, margin FROM pgembed.link(NULL::company, 'Big Blue bought Siemens.')").fetchall()
    assert rows
    assert all(0 <= score <= 1 and 0 <= margin <= 1 for score, margin in rows)


@pytest.mark.parametrize("content", [None, "", "   ", "nothing of note here"])
def test_a_text_without_names_has_no_links(companies: Connection, content: str | None) -> None:
    assert links(companies, content) == []


def test_the_context_tells_homonyms_apart(db: Connection) -> None:
    db.execute("CREATE TABLE thing (id int PRIMARY KEY, name text, about text)")
    db.execute(
        "INSERT INTO thing VALUES (1, 'Mercury', 'the planet nearest to the sun'), (2, 'Mercury', 'a metal, liquid at room temperature'),"
        " (3, 'Mercury', 'a maker of outboard engines for boats')"
    )
    db.execute("SELECT pgembed.add_embedding('thing', 'about')")
    db.execute("CALL pgembed.refresh('thing')")
    db.execute("SELECT pgembed.create_linker('things', 'thing', names => 'name', context => 'embedding')")
    for content, meant in (
        ("The spacecraft flew past Mercury on its way around the sun.", 1),
        ("The thermometer contained liquid Mercury, a poisonous metal.", 2),
    ):
        best = db.execute("SELECT (entity).id FROM pgembed.link(NULL::thing, %s) WHERE mention = 'Mercury'", [content]).fetchone()
        assert best == (meant,)


def test_new_rows_are_known_at_once(companies: Connection) -> None:
    assert links(companies, "She joined Fabrikam.")[0][2] == "nil"
    companies.execute("INSERT INTO company VALUES (5, 'Fabrikam', NULL)")
    assert links(companies, "She joined Fabrikam.") == [("Fabrikam", 5, "link")]


def test_hidden_rows_are_not_linked(companies: Connection, make_role: Callable[[str], str], as_role: AsRole) -> None:
    reader = make_role("link_reader")
    companies.execute(f"GRANT SELECT ON company TO {reader}")
    companies.execute("ALTER TABLE company ENABLE ROW LEVEL SECURITY")
    companies.execute("CREATE POLICY not_one ON company USING (id <> 1)")
    with as_role(companies, reader):
        assert [(row, decision) for _, row, decision in links(companies, "Big Blue bought Red Hat.")] == [(None, "nil"), (2, "link")]


def test_a_caller_without_rights_on_the_table_is_refused(companies: Connection, make_role: Callable[[str], str], as_role: AsRole) -> None:
    with as_role(companies, make_role("link_nobody")), pytest.raises(psycopg.errors.InsufficientPrivilege):
        links(companies, "Red Hat")


def test_only_the_owner_declares_and_drops(
    companies: Connection, make_role: Callable[[str], str], as_role: AsRole, refused: Refused
) -> None:
    with as_role(companies, make_role("link_stranger")):
        refused(companies, "42501", "SELECT pgembed.create_linker('mine', 'company', names => 'name')", hint="SET ROLE")
        refused(companies, "42501", "SELECT pgembed.drop_linker('companies')", hint="SET ROLE")


def test_names_are_evaluated_with_the_owners_rights_only(db: Connection, make_role: Callable[[str], str], as_role: AsRole) -> None:
    owner = make_role("link_owner")
    db.execute(f"CREATE SCHEMA own AUTHORIZATION {owner}")
    with as_role(db, owner):
        db.execute("CREATE TABLE own.t (id int PRIMARY KEY, name text)")
        db.execute("INSERT INTO own.t VALUES (1, 'Contoso')")
        db.execute("CREATE TABLE own.seen (who text)")
        db.execute("GRANT INSERT ON own.seen TO PUBLIC; GRANT USAGE ON SCHEMA own TO PUBLIC; GRANT SELECT ON own.t TO PUBLIC")
        db.execute(
            "CREATE FUNCTION own.spy(name text) RETURNS text LANGUAGE sql VOLATILE AS"
            " $$ INSERT INTO own.seen VALUES (current_user); SELECT name $$"
        )
        db.execute("CREATE FUNCTION own.whoami(name text) RETURNS text LANGUAGE sql STABLE AS $$ SELECT name || ' ' || current_user $$")
        db.execute("SELECT pgembed.create_linker('t', 'own.t', names => 'own.whoami(name)')")
    # the superuser links, and the owner's function still runs as the owner
    rows = db.execute("SELECT decision FROM pgembed.link(NULL::own.t, %s)", [f"We met Contoso {owner} today."]).fetchall()
    assert ("link",) in rows


def test_a_dropped_linker_is_gone_with_its_function(companies: Connection, refused: Refused) -> None:
    companies.execute("SELECT pgembed.drop_linker('companies')")
    assert companies.execute("SELECT count(*) FROM pgembed.linkers").fetchone() == (0,)
    assert companies.execute("SELECT count(*) FROM pg_proc WHERE proname LIKE 'company%'").fetchone() == (0,)
    refused(companies, "42704", "SELECT * FROM pgembed.link(NULL::company, 'IBM')", hint="create_linker")


def test_a_dropped_table_takes_its_linker_along(companies: Connection) -> None:
    companies.execute("DROP TABLE company")
    for table in ("_linker", "_linker_target", "_linker_table"):
        assert companies.execute(f"SELECT count(*) FROM pgembed.{table}").fetchone() == (0,)
    assert companies.execute("SELECT count(*) FROM pg_proc WHERE proname LIKE 'company%'").fetchone() == (0,)


def test_several_linkers_of_a_table_must_be_named(companies: Connection, refused: Refused) -> None:
    companies.execute("SELECT pgembed.create_linker('upper', 'company', names => 'upper(name)')")
    refused(companies, "42702", "SELECT * FROM pgembed.link(NULL::company, 'IBM')", hint="linker => 'companies'")
    assert links(companies, "RED HAT", "upper") == [("RED HAT", 2, "link")]


@pytest.mark.parametrize(
    ("call", "sqlstate", "hint"),
    [
        ("create_linker('companies', 'company', names => 'name')", "42710", "drop_linker"),
        ("create_linker(NULL, 'company', names => 'name')", "22004", "name"),
        ("create_linker('x', 'company', names => NULL)", "22004", "names =>"),
        ("create_linker('x', 'company', names => 'no_such_column')", "42703", "expression"),
        ("create_linker('x', 'company', names => 'name) FROM company; (')", "42601", "expression"),
        ("create_linker('x', 'company', names => 'name', aliases => 'no_such_column')", "42703", "expression"),
        ("create_linker('x', 'company', names => 'name', context => 'embedding')", "42703", "expression"),
        ("drop_linker('none')", "42704", "pgembed.linkers"),
        ("link(NULL::company, 'IBM', 'none')", "42704", "pgembed.linkers"),
        ("link(1, 'IBM')", "42809", "NULL::product"),
    ],
)
def test_bad_calls_are_told_with_a_hint(companies: Connection, refused: Refused, call: str, sqlstate: str, hint: str) -> None:
    refused(companies, sqlstate, f"SELECT * FROM pgembed.{call}", hint=hint)
    assert companies.execute("SELECT count(*) FROM pgembed.linkers").fetchone() == (1,)
