"""The log of filters: what is counted, by whom, and when a session may write it down."""

from __future__ import annotations

import pytest
from support import AsRole, Connect, Connection, MakeRole, Refused

pytestmark = pytest.mark.one_transaction

# What a search's planner does once it knows how many rows it expects.
NOTE = """
    CREATE FUNCTION note(target regclass, filter text, rows float8 DEFAULT 10) RETURNS float8 LANGUAGE plpython3u VOLATILE AS $python$
    from time import perf_counter
    from pgembed import advice, planner, viewed
    from pgembed.udf.connection import DATABASE
    column = viewed.column(DATABASE, target, None)
    condition = planner.proven(DATABASE, column.table, filter)
    begun = perf_counter()
    advice.note(DATABASE, column, condition, rows)
    return perf_counter() - begun
    $python$;
    -- as in search(), which is stable
    CREATE FUNCTION searched(target regclass, filter text) RETURNS float8 LANGUAGE plpgsql STABLE AS $$
    BEGIN RETURN note(target, filter); END $$;
    CREATE FUNCTION due() RETURNS void LANGUAGE plpython3u AS $python$
    from pgembed.advice import log
    log._flushed = -1e9
    $python$;
"""


@pytest.fixture
def log(spots: Connection) -> Connection:
    spots.execute(NOTE)
    # the session may have counted for another test
    spots.execute("SELECT pgembed.set_filter_log(false), pgembed.set_filter_log(true)")
    return spots


def used(db: Connection) -> list[tuple[str, int]]:
    found = db.execute("SELECT shape, searches FROM pgembed.filters_used ORDER BY shape").fetchall()
    return [(shape, searches) for shape, searches in found]


def note(db: Connection, condition: str, function: str = "note", table: str = "spot") -> None:
    db.execute(f"SELECT due(); SELECT {function}('{table}', $filter${condition}$filter$)".encode())


def test_filters_are_counted_by_their_shape(log: Connection) -> None:
    for condition in ("size = 10", "size=20 -- '", "name IN ('x', 'y') AND size > 5", "name = ANY ('{secret}') AND size > 7", "true"):
        note(log, condition)
    assert used(log) == [("name = ANY ? AND size > ?", 2), ("size = ?", 2)]
    row = log.execute(
        "SELECT target::text, column_name::text, columns::text[], rows, share, last_used >= first_used, f::text"
        " FROM pgembed.filters_used AS f WHERE searches = 2 ORDER BY shape"
    ).fetchone()
    assert row is not None
    assert row[:6] == ("spot", "e", ["name", "size"], 10, None, True)
    assert "secret" not in row[6]


def test_a_view_is_counted_for_the_table_under_it(log: Connection) -> None:
    log.execute("CREATE VIEW large AS SELECT id, name AS called, size / 10 AS tens, e FROM spot WHERE size > 10")
    note(log, "called = 'east' AND tens > 3", table="large")
    assert used(log) == [("(size / ?) > ? AND name = ?", 1)]
    assert log.execute("SELECT target::text, columns::text[] FROM pgembed.filters_used").fetchone() == ("spot", ["name", "size"])


def test_nothing_is_counted_before_it_is_asked_for(spots: Connection) -> None:
    spots.execute(NOTE)
    spots.execute("SELECT pgembed.set_filter_log(false)")
    note(spots, "size = 10")
    assert used(spots) == []
    spots.execute("SELECT pgembed.set_filter_log(true)")
    note(spots, "size = 10")
    spots.execute("SELECT pgembed.set_filter_log(false)")
    note(spots, "size = 10")
    assert used(spots) == [("size = ?", 1)]


def test_a_stable_function_writes_too(log: Connection) -> None:
    note(log, "size = 10", "searched")
    assert used(log) == [("size = ?", 1)]


@pytest.mark.own_database
def test_no_search_waits_or_fails_for_the_log(log: Connection, connect: Connect) -> None:
    for kind in ("READ ONLY", "ISOLATION LEVEL SERIALIZABLE", "ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE"):
        log.execute(f"BEGIN {kind}")
        note(log, "size = 10", "searched")
        note(log, "name = 'x'", "searched")
        log.execute("COMMIT")
    assert used(log) == []
    # what was counted then is written by the next search that may
    note(log, "size = 10")
    assert used(log) == [("name = ?", 3), ("size = ?", 4)]
    # another that has written is still open
    other = connect(log)
    other.execute("SET statement_timeout = '10s'")
    with log.transaction():
        note(log, "size = 10")
        note(other, "size = 10")
        note(other, "name = 'x'")
        assert used(other) == [("name = ?", 3), ("size = ?", 4)]
    note(other, "size = 10")
    assert used(other) == [("name = ?", 4), ("size = ?", 7)]
    # another has written lines since, which this transaction does not see
    other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM spot")
    note(log, "size = 10")
    note(other, "size = 10")
    assert other.execute("SELECT count(*) FROM spot").fetchone() == (5,)
    other.execute("COMMIT")
    note(other, "size = 10")
    assert used(log) == [("name = ?", 4), ("size = ?", 10)]


