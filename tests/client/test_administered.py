"""Everything that Python and its tools do with pgembed, for a login role that owns a schema and may do nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from administered import KEEPER, Place, prepared
from migrated import Project
from pgvector.sqlalchemy import VECTOR
from sqlalchemy import Column, Engine, Index, Integer, MetaData, Table, Text, create_engine, inspect, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import NullPool

import pgembed.psycopg
import pgembed.sqlalchemy as ours
from pgembed import errors
from pgembed.sqlalchemy import Code, Linker, complete, embedded, linked, search, semantic_join, views
from pgembed.testing import databases


class Base(DeclarativeBase):
    pass


class Maker(Base):
    __tablename__ = "maker"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Product(Base):
    __tablename__ = "product"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    embedding: Mapped[list[float] | None] = embedded(lambda: Product.name, codec=Code("sign", name="product_sign"))


class Note(Base):
    __tablename__ = "note"
    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str]
    makers: Mapped[list[Maker]] = linked("note_link")


Linker("makers", Maker, names=lambda: Maker.name)

WORDS = ("rain jacket", "rain coat", "camping stove", "garden hose", "wool hat", "tent pole")
MADE = ["maker", "note", "product"]


@pytest.fixture(scope="module")
def _place(server_url: str, _installed_clones: Any) -> Iterator[Place]:
    with prepared(server_url, _installed_clones) as made:
        yield made


@pytest.fixture
def place(_place: Place) -> Place:
    """The database, with nothing of the keeper's in it but an empty schema."""
    _place.tidy()
    return _place


@pytest.fixture
def shop(place: Place) -> Iterator[Engine]:
    """An engine of the keeper's, after create_all() and some rows, which are embedded."""
    engine = create_engine(place.sqlalchemy(), poolclass=NullPool)
    fill(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def project(place: Place, tmp_path: Path) -> Iterator[Project]:
    """Migrations, which the keeper runs."""
    made = Project(tmp_path / "migrations", place.sqlalchemy())
    yield made
    made.close()


def fill(engine: Engine) -> None:
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Maker(id=1, name="Contoso"), Maker(id=2, name="Fabrikam")])
        session.add_all(Product(id=n, name=f"{WORDS[n % len(WORDS)]} {n}") for n in range(40))
        session.add_all([Note(id=1, body="Fabrikam makes hats."), Note(id=2, body="Nothing of note.")])
        session.commit()
    with committing(engine) as connection:
        connection.execute(ours.refresh(Product))


def committing(engine: Engine) -> Any:
    return engine.connect().execution_options(isolation_level="AUTOCOMMIT")


def test_the_keeper_is_nobody(place: Place) -> None:
    """What the other tests rest on."""
    with place.connect() as keeper:
        assert keeper.execute("SELECT session_user::text, current_setting('is_superuser')").fetchone() == (KEEPER, "off")
        for refused in (
            "CREATE DATABASE x",
            "CREATE TABLE public.x ()",
            "CREATE FUNCTION f() RETURNS int LANGUAGE plpython3u AS 'return 1'",
            "UPDATE pgembed._embedding SET source = 'x'",
            "ALTER EXTENSION pgembed UPDATE",
        ):
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.WrongObjectType)):
                keeper.execute(refused)


def copy_codes(place: Place) -> None:
    """Codes and vectors, out and in again, in binary."""
    with place.connect() as keeper:
        pgembed.psycopg.register(keeper)
        cursor = keeper.cursor()
        keeper.execute("CREATE TABLE copied (id int, code pgembed.binvec(64), e vector(64))")
        with cursor.copy("COPY (SELECT id, product_sign, embedding FROM product) TO STDOUT WITH (FORMAT BINARY)") as copy:
            copy.set_types(["int4", "pgembed.binvec", "vector"])
            rows = list(copy.rows())
        with cursor.copy("COPY copied FROM STDIN WITH (FORMAT BINARY)") as copy:
            copy.set_types(["int4", "pgembed.binvec", "vector"])
            for row in rows:
                copy.write_row(row)
        same = "SELECT count(*) FROM copied JOIN product USING (id) WHERE code = product_sign AND e = embedding"
        assert keeper.execute(same).fetchone() == (40,)
        pgembed.psycopg.as_numpy(cursor)
        (code,) = cursor.execute("SELECT code FROM copied LIMIT 1", binary=True).fetchone() or (None,)
        assert isinstance(code, np.ndarray)
        keeper.execute("DROP TABLE copied")


