"""pgembed.psycopg: codes of bits and bytes over psycopg 3, in text and binary."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from pgvector import Bit, HalfVector, Vector
from pgvector.sqlalchemy import VECTOR
from psycopg import pq
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row
from psycopg.types.composite import CompositeInfo, register_composite
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table, create_engine, insert, select
from sqlalchemy.pool import NullPool
from support import Connection

from pgembed import errors
from pgembed.psycopg import as_numpy, bits, register, register_async
from pgembed.sqlalchemy import BINVEC
from pgembed.testing.clones import Clones

README = Path(__file__).resolve().parents[2] / "pgembed" / "psycopg" / "README.md"
FORMATS = pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
# What a codec's code is in the database: a domain over bytea of one length (pgembed/codes/rendering.py).
TABLE = """
    CREATE TABLE item (id int PRIMARY KEY, bits pgembed.binvec(12), bytes quick_code, many pgembed.binvec[], lots quick_code[],
        v vector(3), h halfvec(3), plain bit(4));
"""
SIGNS, LETTERS = "000011110101", b"\x00\x01\\\xff'\"\n,"


def url_of(db: Connection) -> str:
    info = db.info
    return f"host={info.host} port={info.port} user={info.user} dbname={info.dbname}"


@pytest.fixture(scope="module")
def trained_url(server_url: str, _installed_clones: Clones) -> Iterator[str]:
    """A database with a codec of bytes and an empty table with columns of all kinds, made once: training takes a second."""
    name = _installed_clones.take()
    url = make_conninfo(server_url, dbname=name)
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("CREATE TABLE spot (id int PRIMARY KEY, e vector(4))")
        db.execute("INSERT INTO spot SELECT n, ARRAY[cos(n), sin(n), n % 7, n % 5]::vector FROM generate_series(1, 300) AS n")
        db.execute("SELECT pgembed.adopt_embedding('spot', 'e')")
        db.execute("SELECT pgembed.train_codec('quick', 'spot', 'int8')")
        db.execute(TABLE)
    yield url
    _installed_clones.give_back(name)


@pytest.fixture
def trained(trained_url: str) -> Iterator[Connection]:
    """A registered connection in autocommit mode to that database."""
    with psycopg.connect(trained_url, autocommit=True) as db:
        register(db)
        yield db
        db.execute("TRUNCATE item")


def one(db: Connection, statement: Any, values: Any = None, *, binary: bool | None = None) -> Any:
    found = db.execute(statement, values, binary=binary).fetchone()
    assert found is not None
    return found[0]


def test_the_codec_has_codes_of_eight_bytes(trained: Connection) -> None:
    assert one(trained, "SELECT code_type FROM pgembed.codecs") == "public.quick_code"
    assert one(trained, "SELECT length FROM pgembed.codecs") == 8


@FORMATS
@pytest.mark.parametrize(
    "given", [SIGNS, Bit(SIGNS), bits(b"\x0f\x50", 12), bits(np.array([0x0F, 0x50], np.uint8), 12)], ids=["str", "Bit", "bytes", "array"]
)
def test_bits_come_back_as_a_string(trained: Connection, binary: bool, given: Any) -> None:
    sign = "%b" if binary else "%t"
    trained.execute(f"INSERT INTO item (id, bits) VALUES (1, {sign if isinstance(given, Bit) else '%s'})", [given])
    assert one(trained, "SELECT bits FROM item", binary=binary) == SIGNS
    assert one(trained, f"SELECT bits <~> {'%s' if isinstance(given, str) else sign} FROM item", [given]) == 0


@FORMATS
def test_bytes_come_back_as_bytes(trained: Connection, binary: bool) -> None:
    sign = "%b" if binary else "%t"
    for i, given in enumerate([LETTERS, memoryview(LETTERS), bytearray(LETTERS), np.frombuffer(LETTERS, np.uint8).data]):
        trained.execute(f"INSERT INTO item (id, bytes) VALUES ({i}, {sign})", [given])
    assert {bytes(row[0]) for row in trained.execute("SELECT bytes FROM item", binary=binary).fetchall()} == {LETTERS}


@FORMATS
def test_null_is_none(trained: Connection, binary: bool) -> None:
    trained.execute("INSERT INTO item (id, bits, bytes, many) VALUES (1, %s, %s, %s)", [None, None, [None, "01"]])
    cursor = trained.execute("SELECT bits, bytes, many FROM item", binary=binary)
    assert cursor.fetchone() == (None, None, [None, "01"])
    with trained.cursor(binary=binary) as seen:
        as_numpy(seen)
        assert seen.execute("SELECT bits, bytes, v FROM item").fetchone() == (None, None, None)


@FORMATS
def test_arrays_and_composites(trained: Connection, binary: bool) -> None:
    trained.execute("INSERT INTO item (id, bits, bytes, many, lots) VALUES (1, %s, %s, %s, %s)", [SIGNS, LETTERS, ["1", SIGNS], [LETTERS]])
    assert one(trained, "SELECT many FROM item", binary=binary) == ["1", SIGNS]
    assert one(trained, "SELECT lots FROM item", binary=binary) == [LETTERS]
    info = CompositeInfo.fetch(trained, "item")
    assert info is not None
    register_composite(info, trained)
    row = one(trained, "SELECT item FROM item", binary=binary)
    assert (row.bits, row.bytes, row.many, row.lots, row.plain) == (SIGNS, LETTERS, ["1", SIGNS], [LETTERS], None)


@FORMATS
def test_pgvectors_types_are_pgvectors(trained: Connection, binary: bool) -> None:
    trained.execute("INSERT INTO item (id, v, h) VALUES (1, %s, %s)", [np.array([1, 2, 3], np.float32), HalfVector([1, 2, 3])])
    found = trained.execute("SELECT v, h FROM item", binary=binary).fetchone()
    assert found == (Vector([1, 2, 3]), HalfVector([1, 2, 3]))
    trained.execute("UPDATE item SET plain = %s", [Bit("0101")])
    assert one(trained, "SELECT plain FROM item", binary=binary) == "0101"


@FORMATS
def test_arrays_of_numpys(trained: Connection, binary: bool) -> None:
    codes = np.array([[0x0F, 0x50], [0xFF, 0xF0]], np.uint8)
    with trained.cursor(binary=binary) as cursor:
        as_numpy(cursor)
        signs = np.unpackbits(codes[0], count=12).astype(bool)
        letters = np.frombuffer(LETTERS, np.uint8)
        floats = np.array([1, -2.5, 3e-3], np.float32)
        sign = "%b" if binary else "%t"
        cursor.execute(
            f"INSERT INTO item (id, bits, bytes, v, h, plain) VALUES (1, {', '.join([sign] * 4)}, '0101')",
            [signs, letters, floats, floats.astype(np.float16)],
        )
        found = cursor.execute("SELECT bits, bytes, v, h, plain, lots FROM item").fetchone()
        assert found is not None
        for value, expected in zip(found, [codes[0], letters, floats, floats.astype(np.float16), np.array([0x50], np.uint8)], strict=False):
            assert value.dtype == expected.dtype
            assert value.tolist() == expected.tolist()
        strided = np.repeat(letters, 2)[::2]
        assert cursor.execute("SELECT bytes = %s FROM item", [strided]).fetchone() == (True,)
        # what has two dimensions is left to pgvector to refuse
        with pytest.raises(ValueError, match="ndim"):
            cursor.execute("SELECT %s", [codes])
    assert one(trained, "SELECT bits FROM item") == SIGNS, "the connection's own cursors go on as before"


@pytest.mark.skipif(pq.__impl__ == "python", reason="psycopg without its C part copies")
def test_a_view_is_no_copy(trained: Connection) -> None:
    trained.execute("INSERT INTO item (id, bits, bytes) VALUES (1, %s, %s)", [SIGNS, LETTERS])
    with trained.cursor(binary=True) as cursor:
        as_numpy(cursor)
        found = cursor.execute("SELECT bits, bytes FROM item").fetchone()
    assert found is not None
    for value in found:
        assert not value.flags.owndata
        assert not value.flags.writeable
        assert isinstance(value.base, memoryview)
    # the memory is libpq's, and stays as long as the view
    trained.execute("SELECT repeat('x', 100000)")
    assert found[1].tobytes() == LETTERS


@FORMATS
def test_copy(trained: Connection, binary: bool) -> None:
    form = "BINARY" if binary else "TEXT"
    rows: list[Any] = [
        (1, SIGNS, LETTERS),
        (2, Bit(SIGNS), np.frombuffer(LETTERS, np.uint8)),
        (3, None, None),
        (4, np.unpackbits(np.array([0x0F, 0x50], np.uint8), count=12).astype(bool), memoryview(LETTERS)),
    ]
    names = ["int4", "pgembed.binvec", "quick_code"]
    with trained.cursor() as cursor:
        with cursor.copy(f"COPY item (id, bits, bytes) FROM STDIN WITH (FORMAT {form})") as copy:
            copy.set_types(names)
            for row in rows:
                copy.write_row(row)
        with cursor.copy(f"COPY (SELECT id, bits, bytes FROM item ORDER BY id) TO STDOUT WITH (FORMAT {form})") as copy:
            copy.set_types(names)
            found = list(copy.rows())
    assert found == [(i, None if i == 3 else SIGNS, None if i == 3 else LETTERS) for i in range(1, 5)]


def test_copy_of_arrays(trained: Connection) -> None:
    codes = np.random.default_rng(1).integers(0, 256, (500, 8), np.uint8)
    with trained.cursor() as cursor:
        as_numpy(cursor)
        with cursor.copy("COPY item (id, bytes) FROM STDIN WITH (FORMAT BINARY)") as copy:
            copy.set_types(["int4", "quick_code"])
            for i, code in enumerate(codes):
                copy.write_row((i, code))
        with cursor.copy("COPY (SELECT bytes FROM item ORDER BY id) TO STDOUT WITH (FORMAT BINARY)") as copy:
            copy.set_types(["quick_code"])
            found = [row[0] for row in copy.rows()]
    assert np.array_equal(np.array(found), codes)


@FORMATS
def test_copy_of_vectors(trained: Connection, binary: bool) -> None:
    form = "BINARY" if binary else "TEXT"
    given = np.array([[1, 2, 3], [0.5, -1, 0]])
    rows: list[Any] = [
        (1, given[0], given[0].astype(np.float16)),
        (2, given[1].astype(np.float32), given[1]),
        (3, Vector([1, 2, 3]), HalfVector([1, 2, 3])),
        (4, None, [0.5, -1, 0]),
        (5, given[1], None),
    ]
    with trained.cursor() as cursor:
        as_numpy(cursor)
        with cursor.copy(f"COPY item (id, v, h) FROM STDIN WITH (FORMAT {form})") as copy:
            copy.set_types(["int4", "vector", "halfvec"])
            for row in rows:
                copy.write_row(row)
        found = cursor.execute("SELECT v, h FROM item ORDER BY id").fetchall()
        assert [[None if each is None else each.tolist() for each in row] for row in found] == [
            *([[*given[number]], [*given[number]]] for number in (0, 1, 0)),
            [None, [*given[1]]],
            [[*given[1]], None],
        ]


def test_a_halfvec_of_two_dimensions(trained: Connection) -> None:
    def write() -> None:
        with cursor.copy("COPY item (id, h) FROM STDIN WITH (FORMAT BINARY)") as copy:
            copy.set_types(["int4", "halfvec"])
            copy.write_row((1, np.zeros((2, 3))))

    with trained.cursor() as cursor:
        as_numpy(cursor)
        with pytest.raises(errors.DatatypeMismatch, match="must be an array with one dimension, not 2"):
            write()


def test_arrays_are_what_they_are_after_the_connection_has_written_one(trained: Connection) -> None:
    """pgvector's registration takes every array for a vector, and psycopg keeps by the class what it has found by its name."""
    arrays = [np.ones(3, np.float32), np.array([True, False, True]), np.array([1, 2], np.uint8), np.ones(3, np.float16)]
    asked = "SELECT pg_typeof(%s)::text, pg_typeof(%s)::text, pg_typeof(%s)::text, pg_typeof(%s)::text"
    assert trained.execute(asked, arrays).fetchone() == ("vector",) * 4
    with trained.cursor() as cursor:
        cursor.execute(asked, arrays)
        as_numpy(cursor)
        assert cursor.execute(asked, arrays).fetchone() == ("vector", "pgembed.binvec", "bytea", "halfvec")


