"""search, search_like, search_keys, explain_search, and plain SQL with embed_query()."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import psycopg
import pytest

Connection = psycopg.Connection[Any]
Refused = Callable[..., psycopg.Error]
Notices = list[Any]
AsRole = Callable[[Connection, str], AbstractContextManager[None]]
MakeRole = Callable[..., str]

EAST = "'[1,0,0]'::vector"


def names(db: Connection, arguments: str) -> list[str]:
    """Names of the spots that a search finds, in order of rank."""
    return [row[0] for row in db.execute(f"SELECT (item).name FROM pgembed.search(NULL::spot, {arguments}) ORDER BY rank").fetchall()]


def grow(db: Connection) -> None:
    """Add so many spots, far from the east and all different, that search takes the index."""
    db.execute(
        """
        INSERT INTO spot SELECT n, 'filler', n, ARRAY[-1, cos(n), sin(n)]::vector FROM generate_series(6, 12000) AS n;
        CREATE INDEX ON spot USING hnsw (e vector_cosine_ops) WITH (m = 4, ef_construction = 16);
        """
    )
    db.execute("ANALYZE spot")


def explained(db: Connection, arguments: str) -> dict[str, str]:
    return dict(db.execute(f"SELECT property, value FROM pgembed.explain_search({arguments})").fetchall())


# What comes out ---------------------------------------------------------------------------------------------------------------


def test_search_returns_typed_rows_with_distance_and_rank(spots: Connection) -> None:
    found = spots.execute(
        f"SELECT (item).id, (item).name, round(distance::numeric, 3), rank FROM pgembed.search(NULL::spot, {EAST}, k => 2)"
    ).fetchall()
    assert [(id_, name, float(distance), rank) for id_, name, distance, rank in found] == [(1, "east", 0.0, 1), (3, "northeast", 0.293, 2)]


def test_item_has_the_columns_of_the_table_after_one_was_dropped(spots: Connection) -> None:
    spots.execute("ALTER TABLE spot DROP COLUMN size")
    spots.execute("ALTER TABLE spot ADD COLUMN colour text DEFAULT 'red'")
    found = spots.execute(f"SELECT (item).name, (item).colour FROM pgembed.search(NULL::spot, {EAST}, k => 1)").fetchone()
    assert found == ("east", "red")


def test_search_returns_ten_rows_where_k_is_left_out(db: Connection) -> None:
    db.execute("CREATE TABLE t (id int PRIMARY KEY, e vector(2))")
    db.execute("INSERT INTO t SELECT n, ARRAY[n, 1]::vector FROM generate_series(1, 20) AS n")
    db.execute("SELECT pgembed.adopt_embedding('t', 'e')")
    assert db.execute("SELECT count(*) FROM pgembed.search(NULL::t, '[1,1]'::vector)").fetchone() == (10,)


def test_search_returns_fewer_rows_when_the_filter_leaves_fewer(spots: Connection, notices: Notices) -> None:
    assert names(spots, f"{EAST}, filter => 'size > 30'") == ["up", "west"]
    assert notices == []


def test_search_of_an_empty_table_returns_nothing(spots: Connection, notices: Notices) -> None:
    spots.execute("TRUNCATE spot")
    assert names(spots, EAST) == []
    assert notices == []


def test_filter_is_applied_before_k_is_chosen(spots: Connection) -> None:
    assert names(spots, f"{EAST}, k => 1, filter => $$ name LIKE 'n%' AND size < 30 $$") == ["north"]


def test_filter_takes_values_from_params(spots: Connection) -> None:
    found = names(spots, """'[1,0,0]'::vector, filter => $$ size < ($1->>'max')::int $$, params => '{"max": 25}'""")
    assert found == ["east", "north"]


def test_params_without_a_filter_are_ignored(spots: Connection) -> None:
    assert names(spots, f"""{EAST}, k => 1, params => '{{"max": 25}}'""") == ["east"]


def test_a_value_in_params_is_never_sql(spots: Connection) -> None:
    params = json.dumps({"name": "east' OR true --"})
    found = spots.execute(
        f"SELECT count(*) FROM pgembed.search(NULL::spot, {EAST}, filter => $$ name = $1->>'name' $$, params => %s)", [params]
    )
    assert found.fetchone() == (0,)


def test_filter_may_be_a_subquery_over_another_table(spots: Connection) -> None:
    spots.execute("CREATE TABLE chosen (spot_id int); INSERT INTO chosen VALUES (4), (5)")
    assert names(spots, f"{EAST}, filter => 'EXISTS (SELECT FROM chosen WHERE spot_id = spot.id)'") == ["up", "west"]


@pytest.mark.parametrize("name", ["nearest", "found", "every", "answer"])
def test_filter_may_name_tables_that_are_called_like_parts_of_our_statement(spots: Connection, name: str) -> None:
    spots.execute(f"CREATE TABLE {name} (spot_id int); INSERT INTO {name} VALUES (5)")
    grow(spots)
    # PostgreSQL takes an inequality of unknown values for true of most rows.
    filtered = f"{EAST}, k => 2, filter => '(SELECT count(*) FROM {name} WHERE spot_id = id) <> 0'"
    assert explained(spots, f"NULL::spot, {filtered}")["path"] == "index"
    assert names(spots, filtered) == ["west"]


def test_empty_filter_passes_every_row(spots: Connection) -> None:
    assert len(names(spots, f"{EAST}, filter => '  '")) == 5


def test_filter_that_is_null_for_a_row_leaves_it_out(spots: Connection) -> None:
    spots.execute("UPDATE spot SET size = NULL WHERE name = 'east'")
    assert "east" not in names(spots, f"{EAST}, filter => 'size > 0'")


def test_filter_may_end_in_a_comment(spots: Connection) -> None:
    assert names(spots, f"{EAST}, filter => 'size = 10 -- the small one'") == ["east"]


def test_max_distance_bounds_the_results(spots: Connection) -> None:
    assert names(spots, f"{EAST}, max_distance => 0.5") == ["east", "northeast"]


def test_max_distance_includes_its_bound(spots: Connection) -> None:
    assert names(spots, f"{EAST}, max_distance => 1") == ["east", "northeast", "north", "up"]


def test_rows_at_one_distance_come_in_one_order(spots: Connection) -> None:
    first = names(spots, f"{EAST}, k => 3, filter => $$ name IN ('north', 'up', 'west') $$")
    assert first[:2] == ["north", "up"]
    assert all(names(spots, f"{EAST}, k => 1, filter => 'size IN (20, 40)'") == ["north"] for _ in range(5))


def test_search_is_in_the_order_of_rank_without_order_by(spots: Connection) -> None:
    ranks = spots.execute(f"SELECT rank FROM pgembed.search(NULL::spot, {EAST})").fetchall()
    assert ranks == [(1,), (2,), (3,), (4,), (5,)]


def test_rows_without_a_vector_are_told_where_fewer_than_k_are_found(spots: Connection, notices: Notices) -> None:
    spots.execute("UPDATE spot SET e = NULL WHERE size >= 40")
    assert names(spots, f"{EAST}, filter => 'size >= 30'") == ["northeast"]
    assert [told.message for told in notices] == ["2 rows of spot that pass the filter have no vector yet and could not be found"]
    assert "CALL pgembed.refresh('spot')" in str(notices[0].hint)


def test_rows_without_a_vector_are_not_told_where_k_are_found(spots: Connection, notices: Notices) -> None:
    spots.execute("UPDATE spot SET e = NULL WHERE size >= 40")
    assert len(names(spots, f"{EAST}, k => 3")) == 3
    assert notices == []


def test_settings_of_the_index_scan_are_put_back(spots: Connection) -> None:
    grow(spots)
    assert explained(spots, f"NULL::spot, {EAST}")["path"] == "index"
    with spots.transaction():
        spots.execute("SET LOCAL hnsw.ef_search = 77")
        names(spots, EAST)
        assert spots.execute("SHOW hnsw.ef_search").fetchone() == ("77",)
        assert spots.execute("SHOW hnsw.iterative_scan").fetchone() == ("off",)


def test_search_runs_in_a_read_only_transaction(spots: Connection) -> None:
    with spots.transaction():
        spots.execute("SET TRANSACTION READ ONLY")
        assert names(spots, f"{EAST}, k => 1") == ["east"]


def test_search_can_be_joined_laterally(spots: Connection) -> None:
    found = spots.execute(
        "SELECT p.name, (s.item).name FROM spot AS p, pgembed.search(NULL::spot, p.e, k => 1, filter => 'size <> 10') AS s"
        " WHERE p.id IN (1, 2) ORDER BY p.id"
    ).fetchall()
    assert found == [("east", "northeast"), ("north", "north")]


# Exactness --------------------------------------------------------------------------------------------------------------------


def brute_force(vectors: np.ndarray, query: np.ndarray, metric: str) -> np.ndarray:
    """Distances as pgvector defines them, float64 (n,)."""
    matrix, q = vectors.astype(np.float64), query.astype(np.float64)
    if metric == "l2":
        return np.asarray(np.linalg.norm(matrix - q, axis=1))
    if metric == "inner_product":
        return np.asarray(-(matrix @ q))
    return np.asarray(1 - matrix @ q / np.linalg.norm(matrix, axis=1) / np.linalg.norm(q))


@pytest.mark.parametrize("kind", ["vector", "halfvec"])
@pytest.mark.parametrize("metric", ["cosine", "l2", "inner_product"])
def test_exact_search_is_what_numpy_finds(db: Connection, metric: str, kind: str) -> None:
    generator = np.random.default_rng(7)
    vectors = generator.standard_normal((400, 8)).astype(np.float16).astype(np.float32)
    query = generator.standard_normal(8).astype(np.float16).astype(np.float32)
    db.execute(f"CREATE TABLE t (id int PRIMARY KEY, e {kind}(8))")
    with db.cursor() as cursor, cursor.copy("COPY t FROM STDIN") as copy:
        for number, vector in enumerate(vectors):
            copy.write_row((number, str(vector.tolist())))
    db.execute("SELECT pgembed.adopt_embedding('t', 'e', metric => %s)", [metric])
    found = db.execute("SELECT (item).id, distance FROM pgembed.search(NULL::t, %s::vector, k => 20)", [str(query.tolist())]).fetchall()
    distances = brute_force(vectors, query, metric)
    assert [row[0] for row in found] == np.argsort(distances)[:20].tolist()
    assert [row[1] for row in found] == pytest.approx(np.sort(distances)[:20].tolist(), abs=1e-5)


@pytest.fixture
def cloud(db: Connection) -> Connection:
    """12,000 points on a circle with an index; `far` is true for the 500 that lie opposite of [1,0,0]."""
    db.execute(
        """
        CREATE TABLE cloud (id int PRIMARY KEY, far boolean, half boolean, e vector(3));
        INSERT INTO cloud SELECT n, n > 11500, n % 2 = 0, ARRAY[cos(n * pi() / 12000), sin(n * pi() / 12000), 0]::vector
            FROM generate_series(1, 12000) AS n;
        CREATE INDEX ON cloud USING hnsw (e vector_cosine_ops) WITH (m = 4, ef_construction = 16);
        SELECT pgembed.adopt_embedding('cloud', 'e');
        """
    )
    db.execute("ANALYZE cloud")
    return db


def ids(db: Connection, arguments: str) -> list[int]:
    return [row[0] for row in db.execute(f"SELECT (item).id FROM pgembed.search(NULL::cloud, {arguments})").fetchall()]


def test_search_without_a_filter_uses_the_index(cloud: Connection) -> None:
    assert explained(cloud, f"NULL::cloud, {EAST}")["path"] == "index"


def test_the_statement_of_the_index_path_scans_the_index(cloud: Connection) -> None:
    statement = explained(cloud, f"NULL::cloud, {EAST}")["statement"]
    for number, value in (("$1", "NULL::jsonb"), ("$2", EAST), ("$3", "10"), ("$4", "NULL::float8"), ("$5", "NULL::text")):
        statement = statement.replace(number, value)
    plan = "\n".join(row[0] for row in cloud.execute(f"EXPLAIN {statement}").fetchall())
    assert "Index Scan using cloud_e_idx" in plan


def test_index_path_finds_the_nearest(cloud: Connection) -> None:
    assert ids(cloud, f"{EAST}, k => 10") == list(range(1, 11))


def test_k_is_filled_where_the_index_gives_too_few(cloud: Connection) -> None:
    # The planner takes the filter for one that most rows pass, and the rows that do are the last that the index would reach.
    opposite = "(far::text || 'x') <> 'falsex' OR NOT half IS NOT NULL"
    asked = f"{EAST}, k => 10, filter => $$ {opposite} $$"
    assert explained(cloud, f"NULL::cloud, {asked}")["path"] == "index"
    assert ids(cloud, asked) == list(range(11501, 11511))


def test_a_selective_filter_is_answered_exactly(cloud: Connection) -> None:
    told = explained(cloud, f"NULL::cloud, {EAST}, filter => 'far'")
    assert told["path"] == "exact"
    assert "rows pass the filter" in told["reason"]


def test_search_under_a_correlated_filter_equals_the_exact_one(cloud: Connection) -> None:
    asked = f"{EAST}, k => 25, filter => 'far'"
    assert ids(cloud, asked) == ids(cloud, f"{asked}, exact => true") == list(range(11501, 11526))


def test_max_distance_on_the_index_path_returns_all_within_it(cloud: Connection) -> None:
    # cos(35 * pi / 12000) is .99996 and 35 rows are as near
    asked = f"{EAST}, k => 100, max_distance => {1 - np.cos(35.5 * np.pi / 12000)}"
    assert explained(cloud, f"NULL::cloud, {asked}")["path"] == "index"
    assert ids(cloud, asked) == list(range(1, 36))


@pytest.mark.parametrize("argument", ["exact => true", "recall => 1", "k => 1001"])
def test_what_only_an_exact_search_can_keep_is_exact(cloud: Connection, argument: str) -> None:
    assert explained(cloud, f"NULL::cloud, {EAST}, {argument}")["path"] == "exact"


def test_exact_plan_does_not_order_by_the_index(cloud: Connection) -> None:
    statement = explained(cloud, f"NULL::cloud, {EAST}, exact => true")["statement"]
    for number, value in (("$2", EAST), ("$3", "10")):
        statement = statement.replace(number, value)
    plan = "\n".join(row[0] for row in cloud.execute(f"EXPLAIN {statement}").fetchall())
    assert "cloud_e_idx" not in plan


def test_an_index_of_another_metric_does_not_serve(cloud: Connection) -> None:
    cloud.execute("SELECT pgembed.alter_embedding('cloud', metric => 'l2')")
    told = explained(cloud, f"NULL::cloud, {EAST}")
    assert told["path"] == "exact"
    assert "no vector index on cloud.e serves its metric, l2" in told["reason"]


def test_a_partial_index_does_not_serve(cloud: Connection) -> None:
    cloud.execute("DROP INDEX cloud_e_idx; CREATE INDEX ON cloud USING hnsw (e vector_cosine_ops) WHERE far")
    assert explained(cloud, f"NULL::cloud, {EAST}")["path"] == "exact"


def test_an_ivfflat_index_serves(cloud: Connection) -> None:
    cloud.execute("DROP INDEX cloud_e_idx; CREATE INDEX ON cloud USING ivfflat (e vector_cosine_ops) WITH (lists = 10)")
    told = explained(cloud, f"NULL::cloud, {EAST}")
    assert told["path"] == "index"
    assert "ivfflat index" in told["reason"]
    assert ids(cloud, f"{EAST}, k => 5") == [1, 2, 3, 4, 5]


def test_explain_search_runs_nothing_of_the_filter(spots: Connection) -> None:
    assert explained(spots, f"NULL::spot, {EAST}, filter => '1 / (size - 10) > 0'")["path"] == "exact"


def test_explain_search_tells_the_estimate_and_the_statement(spots: Connection) -> None:
    told = explained(spots, f"NULL::spot, {EAST}, filter => 'size < 30'")
    assert list(told) == ["path", "reason", "estimated rows", "settings", "statement"]
    assert float(told["estimated rows"]) > 0
    assert '"public"."spot"' in told["statement"]


# Bad input --------------------------------------------------------------------------------------------------------------------


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
        "42703",
        f"SELECT * FROM pgembed.search(NULL::spot, {EAST})",
        message='"e" of table "spot" does not exist any more',
        hint="pgembed.drop_embedding('spot', 'e')",
    )


# Odd tables -------------------------------------------------------------------------------------------------------------------

WEIRD = '"We""ird Table"'


@pytest.mark.parametrize(
    ("table", "vector"),
    [
        (WEIRD, '"Vec""tor"'),
        ("point2", "distance"),
        ("point2", "rank"),
        ("point2", "item"),
        ("point2", "point2"),
        ('"select"', '"order"'),
        ("t", "t"),
        ('"Ünï çødé"', '"ψ"'),
        ("nearest", "answer"),
        ('"dollar$1"', '"$2"'),
    ],
)
def test_search_of_a_table_with_odd_names(db: Connection, table: str, vector: str) -> None:
    db.execute(
        f"""
        CREATE TABLE {table} ("Key" int PRIMARY KEY, "place" text, {vector} vector(2));
        INSERT INTO {table} VALUES (1, 'a', '[1,0]'), (2, 'b', '[0,1]');
        """
    )
    name = vector.strip('"').replace('""', '"')
    db.execute("SELECT pgembed.adopt_embedding(%s, %s)", [table, name])
    by_row = db.execute(
        f"""SELECT (item)."Key", (item).place FROM pgembed.search(NULL::{table}, '[0,1]'::vector, k => 1, filter => $$ place > 'a' $$)"""
    )
    assert by_row.fetchall() == [(2, "b")]
    assert db.execute("SELECT key FROM pgembed.search_keys(%s, '[1,0]'::vector, k => 1)", [table]).fetchall() == [("1",)]
    assert db.execute(f"""SELECT (item)."Key" FROM pgembed.search_like(NULL::{table}, '1')""").fetchall() == [(2,)]


def test_search_of_a_table_with_reserved_column_names_in_the_filter(db: Connection) -> None:
    db.execute('CREATE TABLE t (id int PRIMARY KEY, "user" text, "Select" int, distance float8, e vector(2))')
    db.execute("INSERT INTO t VALUES (1, 'ann', 5, 0.5, '[1,0]'), (2, 'bob', 6, 0.1, '[1,0]')")
    db.execute("SELECT pgembed.adopt_embedding('t', 'e')")
    condition = """ "user" = 'ann' AND "Select" = 5 AND distance > 0.2 AND t.distance < 1 """
    found = db.execute("SELECT (item).id, distance FROM pgembed.search(NULL::t, '[1,0]'::vector, filter => %s)", [condition]).fetchall()
    assert found == [(1, 0.0)]


def test_search_in_another_schema_with_a_minimal_search_path(db: Connection) -> None:
    db.execute(
        """
        CREATE SCHEMA shop;
        CREATE TABLE shop.thing (id int PRIMARY KEY, name text, e vector(2));
        INSERT INTO shop.thing VALUES (1, 'a', '[1,0]'), (2, 'b', '[0,1]');
        SELECT pgembed.adopt_embedding('shop.thing', 'e');
        """
    )
    db.execute("SET search_path = ''")
    query = "'[0,1]'::public.vector"
    assert db.execute(f"SELECT (item).name FROM pgembed.search(NULL::shop.thing, {query}, k => 1)").fetchall() == [("b",)]
    assert db.execute(f"SELECT key FROM pgembed.search_keys('shop.thing', {query}, k => 1)").fetchall() == [("2",)]
    assert db.execute("SELECT (item).name FROM pgembed.search_like(NULL::shop.thing, '1')").fetchall() == [("b",)]
    assert db.execute(f"SELECT value FROM pgembed.explain_search(NULL::shop.thing, {query})").fetchone() == ("exact",)


def test_the_hint_names_a_table_of_another_schema_so_that_it_can_be_pasted(db: Connection, notices: Notices) -> None:
    db.execute('CREATE SCHEMA "My Shop"; CREATE TABLE "My Shop"."A""b" (id int PRIMARY KEY, e vector(2))')
    db.execute("""INSERT INTO "My Shop"."A""b" VALUES (1, NULL)""")
    db.execute("""SELECT pgembed.adopt_embedding('"My Shop"."A""b"', 'e')""")
    db.execute("""SELECT * FROM pgembed.search(NULL::"My Shop"."A""b", '[1,0]'::vector)""")
    assert """pgembed.refresh('"My Shop"."A""b"')""" in str(notices[-1].hint)


def test_a_filter_means_what_it_means_to_the_caller(spots: Connection) -> None:
    spots.execute(
        """
        CREATE SCHEMA mine;
        CREATE FUNCTION mine.small(int) RETURNS boolean LANGUAGE sql RETURN $1 < 15;
        SET search_path = mine, public;
        """
    )
    assert names(spots, f"{EAST}, filter => 'small(size)'") == ["east"]


def test_a_hostile_operator_in_the_search_path_is_not_ours(spots: Connection) -> None:
    spots.execute(
        """
        CREATE SCHEMA evil;
        CREATE FUNCTION evil.wrong(int, int) RETURNS boolean LANGUAGE sql RETURN false;
        CREATE OPERATOR evil.<= (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.wrong);
        CREATE OPERATOR evil.< (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.wrong);
        CREATE FUNCTION evil.far(vector, vector) RETURNS float8 LANGUAGE sql RETURN 0;
        CREATE OPERATOR evil.<=> (LEFTARG = vector, RIGHTARG = vector, FUNCTION = evil.far);
        SET search_path = evil, pg_catalog, public;
        """
    )
    assert names(spots, f"{EAST}, k => 2") == ["east", "northeast"]


def test_search_of_a_partitioned_table(db: Connection) -> None:
    db.execute(
        """
        CREATE TABLE part (id int, region text, e vector(2), PRIMARY KEY (region, id)) PARTITION BY LIST (region);
        CREATE TABLE part_a PARTITION OF part FOR VALUES IN ('a');
        CREATE TABLE part_b (e vector(2), region text NOT NULL, id int NOT NULL);
        ALTER TABLE part ATTACH PARTITION part_b FOR VALUES IN ('b');
        INSERT INTO part VALUES (1, 'a', '[1,0]'), (2, 'a', '[1,1]'), (1, 'b', '[1,0.1]'), (2, 'b', '[0,1]');
        SELECT pgembed.adopt_embedding('part', 'e');
        """
    )
    found = db.execute("SELECT (item).region, (item).id FROM pgembed.search(NULL::part, '[1,0]'::vector, k => 3)").fetchall()
    assert found == [("a", 1), ("b", 1), ("a", 2)]
    like = db.execute("""SELECT (item).region, (item).id FROM pgembed.search_like(NULL::part, '["b", 1]', k => 1)""").fetchall()
    assert like == [("a", 1)]


def test_rows_of_two_partitions_at_one_distance_come_in_one_order(db: Connection) -> None:
    db.execute(
        """
        CREATE TABLE part (id int PRIMARY KEY, e vector(2)) PARTITION BY RANGE (id);
        CREATE TABLE part_b PARTITION OF part FOR VALUES FROM (10) TO (20);
        CREATE TABLE part_a PARTITION OF part FOR VALUES FROM (0) TO (10);
        INSERT INTO part SELECT n, '[1,0]' FROM generate_series(0, 19) AS n;
        SELECT pgembed.adopt_embedding('part', 'e');
        """
    )
    orders = {
        tuple(db.execute(f"SELECT (item).id FROM pgembed.search(NULL::part, '[1,0]'::vector, k => {k})").fetchall()[:5])
        for k in (5, 6, 10, 15, 20)
    }
    assert len(orders) == 1


def test_search_of_a_materialized_view(spots: Connection) -> None:
    spots.execute("CREATE MATERIALIZED VIEW seen AS SELECT * FROM spot WHERE size < 30")
    spots.execute("SELECT pgembed.adopt_embedding('seen', 'e')")
    assert spots.execute(f"SELECT (item).name FROM pgembed.search(NULL::seen, {EAST})").fetchall() == [("east",), ("north",)]


def test_search_of_a_temporary_table(db: Connection) -> None:
    db.execute("CREATE TEMPORARY TABLE t (id int PRIMARY KEY, e vector(2))")
    db.execute("INSERT INTO t VALUES (1, '[1,0]')")
    db.execute("SELECT pgembed.adopt_embedding('t', 'e')")
    assert db.execute("SELECT (item).id FROM pgembed.search(NULL::t, '[1,0]'::vector)").fetchall() == [(1,)]


def test_search_after_table_and_column_were_renamed(spots: Connection) -> None:
    spots.execute("ALTER TABLE spot RENAME TO place")
    spots.execute("ALTER TABLE place RENAME COLUMN size TO extent")
    found = spots.execute(f"SELECT (item).name FROM pgembed.search(NULL::place, {EAST}, filter => 'extent = 20')").fetchall()
    assert found == [("north",)]


def test_search_of_a_column_of_no_fixed_dimension(db: Connection) -> None:
    db.execute("CREATE TABLE t (id int PRIMARY KEY, e vector)")
    db.execute("SELECT pgembed.adopt_embedding('t', 'e')")
    db.execute("INSERT INTO t VALUES (1, '[1,0]'), (2, '[0,1]')")
    assert db.execute("SELECT (item).id FROM pgembed.search(NULL::t, '[0,1]'::vector, k => 1)").fetchall() == [(2,)]


# search_like and search_keys --------------------------------------------------------------------------------------------------


def test_search_like_leaves_the_row_itself_out(spots: Connection) -> None:
    found = spots.execute("SELECT (item).name, rank FROM pgembed.search_like(NULL::spot, '1', k => 2)").fetchall()
    assert found == [("northeast", 1), ("north", 2)]


def test_search_like_keeps_another_row_with_the_same_vector(spots: Connection) -> None:
    spots.execute("INSERT INTO spot VALUES (6, 'east too', 60, '[1,0,0]')")
    assert spots.execute("SELECT (item).name FROM pgembed.search_like(NULL::spot, '1', k => 1)").fetchall() == [("east too",)]


def test_search_like_takes_filter_and_params(spots: Connection) -> None:
    found = spots.execute(
        "SELECT (item).name FROM pgembed.search_like(NULL::spot, '1', filter => $$ size > ($1->>'min')::int $$, params => %s)",
        ['{"min": 45}'],
    ).fetchall()
    assert found == [("west",)]


def test_search_like_of_a_row_that_is_not_there(spots: Connection, refused: Refused) -> None:
    refused(
        spots,
        "P0002",
        "SELECT * FROM pgembed.search_like(NULL::spot, '99')",
        message='no row of spot has the key "99"',
        hint="JSON array",
    )


def test_search_like_of_a_row_without_a_vector(spots: Connection, refused: Refused) -> None:
    spots.execute("UPDATE spot SET e = NULL WHERE id = 2")
    refused(
        spots, "55000", "SELECT * FROM pgembed.search_like(NULL::spot, '2')", message="has no vector yet", hint="pgembed.refresh('spot')"
    )


def test_search_like_of_null(spots: Connection, refused: Refused) -> None:
    refused(spots, "22004", "SELECT * FROM pgembed.search_like(NULL::spot, NULL)", message="key is NULL", hint="primary key")


def test_search_like_needs_a_primary_key(db: Connection, refused: Refused) -> None:
    db.execute("CREATE TABLE t (id int, e vector(2)); INSERT INTO t VALUES (1, '[1,0]'); SELECT pgembed.adopt_embedding('t', 'e')")
    refused(db, "42P16", "SELECT * FROM pgembed.search_like(NULL::t, '1')", message="no primary key", hint="ADD PRIMARY KEY")


def test_search_needs_no_primary_key(db: Connection) -> None:
    db.execute("CREATE TABLE t (id int, e vector(2)); INSERT INTO t VALUES (1, '[1,0]'); SELECT pgembed.adopt_embedding('t', 'e')")
    assert db.execute("SELECT (item).id FROM pgembed.search(NULL::t, '[1,0]'::vector)").fetchall() == [(1,)]


def test_search_keys_needs_a_primary_key(db: Connection, refused: Refused) -> None:
    db.execute("CREATE TABLE t (id int, e vector(2)); INSERT INTO t VALUES (1, '[1,0]'); SELECT pgembed.adopt_embedding('t', 'e')")
    refused(db, "42P16", "SELECT * FROM pgembed.search_keys('t', '[1,0]'::vector)", message="no primary key", hint="ADD PRIMARY KEY")


def test_search_keys_returns_keys_as_text(spots: Connection) -> None:
    found = spots.execute(f"SELECT key, round(distance::numeric, 3)::float8, rank FROM pgembed.search_keys('spot', {EAST}, k => 2)")
    assert found.fetchall() == [("1", 0.0, 1), ("3", 0.293, 2)]


def test_keys_of_composite_primary_keys_go_back_and_forth(db: Connection) -> None:
    db.execute(
        """
        CREATE TABLE t (day date, who text, n numeric, e vector(2), PRIMARY KEY (who, day, n));
        INSERT INTO t VALUES ('2024-02-29', 'a "quoted", one', 1.50, '[1,0]'), ('2024-03-01', 'é', 'NaN', '[0,1]');
        SELECT pgembed.adopt_embedding('t', 'e');
        """
    )
    keys = [row[0] for row in db.execute("SELECT key FROM pgembed.search_keys('t', '[1,0]'::vector)").fetchall()]
    assert [json.loads(key) for key in keys] == [['a "quoted", one', "2024-02-29", 1.5], ["é", "2024-03-01", "NaN"]]
    for key, other in zip(keys, reversed(keys), strict=True):
        assert db.execute("SELECT key FROM pgembed.search_keys('t', '[1,0]'::vector) WHERE key <> %s", [key]).fetchall() == [(other,)]
        assert db.execute("SELECT (item).who FROM pgembed.search_like(NULL::t, %s)", [key]).fetchone() == (json.loads(other)[0],)


def test_search_keys_of_a_null_table(db: Connection, refused: Refused) -> None:
    refused(db, "22004", "SELECT * FROM pgembed.search_keys(NULL, '[1]'::vector)", message="target is NULL", hint="Name a table")


# Rights -----------------------------------------------------------------------------------------------------------------------


def test_a_role_without_select_is_refused(spots: Connection, make_role: MakeRole, as_role: AsRole, refused: Refused) -> None:
    bob = make_role("bob")
    with as_role(spots, bob):
        for call in (
            f"search(NULL::spot, {EAST})",
            f"search_keys('spot', {EAST})",
            f"explain_search(NULL::spot, {EAST})",
        ):
            refused(spots, "42501", f"SELECT * FROM pgembed.{call}", message="permission denied for table spot", hint="search_keys()")
        refused(spots, "42501", "SELECT * FROM pgembed.search_like(NULL::spot, '1')", message="permission denied for table spot", hint=None)


def test_a_role_with_select_may_search(spots: Connection, make_role: MakeRole, as_role: AsRole) -> None:
    bob = make_role("bob")
    spots.execute(f"GRANT SELECT ON spot TO {bob}")
    with as_role(spots, bob):
        assert names(spots, f"{EAST}, k => 1") == ["east"]


def test_a_role_with_some_columns_may_search_keys_but_not_rows(
    spots: Connection, make_role: MakeRole, as_role: AsRole, refused: Refused
) -> None:
    bob = make_role("bob")
    spots.execute(f"GRANT SELECT (id, e) ON spot TO {bob}")
    with as_role(spots, bob):
        assert spots.execute(f"SELECT key FROM pgembed.search_keys('spot', {EAST}, k => 1)").fetchall() == [("1",)]
        assert spots.execute(f"SELECT key FROM pgembed.search_keys('spot', {EAST}, filter => 'id > 4')").fetchall() == [("5",)]
        refused(spots, "42501", f"SELECT * FROM pgembed.search(NULL::spot, {EAST})", hint="search_keys()")
        refused(spots, "42501", f"SELECT * FROM pgembed.search_keys('spot', {EAST}, filter => 'size < 20')", hint=None)


def test_hidden_rows_are_neither_returned_nor_counted(
    spots: Connection, make_role: MakeRole, as_role: AsRole, notices: Notices, refused: Refused
) -> None:
    bob = make_role("bob")
    spots.execute(
        f"""
        GRANT SELECT ON spot TO {bob};
        ALTER TABLE spot ENABLE ROW LEVEL SECURITY;
        CREATE POLICY small ON spot USING (size <= 30);
        UPDATE spot SET e = NULL WHERE size IN (30, 50);
        """
    )
    with as_role(spots, bob):
        assert names(spots, EAST) == ["east", "north"]
        assert [told.message for told in notices] == ["1 row of spot that passes the filter has no vector yet and could not be found"]
        refused(spots, "P0002", "SELECT * FROM pgembed.search_like(NULL::spot, '4')", hint="JSON array")


def test_row_security_is_part_of_the_filter_before_k_is_chosen(spots: Connection, make_role: MakeRole, as_role: AsRole) -> None:
    bob = make_role("bob")
    spots.execute(f"GRANT SELECT ON spot TO {bob}; ALTER TABLE spot ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON spot USING (size >= 40)")
    with as_role(spots, bob):
        assert names(spots, f"{EAST}, k => 1") == ["up"]


def test_a_leaky_filter_does_not_see_hidden_rows(spots: Connection, make_role: MakeRole, as_role: AsRole, notices: Notices) -> None:
    bob = make_role("bob")
    spots.execute(
        f"""
        CREATE FUNCTION leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN RAISE NOTICE 'saw %', $1; RETURN true; END $$;
        GRANT SELECT ON spot TO {bob};
        ALTER TABLE spot ENABLE ROW LEVEL SECURITY;
        CREATE POLICY p ON spot USING (size <= 10);
        """
    )
    with as_role(spots, bob):
        names(spots, f"{EAST}, filter => 'leak(name)'")
    assert {str(told.message) for told in notices if str(told.message).startswith("saw")} == {"saw east"}


# Plain SQL --------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def embedded(db: Connection) -> Connection:
    """20 vectors of the default model's dimension, adopted as its own."""
    db.execute(
        """
        CREATE TABLE doc (id int PRIMARY KEY, e vector(384));
        INSERT INTO doc SELECT n, array_agg(sin(n * d)) FROM generate_series(1, 20) AS n, generate_series(1, 384) AS d GROUP BY n;
        SELECT pgembed.adopt_embedding('doc', 'e', 'all-minilm-l6-v2');
        """
    )
    return db


