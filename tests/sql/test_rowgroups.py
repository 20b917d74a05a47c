"""classify, topics, topic_rows and deduplicate on a real server: keys, rights, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from support import AsRole, Connection, MakeRole, Notices, Refused

pytestmark = pytest.mark.one_transaction

NOTES = {
    1: "the goalkeeper saved a penalty in the football match",
    2: "parliament votes on the new budget",
    3: "the tennis player won the final set",
    4: "the minister resigned after the election",
    5: "The goalkeper saved a penalty in the football match!",
    6: None,
    7: "rain and storms over the coast tomorrow",
    8: "sunny weather with a light breeze",
    9: "The minister resigned, after the ELECTION",
}
LABELS = '{"sport": ["football", "tennis"], "politics": "elections, parties and governments", "weather": ["rain", "sun", "storm"]}'


@pytest.fixture
def note(db: Connection) -> Connection:
    """Nine notes of three kinds, one without text, two of them twice; embedded."""
    db.execute("CREATE TABLE note (id int PRIMARY KEY, body text, city text, likes int)")
    for key, body in NOTES.items():
        db.execute("INSERT INTO note VALUES (%s, %s, %s, %s)", [key, body, "Rome" if key < 5 else "Oslo", key])
    db.execute("SELECT pgembed.add_embedding('note', 'body', sync => 'manual')")
    db.execute("UPDATE note SET embedding = pgembed.embed(body, role => 'document') WHERE body IS NOT NULL")
    return db


def rows(db: Connection, call: str) -> list[Any]:
    return db.execute(f"SELECT * FROM pgembed.{call}").fetchall()


def test_classify_by_words_and_sentences(note: Connection) -> None:
    got = {key: (label, sure) for key, label, _, _, _, _, sure in rows(note, f"classify('note', '{LABELS}')")}
    kinds = {"1": "sport", "3": "sport", "5": "sport", "2": "politics", "4": "politics", "9": "politics", "7": "weather", "8": "weather"}
    assert got == {key: (label, True) for key, label in kinds.items()}
    plain = rows(note, "classify('note', '[\"sport\", \"politics\"]', 'body')")
    assert {(key, label) for key, label, *_ in plain} >= {("1", "sport"), ("2", "politics"), ("3", "sport")}
    assert {second for *_, second, _ in plain} == {"sport", "politics"}


@pytest.mark.parametrize(
    ("arguments", "sqlstate", "message"),
    [
        ("'note', '[\"one\"]'", "22023", "1 labels"),
        ("'note', '7'", "22023", "labels must be a JSON object"),
        ('\'note\', \'{"a": [], "b": "x"}\'', "22023", 'label "a" must have'),
        ('\'note\', \'{"a": " ", "b": "x"}\'', "22023", 'label "a" must have'),
        ("'note', NULL", "22004", "labels is NULL"),
        (f"'note', '{LABELS}', 'likes'", "42804", "is of type int4"),
        (f"'note', '{LABELS}', 'nothing'", "42703", "does not exist"),
        (f"'bare', '{LABELS}', 'x'", "42P16", "no primary key"),
        (f"'shape', '{LABELS}'", "0A000", "model"),
    ],
)
def test_what_cannot_be_classified(note: Connection, refused: Refused, arguments: str, sqlstate: str, message: str) -> None:
    note.execute(
        "CREATE TABLE bare (x text); CREATE TABLE shape (id int PRIMARY KEY, e vector(3)); INSERT INTO shape VALUES (1, '[1,2,3]')"
    )
    note.execute("SELECT pgembed.adopt_embedding('shape', 'e')")
    refused(note, sqlstate, f"SELECT * FROM pgembed.classify({arguments})", message=message)


def test_topics_and_their_rows_agree(note: Connection) -> None:
    told = rows(note, "topics('note', n => 3)")
    assert [topic for topic, *_ in told] == [1, 2, 3]
    assert {"goalkeeper", "election"} <= {word for _, _, words, _ in told for word in words}
    members: dict[int, set[str]] = {}
    for key, topic, score, margin in rows(note, "topic_rows('note', n => 3)"):
        members.setdefault(topic, set()).add(key)
        assert -1 <= score <= 1
        assert margin >= 0
    assert [len(members[topic]) for topic in (1, 2, 3)] == sorted((size for _, size, _, _ in told), reverse=True)
    assert all(len(one & {"1", "5"}) in (0, 2) and len(one & {"4", "9"}) in (0, 2) for one in members.values())
    assert all(set(keys) <= members[topic] for topic, _, _, keys in told)
    assert rows(note, "topics('note', n => 3)") == told
    by_city = rows(note, "topics('note', n => 3, words_from => '{city}')")
    assert {word for _, _, words, _ in by_city for word in words} <= {"rome", "oslo"}


def test_topics_of_nothing_and_wrong_numbers(note: Connection, refused: Refused) -> None:
    note.execute("UPDATE note SET embedding = NULL")
    assert rows(note, "topics('note')") == []
    assert rows(note, "topic_rows('note')") == []
    refused(note, "22023", "SELECT * FROM pgembed.topics('note', n => 0)", message="n must be at least 1")
    refused(note, "22023", "SELECT * FROM pgembed.topics('note', seed => -1)", message="seed")
    refused(note, "42703", "SELECT * FROM pgembed.topics('note', words_from => '{nope}')", message='"nope"')


def test_deduplicate_names_clusters_by_their_first_key(note: Connection, notices: Notices) -> None:
    note.execute("SET client_min_messages = notice")
    found = [(key, cluster, size) for key, cluster, size, _, _ in rows(note, "deduplicate('note')")]
    assert found == [("1", "1", 2), ("5", "1", 2), ("4", "4", 2), ("9", "4", 2)]
    assert [notice for notice in notices if "duplicates" in notice.message]
    note.execute("INSERT INTO note VALUES (10, 'the MINISTER resigned after the election'), (11, 'quite another thing')")
    again = [(key, cluster, size) for key, cluster, size, _, _ in rows(note, "deduplicate('note')")]
    assert again == [("1", "1", 2), ("5", "1", 2), ("4", "4", 3), ("9", "4", 3), ("10", "4", 3)]
    chosen = [key for key, _, _, similarity, first in rows(note, "deduplicate('note')") if first and similarity == 1]
    assert chosen == ["1", "4"]


def test_deduplicate_within_columns_and_by_attributes(note: Connection) -> None:
    assert rows(note, "deduplicate('note', within => '{city}')") == []
    assert rows(note, "deduplicate('note', attributes => '[\"body\", \"likes\"]')") == []
    note.execute("UPDATE note SET likes = 0, city = NULL")
    assert len(rows(note, "deduplicate('note', attributes => '[\"body\", \"likes\"]', within => '{city}')")) == 4


def test_deduplicate_obeys_labels(note: Connection) -> None:
    note.execute("CREATE TABLE known (left_key text, right_key text, is_match boolean)")
    note.execute("INSERT INTO known VALUES ('1', '5', false), ('7', '8', true), ('99', '1', true), ('2', '3', NULL)")
    found = {(key, cluster) for key, cluster, *_ in rows(note, "deduplicate('note', labels => 'known')")}
    assert found == {("7", "7"), ("8", "7"), ("4", "4"), ("9", "4")}


def test_composite_keys(db: Connection) -> None:
    db.execute("CREATE TABLE part (a int, b text, name text, PRIMARY KEY (a, b))")
    db.execute("INSERT INTO part VALUES (2, 'x', 'a small blue box'), (10, 'y', 'a small blue BOX'), (3, 'z', 'something else')")
    assert [line[:2] for line in rows(db, "deduplicate('part', 'name')")] == [('[2, "x"]', '[2, "x"]'), ('[10, "y"]', '[2, "x"]')]


@pytest.mark.parametrize(
    ("arguments", "sqlstate", "message"),
    [
        ("'note', \"precision\" => 1", "22023", "precision must be between"),
        ("'note', attributes => '{}'", "22023", "attributes must be"),
        ("'note', 'body', attributes => '[\"body\"]'", "22023", "without column_name"),
        ("'note', within => '{nope}'", "42703", '"nope"'),
        ("'note', labels => 'note'", "42703", '"left_key"'),
    ],
)
def test_what_cannot_be_deduplicated(note: Connection, refused: Refused, arguments: str, sqlstate: str, message: str) -> None:
    refused(note, sqlstate, f"SELECT * FROM pgembed.deduplicate({arguments})", message=message)


def test_callers_see_what_they_may(note: Connection, as_role: AsRole, make_role: MakeRole, refused: Refused) -> None:
    role = make_role("reader")
    note.execute(f"GRANT SELECT (id, embedding) ON note TO {role}")
    with as_role(note, role):
        assert len(rows(note, f"classify('note', '{LABELS}')")) == 8
        assert len(rows(note, "topic_rows('note', n => 2)")) == 8
        refused(note, "42501", "SELECT * FROM pgembed.classify('note', '[\"a\", \"b\"]', 'body')", message="permission denied")
    note.execute(f"GRANT SELECT ON note TO {role}")
    note.execute(f"ALTER TABLE note ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON note TO {role} USING (id < 9)")
    with as_role(note, role):
        assert [line[0] for line in rows(note, "deduplicate('note')")] == ["1", "5"]
        assert len(rows(note, "topic_rows('note', n => 2)")) == 7
