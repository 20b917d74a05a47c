"""masked_query(): bits and mask are numpy's, PostgreSQL's & and pgvector's <~> order codes by them, and anybody may ask."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from coded import DIM, QUERIES, ROWS, VECTORS, fill, text
from support import AsRole, Connection, MakeRole, Refused

from pgembed import codecs
from pgembed.codecs.contract import popcounts

pytestmark = pytest.mark.one_transaction

NEAREST = "SELECT d.id FROM dot AS d, pgembed.masked_query('{}', %s::vector) AS q ORDER BY (d.code & q.mask) <~> q.bits, d.id LIMIT 50"

KINDS = (
    ("sign", ""),
    ("thermometer", "bits => 3"),
    ("thermometer", "dims => 7, rotation => 'learned'"),
    ("recurrent", "code_type => 'bit'"),
)


@pytest.fixture
def dot(db: Connection) -> Connection:
    """Clustered vectors of 16 dimensions and a codec of bits, ``dot_sign``."""
    db.execute(f"CREATE TABLE dot (id int PRIMARY KEY, section int, e vector({DIM}))")
    fill(db, "dot")
    db.execute("SELECT pgembed.adopt_embedding('dot', 'e'), pgembed.train_codec('dot_sign', 'dot', 'sign', measure => false)")
    return db


def packed(db: Connection, name: str) -> codecs.Codec:
    row = db.execute("SELECT packed FROM pgembed._codec WHERE name = %s", [name]).fetchone()
    assert row is not None
    return codecs.load(row[0])


def asked(db: Connection, codec: str, query: Any) -> Any:
    return db.execute("SELECT bits::text, mask::text FROM pgembed.masked_query(%s, %s::vector)", [codec, text(query)]).fetchone()


def by_hand(codec: codecs.Codec, query: Any) -> list[int]:
    """Ids by the number of bits within the mask that differ, computed here."""
    found = codec.masked(query[None, :])
    assert found is not None
    bits, mask = found
    distances = popcounts((codec.encode(VECTORS) & mask) ^ bits)
    return [int(row) for row in np.lexsort((np.arange(ROWS), distances))]


@pytest.mark.parametrize(("method", "options"), KINDS)
def test_codes_are_ordered_as_numpy_does(dot: Connection, method: str, options: str) -> None:
    listed = f", {options}" if options else ""
    dot.execute(f"SELECT pgembed.train_codec('made', 'dot', '{method}'{listed}, measure => false)")
    codec = packed(dot, "made")
    row = dot.execute("SELECT code_type FROM pgembed.codecs WHERE name = 'made'").fetchone()
    assert row is not None
    dot.execute(f"ALTER TABLE dot ADD COLUMN code {row[0]} GENERATED ALWAYS AS (made(e)) STORED")
    plain_differs = False
    for query in QUERIES[:6]:
        found = codec.masked(query[None, :])
        assert found is not None
        of_numpy = tuple("".join(map(str, np.unpackbits(part[0], count=codec.shape.length))) for part in found)
        assert asked(dot, "made", query) == of_numpy
        assert [row[0] for row in dot.execute(NEAREST.format("made"), [text(query)]).fetchall()] == by_hand(codec, query)[:50]
        plain = dot.execute("SELECT id FROM dot ORDER BY code <~> made(%s::vector), id LIMIT 50", [text(query)]).fetchall()
        plain_differs |= [row[0] for row in plain] != by_hand(codec, query)[:50]
    assert plain_differs


@pytest.mark.own_database  # VACUUM
def test_a_covering_index_alone_serves_it(dot: Connection) -> None:
    dot.execute(
        f"ALTER TABLE dot ADD COLUMN code pgembed.binvec({DIM}) GENERATED ALWAYS AS (dot_sign(e)) STORED;"
        " CREATE INDEX dot_cover ON dot (section) INCLUDE (id, code)"
    )
    dot.execute("VACUUM ANALYZE dot")
    dot.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
    query, filtered = QUERIES[0], NEAREST.format("dot_sign").replace(" ORDER", " WHERE d.section = 3 ORDER")
    plan = [line for (line,) in dot.execute(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {filtered}", [text(query)]).fetchall()]
    assert any("Index Only Scan using dot_cover" in line for line in plan)
    assert any("Heap Fetches: 0" in line for line in plan)
    assert any("Function Scan on masked_query" in line and "loops=1" in line for line in plan), "it is called once"
    expected = [row for row in by_hand(packed(dot, "dot_sign"), query) if row % 10 == 3][:50]
    assert [row[0] for row in dot.execute(filtered, [text(query)]).fetchall()] == expected


def test_values_of_a_call_may_be_passed_on(dot: Connection) -> None:
    dot.execute(f"ALTER TABLE dot ADD COLUMN code bit({DIM}) GENERATED ALWAYS AS (dot_sign(e)) STORED")
    query = QUERIES[1]
    bits, mask = asked(dot, "dot_sign", query)
    found = dot.execute(f"SELECT id FROM dot ORDER BY (code & B'{mask}') <~> B'{bits}', id").fetchall()
    assert [row[0] for row in found] == by_hand(packed(dot, "dot_sign"), query)


def test_null_has_neither_bits_nor_mask(dot: Connection, refused: Refused) -> None:
    assert dot.execute("SELECT * FROM pgembed.masked_query('dot_sign', NULL)").fetchall() == [(None, None)]
    refused(dot, "22004", "SELECT pgembed.masked_query(NULL, '[1]')", message="codec is NULL", hint="pgembed.codecs")
    refused(dot, "42704", "SELECT pgembed.masked_query('none', NULL)", message='codec "none" does not exist', hint="pgembed.codecs")


def test_what_cannot_be_masked_is_refused(dot: Connection, refused: Refused) -> None:
    dot.execute(
        "SELECT pgembed.train_codec('dot_int8', 'dot', 'int8', measure => false),"
        " pgembed.train_codec('dot_pca', 'dot', 'pca', dims => 4, measure => false)"
    )
    query = text(QUERIES[0])
    for name, type_ in (("dot_int8", "public.dot_int8_code"), ("dot_pca", "public.halfvec(4)")):
        message = f'codes of "{name}" are of type {type_}, which has no bits'
        refused(dot, "42804", f"SELECT pgembed.masked_query('{name}', '{query}')", message=message, hint="WHERE kind = 'bits'")
    message = 'vector has 2 dimensions, codec "dot_sign" is for 16'
    refused(dot, "22000", "SELECT pgembed.masked_query('dot_sign', '[1,2]')", message=message, hint="trained on")
    dot.execute("SELECT pgembed.drop_codec('dot_sign')")
    refused(dot, "42704", f"SELECT pgembed.masked_query('dot_sign', '{query}')", message='codec "dot_sign" does not exist')


def test_a_codec_of_another_name_and_one_made_anew(dot: Connection) -> None:
    before = asked(dot, "dot_sign", QUERIES[0])
    dot.execute("SELECT pgembed.drop_codec('dot_sign'), pgembed.train_codec('dot_sign', 'dot', 'thermometer', measure => false)")
    after = asked(dot, "dot_sign", QUERIES[0])
    assert (len(before[0]), len(after[0]), after[1].count("0")) == (DIM, 2 * DIM, 2 * DIM * 40 // 100)
    dot.execute("SELECT pgembed.train_codec('Odd \"one', 'dot', 'sign', measure => false)")
    assert asked(dot, 'Odd "one', QUERIES[0]) == before


def test_anybody_may_ask_and_no_function_of_a_users_runs(dot: Connection, make_role: MakeRole, as_role: AsRole) -> None:
    expected = asked(dot, "dot_sign", QUERIES[0])
    dot.execute("CREATE OR REPLACE FUNCTION dot_sign(embedding vector) RETURNS bit LANGUAGE sql AS $$SELECT (1 / 0)::bit(16)$$")
    dot.execute("REVOKE EXECUTE ON FUNCTION dot_sign FROM PUBLIC")
    alice = make_role("alice")
    with as_role(dot, alice):
        assert asked(dot, "dot_sign", QUERIES[0]) == expected


def test_where_search_path_finds_nothing_and_pgvector_is_elsewhere(empty_db: Connection) -> None:
    db = empty_db
    db.execute('CREATE SCHEMA "Ext"; CREATE EXTENSION vector SCHEMA "Ext"; CREATE EXTENSION pgembed CASCADE')
    db.execute('SET search_path = public, "Ext"')
    db.execute(f"CREATE TABLE dot (id int PRIMARY KEY, section int, e vector({DIM}))")
    fill(db, "dot")
    db.execute("SELECT pgembed.adopt_embedding('dot', 'e'), pgembed.train_codec('dot_sign', 'dot', 'sign', measure => false)")
    db.execute("ALTER TABLE dot ADD COLUMN code pgembed.binvec(16) GENERATED ALWAYS AS (dot_sign(e)) STORED")
    db.execute("SET search_path = ''")
    found = db.execute(
        "SELECT d.id FROM public.dot AS d, pgembed.masked_query('dot_sign', %s::\"Ext\".vector) AS q"
        ' ORDER BY (d.code & q.mask) OPERATOR("Ext".<~>) q.bits, d.id',
        [text(QUERIES[2])],
    ).fetchall()
    assert [row[0] for row in found] == by_hand(packed(db, "dot_sign"), QUERIES[2])


def test_what_it_finds_more_is_measured_and_kept(dot: Connection) -> None:
    dot.execute("SELECT pgembed.train_codec('seen', 'dot', 'sign')")
    row = dot.execute(
        "SELECT recall_50, masked_recall, masked_recall_20, masked_recall_50, masked_recall_100, masked_recall_200, masked_rescore_99"
        " FROM pgembed.codecs WHERE name = 'seen'"
    ).fetchone()
    assert row is not None
    plain, *curve, least = row
    assert curve == sorted(curve)
    assert 0 < curve[0] < curve[-1] <= 1
    assert curve[2] != plain
    kept = dot.execute("SELECT measured->'masked_rescore'->>'0.99' FROM pgembed._codec WHERE name = 'seen'").fetchone()
    assert kept == (None if least is None else str(least),)
    dot.execute("SELECT pgembed.train_codec('bytes', 'dot', 'int8')")
    none = dot.execute("SELECT masked_recall_100, masked_rescore_99 FROM pgembed.codecs WHERE name = 'bytes'").fetchone()
    assert none == (None, None)


def test_a_recommendation_lists_it_beside_what_an_index_serves(dot: Connection) -> None:
    found = dot.execute(
        "SELECT method, options::text, scan, recall_100, bytes, is_recommended FROM pgembed.recommend_codec('dot')"
    ).fetchall()
    ways: dict[tuple[str, str], set[str]] = {}
    for method, options, scan, *_ in found:
        ways.setdefault((method, options), set()).add(scan)
    of_bits = [scans for scans in ways.values() if "hamming" in scans]
    assert of_bits
    assert all(scans == {"hamming", "masked", "asymmetric"} for scans in of_bits)
    assert all("masked" not in scans for scans in ways.values() if "hamming" not in scans)
    assert all(scan in ("hamming", "halfvec") for _, _, scan, _, _, is_recommended in found if is_recommended)
