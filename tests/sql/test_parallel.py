"""Parallel plans: what runs SQL from Python makes a plan serial, and what encodes runs in workers that have never run Python before."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

Connection = psycopg.Connection[Any]

PARALLEL = "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0"

# PL/Python that runs no SQL: everything else opens subtransactions, see sql/README.md. Whoever adds a name here has made sure of it.
WITHOUT_SQL = {"_encode_known", "_encode_with"}

CALLS = {
    "embed": "pgembed.embed(big.id::text)",
    "embed of an array": "pgembed.embed(ARRAY[big.id::text, 'a'])",
    "embed_query": "pgembed.embed_query('product', big.id::text)",
    "token_count": "pgembed.token_count(big.id::text)",
    "chunk": "(SELECT count(*) FROM pgembed.chunk(big.id::text))",
    "distance of values": "pgembed.distance(dot_int8(big.e), big.e)",
    "distance of rows": "pgembed.distance('dot', big.id::text, 'dot', '1')",
    "search": "(SELECT count(*) FROM pgembed.search(NULL::dot, big.e, k => 2))",
    "search of a text": "(SELECT count(*) FROM pgembed.search(NULL::product, big.id::text, k => 2))",
    "search_like": "(SELECT count(*) FROM pgembed.search_like(NULL::dot, big.id::text, k => 2))",
    "search_keys": "(SELECT count(*) FROM pgembed.search_keys('dot', big.e, k => 2))",
    "explain_search": "(SELECT count(*) FROM pgembed.explain_search(NULL::dot, big.e, k => 2))",
    "scan_codes": "(SELECT count(*) FROM pgembed.scan_codes('dot', big.e, k => 2))",
    "masked_query": "(pgembed.masked_query('dot_sign', big.e)).mask",
    "code_indexes": "(SELECT count(*) FROM pgembed.code_indexes('dot') WHERE big.id > 0)",
    "link": "(SELECT count(*) FROM pgembed.link(NULL::product, big.id || ' tents'))",
    "link_keys": "(SELECT count(*) FROM pgembed.link_keys('products', big.id || ' tents'))",
    "explain_link": "(SELECT count(*) FROM pgembed.explain_link('products', big.id || ' tents'))",
    "evaluate_linker": "(SELECT count(*) FROM pgembed.evaluate_linker('products', 'said') WHERE big.id > 0)",
    "link_corrections": "(SELECT count(*) FROM pgembed.link_corrections('product_link') WHERE big.id > 0)",
    "link_tables": "(SELECT count(linker) FROM pgembed.link_tables WHERE big.id > 0)",
    "semantic_join": "(SELECT count(*) FROM pgembed.semantic_join(NULL::dot, NULL::dot, k => 1, condition => 'l.id = 1') WHERE big.id > 0)",
    "semantic_join_keys": "(SELECT count(*) FROM pgembed.semantic_join_keys('dot', 'dot', condition => 'l.id = 1') WHERE big.id > 0)",
    "explain_join": "(SELECT count(*) FROM pgembed.explain_join(NULL::dot, NULL::dot, condition => 'l.id = 1') WHERE big.id > 0)",
    "review_pairs": "(SELECT count(*) FROM pgembed.review_pairs('dot', 'dot', n => 1, condition => 'l.id = 1') WHERE big.id > 0)",
    "hubness": "(SELECT count(*) FROM pgembed.hubness('dot') WHERE big.id > 0)",
    "joinable_columns": "(SELECT count(*) FROM pgembed.joinable_columns('product', sampled => true) WHERE big.id > 0)",
    "deduplicate": "(SELECT count(*) FROM pgembed.deduplicate('product') WHERE big.id > 0)",
    "classify": """(SELECT count(*) FROM pgembed.classify('product', '{"warm": "warm clothes", "other": "else"}') WHERE big.id > 0)""",
    "topics": "(SELECT count(*) FROM pgembed.topics('product', n => 2) WHERE big.id > 0)",
    "topic_rows": "(SELECT count(*) FROM pgembed.topic_rows('product', n => 2) WHERE big.id > 0)",
    "freshness": "pgembed.freshness(big.e, ''::bytea)",
    "truncated": "coalesce(pgembed.truncated(big.id::text::bytea), true)",
    "by_hand": "coalesce(pgembed.by_hand(big.id::text::bytea), true)",
    "provenance": "(SELECT count(*) FROM pgembed.provenance('dot') WHERE big.id > 0)",
    "model_change_indexes": "CASE WHEN big.id > 0 THEN 0 ELSE (SELECT count(*) FROM pgembed.model_change_indexes('product')) END",
    "text_array": "pgembed.text_array(jsonb_build_array(big.id))",
    "version": "pgembed.version() || big.id",
    "help": "(SELECT count(*) FROM pgembed.help(CASE WHEN big.id > 0 THEN 'version' END))",
    "models": "(SELECT count(name) FROM pgembed.models WHERE big.id > 0)",
    "embeddings": "(SELECT sum(rows) FROM pgembed.embeddings WHERE big.id > 0)",
    "codecs": "(SELECT count(name) FROM pgembed.codecs WHERE big.id > 0)",
    "codes": "(SELECT sum(rows) FROM pgembed.codes WHERE big.id > 0)",
    "linkers": "(SELECT count(name) FROM pgembed.linkers WHERE big.id > 0)",
}
QUERY = "SELECT {} IS NOT NULL, big.id FROM big WHERE big.id % 100 = 0"

# All ways in which an encoder is made: of pgvector's functions, and by Python to bytes, to bits and to halfvec.
ENCODERS = {
    "by_sql": "'sign', centered => true",
    "to_bytes": "'pq', bytes => 4",
    "to_bits": "'sign', rotation => 'random'",
    "to_halfvec": "'pca', dims => 4",
}


@pytest.fixture
def big(dots: Connection, fresh: Connection) -> Connection:
    """Beside dots and products a table that PostgreSQL reads in parallel, and columns of codes and a linker to ask about."""
    dots.execute(
        """
        CREATE TABLE big AS SELECT id, e FROM dot;
        ALTER TABLE big SET (parallel_workers = 2);
        ANALYZE big;
        SELECT pgembed.add_code('dot', 'dot_int8');
        CALL pgembed.fill_code('dot');
        SELECT pgembed.create_linker('products', 'product', names => 'name');
        CREATE TABLE said AS SELECT 'two tents' AS content, 5 AS start_char, 10 AS end_char, '3' AS entity_key;
        CALL pgembed.link_table('products', 'product', 'description', 'product_link');
        """
    )
    return dots


def plan(db: Connection, query: str) -> str:
    return "\n".join(row[0] for row in db.execute(f"EXPLAIN (VERBOSE, COSTS OFF) {query}").fetchall())


@pytest.mark.one_transaction
def test_python_that_runs_sql_is_parallel_unsafe(db: Connection) -> None:
    safe = db.execute(
        """
        SELECT p.proname::text FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang
        WHERE p.pronamespace = 'pgembed'::regnamespace AND l.lanname = 'plpython3u' AND p.proparallel <> 'u'
        """
    ).fetchall()
    assert {row[0] for row in safe} == WITHOUT_SQL


@pytest.mark.one_transaction
def test_what_calls_python_that_runs_sql_is_parallel_unsafe_too(db: Connection) -> None:
    bodies = db.execute(
        """
        SELECT p.proname::text, p.proparallel = 'u', l.lanname = 'plpython3u', coalesce(pg_get_function_sqlbody(p.oid), p.prosrc)
        FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang WHERE p.pronamespace = 'pgembed'::regnamespace
        """
    ).fetchall()
    unsafe = {name for name, is_unsafe, is_python, _ in bodies if is_unsafe and is_python}
    wrong = [
        name
        for name, is_unsafe, is_python, body in bodies
        if not is_unsafe and not is_python and ("EXCEPTION WHEN" in body or unsafe & set(re.findall(r"pgembed\.(\w+)\(", body)))
    ]
    assert unsafe
    assert wrong == []


def test_everything_of_ours_can_be_asked_of_a_table_that_is_read_in_parallel(
    big: Connection, connect: Callable[[Connection], Connection]
) -> None:
    session = connect(big)
    session.execute(PARALLEL)
    # without us it is read in parallel, and a function that only the leader may run would not keep it from that
    assert "Parallel Seq Scan" in plan(session, QUERY.format("big.e"))
    session.execute("CREATE FUNCTION held(x int) RETURNS int LANGUAGE plpgsql PARALLEL RESTRICTED AS 'BEGIN RETURN x; END'")
    assert "Parallel Seq Scan" in plan(session, QUERY.format("held(big.id)"))
    for name, call in CALLS.items():
        rows = session.execute(QUERY.format(call)).fetchall()
        assert sorted(rows) == [(True, 100), (True, 200)], name


@pytest.mark.one_transaction
def test_every_public_function_is_asked(db: Connection) -> None:
    called = db.execute(
        """
        SELECT DISTINCT p.proname::text FROM pg_proc AS p
        WHERE p.pronamespace = 'pgembed'::regnamespace AND p.proname NOT LIKE '\\_%' AND p.provolatile <> 'v' AND p.prokind = 'f'
        """
    ).fetchall()
    assert {name for (name,) in called} <= {match[1] for call in CALLS.values() if (match := re.search(r"pgembed\.(\w+)\(", call))}


def test_encoders_run_in_parallel_workers(dots: Connection, connect: Callable[[Connection], Connection]) -> None:
    for kind, arguments in ENCODERS.items():
        dots.execute(f"SELECT pgembed.train_codec('{kind}', 'dot', {arguments}, measure => false)")
    dots.execute("ALTER TABLE dot SET (parallel_workers = 2); ANALYZE dot")
    for kind in ENCODERS:
        query = f"SELECT id, {kind}(e)::text FROM dot WHERE {kind}(e) IS NOT NULL"
        expected = dots.execute(f"{query} ORDER BY id").fetchall()
        assert len(expected) == 200

        session = connect(dots)
        session.execute(PARALLEL)
        session.execute("SET parallel_leader_participation = off")
        # the encoder is inlined there
        filtered = plan(session, query).partition("Parallel Seq Scan")[2].partition("Filter: ")[2]
        assert ("binary_quantize(" if kind == "by_sql" else "pgembed._encode(") in filtered
        assert sorted(session.execute(query).fetchall()) == expected, kind
        ran = session.execute(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) {query}").fetchall()
        assert any(re.search("Workers Launched: [12]", line) for (line,) in ran)
        # and beside the leader
        session.execute("RESET parallel_leader_participation")
        assert sorted(session.execute(query).fetchall()) == expected, kind


def test_an_encoder_refuses_in_a_parallel_worker_as_elsewhere(
    dots: Connection, connect: Callable[[Connection], Connection], refused: Callable[..., psycopg.Error]
) -> None:
    dots.execute("SELECT pgembed.train_codec('turned', 'dot', 'sign', rotation => 'random', measure => false)")
    dots.execute(
        "CREATE TABLE other AS SELECT id, subvector(e, 1, 5)::vector(5) AS e FROM dot; ALTER TABLE other SET (parallel_workers = 2)"
    )
    session = connect(dots)
    session.execute(PARALLEL)
    session.execute("SET parallel_leader_participation = off")
    refused(session, "22000", "SELECT id FROM other WHERE turned(e) IS NOT NULL", message="expected 8 dimensions, not 5", hint="trained on")
    assert session.execute("SELECT count(*) FROM dot WHERE turned(e) IS NOT NULL").fetchone() == (200,)