def test_pipelines_server_cursors_and_row_factories(trained: Connection) -> None:
    with trained.pipeline():
        for i in range(50):
            trained.execute("INSERT INTO item (id, bits, bytes) VALUES (%s, %b, %b)", [i, bits(bytes([i, 0]), 12), bytes([i] * 8)])
    with trained.transaction(), trained.cursor("walk", row_factory=dict_row, binary=True) as cursor:
        as_numpy(cursor)
        found = cursor.execute("SELECT id, bits, bytes FROM item ORDER BY id").fetchall()
    assert [(row["id"], row["bits"].tolist(), row["bytes"].tolist()) for row in found] == [(i, [i, 0], [i] * 8) for i in range(50)]


def test_a_prepared_statement(trained: Connection) -> None:
    trained.execute("INSERT INTO item (id, bits) VALUES (1, %s)", [SIGNS])
    for _ in range(3):
        assert one(trained, "SELECT bits <~> %s FROM item", [Bit("000011110100")], binary=True) == 1
    assert trained.execute("SELECT bits <~> %s FROM item", [Bit(SIGNS)], prepare=True).fetchone() == (0,)


def test_a_pool_and_a_context(trained: Connection) -> None:
    trained.execute("INSERT INTO item (id, bits, bytes) VALUES (1, %s, %s)", [SIGNS, LETTERS])
    with ConnectionPool(url_of(trained), min_size=1, max_size=2, configure=register) as pool, pool.connection() as connection:
        assert one(connection, "SELECT bits FROM item", binary=True) == SIGNS
    with psycopg.connect(url_of(trained), context=trained) as connection:
        assert one(connection, "SELECT bits FROM item", binary=True) == SIGNS
        assert isinstance(one(connection, "SELECT '[1]'::vector"), Vector)
    with psycopg.connect(url_of(trained)) as connection:
        assert one(connection, "SELECT bits FROM item", binary=True) == b"\x00\x00\x00\x0c\x0f\x50", "nobody else learns of it"


