"""Hub correction by one number a right row, computed or kept in a column: checked against arithmetic over all pairs."""

from __future__ import annotations

import random
from typing import Any

import psycopg
import pytest

from pgembed.joins import hubs

pytestmark = pytest.mark.one_transaction

Connection = psycopg.Connection[Any]
Pairs = list[tuple[int, int]]


@pytest.fixture
def crowd(db: Connection) -> Connection:
    """Thirty rows a side in three dimensions, of which row 1 on the right is in the middle of all that ask; row 30 has no direction."""
    rng = random.Random(3)
    db.execute("CREATE TABLE query (id int PRIMARY KEY, grp int, embedding vector(3))")
    db.execute("CREATE TABLE target (id int PRIMARY KEY, grp int, hub float8, embedding vector(3))")
    for table in ("query", "target"):
        for i in range(1, 30):
            vector = [1 + 0.3 * rng.gauss(0, 1), 1 + 0.3 * rng.gauss(0, 1), 1 + 0.3 * rng.gauss(0, 1)]
            db.execute(f"INSERT INTO {table} (id, grp, embedding) VALUES (%s, %s, %s::vector)", [i, i % 2, str(vector)])  # type: ignore[arg-type]
        db.execute(f"INSERT INTO {table} (id, grp, embedding) VALUES (30, 0, '[0,0,0]')")  # type: ignore[arg-type]
    db.execute("UPDATE target SET embedding = '[1,1,1]' WHERE id = 1")
    for table in ("query", "target"):
        db.execute("SELECT pgembed.adopt_embedding(%s::regclass, 'embedding')", [table])
    return db


def joined(db: Connection, options: str) -> Pairs:
    return db.execute(  # type: ignore[return-value]
        "SELECT left_key::int, right_key::int"
        f" FROM pgembed.semantic_join_keys('query', 'target', max_distance => 2, {options}) ORDER BY 1, rank"
    ).fetchall()


def fill(db: Connection, method: str) -> None:
    db.execute(
        "UPDATE target AS t SET hub = h.hubness"
        " FROM pgembed.hubness('target', queries => 'query', queries_column => 'embedding', method => %s) AS h WHERE t.id::text = h.key",
        [method],
    )


def corrected(db: Connection, method: str, k: int, condition: str = "true") -> Pairs:
    """By all pairs and the numbers of the column."""
    taken = "t.hub / 2" if method == "csls" else f"ln(abs(t.hub)) / {hubs.BETA}"
    flag = (
        "true" if method == "csls" else ("(SELECT n.hub > 0 FROM target AS n WHERE n.id < 30 ORDER BY n.embedding <=> q.embedding LIMIT 1)")
    )
    return db.execute(  # type: ignore[return-value]
        "SELECT id, other FROM (SELECT q.id, t.id AS other, row_number() OVER (PARTITION BY q.id ORDER BY"
        f" 1 - (t.embedding <=> q.embedding) - CASE WHEN {flag} THEN {taken} ELSE 0 END DESC) AS rank FROM query AS q"
        f" JOIN target AS t ON q.id < 30 AND t.id < 30 AND ({condition.replace('l.', 'q.').replace('r.', 't.')})) AS p"
        f" WHERE rank <= {k} ORDER BY id, rank"
    ).fetchall()


@pytest.mark.parametrize("method", ["csls", "qb_norm"])
@pytest.mark.parametrize("k", [1, 3])
def test_numbers_of_a_column_decide_which_rows_are_nearest(crowd: Connection, method: str, k: int) -> None:
    fill(crowd, method)
    expected = corrected(crowd, method, k)
    assert joined(crowd, f"k => {k}, hub_correction => '{method}', hubness => 'hub'") == expected
    assert joined(crowd, f"k => {k}") != expected


def test_without_a_column_the_left_rows_are_the_queries(crowd: Connection) -> None:
    fill(crowd, "qb_norm")
    assert joined(crowd, "k => 2, hub_correction => 'qb_norm'") == corrected(crowd, "qb_norm", 2)


def test_a_column_alone_means_csls(crowd: Connection) -> None:
    fill(crowd, "csls")
    assert joined(crowd, "hubness => 'hub'") == corrected(crowd, "csls", 1)


