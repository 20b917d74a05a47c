"""train_codec, retrain_codec and drop_codec: what is made, that its codes are the codec's, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray
from support import Connection, Notices, Refused

from pgembed import codecs
from pgembed.codecs.contract import Codec

pytestmark = pytest.mark.one_transaction

DIM = 16
# A codec of each way to encode: an expression or constants, of bits, bytes and halfvec.
ARGUMENTS = {
    "sign": "'sign'",
    "centred": "'sign', centered => true",
    "turned": "'sign', rotation => 'random'",
    "thermometer": "'thermometer'",
    "prefix": "'matryoshka', dims => 6",
    "pca": "'pca', dims => 6",
    "int8": "'int8'",
    "pq": "'pq', bytes => 4",
}


def vectors_of(count: int, seed: int = 0) -> NDArray[np.float32]:
    """Vectors of many lengths around a mean that is not zero."""
    chance = np.random.default_rng(seed)
    return (chance.normal(size=(count, DIM)) * chance.uniform(0.5, 2, (count, 1)) + 0.3).astype(np.float32)


def text_of(vector: NDArray[np.float32]) -> str:
    return "[" + ",".join(map(repr, vector.tolist())) + "]"


def fill(db: Connection, table: str, vectors: NDArray[np.float32], column: str = "e") -> None:
    with db.cursor() as cursor, cursor.copy(f"COPY {table} ({column}) FROM STDIN") as copy:
        for vector in vectors:
            copy.write_row((text_of(vector),))


def train(db: Connection, name: str, arguments: str, table: str = "item") -> str:
    """Train without measuring; the encoder, as regproc writes it."""
    row = db.execute(f"SELECT pgembed.train_codec('{name}', '{table}', {arguments}, measure => false)::text").fetchone()
    assert row is not None
    return str(row[0])


def packed(db: Connection, name: str) -> Codec:
    row = db.execute("SELECT packed FROM pgembed._codec WHERE name = %s", [name]).fetchone()
    assert row is not None
    return codecs.load(row[0])


def made(db: Connection) -> list[tuple[str, str]]:
    """Functions and domains that are no extension's."""
    return db.execute(
        """
        SELECT 'function', p.oid::regproc::text FROM pg_proc AS p WHERE p.pronamespace NOT IN ('pg_catalog'::regnamespace,
            'information_schema'::regnamespace) AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e')
        UNION ALL SELECT 'domain', t.oid::regtype::text FROM pg_type AS t
            WHERE t.typtype = 'd' AND t.typnamespace <> 'information_schema'::regnamespace
        ORDER BY 1, 2
        """
    ).fetchall()


@pytest.fixture
def item(db: Connection) -> Connection:
    """300 rows and one without a vector."""
    db.execute(f"CREATE TABLE item (id serial PRIMARY KEY, e vector({DIM}), h halfvec({DIM}))")
    fill(db, "item", vectors_of(300))
    db.execute("UPDATE item SET h = e")
    db.execute("INSERT INTO item (e) VALUES (NULL)")
    db.execute("SELECT pgembed.adopt_embedding('item', 'e')")
    return db


def as_bytes(codec: Codec, value: Any) -> bytes:
    """A code as PostgreSQL has written it in the form that the codec makes."""
    if codec.shape.kind == "bits":
        assert len(value) == codec.shape.length
        return np.packbits([int(bit) for bit in value]).tobytes()
    if codec.shape.kind == "bytes":
        return bytes(value)
    return np.array(value.strip("[]").split(","), np.float64).astype(np.float16).tobytes()


