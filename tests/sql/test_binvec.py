"""The type binvec: a code of n bits that no cast changes, and that operators and indexes take for bit(n)."""

from __future__ import annotations

import re

import psycopg
import pytest
from support import AsRole, Connection, MakeRole, Refused

pytestmark = pytest.mark.one_transaction

WRONG = "22026"  # string_data_length_mismatch
CASTS = ("'0101'", "'0101'::text", "B'0101'", "'0101'::varbit", "'0101'::pgembed.binvec", "binary_quantize('[-1,1,-1,1]'::vector)")


@pytest.fixture
def codes(db: Connection) -> Connection:
    """A table of 2,000 rows with 64 different codes of 16 bits, id % 64 in the highest of them."""
    db.execute(
        """
        CREATE TABLE item (id int PRIMARY KEY, kind int, code pgembed.binvec(16));
        INSERT INTO item SELECT n, n % 7, (n % 64)::bit(6) || ~(n % 64)::bit(6) || B'0101' FROM generate_series(1, 2000) AS n;
        """
    )
    return db


def plan(db: Connection, statement: str) -> str:
    return "\n".join(row[0] for row in db.execute(f"EXPLAIN (COSTS OFF) {statement}").fetchall())


def distance(one: str, other: str) -> int:
    return sum(left != right for left, right in zip(one, other, strict=True))


def test_a_code_of_the_length_is_taken_as_it_is(db: Connection) -> None:
    for value in CASTS:
        assert db.execute(f"SELECT ({value}::pgembed.binvec(4))::text").fetchone() == ("0101",), value


@pytest.mark.parametrize("length", [3, 5])
def test_no_cast_pads_or_cuts(db: Connection, refused: Refused, length: int) -> None:
    message = f"code has 4 bits, expected {length}"
    db.execute(f"CREATE TABLE item (code pgembed.binvec({length}))")
    for value in CASTS:
        refused(db, WRONG, f"SELECT {value}::pgembed.binvec({length})", message=message, hint="no cast pads or cuts it")
        if "text" not in value:
            refused(db, WRONG, f"INSERT INTO item VALUES ({value})", message=message, hint="no cast pads or cuts it")
            refused(db, WRONG, f"INSERT INTO item SELECT {value} FROM generate_series(1, 2)", message=message, hint="no cast")
    assert db.execute("SELECT count(*) FROM item").fetchone() == (0,)


def test_a_column_of_another_type_is_no_code_unless_it_is_cast(db: Connection, refused: Refused) -> None:
    db.execute("CREATE TABLE item (code pgembed.binvec(4))")
    refused(db, "42804", "INSERT INTO item VALUES ('0101'::text)", message="is of type pgembed.binvec but expression is of type text")
    refused(db, "42804", "INSERT INTO item VALUES (5)")


def test_what_is_no_code_and_no_length_is_refused(db: Connection, refused: Refused) -> None:
    for wrong, sqlstate, message in (
        ("'0102'::pgembed.binvec(4)", "22P02", '"2" is not a valid binary digit'),
        ("'xG'::pgembed.binvec(4)", "22P02", "hexadecimal digit"),
        ("'01'::pgembed.binvec(0)", "22023", "at least 1"),
        ("'01'::pgembed.binvec(1, 2)", "22023", "invalid type modifier"),
        ("'01'::pgembed.binvec(99999999)", "22023", "cannot exceed"),
    ):
        refused(db, sqlstate, f"SELECT {wrong}", message=message, hint=None)


def test_null_and_empty(db: Connection, refused: Refused) -> None:
    assert db.execute("SELECT NULL::pgembed.binvec(4), ''::pgembed.binvec::text, length(''::pgembed.binvec)").fetchone() == (None, "", 0)
    refused(db, WRONG, "SELECT ''::pgembed.binvec(4)", message="code has 0 bits, expected 4")
    db.execute("CREATE TABLE item (code pgembed.binvec(4)); INSERT INTO item VALUES (NULL), (DEFAULT)")
    assert db.execute("SELECT count(*), count(code) FROM item").fetchone() == (2, 0)


