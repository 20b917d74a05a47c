"""The example application: each of its questions is one statement, which stands here, and is answered; also for a role without rights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest
from catalogue import queries, rows
from catalogue.models import Article, Base, Customer, Maker, Product
from sqlalchemy import Engine, create_engine, event, inspect, select
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool
from support import Connection


@pytest.fixture
def shop(engine: Engine, db: Connection, make_role: Callable[..., str]) -> Engine:
    """The catalogue, made and used by a role that may create tables and nothing else; an administrator has installed the extension."""
    role = make_role("shopkeeper")
    db.execute(f"GRANT USAGE, CREATE ON SCHEMA public TO {role}")
    made = create_engine(engine.url.update_query_dict({"options": f"-c role={role}"}), poolclass=NullPool)
    rows.fill(made)
    return made


@contextmanager
def counted(engine: Engine) -> Iterator[list[str]]:
    """The statements that are sent meanwhile."""
    sent: list[str] = []

    def keep(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        sent.append(" ".join(statement.split()))

    event.listen(engine, "before_cursor_execute", keep)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", keep)


def test_every_question_is_one_statement_and_is_answered(shop: Engine) -> None:
    with Session(shop) as session:
        poncho, ada = session.get_one(Product, 3), session.get_one(Customer, 1)

        def asked(statement: Any, *parts: str) -> list[Any]:
            with counted(shop) as sent:
                answer = queries.run(session, statement)
                # what was asked for is there: to look at it asks nothing more
                for row in answer:
                    for one in row:
                        if isinstance(one, Product) and "maker" not in inspect(one).unloaded:
                            assert one.maker.name
            assert len(sent) == 1
            for part in parts:
                assert part in sent[0], sent[0]
            return answer

        found = asked(
            queries.found("protection from rain", Decimal(100)),
            'FROM pgembed.search(NULL::"product", query => %(query_1)s::VARCHAR, k => %(k_1)s::INTEGER, filter => ',
            "params => pg_catalog.jsonb_object(",
            "LEFT OUTER JOIN maker",
        )
        assert {row[0].name for row in found[:2]} == {"Storm shell", "Trail poncho"}  # the cape is out of stock
        there = asked(queries.found_from("protection from rain", "Austria", 2), "JOIN maker ON")
        assert {product.name for (product,) in there} == {"Trail poncho", "Rain cape"}
        assert [customer.name for (customer,) in asked(queries.buyers("warm clothes for winter", 1), " IN (SELECT ")] == ["Bo"]
        sold = asked(queries.sales("light in the dark", 2), "WITH near AS")
        assert [(name, total) for name, total in sold] == [("Lumo", Decimal(25))]
        like = asked(queries.others_like(poncho, ada), "FROM pgembed.search_like(")
        assert like[0][0].name == "Rain cape"
        pairs = asked(queries.same_as_offers(), "FROM pgembed.semantic_join(")
        assert [(offer.title[:7], product.name) for offer, product, _ in pairs] == [("lantern", "Camp lantern"), ("tent fo", "Alpine tent")]
        about = asked(queries.articles_about("head lamp", 1), "pgembed.search_keys(", "FROM article_link")
        assert [article.title for (article,) in about] == ["Let there be light"]
        everything = asked(queries.articles(), "LEFT OUTER JOIN ((SELECT article_link")
        assert [sorted(maker.name for maker in article.makers) for (article,) in everything] == [["Bergfried", "Nordwand"], ["Lumo"], []]
        named = asked(queries.named_in("Is Lumo older than Nordwand?"), 'FROM pgembed.link(NULL::"maker"')
        assert [maker.name for _, maker, decision in named if decision == "link"] == ["Lumo", "Nordwand"]

    # entities are the session's own, and their relations work
    with Session(shop) as session:
        lumo = session.get_one(Maker, 3)
        (product, _), *_ = queries.run(session, queries.found("head lamp", Decimal(100)))
        assert product.maker is lumo
        assert product in lumo.products
        assert [article.title for article in lumo.articles] == ["Let there be light"]
        assert session.scalars(select(Article).where(Article.makers.contains(lumo))).one().id == 2

    # values change, and the statement is not compiled again
    with shop.connect() as connection:
        known = len(shop._compiled_cache or ())
        for text, most in (("rain", 50), ("snow", 500), ("dark", 20)):
            connection.execute(queries.found(text, Decimal(most))).unique().all()
        assert len(shop._compiled_cache or ()) == known


def test_a_changed_row_is_found_by_its_new_text_and_all_goes_with_its_tables(shop: Engine, db: Connection) -> None:
    with Session(shop) as session:
        parka = session.get_one(Product, 2)
        with counted(shop) as sent:
            parka.description = "a tropical beach towel"
            session.flush()
        assert [statement.partition(" WHERE")[0] for statement in sent] == ["UPDATE product SET description=%(description)s::VARCHAR"]
        session.commit()
        (first, _), *_ = queries.run(session, queries.found("towel for the beach", Decimal(1000)))
        assert first is parka
        assert first.embedding is not None
        assert len(first.embedding) == 384

    Base.metadata.drop_all(shop)
    left = db.execute("SELECT (SELECT count(*) FROM pgembed.embeddings) + (SELECT count(*) FROM pgembed.linkers)").fetchone()
    assert left == (0,)
    Base.metadata.create_all(shop)
