"""distance(): of codes, of a code and a vector, of rows; and that what must not be compared is not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import psycopg
import pytest
from support import AsRole, Connection, MakeRole, Refused

from pgembed import codecs

pytestmark = pytest.mark.one_transaction

DIM = 8
ASKED = "[1,-2,3,0.5,-1,2,0.25,1]"
VECTORS = "(SELECT array_agg(sin(n * j + j * j)) FROM generate_series(1, 8) AS j)::vector(8)"


@pytest.fixture
def item(db: Connection) -> Connection:
    """200 rows of 8 dimensions with three codecs: bits, and two of bytes; the first row has no vector."""
    db.execute(
        f"""
        CREATE TABLE item (id int PRIMARY KEY, e vector(8));
        INSERT INTO item SELECT n, {VECTORS} FROM generate_series(1, 200) AS n;
        UPDATE item SET e = NULL WHERE id = 1;
        SELECT pgembed.adopt_embedding('item', 'e');
        SELECT pgembed.train_codec('signs', 'item', 'sign', measure => false),
               pgembed.train_codec('small', 'item', 'int8', measure => false),
               pgembed.train_codec('parts', 'item', 'pq', measure => false);
        """
    )
    return db


def packed(db: Connection, name: str) -> codecs.Codec:
    row = db.execute("SELECT packed FROM pgembed._codec WHERE name = %s", [name]).fetchone()
    assert row is not None
    return codecs.load(row[0])


def point(db: Connection, codec: str, row: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Where the code of a row stands."""
    found = db.execute(f"SELECT {codec}(e)::bytea FROM item WHERE id = {row}").fetchone()
    assert found is not None
    made = packed(db, codec).points(np.frombuffer(found[0], np.uint8)[None, :])[0]
    return made.astype(np.float64)


def by_hand(metric: str, query: Any, point: Any) -> float:
    """A distance in plain arithmetic."""
    product = math.fsum(float(a) * float(b) for a, b in zip(query, point, strict=True))
    if metric == "l2":
        return math.sqrt(math.fsum((float(a) - float(b)) ** 2 for a, b in zip(query, point, strict=True)))
    if metric == "inner_product":
        return -product
    return 1 - product / math.sqrt(math.fsum(float(a) ** 2 for a in query))


def one(db: Connection, call: str) -> Any:
    row = db.execute(f"SELECT pgembed.distance({call}) FROM item WHERE id = 2").fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize("metric", ["cosine", "l2", "inner_product"])
@pytest.mark.parametrize("codec", ["small", "parts"])
def test_a_code_and_a_vector_are_as_far_apart_as_point_and_vector(db: Connection, metric: str, codec: str) -> None:
    db.execute(
        f"CREATE TABLE item (id int PRIMARY KEY, e vector(8)); INSERT INTO item SELECT n, {VECTORS} FROM generate_series(1, 200) AS n"
    )
    db.execute("SELECT pgembed.adopt_embedding('item', 'e', metric => %s)", [metric])
    method = {"small": "int8", "parts": "pq"}[codec]
    db.execute(f"SELECT pgembed.train_codec('{codec}', 'item', '{method}', measure => false)")
    asked = [float(number) for number in ASKED.strip("[]").split(",")]
    for order in (f"{codec}(e), '{ASKED}'::vector", f"'{ASKED}'::vector, {codec}(e)", f"{codec}(e), '{ASKED}'::halfvec"):
        assert one(db, order) == pytest.approx(by_hand(metric, asked, point(db, codec, 2)), abs=2e-3)


def test_the_estimate_is_near_the_distance(item: Connection) -> None:
    rows = item.execute(f"SELECT pgembed.distance(small(e), '{ASKED}'::vector), e <=> '{ASKED}' FROM item WHERE id > 1").fetchall()
    assert len(rows) == 199
    assert max(abs(estimate - exact) for estimate, exact in rows) < 0.02


def test_two_codes_of_bytes_are_compared_by_their_points(item: Connection) -> None:
    found = item.execute("SELECT pgembed.distance(small(a.e), small(b.e)) FROM item AS a, item AS b WHERE a.id = 2 AND b.id = 3").fetchone()
    left, right = point(item, "small", 2), point(item, "small", 3)
    assert found == (pytest.approx(1 - float(left @ right), abs=1e-5),)
    assert one(item, "parts(e), parts(e)") == pytest.approx(1 - float(np.square(point(item, "parts", 2)).sum()), abs=1e-5)


