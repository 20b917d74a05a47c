"""Codes of bytes, and every type that a table with vectors has, from a live database and over each driver."""

from __future__ import annotations

import asyncio
import pickle
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pytest
from mapped import DIALECT
from pgvector.sqlalchemy import HALFVEC, SPARSEVEC, VECTOR
from sqlalchemy import INTEGER, Column, Engine, Integer, MetaData, Table, insert, literal, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.exc import DBAPIError, SAWarning

from pgembed import errors
from pgembed.sqlalchemy import BINVEC, CODE, reflect_codes

LISTENERS = [("column_reflect", reflect_codes)]


@pytest.fixture
def coded(db: psycopg.Connection[Any], engine: Engine) -> Iterator[Table]:
    """Sixty vectors with codes of bytes, and with columns of all other types of vectors."""
    db.execute(
        """
        CREATE SCHEMA "my shop";
        CREATE TABLE "my shop".item (
            id int PRIMARY KEY, e vector(8), h halfvec(8), s sparsevec(8), b bit(8), v pgembed.binvec(8)
        );
        SELECT pgembed.adopt_embedding('"my shop".item', 'e');
        INSERT INTO "my shop".item SELECT n, e, e, e::sparsevec, binary_quantize(e), binary_quantize(e) FROM (
            SELECT n, (SELECT array_agg(sin(n * d + d)) FROM generate_series(1, 8) AS d)::vector AS e FROM generate_series(1, 60) AS n
        ) AS made;
        SELECT pgembed.train_codec('small', '"my shop".item', 'int8');
        SELECT pgembed.add_code('"my shop".item', 'small', 'code', is_generated => true);
        """
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", SAWarning)
        yield Table("item", MetaData(), schema="my shop", autoload_with=engine, listeners=LISTENERS)


def test_every_type_is_reflected_as_it_is(coded: Table, engine: Engine) -> None:
    kinds = {column.name: type(column.type) for column in coded.columns}
    assert kinds == {"id": INTEGER, "e": VECTOR, "h": HALFVEC, "s": SPARSEVEC, "b": postgresql.BIT, "v": BINVEC, "code": CODE}
    code = coded.c.code.type
    assert isinstance(code, CODE)
    assert (code.codec, code.length, code.schema) == ("small", 12, "my shop")
    assert coded.c.code.computed is not None
    plain = Table("item", MetaData(), schema="my shop", autoload_with=engine)
    assert isinstance(plain.c.code.type, DOMAIN)  # nobody else's reflection is changed


def test_codes_come_as_bytes_or_arrays_and_are_compared(coded: Table, engine: Engine) -> None:
    with engine.connect() as connection:
        code = connection.scalars(select(coded.c.code).where(coded.c.id == 1)).one()
        assert isinstance(code, bytes)
        assert len(code) == 12
        as_array = CODE("small", 12, schema="my shop", as_numpy=True)
        array = connection.scalars(select(literal(code, as_array))).one()
        assert array.dtype == np.uint8
        assert array.tolist() == list(code)
        for given in (code, array, bytearray(code), list(code)):
            assert connection.scalars(select(coded.c.id).where(coded.c.code == given)).all() == [1]
            distance = coded.c.code.code_distance(given)
            assert connection.scalars(select(coded.c.id).order_by(distance).limit(1)).one() == 1
        by_vector = coded.c.code.code_distance(select(coded.c.e).where(coded.c.id == 7).scalar_subquery())
        assert connection.scalars(select(coded.c.id).order_by(by_vector).limit(1)).one() == 7
        written = select(coded.c.id).where(coded.c.code == code).compile(dialect=DIALECT, compile_kwargs={"literal_binds": True})
        assert connection.execute(text(str(written).replace(":", "\\:"))).scalars().all() == [1]
        assert connection.scalar(select(literal(None, CODE("small", 12, schema="my shop")))) is None
        with pytest.raises(DBAPIError) as caught:
            connection.execute(select(literal(b"\x00", CODE("small", schema="my shop"))))
        assert getattr(caught.value.orig, "sqlstate", None) == "23514"


def test_a_table_with_codes_can_be_made_from_what_was_reflected(coded: Table, engine: Engine, db: psycopg.Connection[Any]) -> None:
    other = Table("other", MetaData(), Column("id", Integer, primary_key=True), Column("code", coded.c.code.type.copy()))
    other.create(engine)
    shown = db.execute("SELECT format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = 'other'::regclass AND attname = 'code'")
    assert shown.fetchone() == ('"my shop".small_code',)
    with engine.begin() as connection:
        connection.execute(
            insert(other), [{"id": 1, "code": bytes(12)}, {"id": 2, "code": np.arange(12, dtype=np.uint8)}, {"id": 3, "code": None}]
        )
        found = connection.scalars(select(other.c.code).order_by(other.c.id)).all()
    assert found == [bytes(12), bytes(range(12)), None]


@pytest.mark.parametrize("value", ["text", 5, [300], np.zeros(8), [1.5], b"\x00", object()])
def test_what_is_no_code_is_refused_before_it_is_sent(value: Any) -> None:
    with pytest.raises(errors.InvalidParameter, match=r"a code must be bytes|code has \d+ bytes, expected 8") as caught:
        CODE("small", 8).bind_processor(DIALECT)(value)
    assert caught.value.hint


@pytest.mark.parametrize("made", [CODE("a b", 8, schema="s"), BINVEC(9), BINVEC(), CODE("c", as_numpy=True), VECTOR(3), HALFVEC(3)])
def test_types_are_copied_pickled_and_part_of_the_cache(made: Any) -> None:
    for copy in (pickle.loads(pickle.dumps(made)), made.copy()):
        assert type(copy) is type(made)
        assert copy._static_cache_key == made._static_cache_key
        assert copy.compile(dialect=DIALECT) == made.compile(dialect=DIALECT)
    assert CODE("a", 8)._static_cache_key != CODE("b", 8)._static_cache_key
    assert CODE("a", 8)._static_cache_key != CODE("a", 8, as_numpy=True)._static_cache_key
    assert repr(CODE("a", 8)) == "CODE('a', length=8)"


def test_values_go_and_come_over_every_driver(coded: Table, engine: Engine) -> None:
    copy = Table("copy", MetaData(), *(Column(column.name, column.type) for column in coded.columns))

    def run(connection: Any) -> list[Any]:
        copy.create(connection)
        row = connection.execute(select(coded).where(coded.c.id == 3)).one()
        values = row._asdict()
        connection.execute(insert(copy), [values, {**values, "id": 4}])
        connection.execute(insert(copy).values(**{**dict.fromkeys(values), "id": 5}))
        again = connection.execute(select(copy).where(copy.c.id == 4)).one()
        assert [str(one) for one in again[1:]] == [str(one) for one in row[1:]]
        assert connection.execute(select(copy).where(copy.c.id == 5)).one()[1:] == (None,) * 6
        equal = (copy.c.code == values["code"]) & (copy.c.v == values["v"])
        near = [copy.c.e.l2_distance(values["e"]), copy.c.h.l2_distance(values["h"]), copy.c.s.l2_distance(values["s"])]
        near += [copy.c.v.hamming_distance(values["v"]), copy.c.code.code_distance(values["code"])]
        found = connection.execute(select(copy.c.id, *near).where(equal).order_by(copy.c.id)).all()
        return [[one[0], *(round(value, 2) for value in one[1:])] for one in found]

    expected = [[3, *[0] * 5], [4, *[0] * 5]]
    with engine.connect() as connection:
        assert run(connection) == expected
    pytest.importorskip("greenlet")
    pytest.importorskip("asyncpg")
    from sqlalchemy.ext.asyncio import create_async_engine

    async def over(driver: str) -> list[Any]:
        other = create_async_engine(engine.url.set(drivername=driver))
        async with other.connect() as connection:
            found = await connection.run_sync(run)
        await other.dispose()
        return found

    for driver in ("postgresql+psycopg_async", "postgresql+asyncpg"):
        assert asyncio.run(over(driver)) == expected