@pytest.mark.parametrize("arguments", ARGUMENTS.values(), ids=ARGUMENTS)
def test_the_function_makes_the_codes_of_the_codec_and_a_generated_column_has_them(
    item: Connection, refused: Refused, arguments: str
) -> None:
    assert train(item, "item_code", arguments) == "item_code"
    codec = packed(item, "item_code")
    kind, length = codec.shape.kind, codec.shape.length
    cast = "" if kind == "bytes" else "::text"
    rows = item.execute(f"SELECT item_code(e){cast} FROM item ORDER BY id").fetchall()
    assert rows[-1] == (None,)
    expected = codec.encode(vectors_of(300))
    assert [as_bytes(codec, row[0]) for row in rows[:-1]] == [one.tobytes() for one in expected]
    assert len({one.tobytes() for one in expected}) > 30  # the comparison is of something

    row = item.execute("SELECT code_type, kind, length FROM pgembed._codec").fetchone()
    assert row is not None
    types = {"bits": f"pgembed.binvec({length})", "bytes": "public.item_code_code", "halfvec": f"public.halfvec({length})"}
    assert row == (types[kind], kind, length)
    item.execute(f"CREATE TABLE made (id int, e vector, code {row[0]} GENERATED ALWAYS AS (item_code(e)) STORED)")
    item.execute("INSERT INTO made SELECT id, e FROM item")
    assert item.execute(f"SELECT code{cast} FROM made ORDER BY id").fetchall() == rows

    # a prefix would fit longer vectors, bit() pads in silence
    for other in (1, 8, DIM - 1, DIM + 1, 2 * DIM):
        message = f"expected {DIM} dimensions, not {other}"
        statement = f"SELECT item_code(array_fill(1, ARRAY[{other}])::vector)"
        refused(item, "22000", statement, message=message, hint="encodes" if "_constants" in str(made(item)) else None)


def test_plain_bits_have_the_dimension_checked_too(item: Connection, refused: Refused) -> None:
    train(item, "item_code", "'sign', code_type => 'bit'")
    assert item.execute("SELECT code_type FROM pgembed._codec").fetchone() == ("bit(16)",)
    for other in (DIM - 1, DIM + 1):
        message = f"expected {DIM} dimensions, not {other}"
        refused(item, "22000", f"SELECT item_code(array_fill(1, ARRAY[{other}])::vector)", message=message, hint=None)


def test_codecs_in_sql_alone_are_inlined_and_need_nothing_of_ours(item: Connection) -> None:
    names = ("centred", "prefix", "sign", "thermometer")
    for name in names:
        train(item, f"item_{name}", ARGUMENTS[name])
        plan = str(item.execute(f"EXPLAIN (VERBOSE, COSTS OFF) SELECT item_{name}(e) FROM item").fetchall())
        assert "item_" not in plan
        assert "pgembed" not in str(item.execute("SELECT pg_get_function_sqlbody(%s::regproc)", [f"item_{name}"]).fetchone())
    assert made(item) == [("function", f"item_{name}") for name in names]


def test_objects_and_names(item: Connection, notices: Notices) -> None:
    item.execute('CREATE SCHEMA "My Shop"; ALTER TABLE item SET SCHEMA "My Shop"; CREATE SCHEMA elsewhere')
    item.execute("SET search_path = elsewhere, public")
    name = 'it\'s a "select"'
    row = item.execute("SELECT pgembed.train_codec(%s, %s, 'int8', measure => false)::text", [name, '"My Shop".item']).fetchone()
    assert row == ('"My Shop"."it\'s a ""select"""',)
    assert {one.split(".")[0] for _, one in made(item)} == {'"My Shop"'}
    assert [one.split(".", 1)[1] for _, one in made(item)] == [
        '"it\'s a ""select""_code"',
        '"it\'s a ""select"""',
        '"it\'s a ""select""_constants"',
    ]
    said = item.execute(
        "SELECT obj_description(encoder::regproc), obj_description(domain::regtype) FROM pgembed._codec",
    ).fetchone()
    assert said == (
        'code of a vector of 16 dimensions: int8 codec of "My Shop".item.e',
        'code of 20 bytes: int8 codec of "My Shop".item.e',
    )
    assert notices[-1].severity == "NOTICE"
    assert notices[-1].message.startswith(f"{name}: 20 bytes instead of 64, trained on 300 of 300 rows in ")
    item.execute("SELECT pgembed.drop_codec(%s)", [name])
    assert made(item) == []


def test_the_same_seed_draws_the_same_sample(item: Connection) -> None:
    fill(item, "item", vectors_of(3000, 7))
    marks = {}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(item, name, f"'sign', centered => true, sample_rows => 200, seed => {seed}")
        marks[name] = packed(item, name).fingerprint
    assert marks["a"] == marks["b"] != marks["c"]
    counts = "SELECT DISTINCT sample_rows, table_rows FROM pgembed._codec"
    assert item.execute(counts).fetchall() == [(200, 3300)]