def test_without_a_length_any_fits(db: Connection) -> None:
    db.execute("CREATE TABLE item (code pgembed.binvec); INSERT INTO item VALUES ('0'), (B'0101'), ('')")
    assert db.execute("SELECT code::text FROM item ORDER BY length(code)").fetchall() == [("",), ("0",), ("0101",)]


def test_text_and_binary_forms_are_those_of_bit(db: Connection) -> None:
    sent = db.execute("SELECT '0101010111'::pgembed.binvec(10)", binary=True).fetchone()
    assert sent == (b"\0\0\0\x0a\x55\xc0",)
    assert db.execute("SELECT 'x5F'::pgembed.binvec(8)::text, X'5F'::pgembed.binvec(8)::text").fetchone() == ("01011111", "01011111")


def test_a_value_goes_to_text_and_to_bit_and_back(db: Connection) -> None:
    row = db.execute(
        "SELECT c::text, c::bit(4)::text, c::varbit::text, pg_typeof(c::varbit)::text FROM (SELECT '0101'::pgembed.binvec(4)) AS v (c)"
    ).fetchone()
    assert row == ("0101", "0101", "0101", "bit varying")


def test_arrays_are_checked_element_by_element(db: Connection, refused: Refused) -> None:
    assert db.execute("SELECT '{0101,NULL}'::pgembed.binvec(4)[]::text").fetchone() == ("{0101,NULL}",)
    refused(db, WRONG, "SELECT ARRAY['0101', '01']::pgembed.binvec(4)[]", message="code has 2 bits, expected 4")


def test_the_length_is_shown_where_types_are_shown(db: Connection) -> None:
    db.execute("CREATE TABLE item (id int, code pgembed.binvec(768))")
    shown = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'item'::regclass AND attname = 'code'"
    assert db.execute(shown).fetchone() == ("pgembed.binvec(768)",)  # what \d prints
    db.execute("CREATE VIEW shown AS SELECT code::pgembed.binvec(768) AS again, '01'::pgembed.binvec(2) AS made FROM item")
    view = db.execute("SELECT pg_get_viewdef('shown'::regclass)").fetchone()
    assert view is not None
    assert "(2)" in view[0]
    assert "_binvec_sized" not in view[0]


def test_the_type_of_a_column_is_changed_only_where_lengths_agree(codes: Connection, refused: Refused) -> None:
    refused(codes, WRONG, "ALTER TABLE item ALTER code TYPE pgembed.binvec(8)", message="code has 16 bits, expected 8")
    codes.execute("ALTER TABLE item ALTER code TYPE bit(16)")
    refused(codes, WRONG, "ALTER TABLE item ALTER code TYPE pgembed.binvec(17)", message="code has 16 bits, expected 17")
    codes.execute("ALTER TABLE item ALTER code TYPE pgembed.binvec(16)")
    assert codes.execute("SELECT count(*) FROM item WHERE length(code) = 16").fetchone() == (2000,)


def test_internal_functions_are_harmless_to_call(db: Connection, make_role: MakeRole, as_role: AsRole) -> None:
    # what reads memory takes the type internal, which no value has; the rest is what bit's own functions do
    with as_role(db, make_role("eve")):
        with pytest.raises(psycopg.Error):
            db.execute("SELECT pgembed._binvec_recv('x', 0, -1)")
        with pytest.raises(psycopg.errors.StringDataLengthMismatch):
            db.execute("SELECT pgembed._binvec_in('0101', 0, 5)")
        assert db.execute("SELECT pgembed._binvec_sized('01', 2, true)::text").fetchone() == ("01",)
        assert db.execute("SELECT pgembed._binvec_sized(NULL, 2, true)").fetchone() == (None,)
        with pytest.raises(psycopg.errors.StringDataLengthMismatch):
            db.execute("SELECT pgembed._binvec_sized('01', -1, true)")


def test_pgvectors_operators_count_bits(db: Connection) -> None:
    one, other = "0101010101010101", "0111010001010101"
    row = db.execute(
        "SELECT a <~> b, a <%%> b, hamming_distance(a, b), jaccard_distance(a, b), a <~> '0111010001010101', a <~> b::bit(16)"
        " FROM (SELECT %s::pgembed.binvec(16), %s::pgembed.binvec(16)) AS v (a, b)",
        [one, other],
    ).fetchone()
    both = sum(left == right == "1" for left, right in zip(one, other, strict=True))
    either = sum("1" in pair for pair in zip(one, other, strict=True))
    differ = distance(one, other)
    assert row == (differ, pytest.approx(1 - both / either), differ, pytest.approx(1 - both / either), differ, differ)