def test_async(trained: Connection) -> None:
    trained.execute("INSERT INTO item (id, bits, bytes) VALUES (1, %s, %s)", [SIGNS, LETTERS])

    async def ask() -> list[Any]:
        async with AsyncConnectionPool(url_of(trained), min_size=1, max_size=1, open=False, configure=register_async) as pool:
            await pool.open()
            async with pool.connection() as connection:
                cursor = connection.cursor(binary=True)
                await cursor.execute("SELECT bits, bytes, '[1]'::vector FROM item")
                plain = await cursor.fetchone()
                as_numpy(cursor)
                await cursor.execute("SELECT bits, bytes FROM item")
                seen = await cursor.fetchone()
                assert plain is not None
                assert seen is not None
                async with connection.cursor().copy("COPY item (id, bytes) FROM STDIN WITH (FORMAT BINARY)") as copy:
                    copy.set_types(["int4", "quick_code"])
                    await copy.write_row((2, seen[1]))
                return [*plain, seen[0].tolist()]

    assert asyncio.run(ask()) == [SIGNS, LETTERS, Vector([1]), [0x0F, 0x50]]
    assert one(trained, "SELECT bytes FROM item WHERE id = 2") == LETTERS


def test_a_transaction_stays_as_it_was(trained_url: str) -> None:
    with psycopg.connect(trained_url) as connection:
        register(connection)
        assert connection.info.transaction_status is pq.TransactionStatus.IDLE
        connection.execute("CREATE TABLE t (a int)")
        register(connection)
        assert connection.info.transaction_status is pq.TransactionStatus.INTRANS
        connection.rollback()
        assert one(connection, "SELECT to_regclass('t')") is None