def test_vectors_are_normalised_where_the_metric_is_cosine_and_they_are_not(item: Connection) -> None:
    item.execute("SELECT pgembed.adopt_embedding('item', 'h', metric => 'l2')")
    item.execute(f"CREATE TABLE short (e halfvec({DIM}), x vector({DIM}))")
    item.execute("INSERT INTO short (e, x) SELECT l2_normalize(e), l2_normalize(e) FROM item WHERE e IS NOT NULL")
    item.execute("INSERT INTO short (e) VALUES (array_fill(0, ARRAY[16])::halfvec)")
    item.execute("SELECT pgembed.adopt_embedding('short', 'e')")
    for name, table, column in (("a", "item", "e"), ("b", "item", "h"), ("c", "short", "e")):
        train(item, name, f"'int8', '{column}'", table)
    assert {name: packed(item, name).space.normalize for name in "abc"} == {"a": True, "b": False, "c": False}
    row = item.execute("SELECT count(*) FROM item WHERE a(e) = a(e + e)").fetchone()
    assert row == (300,)
    assert item.execute("SELECT count(*) FROM item WHERE b(e) <> b(e + e)").fetchone() == (300,)


def test_a_halfvec_column_is_trained_on_as_it_is(item: Connection) -> None:
    item.execute("SELECT pgembed.adopt_embedding('item', 'h', metric => 'l2')")
    train(item, "half", "'sign', 'h', centered => true")
    mean = np.array([np.float16(one) for one in vectors_of(300).ravel()]).reshape(-1, DIM).astype(np.float32).mean(axis=0)
    centre = packed(item, "half")
    point = np.nextafter(mean, mean + 1)[None, :].astype(np.float32)
    assert centre.encode(point + 1e-3).tobytes() == b"\xff\xff"
    assert centre.encode(point - 1e-3).tobytes() == b"\0\0"


REFUSED = [
    ("22004", "NULL, 'item', 'sign'", "name is NULL", "function"),
    ("22004", "' ', 'item', 'sign'", "name is NULL or empty", "function"),
    ("22004", "'a', NULL, 'sign'", "target is NULL", "table"),
    ("22004", "'a', 'item', NULL", "method is NULL", "recommend_codec"),
    ("22004", "'a', 'item', 'sign', sample_rows => NULL", "sample_rows is NULL", "50000"),
    ("22004", "'a', 'item', 'sign', seed => NULL", "seed is NULL", "default"),
    ("22023", "repeat('x', 54), 'item', 'sign'", "at most 53 bytes, not 54", "longer"),
    ("22023", "'a', 'item', 'zip'", 'not "zip"', "recommend_codec"),
    ("22023", "'a', 'item', 'sign', bits => 2", "no option bits", "Options of sign: "),
    ("22023", "'a', 'item', 'pca', dims => 17", "dims must be from 1 to 1", ""),
    ("22023", "'a', 'item', 'sign', sample_rows => 0", "sample_rows must be from 1", "50000"),
    ("22023", "'a', 'item', 'sign', seed => -1", "seed must be from 0", "default"),
    ("22023", "'a', 'item', 'sign', code_type => 'text'", "code_type must be one of binvec, bit, not text", "binvec"),
    ("22023", "'a', 'item', 'int8', code_type => 'bit'", "code_type is for codes of bits", "Leave code_type out"),
    ("22004", "'a', 'item', 'sign', queries => 'item'", "queries needs queries_column", "queries_column"),
    ("42710", "'taken', 'item', 'sign'", 'codec "taken" exists already', "retrain_codec"),
    ("42710", "'mine', 'item', 'sign'", 'function "mine" of schema "public"', "another name"),
    ("42710", "'of', 'item', 'sign'", 'type "of_code" of schema "public"', "another name"),
    ("42704", "'a', 'item', 'sign', 'h'", "not an embedded column", "Embedded columns"),
    ("42704", "'a', 'bare', 'sign'", "has no embedded column", "adopt_embedding"),
    ("22023", "'a', 'hollow', 'sign'", "hollow.e has no vectors", "refresh"),
    ("22000", "'a', 'mixed', 'sign'", "vectors of 2 dimensions", "same number"),
]


