"""Conditions of a join, in many forms: each gives what SQL gives that puts the same text into an ON clause."""

from __future__ import annotations

import psycopg
import pytest
from cities import Connection, compared, joined, make
from support import Notices

pytestmark = pytest.mark.one_transaction


@pytest.fixture
def places(db: Connection) -> Connection:
    """Tables city and capital."""
    return make(db)


@pytest.mark.parametrize(
    "condition",
    [
        "l.country = r.country",
        "r.country = l.country",
        "(l.country) = r.country",
        "l.size = r.size",
        "l.size = r.size + 1 AND l.country = r.country",
        "lower(l.country) = upper(lower(r.country))",
        "l.id = r.id::bigint",
        "l.founded = r.founded",
        "l.size::float8 = r.size AND r.id > 3",
        "l.country = r.country OR l.size = r.size",
        "(l.country = r.country AND (l.size = r.size))",
        "NOT l.country = r.country",
        "l.country IS NOT DISTINCT FROM r.country",
        "l.country = r.country IS NOT TRUE",
        'l.country COLLATE "C" = r.country',
        "l.id BETWEEN 5 AND 20 AND r.id BETWEEN l.id - 3 AND l.id + 3",
        "l.id < 9 AND r.id < 12",
        "l.country = 'a'",
        "'a' = r.country",
        "l.country IN ('a', 'b') AND r.country IN ('b', 'c')",
        "true",
        "false",
        "NULL",
        "l.id <> r.id",
        "abs(l.id - r.id) = 1",
        "CASE WHEN l.id > 10 AND r.id > 10 THEN l.country = r.country ELSE l.size = r.size END",
        "EXISTS (SELECT FROM city AS x WHERE x.id = r.id AND x.country = l.country)",
        "l.founded < r.founded + 20 -- said last",
        "l.country = r.country /* and */ AND l.id > 2",
        "l.name LIKE '%1' AND r.name LIKE 'capital%' AND l.country = ANY (ARRAY[r.country, 'd'])",
        "(l.country, l.size) = (r.country, r.size)",
        "l.name ~ '\\d' AND l.country = r.country",
        "l.country = r.country AND l.country = r.country",
    ],
)
@pytest.mark.parametrize("k", [1, 4])
def test_a_condition_means_what_it_means_in_sql(places: Connection, condition: str, k: int) -> None:
    text = condition.replace("'", "''")
    expected = compared(places, k, condition + "\n")
    assert joined(places, f", k => {k}, condition => '{text}'") == expected


def explained(db: Connection, condition: str, sides: str = "NULL::city, NULL::capital") -> list[tuple[str, str]]:
    return [
        (name, value.strip())
        for name, value in db.execute(
            f"SELECT property, value FROM pgembed.explain_join({sides}, condition => %s, execute => false)", [condition]
        ).fetchall()
        if name.startswith(("condition", "compared", "asked"))
    ]


def test_what_cuts_the_work_is_told(places: Connection) -> None:
    condition = "l.country = r.country AND l.id > 3 AND r.size < 4 AND r.size = l.size AND l.id <> r.id"
    assert explained(places, condition) == [
        ("condition on the left", "l.id > 3"),
        ("condition on the right", "r.size < 4"),
        ("compared only where", "l.country = r.country"),
        ("compared only where", "r.size = l.size"),
        ("asked of PostgreSQL pair by pair", "(l.id <> r.id\n)"),
    ]


def test_names_without_an_alias_mean_the_side_that_has_them(places: Connection) -> None:
    places.execute("ALTER TABLE capital RENAME country TO land; ALTER TABLE capital RENAME size TO area")
    condition = "country = land AND area > 2"
    assert [name for name, _ in explained(places, condition)] == ["condition on the right", "compared only where"]
    places.execute("CREATE VIEW seen AS SELECT id, land, area, embedding FROM capital")
    assert joined(places, f", condition => '{condition}'") == compared(places, 1, condition)


def test_equal_is_what_the_callers_operator_says(places: Connection) -> None:
    places.execute(
        """
        CREATE SCHEMA mine;
        CREATE FUNCTION mine.alike(text, text) RETURNS boolean LANGUAGE sql IMMUTABLE
            RETURN pg_catalog.chr(pg_catalog.ascii($1) / 2) OPERATOR(pg_catalog.=) pg_catalog.chr(pg_catalog.ascii($2) / 2);
        CREATE OPERATOR mine.= (LEFTARG = text, RIGHTARG = text, FUNCTION = mine.alike);
        SET LOCAL search_path = mine, public, pg_catalog;
        """
    )
    found = joined(places, ", k => 2, condition => 'l.country = r.country'")
    places.execute("SET LOCAL search_path = public")
    assert found == compared(places, 2, "ascii(l.country) / 2 = ascii(r.country) / 2")


