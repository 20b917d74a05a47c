"""pgembed.models and set_default_model()."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg

Connection = psycopg.Connection[Any]


def test_models_lists_what_is_installed_with_its_facts(db: Connection) -> None:
    row = db.execute(
        "SELECT kind, dim, max_tokens, normalized, length(fingerprint), is_default FROM pgembed.models WHERE name = 'all-minilm-l6-v2'"
    ).fetchone()
    assert row == ("transformer", 384, 256, True, 64, True)


def test_exactly_one_model_is_the_default(db: Connection) -> None:
    assert db.execute("SELECT count(*) FROM pgembed.models WHERE is_default").fetchone() == (1,)


def test_default_model_is_the_one_that_was_set(db: Connection) -> None:
    db.execute("SELECT pgembed.set_default_model('all-minilm-l6-v2-int8')")
    assert db.execute("SELECT name FROM pgembed.models WHERE is_default").fetchall() == [("all-minilm-l6-v2-int8",)]
    same = db.execute("SELECT pgembed.embed('jacket') = pgembed.embed('jacket', 'all-minilm-l6-v2-int8')").fetchone()
    assert same == (True,)


def test_a_second_choice_of_default_replaces_the_first(db: Connection) -> None:
    db.execute("SELECT pgembed.set_default_model('all-minilm-l6-v2-int8')")
    db.execute("SELECT pgembed.set_default_model('all-minilm-l6-v2')")
    assert db.execute("SELECT name FROM pgembed.models WHERE is_default").fetchall() == [("all-minilm-l6-v2",)]


def test_unknown_model_cannot_become_the_default(db: Connection, refused: Callable[..., psycopg.Error]) -> None:
    refused(db, "42704", "SELECT pgembed.set_default_model('nobody')", message='model "nobody" does not exist', hint="all-minilm-l6-v2")
    assert db.execute("SELECT count(*) FROM pgembed._setting").fetchone() == (0,)


def test_null_cannot_become_the_default(db: Connection, refused: Callable[..., psycopg.Error]) -> None:
    refused(db, "22004", "SELECT pgembed.set_default_model(NULL)", hint="pgembed.models")


def test_default_model_does_not_change_the_model_of_a_column(db: Connection) -> None:
    db.execute("CREATE TABLE t (id int PRIMARY KEY, name text)")
    db.execute("SELECT pgembed.add_embedding('t', 'name')")
    db.execute("SELECT pgembed.set_default_model('all-minilm-l6-v2-int8')")
    assert db.execute("SELECT model FROM pgembed.embeddings").fetchone() == ("all-minilm-l6-v2",)
