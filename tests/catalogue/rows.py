"""rows: what is in the catalogue."""

from __future__ import annotations

import datetime
from decimal import Decimal

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from catalogue.models import Article, Base, Customer, Maker, Offer, Order, OrderLine, Product
from pgembed.sqlalchemy import link_table, refresh

MAKERS = [("Nordwand", "Norway"), ("Bergfried", "Austria"), ("Lumo", "Finland")]
PRODUCTS = [
    (1, "Storm shell", "a light waterproof jacket with a hood", 79, True),
    (1, "Summit parka", "a down coat for the coldest winter days", 249, True),
    (2, "Trail poncho", "keeps children and their backpacks dry in the rain", 29, True),
    (2, "Alpine tent", "two people, four seasons, one pole", 410, True),
    (2, "Rain cape", "a waterproof cape that packs into its own pocket", 35, False),
    (3, "Polar lamp", "a head lamp for dark winter trails", 45, True),
    (3, "Camp lantern", "warm light for the tent, runs on two batteries", 25, True),
]
ORDERS = [(1, [1, 7]), (2, [2]), (3, [3, 1]), (1, [4])]
OFFERS = [("lantern for camping", 19), ("tent for two persons, alpine use", 385), ("paper clips, box of 100", 2)]
ARTICLES = [
    ("Dry in June", "Nordwand and Bergfried have answers to a wet summer, and so does the old oilskin."),
    ("Let there be light", "The lamps of Lumo shine for nine hours."),
    ("At home", "Nobody needs to go out at all."),
]


def fill(engine: Engine) -> None:
    """Make the tables, write the rows, embed them and link the articles."""
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(Maker(id=place, name=name, country=country) for place, (name, country) in enumerate(MAKERS, 1))
        session.add_all(
            Product(id=place, maker_id=maker, name=name, description=text, price=Decimal(price), in_stock=in_stock)
            for place, (maker, name, text, price, in_stock) in enumerate(PRODUCTS, 1)
        )
        session.add_all(Customer(id=place, name=name) for place, name in enumerate(("Ada", "Bo", "Cleo"), 1))
        session.add_all(
            Order(
                id=place,
                customer_id=customer,
                ordered_on=datetime.date(2026, 1, place),
                lines=[OrderLine(product_id=product, quantity=place) for product in products],
            )
            for place, (customer, products) in enumerate(ORDERS, 1)
        )
        session.add_all(Offer(id=place, title=title, price=Decimal(price)) for place, (title, price) in enumerate(OFFERS, 1))
        session.add_all(Article(id=place, title=title, body=body) for place, (title, body) in enumerate(ARTICLES, 1))
        session.commit()
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(refresh(Product))
        connection.execute(refresh(Offer))
        connection.execute(link_table("makers", Article, "body", "article_link"))
