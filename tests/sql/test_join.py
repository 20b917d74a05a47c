"""semantic_join on a real server, checked against what pgvector's own operators say of every pair."""

from __future__ import annotations

import random
from typing import Any

import psycopg
import pytest

pytestmark = pytest.mark.one_transaction

Connection = psycopg.Connection[Any]


@pytest.fixture
def places(db: Connection) -> Connection:
    """Two tables of literal vectors, and no model: city is near to capital in the first column's order."""
    db.execute("CREATE TABLE city (id int PRIMARY KEY, name text, country text, embedding vector(3))")
    db.execute("CREATE TABLE capital (id int PRIMARY KEY, name text, country text, embedding vector(3))")
    db.execute(
        "INSERT INTO city VALUES (1, 'a', 'x', '[1,0,0]'), (2, 'b', 'x', '[0.9,0.1,0]'), (3, 'c', 'y', '[0,1,0]'), (4, 'd', 'y', NULL)"
    )
    db.execute("INSERT INTO capital VALUES (10, 'A', 'x', '[1,0.05,0]'), (20, 'B', 'y', '[0.1,1,0]'), (30, 'C', 'x', '[0,0,1]')")
    for table in ("city", "capital"):
        db.execute("SELECT pgembed.adopt_embedding(%s::regclass, 'embedding')", [table])
    return db


def pairs(db: Connection, options: str = "") -> list[tuple[int, int, float, int]]:
    return [
        (left, right, round(distance, 6), rank)
        for left, right, distance, rank in db.execute(
            "SELECT (left_row).id, (right_row).id, distance, rank"
            f" FROM pgembed.semantic_join(NULL::city, NULL::capital{options}) ORDER BY 1, rank"
        ).fetchall()
    ]


def exact(db: Connection, k: int, condition: str = "true") -> list[tuple[int, int, float, int]]:
    return [
        (left, right, round(distance, 6), rank)
        for left, right, distance, rank in db.execute(
            "SELECT * FROM (SELECT l.id, r.id AS other, l.embedding <=> r.embedding AS distance,"
            " row_number() OVER (PARTITION BY l.id ORDER BY l.embedding <=> r.embedding) AS rank"
            f" FROM city AS l JOIN capital AS r ON l.embedding IS NOT NULL AND ({condition})) AS p WHERE rank <= {k} ORDER BY 1, rank"
        ).fetchall()
    ]


def refused(db: Connection, options: str) -> tuple[str | None, str | None]:
    with pytest.raises(psycopg.Error) as caught:
        pairs(db, options)
    return caught.value.sqlstate, caught.value.diag.message_hint


@pytest.mark.parametrize("k", [1, 2, 5])
def test_the_k_nearest_are_those_that_comparing_all_pairs_gives(places: Connection, k: int) -> None:
    assert pairs(places, f", k => {k}") == exact(places, k)


def test_a_row_without_a_vector_has_no_pair(places: Connection) -> None:
    assert {left for left, *_ in pairs(places, ", k => 3")} == {1, 2, 3}


def test_a_condition_cuts_the_pairs_before_k_is_counted(places: Connection) -> None:
    found = pairs(places, ", k => 2, condition => $$ l.country = r.country $$")
    assert found == exact(places, 2, "l.country = r.country")


def test_a_condition_takes_values_as_params(places: Connection) -> None:
    found = pairs(places, """, condition => $$ r.id > ($1->>'least')::int $$, params => '{"least": 15}'""")
    assert found == exact(places, 1, "r.id > 15")


def test_one_to_one_uses_no_row_twice_and_gives_the_nearer_pair_the_right_of_way(places: Connection) -> None:
    assert [(left, right) for left, right, *_ in pairs(places, ", mapping => 'one_to_one'")] == [(1, 10), (2, 30), (3, 20)]


def test_max_distance_bounds_the_pairs(places: Connection) -> None:
    assert [(left, right) for left, right, *_ in pairs(places, ", k => 3, max_distance => 0.01")] == [(1, 10), (2, 10), (3, 20)]


def test_within_max_distance_the_nearest_is_the_match(places: Connection) -> None:
    rows = places.execute(
        "SELECT rank, is_match FROM pgembed.semantic_join(NULL::city, NULL::capital, k => 2, max_distance => 2)"
    ).fetchall()
    assert {(rank, match) for rank, match in rows} == {(1, True), (2, False)}


def test_is_match_is_null_where_too_few_rows_say_nothing(places: Connection) -> None:
    rows = places.execute("SELECT is_match FROM pgembed.semantic_join(NULL::city, NULL::capital)").fetchall()
    assert rows == [(None,)] * 3


def test_a_table_joined_with_itself_pairs_no_row_with_itself(places: Connection) -> None:
    rows = places.execute("SELECT (left_row).id, (right_row).id FROM pgembed.semantic_join(NULL::city, NULL::city) ORDER BY 1").fetchall()
    assert rows == [(1, 2), (2, 1), (3, 2)]


def test_rows_come_back_whole_and_typed(places: Connection) -> None:
    row = places.execute(
        "SELECT (left_row).name, (left_row).country, (right_row).name, pg_typeof(left_row)::text, pg_typeof(right_row)::text"
        " FROM pgembed.semantic_join(NULL::city, NULL::capital) WHERE (left_row).id = 3"
    ).fetchone()
    assert row == ("c", "y", "B", "city", "capital")


