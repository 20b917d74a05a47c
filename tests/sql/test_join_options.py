"""The options of semantic_join, each against SQL that compares every pair by pgvector's operators."""

from __future__ import annotations

import random

import psycopg
import pytest
from cities import Connection, compared, joined, make, mapped

pytestmark = pytest.mark.one_transaction


@pytest.fixture
def places(db: Connection) -> Connection:
    """Tables city and capital."""
    return make(db)


@pytest.mark.parametrize("k", [1, 3, 100])
def test_keys_of_the_k_nearest(places: Connection, k: int) -> None:
    assert joined(places, f", k => {k}") == compared(places, k)


@pytest.mark.parametrize(("metric", "operator"), [("l2", "<->"), ("inner_product", "<#>")])
def test_other_metrics(places: Connection, metric: str, operator: str) -> None:
    for table in ("city", "capital"):
        places.execute("SELECT pgembed.alter_embedding(%s::regclass, metric => %s)", [table, metric])
    assert joined(places, ", k => 2") == compared(places, 2, operator=operator)


def test_k_null_gives_all_within_max_distance(places: Connection) -> None:
    near = [pair for pair in compared(places, 1000) if pair[2] <= 0.2]
    assert 40 < len(near) < 700
    assert joined(places, ", k => NULL, max_distance => 0.2") == near


def test_mutual_pairs_are_among_the_nearest_of_both_rows(places: Connection) -> None:
    forward = {pair[:2] for pair in compared(places, 2)}
    backward = {(one, other) for other, one, *_ in compared(places, 2, left="capital", right="city")}
    assert {pair[:2] for pair in joined(places, ", k => 2, mapping => 'mutual'")} == forward & backward != forward


def test_mutual_under_a_condition(places: Connection) -> None:
    forward = {pair[:2] for pair in compared(places, 1, "l.id <> r.id AND l.country = r.country")}
    backward = {(o, i) for i, o, *_ in compared(places, 1, "l.id <> r.id AND l.country = r.country", left="capital", right="city")}
    found = joined(places, ", mapping => 'mutual', condition => 'l.id <> r.id AND l.country = r.country'")
    assert {pair[:2] for pair in found} == forward & backward


def test_one_to_one_is_the_mapping_of_all_pairs(places: Connection) -> None:
    assert {pair[:2] for pair in joined(places, ", mapping => 'one_to_one', max_distance => 2")} == mapped(compared(places, 1000))


def test_matches_come_first_in_a_one_to_one_mapping(db: Connection) -> None:
    picker = random.Random(3)
    left = {n: [picker.gauss(0, 1) for _ in range(16)] for n in range(60)}
    # forty rows have a partner; what the others are left with is whatever nobody has
    right = {n: [x + picker.gauss(0, 0.05) for x in left[n]] for n in range(40)} | {
        n: [picker.gauss(0, 1) for _ in range(16)] for n in range(100, 120)
    }
    for table, rows in (("one", left), ("other", right)):
        db.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, embedding vector(16))")
        with db.cursor() as cursor:
            cursor.executemany(f"INSERT INTO {table} VALUES (%s, %s::vector)", [(n, str(vector)) for n, vector in rows.items()])
        db.execute("SELECT pgembed.adopt_embedding(%s::regclass, 'embedding')", [table])
    found = db.execute(
        "SELECT left_key, right_key, is_match FROM pgembed.semantic_join_keys('one', 'other', mapping => 'one_to_one')"
    ).fetchall()
    assert len({row[0] for row in found}) == len({row[1] for row in found}) == len(found)
    assert {row[0] for row in found if row[0] == row[1]} == {str(n) for n in range(40)}
    assert sum(row[2] for row in found if row[0] == row[1]) >= 38
    assert sum(row[2] for row in found if row[0] != row[1]) <= 4


def test_vectors_drawn_by_lot_have_no_matches(places: Connection) -> None:
    rows = places.execute(
        "SELECT left_key, right_key, is_match FROM pgembed.semantic_join_keys('city', 'capital', mapping => 'one_to_one')"
    ).fetchall()
    assert len({row[0] for row in rows}) == len({row[1] for row in rows}) == len(rows) == 25
    assert {row[2] for row in rows} == {False}


@pytest.mark.parametrize("condition", ["l.country = r.country", "l.id < r.id", "l.country = r.country AND l.size <> r.size"])
def test_one_to_one_under_a_condition(places: Connection, condition: str) -> None:
    found = joined(places, f", mapping => 'one_to_one', max_distance => 2, condition => '{condition}'")
    assert {pair[:2] for pair in found} == mapped(compared(places, 1000, condition))