def test_two_codes_of_bits_are_counted(item: Connection) -> None:
    a, b = "01100101", "11100011"
    for type_ in ("pgembed.binvec(8)", "bit(8)", "varbit"):
        assert one(item, f"'{a}'::{type_}, '{b}'::{type_}, 'signs'") == sum(x != y for x, y in zip(a, b, strict=True))
        assert one(item, f"'{a}'::{type_}, '{a}'::pgembed.binvec(8), codec => 'signs'") == 0


def test_a_code_of_bits_and_a_vector(item: Connection) -> None:
    rows = item.execute("SELECT pgembed.distance(signs(e), %s::vector, 'signs'), signs(e)::text FROM item WHERE id > 1", [ASKED]).fetchall()
    codec, asked = packed(item, "signs"), np.array([float(number) for number in ASKED.strip("[]").split(",")])
    for distance, code in rows[:20]:
        made = codec.points(np.packbits([int(bit) for bit in code])[None, :])[0]
        assert distance == pytest.approx(by_hand("cosine", asked, made), abs=1e-5)
    # of a query whose every sign is met nothing is nearer
    best = item.execute("SELECT pgembed.distance(signs(%s::vector), %s::vector, 'signs')", [ASKED, ASKED]).fetchone()
    assert best is not None
    assert best[0] <= min(distance for distance, _ in rows)


def test_a_prefix_is_a_code_and_a_whole_halfvec_a_vector(item: Connection, refused: Refused) -> None:
    item.execute("SELECT pgembed.train_codec('short', 'item', 'pca', dims => 7, measure => false)")
    rows = item.execute(
        f"SELECT pgembed.distance(short(e), '{ASKED}'::vector, 'short'), pgembed.distance('{ASKED}'::halfvec, short(e), 'short'),"
        f" short(e) <=> short('{ASKED}'::vector), pgembed.distance(short(e), short(e), 'short') FROM item WHERE id > 1"
    ).fetchall()
    assert len(rows) == 199
    for estimate, by_half, of_codes, itself in rows:
        assert estimate == pytest.approx(of_codes, abs=3e-3)  # half precision
        assert by_half == pytest.approx(estimate, abs=3e-3)
        assert abs(itself) < 3e-3
    refused(item, "22000", "SELECT pgembed.distance('[1,2]'::halfvec, e, 'short') FROM item WHERE id = 2", message="code has 2 dimensions")
    refused(
        item, "22023", "SELECT pgembed.distance(short(e), e) FROM item WHERE id = 2", message="halfvec does not say which codec made it"
    )


def test_null_is_null(item: Connection) -> None:
    for call in (
        f"NULL::small_code, '{ASKED}'::vector",
        "small(e), NULL::vector",
        "NULL::pgembed.binvec, NULL::pgembed.binvec",
        "NULL::text, 1",
    ):
        assert one(item, call) is None, call


def test_codes_of_two_codecs_are_refused(item: Connection, refused: Refused) -> None:
    for call in (
        "small(e), parts(e)",
        "parts(e), small(e)",
        "small(e), small(e), 'parts'",
        f"small(e), '{ASKED}'::vector, codec => 'parts'",
    ):
        refused(
            item, "42804", f"SELECT pgembed.distance({call}) FROM item WHERE id = 2", message="codes of two codecs", hint="with one codec"
        )


