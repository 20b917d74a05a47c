"""pgembed.calibrate() and the view pgembed.calibrations: what is measured, kept, used, and forgotten."""

from __future__ import annotations

import psycopg
import pytest
from support import AsRole, Connection, MakeRole, Refused

pytestmark = pytest.mark.one_transaction


@pytest.fixture
def spot(db: Connection) -> Connection:
    """1,200 rows of eight dimensions in ten kinds, with codes, indexes on vectors and codes, and a covering one; analysed."""
    db.execute(
        """
        CREATE TABLE spot (id int PRIMARY KEY, kind int, size int, e vector(8));
        INSERT INTO spot SELECT n, n % 10, n % 500, ARRAY(
            SELECT (sin(n * d * d) + cos(n % 10 * d))::float4 FROM generate_series(1, 8) AS d
        )::vector FROM generate_series(1, 1200) AS n;
        SELECT pgembed.adopt_embedding('spot', 'e');
        SELECT pgembed.train_codec('spot_t', 'spot', 'thermometer', measure => false);
        SELECT pgembed.add_code('spot', 'spot_t');
        CALL pgembed.fill_code('spot');
        CREATE INDEX spot_e ON spot USING hnsw (e vector_cosine_ops) WITH (m = 4, ef_construction = 16);
        CREATE INDEX spot_h ON spot USING hnsw (spot_t bit_hamming_ops);
        CREATE INDEX spot_kind ON spot (kind) INCLUDE (id, spot_t);
        CREATE INDEX spot_size ON spot (size);
        ANALYZE spot;
        """
    )
    return db


@pytest.fixture
def measured(spot: Connection) -> Connection:
    """The same, calibrated with few queries."""
    spot.execute("CALL pgembed.calibrate('spot', sample => 12)")
    return spot


def lines(db: Connection, columns: str, where: str = "true") -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = db.execute(f"SELECT DISTINCT {columns} FROM pgembed.calibrations WHERE {where} ORDER BY 1").fetchall()
    return found


def test_every_path_of_the_column_is_measured_and_no_curve_falls(measured: Connection) -> None:
    assert {path for (path,) in lines(measured, "path")} >= {"code", "exact", "index"}
    assert {path for (path,) in lines(measured, "path", "candidates > 0 AND ef_search IS NULL")} <= {"covering", "scan"}
    kinds = {str(kind).split()[0] for (kind,) in lines(measured, "filter")}
    assert kinds == {"none", "value", "range", "random"}
    assert lines(measured, "k, queries", "path = 'index' AND filter = 'none'") == [(10, 12)]
    assert lines(measured, "rows, codec, is_stale") == [(1200, "spot_t", False)]
    assert lines(measured, "min(milliseconds) > 0") == [(True,)]

    # more candidates and a wider view never find less, and all rows that pass are found by as many candidates
    falling = measured.execute(
        """
        SELECT count(*) FROM (
            SELECT recall - lag(recall) OVER (PARTITION BY path, filter, share, ef_search ORDER BY candidates) AS gained
            FROM pgembed.calibrations WHERE path <> 'exact'
        ) AS c WHERE gained < -0.0001
        """
    ).fetchone()
    assert falling == (0,)
    assert lines(measured, "recall_low <= recall AND recall <= 1 AND recall_low >= 0") == [(True,)]
    # a tenth of the rows pass, 120: as many candidates by code contain them all
    assert lines(measured, "recall", "path IN ('covering', 'scan') AND candidates >= 140 AND share <= 0.1") in ([(1.0,)], [])


BY_INDEX = (
    "SELECT path, reason FROM pgembed._plan_search('spot', 'key', pgembed._sent('[1,2,3,4,5,6,7,8]'), 10, NULL, NULL, NULL, NULL, 0.5,"
    " false, NULL, 'index')"
)


def test_searches_choose_by_what_was_measured(spot: Connection) -> None:
    assert "measured here" not in str(spot.execute(BY_INDEX).fetchone())
    spot.execute("CALL pgembed.calibrate('spot', sample => 12)")
    assert "measured here" in str(spot.execute(BY_INDEX).fetchone())
    # another one takes its place
    spot.execute("CALL pgembed.calibrate('spot', sample => 10, seed => 3)")
    assert lines(spot, "queries", "path = 'index' AND filter = 'none'") == [(10,)]
    assert spot.execute("SELECT count(*) FROM pgembed._calibration").fetchone() == (1,)
    # and what does not hold any more is not used
    spot.execute("UPDATE pgembed._calibration SET rows = 100")
    assert "measured here" not in str(spot.execute(BY_INDEX).fetchone())


def test_growth_makes_it_stale_and_so_do_other_codes_and_indexes(measured: Connection) -> None:
    measured.execute("UPDATE pg_class SET reltuples = 1400 WHERE oid = 'spot'::regclass")
    assert lines(measured, "is_stale") == [(False,)]
    measured.execute("UPDATE pg_class SET reltuples = 1500 WHERE oid = 'spot'::regclass")
    assert lines(measured, "is_stale, stale_because LIKE '%1500%'") == [(True, True)]
    measured.execute("UPDATE pg_class SET reltuples = 1200 WHERE oid = 'spot'::regclass")
    # the same index anew is the same, with other options it is another
    for options, stale in (("m = 4, ef_construction = 16", set()), ("m = 6, ef_construction = 16", {"index"})):
        measured.execute(f"DROP INDEX spot_e; CREATE INDEX spot_e ON spot USING hnsw (e vector_cosine_ops) WITH ({options})".encode())
        assert {path for (path,) in lines(measured, "path", "is_stale")} == stale
    measured.execute("DROP INDEX spot_h")
    assert {path for (path,) in lines(measured, "path", "is_stale")} == {"code", "index"}
    measured.execute("SELECT pgembed.drop_code('spot')")
    assert "exact" not in {path for (path,) in lines(measured, "path", "is_stale")}
    assert {path for (path,) in lines(measured, "path", "NOT is_stale")} == {"exact"}


