"""search: what comes out, against all rows compared."""

from __future__ import annotations

import json

import numpy as np
import pytest
from support import EAST, Connection, Notices, explained, grow, names

pytestmark = pytest.mark.one_transaction


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
    assert [told.message for told in notices] == ["2 of 10 results: no more rows pass the filter"]


def test_search_of_an_empty_table_returns_nothing(spots: Connection, notices: Notices) -> None:
    spots.execute("TRUNCATE spot")
    assert names(spots, EAST) == []
    assert [told.message for told in notices] == ["0 of 10 results: spot has no rows"]


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


@pytest.mark.own_database
def test_settings_of_the_index_scan_are_put_back(spots: Connection) -> None:
    grow(spots)
    assert explained(spots, f"NULL::spot, {EAST}")["path"] == "index"
    with spots.transaction():
        spots.execute("SET LOCAL hnsw.ef_search = 77")
        names(spots, EAST)
        assert spots.execute("SHOW hnsw.ef_search").fetchone() == ("77",)
        assert spots.execute("SHOW hnsw.iterative_scan").fetchone() == ("off",)


@pytest.mark.own_database
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
    """12,000 points on a circle with an index; `far` is true for the 500 that lie opposite of [1,0,0]. They seem to be a million."""
    db.execute(
        """
        CREATE TABLE cloud (id int PRIMARY KEY, far boolean, half boolean, e vector(3));
        INSERT INTO cloud SELECT n, n > 11500, n % 2 = 0, ARRAY[cos(n * pi() / 12000), sin(n * pi() / 12000), 0]::vector
            FROM generate_series(1, 12000) AS n;
        CREATE INDEX ON cloud USING hnsw (e vector_cosine_ops) WITH (m = 4, ef_construction = 16);
        SELECT pgembed.adopt_embedding('cloud', 'e');
        """
    )
    db.execute("ANALYZE cloud; UPDATE pg_class SET reltuples = 1000000 WHERE oid = 'cloud'::regclass")
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
    cloud.execute("ANALYZE cloud")
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
    cloud.execute("UPDATE pg_class SET reltuples = 1000000 WHERE oid = 'cloud'::regclass")  # it was counted again
    told = explained(cloud, f"NULL::cloud, {EAST}")
    assert told["path"] == "index"
    assert "ivfflat index" in told["reason"]
    assert ids(cloud, f"{EAST}, k => 5") == [1, 2, 3, 4, 5]
