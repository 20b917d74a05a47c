"""create_link_labels and train_linker on a real server. What is learned is tested in tests/unit/linking."""

from __future__ import annotations

import threading
from typing import Any

import labelled
import psycopg
import pytest
from support import AsRole, Connect, Connection, MakeRole, Notices, Refused, wait_until

pytestmark = pytest.mark.one_transaction

TRAIN = "CALL pgembed.train_linker('things', 'label')"


@pytest.fixture
def things(db: Connection) -> Connection:
    labelled.make(db)
    return db


def said(notices: Notices, part: str) -> list[str]:
    return [notice.message for notice in notices if part in notice.message]


def trained(db: Connection) -> tuple[Any, ...]:
    """Revision, number of labels and model of the linker."""
    row = db.execute(
        "SELECT l.revision, m.revision, m.labels, m.model FROM pgembed._linker AS l"
        " LEFT JOIN pgembed._linker_model AS m ON m.linker = l.name"
        " WHERE l.name = 'things'"
    ).fetchone()
    assert row is not None
    return row


def test_a_table_of_labels_is_the_callers_own_and_refuses_wrong_places(things: Connection, refused: Refused) -> None:
    for values in ("('Paris', 0, 3, '1')", "('Paris', 3, 3, '1')", "('Paris', 1, 7, '1')"):
        with pytest.raises(psycopg.errors.CheckViolation):
            things.execute(f"INSERT INTO label (content, start_char, end_char, entity_key) VALUES {values}")
    assert things.execute("SELECT DISTINCT labelled_by = current_user FROM label").fetchall() == [(True,)]
    assert things.execute("SELECT obj_description('label'::regclass)").fetchone() == (
        "labels of the linker things: which row of thing a place in a text means; no key says that it means none",
    )
    refused(things, "42710", "SELECT pgembed.create_link_labels('label', 'things')")
    refused(things, "42704", "SELECT pgembed.create_link_labels('other', 'nobody')", hint="pgembed.linkers")
    refused(things, "22004", "SELECT pgembed.create_link_labels(NULL, 'things')")
    # a table of that name elsewhere in the path is in nobody's way, as for CREATE TABLE
    things.execute("CREATE SCHEMA own; SET LOCAL search_path = own, public")
    things.execute("SELECT pgembed.create_link_labels('label', 'things')")
    assert things.execute("SELECT to_regclass('own.label') IS NOT NULL").fetchone() == (True,)


def test_training_stores_a_model_raises_the_revision_and_tells(things: Connection, notices: Notices) -> None:
    before = trained(things)
    assert before[3] is None
    things.execute(TRAIN)
    revision, of_model, labels, model = trained(things)
    assert (revision, of_model, labels) == (before[0] + 1, before[0] + 1, 56)
    assert model
    assert said(notices, "linker things has learned from 56 labels in 56 texts")
    summary = things.execute("SELECT summary FROM pgembed._linker_model WHERE linker = 'things'").fetchone()
    assert summary is not None
    assert summary[0]["seed"] == 0
    assert summary[0]["texts"] == 56
    # the session's own linker is the trained one at once
    things.execute("CREATE TABLE note (id int PRIMARY KEY, body text); INSERT INTO note VALUES (1, 'We drove to Paris.')")
    things.execute("CALL pgembed.link_table('things', 'note', 'body', 'note_link')")
    assert things.execute("SELECT DISTINCT linker_revision FROM note_link").fetchall() == [(revision,)]


def test_the_same_labels_and_seed_give_the_same_model(things: Connection) -> None:
    models = []
    for seed in (0, 0, 1):
        things.execute(TRAIN.replace("')", f"', seed => {seed})"))
        models.append(bytes(trained(things)[3]))
    assert models[0] == models[1]
    assert models[0] != models[2]


def test_what_is_wrong_with_labels_is_counted_and_left_out(things: Connection, notices: Notices) -> None:
    things.execute(
        "CREATE VIEW odd AS SELECT content, start_char, end_char, entity_key FROM label UNION ALL"
        " VALUES (NULL, 1, 2, '1'), ('', 1, 2, '1'),"
        " ('Paris', 1, 7, '0'), ('Paris', NULL, 3, '0'), ('Paris', 1, 6, '999'), ('Austin', 1, 7, '2'), ('Austin', 1, 7, '102')"
    )
    things.execute(TRAIN.replace("'label'", "'odd'"))
    (told,) = said(notices, "left out")
    assert told == (
        "labels of things that are left out: 2 without a text; 2 of no place in their text; 1 with the key of a row that is not there;"
        " 2 that contradict others of the same place"
    )
    assert trained(things)[2] == 56


@pytest.mark.parametrize(
    ("labels", "sqlstate", "told"),
    [
        ("(content text, start_char int, end_char int)", "42703", 'no column "entity_key"'),
        ("(content text, start_char text, end_char int, entity_key text)", "42804", "is of type text, not integer"),
        ("(content text, start_char int, end_char int, entity_key int)", "22023", "no labels to train"),
    ],
)
def test_what_are_no_labels_is_refused(things: Connection, refused: Refused, labels: str, sqlstate: str, told: str) -> None:
    things.execute(f"CREATE TABLE other {labels}")
    refused(things, sqlstate, TRAIN.replace("'label'", "'other'"), message=told)
    assert trained(things)[3] is None