LONG_TEXT = "a rain jacket for children " * 100


def test_order_by_embed_query_uses_the_index(embedded: Connection) -> None:
    embedded.execute(
        "INSERT INTO doc SELECT n, array_agg(sin(n * d)) FROM generate_series(21, 3000) AS n, generate_series(1, 384) AS d GROUP BY n"
    )
    embedded.execute("CREATE INDEX doc_idx ON doc USING hnsw (e vector_cosine_ops) WITH (m = 4, ef_construction = 8)")
    embedded.execute("ANALYZE doc")
    for query in ("pgembed.embed_query('doc', 'a rain jacket')", "(SELECT pgembed.embed_query('doc', 'a rain jacket'))"):
        plan = "\n".join(row[0] for row in embedded.execute(f"EXPLAIN SELECT id FROM doc ORDER BY e <=> {query} LIMIT 10").fetchall())
        assert "Index Scan using doc_idx" in plan


def test_the_model_runs_once_per_statement_in_a_sequential_scan(embedded: Connection, notices: Notices) -> None:
    # Each run of the model on a text that is too long says so.
    found = embedded.execute("SELECT id FROM doc ORDER BY e <=> pgembed.embed_query('doc', %s) LIMIT 10", [LONG_TEXT]).fetchall()
    assert len(found) == 10
    assert [told.message for told in notices] == ["1 text was cut at the 256 tokens that all-minilm-l6-v2 reads"]