def test_both_sides_of_a_partitioned_table(places: Connection) -> None:
    places.execute("CREATE TABLE part (id int, embedding vector(3), PRIMARY KEY (id)) PARTITION BY RANGE (id)")
    places.execute("CREATE TABLE part_low PARTITION OF part FOR VALUES FROM (0) TO (10)")
    places.execute("CREATE TABLE part_high PARTITION OF part FOR VALUES FROM (10) TO (20)")
    places.execute("INSERT INTO part VALUES (1, '[1,0,0]'), (11, '[0,1,0]')")  # both rows stand first in their partition
    places.execute("SELECT pgembed.adopt_embedding('part', 'embedding')")
    rows = places.execute("SELECT (left_row).id, (right_row).id FROM pgembed.semantic_join(NULL::city, NULL::part) ORDER BY 1").fetchall()
    assert rows == [(1, 1), (2, 1), (3, 11)]


def test_text_columns_are_embedded_on_the_fly(db: Connection) -> None:
    db.execute("CREATE TABLE invoice (id int PRIMARY KEY, vendor text)")
    db.execute("CREATE TABLE company (id int PRIMARY KEY, name text)")
    db.execute("INSERT INTO invoice VALUES (1, 'International Business Machines'), (2, 'Deutsche Lufthansa AG'), (3, NULL), (4, '  ')")
    db.execute("INSERT INTO company VALUES (1, 'Lufthansa airline'), (2, 'IBM computers'), (3, 'Nestlé chocolate')")
    rows = db.execute(
        "SELECT (left_row).id, (right_row).id FROM pgembed.semantic_join(NULL::invoice, NULL::company,"
        " left_column => 'vendor', right_column => 'name') ORDER BY 1"
    ).fetchall()
    assert rows == [(1, 2), (2, 1)]


def test_with_enough_rows_the_matches_are_those_that_stand_out(db: Connection) -> None:
    wrong = []
    for seed in range(1, 6):
        picker = random.Random(seed)
        left = {i: [picker.gauss(0, 1) for _ in range(16)] for i in range(1, 61)}
        # forty rows have a true partner, a little off; twenty on each side have none
        right = {i: [x + picker.gauss(0, 0.05) for x in left[i]] for i in range(1, 41)}
        right |= {i: [picker.gauss(0, 1) for _ in range(16)] for i in range(101, 121)}
        for side, rows in (("a", left), ("b", right)):
            table = f"{side}{seed}"
            db.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, embedding vector(16))")
            with db.cursor() as cursor:
                cursor.executemany(f"INSERT INTO {table} VALUES (%s, %s::vector)", [(i, str(vector)) for i, vector in rows.items()])
            db.execute("SELECT pgembed.adopt_embedding(%s::regclass, 'embedding')", [table])
        found = db.execute(
            f"SELECT (left_row).id, (right_row).id FROM pgembed.semantic_join(NULL::a{seed}, NULL::b{seed}) WHERE is_match"
        ).fetchall()
        assert len([one for one, other in found if one == other]) >= 38
        wrong.append(len([one for one, other in found if one != other]))
    assert sum(wrong) <= 10, wrong


def test_two_models_cannot_be_compared(db: Connection) -> None:
    for table, model in (("one", "all-minilm-l6-v2"), ("two", "all-minilm-l6-v2-int8")):
        db.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, t text)")
        db.execute("SELECT pgembed.add_embedding(%s::regclass, 't', model => %s)", [table, model])
    with pytest.raises(psycopg.errors.DataException) as caught:
        db.execute("SELECT FROM pgembed.semantic_join(NULL::one, NULL::two)")
    assert caught.value.sqlstate == "22000"
    assert "alter_embedding" in str(caught.value.diag.message_hint)


@pytest.mark.parametrize(
    ("options", "sqlstate", "hint"),
    [
        (", k => 0", "22023", "number of right rows"),
        (", k => NULL", "22004", "number of right rows"),
        (", mapping => 'some'", "22023", "many is the default"),
        (', "precision" => 2', "22023", "0.95"),
        (", k => 2, mapping => 'one_to_one'", "22023", "Leave k at 1"),
        (", left_column => 'none'", "42703", "embedding"),
        (", condition => 'l.none = 1'", "42703", "column"),
        (", condition => 'true) OR (true'", "42601", "l.country = r.country"),
        (", condition => 'l.id'", "42804", "l.country = r.country"),
    ],
)
def test_bad_arguments_are_told_with_a_hint(places: Connection, options: str, sqlstate: str, hint: str) -> None:
    found, said = refused(places, options)
    assert found == sqlstate
    assert hint in str(said)


def test_the_caller_joins_only_what_the_caller_may_see(places: Connection) -> None:
    places.execute("CREATE ROLE join_reader")
    try:
        places.execute("GRANT SELECT ON city, capital TO join_reader")
        places.execute("ALTER TABLE capital ENABLE ROW LEVEL SECURITY")
        places.execute("CREATE POLICY not_ten ON capital FOR SELECT TO join_reader USING (id <> 10)")
        places.execute("SET ROLE join_reader")
        assert [(left, right) for left, right, *_ in pairs(places)] == [(1, 20), (2, 20), (3, 20)]
        places.execute("RESET ROLE")
        places.execute("REVOKE SELECT ON city FROM join_reader")
        places.execute("SET ROLE join_reader")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            pairs(places)
    finally:
        places.execute("RESET ROLE")
        places.execute("DROP OWNED BY join_reader")
        places.execute("DROP ROLE join_reader")