def test_codes_of_two_lengths_are_not_compared(db: Connection) -> None:
    with pytest.raises(psycopg.errors.DataException, match="different bit lengths 2 and 3"):
        db.execute("SELECT '01'::pgembed.binvec(2) <~> '011'::pgembed.binvec(3)")


@pytest.mark.parametrize(("method", "options"), [("hnsw", ""), ("ivfflat", "WITH (lists = 1)")])
def test_pgvectors_indexes_serve(codes: Connection, method: str, options: str) -> None:
    codes.execute(f"CREATE INDEX item_code ON item USING {method} (code bit_hamming_ops) {options}")
    codes.execute("ANALYZE item; SET enable_seqscan = off")
    asked = "0000011111100101"
    found = "SELECT code::text FROM item ORDER BY code <~> '0000011111100101'::pgembed.binvec(16) LIMIT 10"
    assert "Index Scan using item_code" in plan(codes, found)
    nearest = codes.execute(found).fetchall()
    stored = codes.execute("SELECT code::text FROM item").fetchall()
    assert [distance(asked, code) for (code,) in nearest] == sorted(distance(asked, code) for (code,) in stored)[:10]
    # as a parameter of a prepared statement, as our own statements pass it
    codes.execute("PREPARE near (pgembed.binvec) AS SELECT id FROM item ORDER BY code <~> $1 LIMIT 10")
    assert "Index Scan using item_code" in plan(codes, "EXECUTE near ('0000011111100101')")


def test_hnsw_serves_jaccard_too(codes: Connection) -> None:
    codes.execute("CREATE INDEX item_code ON item USING hnsw (code bit_jaccard_ops); SET enable_seqscan = off")
    assert "Index Scan using item_code" in plan(codes, "SELECT id FROM item ORDER BY code <%> '0000011111100101' LIMIT 3")


def test_a_column_without_a_length_has_no_vector_index(db: Connection) -> None:
    db.execute("CREATE TABLE item (code pgembed.binvec)")
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="does not have dimensions"):
        db.execute("CREATE INDEX ON item USING hnsw (code bit_hamming_ops)")