def test_embed_query_is_the_columns_model_and_not_the_default(embedded: Connection) -> None:
    embedded.execute("SELECT pgembed.set_default_model('all-minilm-l6-v2-int8')")
    same = embedded.execute("SELECT pgembed.embed_query('doc', 'jacket') = pgembed.embed('jacket', 'all-minilm-l6-v2')").fetchone()
    assert same == (True,)


def test_embed_query_of_null_is_null(embedded: Connection) -> None:
    assert embedded.execute("SELECT pgembed.embed_query('doc', NULL)").fetchone() == (None,)


def test_embed_query_of_empty_text_is_refused(embedded: Connection, refused: Refused) -> None:
    refused(embedded, "22023", "SELECT pgembed.embed_query('doc', ' ')", message="empty", hint="nullif")


def test_embed_query_needs_a_model(spots: Connection, refused: Refused) -> None:
    refused(spots, "0A000", "SELECT pgembed.embed_query('spot', 'a')", message="adopted without a model", hint="Pass a vector")


def test_embed_query_sees_at_once_that_the_column_was_dropped(embedded: Connection, refused: Refused) -> None:
    embedded.execute("SELECT pgembed.embed_query('doc', 'a')")
    embedded.execute("SELECT pgembed.drop_embedding('doc')")
    refused(embedded, "42704", "SELECT pgembed.embed_query('doc', 'a')", message="no embedded column", hint="add_embedding")