def test_what_cannot_be_compared_is_refused(item: Connection, refused: Refused) -> None:
    for call, sqlstate, message, hint in (
        ("signs(e), signs(e)", "22023", "codec is needed, for bit does not say which codec made it", "codec => '...'"),
        ("'\\x01'::bytea, e", "22023", "codec is needed, for bytea does not say", "codec => '...'"),
        ("signs(e), e, 'none'", "42704", 'codec "none" does not exist', "pgembed.codecs"),
        ("signs(e), e, 'small'", "42804", 'codes of "small" are of type public.small_code, not bit', "pgembed.codecs"),
        ("small(e), signs(e)", "42804", 'codes of "small" are of type public.small_code, not bit', "pgembed.codecs"),
        ("'0101'::bit(4), e, 'signs'", "22000", 'code has 4 bits, codes of "signs" have 8', "pgembed.codecs"),
        ("'\\x01'::bytea, e, 'small'", "22000", 'code has 1 bytes, codes of "small" have 12', "pgembed.codecs"),
        ("small(e), '[1,2]'::vector", "22000", 'vector has 2 dimensions, codec "small" is for 8', "trained on"),
        ("small(e), '[1,2]'::halfvec", "22000", 'halfvec has 2 dimensions, codec "small" is for 8', "trained on"),
        ("small(e), '[1,2]'", "42804", "text is neither a code nor a vector", "Cast it"),
        ("small(e), '{1:1}/8'::sparsevec", "42804", "sparsevec is neither a code nor a vector", "Cast it"),
        ("e, e", "22023", "neither argument is a code", "pgvector's operators"),
        ("e, e::halfvec, 'signs'", "22023", 'neither argument is a code of "signs"', "pgvector's operators"),
    ):
        refused(item, sqlstate, f"SELECT pgembed.distance({call}) FROM item WHERE id = 2", message=message, hint=hint)


def test_a_domain_of_another_name_in_another_schema(db: Connection, refused: Refused) -> None:
    db.execute(
        f"""
        CREATE SCHEMA "My ""Shop";
        CREATE TABLE "My ""Shop".item (id int PRIMARY KEY, e vector(8));
        INSERT INTO "My ""Shop".item SELECT n, {VECTORS} FROM generate_series(1, 50) AS n;
        SELECT pgembed.adopt_embedding('"My ""Shop".item', 'e'),
               pgembed.train_codec('Odd one', '"My ""Shop".item', 'int8', measure => false);
        CREATE DOMAIN mine AS "My ""Shop"."Odd one_code";
        CREATE DOMAIN small_code AS bytea;
        """
    )
    code = '"My ""Shop"."Odd one"(e)'
    near = f'SELECT pgembed.distance({code}, e), pgembed.distance({code}::mine, e) FROM "My ""Shop".item'
    assert all(abs(one) < 0.02 and one == two for one, two in db.execute(near).fetchall())
    # a domain that looks like a codec's is no codec's
    refused(db, "22023", f'SELECT pgembed.distance({code}::bytea::small_code, e) FROM "My ""Shop".item', message="codec is needed")


def test_no_function_of_a_users_runs(item: Connection, make_role: MakeRole, as_role: AsRole) -> None:
    item.execute("CREATE TABLE coded AS SELECT id, e, small(e) AS code FROM item")
    failing = "LANGUAGE sql AS 'SELECT (1 / 0)::text::bytea::small_code'"
    item.execute(f"CREATE OR REPLACE FUNCTION small(embedding vector) RETURNS small_code {failing}")
    with pytest.raises(psycopg.errors.DivisionByZero):
        item.execute("SELECT small(e) FROM item")
    assert item.execute("SELECT count(pgembed.distance(code, e)) FROM coded").fetchone() == (199,)
    alice = make_role("alice")
    item.execute(f"GRANT SELECT ON coded TO {alice}")
    with as_role(item, alice):
        assert item.execute("SELECT count(pgembed.distance(code, e)) FROM coded").fetchone() == (199,)


def test_a_codec_that_is_dropped_is_not_remembered(item: Connection, refused: Refused) -> None:
    assert one(item, "'00000000'::bit(8), '00000001'::bit(8), 'signs'") == 1
    item.execute("SELECT pgembed.drop_codec('signs')")
    refused(item, "42704", "SELECT pgembed.distance('00000000'::bit(8), '00000001'::bit(8), 'signs')", message="does not exist")


# Rows.


@pytest.fixture
def rows(spots: Connection) -> Connection:
    """The five spots, and places of the same space with a composite key, as halfvec; one is not embedded yet."""
    spots.execute(
        """
        CREATE TABLE place (country text, id int, v halfvec(3), PRIMARY KEY (country, id));
        INSERT INTO place VALUES ('a', 1, '[0,1,0]'), ('a', 2, '[0.5,0.5,0]'), ('b', 1, NULL);
        SELECT pgembed.adopt_embedding('place', 'v');
        """
    )
    return spots


def test_rows_of_one_table(rows: Connection) -> None:
    found = "SELECT a.name, b.name, pgembed.distance('spot', a.id::text, 'spot', b.id::text), a.e <=> b.e FROM spot AS a, spot AS b"
    for left, right, distance, exact in rows.execute(found).fetchall():
        assert distance == exact, (left, right)


