"""pgembed.sqlalchemy.semantic and searches of classes of several tables, on a server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pytest
from mapped import compiled
from pgvector.sqlalchemy import VECTOR
from sqlalchemy import Column, Engine, ForeignKey, Integer, MetaData, Table, Text, event, exists, func, insert, select
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    aliased,
    joinedload,
    mapped_column,
    relationship,
    selectin_polymorphic,
    selectinload,
)

from pgembed import errors
from pgembed.sqlalchemy import embedded, explain_search, search, search_keys, search_like, semantic


class Base(DeclarativeBase):
    pass


class Owner(Base):
    __tablename__ = "owner"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Animal(Base):
    __tablename__ = "animal"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}  # noqa: RUF012
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str | None]
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("owner.id"))
    owner: Mapped[Owner | None] = relationship()
    e: Mapped[list[float] | None] = mapped_column(VECTOR(3), deferred=True)


class Bird(Animal):
    __tablename__ = "bird"
    __mapper_args__ = {"polymorphic_identity": "bird"}  # noqa: RUF012
    id: Mapped[int] = mapped_column(ForeignKey("animal.id"), primary_key=True)
    song: Mapped[str]
    sound: Mapped[list[float] | None] = mapped_column(VECTOR(3), deferred=True)


class Parrot(Bird):  # in the table of birds
    __mapper_args__ = {"polymorphic_identity": "parrot"}  # noqa: RUF012


class Visit(Base):
    __tablename__ = "visit"
    animal: Mapped[int] = mapped_column(primary_key=True)
    day: Mapped[str] = mapped_column(primary_key=True)
    e: Mapped[list[float] | None] = mapped_column(VECTOR(3))


@pytest.fixture
def zoo(db: psycopg.Connection[Any], engine: Engine) -> Iterator[Session]:
    """From [1,0,0] animals are 1, 3, 2, 4 by e; the birds among them are 2, 3 and 4, a parrot."""
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        ann = Owner(id=1, name="Ann")
        session.add_all(
            [
                Animal(id=1, name="Rex", e=[1, 0, 0], owner=ann),
                Bird(id=2, name="Tit", e=[0, 1, 0], song="tseep", sound=[1, 0, 0]),
                Bird(id=3, name="Kite", e=[1, 1, 0], song="pee", sound=[0, 1, 0], owner=ann),
                Parrot(id=4, name="Polly", e=[-1, 0, 0], song="hello", sound=[1, 1, 0]),
                Visit(animal=1, day="mon", e=[1, 0, 0]),
                Visit(animal=1, day='tue "late"', e=[0, 1, 0]),
                Visit(animal=2, day="mon", e=[-1, 0, 0]),
            ]
        )
        session.commit()
        db.execute(
            "SELECT pgembed.adopt_embedding('animal', 'e'), pgembed.adopt_embedding('bird', 'sound'), pgembed.adopt_embedding('visit', 'e')"
        )
        yield session


@pytest.fixture
def statements(engine: Engine) -> list[str]:
    """The statements that the engine runs from now on."""
    seen: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda _c, _cursor, statement, *_: seen.append(statement))
    return seen


def test_nearest_is_a_criterion_of_one_statement(zoo: Session, engine: Engine, statements: list[str]) -> None:
    def found(entity: Any, query: list[float], k: int, **options: Any) -> list[int]:
        near = semantic(entity.e).nearest(query, k=k, **options)
        return list(zoo.scalars(select(entity.id).where(near).order_by(semantic(entity.e).distance(query))))

    assert found(Animal, [1, 0, 0], 2) == [1, 3]
    assert engine._compiled_cache is not None
    before = len(engine._compiled_cache)
    statements.clear()
    assert found(Animal, [0, 1, 0], 1) == [2]
    assert found(Animal, [1, 0, 0], 3) == [1, 3, 2]
    assert len(statements) == 2
    assert len(engine._compiled_cache) == before
    assert found(aliased(Animal), [1, 0, 0], 2, filter=Animal.name != "Rex") == [3, 2]
    assert found(Animal, [1, 0, 0], 9, max_distance=0.5) == [1, 3]
    rex = zoo.get_one(Animal, 1)
    one = zoo.scalars(select(Animal).where(semantic(Animal.e).nearest([1, 0, 0], 1)).options(joinedload(Animal.owner))).one()
    assert one is rex
    owners = select(Owner.name).where(exists().where(Animal.owner_id == Owner.id, semantic(Animal.e).nearest([1, 0, 0], 1)))
    assert zoo.scalars(owners).all() == ["Ann"]
    composite = select(Visit.day).where(semantic(Visit.e).nearest([0, 1, 0], 1))
    assert zoo.scalars(composite).all() == ['tue "late"']


def test_nearest_of_a_subclass_is_decided_among_its_rows(zoo: Session) -> None:
    for entity, expected in ((Bird, {2, 3}), (Parrot, {4}), (aliased(Bird), {2, 3})):
        assert set(zoo.scalars(select(entity.id).where(semantic(entity.e).nearest([1, 0, 0], 2)))) == expected
    assert set(zoo.scalars(select(Bird.id).where(semantic(Bird.sound).nearest([1, 0, 0], 2)))) == {2, 4}
    assert set(zoo.scalars(select(Parrot.id).where(semantic(Parrot.sound).nearest([1, 0, 0], 1)))) == {4}


def test_distance_to_a_vector_a_column_and_a_query(zoo: Session) -> None:
    rows = zoo.execute(select(Animal.id, semantic(Animal.e).distance(np.array([1, 0, 0]))).order_by(Animal.id)).all()
    assert [(row[0], round(row[1], 2)) for row in rows] == [(1, 0), (2, 1), (3, 0.29), (4, 2)]
    between = select(Bird.id, semantic(Bird.e).distance(Bird.sound)).order_by(Bird.id)
    assert [(row[0], round(row[1], 2)) for row in zoo.execute(between)] == [(2, 1), (3, 0.29), (4, 1.71)]
    assert zoo.scalar(select(semantic(Animal.e, metric="l2").distance([1, 1, 0])).where(Animal.id == 1)) == 1
    assert zoo.scalar(select(semantic(Animal.e, metric="inner_product").distance([1, 1, 0])).where(Animal.id == 3)) == -2
    other = aliased(Animal)
    pairs = select(Animal.id, other.id).where(Animal.id < other.id, semantic(Animal.e).distance(semantic(other.e)) < 0.5)
    assert zoo.execute(pairs.order_by(Animal.id, other.id)).all() == [(1, 3), (2, 3)]


def test_distance_to_a_text_is_embedded_once_and_an_index_serves_it() -> None:
    table = Table("t", MetaData(), Column("id", Integer, primary_key=True), Column("name", Text), Column("e", VECTOR(3)))
    sql, params = compiled(select(table.c.id).order_by(semantic(table.c.e).distance("rain")).limit(3))
    assert "ORDER BY t.e <=> (SELECT pgembed.embed_query('\"t\"'::pg_catalog.regclass, content => " in sql
    assert {"rain", "e", 3} == set(params.values())
    sql, _ = compiled(select(semantic(table.c.e).distance(table.c.name)))
    assert "t.e <=> pgembed.embed_query('\"t\"'::pg_catalog.regclass, content => t.name" in sql


def test_what_cannot_be_compared_is_refused() -> None:
    keyless = Table("t", MetaData(), Column("id", Integer), Column("e", VECTOR(3)))
    with pytest.raises(errors.InvalidTableDefinition, match="t has no primary key"):
        semantic(keyless.c.e).nearest("x")
    with pytest.raises(errors.InvalidParameter, match="a column of a mapped class or of a Table is needed"):
        semantic(func.now())
    with pytest.raises(errors.InvalidParameter, match="metric must be one of"):
        semantic(keyless.c.e, metric="euclid")
    with pytest.raises(errors.NullNotAllowed):
        semantic(keyless.c.e).distance(None)

    class Page(Base):
        __tablename__ = "page"
        __table_args__ = {"info": {}}  # noqa: RUF012
        id: Mapped[int] = mapped_column(primary_key=True)
        body: Mapped[str]
        parts: Mapped[list[float] | None] = embedded(lambda: Page.body, chunk_tokens=20, metric="l2")

    try:
        with pytest.raises(errors.NotSupported, match="parts is over chunks"):
            semantic(Page.parts).distance("x")
        assert "search_keys" in compiled(select(Page).where(semantic(Page.parts).nearest("x")))[0]
    finally:
        Base.metadata.remove(Page.__table__)  # type: ignore[arg-type]


def test_a_class_of_several_tables_is_searched_by_the_one_with_the_column(zoo: Session, statements: list[str]) -> None:
    zoo.expunge_all()
    statements.clear()
    for column, expected in ((Bird.e, [3, 2, 4]), ("e", [3, 2, 4]), (Bird.sound, [2, 4, 3])):
        hits = search(Bird, [1, 0, 0], column_name=column)
        birds = zoo.scalars(select(hits.entity).order_by(hits.rank)).all()
        assert [bird.id for bird in birds] == expected
        assert {type(bird) for bird in birds} == {Bird, Parrot}
        assert {bird.song for bird in birds} == {"pee", "tseep", "hello"}
        assert {bird.name for bird in birds} == {"Kite", "Tit", "Polly"}
    assert len(statements) == 3  # and none for the attributes of the other table
    for column in (Parrot.e, Parrot.sound):
        hits = search(Parrot, [1, 0, 0], k=1, column_name=column)
        assert [type(one) for one in zoo.scalars(select(hits.entity))] == [Parrot]
    hits = search(Bird, [1, 0, 0], k=1, column_name=Bird.e, filter=Bird.name != "Kite")
    assert zoo.scalars(select(hits.entity.song)).all() == ["tseep"]
    like = search_like(Bird, 3, k=1, column_name=Bird.e)
    assert zoo.scalars(select(like.entity.name)).all() == ["Tit"]
    assert zoo.scalars(select(search_keys(Bird, [1, 0, 0], column_name=Bird.e).key)).all() == ["3", "2", "4"]
    assert zoo.execute(select(explain_search(Bird, [1, 0, 0], column_name=Bird.e))).all()
    with pytest.raises(errors.NotSupported, match="Bird is not mapped to one table") as caught:
        search(Bird, [1, 0, 0])
    assert "column_name=" in str(caught.value.hint)


def test_hits_of_a_base_class_are_of_their_own_classes_and_load_eagerly(zoo: Session, statements: list[str]) -> None:
    zoo.expunge_all()
    statements.clear()
    hits = search(Animal, [1, 0, 0], k=3)
    found = zoo.scalars(select(hits.entity).options(joinedload(hits.entity.owner)).order_by(hits.rank)).all()
    assert [(type(one), one.owner.name if one.owner else None) for one in found] == [(Animal, "Ann"), (Bird, "Ann"), (Bird, None)]
    assert len(statements) == 1
    zoo.expunge_all()
    statements.clear()
    # one at a time: SQLAlchemy 2.0 takes no other option for an alias beside selectin_polymorphic
    owners = zoo.scalars(select(hits.entity).options(selectinload(hits.entity.owner)).order_by(hits.rank)).all()
    assert [one.owner.name if one.owner else None for one in owners] == ["Ann", "Ann", None]
    assert len(statements) == 2
    zoo.expunge_all()
    statements.clear()
    again = zoo.scalars(select(hits.entity).options(selectin_polymorphic(hits.entity, [Bird])).order_by(hits.rank)).all()
    assert [one.song for one in again if isinstance(one, Bird)] == ["pee", "tseep"]
    assert len(statements) == 2
    joined = select(Owner.name, func.count()).join(hits, hits.c.owner_id == Owner.id).group_by(Owner.name)
    assert zoo.execute(joined).all() == [("Ann", 2)]


def test_schema_translate_map_says_what_it_cannot_reach(zoo: Session, engine: Engine) -> None:
    table = Table("spot", MetaData(), Column("id", Integer, primary_key=True), Column("e", VECTOR(3)), schema="tenant")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA one; CREATE TABLE one.spot (id int PRIMARY KEY, e vector(3))")
        connection.execute(insert(table.to_metadata(MetaData(), schema="one")), [{"id": 1, "e": [1, 0, 0]}])
        connection.exec_driver_sql("SELECT pgembed.adopt_embedding('one.spot', 'e')")
        translated = connection.execution_options(schema_translate_map={"tenant": "one"})
        hits = search(table, [1, 0, 0])
        assert translated.execute(select(hits.c.id)).scalars().all() == [1]
        with pytest.raises(errors.NotSupported, match="schema_translate_map"):
            translated.execute(select(table.c.id).where(semantic(table.c.e).nearest([1, 0, 0])))


def test_asyncpg_and_async_psycopg(zoo: Session, engine: Engine) -> None:
    pytest.importorskip("greenlet")
    pytest.importorskip("asyncpg")
    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

    async def run(driver: str) -> list[Any]:
        other = create_async_engine(engine.url.set(drivername=driver))
        async with AsyncSession(other) as session:
            hits = search(Animal, [1, 0, 0], k=2, filter=Animal.name.in_(["Rex", "Kite", "Tit"]))
            first = [animal.id for animal in await session.scalars(select(hits.entity).order_by(hits.rank))]
            near = await session.scalars(select(Animal.id).where(semantic(Animal.e).nearest([1, 0, 0], k=2)).order_by(Animal.id))
            far = await session.scalar(select(func.max(semantic(Animal.e).distance([1, 0, 0]))))
            vector = await session.scalar(select(Animal.e).where(Animal.id == 3))
            session.add(Animal(id=9, name="New", e=[0, 0, 1]))
            await session.flush()
            await session.rollback()
            result = [first, list(near), far, list(vector or [])]
        await other.dispose()
        return result

    for driver in ("postgresql+psycopg", "postgresql+asyncpg"):
        assert asyncio.run(run(driver)) == [[1, 3], [1, 3], 2, [1, 1, 0]]
