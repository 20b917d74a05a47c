"""models: the tables of the catalogue.

What pgembed adds are three declarations: two embedded columns, the linker below the classes, and the relationship through its links.
"""

from __future__ import annotations

import datetime
from decimal import Decimal

from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from pgembed.sqlalchemy import Linker, embedded, linked


class Base(DeclarativeBase):
    pass


class Maker(Base):
    __tablename__ = "maker"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    country: Mapped[str]
    products: Mapped[list[Product]] = relationship(back_populates="maker", order_by="Product.id")
    articles: Mapped[list[Article]] = linked("article_link", reverse=True)


class Product(Base):
    __tablename__ = "product"
    id: Mapped[int] = mapped_column(primary_key=True)
    maker_id: Mapped[int] = mapped_column(ForeignKey("maker.id"), index=True)
    name: Mapped[str]
    description: Mapped[str]
    price: Mapped[Decimal]
    in_stock: Mapped[bool] = mapped_column(default=True)
    embedding: Mapped[list[float] | None] = embedded(lambda: Product.name + ": " + Product.description)
    maker: Mapped[Maker] = relationship(back_populates="products")
    lines: Mapped[list[OrderLine]] = relationship(back_populates="product")


class Customer(Base):
    __tablename__ = "customer"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    orders: Mapped[list[Order]] = relationship(back_populates="customer", order_by="Order.id")


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customer.id"), index=True)
    ordered_on: Mapped[datetime.date]
    customer: Mapped[Customer] = relationship(back_populates="orders")
    lines: Mapped[list[OrderLine]] = relationship(back_populates="order")


class OrderLine(Base):
    __tablename__ = "order_line"
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"), primary_key=True)
    product_id: Mapped[int] = mapped_column(ForeignKey("product.id"), primary_key=True)
    quantity: Mapped[int] = mapped_column(default=1)
    order: Mapped[Order] = relationship(back_populates="lines")
    product: Mapped[Product] = relationship(back_populates="lines")


class Offer(Base):
    """What a supplier offers, in the supplier's words."""

    __tablename__ = "offer"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    price: Mapped[Decimal]
    embedding: Mapped[list[float] | None] = embedded(lambda: Offer.title)


class Article(Base):
    __tablename__ = "article"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    body: Mapped[str]
    makers: Mapped[list[Maker]] = linked("article_link")


Linker("makers", Maker, names=lambda: Maker.name)
