"""scan_codes: every row that passes, in the order of its code."""

from __future__ import annotations

from typing import Any

import coded
import psycopg
import pytest
from coded import DIM, QUERIES, ROWS, VECTORS
from support import AsRole, Connection, MakeRole, Notices, Refused, wait_until

pytestmark = pytest.mark.one_transaction

EVERY = [True] * ROWS


def scan(db: Connection, arguments: str = "", query: Any = QUERIES[0], table: str = "part") -> list[tuple[str, float, int]]:
    statement = f"SELECT key, distance, rank FROM pgembed.scan_codes('{table}', %s::vector{arguments}) ORDER BY rank"
    return db.execute(statement, [coded.text(query)]).fetchall()


def ids(found: list[tuple[str, float, int]]) -> list[int]:
    return [int(key) for key, _, _ in found]


@pytest.fixture
def parts(db: Connection) -> Connection:
    """A table with codes of each kind: generated bits and bytes, of a trigger halfvec; the bytes are active."""
    db.execute(f"CREATE TABLE part (id int PRIMARY KEY, section int, e vector({DIM})); SELECT pgembed.adopt_embedding('part', 'e')")
    coded.fill(db, "part")
    db.execute("SELECT pgembed.train_codec('whole', 'part', 'int8', measure => false)")
    db.execute("SELECT pgembed.train_codec('two', 'part', 'thermometer', bits => 2, measure => false)")
    db.execute("SELECT pgembed.train_codec('short', 'part', 'pca', dims => 12, measure => false)")
    for codec, generated in (("whole", True), ("two", True), ("short", False)):
        db.execute("SELECT pgembed.add_code('part', %s, is_generated => %s)", [codec, generated])
    db.execute("CALL pgembed.fill_code('part', 'short')")
    return db


def test_the_best_by_code_are_compared_exactly(parts: Connection) -> None:
    for code in ("whole", "two", "short"):
        for query in QUERIES[:5]:
            found = scan(parts, f", code => '{code}'", query)
            assert [rank for _, _, rank in found] == list(range(1, 11))
            assert ids(found) == coded.exact(query, 10)
            for key, distance, _ in found:
                vector = VECTORS[int(key)]
                cosine = float(vector @ query / ((vector @ vector) * (query @ query)) ** 0.5)
                assert distance == pytest.approx(1 - cosine, abs=1e-5)


def test_estimated_distances_are_the_codecs_own(parts: Connection) -> None:
    from pgembed import codecs

    for code in ("whole", "two", "short"):
        packed = parts.execute("SELECT packed FROM pgembed._codec WHERE name = %s", [code]).fetchone()
        assert packed is not None
        made = codecs.load(packed[0])
        estimated = made.distances(QUERIES[:1], made.encode(VECTORS))[0]
        found = scan(parts, f", code => '{code}', rescore => 0")
        assert [distance for _, distance, _ in found] == pytest.approx(sorted(estimated)[:10], abs=2e-3)
        for key, distance, _ in found:
            assert distance == pytest.approx(estimated[int(key)], abs=2e-3)


def test_the_active_codes_are_meant_where_none_are_named(parts: Connection) -> None:
    assert scan(parts, ", rescore => 0") == scan(parts, ", code => 'whole', rescore => 0") != scan(parts, ", code => 'two', rescore => 0")
    parts.execute("SELECT pgembed.use_code('part', 'two')")
    assert scan(parts, ", rescore => 0") == scan(parts, ", code => 'two', rescore => 0")


def test_a_filter_means_what_it_means_to_the_caller(parts: Connection) -> None:
    parts.execute(
        "CREATE SCHEMA own; CREATE FUNCTION own.chosen(int) RETURNS boolean LANGUAGE sql AS 'SELECT $1 % 3 = 1';"
        "SET search_path = own, public"
    )
    found = scan(parts, ", filter => $$ chosen(id) AND part.section <= ($1->>'most')::int $$, params => '{\"most\": 6}'")
    assert ids(found) == coded.exact(QUERIES[0], 10, [i % 3 == 1 and i % 10 <= 6 for i in range(ROWS)])
    assert scan(parts, ", filter => 'false'") == []


def test_a_filter_is_one_expression(parts: Connection, refused: Refused) -> None:
    statement = "SELECT * FROM pgembed.scan_codes('part', %s::vector, filter => %s)"
    for breakout in ("true) UNION ALL SELECT (false", "id", "true; SELECT 1", "id > (SELECT"):
        refused(
            parts,
            "42804" if breakout == "id" else "42601",
            statement,
            [coded.text(QUERIES[0]), breakout],
            message="not a boolean expression",
        )


