"""pgembed.sqlalchemy on a server: names and keys that a database may have and that are easily taken for something else."""

from __future__ import annotations

import datetime
import enum
from collections.abc import Iterator
from typing import Any

import pytest
from mapped import Upper, compiled
from pgvector.sqlalchemy import VECTOR
from sqlalchemy import Column, DateTime, Engine, Integer, LargeBinary, MetaData, Table, Text, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from support import Connection

from pgembed.sqlalchemy import (
    correct_link,
    distance,
    embedded,
    embedded_column,
    provenance,
    refresh,
    retry_failed,
    search,
    search_like,
    semantic,
)
from pgembed.sqlalchemy.calls import _TYPES

NOON = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)


class Shade(enum.Enum):
    RED = "r"
    BLUE = "b"


class Base(DeclarativeBase):
    pass


class Wool(Base):
    """A percent sign is doubled for some drivers, in identifiers, in texts and in what is executed without parameters."""

    __tablename__ = "100% Wool's"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column("Na:me %")
    embedding: Mapped[list[float] | None] = embedded(lambda: Wool.name + ": 100% :pure", sync="immediate")


class Line(Base):
    """Its table has the name of a type, and a column that of the table's alias in such a call."""

    __tablename__ = "line"
    id: Mapped[int] = mapped_column(primary_key=True)
    line: Mapped[str]
    e: Mapped[Any] = mapped_column(VECTOR(3), deferred=True)


class Shaded(Base):
    __tablename__ = "shaded"
    shade: Mapped[Shade] = mapped_column(primary_key=True)
    e: Mapped[Any] = mapped_column(VECTOR(3), deferred=True)


class Raw(Base):
    __tablename__ = "raw"
    key: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    e: Mapped[Any] = mapped_column(VECTOR(3), deferred=True)


class Tag(Base):
    __tablename__ = "tag"
    code: Mapped[str] = mapped_column(Upper, primary_key=True)
    e: Mapped[Any] = mapped_column(VECTOR(3), deferred=True)


class Slot(Base):
    __tablename__ = "slot"
    code: Mapped[str] = mapped_column(Upper, primary_key=True)
    at: Mapped[datetime.datetime] = mapped_column(DateTime(timezone=True), primary_key=True)
    shade: Mapped[Shade] = mapped_column(primary_key=True)
    e: Mapped[Any] = mapped_column(VECTOR(3), deferred=True)


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    Base.metadata.create_all(engine)
    with Session(engine) as made:
        yield made
    Base.metadata.drop_all(engine)


def test_percent_signs_colons_quotes_and_capitals(session: Session, engine: Engine) -> None:
    session.add_all([Wool(id=1, name="jacket"), Wool(id=2, name="50% off")])
    session.commit()
    hits = search(Wool, "jacket: 100% :pure", k=1, filter=Wool.name.like("j%") & (Wool.id % 2 == 1))
    found = session.execute(select(hits.entity, hits.distance)).all()
    assert [(one.name, round(far, 3)) for one, far in found] == [("jacket", 0)]
    near = semantic(Wool.embedding)
    assert session.scalars(select(Wool.name).where(near.nearest("50% off", k=1))).all() == ["50% off"]
    assert session.scalars(select(Wool.name).order_by(near.distance("50% off")).limit(1)).all() == ["50% off"]
    assert session.scalars(select(provenance(Wool).state)).all() == ["fresh", "fresh"]
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(refresh(Wool))


def test_a_table_with_the_name_of_a_type(session: Session, db: Connection) -> None:
    session.add_all([Line(id=1, line="a", e=[1, 0, 0]), Line(id=2, line="b", e=[0, 1, 0])])
    session.commit()
    session.execute(select(func.pgembed.adopt_embedding("line", "e")))
    hits = search(Line, [0, 1, 0], k=1, filter=Line.line != "c")
    assert session.execute(select(hits.entity.line, hits.rank)).all() == [("b", 1)]
    types = {
        name
        for (name,) in db.execute(
            "SELECT typname FROM pg_catalog.pg_type WHERE typnamespace = 'pg_catalog'::regnamespace"
            " AND typname !~ '^(_|pg_|any|reg|.*_handler$)' AND typname NOT IN ('cstring', 'internal')"
        )
    }
    assert types <= _TYPES


@pytest.mark.parametrize(
    ("model", "one", "other"),
    [
        (Shaded, Shade.RED, Shade.BLUE),
        (Raw, b"\x00\xff", b'"a'),
        (Tag, "abc", "abd"),
        (Slot, ("abc", NOON, Shade.RED), ("abc", NOON, Shade.BLUE)),
    ],
)
def test_keys_are_given_as_their_attributes_have_them(session: Session, model: Any, one: Any, other: Any) -> None:
    names = [column.name for column in model.__table__.primary_key]
    for key, vector in ((one, [1, 0, 0]), (other, [0, 1, 0])):
        session.add(model(e=vector, **dict(zip(names, key if len(names) > 1 else (key,), strict=True))))
    session.commit()
    session.execute(select(func.pgembed.adopt_embedding(model.__tablename__, "e")))
    last = getattr(model, names[-1])
    expected = other[-1] if len(names) > 1 else other
    assert session.scalars(select(getattr(search_like(model, one).entity, last.key))).all() == [expected]
    assert session.scalars(select(last).where(semantic(model.e).nearest([0, 1, 0], k=1))).all() == [expected]
    assert session.scalar(select(distance(model, one, model, other))) == 1


def test_every_key_is_sent_as_a_text() -> None:
    slot = ("abc", NOON, Shade.RED)
    expected = '["ABC", "2026-01-01 12:00:00+00:00", "RED"]'
    assert compiled(select(retry_failed(Slot.e, key=slot)))[1]["key_1"] == expected
    assert compiled(select(retry_failed("slot", key=7)))[1]["key_1"] == "7"
    sent = compiled(select(correct_link("links", (1, "a"), 1, 8, 42)))[1]
    assert (sent["source_key_1"], sent["entity_key_1"]) == ('[1, "a"]', "42")
    sent = compiled(select(distance(Tag, "abc", Raw, b"a", "e", "e")))[1]
    assert (sent["key_1"], sent["other_key_1"]) == ("ABC", "\\x61")


def test_nearest_of_a_key_that_the_model_has_in_another_order(session: Session) -> None:
    session.execute(select(1))
    session.connection().exec_driver_sql(
        "CREATE TABLE cell (x int, y int, e vector(3), PRIMARY KEY (y, x));"
        " INSERT INTO cell VALUES (1, 2, '[1,0,0]'), (2, 1, '[0,1,0]'); SELECT pgembed.adopt_embedding('cell', 'e')"
    )
    columns = [Column("x", Integer, primary_key=True), Column("y", Integer, primary_key=True)]
    cell = Table("cell", MetaData(), *columns, Column("e", VECTOR(3)))
    assert session.execute(select(cell.c.x, cell.c.y).where(semantic(cell.c.e).nearest([1, 0, 0], k=1))).all() == [(1, 2)]
    session.rollback()


def test_a_table_with_a_percent_sign_is_made_and_dropped(session: Session) -> None:
    table = Table("a % b", MetaData(), Column("id", Integer, primary_key=True), Column("t", Text), embedded_column("e", lambda c: c.t))
    table.create(session.connection())
    assert session.scalars(select(func.count()).select_from(provenance(table))).all() == [0]
    table.drop(session.connection())
    assert session.connection().exec_driver_sql("SELECT count(*) FROM pgembed.embeddings WHERE column_name = 'e'").scalar() == 0