def test_equal_under_a_collation_that_ignores_case(places: Connection) -> None:
    places.execute("CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    places.execute("UPDATE capital SET country = upper(country) WHERE id % 2 = 0")
    for table in ("city", "capital"):
        places.execute(f"ALTER TABLE {table} ALTER country TYPE text COLLATE folded")  # type: ignore[arg-type]
    assert joined(places, ", condition => 'l.country = r.country'") == compared(places, 1, "l.country = r.country")
    assert explained(places, "l.country = r.country")[0][0] == "compared only where"


def test_an_equality_that_is_not_transitive_is_asked_pair_by_pair(places: Connection) -> None:
    places.execute(
        """
        CREATE TYPE grade AS (n int);
        CREATE FUNCTION near(grade, grade) RETURNS boolean LANGUAGE sql IMMUTABLE RETURN abs(($1).n - ($2).n) <= 1;
        CREATE OPERATOR public.= (LEFTARG = grade, RIGHTARG = grade, FUNCTION = near);
        SET LOCAL search_path = public, pg_catalog;
        """
    )
    condition = "ROW(l.id)::grade = ROW(r.id)::grade"
    assert joined(places, f", k => 3, condition => '{condition}'") == compared(places, 3, "abs(l.id - r.id) <= 1")


def test_params_reach_every_part_of_a_condition(places: Connection) -> None:
    condition = """l.id > ($1->>''low'')::int AND r.id < ($1->>''high'')::int AND l.country = r.country
        AND abs(l.id - r.id) > ($1->>''apart'')::int AND l.size + ($1->>''low'')::int = r.size + 4"""
    found = joined(places, f""", k => 2, condition => '{condition}', params => '{{"low": 4, "high": 20, "apart": 2}}'""")
    assert found == compared(places, 2, "l.id > 4 AND r.id < 20 AND l.country = r.country AND abs(l.id - r.id) > 2 AND l.size = r.size")
    assert found


def test_a_table_joined_with_itself_under_a_condition_pairs_no_row_with_itself(places: Connection) -> None:
    for condition in ("l.id < 10", "r.id < 10", "l.country = r.country", "l.id < 20 AND l.size = r.size", "l.id + r.id > 20"):
        found = joined(places, f", k => 2, condition => '{condition}'", sides="'city', 'city'")
        assert found == compared(places, 2, f"l.id <> r.id AND {condition}", left="city", right="city"), condition


def test_a_weak_condition_over_larger_tables_still_finds_k(db: Connection, notices: Notices) -> None:
    db.execute("CREATE TABLE many (id int PRIMARY KEY, embedding vector(3)); CREATE TABLE more (id int PRIMARY KEY, embedding vector(3))")
    for table, n in (("many", 900), ("more", 1600)):
        db.execute(
            f"INSERT INTO {table} SELECT n, ARRAY[cos(n * 7.3), sin(n * 3.7), cos(n * 1.9)]::vector FROM generate_series(1, {n}) AS n"  # type: ignore[arg-type]
        )
        db.execute("SELECT pgembed.adopt_embedding(%s::regclass, 'embedding')", [table])
    # most rows find theirs among the nearest; those of the second condition only far off
    for condition in ("l.id <> r.id AND l.id % 7 <> r.id % 5", "r.id % 400 = l.id % 400"):
        assert joined(db, f", k => 2, condition => '{condition}'", "'many', 'more'") == compared(
            db, 2, condition, left="many", right="more"
        ), condition
    assert [told.message for told in notices] == []


@pytest.mark.parametrize(
    ("condition", "sqlstate"),
    [
        ("true; DROP TABLE city", "42601"),
        ("true) UNION ALL SELECT (true", "42601"),
        ("true UNION ALL SELECT true", "42601"),
        ("true) OR (true", "42601"),
        ("true LIMIT 1", "42601"),
        ("l.none = 1", "42703"),
        ("x.id = 1", "42P01"),
        ("id = 1", "42702"),
        ("l.id", "42804"),
        ("count(*) > 0", "42803"),
        ("generate_series(1, 2) > 1", "0A000"),
        ("l.id = r.id AND", "42601"),
        ("$2 = 1", "42P02"),
        ("l.id = r.name", "42883"),
    ],
)
def test_what_is_no_condition_is_refused_with_a_hint(places: Connection, condition: str, sqlstate: str) -> None:
    with pytest.raises(psycopg.Error) as caught:
        places.execute("SELECT FROM pgembed.semantic_join(NULL::city, NULL::capital, condition => %s)", [condition])
    assert caught.value.sqlstate == sqlstate
    assert "condition is not a boolean expression over l and r" in str(caught.value.diag.message_primary)
    assert caught.value.diag.message_hint
