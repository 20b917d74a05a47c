"""Mapped classes and helpers of the SQLAlchemy tests."""

from __future__ import annotations

import decimal
import enum
from typing import Any

from pgvector.sqlalchemy import VECTOR
from sqlalchemy import (
    ForeignKey,
    Numeric,
    String,
    TypeDecorator,
    select,
)
from sqlalchemy.dialects.postgresql import psycopg as psycopg_dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from pgembed.sqlalchemy import search

DIALECT: Any = psycopg_dialect.dialect()  # type: ignore[no-untyped-call]


class Colour(enum.Enum):
    RED = "r"
    BLUE = "b"


class Upper(TypeDecorator[str]):
    """A type of the user's own: the database has upper case, Python has lower case."""

    impl = String(3)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return value and value.upper()

    def process_result_value(self, value: str | None, dialect: Any) -> str | None:
        return value and value.lower()


class Base(DeclarativeBase):
    pass


class Maker(Base):
    __tablename__ = "maker"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    e: Mapped[Any] = mapped_column(VECTOR(3), deferred=True)


class Thing(Base):
    """Its schema is not on the search_path, an attribute is called otherwise than its column, and a column is called distance."""

    __tablename__ = "thing"
    __table_args__ = {"schema": "shop"}  # noqa: RUF012  SQLAlchemy reads it as it stands
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column("name", String(20))
    price: Mapped[decimal.Decimal] = mapped_column(Numeric(10, 2))
    distance: Mapped[int] = mapped_column(default=0)
    maker_id: Mapped[int | None] = mapped_column(ForeignKey("maker.id"))
    maker: Mapped[Maker | None] = relationship()
    e: Mapped[Any] = mapped_column(VECTOR(3), deferred=True)


class Animal(Base):
    __tablename__ = "animal"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    e: Mapped[Any] = mapped_column(VECTOR(3), deferred=True)
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}  # noqa: RUF012  SQLAlchemy reads it as it stands


class Dog(Animal):
    __mapper_args__ = {"polymorphic_identity": "dog"}  # noqa: RUF012  SQLAlchemy reads it as it stands


class Tool(Base):
    __tablename__ = "tool"
    id: Mapped[int] = mapped_column(primary_key=True)


class Saw(Tool):
    __tablename__ = "saw"
    id: Mapped[int] = mapped_column(ForeignKey("tool.id"), primary_key=True)


def compiled(statement: Any) -> tuple[str, dict[str, Any]]:
    made = statement.compile(dialect=DIALECT)
    return " ".join(str(made).split()), made.params


def rendered(condition: Any) -> str:
    """The text that a filter becomes."""
    return str(compiled(select(search(Thing, "x", filter=condition).rank))[1]["filter_1"])
