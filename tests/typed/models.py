"""models: declared with all that a model may declare."""

from __future__ import annotations

from decimal import Decimal
from typing import assert_type

from sqlalchemy import Column, Engine, ForeignKey, Integer, MetaData, Table, Text, event
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from pgembed.sqlalchemy import (
    BINVEC,
    CODE,
    VOID,
    Code,
    Linker,
    LinkRow,
    complete,
    embedded,
    embedded_column,
    embeddings_of,
    link_rows,
    linked,
    linkers_of,
    reflect_codes,
)


class Base(DeclarativeBase):
    pass


class Company(Base):
    __tablename__ = "company"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    name_vector: Mapped[list[float] | None] = embedded("name", column_name="name_vector", model="tiny", metric="l2", sync="queued")
    articles: Mapped[list[Article]] = linked("article_link", reverse=True, corrected=True)


class Product(Base):
    __tablename__ = "product"
    id: Mapped[int] = mapped_column(primary_key=True)
    company_id: Mapped[int] = mapped_column(ForeignKey("company.id"))
    name: Mapped[str]
    price: Mapped[Decimal]
    in_stock: Mapped[bool]
    embedding: Mapped[list[float] | None] = embedded(
        lambda: Product.name + ".", codec=Code("sign", {"bits": 64}, covering=("price",)), by_hand="refuse", deferred_group="vectors"
    )
    bits: Mapped[str | None] = mapped_column(BINVEC(64))
    code: Mapped[bytes | None] = mapped_column(CODE("product_rabitq", 102, as_numpy=False))
    company: Mapped[Company] = relationship()


class Article(Base):
    __tablename__ = "article"
    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str]
    parts: Mapped[list[float] | None] = embedded(lambda c: c.body, chunk_tokens=200, chunk_overlap=20)
    companies: Mapped[list[Company]] = linked("article_link", decisions=("link", "review"), lazy="selectin", order_by=lambda: Company.name)


class Mention(LinkRow, Base):
    __table__ = link_rows("article_link", Article, Company, corrected=False)
    article: Mapped[Article] = relationship(viewonly=True)
    company: Mapped[Company | None] = relationship(viewonly=True)


offer = Table(
    "offer", Base.metadata, Column("id", Integer, primary_key=True), Column("title", Text), embedded_column("e", lambda c: c.title)
)
companies = Linker("companies", Company, names=lambda: Company.name).also(Product, names="name")
nothing = VOID()


def create(engine: Engine) -> None:
    Base.metadata.create_all(engine)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        assert_type(complete(connection, Product), list[str])
    for declaration in embeddings_of(offer).values():
        assert_type(declaration.source, str)
        assert_type(declaration.code, Code | None)
    assert "companies" in linkers_of(Base.metadata)


def reflect(engine: Engine) -> Table:
    metadata = MetaData()
    event.listen(metadata, "column_reflect", reflect_codes)
    return Table("product", metadata, autoload_with=engine)


def said(mention: Mention) -> None:
    assert_type(mention.score, float | None)
    assert_type(mention.mention, str)
    assert_type(mention.company, Company | None)
    assert_type(mention.article.companies, list[Company])