def test_what_cannot_be_trained_is_refused_before_anything_is_made(item: Connection, refused: Refused) -> None:
    item.execute(
        """
        CREATE FUNCTION mine(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE TABLE of_code (a int); CREATE TABLE bare (a int);
        CREATE TABLE hollow (e vector(3)); INSERT INTO hollow VALUES (NULL); SELECT pgembed.adopt_embedding('hollow', 'e');
        CREATE TABLE mixed (e vector); INSERT INTO mixed VALUES ('[1,2]'), ('[1,2,3]'); SELECT pgembed.adopt_embedding('mixed', 'e');
        """
    )
    train(item, "taken", "'sign'")
    before = made(item)
    for sqlstate, call, message, hint in REFUSED:
        refused(item, sqlstate, f"SELECT pgembed.train_codec({call})", message=message, hint=hint)
    assert made(item) == before
    assert item.execute("SELECT name FROM pgembed._codec").fetchall() == [("taken",)]


def test_a_column_over_chunks_is_refused_with_a_way_out(unread: Connection, refused: Refused) -> None:
    refused(unread, "0A000", "SELECT pgembed.train_codec('a', 'doc', 'sign')", message="needs one vector", hint="adopt_embedding")


def test_numbers_too_great_to_compute_with_are_refused(item: Connection, refused: Refused) -> None:
    # of an infinite matrix LAPACK may look for singular values for ever, and hears no cancel
    item.execute("SELECT pgembed.alter_embedding('item', metric => 'l2')")
    item.execute("CREATE TABLE asked AS SELECT e FROM item; UPDATE item SET e = array_fill(-3e38, ARRAY[16])::vector WHERE id % 2 = 1")
    for call in ("train_codec('a', 'item', 'opq', bytes => 4)", "train_codec('a', 'item', 'sign')", "recommend_codec('item')"):
        refused(item, "22023", f"SELECT pgembed.{call}", message="item.e has a number of 3e+38", hint="Scale")
    item.execute("SELECT pgembed.adopt_embedding('asked', 'e', metric => 'l2')")
    call = "train_codec('a', 'asked', 'leanvec', dims => 4, queries => 'item', queries_column => 'e')"
    refused(item, "22023", f"SELECT pgembed.{call}", message="item.e has a number of 3e+38", hint="Scale")


@pytest.mark.own_database
def test_training_can_be_cancelled_and_leaves_nothing(item: Connection) -> None:
    fill(item, "item", vectors_of(30000, 3))
    train(item, "quick", "'sign'")  # so that what is cancelled is no import
    item.execute("SELECT pgembed.drop_codec('quick')")
    item.execute("SET statement_timeout = '150ms'")
    with pytest.raises(psycopg.errors.QueryCanceled):
        train(item, "slow", "'opq', bytes => 8")
    item.execute("RESET statement_timeout")
    assert made(item) == []


def test_queries_are_what_a_query_aware_codec_is_fitted_to(item: Connection) -> None:
    item.execute(f"CREATE TABLE asked (q vector({DIM}))")
    chance = np.random.default_rng(5)
    fill(item, "asked", (chance.normal(size=(200, DIM)) * np.geomspace(10, 0.01, DIM)).astype(np.float32), "q")
    train(item, "seeing", "'leanvec', dims => 4, queries => 'asked', queries_column => 'q'")
    train(item, "other", "'leanvec', dims => 4, queries => 'item', queries_column => 'e'")
    assert packed(item, "seeing").fingerprint != packed(item, "other").fingerprint
    row = item.execute("SELECT queries, queries_column FROM pgembed._codec WHERE name = 'seeing'").fetchone()
    assert row == ('"public"."asked"', "q")


def test_what_was_measured_is_kept_and_told(item: Connection, notices: Notices) -> None:
    item.execute("SELECT pgembed.train_codec('item_code', 'item', 'sign')")
    row = item.execute("SELECT measured FROM pgembed._codec").fetchone()
    assert row is not None
    assert row[0]["k"] == 10
    assert "48" not in notices[-1].message
    said = f"recall@10 {row[0]['hamming']['100']:.3f}".replace(" 0.", " .")
    assert f"2 bytes instead of 64, {said} after rescoring 100, trained on 300 of 300 rows" in notices[-1].message


