"""Searches that take their candidates from the index on codes."""

from __future__ import annotations

from typing import Any

import coded
import psycopg
import pytest
from coded import DIM, QUERIES, ROWS, VECTORS
from support import AsRole, Connection, MakeRole

pytestmark = pytest.mark.one_transaction


def explain(db: Connection, arguments: str = "", query: Any = QUERIES[0]) -> dict[str, str]:
    return dict(
        db.execute(f"SELECT property, value FROM pgembed.explain_search(NULL::part, %s::vector{arguments})", [coded.text(query)]).fetchall()
    )


def keys(db: Connection, arguments: str = "", query: Any = QUERIES[0]) -> list[int]:
    found = db.execute(f"SELECT key FROM pgembed.search_keys('part', %s::vector{arguments}) ORDER BY rank", [coded.text(query)])
    return [int(row[0]) for row in found.fetchall()]


@pytest.fixture
def parts(db: Connection) -> Connection:
    """A table that seems large, with codes of two bits a dimension and an HNSW index on them, and none on the vectors."""
    db.execute(
        f"CREATE TABLE part (id int PRIMARY KEY, section int, e vector({DIM})) WITH (autovacuum_enabled = false);"
        "SELECT pgembed.adopt_embedding('part', 'e')"
    )
    coded.fill(db, "part")
    db.execute("SELECT pgembed.train_codec('two', 'part', 'thermometer', bits => 2, measure => false)")
    db.execute("SELECT pgembed.add_code('part', 'two', is_generated => true)")
    db.execute("CREATE INDEX part_two ON part USING hnsw (two bit_hamming_ops)")
    coded.measured(db, "two")
    coded.seem_large(db, "part")
    return db


def test_candidates_come_from_the_codes_and_are_compared_exactly(parts: Connection) -> None:
    said = explain(parts)
    assert said["path"] == "code"
    assert "hnsw index part_two on codes part.two, the nearest 50 compared exactly (measured recall@10 0.999 at 50)" in said["reason"]
    hits = 0
    for query in QUERIES:
        found = parts.execute(
            "SELECT (item).id, distance, rank FROM pgembed.search(NULL::part, %s::vector)", [coded.text(query)]
        ).fetchall()
        assert [rank for _, _, rank in found] == list(range(1, 11))
        for number, distance, _ in found:
            vector = VECTORS[number]
            cosine = float(vector @ query / ((vector @ vector) * (query @ query)) ** 0.5)
            assert distance == pytest.approx(1 - cosine, abs=1e-5)
        assert [distance for _, distance, _ in found] == sorted(distance for _, distance, _ in found)
        hits += len({number for number, _, _ in found} & set(coded.exact(query, 10)))
    assert hits >= 0.9 * 10 * len(QUERIES)


def test_the_statement_that_runs_reads_the_index_on_the_codes(parts: Connection) -> None:
    statement = explain(parts)["statement"]
    # as PL/pgSQL's EXECUTE runs it: with values that are constants; and as a plan that is kept
    for mode in ("force_custom_plan", "force_generic_plan"):
        parts.execute(f"SET plan_cache_mode = {mode}")
        parts.execute(f"PREPARE s (jsonb, vector, int, float8, text, text) AS {statement}")
        shown = "\n".join(
            row[0]
            for row in parts.execute(f"EXPLAIN EXECUTE s (NULL, '{coded.text(QUERIES[0])}', 10, NULL, NULL, '{'01' * DIM}')").fetchall()
        )
        assert "Index Scan using part_two on part" in shown
        parts.execute("DEALLOCATE s")


def test_a_filter_is_part_of_the_scan(parts: Connection) -> None:
    arguments = ", filter => $$ section = ($1->>'s')::int $$, params => '{\"s\": 3}'"
    assert explain(parts, arguments)["path"] == "code"
    assert keys(parts, arguments) == coded.exact(QUERIES[0], 10, [i % 10 == 3 for i in range(ROWS)])