def test_models_are_declared_searched_joined_linked_copied_and_dropped(shop: Engine, place: Place, project: Project) -> None:
    with committing(shop) as connection:
        ran = complete(connection, Product)
        assert [statement.split("(")[0] for statement in ran][:3] == [
            "SELECT pgembed.train_codec",
            "SELECT pgembed.add_code",
            "CALL pgembed.fill_code",
        ]
        assert complete(connection, Product) == []
        connection.execute(ours.link_table("makers", Note, Note.body, into="note_link"))
    with Session(shop) as session:
        hits = search(Product, "a coat for the rain", k=3, filter=Product.id < 30)
        assert {product.name.rpartition(" ")[0] for product in session.scalars(select(hits.entity))} == {"rain coat"}
        near = ours.semantic(Product.embedding).nearest("garden hose", k=2)
        assert {name[:6] for name in session.scalars(select(Product.name).where(near))} == {"garden"}
        pairs = semantic_join(Product.embedding, Product.embedding, k=2)
        assert len(session.execute(select(pairs.c.left_id, pairs.c.right_id)).all()) == 80
        assert [note.id for note in session.scalars(select(Note).where(Note.makers.any(Maker.name == "Fabrikam")))] == [1]
        assert session.execute(select(views.codes.c.column_name, views.codes.c.is_filled)).all() == [("product_sign", True)]
        links = ours.link(Maker, "Contoso pays.")
        assert [maker.id for maker in session.scalars(select(links.entity))] == [1]
        product = session.get_one(Product, 1)
        product.name = "garden gnome"
        session.commit()
        assert len(product.embedding or []) == 64
    assert inspect(shop).default_schema_name == KEEPER
    copy_codes(place)
    project.use(Base.metadata)
    assert project.differences() == []
    Base.metadata.drop_all(shop)
    assert place.left() == []


def test_fixtures_need_the_right_to_make_databases_and_say_so(place: Place) -> None:
    here = databases.Place.of(place.url)
    for source, hint in ((None, "CREATEDB. Or name"), (place.name, "IS_TEMPLATE true. Or name")):
        with (
            pytest.raises(errors.NotReady, match="permission denied to create database") as caught,
            databases.template(here, source=source),
        ):
            pass
        assert caught.value.hint is not None
        assert f'ALTER ROLE "{KEEPER}"' in caught.value.hint
        assert hint in caught.value.hint


# What only an administrator may do: open files, call URLs, decide for everybody.
CLOSED = {"drop_model", "grant_model", "register_model", "revoke_model", "set_default_model", "set_filter_log", "set_threads"}