@pytest.mark.own_database
def test_an_index_with_key_and_code_answers_without_the_table(parts: Connection) -> None:
    parts.execute("CREATE INDEX ON part (section) INCLUDE (id, whole)")

    def all_visible() -> bool:  # not while autovacuum's ANALYZE looks at something in this database
        parts.execute("VACUUM ANALYZE part")
        # Not by pg_class: from PostgreSQL 16 a table has pages that nothing was ever written to.
        plan = parts.execute("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) SELECT id FROM part WHERE section = 3").fetchall()
        return any("Heap Fetches: 0" in line for (line,) in plan)

    parts.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
    wait_until(all_visible)
    parts.execute("SET enable_bitmapscan = on")
    with parts.transaction():
        before = _fetched(parts)
        assert ids(scan(parts, ", filter => 'section = 3', rescore => 0"))
        after = _fetched(parts)
    assert after[0] > before[0]
    assert after[1] == before[1]


def _fetched(db: Connection) -> tuple[int, int]:
    """So far in this transaction: rows that index scans named, and rows that were read in the table."""
    row = db.execute(
        "SELECT pg_stat_get_xact_tuples_returned(i.indexrelid), pg_stat_get_xact_tuples_fetched('part'::regclass)"
        " + pg_stat_get_xact_tuples_returned('part'::regclass) FROM pg_index AS i"
        " JOIN pg_class AS c ON c.oid = i.indexrelid WHERE c.relname LIKE 'part_section%'"
    ).fetchone()
    assert row is not None
    return row


def test_rows_without_a_code_are_told_of(parts: Connection, notices: Notices) -> None:
    parts.execute("ALTER TABLE part DISABLE TRIGGER USER; UPDATE part SET short = NULL WHERE id IN (1, 2, 13)")
    parts.execute("UPDATE part SET e = NULL WHERE id = 3")
    notices.clear()
    scan(parts, ", code => 'short'")
    assert [notice.message for notice in notices] == [
        "3 rows of part that pass the filter have no code in short yet and could not be found"
    ]
    assert "fill_code('part', 'short')" in str(notices[0].hint)
    notices.clear()
    assert len(scan(parts, ", code => 'short', filter => 'id = 2 OR id = 3 OR id = 7'")) == 1
    assert [notice.message for notice in notices] == [
        "1 row of part that passes the filter has no code in short yet and could not be found",
        "1 of 10 results: 1 more row that passes the filter has no vector yet",
    ]
    notices.clear()
    scan(parts, ", code => 'short', filter => 'id > 100'")
    assert notices == []


def test_hidden_rows_and_columns_stay_hidden(parts: Connection, make_role: MakeRole, as_role: AsRole, refused: Refused) -> None:
    role = make_role("reader")
    statement, values = "SELECT * FROM pgembed.scan_codes('part', %s::vector)", [coded.text(QUERIES[0])]
    with as_role(parts, role):
        refused(parts, "42501", statement, values, message="permission denied for table part", hint="SELECT")
    parts.execute(f"GRANT SELECT (id, e) ON part TO {role}")
    with as_role(parts, role):
        refused(parts, "42501", statement, values, message="permission denied for column part.whole", hint='GRANT SELECT ("whole")')
    parts.execute(
        f"GRANT SELECT (whole) ON part TO {role}; ALTER TABLE part ENABLE ROW LEVEL SECURITY; CREATE POLICY odd ON part USING (id % 2 = 1)"
    )
    with as_role(parts, role):
        assert ids(scan(parts)) == coded.exact(QUERIES[0], 10, [i % 2 == 1 for i in range(ROWS)])
        refused(parts, "42501", "SELECT * FROM pgembed.scan_codes('part', %s::vector, filter => 'section = 1')", values, hint=None)