def test_too_few_candidates_are_answered_exactly(parts: Connection) -> None:
    """Fifty are asked for, and only thirty rows pass: nothing is known of what the index missed."""
    passes = [i < 30 for i in range(ROWS)]
    assert explain(parts, ", filter => 'id + 0 < 30'")["path"] == "code"
    assert keys(parts, ", filter => 'id + 0 < 30'") == coded.exact(QUERIES[0], 10, passes)


def test_a_bound_may_leave_fewer_than_k(parts: Connection) -> None:
    all_of_them = parts.execute(
        "SELECT distance FROM pgembed.search_keys('part', %s::vector, exact => true)", [coded.text(QUERIES[0])]
    ).fetchall()
    bound = (all_of_them[3][0] + all_of_them[4][0]) / 2
    assert keys(parts, f", max_distance => {bound}") == coded.exact(QUERIES[0], 4)


def test_the_row_itself_is_left_out(parts: Connection) -> None:
    found = parts.execute("SELECT (item).id FROM pgembed.search_like(NULL::part, '5') ORDER BY rank").fetchall()
    assert [row[0] for row in found] == coded.exact(VECTORS[5], 10, [i != 5 for i in range(ROWS)])


def test_exact_answers_never_use_codes(parts: Connection) -> None:
    for arguments in (", exact => true", ", recall => 1", ", filter => 'id = 1'"):
        assert explain(parts, arguments)["path"] == "exact"


def test_codes_are_left_where_they_do_not_reach_the_recall(parts: Connection) -> None:
    coded.measured(parts, "two", '{"50": 0.96, "400": 0.985}')
    assert explain(parts, ", recall => 0.9")["path"] == "code"
    said = explain(parts)
    assert said["path"] == "exact"
    assert "codes part.two: no 1000 candidates were measured to contain 0.990 of the 10 nearest" in said["reason"]


def test_the_vectors_own_index_is_better_than_very_many_candidates(parts: Connection) -> None:
    coded.measured(parts, "two", '{"50": 0.96, "800": 0.999}')
    assert explain(parts)["path"] == "code"
    parts.execute("CREATE INDEX part_e ON part USING hnsw (e vector_cosine_ops)")
    coded.seem_large(parts, "part")
    said = explain(parts)
    assert said["path"] == "index"
    coded.measured(parts, "two", '{"50": 0.96, "400": 0.999}')
    assert explain(parts)["path"] == "code"


UNSERVING = {
    "UPDATE pgembed._codec SET measured = NULL": 'the recall of codec "two" was never measured',
    "DROP INDEX part_two": "codes part.two have no hnsw index",
    "UPDATE pgembed._code SET is_filled = false": "codes part.two: not filled yet",
    "ALTER TABLE part DROP COLUMN two": 'column "two" of table "part" does not exist any more',
    "ALTER TABLE part DROP COLUMN two; ALTER TABLE part ADD COLUMN two bit(8)": "is of type bit(8)",
    "UPDATE pgembed._codec SET fingerprint = 'another model'": 'codec "two" is for vectors of 16 dimensions of another mode',
    "UPDATE pgembed._codec SET metric = 'l2'": "l2; part.e holds",
    "UPDATE pgembed._code SET is_active = false": "no vector index on part.e",
}


def test_codes_that_can_not_serve_are_not_asked_and_it_is_said_why(parts: Connection) -> None:
    for change, reason in UNSERVING.items():
        with parts.transaction(force_rollback=True):
            parts.execute(change)
            said = explain(parts)
            assert said["path"] == "exact", change
            assert reason in said["reason"]
            assert keys(parts) == coded.exact(QUERIES[0], 10)
    assert explain(parts)["path"] == "code"


