"""What is read of the declared relations, as the linker's knowledge has it; read again it is what reading everything gives."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from pgembed.linkers import following, registered
from pgembed.linkers.following import Change
from pgembed.linkers.known import Known
from pgembed.psycopgdb import PsycopgDatabase

pytestmark = pytest.mark.one_transaction

Connection = psycopg.Connection[Any]
Said = set[tuple[str, str, str | None, str]]


@pytest.fixture
def graph(db: Connection) -> Connection:
    """Persons and cities, who lives where, and triples between persons."""
    db.execute(
        """
        CREATE TABLE city (id int PRIMARY KEY, name text, code text UNIQUE);
        CREATE TABLE person (id int PRIMARY KEY, name text, city_id int REFERENCES city, at_code text REFERENCES city (code), born date);
        CREATE TABLE triple (subject int REFERENCES person, predicate text, object int REFERENCES person, value text);
        CREATE TABLE lives (person_id int REFERENCES person, place int REFERENCES city);
        INSERT INTO city VALUES (1, 'Ulmstadt', 'u'), (2, 'Kelheim', 'k'), (3, NULL, 'n');
        INSERT INTO person VALUES (1, 'Ada', 1, 'k', '1980-02-03'), (2, 'Bo', NULL, NULL, NULL), (3, 'Cy', 3, 'u', NULL);
        INSERT INTO triple VALUES (1, 'marriedTo', 2, NULL), (2, 'shoe_size', NULL, '44'), (3, 'knows', 3, NULL), (3, NULL, 1, NULL);
        INSERT INTO lives VALUES (1, 2), (3, 1);
        """
    )
    return db


def declare(db: Connection, relations: list[Any]) -> None:
    db.execute("SELECT pgembed.create_linker('l', 'person', names => 'name', relations => %s::jsonb)", [json.dumps(relations)])


def known(db: Connection) -> Known:
    port = PsycopgDatabase(db)
    made = Known(registered.read(port, "l"))
    made.read(port)
    return made


def said(made: Known) -> Said:
    """The facts, by names: row, relation, the row that it leads to, text."""
    knowledge = made.knowledge()
    facts = knowledge.facts
    return {
        (knowledge.keys[row], knowledge.relations[relation], None if other < 0 else knowledge.keys[other], text)
        for row, relation, other, text in zip(facts.row, facts.relation, facts.other, facts.text, strict=True)
    }


TRIPLE = {"table": "triple", "from": "subject", "to": "object", "value": "value", "relation": "predicate"}
CASES = [
    ([{"column": "city_id", "names": "name"}], {("1:1", "city", None, "Ulmstadt")}),
    ([{"column": "at_code", "names": "upper(name)"}], {("1:1", "at code", None, "KELHEIM"), ("1:3", "at code", None, "ULMSTADT")}),
    ([{"column": "city_id", "names": "code", "relation": "home"}], {("1:1", "home", None, "u"), ("1:3", "home", None, "n")}),
    (["born"], {("1:1", "born", None, "1980-02-03")}),
    (
        [TRIPLE],
        {("1:1", "married to", "1:2", "Bo"), ("1:2", "shoe size", None, "44"), ("1:3", "knows", "1:3", "Cy")},
    ),
    ([{"table": "lives", "names": "name"}], {("1:1", "lives", None, "Kelheim"), ("1:3", "lives", None, "Ulmstadt")}),
    (
        [{"table": "lives", "names": "name", "label": "lives in"}],
        {("1:1", "lives in", None, "Kelheim"), ("1:3", "lives in", None, "Ulmstadt")},
    ),
    ([{"table": "triple", "from": "subject", "value": "value", "label": "number"}], {("1:2", "number", None, "44")}),
]


@pytest.mark.parametrize(("relations", "expected"), CASES, ids=[json.dumps(case[0]) for case in CASES])
def test_relations_are_facts(graph: Connection, relations: list[Any], expected: Said) -> None:
    declare(graph, relations)
    assert said(known(graph)) == expected


def test_a_relation_to_another_target_leads_to_its_rows(graph: Connection) -> None:
    graph.execute("SELECT pgembed.create_linker('l', 'city', names => 'name')")
    graph.execute("SELECT pgembed.add_linker_target('l', 'person', names => 'name', relations => '[\"city_id\", \"lives\"]')")
    assert said(known(graph)) == {
        ("2:1", "city", "1:1", "Ulmstadt"),
        ("2:3", "city", "1:3", ""),
        ("2:1", "lives", "1:2", "Kelheim"),
        ("2:3", "lives", "1:1", "Ulmstadt"),
    }


def test_a_composite_foreign_key_is_followed(db: Connection) -> None:
    db.execute("CREATE TABLE room (house text, number int, name text, PRIMARY KEY (house, number))")
    db.execute("CREATE TABLE guest (id int PRIMARY KEY, name text, house text, room int, FOREIGN KEY (house, room) REFERENCES room)")
    db.execute("INSERT INTO room VALUES ('a', 1, 'Blue Room'); INSERT INTO guest VALUES (7, 'Ada', 'a', 1)")
    db.execute(
        "SELECT pgembed.create_linker('l', 'guest', names => 'name', relations => %s)", ['[{"column": "house, room", "names": "name"}]']
    )
    assert said(known(db)) == {("1:7", "house room", None, "Blue Room")}


CHANGES = [
    "UPDATE city SET name = 'Regen' WHERE id = 1",
    "UPDATE person SET city_id = 2 WHERE id = 2",
    "UPDATE person SET name = 'Dee' WHERE id = 2",
    "INSERT INTO triple VALUES (2, 'knows', 1, NULL); DELETE FROM triple WHERE subject = 1",
    "UPDATE triple SET subject = 2 WHERE subject = 3",
    "INSERT INTO person VALUES (4, 'Eve', 1, NULL, NULL); INSERT INTO triple VALUES (4, 'knows', 2, NULL)",
    "DELETE FROM triple; DELETE FROM lives; DELETE FROM person WHERE id = 2",
]


@pytest.mark.parametrize("change", CHANGES)
def test_changed_rows_read_again_are_as_if_all_were_read(graph: Connection, change: str) -> None:
    declare(graph, [{"column": "city_id", "names": "name"}, TRIPLE, {"table": "lives", "names": "name"}])
    made = known(graph)
    before = said(made)
    graph.execute("DELETE FROM pgembed._linker_change")
    graph.execute(change)  # type: ignore[arg-type]
    noted = graph.execute("SELECT table_oid, columns, noted::text FROM pgembed._linker_change ORDER BY id").fetchall()
    changes = [Change(oid, tuple(columns), tuple(tuple(values) for values in json.loads(rows)), None) for oid, columns, rows in noted]
    port = PsycopgDatabase(graph)
    again = following.affected(port, made.line, changes)
    assert again is not None
    made.read(port, again)
    fresh = known(graph)
    assert said(made) == said(fresh) != before
    allowed = made.allowed()
    there = {key for row, key in enumerate(made.knowledge().keys) if allowed is None or allowed[row]}
    assert there == set(fresh.knowledge().keys)


def test_types_and_context_are_read(graph: Connection) -> None:
    graph.execute(
        "SELECT pgembed.create_linker('l', 'person', names => 'name', types => $$ARRAY['person', NULL, 'human']$$,"
        " context => $$'born ' || born$$, aliases => $$'Lady ' || name$$)"
    )
    knowledge = known(graph).knowledge()
    assert knowledge.names == ["Ada", "Bo", "Cy"]
    assert knowledge.types == [("person", "human")] * 3
    assert knowledge.aliases == [("Lady Ada",), ("Lady Bo",), ("Lady Cy",)]
    assert knowledge.context == ["born 1980-02-03", None, None]


def test_a_source_text_is_the_context_of_an_embedded_column(graph: Connection) -> None:
    graph.execute("SELECT pgembed.add_embedding('person', $$ name || ' was born ' || born $$, sync => 'manual')")
    graph.execute("SELECT pgembed.create_linker('l', 'person', names => 'name', context => 'embedding')")
    assert known(graph).knowledge().context == ["Ada was born 1980-02-03", None, None]
