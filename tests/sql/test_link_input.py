"""What link(), link_keys() and explain_link() take, and what they refuse."""

from __future__ import annotations

import threading
import time
from typing import Any

import psycopg
import pytest
from conftest import Refused

pytestmark = pytest.mark.one_transaction

Connection = psycopg.Connection[Any]


@pytest.fixture
def firms(db: Connection) -> Connection:
    db.execute("CREATE TABLE firm (id int PRIMARY KEY, name text, country text)")
    db.execute("INSERT INTO firm VALUES (1, 'Fabrikam', 'de'), (2, 'Contoso', 'us'), (3, 'Contoso', 'de'), (4, 'Wingtip', 'us')")
    db.execute("SELECT pgembed.create_linker('l', 'firm', names => 'name', types => $$'firm'$$)")
    return db


CONTENT = "Fabrikam and Contoso met Wingtip."


def linked(
    db: Connection, arguments: str, values: dict[str, Any] | None = None, content: str | None = CONTENT
) -> list[tuple[str, int | None]]:
    statement = f"SELECT mention, (entity).id FROM pgembed.link(NULL::firm, %(c)s, {arguments})"
    return db.execute(statement, {"c": content, **(values or {})}).fetchall()  # type: ignore[arg-type]


def test_a_filter_cuts_candidates_before_they_are_ranked(firms: Connection) -> None:
    assert linked(firms, "filter => $$country = 'de'$$")[:2] == [("Fabrikam", 1), ("Contoso", 3)]
    assert dict(linked(firms, "filter => $$country = $1->>'c'$$, params => '{\"c\": \"us\"}'")) == {
        "Fabrikam": None,
        "Contoso": 2,
        "Wingtip": 4,
    }
    assert {row for _, row in linked(firms, "filter => 'false'")} <= {None}


def test_a_filter_means_what_it_means_to_the_caller(firms: Connection) -> None:
    firms.execute("CREATE SCHEMA own; CREATE FUNCTION own.is_ours(country text) RETURNS boolean LANGUAGE sql RETURN country = 'de'")
    firms.execute("SET LOCAL search_path = own, public")
    assert ("Contoso", 3) in linked(firms, "filter => 'is_ours(country)'")
    keys = firms.execute("SELECT entity_key FROM pgembed.link_keys('l', %s, filter => 'is_ours(country)')", [CONTENT]).fetchall()
    assert {key for (key,) in keys} == {"1", "3", None}


def test_a_hostile_path_changes_nothing(firms: Connection) -> None:
    firms.execute("CREATE SCHEMA evil; CREATE FUNCTION evil.no(int, int) RETURNS boolean LANGUAGE sql RETURN false")
    firms.execute("CREATE OPERATOR evil.= (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.no)")
    firms.execute("SET LOCAL search_path = evil, pg_catalog, public")
    assert ("Fabrikam", 1) in linked(firms, "filter => 'true'")


def test_given_places_are_linked_and_no_others(firms: Connection) -> None:
    assert linked(firms, "spans => ARRAY[int4range(26, 33), int4range(1, 9)]") == [("Wingtip", 4), ("Fabrikam", 1)]
    assert linked(firms, "spans => ARRAY[int4range(10, 12, '[]')]")[0][0] == "and"
    assert linked(firms, "spans => '{}'") == []


def test_an_array_of_several_dimensions_is_refused(firms: Connection, refused: Refused) -> None:
    spans = '{{"[1,9)"},{"[14,21)"}}'
    statement = f"SELECT * FROM pgembed.link(NULL::firm, '{CONTENT}', spans => '{spans}')"
    refused(firms, "22023", statement, message="span ['[1,9)'] is not within", hint="begins at 1")


def test_a_given_place_that_a_row_is_called_by_is_a_name(firms: Connection) -> None:
    firms.execute("INSERT INTO firm VALUES (9, 'umbrella'), (10, 'the who')")
    content = "the umbrella and an orange umbrela, the who"
    spans = "ARRAY[int4range(5, 13), int4range(1, 13), int4range(21, 27), int4range(28, 35)]"
    statement = f"SELECT mention, mention_type FROM pgembed.link(NULL::firm, '{content}', spans => {spans})"
    rows = firms.execute(statement.encode()).fetchall()
    assert rows == [("umbrella", "name"), ("the umbrella", "description"), ("orange", "description"), ("umbrela", "name")]


def test_a_column_that_is_gone_is_told_in_the_session_that_has_the_linker(firms: Connection, refused: Refused) -> None:
    firms.execute("ALTER TABLE firm ADD size text; SELECT pgembed.alter_linker('l', aliases => 'size')")
    assert ("Fabrikam", 1) in linked(firms, "filter => NULL")
    firms.execute("ALTER TABLE firm DROP COLUMN size CASCADE")
    statement = f"SELECT * FROM pgembed.link(NULL::firm, '{CONTENT}')"
    refused(firms, "55000", statement, message='the column "size" of table "firm", which is gone', hint="alter_linker('l'")


