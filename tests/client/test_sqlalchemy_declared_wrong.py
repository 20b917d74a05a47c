"""Wrong use of pgembed.sqlalchemy.embedded, and what it leaves alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Column, Engine, Index, Integer, MetaData, Table, Text, create_engine, inspect, select
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from support import wait_until

from pgembed import errors
from pgembed.sqlalchemy import Code, complete, embedded, embedded_column, embeddings_of, refresh, search, semantic
from pgembed.testing import write_model


class Base(DeclarativeBase):
    pass


class Plain(Base):
    __tablename__ = "plain"
    id: Mapped[int] = mapped_column(primary_key=True)


def made(source: Any, **options: Any) -> MetaData:
    metadata = MetaData()
    Table("t", metadata, Column("id", Integer, primary_key=True), Column("name", Text), embedded_column("e", source, **options))
    return metadata


def test_without_the_extension_create_all_says_so(empty_db: psycopg.Connection[Any]) -> None:
    info = empty_db.info
    engine = create_engine(f"postgresql+psycopg://{info.user}@/{info.dbname}?host={info.host}&port={info.port}")
    with pytest.raises(errors.NotReady, match="no extension pgembed") as caught:
        made("name").create_all(engine)
    assert "CREATE EXTENSION pgembed CASCADE" in (caught.value.hint or "")
    assert inspect(engine).get_table_names() == []
    made("name").drop_all(engine)
    engine.dispose()


other = Table("other", MetaData(), Column("id", Integer), Column("name", Text))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (lambda: 5, "must be an SQL expression or its text, not int"),
        (lambda c: c.nothing, "cannot be evaluated: nothing"),
        (lambda: Nothing.name, "cannot be evaluated: name 'Nothing' is not defined"),  # type: ignore[name-defined]  # noqa: F821
        (lambda a, b: a, "takes 2 arguments"),
        ("  ", "is empty"),
        (lambda c: c.name + other.c.name, "reads column other.name"),
        (lambda c: select(c.name).scalar_subquery(), "has a subquery"),
    ],
)
def test_what_is_no_source_is_refused(source: Any, message: str) -> None:
    with pytest.raises(errors.PgembedError, match=message) as caught:
        embeddings_of(made(source).tables["t"])
    assert caught.value.hint


def test_what_is_refused_leaves_no_table(engine: Engine) -> None:
    with pytest.raises(errors.InvalidParameter, match="cannot be evaluated"):
        made(lambda c: c.nothing).create_all(engine)
    for metadata, sqlstate in ((made("name", model="no such model"), "22023"), (made("nothing || name"), "42703")):
        with pytest.raises(DBAPIError) as caught:
            metadata.create_all(engine)
        assert getattr(caught.value.orig, "sqlstate", None) == sqlstate
    keyless = MetaData()
    Table("t", keyless, Column("name", Text), embedded_column("e", "name", chunk_tokens=20))
    with pytest.raises(DBAPIError):
        keyless.create_all(engine)
    assert inspect(engine).get_table_names() == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sync": "later"}, "sync must be one of auto, immediate, queued, manual, not later"),
        ({"metric": "euclid"}, "metric must be one of"),
        ({"by_hand": "never"}, "by_hand must be one of"),
        ({"chunk_overlap": 3}, "chunk_overlap needs chunk_tokens"),
        ({"chunk_tokens": 30, "codec": "sign"}, "one vector for each row"),
    ],
)
def test_wrong_options_are_refused_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.InvalidParameter, match=message) as caught:
        embedded("name", **options)
    assert caught.value.hint
    with pytest.raises(errors.InvalidParameter, match="an embedded column has no option comment, index"):
        embedded("name", index=True, comment="x")
    with pytest.raises(errors.InvalidParameter, match="no option bit"):
        Code("sign", {"bit": 3})


def test_tables_that_declare_nothing_are_not_listened_to(engine: Engine) -> None:
    plain = MetaData()
    table = Table("t", plain, Column("id", Integer, primary_key=True))
    declares = Table("u", plain, Column("id", Integer, primary_key=True), embedded_column("e", "id::text"))
    for when in ("before_create", "after_create", "before_drop"):
        assert not getattr(table.dispatch, when)
        assert getattr(declares.dispatch, when)
        assert not getattr(plain.dispatch, when)
    assert not inspect(Plain).dispatch.after_update
    assert not engine.dispatch.before_cursor_execute


def test_an_index_on_the_column_may_be_declared(db: psycopg.Connection[Any], engine: Engine) -> None:
    metadata = made("name", model="all-minilm-l6-v2")
    table = metadata.tables["t"]
    Index("by_meaning", table.c.e, postgresql_using="hnsw", postgresql_ops={"e": "vector_cosine_ops"}, postgresql_with={"m": 8})
    Index("by_name", table.c.name, table.c.id)
    for _ in range(2):
        metadata.create_all(engine)
        assert db.execute("SELECT count(*) FROM pgembed._embedding").fetchone() == (1,)
        assert db.execute("SELECT indexname::text FROM pg_indexes WHERE indexname LIKE 'by%' ORDER BY 1").fetchall() == [
            ("by_meaning",),
            ("by_name",),
        ]
        metadata.drop_all(engine)
        assert db.execute("SELECT count(*) FROM pgembed._embedding").fetchone() == (0,)


def committing(engine: Engine) -> Any:
    return engine.connect().execution_options(isolation_level="AUTOCOMMIT")


class Later(DeclarativeBase):
    pass


class Item(Later):
    """A class that has learned of embeddings after its table was made."""

    __tablename__ = "item"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    embedding: Mapped[list[float] | None] = embedded(lambda: Item.name)


def test_a_table_that_is_there_already_is_completed(db: psycopg.Connection[Any], engine: Engine) -> None:
    with committing(engine) as connection, pytest.raises(errors.UnknownTable, match="table item does not exist") as caught:
        complete(connection, Item)
    assert "create_all" in (caught.value.hint or "")
    db.execute("CREATE TABLE item (id int PRIMARY KEY, name text)")
    Later.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Item(id=1, name="rain coat"), Item(id=2, name="garden hose")])
        session.commit()
        for asked in (semantic(Item.embedding).nearest("x"), Item.embedding.is_(None)):
            with pytest.raises(DBAPIError) as refused:
                session.scalars(select(Item).where(asked)).all()
            assert getattr(refused.value.orig, "sqlstate", None) in ("42703", "42704")
            session.rollback()
    with committing(engine) as connection:
        assert complete(connection, Item) == [
            "SELECT pgembed.add_embedding(target => 'item'::regclass, source => 'name')",
        ]
        assert complete(connection, Item) == []
        connection.execute(refresh(Item))
    with Session(engine) as session:
        assert session.scalars(select(search(Item, "something against rain", k=1).entity)).one().name == "rain coat"
    Later.metadata.drop_all(engine)
    assert db.execute("SELECT count(*) FROM pgembed._embedding").fetchone() == (0,)


def test_odd_texts_and_wrong_vectors_leave_nothing_half_written(db: psycopg.Connection[Any], engine: Engine) -> None:
    Later.metadata.create_all(engine)
    texts = [None, "\N{PARTY POPPER}\N{ZERO WIDTH JOINER}\N{SNOWMAN}", "word " * 200_000]
    with Session(engine) as session:
        session.add_all([Item(id=place, name=text) for place, text in enumerate(texts)])
        session.commit()
        assert session.get_one(Item, 0).embedding is None
        before = [list(session.get_one(Item, place).embedding or []) for place in (1, 2)]
        assert [len(one) for one in before] == [384, 384]
        for wrong, message in (
            ([float("nan")] * 384, "NaN not allowed in vector"),
            ([float("inf")] * 384, "infinite value not allowed"),
            ([1.0, 2.0, 3.0], "expected 384 dimensions, not 3"),
            ("hello", "expected list or ndarray"),
        ):
            item = session.get_one(Item, 1)
            item.name, item.embedding = "new", wrong  # type: ignore[assignment]
            with pytest.raises(StatementError, match=message):
                session.flush()
            session.rollback()
            assert list(session.get_one(Item, 1).embedding or []) == before[0]
        for query, message in (([float("nan")] * 384, "NaN"), ([1.0], "query has 1 dimensions"), ("", "text is empty")):
            with pytest.raises(StatementError, match=message):
                session.scalars(select(search(Item, query).entity)).all()
            session.rollback()
        with pytest.raises(errors.NullNotAllowed, match="query is None"):
            search(Item, None)  # type: ignore[arg-type]
    states = db.execute("SELECT id, pgembed.freshness(embedding, embedding_hash) FROM item ORDER BY id").fetchall()
    assert states == [(0, "null_source"), (1, "fresh"), (2, "fresh")]


def test_a_refresh_whose_session_is_ended_keeps_what_it_has_committed(
    db: psycopg.Connection[Any], engine: Engine, open_folder: Path
) -> None:
    db.execute("SELECT pgembed.register_model('tiny', %s)", [str(write_model(open_folder))])
    db.execute(
        "CREATE TABLE item (id int PRIMARY KEY, name text); INSERT INTO item SELECT n, 'item ' || n FROM generate_series(1, 800) AS n"
    )
    db.execute("SELECT pgembed.add_embedding('item', 'name', model => 'tiny', sync => 'manual')")

    def call() -> DBAPIError | None:
        with committing(engine) as connection:
            try:
                connection.execute(refresh(Item, batch_size=10))
            except DBAPIError as error:
                return error
        return None

    with ThreadPoolExecutor(1) as pool:
        called = pool.submit(call)
        wait_until(lambda: db.execute("SELECT EXISTS (SELECT FROM item WHERE embedding IS NOT NULL)").fetchone() == (True,))
        db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%CALL pgembed.refresh%' AND pid <> pg_backend_pid()"
        )
        told = called.result()
    assert told is not None
    assert (getattr(told.orig, "sqlstate", None), told.connection_invalidated) == ("57P01", True)
    half = db.execute("SELECT pgembed.freshness(embedding, embedding_hash) AS s, count(*) FROM item GROUP BY 1 ORDER BY 1").fetchall()
    assert [state for state, _ in half] == ["fresh", "pending"]
    assert half[0][1] % 10 == 0
    assert call() is None
    assert db.execute("SELECT fresh FROM pgembed.embeddings").fetchone() == (800,)