def test_a_left_join_gives_every_left_row(places: Connection) -> None:
    rows = places.execute(
        "SELECT (left_row).id, (right_row).id, right_row IS NULL, distance, rank, is_match, evidence FROM pgembed.semantic_join("
        "NULL::city, NULL::capital, join_type => 'left', condition => 'l.country = r.country AND l.id < 20') ORDER BY 1"
    ).fetchall()
    expected = {one: other for one, other, *_ in compared(places, 1, "l.country = r.country AND l.id < 20")}
    assert {row[0]: row[1] for row in rows} == {n: expected.get(n) for n in range(1, 33)}
    assert all(row[2:] == (True, None, None, None, None) for row in rows if row[1] is None)
    keys = places.execute("SELECT left_key, right_key FROM pgembed.semantic_join_keys('city', 'capital', join_type => 'left')").fetchall()
    assert ("31", None) in keys
    assert len(keys) == 32


def test_an_anti_join_gives_the_left_rows_without_a_pair(places: Connection) -> None:
    rows = places.execute(
        "SELECT (left_row).id, right_row IS NULL FROM pgembed.semantic_join(NULL::city, NULL::capital, max_distance => 0.03,"
        " join_type => 'anti') ORDER BY 1"
    ).fetchall()
    paired = {pair[0] for pair in compared(places, 1) if pair[2] <= 0.03}
    assert 5 < len(paired) < 30
    assert rows == [(n, True) for n in range(1, 33) if n not in paired]


def test_the_closest_that_is_not_equal(places: Connection) -> None:
    places.execute("INSERT INTO capital SELECT id + 100, name, country, size, founded, embedding FROM city WHERE id <= 12")
    found = joined(places, ", k => 2, not_equal => true")
    assert found == compared(places, 2, "(l.embedding <> r.embedding)")
    assert found != compared(places, 2)


def test_matches_only_leaves_out_what_is_no_match(places: Connection) -> None:
    every = places.execute(
        "SELECT left_key, right_key, is_match FROM pgembed.semantic_join_keys('city', 'capital', k => 2, max_distance => 0.1)"
    ).fetchall()
    only = places.execute(
        "SELECT left_key, right_key, is_match FROM pgembed.semantic_join_keys('city', 'capital', k => 2, max_distance => 0.1,"
        " matches_only => true)"
    ).fetchall()
    assert only == [row for row in every if row[2]]
    assert 0 < len(only) < len(every)


def test_an_anti_join_of_matches_gives_the_rows_without_a_match(places: Connection) -> None:
    options = ", max_distance => 0.05, matches_only => true"
    matched = {pair[0] for pair in joined(places, options)}
    alone = places.execute(
        f"SELECT left_key::int FROM pgembed.semantic_join_keys('city', 'capital', join_type => 'anti'{options})"
    ).fetchall()
    assert {row[0] for row in alone} == set(range(1, 33)) - matched
    assert matched


def test_evidence_says_what_agrees(places: Connection) -> None:
    rows = places.execute("SELECT rank, evidence FROM pgembed.semantic_join_keys('city', 'capital', k => 2)").fetchall()
    assert all(("dense" in evidence) == (rank == 1) for rank, evidence in rows)
    every = {tuple(sorted(evidence)) for _, evidence in rows}
    assert every <= {("dense",), ("dense", "mutual"), ()}


def test_attributes_are_compared_by_their_types_and_named_in_evidence(places: Connection) -> None:
    rows = places.execute(
        "SELECT left_key::int, right_key::int, evidence FROM pgembed.semantic_join_keys('city', 'capital', k => 3,"
        """ attributes => '["country", "size", "founded"]')"""
    ).fetchall()
    truth = {
        (one, other): {name for name, same in (("country", a), ("size", b), ("founded", c)) if same}
        for one, other, a, b, c in places.execute(
            "SELECT l.id, r.id, l.country = r.country, l.size = r.size, l.founded = r.founded FROM city AS l CROSS JOIN capital AS r"
        ).fetchall()
    }
    assert {(one, other): set(said) & {"country", "size", "founded"} for one, other, said in rows} == {
        pair: truth[pair] for pair in ((one, other) for one, other, _ in rows)
    }
    assert any("founded" in said for *_, said in rows)


