"""Wrong use of semantic_join and its kin, each with its SQLSTATE and a hint; tables made of joins; what stops a join."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest
from cities import Connection, compared, joined, make
from support import Connect, Refused, wait_until

pytestmark = pytest.mark.one_transaction


@pytest.fixture
def places(db: Connection) -> Connection:
    """Tables city and capital."""
    return make(db)


@pytest.mark.parametrize(
    ("options", "sqlstate", "message", "hint"),
    [
        ("k => 0", "22023", "k must be at least 1, not 0", "number of right rows"),
        ("k => -5", "22023", "k must be at least 1, not -5", "number of right rows"),
        ("k => 2000000000", "22023", "k must be at most 100000", "max_distance"),
        ("k => NULL", "22004", "k is NULL", "max_distance"),
        ("k => NULL, max_distance => 1, candidates => 'lexical'", "22023", "counted, not bounded", "1 by default"),
        ("max_distance => 'NaN'", "22023", "max_distance must be a number", "no bound"),
        ("mapping => 'some'", "22023", "mapping must be many, one_to_one or mutual, not some", "many is the default"),
        ("mapping => NULL", "22023", "not NULL", "many is the default"),
        ("mapping => 'one_to_one', k => 3", "22023", "k is 3", "Leave k at 1"),
        ("candidates => 'sparse'", "22023", "candidates must be dense, lexical or hybrid", "dense is the default"),
        ("join_type => 'outer'", "22023", "join_type must be inner, left or anti, not outer", "inner is the default"),
        ("join_type => NULL", "22023", "not NULL", "inner is the default"),
        ("hub_correction => 'all'", "22023", "hub_correction must be", "auto is the default"),
        ("search_recall => 1.5", "22023", "search_recall must be above 0 and at most 1", "0.99"),
        ("search_recall => NULL", "22004", "search_recall is NULL", "1 finds all"),
        ('"precision" => 1', "22023", "precision must be between 0 and 1, not 1", "0.95"),
        ("recall => 0", "22023", "recall must be between 0 and 1, not 0", "0.95"),
        ('"precision" => 0.9, recall => 0.9', "22023", "both precision and recall", "explain_join"),
        ("params => '[1]'", "22023", "params must be a JSON object, not an array", "least"),
        ("params => '\"a\"'", "22023", "not a string", "least"),
        ("attributes => '\"name\"'", "22023", "attributes must be a JSON array of names", "price"),
        ("attributes => '[]'", "22023", "attributes must be", "price"),
        ("attributes => '[1]'", "22023", "attributes must be", "price"),
        ("""attributes => '["name", "name"]'""", "22023", "name a column twice", "once"),
        ("""attributes => '["none"]'""", "42703", 'column "none" of table "city" does not exist', "both sides"),
        ("left_column => 'none'", "42703", 'column "none" of table "city" does not exist', "embedding"),
        ("right_column => 'none'", "42703", 'column "none" of table "capital" does not exist', "right_column"),
        ("candidates => 'hybrid'", "0A000", "which text of city to compare", "attributes =>"),
    ],
)
def test_bad_arguments(places: Connection, refused: Refused, options: str, sqlstate: str, message: str, hint: str) -> None:
    for call in (
        "semantic_join(NULL::city, NULL::capital",
        "semantic_join_keys('city', 'capital'",
        "explain_join(NULL::city, NULL::capital",
    ):
        refused(places, sqlstate, f"SELECT pgembed.{call}, {options})", message=message, hint=hint)


def test_a_side_that_is_null_is_told(places: Connection, refused: Refused) -> None:
    refused(places, "22004", "SELECT pgembed.semantic_join_keys(NULL, 'capital')", message="left is NULL", hint="Name a table")
    refused(places, "22004", "SELECT pgembed.semantic_join_keys('city', NULL)", message="right is NULL", hint="Name a table")
    places.execute("CREATE SEQUENCE s")
    refused(places, "42809", "SELECT pgembed.semantic_join_keys('s', 'city')", message="not a table", hint="a table")


def test_a_join_becomes_a_table_with_typed_keys(places: Connection) -> None:
    places.execute('CREATE TABLE pair (a uuid, "odd ""b" date, e vector(3), PRIMARY KEY (a, "odd ""b"))')
    places.execute("INSERT INTO pair SELECT md5(id::text)::uuid, founded, embedding FROM capital WHERE founded IS NOT NULL")
    places.execute("SELECT pgembed.adopt_embedding('pair', 'e')")
    made = places.execute(
        "SELECT pgembed.semantic_join_into('public.\"Made\"', 'city', 'pair', k => 2, condition => 'l.id > 3')"
    ).fetchone()
    assert made == (56,)
    columns = places.execute(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = '\"Made\"'::regclass AND attnum > 0"
        " ORDER BY attnum"
    ).fetchall()
    assert columns == [
        *(("left_id", "integer"), ("right_a", "uuid"), ('right_odd "b', "date"), ("distance", "double precision"), ("rank", "integer")),
        *(("is_match", "boolean"), ("probability", "double precision"), ("evidence", "text[]")),
    ]
    rows = places.execute(
        'SELECT m.left_id, c.id, m.distance, m.rank FROM "Made" AS m JOIN capital AS c ON md5(c.id::text)::uuid = m.right_a'
        ' AND c.founded = m."right_odd ""b" ORDER BY 1, rank'
    ).fetchall()
    assert rows == compared(places, 2, "l.id > 3")


@pytest.mark.parametrize(
    ("destination", "sqlstate", "message"),
    [
        ("NULL", "22004", "destination is NULL"),
        ("''", "22004", "destination is empty"),
        ("'city'", "42710", 'relation "city" exists already'),
        ("'a.b.c'", "22023", "not the name of a table"),
        ("'nowhere.made'", "3F000", 'schema "nowhere" does not exist'),
        ("'made; DROP TABLE city'", "22023", "is not the name of a table"),
    ],
)
def test_what_is_no_destination(places: Connection, destination: str, sqlstate: str, message: str) -> None:
    with pytest.raises(psycopg.Error) as caught:
        places.execute(f"SELECT pgembed.semantic_join_into({destination}, 'city', 'capital')")  # type: ignore[arg-type]
    assert caught.value.sqlstate == sqlstate
    assert message in str(caught.value)


def test_a_table_that_fails_half_way_is_not_there(places: Connection) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        places.execute("SELECT pgembed.semantic_join_into('made', 'city', 'capital', condition => '1 / (l.id - r.id) > 0')")
    assert places.execute("SELECT to_regclass('made')").fetchone() == (None,)


@pytest.mark.own_database
def test_a_join_shows_how_far_it_is_and_can_be_cancelled(db: Connection, connect: Connect) -> None:
    make(db)
    db.execute("CREATE FUNCTION slow(int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.05); RETURN true; END $$")
    watching = connect(db)
    ended: list[Any] = []

    def run() -> None:
        try:
            db.execute("SELECT pgembed.semantic_join_into('made', 'city', 'capital', condition => 'slow(l.id + r.id)')")
        except psycopg.Error as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    shown = "SELECT what, target FROM pgembed.progress WHERE pid = %s"
    wait_until(lambda: watching.execute(shown, [db.info.backend_pid]).fetchall() == [("join", "city.embedding ~ capital.embedding")])
    watching.execute("SELECT pg_cancel_backend(%s)", [db.info.backend_pid])
    thread.join(60)
    assert isinstance(ended[0], psycopg.errors.QueryCanceled)
    assert watching.execute("SELECT to_regclass('made')").fetchone() == (None,)
    assert db.execute("SHOW application_name").fetchone() == ("",)


def test_little_memory_gives_the_same_pairs_in_more_windows(places: Connection) -> None:
    places.execute("INSERT INTO city SELECT n, 'x', 'a', 1, NULL, ARRAY[cos(n * 0.3), sin(n * 0.7), cos(n * 1.1)]::vector"
                   " FROM generate_series(100, 2200) AS n")  # fmt: skip
    places.execute("INSERT INTO capital SELECT n, 'x', 'a', 1, NULL, ARRAY[cos(n * 0.31), sin(n * 0.71), cos(n * 1.3)]::vector"
                   " FROM generate_series(100, 900) AS n")  # fmt: skip
    places.execute("SET LOCAL pgembed.join_mem = '4MB'")
    assert joined(places, ", k => 2") == compared(places, 2)
    left = places.execute("SELECT left_key FROM pgembed.semantic_join_keys('city', 'capital', join_type => 'left', k => 40)").fetchall()
    assert len({row[0] for row in left}) == places.execute("SELECT count(*) FROM city").fetchone()[0]  # type: ignore[index]
    places.execute("SET LOCAL pgembed.join_mem = 'much'")
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="no amount of memory"):
        joined(places)


def test_a_join_that_would_take_too_much_memory_is_refused_before_it_begins(places: Connection, refused: Refused) -> None:
    places.execute("ANALYZE city, capital; UPDATE pg_class SET reltuples = 1000000, relpages = 1 WHERE oid = 'city'::regclass")
    call = "SELECT pgembed.semantic_join_keys('city', 'capital', mapping => 'one_to_one')"
    refused(places, "54000", call, message="and pgembed.join_mem is 256 MB", hint="SET pgembed.join_mem to more")
    assert len(joined(places, ", k => 2")) == 62
    places.execute("SET LOCAL pgembed.join_mem = '64GB'")
    assert len(joined(places, ", mapping => 'one_to_one'")) == 25


def test_explain_tells_strategies_and_estimates_and_may_read_nothing(places: Connection) -> None:
    told = places.execute("SELECT property, value FROM pgembed.explain_join(NULL::city, NULL::capital)").fetchall()
    names = [name for name, _ in told]
    assert names[:3] == ["left", "right", "metric"]
    assert {"strategy", "not chosen", "memory", "threshold", "estimated precision", "estimated recall", "matches"} <= set(names)
    assert dict(told)["estimated precision"] == "cannot be said"  # of vectors drawn by lot nothing matches
    assert " with 95 %" in dict(told)["estimated recall"]
    plan = places.execute("SELECT property FROM pgembed.explain_join(NULL::city, NULL::capital, execute => false)").fetchall()
    assert {name for (name,) in plan} < set(names)
    assert "pairs" not in {name for (name,) in plan}
