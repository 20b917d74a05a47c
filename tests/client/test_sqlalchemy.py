"""pgembed.sqlalchemy on a server: what comes back."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from mapped import Animal, Base, Colour, Dog, Maker, Thing, Upper
from pgvector import Vector
from pgvector.sqlalchemy import VECTOR
from sqlalchemy import (
    ARRAY,
    JSON,
    Boolean,
    Column,
    Date,
    DateTime,
    Engine,
    Enum,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    Table,
    Text,
    Uuid,
    bindparam,
    event,
    func,
    literal,
    select,
    text,
    true,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext import serializer
from sqlalchemy.orm import Session, aliased, joinedload, selectinload

from pgembed.sqlalchemy import (
    embed,
    embed_query,
    explain_join,
    explain_search,
    link,
    search,
    search_keys,
    search_like,
    semantic,
    semantic_join,
    semantic_join_keys,
)


@pytest.fixture
def things(db: psycopg.Connection[Any], engine: Engine) -> Iterator[Session]:
    """Five things of two makers; from [1,0,0] the order is 1, 3, 2 and 4 (equally far), 5."""
    db.execute("CREATE SCHEMA shop")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Maker(id=1, name="Acme", e=[1, 0, 0]), Maker(id=2, name="Ajax", e=[0, 1, 0])])
        session.flush()
        vectors = {1: [1, 0, 0], 2: [0, 1, 0], 3: [1, 1, 0], 4: [0, 0, 1], 5: [-1, 0, 0]}
        session.add_all(
            [
                Thing(id=number, title=f"thing {number}", price=decimal.Decimal(number * 10), maker_id=number % 2 + 1, distance=7, e=e)
                for number, e in vectors.items()
            ]
        )
        session.commit()
        db.execute("SELECT pgembed.adopt_embedding('shop.thing', 'e'), pgembed.adopt_embedding('maker', 'e')")
        yield session


@pytest.fixture
def statements(engine: Engine) -> list[str]:
    """The statements that the engine runs from now on."""
    seen: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda _c, _cursor, statement, *_: seen.append(statement))
    return seen


def ids(session: Session, hits: Any) -> list[int]:
    return list(session.scalars(select(hits.entity.id).order_by(hits.rank)))


def test_search_gives_instances_from_the_identity_map(things: Session, statements: list[str]) -> None:
    first = things.get_one(Thing, 1)
    statements.clear()
    hits = search(Thing, [1, 0, 0], k=2)
    rows = things.execute(select(hits.entity, hits.distance, hits.rank).order_by(hits.rank)).all()
    assert [(row[0].id, round(row[1], 2), row[2]) for row in rows] == [(1, 0.0, 1), (3, 0.29, 2)]
    assert rows[0][0] is first
    assert (rows[1][0].title, rows[1][0].price, rows[1][0].distance) == ("thing 3", decimal.Decimal("30.00"), 7)
    assert len(statements) == 1


def test_search_composes_with_joins_ctes_and_eager_loading(things: Session, statements: list[str]) -> None:
    hits = search(Thing, [1, 0, 0], k=3)
    joined = select(hits.entity.title, Maker.name).join(Maker, Maker.id == hits.entity.maker_id).order_by(hits.rank)
    assert things.execute(joined).all() == [("thing 1", "Ajax"), ("thing 3", "Ajax"), ("thing 2", "Acme")]
    by_relation = (
        select(Maker.name, func.count()).select_from(hits.entity).join(hits.entity.maker).group_by(Maker.name).order_by(Maker.name)
    )
    assert things.execute(by_relation).all() == [("Acme", 1), ("Ajax", 2)]
    as_target = select(Maker.name).join(hits, hits.c.maker_id == Maker.id).where(hits.rank == 1)
    assert things.scalars(as_target).all() == ["Ajax"]
    near = select(hits.entity.id, hits.distance.label("d")).where(hits.distance < 0.5).cte("near")
    assert things.execute(select(func.count(), func.max(near.c.d) < 0.5).select_from(near)).one() == (2, True)
    statements.clear()
    eager = select(hits.entity).options(selectinload(hits.entity.maker)).order_by(hits.rank).limit(2)
    assert [thing.maker.name for thing in things.scalars(eager) if thing.maker] == ["Ajax", "Ajax"]
    assert len(statements) == 2


def test_filter_is_decided_before_k(things: Session) -> None:
    assert ids(things, search(Thing, [1, 0, 0], k=2, filter=Thing.price > 25)) == [3, 4]
    assert ids(things, search(Thing, Vector([1, 0, 0]), k=9, filter=Thing.maker.has(Maker.name == "Acme"))) == [2, 4]
    assert ids(things, search(Thing, [1, 0, 0], filter=Thing.price < select(func.avg(Thing.price)).scalar_subquery())) == [1, 2]
    assert ids(things, search(Thing, [1, 0, 0], filter=Thing.id.in_([5, 1]))) == [1, 5]
    assert ids(things, search(Thing, [1, 0, 0], filter=Thing.id.in_([]))) == []
    assert ids(things, search(Thing, [1, 0, 0], k=1, filter=Thing.id.not_in([1]))) == [3]
    assert ids(things, search(Thing, [1, 0, 0], k=1, filter=Thing.title.not_in([]))) == [1]
    assert ids(things, search(Thing, [1, 0, 0], filter=Thing.price < decimal.Decimal("10.001"))) == [1]
    assert ids(things, search(Thing, [1, 0, 0], filter=Thing.title == "thing 1" + " " * 20 + "cut off")) == []
    assert ids(things, search(Thing, [1, 0, 0], filter=Thing.e.cosine_distance([0, 0, 1]) < 0.5)) == [4]


def test_statement_cache_holds_when_values_change(things: Session, engine: Engine, statements: list[str]) -> None:
    def run(top: int, titles: list[str], query: list[int], k: int) -> list[int]:
        condition = (Thing.price < top) & Thing.title.in_(titles) & ~Thing.maker.has(Maker.name == f"not {top}")
        hits = search(Thing, query, k=k, filter=condition)
        return list(things.scalars(select(hits.entity.id).order_by(hits.rank)))

    everything = [f"thing {number}" for number in range(9)]
    assert run(25, everything, [1, 0, 0], 9) == [1, 2]
    assert engine._compiled_cache is not None
    compiled_before = len(engine._compiled_cache)
    assert run(60, everything, [1, 0, 0], 2) == [1, 3]
    assert run(60, ["thing 4"], [1, 0, 0], 9) == [4]
    assert run(60, [], [0, 1, 0], 9) == []
    assert len(engine._compiled_cache) == compiled_before
    assert len(set(statements[-4:])) == 1


def test_parameters_are_given_at_execution(things: Session) -> None:
    hits = search(Thing, [1, 0, 0], filter=(Thing.price > bindparam("above", 0)) & Thing.id.in_(bindparam("ids", expanding=True)))
    statement = select(hits.entity.id).order_by(hits.rank)
    assert things.scalars(statement, {"above": 15, "ids": [1, 2, 3]}).all() == [3, 2]
    assert things.scalars(statement, {"above": 25, "ids": (1, 2, 3)}).all() == [3]
    # SQLAlchemy 2.0 loses params() on an aliased class over any subquery (2.1 does not), so this is asked of the columns
    columns = select(hits.c.id).order_by(hits.rank)
    assert things.scalars(columns.params(above=25, ids=[2, 3, 4])).all() == [3, 4]


@pytest.mark.parametrize("style", ["ISO, DMY", "German, DMY", "SQL, MDY", "Postgres, DMY"])
def test_values_of_every_type_reach_the_filter(db: psycopg.Connection[Any], engine: Engine, style: str) -> None:
    moment = datetime.datetime(2024, 2, 3, 4, 5, 6, 789012, tzinfo=datetime.timezone(datetime.timedelta(hours=5, minutes=30)))
    values: dict[str, tuple[Any, Any]] = {
        "b": (Boolean(), True),
        "d": (Date(), moment.date()),
        "ts": (DateTime(), moment.replace(tzinfo=None)),
        "tz": (DateTime(timezone=True), moment),
        "n": (Numeric(30, 10), decimal.Decimal("12345678901234567890.0123456789")),
        "raw": (LargeBinary(), b"\x00\xff'\\"),
        "u": (Uuid(), uuid.uuid4()),
        "i": (Interval(), datetime.timedelta(days=-1, microseconds=3)),
        "c": (Enum(Colour, name="colour"), Colour.BLUE),
        "f": (Enum(Colour, native_enum=False), Colour.RED),
        "j": (JSONB(), {"a": [1, None, "x"]}),
        "a": (ARRAY(Text()), ["x,y", 'q"', None, "\\"]),
        "s": (Text(), "quote ' double \" back \\ percent % $1 :x \u20ac \U0001f600"),
        "dec": (Upper(), "abc"),
        "x": (postgresql.DOUBLE_PRECISION(), 0.1),
        "inet": (postgresql.INET(), "10.0.0.1"),
        "r": (postgresql.INT4RANGE(), postgresql.Range(1, 5)),
    }
    metadata = MetaData()
    table = Table(
        "typed",
        metadata,
        Column("id", Integer, primary_key=True),
        *(Column(name, kind) for name, (kind, _) in values.items()),
        Column("e", VECTOR(3)),
    )
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(text(f"SET datestyle = '{style}'"))
        connection.execute(text("SET timezone = 'Asia/Kolkata'"))
        connection.execute(text("SET bytea_output = 'escape'"))
        connection.execute(table.insert(), {"id": 1, "e": [1, 0, 0], **{name: given for name, (_, given) in values.items()}})
        connection.execute(text("SELECT pgembed.adopt_embedding('typed', 'e')"))
        for name, (kind, given) in values.items():
            for condition in (
                table.c[name] == literal(given, kind),
                *([] if name in ("a", "j", "r", "inet") else [table.c[name].in_([given])]),
            ):
                hits = search(table, [1, 0, 0], filter=condition)
                assert connection.scalars(select(hits.c.id)).all() == [1], (name, str(condition))
        # what comes back is what the table's own types make of it; psycopg itself reads points in time in no style but ISO
        some = [hits.c[name] for name in ("c", "f", "dec", "j", "raw", "u")]
        assert list(connection.execute(select(*some)).one()) == [values[column.name][1] for column in some]
        path = search(table, [1, 0, 0], filter=table.c.j[("a", 2)].astext == "x")
        assert len(connection.execute(select(path.rank)).all()) == 1
        whole = search(table, [1, 0, 0], filter=table.c.j["a"][0].cast(Integer) == 1)
        assert len(connection.execute(select(whole.rank)).all()) == 1
        null = search(table, [1, 0, 0], filter=table.c.j == literal(JSON.NULL, JSONB()))
        assert connection.execute(select(null.rank)).all() == []


@pytest.mark.parametrize(
    "attack",
    ["' OR true --", "x') OR true OR ('", "$1", "p1", '"; DROP TABLE shop.thing; --', "\\' OR 1=1 --", "%(other)s %s %%", "{}'::text"],
)
def test_a_value_is_never_part_of_the_statement(things: Session, statements: list[str], attack: str) -> None:
    assert ids(things, search(Thing, [1, 0, 0], filter=Thing.title == attack)) == []
    assert ids(things, search(Thing, [1, 0, 0], filter=Thing.title.in_([attack]))) == []
    assert ids(things, search(Thing, [1, 0, 0], filter=Thing.title != attack, k=1)) == [1]
    assert not any(attack in statement for statement in statements if len(attack) > 2)


def test_a_statement_printed_with_its_values_is_runnable(things: Session, engine: Engine) -> None:
    hits = search(Thing, "x", filter=(Thing.title == "it's 5%") & Thing.id.in_([1]))
    printed = str(select(hits.rank).compile(engine, compile_kwargs={"literal_binds": True}))
    assert "it''s" in printed
    plain = search(Thing, [1, 0, 0], k=1, filter=(Thing.title != "it's 5% \\ :x") & Thing.id.not_in([1]))
    printed = str(select(plain.c.id).compile(engine, compile_kwargs={"literal_binds": True}))
    assert things.connection().exec_driver_sql(printed).scalars().all() == [3]


def test_search_of_a_table_has_all_its_columns(things: Session) -> None:
    table = Thing.__table__
    assert isinstance(table, Table)
    hits = search(table, [1, 0, 0], k=1, filter=table.c.price > 15)
    row = things.execute(select(hits, hits.distance.label("d"))).mappings().one()
    assert (row["id"], row["name"], row["distance"], round(row["d"], 2)) == (3, "thing 3", 7, 0.29)


def test_search_like_and_search_keys(things: Session) -> None:
    alike = search_like(Thing, 1, k=2)
    assert ids(things, alike)[0] == 3
    assert 1 not in ids(things, search_like(Thing, 1, k=9))
    keys = search_keys(Thing, [1, 0, 0], k=2, filter=Thing.price > 15)
    assert things.execute(select(keys.key, keys.rank).order_by(keys.rank)).all() == [("3", 1), ("2", 2)]


def test_a_query_or_a_key_of_another_table_is_asked_for_each_of_its_rows(things: Session, statements: list[str]) -> None:
    statements.clear()
    near = search(Thing, Maker.e, k=1, filter=Thing.price > 5).lateral()
    found = select(Maker.name, aliased(Thing, near), near.c.rank).join(near, true()).order_by(Maker.id)
    assert [(name, thing.id, rank) for name, thing, rank in things.execute(found)] == [("Acme", 1, 1), ("Ajax", 2, 1)]
    assert len(statements) == 1
    like = search_like(Thing, Maker.id, k=1).lateral()
    assert things.execute(select(Maker.id, like.c.id).join(like, true()).order_by(Maker.id)).all() == [(1, 3), (2, 3)]
    assert ids(things, search_like(Thing, things.get_one(Thing, 1), k=1)) == [3]


def test_semantic_join_gives_both_entities(things: Session) -> None:
    pairs = semantic_join(Thing.e, Maker.e, k=1)
    rows = things.execute(select(pairs.left, pairs.right, pairs.distance, pairs.rank).order_by(pairs.left.id)).all()
    assert [(left.id, right.name) for left, right, _, _ in rows][:2] == [(1, "Acme"), (2, "Ajax")]
    assert rows[0][0] is things.get(Thing, 1)
    assert rows[0][1] is things.get(Maker, 1)
    allowed = semantic_join(Thing.e, Maker.e, condition=(Thing.maker_id == Maker.id) & (Thing.price < 25))
    found = things.execute(select(allowed.left.id, allowed.right.name).order_by(allowed.left.id)).all()
    assert found == [(1, "Ajax"), (2, "Acme")]
    every = semantic_join(Thing, Maker, join_type="left", max_distance=0.0001, attributes=["name"])
    left = things.execute(select(every.left.id, every.right, every.evidence, every.is_match, every.probability)).all()
    assert len(left) == len(things.scalars(select(Thing)).all())
    assert all(row[1] is None and row[2] is None for row in left[-1:])
    near = semantic_join(Thing.e, Maker.e, k=None, max_distance=0.5, attributes=["name"])
    assert all("dense" in said for _, rank, said in things.execute(select(near.left.id, near.rank, near.evidence)).all() if rank == 1)


def test_semantic_join_of_a_class_with_itself_gives_both_entities(things: Session, statements: list[str]) -> None:
    pairs = semantic_join(Thing.e, Thing.e, k=1, not_equal=True, max_distance=0.5)
    both = select(pairs.left, pairs.right, pairs.distance).order_by(pairs.left.id)
    statements.clear()
    rows = things.execute(both).all()
    assert [(left.id, right.id, round(distance, 2)) for left, right, distance in rows] == [(1, 3, 0.29), (2, 3, 0.29), (3, 1, 0.29)]
    assert rows[0][1] is rows[2][0]
    assert rows[0][1].title == "thing 3"
    assert len(statements) == 1
    assert things.scalars(select(pairs.right.title).order_by(pairs.left.id)).all() == ["thing 3", "thing 3", "thing 1"]
    assert sorted(things.scalars(select(pairs.right.id))) == [1, 3, 3]
    makers = select(pairs.left.id, Maker.name).join(pairs.right.maker).where(pairs.right.price > 20).order_by(pairs.left.id)
    assert things.execute(makers).all() == [(1, "Ajax"), (2, "Ajax")]
    beside = select(pairs.right.id, Maker.name).join(pairs.left.maker).order_by(pairs.left.id)
    assert things.execute(beside).all() == [(3, "Ajax"), (3, "Acme"), (1, "Ajax")]
    owner = aliased(Maker)
    twice = select(Maker.name, owner.name).select_from(pairs.left).join(pairs.left.maker).join(pairs.right.maker.of_type(owner))
    assert sorted(map(tuple, things.execute(twice))) == [("Acme", "Ajax"), ("Ajax", "Ajax"), ("Ajax", "Ajax")]
    dearer = select(Maker.id).where(Maker.id == pairs.right.maker_id, pairs.right.price > pairs.left.price).exists()
    assert things.scalars(select(pairs.left.id).where(dearer).order_by(pairs.left.id)).all() == [1, 2]
    kept = select(pairs.left.id, pairs.right.price).cte("kept")
    assert things.scalar(select(func.sum(kept.c.right_price))) == 70
    eager = select(pairs.right).options(joinedload(pairs.right.maker)).where(pairs.left.id == 2)
    statements.clear()
    assert [thing.maker.name for thing in things.scalars(eager) if thing.maker] == ["Ajax"]
    assert len(statements) == 1
    every = semantic_join(Thing.e, Thing.e, k=1, not_equal=True, max_distance=0.0001, join_type="left")
    assert things.execute(select(every.left.id, every.right).order_by(every.left.id)).all() == [(number, None) for number in range(1, 6)]


def test_schema_translate_map_chooses_the_table(things: Session, db: psycopg.Connection[Any], engine: Engine) -> None:
    db.execute("CREATE SCHEMA other; CREATE TABLE other.thing (LIKE shop.thing INCLUDING ALL)")
    db.execute("INSERT INTO other.thing SELECT id + 100, name, price, distance, NULL, e FROM shop.thing")
    db.execute("SELECT pgembed.adopt_embedding('other.thing', 'e')")
    hits = search(Thing, [1, 0, 0], k=1, filter=Thing.price > 15)
    statement = select(hits.entity.id)
    for schema, expected in (("other", 103), ("shop", 3), ("other", 103)):
        with engine.connect().execution_options(schema_translate_map={"shop": schema}) as connection:
            assert connection.scalars(statement).all() == [expected]
    db.execute('CREATE SCHEMA "a % schema"; CREATE TABLE "a % schema".thing (LIKE shop.thing INCLUDING ALL)')
    db.execute("""INSERT INTO "a % schema".thing SELECT id + 200, name, price, distance, NULL, e FROM shop.thing""")
    db.execute("""SELECT pgembed.adopt_embedding('"a % schema".thing', 'e')""")
    below = Thing.price < select(func.avg(Thing.price)).scalar_subquery()
    for schema, first in (("other", 101), ("a % schema", 201), ("shop", 1)):
        with engine.connect().execution_options(schema_translate_map={"shop": schema}) as connection:
            # a table that is named as a value, and in the text of a filter
            assert connection.scalars(select(search_keys(Thing, [1, 0, 0], k=1).key)).all() == [str(first)]
            subquery = search(Thing, [1, 0, 0], filter=below & (Thing.title != "x"))
            assert connection.scalars(select(subquery.entity.id).order_by(subquery.rank)).all() == [first, first + 1]
            assert connection.scalars(select(Thing.id).where(semantic(Thing.e).nearest([1, 0, 0], k=1))).all() == [first]


def test_one_class_of_a_table_fills_k(db: psycopg.Connection[Any], engine: Engine) -> None:
    db.execute("CREATE SCHEMA shop")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Animal(id=1, e=[1, 0, 0]), Animal(id=2, e=[1, 0, 0]), Dog(id=3, e=[0, 1, 0])])
        session.commit()
        db.execute("SELECT pgembed.adopt_embedding('animal', 'e')")
        assert [type(one) for one in session.scalars(select(search(Dog, [1, 0, 0], k=1).entity))] == [Dog]
        assert ids(session, search(Animal, [1, 0, 0])) == [1, 2, 3]


def test_one_class_of_a_table_is_joined_alone(db: psycopg.Connection[Any], engine: Engine) -> None:
    db.execute("CREATE SCHEMA shop")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Animal(id=1, e=[1, 0, 0]), Dog(id=2, e=[1, 1, 0]), Dog(id=3, e=[0, 1, 0]), Maker(id=1, name="Acme", e=[1, 0, 0])])
        session.commit()
        db.execute("SELECT pgembed.adopt_embedding('animal', 'e'), pgembed.adopt_embedding('maker', 'e')")
        pairs = semantic_join(Maker.e, Dog.e, k=2, condition=Animal.id > 0)
        assert session.execute(select(pairs.left.id, pairs.right.id).order_by(pairs.rank)).all() == [(1, 2), (1, 3)]
        pairs = semantic_join(Dog.e, Maker.e)
        assert session.execute(select(pairs.left.id, pairs.right.id).order_by(pairs.left.id)).all() == [(2, 1), (3, 1)]
        pairs = semantic_join(Dog.e, Animal.e, not_equal=True)
        assert session.execute(select(pairs.left.id, pairs.right.id).order_by(pairs.left.id)).all() == [(2, 1), (3, 2)]
        keys = semantic_join_keys(Animal.e, Dog.e)
        assert session.execute(select(keys.left_key, keys.right_key).order_by(keys.left_key)).all() == [("1", "2"), ("2", "3"), ("3", "2")]
        assert session.execute(select(explain_join(Dog.e, Maker.e))).all()


def test_one_class_of_a_table_may_be_missing_and_its_line_is_there(db: psycopg.Connection[Any], engine: Engine) -> None:
    db.execute("CREATE SCHEMA shop")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Animal(id=1, e=[1, 0, 0]), Dog(id=2, e=[1, 0, 0]), Dog(id=3, e=[0, 1, 0])])
        session.add_all([Maker(id=1, name="Acme", e=[1, 0, 0]), Maker(id=2, name="Ajax", e=[0, 0, 1])])
        session.commit()
        db.execute("SELECT pgembed.adopt_embedding('animal', 'e'), pgembed.adopt_embedding('maker', 'e')")
        pairs = semantic_join(Maker.e, Dog.e, max_distance=0.1, join_type="left")
        found = session.execute(select(pairs.left, pairs.right, pairs.c.right_kind).order_by(pairs.left.id)).all()
        assert [(maker.id, dog and dog.id, kind) for maker, dog, kind in found] == [(1, 2, "dog"), (2, None, None)]
        # a left row that is of another class is none of the class without a pair
        for join_type, expected in (("left", [(2, 1), (3, None)]), ("anti", [(3, None)])):
            pairs = semantic_join(Dog.e, Maker.e, max_distance=0.1, join_type=join_type)
            assert session.execute(select(pairs.c.left_id, pairs.c.right_id).order_by(pairs.c.left_id)).all() == expected
        every = semantic_join(Dog.e, Dog.e, max_distance=0.1, join_type="left")
        assert session.execute(select(every.left.id, every.right).order_by(every.left.id)).all() == [(2, None), (3, None)]
        db.execute("SELECT pgembed.create_linker('beasts', 'animal', names => $$ CASE id WHEN 2 THEN 'Rex' ELSE 'Tom' END $$)")
        links = link(Dog, "Rex met Wuff.")
        named = session.execute(select(links.mention, links.entity, links.c.kind).order_by(links.start_char)).all()
        assert [(mention, dog and dog.id, kind) for mention, dog, kind in named] == [("Rex", 2, "dog"), ("Wuff", None, None)]
        again = serializer.loads(serializer.dumps(select(links.entity.id).where(links.entity.e.is_(None))), Base.metadata, session)
        assert session.scalars(again).all() == [None]


def test_errors_of_the_server_arrive(things: Session) -> None:
    with pytest.raises(DBAPIError) as caught:
        things.execute(select(search(Thing, [1, 0, 0], k=0).rank))
    assert getattr(caught.value.orig, "sqlstate", None) == "22023"
    things.rollback()
    with pytest.raises(DBAPIError) as caught:
        things.execute(select(search(Thing, [1, 0]).rank))
    assert getattr(caught.value.orig, "sqlstate", None) == "22000"


def test_a_text_is_embedded_with_the_columns_own_model(db: psycopg.Connection[Any], engine: Engine) -> None:
    db.execute(
        "CREATE TABLE maker (id int PRIMARY KEY, name text, e text);"
        "INSERT INTO maker VALUES (1, 'waterproof jacket'), (2, 'garden hose'), (3, 'umbrella')"
    )
    db.execute("SELECT pgembed.add_embedding('maker', 'name')")
    db.execute("CALL pgembed.refresh('maker')")
    db.execute("SELECT pgembed.create_linker('makers', 'maker', names => 'name')")
    table = Table("maker", MetaData(), Column("id", Integer, primary_key=True), Column("name", Text), Column("embedding", VECTOR(384)))
    with engine.connect() as connection:
        hits = search(table, "rain coat", k=1)
        assert connection.execute(select(hits.c.name)).scalars().all() == ["waterproof jacket"]
        connection.execute(text("SELECT pgembed.alter_embedding('maker', sync => 'manual')"))
        connection.execute(text("UPDATE maker SET name = CASE id WHEN 1 THEN 'stove' ELSE 'rain coat' END WHERE id < 3"))
        for like in (search(table, "rain coat", k=1, consistency="fresh"), search_like(table, 2, k=1, consistency="fresh")):
            assert connection.execute(select(like.c.id)).scalar_one() in (2, 3)
        keys = search_keys(table, "rain coat", k=1, consistency="fresh")
        assert connection.execute(select(keys.key)).scalar_one() == "2"
        told = dict(connection.execute(select(explain_search(table, "rain coat", consistency="fresh"))).tuples().all())
        assert told["consistency"] == "fresh: 2 rows were embedded now"
        connection.rollback()
        plain = select(table.c.name).order_by(table.c.embedding.cosine_distance(embed_query(table.c.embedding, "rain coat"))).limit(1)
        assert connection.execute(plain).scalar_one() == "waterproof jacket"
        vector = connection.execute(select(embed("rain coat"))).scalar_one()
        assert len(vector) == 384
        again = search(table, vector, k=1)
        assert connection.execute(select(again.c.name)).scalar_one() == "waterproof jacket"
        found = link(table, "She took the umbrella with her.", linker="makers")
        linked = connection.execute(select(found.mention, found.c.id, found.decision)).all()
        assert ("umbrella", 3) in [(row[0], row[1]) for row in linked]
        connection.execute(text("INSERT INTO maker VALUES (4, 'umbrella')"))
        given = link(table, "She took the umbrella with her.", spans=[(14, 22)], filter=table.c.id < 4, precision=0.5, pronouns=True)
        links = select(given.mention, given.mention_type, given.c.id, given.c.runner_up_id, given.start_char)
        assert connection.execute(links).all() == [("umbrella", "name", 3, None, 14)]


def test_async_engines(things: Session, engine: Engine) -> None:
    pytest.importorskip("greenlet")
    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

    async def run() -> list[int]:
        other = create_async_engine(engine.url)
        async with AsyncSession(other) as session:
            hits = search(Thing, [1, 0, 0], k=2, filter=Thing.price.in_([10, 30, 50]))
            found = [thing.id for thing in await session.scalars(select(hits.entity).order_by(hits.rank))]
        await other.dispose()
        return found

    assert asyncio.run(run()) == [1, 3]


def test_the_nearest_chunk_comes_along(db: psycopg.Connection[Any], engine: Engine) -> None:
    db.execute("CREATE TABLE doc (id int PRIMARY KEY, chunk text)")
    db.execute("INSERT INTO doc VALUES (1, 'A violin has four strings. A volcano throws out lava.'), (2, 'A contract binds two parties.')")
    db.execute("SELECT pgembed.add_embedding('doc', 'chunk', chunk_tokens => 10)")
    db.execute("CALL pgembed.refresh('doc')")
    doc = Table("doc", MetaData(), Column("id", Integer, primary_key=True), Column("chunk", Text))
    hits = search(doc, "an instrument")
    statement = select(hits.c.id, hits.chunk, func.substr(hits.c.chunk, hits.start_char, hits.end_char - hits.start_char)).order_by(
        hits.rank
    )
    with Session(engine) as session:
        assert session.execute(statement).first() == (1, "A violin has four strings.", "A violin has four strings.")
        keys = search_keys(doc, "an instrument", k=1)
        assert session.scalars(select(keys.key)).all() == ["1"]


def test_a_whole_row_has_no_chunk(things: Session) -> None:
    hits = search(Thing, [1, 0, 0], k=1)
    assert things.execute(select(hits.chunk, hits.start_char, hits.end_char)).one() == (None, None, None)