@pytest.mark.parametrize(("metric", "expected"), [("l2", math.sqrt(2)), ("inner_product", 0.0), ("cosine", 1.0)])
def test_the_metric_is_the_columns(rows: Connection, metric: str, expected: float) -> None:
    rows.execute("SELECT pgembed.alter_embedding('spot', metric => %s)", [metric])
    assert rows.execute("SELECT pgembed.distance('spot', '1', 'spot', '2')").fetchone() == (pytest.approx(expected),)


def test_rows_of_two_tables(rows: Connection) -> None:
    assert rows.execute("""SELECT pgembed.distance('spot', '2', 'place', '["a", 1]')""").fetchone() == (pytest.approx(0),)
    assert rows.execute("""SELECT pgembed.distance('place', '["a", 2]', 'spot', '1')""").fetchone() == (pytest.approx(1 - math.sqrt(0.5)),)


def test_rows_without_a_key_or_a_vector_are_null(rows: Connection) -> None:
    for call in ("'spot', NULL, 'spot', '1'", "'spot', '1', 'spot', NULL", """'spot', '1', 'place', '["b", 1]'"""):
        assert rows.execute(f"SELECT pgembed.distance({call})").fetchone() == (None,), call


def test_rows_that_cannot_be_compared(rows: Connection, refused: Refused) -> None:
    rows.execute("CREATE TABLE other (id int PRIMARY KEY, e vector(3), f vector(2)); INSERT INTO other VALUES (1, '[1,0,0]', '[1,0]')")
    rows.execute("CREATE TABLE plain (id int PRIMARY KEY)")
    rows.execute("SELECT pgembed.adopt_embedding('other', 'e', metric => 'l2'), pgembed.adopt_embedding('other', 'f')")
    for call, sqlstate, message, hint in (
        ("'spot', '1', 'spot', '99'", "P0002", 'no row of spot has the key "99"', "A key is given as text"),
        ("'spot', 'x', 'spot', '1'", "22P02", '"x" is no key of spot', "A key is given as text"),
        ("'place', 'x', 'spot', '1'", "22P02", '"x" is no key of place', "JSON array"),
        ("'spot', '99999999999', 'spot', '1'", "22003", "is no key of spot", "A key is given as text"),
        ("'spot', '1', 'other', '1'", "42702", "2 embedded columns", "column_name"),
        ("'spot', '1', 'other', '1', other_column => 'e'", "22023", "different metrics", "alter_embedding"),
        ("'spot', '1', 'other', '1', other_column => 'f'", "22000", "vectors of two models cannot be compared", "one model"),
        ("'spot', '1', 'spot', '2', 'name'", "42704", "neither an embedded column nor one of codes", "can be compared: e."),
        ("NULL, '1', 'spot', '2'", "22004", "target is NULL", "Name a table"),
        ("'plain', '1', 'spot', '2'", "42704", "has no embedded column", "add_embedding"),
    ):
        refused(rows, sqlstate, f"SELECT pgembed.distance({call})", message=message, hint=hint)


def test_columns_of_two_models_are_not_compared(rows: Connection, refused: Refused) -> None:
    rows.execute("CREATE TABLE text (id int PRIMARY KEY, e vector(384)); INSERT INTO text VALUES (1, array_fill(1, ARRAY[384])::vector)")
    rows.execute("ALTER TABLE text ADD f vector(384); UPDATE text SET f = e")
    rows.execute("SELECT pgembed.adopt_embedding('text', 'e', 'all-minilm-l6-v2'), pgembed.adopt_embedding('text', 'f')")
    call = "SELECT pgembed.distance('text', '1', 'text', '1', 'e', 'f')"
    refused(rows, "22000", call, message="text.e is of model all-minilm-l6-v2 (384 dimensions), text.f of model unknown", hint="one model")
    assert rows.execute("SELECT pgembed.distance('text', '1', 'text', '1', 'f')").fetchone() == (pytest.approx(0, abs=1e-6),)


def test_rows_in_chunks_have_no_one_distance(db: Connection, refused: Refused) -> None:
    db.execute("CREATE TABLE doc (id int PRIMARY KEY, body text)")
    db.execute("SELECT pgembed.add_embedding('doc', 'body', chunk_tokens => 10)")
    refused(db, "0A000", "SELECT pgembed.distance('doc', '1', 'doc', '2')", message="distance() needs one vector for each row")