def test_pgvector_outside_of_the_search_path(trained_url: str) -> None:
    with psycopg.connect(trained_url) as connection:
        connection.execute("SET search_path = pg_catalog")
        connection.commit()
        register(connection)
        assert isinstance(one(connection, "SELECT '[1]'::public.vector"), Vector)
        assert one(connection, "SHOW search_path") == "pg_catalog"


def test_as_somebody_without_rights(trained_url: str) -> None:
    with psycopg.connect(trained_url) as connection:
        connection.execute("SET SESSION AUTHORIZATION pg_monitor")  # a role that is always there, and may do nothing here
        register(connection)
        assert one(connection, "SELECT '0101'::pgembed.binvec(4)", binary=True) == "0101"
        as_numpy(connection)
        copied = connection.execute("SELECT ARRAY['\\x0001020304050607'::quick_code]", binary=True).fetchone()
        assert copied is not None
        assert copied[0][0].tolist() == list(range(8))
        connection.rollback()


def test_a_database_without_pgembed(empty_db: Connection) -> None:
    with pytest.raises(errors.UnknownObject, match="does not have pgembed") as caught:
        register(empty_db)
    assert caught.value.sqlstate == "42704"
    assert "CREATE EXTENSION pgembed CASCADE" in str(caught.value.hint)
    with pytest.raises(errors.NotReady, match="not registered") as again:
        as_numpy(empty_db)
    assert "register(connection)" in str(again.value.hint)


def test_what_is_no_connection(trained: Connection) -> None:
    with ConnectionPool(url_of(trained), open=False) as pool, pytest.raises(errors.DatatypeMismatch, match="ConnectionPool") as caught:
        register(pool)  # type: ignore[arg-type]
    assert "configure=pgembed.psycopg.register" in str(caught.value.hint)
    with pytest.raises(errors.DatatypeMismatch, match="not Connection") as other:
        asyncio.run(register_async(trained))  # type: ignore[arg-type]
    assert other.value.hint == "Call register(connection)."
    with pytest.raises(errors.DatatypeMismatch, match="not AdaptersMap") as maps:
        register(trained.adapters)  # type: ignore[arg-type]
    assert "context=connection" in str(maps.value.hint)


