"""The Database port over psycopg: what goes in and what comes out is what plpy takes and gives."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from support import Connect, Connection

from pgembed import errors
from pgembed.psycopgdb import PsycopgDatabase

pytestmark = pytest.mark.one_transaction


class Told(list[tuple[str, str, str | None]]):
    """What the callback got."""

    def __call__(self, severity: str, message: str, hint: str | None) -> None:
        self.append((severity, message, hint))


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def database(db: Connection, connect: Connect, told: Told) -> PsycopgDatabase:
    """A session of its own, not in autocommit mode; what a test writes is temporary."""
    session = connect(db)
    session.autocommit = False
    return PsycopgDatabase(session, tell=told)


VALUES = [
    ("pg_catalog.text", "a'b\\ü", "a'b\\ü"),
    ("text", "", ""),
    ("int4", 7, 7),
    ("pg_catalog.int8", -(2**62), -(2**62)),
    ("bool", False, False),
    ("float8", 0.1, 0.1),
    ("float8", float("inf"), float("inf")),
    ("numeric", Decimal("1.50"), Decimal("1.50")),
    ("oid", 4294967295, 4294967295),
    ("name", "x", "x"),
    ("pg_catalog.bytea", b"\x00\xff\\", b"\x00\xff\\"),
    ("bytea", b"", b""),
    ("pg_catalog.bytea[]", [b"", None, b"\x00'"], [b"", None, b"\x00'"]),
    ("bytea[]", [], []),
    ("text[]", ['a "b" \\', None, "NULL", "", "{}", "a,b"], ['a "b" \\', None, "NULL", "", "{}", "a,b"]),
    ("text[]", [["a"], ["b"]], [["a"], ["b"]]),
    ("pg_catalog.int4[]", [1, None, 3], [1, None, 3]),
    ("float8[]", [0.5, 1e300], [0.5, 1e300]),
    ("bool[]", [True, False], [True, False]),
    ("name[]", ["a"], ["a"]),
    ("pg_catalog.regclass", "pg_class", "pg_class"),
    ("jsonb", '{"a": 1}', '{"a": 1}'),
    ("timestamptz", "2020-01-01 00:00:00+00", "2020-01-01 00:00:00+00"),
    ("date[]", ["2020-01-01"], ["2020-01-01"]),
    ("interval", "00:05:00", "00:05:00"),
    ("vector", "[1,2]", "[1,2]"),
    *((kind, None, None) for kind in ("text", "bytea", "bytea[]", "int4", "vector", "text[]")),
]


@pytest.mark.parametrize(("kind", "value", "expected"), VALUES)
def test_values_have_the_named_type_and_come_back(database: PsycopgDatabase, kind: str, value: Any, expected: Any) -> None:
    database.execute("SET timezone = 'UTC'")
    (row,) = database.execute("SELECT $1 AS value, pg_typeof($1)::text AS kind", [kind], [value])
    assert row["value"] == expected
    assert type(row["value"]) is type(expected)
    (same,) = database.execute("SELECT $1::regtype::text AS kind", ["text"], [kind])
    assert row["kind"] == same["kind"]


@pytest.mark.parametrize(("kind", "value", "expected"), [case for case in VALUES if case[2] is not None])
def test_plpy_gives_the_same(db: Connection, database: PsycopgDatabase, kind: str, value: Any, expected: Any) -> None:
    (row,) = database.execute("SELECT $1::text AS written", [kind], [value])
    db.execute("SET LOCAL timezone = 'UTC'")
    db.execute(
        "CREATE FUNCTION pg_temp.seen(kind text, written text) RETURNS text LANGUAGE plpython3u AS"
        " $$ return repr(plpy.execute(plpy.prepare('SELECT $1::' + kind + ' AS value', ['text']), [written])[0]['value']) $$"
    )
    (seen,) = db.execute("SELECT pg_temp.seen(%s, %s)", [kind, row["written"]]).fetchone() or ("",)
    database.execute("SET timezone = 'UTC'")
    assert seen == repr(database.execute("SELECT $1 AS value", [kind], [value])[0]["value"])


def test_rows_without_columns_are_rows(database: PsycopgDatabase) -> None:
    assert database.execute("SELECT FROM generate_series(1, 3)") == [{}, {}, {}]


def test_a_statement_without_values_may_hold_anything(database: PsycopgDatabase) -> None:
    assert database.execute("SELECT '%s $1 %' AS kept") == [{"kept": "%s $1 %"}]
    assert database.execute("CREATE TEMP TABLE made ()") == []


def test_a_plan_that_is_kept_is_one_prepared_statement(database: PsycopgDatabase) -> None:
    for value in (1, 2):
        assert database.execute("SELECT $1 + 1 AS n", ["int4"], [value], keep=True) == [{"n": value + 1}]
    assert len(database.execute("SELECT FROM pg_prepared_statements WHERE statement = 'SELECT $1 + 1 AS n'")) == 1


def test_a_wrong_number_of_values_and_an_unknown_type_are_errors(database: PsycopgDatabase) -> None:
    with pytest.raises(TypeError, match="expected 1 values, one for each type, not 2"):
        database.execute("SELECT $1", ["int4"], [1, 2])
    with pytest.raises(errors.UnknownObject, match='type "nothing" does not exist'):
        database.execute("SELECT $1", ["nothing"], [1])


def test_errors_have_their_sqlstate_and_a_failed_transaction_repeats_its_first(database: PsycopgDatabase) -> None:
    with pytest.raises(psycopg.Error) as caught:
        database.execute("SELECT 1 / 0")
    assert caught.value.sqlstate == "22012"
    for again in (lambda: database.execute("SELECT 1"), database.commit):
        with pytest.raises(psycopg.Error) as repeated:
            again()
        assert repeated.value is caught.value
    database.connection.rollback()
    assert database.execute("SELECT 1 AS n") == [{"n": 1}]


def test_a_subtransaction_undoes_its_block_alone(database: PsycopgDatabase) -> None:
    database.execute("CREATE TEMP TABLE made (n int)")

    def fail() -> None:
        with database.subtransaction():
            database.execute("INSERT INTO made VALUES (1)")
            database.execute("SELECT 1 / 0")

    with pytest.raises(psycopg.errors.DivisionByZero):
        fail()
    with database.subtransaction():
        database.execute("INSERT INTO made VALUES (2)")
        assert not database.commit()
    assert database.execute("SELECT n FROM made") == [{"n": 2}]
    database.connection.rollback()
    assert database.execute("SELECT to_regclass('pg_temp.made') IS NULL AS gone") == [{"gone": True}]


def test_a_subtransaction_that_comes_first_commits_nothing(database: PsycopgDatabase) -> None:
    with database.subtransaction():
        database.execute("CREATE TEMP TABLE made (n int)")
    database.connection.rollback()
    assert database.execute("SELECT to_regclass('pg_temp.made') IS NULL AS gone") == [{"gone": True}]


def test_commit_begins_the_next_transaction(database: PsycopgDatabase) -> None:
    database.execute("CREATE TEMP TABLE made (n int)")
    assert database.commit()
    database.connection.rollback()
    assert database.execute("SELECT n FROM made") == []


def test_prepare_runs_nothing_and_says_what_is_wrong(database: PsycopgDatabase) -> None:
    database.prepare("SELECT 1 / $1", ["int4"])
    database.prepare("SELECT 1 / 0")
    with pytest.raises(errors.StatementRefused, match='column "x" does not exist') as caught:
        database.prepare("SELECT x")
    assert caught.value.sqlstate == "42703"
    with pytest.raises(errors.StatementRefused) as two:
        database.prepare("SELECT 1; SELECT 2")
    assert two.value.sqlstate == "42601"
    assert database.execute("SELECT 1 AS n") == [{"n": 1}]  # the transaction lives on
    assert database.execute("SELECT FROM pg_prepared_statements WHERE name = 'pgembed_tried'") == []


def test_notices_reach_the_callback(database: PsycopgDatabase, told: Told) -> None:
    database.notice("one")
    database.warning("two", hint="three")
    database.execute("DO $$ BEGIN RAISE WARNING 'four' USING HINT = 'five'; END $$")
    assert told == [("NOTICE", "one", None), ("WARNING", "two", "three"), ("WARNING", "four", "five")]


def test_check_interrupts_asks_whoever_stops_the_work(db: Connection, connect: Connect) -> None:
    def check() -> None:
        raise KeyboardInterrupt

    PsycopgDatabase(connect(db)).check_interrupts()
    with pytest.raises(KeyboardInterrupt):
        PsycopgDatabase(connect(db), check=check).check_interrupts()


def test_json_is_what_postgresql_writes(database: PsycopgDatabase) -> None:
    (row,) = database.execute("SELECT '{\"a\": [1]}'::jsonb AS made")
    assert json.loads(row["made"]) == {"a": [1]}


def test_a_stream_gives_rows_in_parts_while_other_statements_run(database: PsycopgDatabase) -> None:
    parts = []
    for part in database.stream("SELECT g AS n, $1 AS t FROM generate_series(1, 7) AS g", ["text"], ["a"], size=3):
        parts.append([(row["n"], row["t"]) for row in part])
        inner = database.stream("SELECT 1 AS one UNION ALL SELECT 2", size=1)
        assert [row["one"] for rows in inner for row in rows] == [1, 2]
    assert [len(part) for part in parts] == [3, 3, 1]
    assert parts[2] == [(7, "a")]
    assert list(database.stream("SELECT 1 AS one WHERE false", size=3)) == []


def test_a_stream_in_autocommit_mode_has_a_transaction_of_its_own(db: Connection, connect: Connect) -> None:
    session = connect(db)
    session.autocommit = True
    database = PsycopgDatabase(session)
    rows = database.stream("SELECT g AS n FROM generate_series(1, 5) AS g", size=2)
    assert [row["n"] for row in next(rows)] == [1, 2]
    rows.close()  # type: ignore[attr-defined]
    assert session.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