def test_nothing_is_left_of_what_is_dropped(measured: Connection) -> None:
    with measured.transaction(force_rollback=True):
        measured.execute("SELECT pgembed.drop_code('spot')")
        measured.execute("SELECT pgembed.drop_embedding('spot', 'e')")
        assert measured.execute("SELECT count(*) FROM pgembed._calibration").fetchone() == (0,)
    measured.execute("DROP TABLE spot")
    assert measured.execute("SELECT count(*) FROM pgembed._calibration").fetchone() == (0,)


def test_without_a_target_what_lacks_one_is_calibrated(spot: Connection) -> None:
    # one that cannot be measured does not stand in the way of others
    spot.execute("CREATE TABLE bare (id int PRIMARY KEY, e vector(8)); SELECT pgembed.adopt_embedding('bare', 'e')")
    spot.execute("CALL pgembed.calibrate(sample => 10)")
    assert lines(spot, "table_name::text") == [("spot",)]
    spot.execute("UPDATE pgembed._calibration SET measured_at = '2001-01-01'")
    spot.execute("CALL pgembed.calibrate(sample => 10)")  # none has changed
    assert lines(spot, "extract(year FROM measured_at)::int") == [(2001,)]
    spot.execute("UPDATE pgembed._calibration SET rows = 100")
    spot.execute("CALL pgembed.calibrate(sample => 10)")
    assert lines(spot, "extract(year FROM measured_at)::int > 2001") == [(True,)]


def test_queries_may_be_given_and_the_sessions_settings_stay(spot: Connection) -> None:
    names = ["hnsw.ef_search", "hnsw.iterative_scan", "enable_sort", "plan_cache_mode", "jit", "hnsw.max_scan_tuples"]
    show = "SELECT " + ", ".join(f"current_setting('{name}', true)" for name in names)
    spot.execute("SELECT '[1]'::vector; SET hnsw.ef_search = 77")
    before = spot.execute(show.encode()).fetchone()
    spot.execute("CREATE TABLE asked AS SELECT e AS v FROM spot WHERE id <= 15")
    spot.execute("CALL pgembed.calibrate('spot', queries => 'asked', queries_column => 'v', sample => 15)")
    assert lines(spot, "queries", "path = 'index' AND filter = 'none'") == [(15,)]
    assert spot.execute(show.encode()).fetchone() == before
    every_point = "SELECT bool_and(coalesce((p->>'given')::bool, false)) FROM pgembed._calibration, jsonb_array_elements(points) AS p"
    recalls = " WHERE p->>'path' <> 'exact'"
    assert spot.execute((every_point + recalls).encode()).fetchone() == (True,), "the planner counts upon what people asked"
    spot.execute("CALL pgembed.calibrate('spot', sample => 15)")
    assert spot.execute((every_point + recalls).encode()).fetchone() == (False,)


def test_a_column_without_codes_and_indexes_has_costs_alone(db: Connection) -> None:
    db.execute("CREATE TABLE plain (e vector(3)); INSERT INTO plain SELECT ARRAY[n, 1, n % 7] FROM generate_series(1, 50) AS n")
    db.execute("SELECT pgembed.adopt_embedding('plain', 'e')")
    db.execute("CALL pgembed.calibrate('plain', sample => 10)")  # it has no primary key either
    assert lines(db, "path, rows") == [("exact", 50)]
    assert db.execute("SELECT (costs->>'compare')::float8 > 0 FROM pgembed._calibration").fetchone() == (True,)


def test_what_cannot_be_measured_is_refused(spot: Connection, refused: Refused) -> None:
    refused(spot, "22023", "CALL pgembed.calibrate('spot', sample => 3)", message="sample must be 10 to 2000, not 3", hint="queries")
    refused(spot, "22004", "CALL pgembed.calibrate(column_name => 'e')", message="target is NULL", hint="table")
    refused(spot, "22004", "CALL pgembed.calibrate('spot', queries => 'spot')", hint="queries_column")
    refused(spot, "42704", "CALL pgembed.calibrate('spot', 'size')", message="not an embedded column", hint="Embedded columns")
    spot.execute("DELETE FROM spot WHERE id > 10")
    refused(spot, "22023", "CALL pgembed.calibrate('spot', sample => 10)", message="has 10 vectors", hint="exactly")
    spot.execute("DELETE FROM spot")
    refused(spot, "22023", "CALL pgembed.calibrate('spot')", message="no vectors", hint="refresh")


@pytest.mark.own_database
def test_only_the_owner_measures_and_only_readers_see(spot: Connection, make_role: MakeRole, as_role: AsRole, refused: Refused) -> None:
    other = make_role("other")
    spot.execute("CALL pgembed.calibrate('spot', sample => 10)")
    with as_role(spot, other):
        refused(spot, "42501", "CALL pgembed.calibrate('spot')", message="must be owner", hint="SET ROLE")
        assert lines(spot, "path") == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            spot.execute("DELETE FROM pgembed._calibration")
    spot.execute(f"GRANT SELECT ON spot TO {other}".encode())
    with as_role(spot, other):
        assert lines(spot, "path") != []
    spot.execute("ALTER TABLE spot ENABLE ROW LEVEL SECURITY")
    with as_role(spot, other):
        assert lines(spot, "path") == []
