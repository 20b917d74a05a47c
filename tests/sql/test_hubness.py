"""hubness(): one number a row by key, checked against arithmetic in SQL."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

pytestmark = pytest.mark.one_transaction

Connection = psycopg.Connection[Any]


@pytest.fixture
def things(db: Connection) -> Connection:
    db.execute("CREATE TABLE thing (id int PRIMARY KEY, name text, embedding vector(3))")
    db.execute(
        "INSERT INTO thing VALUES (1, 'a', '[1,0,0]'), (2, 'b', '[0.9,0.1,0]'), (3, 'c', '[0,1,0]'), (4, 'd', NULL), (5, 'e', '[0,0,0]')"
    )
    db.execute("SELECT pgembed.adopt_embedding('thing', 'embedding')")
    db.execute("CREATE TABLE asked (q vector(3))")
    db.execute("INSERT INTO asked VALUES ('[1,0.2,0]'), ('[0.8,0,0.1]'), ('[1,1,1]')")
    return db


def found(db: Connection, options: str = "") -> dict[str, float | None]:
    return dict(db.execute(f"SELECT key, hubness FROM pgembed.hubness('thing'{options})").fetchall())  # type: ignore[arg-type]


def test_csls_is_the_mean_similarity_of_the_nearest_queries(things: Connection) -> None:
    expected = dict(
        things.execute(
            "SELECT t.id::text, avg(1 - (t.embedding <=> q)) FROM thing AS t, asked WHERE id IN (1, 2, 3) GROUP BY t.id"
        ).fetchall()
    )
    got = found(things, ", queries => 'asked', queries_column => 'q'")
    assert got.pop("5") is None
    assert got == pytest.approx(expected)


def test_without_queries_the_rows_ask_and_none_for_itself(things: Connection) -> None:
    expected = dict(
        things.execute(
            "SELECT t.id::text, avg(1 - (t.embedding <=> o.embedding)) FROM thing AS t JOIN thing AS o ON o.id <> t.id"
            " WHERE t.id IN (1, 2, 3) AND o.id IN (1, 2, 3) GROUP BY t.id"
        ).fetchall()
    )
    assert found(things) == pytest.approx({**expected, "5": None})


def test_qb_norm_is_negative_for_a_row_that_is_no_querys_nearest(things: Connection) -> None:
    expected = dict(
        things.execute(
            "SELECT t.id::text, sum(exp(20 * (-(t.embedding <=> q)))) FROM thing AS t, asked WHERE id IN (1, 2, 3) GROUP BY t.id"
        ).fetchall()
    )
    got = found(things, ", queries => 'asked', queries_column => 'q', method => 'qb_norm'")
    nearest = {
        row[0]
        for row in things.execute(
            "SELECT (SELECT id::text FROM thing WHERE id IN (1, 2, 3) ORDER BY embedding <=> q LIMIT 1) FROM asked"
        ).fetchall()
    }
    assert 0 < len(nearest) < 3
    for key, total in expected.items():
        assert got[key] == pytest.approx(total if key in nearest else -total, rel=1e-5)


def test_a_column_can_keep_it(things: Connection) -> None:
    things.execute("ALTER TABLE thing ADD COLUMN hub float8")
    things.execute("UPDATE thing AS t SET hub = h.hubness FROM pgembed.hubness('thing') AS h WHERE t.id::text = h.key")
    assert things.execute("SELECT count(hub) FROM thing").fetchone() == (3,)


def test_an_empty_column_gives_nothing(things: Connection) -> None:
    things.execute("UPDATE thing SET embedding = NULL")
    assert found(things) == {}


@pytest.mark.parametrize(
    ("options", "state"),
    [
        (", method => 'none'", "22023"),
        (", method => NULL", "22023"),
        (", column_name => 'name'", "42704"),
        (", queries => 'asked'", "22004"),
        (", queries => 'asked', queries_column => 'no_such'", "42703"),
    ],
)
def test_bad_input_is_refused(things: Connection, options: str, state: str) -> None:
    with pytest.raises(psycopg.Error) as caught:
        found(things, options)
    assert caught.value.sqlstate == state
    assert caught.value.diag.message_hint


def test_a_table_without_a_key_is_refused(things: Connection) -> None:
    things.execute("ALTER TABLE thing DROP CONSTRAINT thing_pkey")
    with pytest.raises(psycopg.Error) as caught:
        found(things)
    assert caught.value.diag.message_hint


def test_another_metric_is_refused(things: Connection) -> None:
    things.execute("SELECT pgembed.alter_embedding('thing', 'embedding', metric => 'l2')")
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        found(things)