@pytest.mark.parametrize(
    "span", ["int4range(0, 3)", "int4range(3, 3)", "int4range(1, 35)", "int4range(2, NULL)", "NULL::int4range", "'(,)'"]
)
def test_places_outside_of_the_text_are_refused(firms: Connection, refused: Refused, span: str) -> None:
    statement = f"SELECT * FROM pgembed.link(NULL::firm, '{CONTENT}', spans => ARRAY[{span}]::int4range[])"
    refused(firms, "22023", statement, message="33 characters", hint="begins at 1")


@pytest.mark.parametrize("content", [None, "", " \n\t"])
@pytest.mark.parametrize("call", ["link(NULL::firm, %s)", "link_keys('l', %s)", "explain_link('l', %s)"])
def test_no_text_has_no_mentions(firms: Connection, content: str | None, call: str) -> None:
    assert firms.execute(f"SELECT * FROM pgembed.{call}", [content]).fetchall() == []  # type: ignore[arg-type]


CALLS = [
    ("link(NULL::firm, 'x', \"precision\" => 0)", "22023", "precision", "default"),
    ("link(NULL::firm, 'x', \"precision\" => 'NaN')", "22023", "precision", "default"),
    ("link(NULL::firm, 'x', filter => 'no_such')", "42703", "filter", "WHERE"),
    ("link(NULL::firm, 'x', filter => 'true) OR (true')", "42601", "filter", "WHERE"),
    ("link_keys(NULL, 'x')", "22004", "linker is NULL", "pgembed.linkers"),
    ("link_keys('none', 'x')", "42704", "none", "pgembed.linkers"),
    ("explain_link('l', 'x', k => 0)", "22023", "k must be", "3"),
    ("explain_link('l', 'x', 1)", "22004", "end_char", "both"),
    ("explain_link('l', 'x', 1, 5)", "22023", "1 characters", "begins at 1"),
    ("link(NULL::other, 'x', 'l')", "42809", "firm", "NULL::firm"),
    ("link(NULL::other, 'x')", "42704", "no linker", "create_linker"),
]


@pytest.mark.parametrize(("call", "sqlstate", "message", "hint"), CALLS, ids=[call for call, *_ in CALLS])
def test_bad_calls_are_told_with_a_hint(firms: Connection, refused: Refused, call: str, sqlstate: str, message: str, hint: str) -> None:
    firms.execute("CREATE TABLE other (id int PRIMARY KEY)")
    refused(firms, sqlstate, f"SELECT * FROM pgembed.{call}", message=message, hint=hint)


def test_a_filter_is_about_one_target(firms: Connection, refused: Refused) -> None:
    firms.execute("CREATE TABLE other (id int PRIMARY KEY, name text); SELECT pgembed.add_linker_target('l', 'other', names => 'name')")
    refused(firms, "0A000", "SELECT * FROM pgembed.link_keys('l', 'x', filter => 'true')", message="2 targets", hint="NULL::firm")
    assert ("Fabrikam", 1) in linked(firms, "filter => 'id < 3'")


def test_the_second_best_row_is_told(firms: Connection) -> None:
    (row,) = firms.execute(
        "SELECT (entity).id, (runner_up).id, mention_type FROM pgembed.link(NULL::firm, %s, spans => ARRAY[int4range(14, 21)])", [CONTENT]
    ).fetchall()
    assert {row[0], row[1]} <= {2, 3, None}
    assert row[2] == "name"


def test_keys_and_rows_are_the_same_links(firms: Connection) -> None:
    by_row = firms.execute(
        "SELECT mention, start_char, end_char, (entity).id::text, score, margin, decision, mention_type FROM pgembed.link(NULL::firm, %s)",
        [CONTENT],
    ).fetchall()
    by_key = firms.execute(
        "SELECT mention, start_char, end_char, entity_key, score, margin, decision, mention_type FROM pgembed.link_keys('l', %s)", [CONTENT]
    ).fetchall()
    assert by_row == by_key != []


def test_candidates_are_explained(firms: Connection) -> None:
    rows = firms.execute(
        "SELECT mention, rank, entity_table::text, entity_key, entity_name, evidence IS NOT NULL FROM pgembed.explain_link('l', %s, 1, 9)",
        [CONTENT],
    ).fetchall()
    assert rows[0] == ("Fabrikam", 1, "firm", "1", "Fabrikam", True)
    everywhere = firms.execute("SELECT DISTINCT mention FROM pgembed.explain_link('l', %s, k => 1)", [CONTENT]).fetchall()
    assert {mention for (mention,) in everywhere} >= {"Fabrikam", "Wingtip"}


def test_a_long_text_can_be_interrupted(firms: Connection) -> None:
    content = "They met Fabrikam and someone from Wingtip Toys in Berlin. " * 17_000  # a megabyte
    linked(firms, "NULL", content="x")
    stop = threading.Timer(0.3, firms.cancel)
    stop.start()
    began = time.monotonic()
    try:
        with pytest.raises(psycopg.errors.QueryCanceled), firms.transaction():
            linked(firms, "NULL", content=content)
    finally:
        stop.cancel()
    assert time.monotonic() - began < 10  # not a speed: without a look at cancels it is minutes
