"""pgembed.models and set_default_model()."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support import AsRole, Connection, MakeRole, Refused

from pgembed import models

pytestmark = pytest.mark.one_transaction

BASE = "all-minilm-l6-v2"


@pytest.fixture
def spoilt() -> Iterator[str]:
    """Name of a model among the server's installed ones of which a file is gone."""
    place = models.models_dir() / f"spoilt-{id(object())}"
    try:
        shutil.copytree(models.models_dir() / BASE, place, symlinks=True, ignore=shutil.ignore_patterns("tokenizer.json", "*.data"))
    except PermissionError:
        pytest.skip("the installed models belong to somebody else")
    yield place.name
    shutil.rmtree(place)


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


def test_unknown_model_cannot_become_the_default(db: Connection, refused: Refused) -> None:
    refused(db, "42704", "SELECT pgembed.set_default_model('nobody')", message='model "nobody" does not exist', hint="all-minilm-l6-v2")
    assert db.execute("SELECT count(*) FROM pgembed._setting").fetchone() == (0,)


def test_null_cannot_become_the_default(db: Connection, refused: Refused) -> None:
    refused(db, "22004", "SELECT pgembed.set_default_model(NULL)", hint="pgembed.models")


def test_default_model_does_not_change_the_model_of_a_column(db: Connection) -> None:
    db.execute("CREATE TABLE t (id int PRIMARY KEY, name text)")
    db.execute("SELECT pgembed.add_embedding('t', 'name')")
    db.execute("SELECT pgembed.set_default_model('all-minilm-l6-v2-int8')")
    assert db.execute("SELECT model FROM pgembed._embedding").fetchone() == ("all-minilm-l6-v2",)


def test_embedded_columns_are_counted(db: Connection) -> None:
    db.execute("CREATE TABLE t (id int PRIMARY KEY, a text, b text)")
    db.execute("SELECT pgembed.add_embedding('t', 'a', column_name => 'e'), pgembed.add_embedding('t', 'b', column_name => 'f')")
    counts = "SELECT name, columns FROM pgembed.models WHERE columns > 0"
    assert db.execute(counts).fetchall() == [(BASE, 2)]
    # nothing is counted that is gone, also where the event trigger is switched off
    db.execute("ALTER EVENT TRIGGER pgembed_after_drop DISABLE; DROP TABLE t")
    assert db.execute(counts).fetchall() == []


def test_a_damaged_model_is_listed_with_its_problem_beside_the_others(db: Connection, spoilt: str, refused: Refused) -> None:
    name, dim, problem = db.execute("SELECT name, dim, problem FROM pgembed.models WHERE problem IS NOT NULL").fetchall()[0]
    assert (name, dim) == (spoilt, None)
    assert "does not exist" in problem
    assert db.execute(f"SELECT dim, problem FROM pgembed.models WHERE name = '{BASE}'").fetchone() == (384, None)
    refused(db, "58P01", f"SELECT pgembed.embed('a', '{spoilt}')", message="does not exist", hint="Install")


def test_a_model_that_a_column_needs_and_nobody_has_is_listed(db: Connection) -> None:
    db.execute("CREATE TABLE t (id int PRIMARY KEY, a text)")
    db.execute("SELECT pgembed.add_embedding('t', 'a')")
    db.execute("UPDATE pgembed._embedding SET model = 'gone'")
    db.execute(
        f"INSERT INTO pgembed._embedding (table_name, column_name, model, fingerprint) SELECT 'pg_class', 'x', '{BASE}', repeat('0', 64)"
    )
    listed = "SELECT name, left(fingerprint, 4), columns, problem FROM pgembed.models WHERE problem IS NOT NULL ORDER BY 1"
    lines = db.execute(listed).fetchall()
    assert [(name, columns) for name, _, columns, _ in lines] == [(BASE, 1), ("gone", 1)]
    assert "expected 000000000000" in lines[0][3]
    assert 'model "gone" does not exist' in lines[1][3]


def test_everybody_sees_the_models(db: Connection, make_role: Callable[..., str], as_role: Callable[..., Any]) -> None:
    with as_role(db, make_role("dora")):
        assert db.execute(f"SELECT is_default FROM pgembed.models WHERE name = '{BASE}'").fetchone() == (True,)


def test_threads_are_an_administrators_choice(db: Connection, refused: Refused, make_role: MakeRole, as_role: AsRole) -> None:
    used = "SELECT pgembed.embed('warm') IS NOT NULL, pg_temp.threads()"
    db.execute(
        "CREATE FUNCTION pg_temp.threads() RETURNS int LANGUAGE plpython3u"
        " AS 'from pgembed.models import threads; return threads.thread_count()'"
    )
    default = db.execute(used).fetchone()
    db.execute("SELECT pgembed.set_threads(5)")
    assert db.execute(used).fetchone() == (True, 5)
    with as_role(db, make_role("alice")):
        refused(db, "42501", "SELECT pgembed.set_threads(1)", hint=None)
    for wrong in (0, -1, 100_000):
        refused(db, "22023", "SELECT pgembed.set_threads(%s)", [wrong], message=f"not {wrong}", hint="NULL is the default")
    db.execute("SELECT pgembed.set_threads(NULL)")
    assert db.execute(used).fetchone() == default
