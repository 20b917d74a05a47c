"""explain_search of pgembed.sqlalchemy."""

from __future__ import annotations

import decimal
from typing import Any

import psycopg
import pytest
from mapped import Base, Maker, Thing
from sqlalchemy import Engine, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from pgembed.sqlalchemy import explain_search


def test_a_search_is_explained_with_its_filter_and_its_values(db: psycopg.Connection[Any], engine: Engine) -> None:
    db.execute("CREATE SCHEMA shop")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Maker(id=1, name="Acme", e=[1, 0, 0]))
        session.flush()
        prices = {number: decimal.Decimal(number * 10) for number in (1, 2, 3)}
        session.add_all([Thing(id=n, title="a", price=price, maker_id=1, distance=7, e=[1, n, 0]) for n, price in prices.items()])
        session.commit()
        db.execute("SELECT pgembed.adopt_embedding('shop.thing', 'e')")
        told = dict(session.execute(select(explain_search(Thing, [1, 0, 0], 2, filter=Thing.price < 25))).tuples().all())
        assert (told["passing rows"], told["results"]) == ("2 (66.7 %)", "2 of 2")
        assert "'25'" in told["script"].replace('"', "'")
        failing = 1 / (Thing.price - 10) > 0
        planned = dict(session.execute(select(explain_search(Thing, [1, 0, 0], filter=failing, execute=False))).tuples().all())
        assert planned["path"] == "exact"
        with pytest.raises(DBAPIError, match="division by zero"):
            session.execute(select(explain_search(Thing, [1, 0, 0], filter=failing)))
