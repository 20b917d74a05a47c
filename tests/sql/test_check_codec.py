"""check_codec and pgembed.codecs: when a codec no longer fits its column, and what there is to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import psycopg
import pytest
from support import AsRole, Connection, MakeRole, Refused

pytestmark = pytest.mark.one_transaction

DIM = 48


def insert(db: Connection, first: int, vectors: Any) -> None:
    with db.cursor().copy("COPY t FROM STDIN") as copy:
        for at, vector in enumerate(vectors.tolist(), first):
            copy.write_row((at, str(vector)))


@pytest.fixture
def trained(db: Connection) -> Connection:
    """A thermometer on 1500 rows around the origin."""
    db.execute(f"CREATE TABLE t (id int PRIMARY KEY, e vector({DIM}))")
    insert(db, 0, np.random.default_rng(1).standard_normal((1500, DIM)))
    db.execute("SELECT pgembed.adopt_embedding('t', 'e', metric => 'l2')")
    db.execute("SELECT pgembed.train_codec('t_code', 't', 'thermometer')")
    db.execute("ANALYZE t")
    return db


def check(db: Connection, name: str = "t_code") -> dict[str, Any]:
    with db.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        (found,) = cursor.execute("SELECT * FROM pgembed.check_codec(%s)", [name]).fetchall()
    return found


def seen(db: Connection, columns: str) -> Any:
    return db.execute(f"SELECT {columns} FROM pgembed.codecs WHERE name = 't_code'").fetchone()  # type: ignore[arg-type]


def test_nothing_has_changed(trained: Connection) -> None:
    assert seen(trained, "checked_at, recall_100_now, needs_retraining, retrain_reason") == (None, None, False, None)
    found = check(trained)
    assert found["recall_100_now"] == found["recall_100_then"] == pytest.approx(found["recall_100_retrained"], abs=1e-4)
    assert (found["rows_then"], found["rows_now"], found["needs_retraining"], found["reason"]) == (1500, 1500, False, None)
    now = seen(trained, "recall_100_now, recall_100, needs_retraining, retrain_reason, checked_at IS NOT NULL, rows_now")
    assert now == (found["recall_100_now"], found["recall_100_now"], False, None, True, 1500)


def test_vectors_that_lie_elsewhere_need_a_new_codec(trained: Connection) -> None:
    # beyond all thresholds, so that all codes are nearly the same
    trained.execute("DELETE FROM t")
    insert(trained, 0, np.random.default_rng(2).standard_normal((1500, DIM)) + 4)
    found = check(trained)
    assert found["needs_retraining"] is True
    assert found["recall_100_now"] < found["recall_100_then"] - 0.1
    assert found["recall_100_retrained"] > found["recall_100_now"] + 0.1
    assert "SELECT pgembed.retrain_codec('t_code')" in found["reason"]
    assert seen(trained, "needs_retraining, retrain_reason") == (True, found["reason"])
    trained.execute("SELECT pgembed.retrain_codec('t_code', 't_code_again')")
    again = check(trained, "t_code_again")
    assert again["needs_retraining"] is False
    assert again["recall_100_now"] == pytest.approx(found["recall_100_retrained"], abs=0.01)


def test_more_rows_of_the_same_kind_need_no_new_codec(trained: Connection) -> None:
    assert seen(trained, "needs_retraining") == (False,)
    insert(trained, 1500, np.random.default_rng(3).standard_normal((4500, DIM)))
    trained.execute("ANALYZE t")
    # nobody has looked yet: the view says how to
    needs, reason = seen(trained, "needs_retraining, retrain_reason")
    assert needs
    assert reason == "the table has grown from 1500 to about 6000 rows: SELECT * FROM pgembed.check_codec('t_code')"
    found = check(trained)
    assert found["recall_100_now"] < found["recall_100_then"] - 0.02, "there is more to find a neighbour among"
    assert (found["needs_retraining"], found["rows_now"]) == (False, 6000)
    assert "a new codec would not mend it" in found["reason"]
    assert "pgembed.recommend_codec('t')" in found["reason"]
    assert seen(trained, "needs_retraining, retrain_reason") == (False, found["reason"])


def test_a_column_of_another_metric_needs_a_new_codec(trained: Connection) -> None:
    trained.execute("SELECT pgembed.alter_embedding('t', metric => 'cosine')")
    found = check(trained)
    assert found["needs_retraining"] is True
    assert found["recall_100_now"] is None
    assert "pgembed.retrain_codec('t_code')" in found["reason"]
    needs, reason = seen(trained, "needs_retraining, retrain_reason")
    assert needs
    assert "another model or metric" in reason


def test_given_queries_are_asked_again(trained: Connection) -> None:
    trained.execute(f"CREATE TABLE log (e vector({DIM}))")
    trained.execute("INSERT INTO log SELECT e FROM t WHERE id < 40")
    trained.execute("SELECT pgembed.train_codec('by_log', 't', 'sign', queries => 'log', queries_column => 'e')")
    found = check(trained, "by_log")
    assert found["recall_100_now"] == found["recall_100_then"]
    drawn, queries = trained.execute("SELECT queries_drawn, queries FROM pgembed.codecs WHERE name = 'by_log'").fetchone() or ()
    assert (drawn, queries) == ("given", 40)


def test_only_the_owner_checks_and_all_may_read(trained: Connection, make_role: MakeRole, as_role: AsRole, refused: Refused) -> None:
    reader = make_role("reader")
    trained.execute(f"GRANT SELECT ON t TO {reader}")
    with as_role(trained, reader):
        refused(trained, "42501", "SELECT * FROM pgembed.check_codec('t_code')", message="must be owner")
        assert seen(trained, "method, bytes, recall_100 > 0.5, asymmetric_recall_100 >= recall_100") == ("thermometer", 12, True, True)
    refused(trained, "42704", "SELECT * FROM pgembed.check_codec('no_such')", message="does not exist")
    refused(trained, "22004", "SELECT * FROM pgembed.check_codec(NULL)", message="codec is NULL")