def test_every_function_answers_or_says_whose_it_is(shop: Engine) -> None:
    """All that tells of what is there, in one go; the rest is in the other tests."""
    asked: list[Any] = [
        ours.advise(Product),
        ours.chunk("one. two. three."),
        ours.check_query("SELECT id FROM product ORDER BY embedding <=> (SELECT pgembed.embed('rain')) LIMIT 3"),
        ours.code_indexes(Product),
        ours.deduplicate(Product),
        ours.distance(Product, 1, Product, 2),
        ours.doctor(),
        ours.embed("rain"),
        ours.embed_query(Product, "rain"),
        ours.explain_join(Product, Product),
        ours.explain_link("makers", "Contoso"),
        ours.explain_search(Product, "rain"),
        ours.hubness(Product),
        ours.joinable_columns(Product, sampled=True),
        ours.link_keys("makers", "Contoso"),
        ours.provenance(Product),
        ours.recommend_codec(Product),
        ours.repair(),
        ours.retry_failed(Product),
        ours.search_keys(Product, "rain"),
        ours.token_count("rain"),
        ours.version(),
        ours.topics(Product),
        ours.wait_for(Product),
    ]
    with committing(shop) as connection:
        complete(connection, Product)
    with Session(shop) as session:
        for one in asked:
            session.execute(select(one)).all()
        for name in views.__all__:
            session.execute(select(getattr(views, name))).all()
        session.commit()
    with committing(shop) as connection:
        connection.execute(ours.work(batch_size=10))
        connection.execute(ours.calibrate(Product))
        for refused in (
            ours.set_default_model("all-minilm-l6-v2"),
            ours.drop_model("all-minilm-l6-v2"),
            ours.set_threads(2),
            ours.set_filter_log(True),
            ours.register_model("x", "/tmp/x"),
            ours.grant_model("x"),
            ours.revoke_model("x"),
        ):
            with pytest.raises(DBAPIError, match="permission denied for function") as caught:
                connection.execute(select(refused))
            assert getattr(caught.value.orig, "sqlstate", None) == "42501"
        closed = connection.execute(
            text(
                "SELECT proname FROM pg_proc WHERE pronamespace = 'pgembed'::regnamespace AND proname !~ '^_'"
                " AND NOT has_function_privilege(oid, 'EXECUTE')"
            )
        )
        assert set(closed.scalars()) == CLOSED


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_asynchronous_engines(place: Place, driver: str) -> None:
    async def run() -> list[str]:
        engine = create_async_engine(place.sqlalchemy(driver), poolclass=NullPool)
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        async with AsyncSession(engine) as session:
            session.add_all(Product(id=n, name=word) for n, word in enumerate(WORDS))
            await session.commit()
        async with engine.connect() as connection:
            connection = await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.execute(ours.refresh(Product))
        async with AsyncSession(engine) as session:
            hits = search(Product, "rain coat", k=1, filter=Product.id < 5)
            found = [product.name for product in await session.scalars(select(hits.entity))]
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.drop_all)
        await engine.dispose()
        return found

    assert asyncio.run(run()) == ["rain coat"]
    assert place.left() == []


def test_migrations_by_hand(project: Project, place: Place) -> None:
    with place.connect() as keeper:
        keeper.execute("CREATE TABLE product (id int PRIMARY KEY, name text); CREATE TABLE maker (id int PRIMARY KEY, name text)")
        keeper.execute("INSERT INTO product SELECT n, 'product ' || n FROM generate_series(1, 30) AS n")
        project.config.attributes["options"]["transaction_per_migration"] = True
        project.write("a", "op.create_embedding('product', 'name', refresh=True)", "op.drop_embedding('product')")
        project.write("b", "op.train_codec('c', 'product', 'sign', required=True)", "op.drop_codec('c')", after="a")
        project.write("c", "op.add_code('product', 'c', fill=True)", "op.drop_code('product', 'c')", after="b")
        project.write(
            "d",
            "op.create_linker('makers', 'maker', names='name')\nop.alter_embedding('product', sync='manual', existing_sync='auto')",
            "op.drop_linker('makers')",
            after="c",
        )
        project.upgrade()
        assert keeper.execute("SELECT fresh, sync FROM pgembed.embeddings").fetchall() == [(30, "manual")]
        assert keeper.execute("SELECT is_filled, index_name IS NULL FROM pgembed.codes").fetchall() == [(True, False)]
        assert keeper.execute("SELECT name, status FROM pgembed.linkers").fetchall() == [("makers", "ready")]
        project.downgrade()
        keeper.execute("DROP TABLE product, maker")
    assert place.left() == []


def test_autogenerate_is_empty_after_its_migration(project: Project, place: Place) -> None:
    project.use(Base.metadata)
    project.autogenerate()
    project.upgrade()
    assert project.differences() == []
    project.downgrade()
    assert place.left() == []


def test_vectors_are_compared_without_the_right_to_temporary_tables(
    project: Project, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    metadata = MetaData()
    table = Table("item", metadata, Column("id", Integer, primary_key=True), Column("name", Text), Column("e", VECTOR(3)))
    Index("item_e", table.c.e, postgresql_using="hnsw", postgresql_ops={"e": "vector_cosine_ops"}, postgresql_with={"m": 8})
    project.use([metadata, Base.metadata])
    place.administrator.execute(f'REVOKE TEMP ON DATABASE "{place.name}" FROM PUBLIC')
    try:
        project.autogenerate()
        project.upgrade()
        assert project.differences() == []
        assert "permission denied to create temporary tables" in caplog.text
        project.downgrade()
        assert place.left() == []
    finally:
        place.administrator.execute(f'GRANT TEMP ON DATABASE "{place.name}" TO PUBLIC')