def test_sqlalchemys_types_read_the_same_from_a_registered_connection(trained: Connection) -> None:
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url_of(trained), context=trained), poolclass=NullPool)
    item = Table(
        "item", MetaData(), Column("id", Integer), Column("bits", BINVEC(12)), Column("bytes", LargeBinary), Column("v", VECTOR(3))
    )
    with engine.begin() as connection:
        connection.execute(insert(item), [{"id": 1, "bits": b"\x0f\x50", "bytes": LETTERS, "v": [1, 2, 3]}])
        found = connection.execute(select(item.c.bits, item.c.bytes, item.c.v).where(item.c.bits == SIGNS)).one()
    assert (found.bits, found.bytes, list(found.v)) == (SIGNS, LETTERS, [1, 2, 3])


def test_without_the_package_pgvector(trained: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pgvector.psycopg", None)
    with pytest.raises(errors.NotReady, match="package pgvector, which reads and writes vectors, is not installed") as caught:
        register(trained)
    assert "pip install 'pgembed-extension[psycopg]'" in str(caught.value.hint)


def test_importing_it_takes_neither_numpy_nor_pgvector() -> None:
    asked = "import sys, pgembed.psycopg; print({'numpy', 'pgvector'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-P", "-W", "error", "-c", asked], capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"


def copy_one(db: Connection, column: str, name: str, value: Any, form: str) -> None:
    with db.cursor().copy(f"COPY item (id, {column}) FROM STDIN WITH (FORMAT {form})") as copy:
        copy.set_types(["int4", name])
        copy.write_row((1, value))


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("pgembed.binvec", "0121", errors.InvalidParameter, 'consist of 0 and 1, not "0121"'),
        ("pgembed.binvec", 12, errors.DatatypeMismatch, "not int"),
        ("pgembed.binvec", np.zeros(2, np.int64), errors.DatatypeMismatch, "not of int64, 2"),
        ("quick_code", "text", errors.DatatypeMismatch, "not str"),
        ("quick_code", np.zeros((2, 2), np.uint8), errors.DatatypeMismatch, "not of uint8, 2x2"),
        ("quick_code", np.zeros(4, np.float32), errors.DatatypeMismatch, "not of float32, 4"),
        ("quick_code", b"\x00" * 3, psycopg.errors.CheckViolation, "quick_code"),
        ("pgembed.binvec", "0101", psycopg.errors.StringDataLengthMismatch, "4"),
    ],
)
@FORMATS
def test_wrong_values(trained: Connection, binary: bool, name: str, value: Any, error: type[Exception], message: str) -> None:
    column = "bits" if "binvec" in name else "bytes"
    with pytest.raises(error, match=message) as caught:
        copy_one(trained, column, name, value, "BINARY" if binary else "TEXT")
    if isinstance(caught.value, errors.PgembedError):
        assert caught.value.hint
    assert one(trained, "SELECT count(*) FROM item") == 0


@pytest.mark.parametrize(
    ("code", "length", "error", "message"),
    [
        (b"\x0f\x50", 17, errors.InvalidParameter, "2 bytes are no code of 17 bits, which has 3"),
        (b"", -3, errors.InvalidParameter, "0 bytes are no code of -3 bits"),
        (b"\x0f\x58", 12, errors.InvalidParameter, "after bit 12"),
        ("01", None, errors.DatatypeMismatch, "not str"),
    ],
)
def test_wrong_bits(code: Any, length: int | None, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        bits(code, length)


def test_the_readme_says_what_is_printed(db: Connection, capsys: pytest.CaptureFixture[str]) -> None:
    text = README.read_text("utf-8")
    info = db.info
    names = {"url": f"postgresql+psycopg://{info.user}@/{info.dbname}?host={info.host}&port={info.port}"}
    exec("\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)), names)
    said = [line.rpartition("  # ")[2] for line in text.splitlines() if line.startswith("print(")]
    for expected, printed in zip(said, capsys.readouterr().out.splitlines(), strict=True):
        assert printed == expected or expected.startswith("Hamming")


def test_bits_of_whole_bytes() -> None:
    assert bits(b"\x0f").to_text() == "00001111"
    assert bits(b"", 0).to_text() == ""
    assert bits(memoryview(b"\x0f\x50")[1:]).to_text() == "01010000"
