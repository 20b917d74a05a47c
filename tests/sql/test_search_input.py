"""search: bad arguments and filters, each with SQLSTATE and HINT."""

from __future__ import annotations

import psycopg
import pytest
from support import EAST, Connection, Refused, names

pytestmark = pytest.mark.one_transaction


@pytest.mark.parametrize("k", [0, -1])
def test_k_must_be_positive(spots: Connection, refused: Refused, k: int) -> None:
    refused(
        spots,
        "22023",
        f"SELECT * FROM pgembed.search(NULL::spot, {EAST}, k => {k})",
        message=f"k must be at least 1, not {k}",
        hint="number of results",
    )


def test_k_must_not_be_null(spots: Connection, refused: Refused) -> None:
    refused(spots, "22004", f"SELECT * FROM pgembed.search(NULL::spot, {EAST}, k => NULL)", message="k is NULL", hint="10 by default")


@pytest.mark.parametrize("recall", ["0", "-0.5", "1.01", "'NaN'"])
def test_recall_must_be_a_share(spots: Connection, refused: Refused, recall: str) -> None:
    refused(
        spots,
        "22023",
        f"SELECT * FROM pgembed.search(NULL::spot, {EAST}, recall => {recall})",
        message="recall must be above 0 and at most 1",
        hint="0.99 asks for",
    )


def test_max_distance_must_be_a_number(spots: Connection, refused: Refused) -> None:
    refused(spots, "22023", f"SELECT * FROM pgembed.search(NULL::spot, {EAST}, max_distance => 'NaN')", message="max_distance")


def test_query_must_not_be_null(spots: Connection, refused: Refused) -> None:
    refused(spots, "22004", "SELECT * FROM pgembed.search(NULL::spot, NULL::vector)", message="query is NULL", hint="a text or a vector")


def test_query_must_have_the_dimensions_of_the_column(spots: Connection, refused: Refused) -> None:
    refused(
        spots,
        "22000",
        "SELECT * FROM pgembed.search(NULL::spot, '[1,2]'::vector)",
        message="query has 2 dimensions, spot.e has 3",
        hint="embed_query",
    )


@pytest.mark.parametrize(
    ("condition", "sqlstate"),
    [
        ("size <", "42601"),
        ("size < 10)", "42601"),
        ("(size < 10", "42601"),
        ("nobody = 1", "42703"),
        ("size", "42804"),
        ("name", "42804"),
        ("count(*) > 1", "42803"),
        ("generate_series(1, 2) = 1", "0A000"),
        ("true) UNION ALL SELECT * FROM spot --", "42601"),
        ("true) OR (true", "42601"),
        ("true UNION ALL SELECT 1", "42601"),
        ("true ORDER BY size", "42601"),
        ("true LIMIT 1", "42601"),
        ("true FOR UPDATE", "42601"),
        ("true; DROP TABLE spot", "42601"),
        ("$2 IS NULL", "42P02"),
        ("size < (VALUES (1), ", "42601"),
        ("/* size < 10", "42601"),
        ("'unfinished", "42601"),
        ("$a$ unfinished", "42601"),
        ("true, false", "42601"),
    ],
)
def test_filter_must_be_one_boolean_expression(spots: Connection, refused: Refused, condition: str, sqlstate: str) -> None:
    refused(
        spots,
        sqlstate,
        "SELECT * FROM pgembed.search(NULL::spot, '[1,0,0]'::vector, filter => %s)",
        [condition],
        message="filter is not a boolean expression over spot: ",
    )
    assert spots.execute("SELECT count(*) FROM spot").fetchone() == (5,)


def test_an_error_of_the_filter_at_run_time_is_postgresqls_own(spots: Connection) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        spots.execute(f"SELECT * FROM pgembed.search(NULL::spot, {EAST}, filter => '1 / (size - 10) > 0')")


