"""pgembed.alembic: how vectors are compared: with which rights, what is left alone, what a changed column keeps."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.migration import MigrationContext
from alembic.operations import Operations, ops
from pgvector.sqlalchemy import BIT, VECTOR
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    cast,
    create_engine,
    event,
    func,
    make_url,
    text,
)
from sqlalchemy.pool import NullPool

from pgembed.alembic import AlterVectorColumn, CreateVectorIndex, DropVectorIndex


@pytest.fixture(scope="module")
def engine(server_url: str, _bare_clones: Any) -> Iterator[Engine]:
    """A database with pgvector alone, and an item with an index."""
    name = _bare_clones.take()
    with psycopg.connect(server_url, dbname=name, autocommit=True) as connection:
        connection.execute(
            """
            CREATE EXTENSION vector;
            CREATE TABLE item (id int PRIMARY KEY, title varchar(40), embedding vector(3));
            CREATE INDEX i ON item USING hnsw (embedding vector_l2_ops) WITH (m = 8);
            CREATE INDEX t ON item (title) WHERE id > 3;
            INSERT INTO item VALUES (1, 'a', '[1,-2,3]');
            """
        )
    made = create_engine(make_url(server_url).set(drivername="postgresql+psycopg", database=name), poolclass=NullPool)
    yield made
    made.dispose()
    _bare_clones.give_back(name)


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """A transaction that is rolled back."""
    with engine.connect() as connection:
        yield connection


@pytest.fixture
def reader(connection: Connection) -> str:
    """A role that may read the item, and is gone with the transaction."""
    name = f"pgembed_reader_{os.getpid()}"
    connection.execute(text(f"CREATE ROLE {name}; GRANT SELECT ON item TO {name}"))
    return name


def declared(type_: Any = None, index: dict[str, Any] | None = None, **options: Any) -> MetaData:
    """The model of the item."""
    made = MetaData()
    embedding = Column("embedding", VECTOR(3) if type_ is None else type_, **options)
    item = Table("item", made, Column("id", Integer, primary_key=True), Column("title", String(40)), embedding)
    Index("t", item.c.title, postgresql_where=item.c.id > 3)
    given = {"using": "hnsw", "with": {"m": 8}, "ops": {"embedding": "vector_l2_ops"}} | (index or {})
    Index("i", item.c.embedding, **{f"postgresql_{name}": value for name, value in given.items() if value})
    return made


def found(connection: Connection, metadata: MetaData, **options: Any) -> list[Any]:
    """The operations that autogenerate finds, of the one table that differs."""
    context = MigrationContext.configure(connection, opts={"target_metadata": metadata, **options})
    written: Any = produce_migrations(context, metadata).upgrade_ops
    return [operation for table in written.ops for operation in table.ops]


def test_what_is_the_same_is_nothing_and_what_is_not_is_two_operations(connection: Connection) -> None:
    assert found(connection, declared()) == []
    connection.execute(text("DROP INDEX i; CREATE INDEX i ON item USING hnsw (embedding vector_l2_ops) WITH (m = 9)"))  # by hand
    dropped, created = found(connection, declared())
    assert isinstance(dropped, DropVectorIndex)
    assert isinstance(created, CreateVectorIndex)
    assert dropped.reverse().kw["postgresql_with"] == {"m": 9}
    assert created.kw["postgresql_with"] == {"m": 8}


def test_nothing_stays_behind(connection: Connection) -> None:
    connection.execute(text("INSERT INTO item VALUES (2)"))
    found(connection, declared(VECTOR(4)))
    assert connection.scalar(text("SELECT count(*) FROM pg_class WHERE relpersistence = 't'")) == 0
    assert connection.scalar(text("SELECT count(*) FROM item")) == 2
    connection.rollback()
    assert connection.scalar(text("SELECT count(*) FROM item")) == 1


def test_a_connection_may_be_in_autocommit_mode(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        assert found(connection, declared()) == []
        assert len(found(connection, declared(VECTOR(4)))) == 1
        assert connection.scalar(text("SELECT count(*) FROM pg_class WHERE relpersistence = 't'")) == 0
    assert caplog.text == ""  # else it was compared by its texts


@pytest.mark.parametrize("hindrance", ["role", "read-only"])
def test_without_rights_alembic_compares_and_a_warning_says_so(
    hindrance: str, connection: Connection, reader: str, caplog: pytest.LogCaptureFixture
) -> None:
    if hindrance == "role":
        connection.execute(text(f"REVOKE TEMPORARY ON DATABASE {connection.engine.url.database} FROM PUBLIC"))
        connection.execute(text(f"SET ROLE {reader}"))
        said = "permission denied to create temporary tables"
    else:
        connection.execute(text("SET TRANSACTION READ ONLY"))
        said = "cannot execute CREATE TABLE AS in a read-only transaction"
    with caplog.at_level(logging.WARNING, "pgembed.alembic"):
        assert found(connection, declared()) == []
        (changed,) = found(connection, declared(VECTOR(4)))
    assert changed.modify_type.dim == 4
    assert said in caplog.text
    assert "vectors of item are compared by their texts only" in caplog.text
    connection.execute(text("SELECT 1"))
    connection.rollback()


def test_a_role_needs_no_more_than_to_read_and_temporary_tables(connection: Connection, reader: str) -> None:
    connection.execute(text(f"REVOKE CREATE ON SCHEMA public FROM PUBLIC; SET ROLE {reader}"))
    assert found(connection, declared()) == []
    assert len(found(connection, declared(index={"with": {"m": 4}}))) == 2
    connection.rollback()


def test_other_tables_and_indexes_are_alembics(connection: Connection) -> None:
    statements: list[str] = []
    event.listen(connection, "before_cursor_execute", lambda *told: statements.append(told[2]))
    plain = declared()
    plain.remove(plain.tables["item"])
    Table("other", plain, Column("id", Integer, primary_key=True), Column("title", String, index=True))
    connection.execute(text("CREATE TABLE other (id serial PRIMARY KEY, title varchar); DROP TABLE item"))
    (created,) = found(connection, plain)
    assert type(created) is ops.CreateIndexOp
    assert not any("TEMPORARY" in statement for statement in statements)
    connection.rollback()

    # Alembic takes no notice of the condition of an index, and that is left to it
    connection.execute(text("DROP INDEX t; CREATE INDEX t ON item (title)"))
    assert found(connection, declared()) == []


def test_a_project_decides_what_is_compared(connection: Connection) -> None:
    other = declared(VECTOR(4), {"with": {"m": 4}})
    assert len(found(connection, other)) == 3
    assert len(found(connection, other, include_object=lambda item, name, kind, *_: name != "i")) == 1
    assert len(found(connection, other, include_name=lambda name, kind, _: name != "i")) <= 2
    assert len(found(connection, other, include_object=lambda item, name, kind, *_: kind != "column")) == 2
    assert len(found(connection, other, compare_type=False)) == 2


def test_an_embedded_column_is_not_compared_here(connection: Connection) -> None:
    assert not any(isinstance(one, AlterVectorColumn) for one in found(connection, declared(VECTOR(4), info={"pgembed": object()})))


def test_what_the_server_refuses_is_said(connection: Connection, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "pgembed.alembic"):
        found(connection, declared(index={"ops": {"embedding": "vector_l3_ops"}}))
    assert "index i of item cannot be compared, for the server refuses what the model declares" in caplog.text
    assert 'operator class "vector_l3_ops" does not exist' in caplog.text


def test_values_are_kept_where_a_type_becomes_another(connection: Connection) -> None:
    bits = declared(BIT(3), {"ops": {"embedding": "bit_hamming_ops"}})
    changes = found(connection, bits)
    assert [type(change) for change in changes] == [DropVectorIndex, AlterVectorColumn, CreateVectorIndex]
    operations = Operations(MigrationContext.configure(connection))
    for change in changes:
        operations.invoke(change)
    assert connection.scalar(text("SELECT embedding::text FROM item")) == "101"
    assert found(connection, bits) == []
    for change in reversed([change.reverse() for change in changes]):
        operations.invoke(change)
    assert connection.scalar(text("SELECT embedding::text FROM item")) == "[1,0,1]"
    assert found(connection, declared()) == []


def test_a_projects_own_rendering_comes_first(connection: Connection) -> None:
    metadata = MetaData()
    Table("new", metadata, Column("e", VECTOR(3)), Column("b", BIT(3)))
    options = {"render_item": lambda kind, item, _: "Own()" if isinstance(item, VECTOR) else False}
    context = MigrationContext.configure(connection, opts={"target_metadata": metadata, **options})
    written: Any = produce_migrations(context, metadata).upgrade_ops
    said = render_python_code(written, migration_context=context, render_item=context.opts["render_item"])
    assert "sa.Column('e', Own()" in said
    assert "sa.Column('b', pgvector.sqlalchemy.BIT(length=3)" in said


def test_a_label_keeps_its_operator_class_in_the_text_of_a_migration(connection: Connection) -> None:
    metadata = declared()
    item = metadata.tables["item"]
    key = cast(func.binary_quantize(item.c.embedding), BIT(3)).label("q")
    Index("q", key, postgresql_using="hnsw", postgresql_ops={"q": "bit_hamming_ops"})
    said = render_python_code(ops.UpgradeOps(found(connection, metadata)))
    assert "['embedding']" not in said
    assert "('CAST(binary_quantize(embedding) AS BIT(3)) bit_hamming_ops')]" in said
    assert "postgresql_ops" not in said