def test_attributes_with_other_names_on_the_right(places: Connection) -> None:
    places.execute("""ALTER TABLE capital RENAME country TO "state ""or"" land" """)
    rows = places.execute(
        "SELECT evidence FROM pgembed.semantic_join_keys('city', 'capital',"
        """ attributes => '{"country": "state \\"or\\" land"}')"""
    ).fetchall()
    assert any("country" in said for (said,) in rows)


def test_lexical_candidates_need_no_vectors_and_have_no_distance(db: Connection) -> None:
    db.execute("CREATE TABLE part (id int PRIMARY KEY, code text); CREATE TABLE item (id int PRIMARY KEY, title text)")
    db.execute("INSERT INTO part VALUES (1, 'KX-200 phone'), (2, 'DSC-W120 camera'), (3, ''), (4, NULL)")
    db.execute("INSERT INTO item VALUES (7, 'Sony DSC-W120'), (8, 'Panasonic KX-200'), (9, NULL)")
    rows = db.execute(
        "SELECT left_key, right_key, distance, rank, evidence FROM pgembed.semantic_join_keys('part', 'item', 'code', 'title',"
        " candidates => 'lexical') ORDER BY 1"
    ).fetchall()
    assert [row[:4] for row in rows] == [("1", "8", None, 1), ("2", "7", None, 1)]
    assert all({"lexical", "mutual"} <= set(row[4]) for row in rows)


def test_hybrid_candidates_find_what_each_alone_would_miss(db: Connection) -> None:
    db.execute("CREATE TABLE part (id int PRIMARY KEY, code text); CREATE TABLE item (id int PRIMARY KEY, title text)")
    db.execute("INSERT INTO part VALUES (1, 'phone KX-200'), (2, 'International Business Machines')")
    db.execute("INSERT INTO item VALUES (6, 'phone KX-300'), (7, 'phone KX-200 with answering machine'), (8, 'IBM computers')")
    rows = db.execute(
        "SELECT left_key, right_key, distance FROM pgembed.semantic_join_keys('part', 'item', 'code', 'title', candidates => 'hybrid')"
        " ORDER BY 1"
    ).fetchall()
    assert [row[:2] for row in rows] == [("1", "7"), ("2", "8")]
    truth = db.execute(
        "SELECT pgembed.embed(code, NULL, 'document') <=> pgembed.embed(title, NULL, 'document') FROM part JOIN item"
        " ON (part.id, item.id) IN ((1, 7), (2, 8)) ORDER BY part.id"
    ).fetchall()
    assert [row[2] for row in rows] == pytest.approx([row[0] for row in truth], abs=1e-6)


def test_a_record_without_an_embedded_column_is_its_attributes_text(db: Connection) -> None:
    db.execute("CREATE TABLE a (id int PRIMARY KEY, name text, maker text); CREATE TABLE b (id int PRIMARY KEY, name text, brand text)")
    db.execute("INSERT INTO a VALUES (1, 'jacket', 'Fjell'), (2, 'stove', NULL)")
    db.execute("INSERT INTO b VALUES (1, 'camping stove', NULL), (2, 'rain jacket', 'Fjell')")
    rows = db.execute(
        "SELECT left_key, right_key, distance FROM pgembed.semantic_join_keys('a', 'b',"
        """ attributes => '{"name": "name", "maker": "brand"}') ORDER BY 1"""
    ).fetchall()
    assert [row[:2] for row in rows] == [("1", "2"), ("2", "1")]
    truth = db.execute("SELECT pgembed.embed('jacket Fjell', NULL, 'document') <=> pgembed.embed('rain jacket Fjell', NULL, 'document')")
    assert rows[0][2] == pytest.approx(truth.fetchone()[0], abs=1e-6)  # type: ignore[index]


def test_old_calls_by_position_still_work(places: Connection) -> None:
    rows = places.execute(
        "SELECT (left_row).id, (right_row).id, distance, rank, is_match FROM pgembed.semantic_join(NULL::city, NULL::capital,"
        " 'embedding', 'embedding', 1, 0.2, 'many', 'l.id > ($1->>''least'')::int', '{\"least\": 3}', 0.9) ORDER BY 1"
    ).fetchall()
    expected = [pair for pair in compared(places, 1, "l.id > 3") if pair[2] <= 0.2]
    assert [row[:4] for row in rows] == expected


def test_search_recall_below_one_is_taken(places: Connection) -> None:
    assert len(joined(places, ", search_recall => 0.9")) == 31
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="search_recall must be above 0"):
        joined(places, ", search_recall => 0")