def test_bad_calls_say_what_is_wrong(things: Connection, refused: Refused) -> None:
    refused(things, "42704", "CALL pgembed.train_linker('nobody', 'label')", hint="pgembed.linkers")
    refused(things, "22004", "CALL pgembed.train_linker(NULL, 'label')")
    refused(things, "22023", "CALL pgembed.train_linker('things')", hint="pgembed.create_link_labels()")
    refused(things, "22023", TRAIN.replace("')", "', seed => -1)"), message="seed")


def test_only_the_owner_trains_and_needs_to_read_the_labels(
    things: Connection, make_role: MakeRole, as_role: AsRole, refused: Refused
) -> None:
    owner, other = make_role("train_owner"), make_role("train_other")
    things.execute(f"GRANT SELECT ON thing, label TO {other}")
    with as_role(things, other):
        refused(things, "42501", TRAIN, message="must be owner")
    things.execute(f"CREATE SCHEMA own AUTHORIZATION {owner}")
    with as_role(things, owner):
        things.execute("CREATE TABLE own.town (id int PRIMARY KEY, name text); INSERT INTO own.town VALUES (1, 'Ulm')")
        things.execute("SELECT pgembed.create_linker('towns', 'own.town', names => 'name')")
        refused(things, "42501", "CALL pgembed.train_linker('towns', 'label')", hint=None)


def test_corrections_are_learned_from_and_count_for_more(things: Connection, notices: Notices) -> None:
    things.execute("CREATE TABLE note (id int PRIMARY KEY, body text)")
    things.execute("INSERT INTO note SELECT id, content FROM label")
    things.execute("INSERT INTO note VALUES (1000, 'Old words about Paris.')")
    things.execute("CALL pgembed.link_table('things', 'note', 'body', 'note_link')")
    first = things.execute("SELECT id, start_char, end_char FROM label ORDER BY id LIMIT 1").fetchone()
    assert first is not None
    things.execute("SELECT pgembed.correct_link('note_link', %s, %s, %s, '100')", [str(first[0]), *first[1:]])
    things.execute("SELECT pgembed.correct_link('note_link', '1000', 17, 22)")
    things.execute("UPDATE note SET body = 'other words' WHERE id = 1000")
    things.execute(TRAIN)
    assert said(notices, "has learned from 56 labels in 56 texts, 1 of them corrections")
    assert said(notices, "left out: 1 corrections of words that are not there any more")
    # corrections alone are enough, and it is said how little they are
    others = "SELECT pgembed.correct_link('note_link', id::text, start_char, end_char, entity_key) FROM label WHERE id BETWEEN 2 AND 9"
    things.execute(others)
    things.execute("CALL pgembed.train_linker('things')")
    assert said(notices, "9 labels say little")
    assert trained(things)[2] == 9


def test_too_few_labels_are_refused_and_nothing_else_is_said(things: Connection, notices: Notices, refused: Refused) -> None:
    things.execute("CREATE VIEW few AS SELECT * FROM label WHERE id < 4")
    refused(things, "22023", "CALL pgembed.train_linker('things', 'few')", hint="Label more mentions")
    assert not said(notices, "say little")


def test_labels_of_several_tables_say_which(things: Connection, notices: Notices) -> None:
    things.execute("CREATE TABLE river (id int PRIMARY KEY, name text); INSERT INTO river VALUES (1, 'Paris'), (50, 'Danube')")
    things.execute("SELECT pgembed.add_linker_target('things', 'river', names => 'name')")
    things.execute("SELECT pgembed.create_link_labels('three', 'things')")
    insert = "INSERT INTO three (content, start_char, end_char, entity_key, entity_table)"
    things.execute(f"{insert} SELECT content, start_char, end_char, entity_key, 'thing' FROM label")
    things.execute(
        f"{insert} VALUES ('Danube', 1, 7, '50', 'river'),"
        " ('The Danube', 5, 11, '50', NULL), ('Danube!', 1, 7, '1', NULL),"
        " ('Danube?', 1, 7, '50', 'label'), ('Paris?', 1, 6, '50', 'thing')"
    )
    things.execute(TRAIN.replace("'label'", "'three'"))
    (told,) = said(notices, "left out")
    # a key of two tables, and a table that is no target; a key of another table
    assert "2 of a table that is no target" in told
    assert "1 with the key of a row that is not there" in told
    assert trained(things)[2] == 58


@pytest.mark.own_database
def test_training_is_seen_by_others_and_stopped_by_a_cancel(things: Connection, connect: Connect) -> None:
    other = connect(things)
    errors: list[psycopg.Error] = []
    pid = things.info.backend_pid

    def run() -> None:
        try:
            for seed in range(1000):
                things.execute(TRAIN.replace("')", f"', seed => {seed})"))
        except psycopg.Error as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: other.execute("SELECT what, target FROM pgembed.progress").fetchall() == [("train_linker", "things")])
    wait_until(lambda: other.execute("SELECT pg_cancel_backend(%s)", [pid]).fetchone() == (True,) and not thread.is_alive())
    thread.join()
    assert [error.sqlstate for error in errors] == ["57014"]
    assert other.execute("SELECT count(*) FROM pgembed.progress").fetchone() == (0,)
