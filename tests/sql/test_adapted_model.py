"""A model made of another one and of labels: what it gives is computed apart, and a column is changed to it."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import psycopg
import pytest
import shifted
from support import Connection, MakeRole, Notices, Refused

NOISE = [shifted.word(number) for number in range(6)]
TOPICS = [shifted.word(number) for number in range(6, shifted.WORDS)]
NAME = f"pgembed_adapted_{os.getpid()}"


@pytest.fixture(scope="module")
def database(server_url: str, installed_server: Any) -> Iterator[str]:
    """A clone with a model, and rows of a topic and of words that mean nothing, as queries have them."""
    chance = random.Random(3)

    def text(topic: str) -> str:
        return " ".join([topic, *chance.choices(NOISE, k=4)])

    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {NAME} TEMPLATE {installed_server.template_dbname}")
        with closing(psycopg.connect(server_url, dbname=NAME, autocommit=True)) as inside:
            shifted.register(inside.execute, "old")
            inside.execute("CREATE TABLE t (id int PRIMARY KEY, body text); CREATE TABLE pair (query text, key int)")
            rows = [(number, text(topic)) for number, topic in enumerate(TOPICS)]
            asked = [(text(topic), number) for number, topic in enumerate(TOPICS) for _ in range(3)]
            with inside.cursor() as cursor:
                cursor.executemany("INSERT INTO t VALUES (%s, %s)", rows)
                cursor.executemany("INSERT INTO pair VALUES (%s, %s)", asked)
            inside.execute("SELECT pgembed.add_embedding('t', 'body', 'old', sync => 'manual'); CALL pgembed.refresh('t')")
        yield NAME
        with closing(psycopg.connect(server_url, dbname=NAME, autocommit=True)) as inside:
            inside.execute("DROP TABLE t")
            shifted.forget(inside.execute)
        connection.execute(f"DROP DATABASE {NAME} WITH (FORCE)")


@pytest.fixture
def db(server_url: str, database: str, roles: list[str]) -> Iterator[Connection]:
    with closing(psycopg.connect(server_url, dbname=database, autocommit=True)) as connection:
        yield connection


def embed(db: Connection, text: str, model: str, role: str) -> Any:
    row = db.execute("SELECT pgembed.embed(%s, %s, %s)::text", [text, model, role]).fetchone()
    assert row is not None
    return np.array([float(part) for part in row[0].strip("[]").split(",")])


def stored(db: Connection, name: str) -> Any:
    row = db.execute("SELECT basis, basis_matrix, source FROM pgembed._model WHERE name = %s AND is_current", [name]).fetchone()
    assert row is not None
    assert (row[0], row[2]) == ("adapter", "old")
    return np.frombuffer(row[1], "<f4").reshape(16, 16).astype(float)


def unit(vector: Any) -> Any:
    return vector / np.linalg.norm(vector)


FIT = "SELECT * FROM pgembed.fit_adapter('t', 'pair', rank => 6, new_model => %s)"


def test_it_gives_what_the_matrix_says_and_a_column_is_changed_to_it(db: Connection, notices: Notices) -> None:
    gains = db.execute(FIT, ["mine"]).fetchall()
    assert [gain[0] for gain in gains] == ["recall@10", "MRR@10"]
    assert all(new > old + 0.1 for _, old, new, _, _ in gains)
    assert {gain[4] for gain in gains} == {True}
    assert "CALL pgembed.change_model('t', 'mine', 'embedding')" in (notices[-1].hint or "")
    # nothing has changed yet
    assert db.execute("SELECT count(*) FROM pgembed.adapters").fetchone() == (0,)
    matrix = stored(db, "mine")
    assert np.linalg.matrix_rank(matrix - np.eye(16), tol=1e-4) == 6
    for role in ("query", "document"):
        for text in (TOPICS[3], f"{TOPICS[5]} {NOISE[0]}"):
            assert np.abs(embed(db, text, "mine", role) - unit(matrix @ embed(db, text, "old", role))).max() < 1e-6
    marks = db.execute("SELECT count(DISTINCT fingerprint) FROM pgembed.models WHERE name IN ('mine', 'old')").fetchone()
    assert marks == (2,)
    db.execute("CALL pgembed.change_model('t', 'mine')")
    row = db.execute("SELECT bool_and((embedding <=> pgembed.embed(body, 'mine', 'document')) < 1e-6) FROM t").fetchone()
    assert row == (True,)
    # the gain is what searches have now
    asked = db.execute("SELECT query, key FROM pair").fetchall()

    def mean_rank() -> float:
        found = [
            db.execute("SELECT rank FROM pgembed.search(NULL::t, %s, k => 60) WHERE (item).id = %s", pair).fetchone() for pair in asked[::5]
        ]
        return float(np.mean([1 / row[0] for row in found if row is not None]))

    after = mean_rank()
    # another one after it: both are one matrix, of the model that has none
    db.execute("SELECT pgembed.finish_model_change('t')")
    more = db.execute(FIT.replace("6", "1"), ["more"]).fetchall()
    if more[0][4]:
        again = stored(db, "more")
        assert np.abs(embed(db, TOPICS[3], "more", "query") - unit(again @ embed(db, TOPICS[3], "old", "query"))).max() < 1e-6
    db.execute("CALL pgembed.change_model('t', 'old')")
    db.execute("SELECT pgembed.finish_model_change('t')")
    assert after > mean_rank() + 0.1


def test_only_a_superuser_makes_one_and_only_where_it_helps(
    db: Connection, refused: Refused, notices: Notices, make_role: MakeRole
) -> None:
    call = "SELECT pgembed.fit_adapter('t', 'pair', new_model => '{}')"
    refused(db, "42710", call.format("all-minilm-l6-v2"), message="is installed on this server", hint="another name")
    refused(db, "22023", call.format("No Name"), message="No Name")
    db.execute("BEGIN; CREATE TABLE same AS SELECT body AS query, id AS key FROM t")
    gains = db.execute("SELECT * FROM pgembed.fit_adapter('t', 'same', new_model => 'none')").fetchall()
    assert {gain[4] for gain in gains} == {False}
    assert "the model is not made" in notices[-1].message
    assert db.execute("SELECT FROM pgembed._model WHERE name = 'none'").fetchall() == []
    db.execute("ROLLBACK; BEGIN")
    role = make_role("alice", "NOSUPERUSER")
    db.execute(f"GRANT SELECT ON pair TO {role}; GRANT CREATE ON SCHEMA public TO {role}; ALTER TABLE t OWNER TO {role}")
    db.execute(f"SET LOCAL ROLE {role}")
    refused(db, "42501", call.format("mine"), message="must be superuser to register a model", hint="administrator")
    db.execute("ROLLBACK")