@pytest.mark.parametrize("condition", ["l.grp = r.grp", "l.id <> r.id", "r.id > 5"])
def test_under_a_condition(crowd: Connection, condition: str) -> None:
    fill(crowd, "csls")
    found = joined(crowd, f"k => 2, hubness => 'hub', condition => $$ {condition} $$")
    assert found == corrected(crowd, "csls", 2, condition)


def test_distances_stay_cosine_distances(crowd: Connection) -> None:
    fill(crowd, "csls")
    worst = crowd.execute(
        "SELECT max(abs(distance - ((left_row).embedding <=> (right_row).embedding))), count(*)"
        " FROM pgembed.semantic_join(NULL::query, NULL::target, k => 3, max_distance => 2, hubness => 'hub')"
    ).fetchone()
    assert worst is not None
    assert worst[0] < 1e-6
    assert worst[1] == 87


def test_one_to_one_goes_by_what_is_corrected(crowd: Connection) -> None:
    fill(crowd, "csls")
    every, expected = corrected(crowd, "csls", 30), set()
    scored = crowd.execute(
        "SELECT q.id, t.id FROM query AS q JOIN target AS t ON q.id < 30 AND t.id < 30"
        " ORDER BY 1 - (t.embedding <=> q.embedding) - t.hub / 2 DESC"
    ).fetchall()
    assert len(every) == len(scored)
    for one, other in scored:
        if all(one != taken and other != used for taken, used in expected):
            expected.add((one, other))
    assert set(joined(crowd, "mapping => 'one_to_one', hubness => 'hub'")) == expected


def test_rows_without_a_number_are_corrected_like_the_others(crowd: Connection) -> None:
    told: list[str] = []
    crowd.add_notice_handler(lambda said: told.append(str(said.message_primary)))
    fill(crowd, "csls")
    mean = crowd.execute("SELECT avg(hub) FROM target WHERE id <> 7").fetchone()
    crowd.execute("UPDATE target SET hub = NULL WHERE id = 7")
    found = joined(crowd, "k => 3, hubness => 'hub'")
    assert any("2 of 30 rows of target.embedding have no hubness" in one for one in told)  # and the one without a direction
    crowd.execute("UPDATE target SET hub = %s WHERE id = 7", mean)
    assert found == corrected(crowd, "csls", 3)


@pytest.mark.parametrize(
    ("options", "state", "says"),
    [
        ("hubness => 'no_such'", "42703", 'column "no_such" of table "target" does not exist'),
        ("hubness => 'embedding'", "42703", 'column "embedding" of table "target" is of no number'),
        ("hubness => 'hub', hub_correction => 'soft'", "22023", "takes none"),
        ("hubness => 'hub', hub_correction => 'none'", "22023", "takes none"),
        ("hubness => 'hub', k => NULL", "22023", "k is NULL"),
        ("hub_correction => 'qb_norm', candidates => 'lexical'", "22023", "of vectors alone"),
    ],
)
def test_what_makes_no_sense_is_refused(crowd: Connection, options: str, state: str, says: str) -> None:
    with pytest.raises(psycopg.Error) as caught:
        joined(crowd, options)
    assert caught.value.sqlstate == state
    assert says in str(caught.value)
    assert caught.value.diag.message_hint


def test_another_metric_is_refused(crowd: Connection) -> None:
    crowd.execute("SELECT pgembed.alter_embedding('query', metric => 'l2'), pgembed.alter_embedding('target', metric => 'l2')")
    with pytest.raises(psycopg.Error, match="hubness is measured by cosine") as caught:
        joined(crowd, "hub_correction => 'qb_norm'")
    assert caught.value.sqlstate == "0A000"


def test_into_a_table_and_in_what_is_told(crowd: Connection) -> None:
    fill(crowd, "csls")
    crowd.execute("SELECT pgembed.semantic_join_into('made', 'query', 'target', max_distance => 2, hubness => 'hub')")
    assert crowd.execute("SELECT left_id, right_id FROM made ORDER BY 1").fetchall() == corrected(crowd, "csls", 1)
    told = dict(crowd.execute("SELECT * FROM pgembed.explain_join(NULL::query, NULL::target, hubness => 'hub')").fetchall())
    assert told["hub_correction"] == "csls, by target.hub"