def test_a_session_writes_now_and_then(log: Connection) -> None:
    note(log, "size = 10")
    for _ in range(20):
        log.execute("SELECT note('spot', 'size = 10')")
    assert used(log) == [("size = ?", 1)]
    log.execute("SELECT pgembed._flush_filter_log()")
    assert used(log) == [("size = ?", 21)]


def test_a_failing_filter_is_the_searchs_matter(log: Connection) -> None:
    log.execute("CREATE TABLE bare (id int PRIMARY KEY, e vector(3)); SELECT pgembed.adopt_embedding('bare', 'e')")
    # its plan, and no more than that, fails
    note(log, "id = (SELECT 1 / 0)", table="bare")
    log.execute("CREATE FUNCTION fails() RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE EXCEPTION 'no'; END $$")
    note(log, "id = fails()", table="bare")
    assert [shape for shape, _ in used(log)] == []
    assert log.execute("SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'pgembed%'").fetchone() == (0,)
    assert log.execute("SHOW plan_cache_mode").fetchone() == ("auto",)


def test_the_least_used_is_forgotten(log: Connection) -> None:
    log.execute("ALTER TABLE spot ADD COLUMN c0 int")
    log.execute(
        "INSERT INTO pgembed._filter_log (target, column_name, shape, columns, terms, searches, rows_sum, ms_total, last_used)"
        " SELECT 'spot'::regclass, 'e', 'shape ' || n, '{}', '[]', n, 1, 0, now() - interval '1 day' FROM generate_series(1, 200) AS n"
    )
    note(log, "size = 10")
    shapes = [shape for shape, _ in used(log)]
    assert len(shapes) == 200
    assert "size = ?" in shapes
    assert "shape 1" not in shapes
    assert "shape 2" in shapes


def test_lines_are_for_those_who_may_read_the_table(log: Connection, make_role: MakeRole, as_role: AsRole, refused: Refused) -> None:
    note(log, "size = 10")
    reader, stranger = make_role("reader"), make_role("stranger")
    log.execute(f"GRANT SELECT (id) ON spot TO {reader}; ANALYZE spot".encode())
    with as_role(log, stranger):
        assert used(log) == []
        refused(log, "42501", "SELECT * FROM pgembed._filter_log", hint=None)
        refused(log, "42501", "SELECT pgembed.set_filter_log(false)", hint=None)
    with as_role(log, reader):
        assert log.execute("SELECT searches, rows, share FROM pgembed.filters_used").fetchall() == [(1, 10, 1)]
    # how many rows pass is no matter of those whom a policy hides some from
    log.execute("ALTER TABLE spot ENABLE ROW LEVEL SECURITY")
    with as_role(log, reader):
        assert log.execute("SELECT searches, rows, share FROM pgembed.filters_used").fetchall() == [(1, None, None)]


def test_a_searching_role_needs_no_rights_on_the_log(log: Connection, make_role: MakeRole, as_role: AsRole) -> None:
    reader = make_role("reader")
    log.execute(f"GRANT SELECT ON spot TO {reader}")
    with as_role(log, reader):
        note(log, "size = 10", "searched")
        assert used(log) == [("size = ?", 1)]


def test_a_dropped_table_takes_its_lines_along(log: Connection) -> None:
    note(log, "size = 10")
    log.execute("SELECT note('spot', 'size = 10'); DROP TABLE spot")
    assert log.execute("SELECT count(*) FROM pgembed._filter_log").fetchone() == (0,)
    log.execute("SELECT pgembed._flush_filter_log()")
    assert log.execute("SELECT count(*) FROM pgembed._filter_log").fetchone() == (0,)


def test_advice_goes_by_what_was_counted(log: Connection) -> None:
    log.execute(
        """
        INSERT INTO spot SELECT n, 'name ' || n % 4, n % 4, ARRAY[n, n % 7, 1]::vector FROM generate_series(6, 6000) AS n;
        ANALYZE spot;
        """
    )
    log.execute("SELECT due(), note('spot', 'size = 1', 1500), note('spot', 'size = 3', 1500), note('spot', 'size > 700', 3)")
    found = log.execute("SELECT kind, statement, searches FROM pgembed.advise('spot')").fetchall()
    assert [(kind, searches) for kind, _, searches in found] == [("codec", 0)] * 3 + [("covering index", 2)]
    assert found[-1][1] == 'CREATE INDEX CONCURRENTLY ON public.spot ("size") INCLUDE ("id", "spot_thermometer")'