def test_rights_are_the_callers(rows: Connection, refused: Refused, make_role: MakeRole, as_role: AsRole) -> None:
    alice = make_role("alice")
    call = "SELECT pgembed.distance('spot', '1', 'spot', '2')"
    with as_role(rows, alice):
        refused(rows, "42501", call, message="permission denied for table spot", hint=None)
    rows.execute(f"GRANT SELECT (id, e) ON spot TO {alice}")
    with as_role(rows, alice):
        assert rows.execute(call).fetchone() == (1,)
    rows.execute("ALTER TABLE spot ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON spot USING (id < 2)")
    with as_role(rows, alice):
        refused(rows, "P0002", call, message='no row of spot has the key "2"')


@pytest.fixture
def coded(item: Connection) -> Connection:
    """Columns of codes of two codecs, in the table and in another one of the same space."""
    item.execute(
        """
        ALTER TABLE item ADD small small_code GENERATED ALWAYS AS (small(e)) STORED,
            ADD signs pgembed.binvec(8) GENERATED ALWAYS AS (signs(e)) STORED;
        CREATE TABLE copy (id int PRIMARY KEY, e vector(8), c small_code GENERATED ALWAYS AS (small(e)) STORED);
        INSERT INTO copy SELECT id + 1000, e FROM item;
        SELECT pgembed.adopt_embedding('copy', 'e');
        INSERT INTO pgembed._code (table_name, column_name, embedding_column, codec, is_generated, is_active, is_filled) VALUES
            ('item', 'small', 'e', 'small', true, true, true), ('item', 'signs', 'e', 'signs', true, false, true),
            ('copy', 'c', 'e', 'small', true, true, true);
        """
    )
    return item


def test_rows_by_their_codes(coded: Connection) -> None:
    expected = "(SELECT pgembed.distance(a.small, b.small) FROM item AS a, item AS b WHERE a.id = 2 AND b.id = 3)"
    for call in ("'item', '2', 'item', '3', 'small'", "'item', '2', 'copy', '1003', 'small'", "'copy', '1002', 'item', '3', 'c', 'small'"):
        assert coded.execute(f"SELECT pgembed.distance({call}) = {expected}").fetchone() == (True,), call
    bits = "SELECT pgembed.distance('item', '2', 'item', '3', 'signs'), (SELECT a.signs <~> b.signs FROM item AS a, item AS b"
    row = coded.execute(f"{bits} WHERE a.id = 2 AND b.id = 3)").fetchone()
    assert row is not None
    assert row[0] == row[1]
    assert coded.execute("SELECT pgembed.distance('item', '1', 'item', '2', 'small')").fetchone() == (None,)


def test_a_rows_code_and_another_rows_vector(coded: Connection) -> None:
    row = coded.execute(
        "SELECT pgembed.distance('item', '2', 'copy', '1003', 'signs', 'e'), pgembed.distance('copy', '1003', 'item', '2', 'e', 'signs'),"
        " (SELECT pgembed.distance(a.signs, b.e, 'signs') FROM item AS a, item AS b WHERE a.id = 2 AND b.id = 3)"
    ).fetchone()
    assert row is not None
    assert row[0] == row[1] == row[2]


def test_rows_with_codes_of_two_codecs_are_refused(coded: Connection, refused: Refused) -> None:
    for call, sqlstate, message in (
        ("'item', '2', 'item', '3', 'small', 'signs'", "42804", 'codes of two codecs cannot be compared: "small" and "signs"'),
        ("'item', '2', 'copy', '1003', 'signs', 'c'", "42804", "codes of two codecs"),
        ("'item', '2', 'copy', '1003', 'signs'", "42704", 'has no columns of codes of "signs", like item.signs'),
    ):
        refused(coded, sqlstate, f"SELECT pgembed.distance({call})", message=message)


def test_codes_of_a_column_of_another_metric_are_refused(coded: Connection, refused: Refused) -> None:
    coded.execute("UPDATE pgembed._embedding SET metric = 'l2' WHERE table_name = 'item'::regclass")
    with pytest.raises(psycopg.errors.DataException, match='codec "small" is for vectors of 8 dimensions'):
        coded.execute("SELECT pgembed.distance('item', '2', 'item', '3', 'small')")
