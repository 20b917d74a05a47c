"""pgembed.sqlalchemy.types: columns of codes of bits."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from mapped import DIALECT
from pgvector import Bit
from sqlalchemy import (
    ARRAY,
    Column,
    Engine,
    Integer,
    MetaData,
    Table,
    func,
    insert,
    inspect,
    literal,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError, SAWarning, StatementError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from pgembed import errors
from pgembed.sqlalchemy import BINVEC


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "item"
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str | None] = mapped_column(BINVEC(10))


@pytest.fixture
def items(engine: Engine) -> Iterator[Session]:
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(
            [
                Item(id=1, code="0000011111"),
                Item(id=2, code=b"\x07\xc0"),
                Item(id=3, code=Bit("1111100000")),
                Item(id=4, code=None),
                Item(id=5, code=bytearray(b"\x00\x40")),
            ]
        )
        session.commit()
        yield session


def test_values_are_strings_of_bits(items: Session) -> None:
    found = items.execute(select(Item.id, Item.code).order_by(Item.id)).all()
    assert [tuple(row) for row in found] == [(1, "0000011111"), (2, "0000011111"), (3, "1111100000"), (4, None), (5, "0000000001")]


def test_the_column_is_of_the_type(items: Session) -> None:
    shown = text("SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'item'::regclass AND attname = 'code'")
    assert items.scalar(shown) == "pgembed.binvec(10)"


@pytest.mark.parametrize("asked", ["0000011101", b"\x07\x40", Bit("0000011101")])
def test_hamming_and_jaccard_distance(items: Session, asked: Any) -> None:
    distance = Item.code.hamming_distance(asked)
    rows = items.execute(
        select(Item.id, distance, Item.code.jaccard_distance(asked)).where(Item.code.isnot(None)).order_by(distance, Item.id)
    )
    assert [tuple(row) for row in rows] == [(1, 1, pytest.approx(0.2)), (2, 1, pytest.approx(0.2)), (5, 3, 0.75), (3, 9, 1)]


def test_codes_are_compared_and_grouped(items: Session) -> None:
    assert items.scalars(select(Item.id).where(Item.code == "0000000001")).all() == [5]
    assert items.scalars(select(Item.id).where(Item.code.in_([b"\x00\x40", "1111100000"])).order_by(Item.id)).all() == [3, 5]
    counted = items.execute(select(Item.code, func.count()).group_by(Item.code).order_by(Item.code.nulls_first())).all()
    assert [tuple(row) for row in counted] == [(None, 1), ("0000000001", 1), ("0000011111", 2), ("1111100000", 1)]
    other = select(Item).subquery()
    pairs = select(func.count()).select_from(Item).join(other, Item.code.hamming_distance(other.c.code) == 0)
    assert items.scalar(pairs) == 6


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("010", "code has 3 bits, expected 10"),
        ("01234", "must be a string of 0 and 1"),
        (5, "must be a string of 0 and 1, or bytes, not int"),
        ([1, 0], "not list"),
        (b"\x00", "1 bytes are no code of 10 bits, which has 2"),
        (b"\x00\x00\x00", "3 bytes are no code of 10 bits"),
        (b"\x00\x20", "after bit 10 of the code are not zero"),
    ],
)
def test_what_is_no_code_is_refused_before_it_is_sent(value: Any, message: str) -> None:
    with pytest.raises(errors.InvalidParameter, match=message) as caught:
        BINVEC(10).bind_processor(DIALECT)(value)
    assert caught.value.hint


def test_what_is_refused_is_refused_in_a_statement(items: Session) -> None:
    with pytest.raises(StatementError, match="code has 3 bits, expected 10"):
        items.execute(insert(Item).values(id=9, code="010"))


def test_without_a_length_any_code_goes_and_the_column_decides(items: Session) -> None:
    assert items.scalar(select(literal("010", BINVEC()))) == "010"
    assert items.scalar(select(literal(b"\x07\xc0", BINVEC()))) == "0000011111000000"
    with pytest.raises(DBAPIError) as caught:
        items.execute(insert(Item).values(id=9, code=literal("010", BINVEC())))
    assert getattr(caught.value.orig, "sqlstate", None) == "22026"


def test_a_literal_is_written_out(items: Session) -> None:
    statement = select(Item.id).where(Item.code == b"\x00\x40").compile(dialect=DIALECT, compile_kwargs={"literal_binds": True})
    assert "'0000000001'" in str(statement)
    assert items.scalar(text(str(statement))) == 5


def test_the_statement_is_cached_whatever_the_value(engine: Engine) -> None:
    keys = {select(Item.id).where(Item.code == code)._generate_cache_key().key for code in ("0000000001", "1111111111")}  # type: ignore[union-attr]
    assert len(keys) == 1
    assert BINVEC(10)._static_cache_key != BINVEC(11)._static_cache_key
    assert repr(BINVEC(10)) == "BINVEC(length=10)"


@pytest.mark.parametrize("path", ["public", "public, pgembed"])
def test_a_table_is_reflected_without_a_warning(engine: Engine, path: str) -> None:
    made = MetaData()
    Table(
        "item",
        made,
        Column("id", Integer, primary_key=True),
        Column("code", BINVEC(10)),
        Column("any", BINVEC()),
        Column("many", ARRAY(BINVEC(2))),
    )
    with engine.begin() as connection:
        made.create_all(connection)
        connection.execute(text("ALTER TABLE item ADD e vector(3)"))
        connection.execute(text("ALTER TABLE item ADD made pgembed.binvec(3) GENERATED ALWAYS AS (binary_quantize(e)) STORED"))
        connection.execute(text(f"SET LOCAL search_path = {path}"))
        with warnings.catch_warnings():
            warnings.simplefilter("error", SAWarning)
            found = Table("item", MetaData(), autoload_with=connection)
        assert isinstance(found.c.code.type, BINVEC)
        lengths = {column.name: column.type.length for column in found.c if isinstance(column.type, BINVEC)}
        assert lengths == {"code": 10, "any": None, "made": 3}
        assert isinstance(found.c.many.type, ARRAY)
        assert isinstance(found.c.many.type.item_type, BINVEC)
        reflected = {column["name"]: column for column in inspect(connection).get_columns("item")}
        assert "computed" in reflected["made"]
