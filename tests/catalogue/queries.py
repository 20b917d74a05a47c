"""queries: the questions that the catalogue's pages ask, each one statement."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sqlalchemy import Row, Select, func, select
from sqlalchemy.orm import Session, contains_eager, joinedload

from catalogue.models import Article, Customer, Maker, Offer, Order, OrderLine, Product
from pgembed.sqlalchemy import link, search, search_like, semantic, semantic_join


def found(text: str, most: Decimal, k: int = 3) -> Select[Product, float]:
    """Products in stock of at most a price, nearest to what somebody types; with their makers."""
    hits = search(Product, text, k=k, filter=(Product.price <= most) & Product.in_stock)
    return select(hits.entity, hits.distance).order_by(hits.rank).options(joinedload(hits.entity.maker))


def found_from(text: str, country: str, k: int = 3) -> Select[Product]:
    """Products whose maker is of a country, decided before k is."""
    of_there = select(Maker.id).where(Maker.country == country)
    hits = search(Product, text, k=k, filter=Product.maker_id.in_(of_there))
    return select(hits.entity).join(hits.entity.maker).order_by(hits.rank).options(contains_eager(hits.entity.maker))


def buyers(text: str, k: int = 2) -> Select[Customer]:
    """Customers who have ordered one of the products nearest to a text."""
    hits = search(Product, text, k=k)
    bought = select(Order.customer_id).join(Order.lines).join(hits, hits.c.id == OrderLine.product_id)
    return select(Customer).where(Customer.id.in_(bought)).order_by(Customer.id)


def sales(text: str, k: int = 3) -> Select[str, Any]:
    """What each maker has sold of the products nearest to a text."""
    hits = search(Product, text, k=k)
    near = select(hits.entity.id, hits.entity.maker_id, hits.entity.price).cte("near")
    total = func.sum(near.c.price * OrderLine.quantity).label("total")
    return (
        select(Maker.name, total)
        .join(near, near.c.maker_id == Maker.id)
        .join(OrderLine, OrderLine.product_id == near.c.id)
        .group_by(Maker.name)
        .order_by(total.desc(), Maker.name)
    )


def others_like(product: Product, customer: Customer, k: int = 2) -> Select[Product]:
    """Products like one that a customer has not ordered yet."""
    ordered = select(OrderLine.product_id).join(OrderLine.order).where(Order.customer_id == customer.id)
    hits = search_like(Product, product.id, k=k, filter=Product.id.not_in(ordered))
    return select(hits.entity).order_by(hits.rank)


def same_as_offers(most_distance: float = 0.6) -> Select[Offer, Product, float]:
    """Offers beside the product that they seem to be, each of both once."""
    pairs = semantic_join(Offer.embedding, Product.embedding, mapping="one_to_one", max_distance=most_distance)
    return select(pairs.left, pairs.right, pairs.distance).order_by(pairs.left.id)


def articles_about(text: str, k: int = 2) -> Select[Article]:
    """Articles that name the maker of one of the products nearest to a text."""
    near = semantic(Product.embedding).nearest(text, k=k)
    return select(Article).where(Article.makers.any(Maker.products.any(near))).order_by(Article.id)


def articles() -> Select[Article]:
    """All articles with the makers they name."""
    return select(Article).options(joinedload(Article.makers)).order_by(Article.id)


def named_in(text: str) -> Select[str, Maker, str]:
    """What a text names, before anybody stores it."""
    links = link(Maker, text)
    return select(links.mention, links.entity, links.decision).order_by(links.start_char)


def run(session: Session, statement: Select[Any]) -> list[Row[Any]]:
    """Rows of a statement, each once where it loads collections beside them."""
    return list(session.execute(statement).unique().all())