def test_search_by_text_equals_search_by_its_vector(embedded: Connection) -> None:
    by_text = embedded.execute("SELECT (item).id, distance FROM pgembed.search(NULL::doc, 'a rain jacket', k => 3)").fetchall()
    by_vector = embedded.execute(
        "SELECT (item).id, distance FROM pgembed.search(NULL::doc, pgembed.embed_query('doc', 'a rain jacket'), k => 3)"
    ).fetchall()
    assert by_text == by_vector
    keys = embedded.execute("SELECT key::int, distance FROM pgembed.search_keys('doc', 'a rain jacket', k => 3)").fetchall()
    assert keys == by_text


def test_search_by_empty_or_null_text_is_refused(embedded: Connection, refused: Refused) -> None:
    refused(embedded, "22023", "SELECT * FROM pgembed.search(NULL::doc, '')", message="empty")
    refused(embedded, "22004", "SELECT * FROM pgembed.search(NULL::doc, NULL::text)", message="query is NULL")


def test_vectors_of_a_model_that_has_changed_are_not_searched_by_text(embedded: Connection, refused: Refused) -> None:
    embedded.execute("UPDATE pgembed._embedding SET fingerprint = repeat('0', 64)")
    refused(embedded, "55000", "SELECT * FROM pgembed.search(NULL::doc, 'jacket')", message="fingerprint", hint="embed the rows again")