def test_hidden_rows_are_neither_found_nor_candidates(parts: Connection, make_role: MakeRole, as_role: AsRole) -> None:
    role = make_role("reader")
    parts.execute(
        f"GRANT SELECT ON part TO {role}; ALTER TABLE part ENABLE ROW LEVEL SECURITY;CREATE POLICY odd ON part USING (id % 2 = 1)"
    )
    with as_role(parts, role):
        assert explain(parts)["path"] in ("code", "exact")
        found = keys(parts)
    assert {number % 2 for number in found} == {1}
    assert len(set(found) & set(coded.exact(QUERIES[0], 10, [i % 2 == 1 for i in range(ROWS)]))) >= 9


def test_who_may_not_read_the_codes_searches_without_them(parts: Connection, make_role: MakeRole, as_role: AsRole) -> None:
    role = make_role("reader")
    parts.execute(f"GRANT SELECT (id, e) ON part TO {role}")
    with as_role(parts, role):
        assert keys(parts) == coded.exact(QUERIES[0], 10)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            explain(parts)
    parts.execute(f"GRANT SELECT (two) ON part TO {role}")
    by_code = keys(parts)
    with as_role(parts, role):
        assert keys(parts) == by_code != coded.exact(QUERIES[0], 10)


def test_a_table_without_a_key_is_searched_too(parts: Connection) -> None:
    by_code = keys(parts)
    parts.execute("ALTER TABLE part DROP CONSTRAINT part_pkey")
    assert explain(parts)["path"] == "code"
    found = parts.execute("SELECT (item).id FROM pgembed.search(NULL::part, %s::vector)", [coded.text(QUERIES[0])]).fetchall()
    assert [row[0] for row in found] == by_code


def test_names_that_need_quotes(parts: Connection) -> None:
    parts.execute('ALTER TABLE part RENAME TO "n"; ALTER TABLE n RENAME COLUMN two TO "Two""s"')
    parts.execute("UPDATE pgembed._code SET column_name = 'Two\"s'")
    coded.seem_large(parts, "n")
    query = coded.text(QUERIES[0])
    assert parts.execute("SELECT value FROM pgembed.explain_search(NULL::n, %s::vector) WHERE property = 'path'", [query]).fetchone() == (
        "code",
    )
    assert len(parts.execute("SELECT FROM pgembed.search(NULL::n, %s::vector)", [query]).fetchall()) == 10


@pytest.mark.own_database
def test_a_search_writes_nothing_and_runs_in_a_read_only_transaction(parts: Connection) -> None:
    with parts.transaction():
        parts.execute("SET TRANSACTION READ ONLY")
        assert len(keys(parts)) == 10
    assert parts.execute("SELECT current_setting('hnsw.ef_search')").fetchone() == ("40",)


def test_prefixes_as_halfvec_give_candidates(parts: Connection) -> None:
    parts.execute("SELECT pgembed.train_codec('short', 'part', 'pca', dims => 12, measure => false)")
    parts.execute("SELECT pgembed.add_code('part', 'short', is_generated => true)")
    parts.execute("SELECT pgembed.use_code('part', 'short')")
    parts.execute("CREATE INDEX part_short ON part USING hnsw (short halfvec_cosine_ops)")
    coded.measured(parts, "short")
    coded.seem_large(parts, "part")
    said = explain(parts)
    assert (said["path"], "part_short" in said["reason"]) == ("code", True)
    hits = sum(len(set(keys(parts, query=query)) & set(coded.exact(query, 10))) for query in QUERIES)
    assert hits >= 0.9 * 10 * len(QUERIES)


def test_codes_of_a_trigger_follow_a_changed_vector(parts: Connection) -> None:
    parts.execute("SELECT pgembed.drop_code('part', 'two')")
    parts.execute("SELECT pgembed.add_code('part', 'two')")
    parts.execute("CALL pgembed.fill_code('part', 'two')")
    parts.execute("CREATE INDEX part_two ON part USING hnsw (two bit_hamming_ops)")
    parts.execute("UPDATE part SET e = %s WHERE id = 77", [coded.text(QUERIES[0])])
    coded.seem_large(parts, "part")
    assert explain(parts)["path"] == "code"
    assert keys(parts)[0] == 77