def test_partitions_and_keys_of_several_columns(parts: Connection) -> None:
    parts.execute(
        f"CREATE TABLE piece (id int, section int, e vector({DIM}), PRIMARY KEY (section, id)) PARTITION BY LIST (section);"
        "CREATE TABLE piece_low PARTITION OF piece FOR VALUES IN (0, 1, 2, 3, 4);"
        "CREATE TABLE piece_high PARTITION OF piece DEFAULT; SELECT pgembed.adopt_embedding('piece', 'e')"
    )
    coded.fill(parts, "piece")
    parts.execute("SELECT pgembed.add_code('piece', 'whole'); CALL pgembed.fill_code('piece', 'whole')")
    found = scan(parts, table="piece")
    assert [key for key, _, _ in found] == [f"[{i % 10}, {i}]" for i in coded.exact(QUERIES[0], 10)]
    assert scan(parts, ", k => 1, rescore => 0", table="piece")[0][0] == found[0][0]


def test_keys_of_any_type(parts: Connection) -> None:
    parts.execute(
        f"CREATE TABLE named (id text PRIMARY KEY, section int, e vector({DIM})); SELECT pgembed.adopt_embedding('named', 'e');"
        "SELECT pgembed.add_code('named', 'whole', is_generated => true); INSERT INTO named SELECT 'ä' || id, section, e FROM part"
    )
    assert [key for key, _, _ in scan(parts, table="named")] == [f"ä{i}" for i in coded.exact(QUERIES[0], 10)]


def test_a_text_is_embedded_by_the_columns_model(db: Connection) -> None:
    db.execute("CREATE TABLE thing (id int PRIMARY KEY, name text); INSERT INTO thing VALUES (1, 'violin'), (2, 'granite'), (3, 'court')")
    db.execute("SELECT pgembed.add_embedding('thing', 'name'); ")
    db.execute("CALL pgembed.refresh('thing')")
    db.execute("SELECT pgembed.train_codec('eight', 'thing', 'int8', measure => false)")
    db.execute("SELECT pgembed.add_code('thing', 'eight', is_generated => true)")
    assert db.execute("SELECT key FROM pgembed.scan_codes('thing', 'a musical instrument', k => 1)").fetchone() == ("1",)


def test_codes_of_another_type_or_model_are_refused(parts: Connection, refused: Refused) -> None:
    values = [coded.text(QUERIES[0])]
    statement = "SELECT * FROM pgembed.scan_codes('part', %s::vector, code => 'two')"
    with parts.transaction(force_rollback=True):
        parts.execute("UPDATE pgembed._codec SET fingerprint = 'another model' WHERE name = 'two'")
        with parts.transaction(force_rollback=True):
            refused(parts, "22000", statement, values, message='codec "two" is for vectors of', hint="train_codec")
    parts.execute("ALTER TABLE part DROP COLUMN two; ALTER TABLE part ADD COLUMN two bit(8)")
    refused(parts, "42804", statement, values, message="bit(8)", hint="drop_code('part', 'two')")
    parts.execute("ALTER TABLE part DROP COLUMN two")
    refused(parts, "42703", statement, values, message="does not exist any more", hint="drop_code('part', 'two')")


def test_what_is_asked_must_make_sense(parts: Connection, refused: Refused) -> None:
    call = "SELECT * FROM pgembed.scan_codes('part', "
    query = coded.text(QUERIES[0])
    refused(parts, "22004", f"{call}NULL::vector)", message="query is NULL")
    refused(parts, "22004", f"{call}'{query}'::vector, k => NULL)", message="k is NULL")
    refused(parts, "22023", f"{call}'{query}'::vector, k => 0)", message="k must be at least 1")
    refused(parts, "22023", f"{call}'{query}'::vector, rescore => 9)", message="rescore must be 0 or at least k, which is 10, not 9")
    refused(parts, "22023", f"{call}'{query}'::vector, rescore => -1)", message="rescore must be 0")
    refused(parts, "22000", f"{call}'[1,2]'::vector)", message="query has 2 dimensions")
    refused(parts, "42704", f"{call}'{query}'::vector, code => 'none')", message='no column of codes "none"', hint="whole")
    parts.execute("ALTER TABLE part DROP CONSTRAINT part_pkey")
    refused(parts, "42P16", f"{call}'{query}'::vector)", message="has no primary key")


@pytest.mark.own_database
def test_a_scan_writes_nothing_and_sees_a_timeout(parts: Connection) -> None:
    with parts.transaction():
        parts.execute("SET TRANSACTION READ ONLY")
        assert len(scan(parts)) == 10
    parts.execute("SET statement_timeout = '100ms'")
    with pytest.raises(psycopg.errors.QueryCanceled):
        scan(parts, ", filter => 'pg_sleep(0.01) IS NOT NULL'")