def test_retraining_makes_another_codec_beside_the_old_one(item: Connection) -> None:
    train(item, "item_code", "'thermometer', bits => 3, sample_rows => 250, code_type => 'bit'")
    before = item.execute("SELECT item_code(e)::text FROM item ORDER BY id").fetchall()
    row = item.execute("SELECT pgembed.retrain_codec('item_code')::text").fetchone()
    assert row == ("item_code_2",)
    assert packed(item, "item_code").fingerprint == packed(item, "item_code_2").fingerprint
    item.execute("UPDATE item SET e = e + array_fill(0.5, ARRAY[16])::vector")
    assert item.execute("SELECT pgembed.retrain_codec('item_code_2')::text").fetchone() == ("item_code_3",)
    assert item.execute("SELECT pgembed.retrain_codec('item_code', 'mine')::text").fetchone() == ("mine",)
    assert packed(item, "item_code_3").fingerprint == packed(item, "mine").fingerprint != packed(item, "item_code").fingerprint
    kept = item.execute("SELECT DISTINCT method, options, code_type, sample_rows, seed FROM pgembed._codec").fetchall()
    assert len(kept) == 1
    item.execute("UPDATE item SET e = e - array_fill(0.5, ARRAY[16])::vector")
    changed = [one for one, two in zip(before, item.execute("SELECT item_code(e)::text FROM item ORDER BY id"), strict=True) if one != two]
    assert len(changed) < 10  # rounding alone


def test_retraining_says_when_its_queries_are_gone(item: Connection, notices: Notices) -> None:
    item.execute("CREATE TABLE asked AS SELECT e AS q FROM item")
    train(item, "item_code", "'sign', queries => 'asked', queries_column => 'q'")
    item.execute("SELECT pgembed.retrain_codec('item_code')")
    assert [one for one in notices if one.severity == "WARNING"] == []
    item.execute("DROP TABLE asked")
    item.execute("SELECT pgembed.retrain_codec('item_code')")
    (warning,) = (one for one in notices if one.severity == "WARNING")
    assert '"public"."asked", which does not exist any more' in warning.message
    assert warning.hint


def test_dropping(item: Connection, refused: Refused) -> None:
    for name in ("sign", "pq", "pca"):
        train(item, f"item_{name}", ARGUMENTS[name])
    for name in ("sign", "pq", "pca"):
        item.execute("SELECT pgembed.drop_codec(%s)", [f"item_{name}"])
    assert made(item) == []
    refused(item, "42704", "SELECT pgembed.drop_codec('item_pq')", message='codec "item_pq" does not exist', hint="pgembed.codecs")
    refused(item, "22004", "SELECT pgembed.drop_codec(NULL)", message="NULL", hint="pgembed.codecs")


@pytest.mark.parametrize(
    "by_hand",
    [
        "DROP FUNCTION item_pq",
        "DROP FUNCTION item_pq, item_pq_constants; DROP DOMAIN item_pq_code",
        "DROP FUNCTION item_pq; DROP DOMAIN item_pq_code; CREATE TABLE item_pq_code (a int)",
        "ALTER SCHEMA public RENAME TO renamed; CREATE SCHEMA public",
        "ALTER TABLE item DROP COLUMN e",
    ],
)
def test_dropping_does_not_miss_what_was_dropped_by_hand(item: Connection, by_hand: str) -> None:
    train(item, "item_pq", ARGUMENTS["pq"])
    item.execute(by_hand)
    item.execute("SELECT pgembed.drop_codec('item_pq')")
    assert made(item) == []
    assert item.execute("SELECT count(*) FROM pgembed._codec").fetchone() == (0,)


def test_a_codec_in_use_is_not_dropped(item: Connection, refused: Refused) -> None:
    train(item, "item_pq", ARGUMENTS["pq"])
    item.execute("SELECT pgembed.add_code('item', 'item_pq', 'code')")
    drop = "SELECT pgembed.drop_codec('item_pq')"
    error = refused(item, "2BP01", drop, message="is used by 1 column of codes", hint="drop_code('item', 'code')")
    assert error.diag.message_detail == "column code of table item"
    item.execute("SELECT pgembed.drop_code('item', 'code')")
    if item.info.server_version < 150000:
        pytest.skip("PostgreSQL 14 drops a generated column with a function that it calls")
    item.execute("ALTER TABLE item ADD COLUMN mine item_pq_code GENERATED ALWAYS AS (item_pq(e)) STORED")
    error = refused(item, "2BP01", drop)
    assert "mine" in (error.diag.message_detail or "")
    assert item.execute("SELECT count(*) FROM pgembed._codec").fetchone() == (1,)
    item.execute("ALTER TABLE item DROP COLUMN mine; SELECT pgembed.drop_codec('item_pq')")


