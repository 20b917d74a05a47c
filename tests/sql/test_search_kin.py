"""search_like and search_keys, the rights of callers, and plain SQL with embed_query."""

from __future__ import annotations

import json

import pytest
from support import EAST, AsRole, Connection, MakeRole, Notices, Refused, names

pytestmark = pytest.mark.one_transaction


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
        assert [told.message for told in notices] == ["2 of 10 results: 1 more row of spot has no vector yet"]
        refused(spots, "P0002", "SELECT * FROM pgembed.search_like(NULL::spot, '4')", hint="JSON array")


def test_row_security_is_part_of_the_filter_before_k_is_chosen(spots: Connection, make_role: MakeRole, as_role: AsRole) -> None:
    bob = make_role("bob")
    spots.execute(f"GRANT SELECT ON spot TO {bob}; ALTER TABLE spot ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON spot USING (size >= 40)")
    with as_role(spots, bob):
        assert names(spots, f"{EAST}, k => 1") == ["up"]


@pytest.mark.own_database
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


@pytest.mark.parametrize(("key", "sqlstate"), [("abc", "22P02"), ("99999999999", "22003")])
def test_a_key_that_is_none_is_told_with_a_hint(spots: Connection, refused: Refused, key: str, sqlstate: str) -> None:
    statement = f"SELECT * FROM pgembed.search_like(NULL::spot, '{key}')"
    refused(spots, sqlstate, statement, message=f'"{key}" is no key of spot', hint="A key is given as text")