def test_a_btree_index_finds_a_code_and_keeps_codes_apart(codes: Connection) -> None:
    codes.execute("CREATE INDEX item_code ON item (code); ANALYZE item; SET enable_seqscan = off; SET enable_bitmapscan = off")
    one = "SELECT count(*) FROM item WHERE code = '0000011111100101'"
    assert "item_code" in plan(codes, one)
    assert codes.execute(one).fetchone() == (2000 // 64 + 1,)
    codes.execute("CREATE TABLE single (code pgembed.binvec(4) PRIMARY KEY); INSERT INTO single VALUES ('0000'), ('0001')")
    with pytest.raises(psycopg.errors.UniqueViolation):
        codes.execute("INSERT INTO single VALUES ('0001')")
    codes.execute("INSERT INTO single VALUES ('0001') ON CONFLICT (code) DO NOTHING")


@pytest.mark.own_database
def test_a_covering_index_answers_alone(codes: Connection) -> None:
    codes.execute("CREATE INDEX item_kind ON item (kind) INCLUDE (id, code)")
    codes.execute("VACUUM ANALYZE item")
    found = "SELECT id FROM item WHERE kind = 3 ORDER BY code <~> '0000011111100101'::pgembed.binvec(16), id LIMIT 5"
    codes.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
    assert "Index Only Scan using item_kind" in plan(codes, found)
    with_index = codes.execute(found).fetchall()
    codes.execute("SET enable_seqscan = on; SET enable_indexscan = off; SET enable_indexonlyscan = off")
    assert "Seq Scan" in plan(codes, found)
    assert codes.execute(found).fetchall() == with_index
    assert len(with_index) == 5


def test_groups_distinct_order_and_joins(codes: Connection) -> None:
    codes.execute("ANALYZE item")
    expected = [(format(n, "06b") + format(63 - n, "06b") + "0101") for n in range(64)]
    assert codes.execute("SELECT DISTINCT code::text FROM item ORDER BY 1").fetchall() == [(code,) for code in expected]
    assert codes.execute("SELECT code::text FROM (SELECT DISTINCT code FROM item ORDER BY code) AS v").fetchall() == [
        (code,) for code in expected
    ]
    groups = codes.execute("SELECT code::text, count(*) FROM item GROUP BY code ORDER BY code DESC").fetchall()
    assert groups == [(code, 2000 // 64 + (0 < n <= 2000 % 64)) for n, code in reversed(list(enumerate(expected)))]
    assert codes.execute("SELECT count(DISTINCT code) FROM item").fetchone() == (64,)
    joined = "SELECT count(*) FROM item AS a JOIN item AS b ON a.code = b.code"
    by_merge = codes.execute(joined).fetchone()
    codes.execute("SET enable_mergejoin = off")
    assert codes.execute(joined).fetchone() == by_merge == (sum(count * count for _, count in groups),)
    left = "SELECT count(*) FROM item AS a WHERE EXISTS (SELECT FROM item AS b WHERE b.code = a.code AND b.id > a.id)"
    assert codes.execute(left).fetchone() == (2000 - 64,)
    assert codes.execute("SELECT count(*) FROM item WHERE code IN (SELECT code FROM item WHERE id = 5)").fetchone() == (groups[-6][1],)


def test_a_hash_is_asked_for_in_vain_and_nothing_breaks(codes: Connection) -> None:
    # bit has no hash operator class, so there is none; a server that gives it one changes this plan and not the result
    codes.execute("ANALYZE item; SET enable_sort = off")
    grouped = "SELECT code, count(*) FROM item GROUP BY code"
    assert re.search("(Group|Hash)Aggregate", plan(codes, grouped))
    assert len(codes.execute(grouped).fetchall()) == 64


def test_statistics_are_kept(codes: Connection) -> None:
    codes.execute("ANALYZE item")
    row = codes.execute("SELECT n_distinct, most_common_vals IS NOT NULL FROM pg_stats WHERE tablename = 'item' AND attname = 'code'")
    assert row.fetchone() == (64, True)


def test_a_generated_column_has_codes_of_its_vector(db: Connection, refused: Refused) -> None:
    db.execute("CREATE TABLE item (id int, e vector(4), code pgembed.binvec(4) GENERATED ALWAYS AS (binary_quantize(e)) STORED)")
    db.execute("INSERT INTO item VALUES (1, '[1,-1,0,2]'), (2, NULL)")
    assert db.execute("SELECT id, code::text FROM item ORDER BY id").fetchall() == [(1, "1001"), (2, None)]
    db.execute("CREATE TABLE other (e vector, code pgembed.binvec(4) GENERATED ALWAYS AS (binary_quantize(e)) STORED)")
    refused(db, WRONG, "INSERT INTO other VALUES ('[1,2]')", message="code has 2 bits, expected 4")


def test_copy_in_text(codes: Connection) -> None:
    codes.execute("CREATE TABLE other (LIKE item)")
    with codes.cursor().copy("COPY item TO STDOUT") as out:
        lines = b"".join(out)
    with codes.cursor().copy("COPY other FROM STDIN") as into:
        into.write(lines)
    assert codes.execute("SELECT count(*) FROM item JOIN other USING (id, kind, code)").fetchone() == (2000,)


def test_copy_in_binary(codes: Connection) -> None:
    codes.execute("CREATE TABLE other (LIKE item)")
    with codes.cursor().copy("COPY item TO STDOUT (FORMAT binary)") as out:
        image = b"".join(out)
    with codes.cursor().copy("COPY other FROM STDIN (FORMAT binary)") as into:
        into.write(image)
    assert codes.execute("SELECT count(*) FROM item JOIN other USING (id, kind, code)").fetchone() == (2000,)


# The header of COPY's binary format, one field of one row, and its end.
BEGIN, END = b"PGCOPY\n\xff\r\n\0" + b"\0" * 8, b"\xff\xff"


def binary(field: bytes) -> bytes:
    return BEGIN + b"\0\1" + len(field).to_bytes(4, "big") + field + END


def copy(db: Connection, options: str, data: bytes, sqlstate: str | None) -> None:
    """COPY one row into the column code, which ends with the SQLSTATE; None: it is taken."""
    statement = f"COPY item (code) FROM STDIN {options}"
    db.execute("TRUNCATE item")
    if sqlstate is None:
        with db.cursor().copy(statement) as into:
            into.write(data)
    else:
        with pytest.raises(psycopg.Error) as caught, db.cursor().copy(statement) as into:
            into.write(data)
        assert caught.value.sqlstate == sqlstate, f"{data!r}: {caught.value}"
    assert db.execute("SELECT count(*) FROM item").fetchone() == (int(sqlstate is None),)


@pytest.mark.own_database
def test_copy_refuses_another_length(db: Connection) -> None:
    db.execute("CREATE TABLE item (code pgembed.binvec(4))")
    copy(db, "", b"x5\n", None)
    copy(db, "", b"\\N\n", None)
    for line in (b"01", b"010101", b""):
        copy(db, "", line + b"\n", WRONG)
    copy(db, "(FORMAT csv)", b"010\n", WRONG)
    copy(db, "(FORMAT binary)", binary(b"\0\0\0\x04\x50"), None)
    copy(db, "(FORMAT binary)", binary(b"\0\0\0\x05\x55"), WRONG)
    copy(db, "(FORMAT binary)", binary(b"\0\0\0\x03\x55"), WRONG)
    copy(db, "(FORMAT binary)", binary(b"\0\0\0\x04\x50\x50"), "22P03")  # more bytes than bits
    copy(db, "(FORMAT binary)", binary(b"\0\0\0\x04"), "08P01")  # fewer
    copy(db, "(FORMAT binary)", binary(b"\xff\xff\xff\xff\x50"), "22P03")


@pytest.mark.own_database
def test_a_parameter_in_binary_is_checked(db: Connection) -> None:
    db.execute("CREATE TABLE item (code pgembed.binvec(4))")
    number = db.execute("SELECT 'pgembed.binvec'::regtype::oid::int").fetchone()
    assert number is not None

    class Code(bytes):
        pass

    class Dumper(psycopg.adapt.Dumper):
        format = psycopg.pq.Format.BINARY
        oid = number[0]

        def dump(self, obj: Code) -> bytes:
            return bytes(obj)

    db.adapters.register_dumper(Code, Dumper)
    db.execute("INSERT INTO item VALUES (%b)", [Code(b"\0\0\0\x04\x50")])
    with pytest.raises(psycopg.errors.StringDataLengthMismatch):
        db.execute("INSERT INTO item VALUES (%b)", [Code(b"\0\0\0\x05\x50")])
    assert db.execute("SELECT code::text FROM item").fetchall() == [("0101",)]


# Bytes: a domain for each codec.


@pytest.fixture
def bytes_of_four(db: Connection) -> Connection:
    db.execute("CREATE DOMAIN four_code AS bytea CHECK (octet_length(VALUE) = 4); CREATE TABLE item (id serial, code four_code)")
    return db


@pytest.mark.own_database
def test_copy_refuses_bytes_of_another_length(bytes_of_four: Connection) -> None:
    copy(bytes_of_four, "", b"\\\\x01020304\n", None)
    copy(bytes_of_four, "", b"\\N\n", None)
    copy(bytes_of_four, "", b"\\\\x010203\n", "23514")
    copy(bytes_of_four, "", b"\n", "23514")
    copy(bytes_of_four, "(FORMAT csv)", b"\\x0102030405\n", "23514")
    copy(bytes_of_four, "(FORMAT binary)", binary(b"1234"), None)
    for wrong in (b"123", b"12345", b""):
        copy(bytes_of_four, "(FORMAT binary)", binary(wrong), "23514")


def test_an_insert_refuses_bytes_of_another_length(bytes_of_four: Connection) -> None:
    for value in ("'\\x0102'", "'\\x0102'::bytea", "'\\x0102030405'::bytea::four_code"):
        with pytest.raises(psycopg.errors.CheckViolation):
            bytes_of_four.execute(f"INSERT INTO item (code) VALUES ({value})")
