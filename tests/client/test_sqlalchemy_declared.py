"""pgembed.sqlalchemy.embedded: columns that a model declares, on a server."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import (
    Column,
    Engine,
    FetchedValue,
    ForeignKey,
    Integer,
    MetaData,
    Table,
    Text,
    create_engine,
    event,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError, InvalidRequestError
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    Session,
    deferred,
    mapped_column,
    registry,
    undefer,
)

from pgembed import errors
from pgembed.sqlalchemy import Code, complete, creating, embedded, embedded_column, embeddings_of, provenance, refresh, search

WORDS = ("rain jacket", "umbrella", "camping stove", "garden hose")


# into the table of test_a_codec_is_completed_once_there_are_vectors
FILLED = (
    "INSERT INTO item (id, size, name, embedding) SELECT n, n, 'item ' || n, (SELECT array_agg(sin(n * d))"
    " FROM generate_series(1, 384) AS d)::vector FROM generate_series(1, 60) AS n"
)


class Base(DeclarativeBase):
    pass


class Plain(Base):
    __tablename__ = "plain"
    id: Mapped[int] = mapped_column(primary_key=True)


class Product(Base):
    __tablename__ = "product"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    description: Mapped[str]
    price: Mapped[int] = mapped_column(default=0)
    embedding: Mapped[list[float] | None] = embedded(lambda: Product.name + ": " + Product.description)


@pytest.fixture
def statements(engine: Engine) -> list[str]:
    """The statements that the engine runs from now on."""
    seen: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda _c, _cursor, statement, *_: seen.append(statement))
    return seen


@pytest.fixture
def shop(engine: Engine) -> Iterator[Session]:
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        yield session


def left(db: psycopg.Connection[Any]) -> list[str]:
    """What there is beside the extension: tables, functions, domains, and lines of the registry."""
    return [
        row[0]
        for row in db.execute(
            "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S')"
            " UNION ALL SELECT proname FROM pg_proc AS p WHERE pronamespace = 'public'::regnamespace"
            " AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e')"
            " UNION ALL SELECT typname FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typtype = 'd'"
            " UNION ALL SELECT column_name FROM pgembed._embedding UNION ALL SELECT name FROM pgembed._codec"
            " UNION ALL SELECT column_name FROM pgembed._code UNION ALL SELECT name FROM pgembed._linker"
        ).fetchall()
    ]


def test_create_all_makes_the_column_and_the_database_embeds(shop: Session, db: psycopg.Connection[Any], engine: Engine) -> None:
    told = db.execute("SELECT column_name, source, sync, metric, model FROM pgembed.embeddings").fetchall()
    assert told == [("embedding", "name || ': ' || description", "auto", "cosine", "all-minilm-l6-v2")]
    shop.add_all([Product(id=number, name=word, description="") for number, word in enumerate(WORDS)])
    shop.commit()
    hits = search(Product, "something against rain", k=2)
    assert {product.name for product in shop.scalars(select(hits.entity))} == {"rain jacket", "umbrella"}
    Base.metadata.create_all(engine)  # twice is as once
    assert db.execute("SELECT count(*) FROM pgembed.embeddings").fetchone() == (1,)


def test_a_flush_never_sends_the_vector_nor_asks_for_it(shop: Session, statements: list[str]) -> None:
    product = Product(name="umbrella", description="for rain")
    assert product.embedding is None
    shop.add(product)
    shop.flush()
    product.description = "for sun"
    shop.flush()
    shop.add_all([Product(name=word, description="", price=number) for number, word in enumerate(WORDS)])
    shop.commit()
    shop.execute(insert(Product), [{"name": "a", "description": "b"}, {"name": "c", "description": "d"}])
    shop.execute(insert(Product).values(name="a", description="b"))
    shop.execute(update(Product).where(Product.name == "a").values(price=3))
    made = postgresql.insert(Product).values(id=1, name="x", description="y")
    shop.execute(made.on_conflict_do_update(index_elements=[Product.id], set_={"name": made.excluded.name}))
    returned = shop.scalars(insert(Product).returning(Product), [{"name": "r", "description": "s"}]).one()
    assert "embedding" not in returned.__dict__
    found = shop.scalars(select(Product)).all()
    assert len(found) == 9
    assert all("embedding" not in one.__dict__ for one in found)
    assert statements
    assert not [statement for statement in statements if "embedding" in statement]


def test_the_vector_is_loaded_when_asked_for_and_read_anew_after_a_flush(shop: Session, statements: list[str]) -> None:
    product = Product(name="umbrella", description="for rain")
    shop.add(product)
    shop.flush()
    before = product.embedding
    assert before is not None
    assert len(before) == 384
    product.name = "garden hose"
    shop.flush()
    assert list(product.embedding or []) != list(before)
    now = list(product.embedding or [])
    product.price = 3
    shop.commit()
    statements.clear()
    assert product.name == "garden hose"  # loads what expired, and not the vector
    assert not [statement for statement in statements if "embedding" in statement]
    assert list(product.embedding or []) == now
    shop.expunge_all()
    statements.clear()
    loaded = shop.scalars(select(Product).options(undefer(Product.embedding))).one()
    assert list(loaded.embedding or []) == now
    assert len(statements) == 1
    assert shop.scalars(select(Product.embedding)).one() is not None


def test_a_vector_that_is_set_by_hand_is_sent(shop: Session, db: psycopg.Connection[Any], statements: list[str]) -> None:
    product = Product(id=1, name="umbrella", description="for rain")
    shop.add(product)
    shop.commit()
    product.embedding = [1.0] + [0.0] * 383
    shop.commit()
    assert [statement for statement in statements if "embedding" in statement]
    assert list(product.embedding or [])[:2] == [1, 0]
    assert db.execute("SELECT by_hand FROM pgembed.embeddings").fetchone() == (1,)


def test_merge_brings_no_vector_along_that_was_only_loaded(shop: Session, engine: Engine, statements: list[str]) -> None:
    shop.add_all([Product(id=number, name=word, description="") for number, word in enumerate(WORDS)])
    shop.commit()
    loaded = shop.scalars(select(Product).options(undefer(Product.embedding)).where(Product.id == 0)).one()
    old = loaded.embedding
    shop.close()
    with Session(engine) as other:  # what was loaded is an older text's vector by now
        other.get_one(Product, 0).name = "frying pan"
        other.commit()
    statements.clear()
    for merged in (loaded, pickle.loads(pickle.dumps(loaded))):
        with Session(engine) as session:
            again = session.merge(merged)
            session.commit()
            assert again.name == "rain jacket"
            assert again.embedding == old
    assert [one.partition(" WHERE")[0] for one in statements if "SET" in one] == ["UPDATE product SET name=%(name)s::VARCHAR"]
    loaded.embedding = [0.0] * 383 + [1.0]
    with Session(engine) as session:  # one that was set is
        session.merge(loaded)
        session.commit()
        assert session.get_one(Product, 0).embedding == [0.0] * 383 + [1.0]


def test_eager_defaults_leave_it_out(engine: Engine, statements: list[str]) -> None:
    for eager in ("auto", True):
        eagerly(engine, statements, eager)


def eagerly(engine: Engine, statements: list[str], eager: Any) -> None:
    class Own(DeclarativeBase):
        pass

    class Eager(Own):
        __tablename__ = "product"
        __mapper_args__ = {"eager_defaults": eager}  # noqa: RUF012
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]
        price: Mapped[int] = mapped_column(default=0, server_onupdate=FetchedValue())
        embedding: Mapped[list[float] | None] = embedded(lambda c: c.name)

    Own.metadata.create_all(engine)
    with Session(engine) as session:
        statements.clear()
        one = Eager(name="umbrella")
        session.add(one)
        session.flush()
        one.name = "stove"
        session.flush()
        assert sum("RETURNING" in statement for statement in statements) == (2 if eager is True else 1)
        assert not [statement for statement in statements if "embedding" in statement]
        before = list(one.embedding or [])
        one.name = "garden hose"
        session.flush()
        assert list(one.embedding or []) != before
    Own.metadata.drop_all(engine)


def test_drop_all_leaves_nothing(shop: Session, db: psycopg.Connection[Any], engine: Engine) -> None:
    assert left(db)
    Base.metadata.drop_all(engine)
    assert left(db) == []
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    db.execute("SELECT pgembed.drop_embedding('product')")  # somebody else did it
    Base.metadata.drop_all(engine)
    assert left(db) == []
    Base.metadata.create_all(engine)
    db.execute("ALTER EVENT TRIGGER pgembed_after_drop DISABLE")  # as where no superuser has installed any
    Base.metadata.drop_all(engine)
    assert left(db) == []


def test_a_column_over_chunks_has_a_table_and_no_column(db: psycopg.Connection[Any], engine: Engine) -> None:
    metadata = MetaData()

    class Document(DeclarativeBase):
        pass

    Document.metadata = metadata

    class Page(Document):
        __tablename__ = "page"
        id: Mapped[int] = mapped_column(primary_key=True)
        body: Mapped[str]
        parts: Mapped[list[float] | None] = embedded(lambda: Page.body, chunk_tokens=10, sync="immediate")

    metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Page(id=1, body="A violin has four strings. A volcano throws out lava."))
        session.commit()
        hits = search(Page, "an instrument")
        page, chunk = session.execute(select(hits.entity, hits.chunk)).one()
        assert (page.id, chunk) == (1, "A violin has four strings.")
        with pytest.raises(InvalidRequestError, match="raiseload"):
            _ = page.parts
        assert session.execute(select(Page.__table__)).one()._fields == ("id", "body")
        page.body = "A contract binds two parties."
        session.commit()
        assert session.scalars(select(search(Page, "lava", k=1).chunk)).one() == "A contract binds two parties."
    metadata.drop_all(engine)
    assert left(db) == []


def test_a_codec_is_completed_once_there_are_vectors(db: psycopg.Connection[Any], engine: Engine) -> None:
    metadata = MetaData()
    item = Table(
        "item",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("size", Integer),
        Column("name", Text),
        embedded_column(
            "embedding",
            "name",
            codec=Code("sign", {"centered": True, "measure": False}, name="item_sign", covering=("size",)),
            sync="manual",
        ),
    )
    metadata.create_all(engine)
    with engine.connect() as connection, pytest.raises(errors.NotReady, match="in a transaction"):
        complete(connection, item)
    committing = engine.execution_options(isolation_level="AUTOCOMMIT")
    with committing.connect() as connection:
        with pytest.raises(DBAPIError) as caught:
            complete(connection, item)
        assert getattr(caught.value.orig, "sqlstate", None) == "22023"
        connection.execute(text(FILLED))
        ran = complete(connection, item)
        assert [statement.split("(")[0] for statement in ran[:3]] == [
            "SELECT pgembed.train_codec",
            "SELECT pgembed.add_code",
            "CALL pgembed.fill_code",
        ]
        assert all("CREATE INDEX CONCURRENTLY" in statement for statement in ran[3:])
        assert len(ran) == 5
        assert complete(connection, item) == []
    assert db.execute("SELECT codec, is_filled, index_name IS NOT NULL, covering_index IS NOT NULL FROM pgembed.codes").fetchall() == [
        ("item_sign", True, True, True)
    ]
    metadata.drop_all(engine)
    assert left(db) == []
    pytest.importorskip("greenlet")
    pytest.importorskip("asyncpg")
    from sqlalchemy.ext.asyncio import create_async_engine

    async def over(driver: str) -> list[int]:
        other = create_async_engine(engine.url.set(drivername=driver), isolation_level="AUTOCOMMIT")
        async with other.connect() as connection:
            await connection.run_sync(metadata.create_all)
            await connection.execute(text(FILLED))
            counts = [len(await connection.run_sync(complete, item)) for _ in range(2)]
            await connection.run_sync(metadata.drop_all)
        await other.dispose()
        return counts

    assert asyncio.run(over("postgresql+asyncpg")) == [5, 0]
    assert left(db) == []


def test_schemas_translated_and_copied(db: psycopg.Connection[Any], engine: Engine) -> None:
    metadata = MetaData()
    odd = Table(
        "Odd 'name",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("the text", Text),
        embedded_column("e", lambda c: c["the text"] + " 100% 'sure' \\ :x", metric="l2"),
        schema="shop",
    )
    db.execute('CREATE SCHEMA "other ""schema"')
    translated = engine.execution_options(schema_translate_map={"shop": 'other "schema'})
    metadata.create_all(translated)
    metadata.create_all(translated)
    told = db.execute("SELECT table_name::text, source, metric FROM pgembed.embeddings").fetchall()
    assert told == [('"other ""schema"."Odd \'name"', "\"the text\" || ' 100% ''sure'' \\ :x'", "l2")]
    with translated.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(insert(odd).values({"the text": "some"}))
        connection.execute(refresh(odd))
        assert connection.scalars(select(provenance(odd).state)).all() == ["fresh"]
    metadata.drop_all(translated)
    assert db.execute("SELECT count(*) FROM pgembed._embedding").fetchone() == (0,)
    copies = MetaData()
    copy = metadata.tables["shop.Odd 'name"].to_metadata(copies, schema=None, name="copy")
    copies.create_all(engine)
    assert db.execute("SELECT table_name::text FROM pgembed.embeddings").fetchall() == [("copy",)]
    copy.drop(engine)
    assert left(db) == []


def test_mixins_dataclasses_and_inheritance(db: psycopg.Connection[Any], engine: Engine) -> None:
    class Root(MappedAsDataclass, DeclarativeBase):
        pass

    class Named(MappedAsDataclass):
        name: Mapped[str] = mapped_column(kw_only=True)
        embedding: Mapped[list[float] | None] = embedded(lambda c: c.name, sync="manual")

    class Animal(Named, Root):
        __tablename__ = "animal"
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}  # noqa: RUF012
        id: Mapped[int] = mapped_column(primary_key=True, init=False)
        kind: Mapped[str] = mapped_column(init=False)

    class Dog(Animal):  # shares the table
        __mapper_args__ = {"polymorphic_identity": "dog"}  # noqa: RUF012
        trick: Mapped[str | None] = mapped_column(default=None, kw_only=True)
        trick_embedding: Mapped[list[float] | None] = embedded(lambda: Dog.trick, sync="manual")

    class Bird(Animal):  # has a table of its own
        __tablename__ = "bird"
        __mapper_args__ = {"polymorphic_identity": "bird"}  # noqa: RUF012
        id: Mapped[int] = mapped_column(ForeignKey("animal.id"), primary_key=True, init=False)
        song: Mapped[str] = mapped_column(kw_only=True)
        song_embedding: Mapped[list[float] | None] = embedded(lambda: Bird.song, sync="manual")

    class Lasting(Named, Root):
        __abstract__ = True

    class Stone(Lasting):
        __tablename__ = "stone"
        id: Mapped[int] = mapped_column(primary_key=True, init=False)

    assert repr(Dog(name="Rex")).endswith("(name='Rex', id=None, kind='dog', trick=None)")
    Root.metadata.create_all(engine)
    told = db.execute("SELECT table_name::text, column_name, source FROM pgembed.embeddings ORDER BY 1, 2").fetchall()
    assert told == [
        ("animal", "embedding", "name"),
        ("animal", "trick_embedding", "trick"),
        ("bird", "song_embedding", "song"),
        ("stone", "embedding", "name"),
    ]
    with Session(engine) as session:
        session.add_all([Dog(name="Rex", trick="sits"), Bird(name="Tit", song="tseep"), Stone(name="Agate")])
        session.commit()
        assert session.scalars(select(Bird.song)).all() == ["tseep"]
    Root.metadata.drop_all(engine)
    assert left(db) == []


def test_imperative_mapping(db: psycopg.Connection[Any], engine: Engine, statements: list[str]) -> None:
    mapper = registry()
    table = Table(
        "maker", mapper.metadata, Column("id", Integer, primary_key=True), Column("name", Text), embedded_column("e", lambda c: c.name)
    )

    class Maker:
        id: int
        name: str

    mapper.map_imperatively(Maker, table, properties={"e": deferred(table.c.e)})
    mapper.metadata.create_all(engine)
    statements.clear()
    with Session(engine) as session:
        maker = Maker()
        maker.id, maker.name = 1, "Acme"
        session.add(maker)
        session.commit()
        assert session.scalars(select(Maker)).one() is maker
        assert not [statement for statement in statements if "maker.e" in statement or ", e" in statement]


def test_declarations_are_pickled_with_their_tables(engine: Engine, db: psycopg.Connection[Any]) -> None:
    copied: MetaData = pickle.loads(pickle.dumps(Base.metadata))
    table = copied.tables["product"]
    assert embeddings_of(table) == embeddings_of(Base.metadata.tables["product"])
    creating.listen(table)  # SQLAlchemy pickles no listeners
    copied.create_all(engine)
    assert db.execute("SELECT count(*) FROM pgembed.embeddings").fetchone() == (1,)


def test_a_user_who_is_no_superuser_declares_and_drops(
    db: psycopg.Connection[Any], engine: Engine, make_role: Callable[..., str], statements: list[str]
) -> None:
    role = make_role("owner")
    db.execute(f"CREATE SCHEMA own AUTHORIZATION {role}")
    plain = create_engine(engine.url, poolclass=engine.pool.__class__)

    @event.listens_for(plain, "connect")
    def _become(connection: Any, _: Any) -> None:
        connection.autocommit = True
        connection.execute(f"SET SESSION AUTHORIZATION {role}; SET search_path = own, public")
        connection.autocommit = False

    Base.metadata.create_all(plain)
    with Session(plain) as session:
        session.add(Product(id=1, name="umbrella", description="for rain"))
        session.commit()
        assert session.get_one(Product, 1).embedding is not None
        hits = search(Product, "rain")
        assert session.scalars(select(hits.entity.id)).all() == [1]
    Base.metadata.drop_all(plain)
    assert left(db) == []
    assert db.execute("SELECT count(*) FROM pg_proc WHERE pronamespace = 'own'::regnamespace").fetchone() == (0,)
    plain.dispose()