@pytest.mark.parametrize("how", ["DROP TABLE shop.item", "DROP SCHEMA shop CASCADE"])
def test_a_dropped_table_takes_its_codecs_along(item: Connection, notices: Notices, how: str) -> None:
    item.execute("CREATE SCHEMA shop; ALTER TABLE item SET SCHEMA shop")
    for name in ("sign", "pq", "pca"):
        train(item, f"item_{name}", ARGUMENTS[name], "shop.item")
    item.execute("SELECT pgembed.add_code('shop.item', 'item_pq')")
    notices.clear()
    item.execute(how)
    assert made(item) == []
    assert item.execute("SELECT count(*) FROM pgembed._codec").fetchone() == (0,)
    assert [one for one in notices if "skipping" in one.message] == []


def test_dropping_where_no_event_trigger_saw_the_table_go(item: Connection) -> None:
    train(item, "item_pq", ARGUMENTS["pq"])
    train(item, "item_pca", ARGUMENTS["pca"])
    item.execute("CREATE TABLE kept AS SELECT item_pq(e) AS code FROM item")
    item.execute("ALTER EVENT TRIGGER pgembed_after_drop DISABLE; DROP TABLE item; ALTER EVENT TRIGGER pgembed_after_drop ENABLE")
    item.execute("SELECT pgembed.drop_codec('item_pca')")
    assert made(item) == [("domain", "item_pq_code")]  # which somebody's table needs
    assert item.execute("SELECT count(*) FROM pgembed._codec").fetchone() == (0,)


def test_a_codec_that_another_table_uses_stays_when_its_table_is_dropped(item: Connection) -> None:
    train(item, "item_pq", ARGUMENTS["pq"])
    item.execute(f"CREATE TABLE second (id int PRIMARY KEY, e vector({DIM}))")
    item.execute("SELECT pgembed.adopt_embedding('second', 'e'); SELECT pgembed.add_code('second', 'item_pq', 'code')")
    item.execute("DROP TABLE item")
    assert item.execute("SELECT table_name::text, column_name FROM pgembed._codec").fetchall() == [("second", "e")]
    item.execute("INSERT INTO second (id, e) VALUES (1, array_fill(1, ARRAY[16])::vector)")
    assert item.execute("SELECT code = item_pq(e) FROM second").fetchone() == (True,)
    item.execute("SELECT pgembed.drop_code('second', 'code'); SELECT pgembed.drop_codec('item_pq')")
    assert made(item) == []


@pytest.mark.own_database
def test_constants_of_another_codec_are_not_used(item: Connection, refused: Refused, connect: Callable[[Connection], Connection]) -> None:
    train(item, "item_pq", ARGUMENTS["pq"])
    train(item, "other", "'pq', bytes => 8")
    replace = "CREATE OR REPLACE FUNCTION item_pq_constants() RETURNS bytea LANGUAGE sql IMMUTABLE AS 'SELECT {}'"
    for instead in ("public.other_constants()", "NULL::pg_catalog.bytea"):
        item.execute(replace.format(instead))
        refused(connect(item), "55000", "SELECT item_pq(e) FROM item LIMIT 1", message="these constants are of codec", hint="replaced")
    assert connect(item).execute("SELECT other(e) FROM item LIMIT 1").fetchone() is not None
    call = "SELECT pgembed._encode('pg_sleep', 'x', '')"
    refused(item, "42704", call, message="pg_sleep is not a function that returns the constants", hint="Train")


def test_it_encodes_in_parallel_workers(item: Connection) -> None:
    train(item, "item_pq", ARGUMENTS["pq"])
    item.execute("SET debug_parallel_query = on" if item.info.server_version >= 160000 else "SET force_parallel_mode = on")
    item.execute("SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0")
    assert "Gather" in str(item.execute("EXPLAIN SELECT item_pq(e) FROM item").fetchall())
    assert item.execute("SELECT count(item_pq(e)) FROM item").fetchone() == (300,)