@pytest.mark.own_database
def test_a_filter_cannot_write(spots: Connection) -> None:
    spots.execute("CREATE FUNCTION wipe() RETURNS boolean LANGUAGE plpgsql AS 'BEGIN DELETE FROM spot; RETURN true; END'")
    names(spots, f"{EAST}, filter => 'size > 0 OR wipe()'")
    with pytest.raises(psycopg.Error):
        spots.execute(f"SELECT * FROM pgembed.search(NULL::spot, {EAST}, filter => '(SELECT count(*) FROM (DELETE FROM spot) AS d) > 0')")
    assert spots.execute("SELECT count(*) FROM spot").fetchone() == (5,)


def test_a_table_without_an_embedded_column_is_refused(db: Connection, refused: Refused) -> None:
    db.execute("CREATE TABLE plain (id int PRIMARY KEY)")
    refused(
        db,
        "42704",
        "SELECT * FROM pgembed.search(NULL::plain, '[1]'::vector)",
        message='table "plain" has no embedded column',
        hint="SELECT pgembed.add_embedding('plain'",
    )


def test_a_type_that_is_no_table_is_refused(db: Connection, refused: Refused) -> None:
    refused(db, "42809", "SELECT * FROM pgembed.search(1, '[1]'::vector)", message="not integer", hint="NULL::product")


def test_a_table_that_is_called_like_a_type_must_be_qualified(db: Connection, refused: Refused) -> None:
    db.execute("CREATE TABLE point (id int PRIMARY KEY, e vector(2)); INSERT INTO point VALUES (1, '[1,0]')")
    db.execute("SELECT pgembed.adopt_embedding('point', 'e')")
    refused(db, "42809", "SELECT * FROM pgembed.search(NULL::point, '[1,0]'::vector)", hint="NULL::public.point")
    assert db.execute("SELECT (item).id FROM pgembed.search(NULL::public.point, '[1,0]'::vector)").fetchall() == [(1,)]


def test_a_composite_type_that_is_no_table_is_refused(db: Connection, refused: Refused) -> None:
    db.execute("CREATE TYPE pair AS (a int, b int)")
    refused(db, "42809", "SELECT * FROM pgembed.search(NULL::pair, '[1]'::vector)", hint="NULL::product")


@pytest.fixture
def aspects(spots: Connection) -> Connection:
    """The spots with a second embedded column, `l`, and no third."""
    spots.execute("ALTER TABLE spot ADD COLUMN l vector(2)")
    spots.execute("UPDATE spot SET l = ARRAY[id, 0]::vector")
    spots.execute("SELECT pgembed.adopt_embedding('spot', 'l', metric => 'l2')")
    return spots


def test_a_column_must_be_named_where_there_are_two(aspects: Connection, refused: Refused) -> None:
    refused(
        aspects,
        "42702",
        f"SELECT * FROM pgembed.search(NULL::spot, {EAST})",
        message='table "spot" has 2 embedded columns: e, l',
        hint="column_name => 'e'",
    )


def test_the_named_column_is_searched(aspects: Connection) -> None:
    assert names(aspects, "'[4.9,0]'::vector, k => 1, column_name => 'l'") == ["west"]
    assert names(aspects, f"{EAST}, k => 1, column_name => 'e'") == ["east"]


def test_an_unknown_column_is_refused_with_the_known_ones(aspects: Connection, refused: Refused) -> None:
    refused(aspects, "42704", f"SELECT * FROM pgembed.search(NULL::spot, {EAST}, column_name => 'x')", message='"x"', hint="e, l")


def test_text_cannot_be_searched_in_a_column_without_a_model(spots: Connection, refused: Refused) -> None:
    refused(
        spots,
        "0A000",
        "SELECT * FROM pgembed.search(NULL::spot, 'east')",
        message="spot.e was adopted without a model",
        hint="Pass a vector as query",
    )


def test_a_column_that_was_dropped_is_told(spots: Connection, refused: Refused) -> None:
    spots.execute("ALTER TABLE spot DROP COLUMN e")
    refused(
        spots,
        "42704",
        f"SELECT * FROM pgembed.search(NULL::spot, {EAST})",
        message='table "spot" has no embedded column',
        hint="pgembed.add_embedding('spot'",
    )
