"""pgembed.sqlalchemy: first what is rendered, without a server, then what comes back from one."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import enum
import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from pgvector import Vector
from pgvector.sqlalchemy import VECTOR
from sqlalchemy import (
    ARRAY,
    CHAR,
    JSON,
    Boolean,
    Column,
    Date,
    DateTime,
    Engine,
    Enum,
    ForeignKey,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    TypeDecorator,
    Uuid,
    bindparam,
    event,
    exists,
    func,
    literal,
    select,
    text,
    tuple_,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import psycopg as psycopg_dialect
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, aliased, mapped_column, relationship, selectinload

from pgembed import errors
from pgembed.sqlalchemy import embed, embed_query, link, search, search_keys, search_like, semantic_join

DIALECT: Any = psycopg_dialect.dialect()  # type: ignore[no-untyped-call]


class Colour(enum.Enum):
    RED = "r"
    BLUE = "b"


class Upper(TypeDecorator[str]):
    """A type of the user's own: the database has upper case, Python has lower case."""

    impl = String(3)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return value and value.upper()

    def process_result_value(self, value: str | None, dialect: Any) -> str | None:
        return value and value.lower()


class Base(DeclarativeBase):
    pass


class Maker(Base):
    __tablename__ = "maker"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    e: Mapped[Any] = mapped_column(VECTOR(3), deferred=True)


class Thing(Base):
    """Its schema is not on the search_path, an attribute is called otherwise than its column, and a column is called distance."""

    __tablename__ = "thing"
    __table_args__ = {"schema": "shop"}  # noqa: RUF012
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column("name", String(20))
    price: Mapped[decimal.Decimal] = mapped_column(Numeric(10, 2))
    distance: Mapped[int] = mapped_column(default=0)
    maker_id: Mapped[int | None] = mapped_column(ForeignKey("maker.id"))
    maker: Mapped[Maker | None] = relationship()
    e: Mapped[Any] = mapped_column(VECTOR(3), deferred=True)


class Animal(Base):
    __tablename__ = "animal"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    e: Mapped[Any] = mapped_column(VECTOR(3), deferred=True)
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}  # noqa: RUF012


class Dog(Animal):
    __mapper_args__ = {"polymorphic_identity": "dog"}  # noqa: RUF012


class Tool(Base):
    __tablename__ = "tool"
    id: Mapped[int] = mapped_column(primary_key=True)


class Saw(Tool):
    __tablename__ = "saw"
    id: Mapped[int] = mapped_column(ForeignKey("tool.id"), primary_key=True)


def compiled(statement: Any) -> tuple[str, dict[str, Any]]:
    made = statement.compile(dialect=DIALECT)
    return " ".join(str(made).split()), made.params


def rendered(condition: Any) -> str:
    """The text that a filter becomes."""
    return str(compiled(select(search(Thing, "x", filter=condition).rank))[1]["filter_1"])


# --- without a server ---------------------------------------------------------------------------------------------------------------


def test_search_is_one_function_call_that_names_columns_and_never_the_row() -> None:
    hits = search(Thing, "rain", k=5)
    statement, values = compiled(select(hits.entity, hits.rank).order_by(hits.rank))
    assert statement == (
        "SELECT anon_1.id, anon_1.name, anon_1.price, anon_1.distance, anon_1.maker_id, anon_1.rank "
        "FROM (SELECT (anon_2.item).id AS id, (anon_2.item).name AS name, (anon_2.item).price AS price, "
        "(anon_2.item).distance AS distance, (anon_2.item).maker_id AS maker_id, (anon_2.item).e AS e, "
        "anon_2.distance AS distance_, anon_2.rank AS rank "
        'FROM pgembed.search(NULL::shop."thing", query => %(query_1)s::VARCHAR, k => %(k_1)s::INTEGER) AS anon_2) AS anon_1 '
        "ORDER BY anon_1.rank"
    )
    assert values == {"query_1": "rain", "k_1": 5}


def test_options_appear_by_name_where_they_are_given() -> None:
    hits = search(Thing, [1, 0, 0], column_name=Thing.e, max_distance=0.5, recall=0.9, exact=True)
    statement, values = compiled(select(hits.rank))
    assert "query => CAST(%(query_1)s AS VECTOR)" in statement
    assert "column_name => %(column_name_1)s::VARCHAR, max_distance => %(max_distance_1)s, recall => %(recall_1)s" in statement
    assert "exact => %(exact_1)s" in statement
    assert (values["column_name_1"], values["max_distance_1"], values["recall_1"]) == ("e", 0.5, 0.9)


def test_filter_values_become_params_and_the_filter_has_places_for_them() -> None:
    hits = search(Thing, "x", filter=(Thing.price < decimal.Decimal("9.99")) & (Thing.title == "a'b"))
    statement, values = compiled(select(hits.rank))
    assert values["filter_1"] == "thing.price < ($1->>'p1')::NUMERIC AND thing.name = ($1->>'p2')::TEXT"
    assert (
        "params => pg_catalog.jsonb_object(ARRAY['p1', 'p2'], "
        "ARRAY[CAST(CAST(%(price_1)s AS NUMERIC) AS TEXT), CAST(%(name_1)s::VARCHAR AS TEXT)])" in statement
    )
    assert (values["price_1"], values["name_1"]) == (decimal.Decimal("9.99"), "a'b")


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (Thing.id.in_([1, 2]), "thing.id = ANY (($1->>'p1')::INTEGER[])"),
        (Thing.title.not_in(["a"]), "thing.name != ALL (($1->>'p1')::TEXT[])"),
        (Thing.title.like("50%"), "thing.name LIKE ($1->>'p1')::TEXT"),
        (Thing.id % 2 == 0, "thing.id % ($1->>'p1')::INTEGER = ($1->>'p2')::INTEGER"),
        (Thing.maker_id.is_(None), "thing.maker_id IS NULL"),
        (text("price < 80"), "price < 80"),
        (text("price < :top").bindparams(top=80), "price < ($1->>'p1')::INTEGER"),
        (
            Thing.maker.has(Maker.name == "m"),
            "EXISTS (SELECT 1 FROM maker WHERE maker.id = thing.maker_id AND maker.name = ($1->>'p1')::TEXT)",
        ),
        (
            Thing.price < select(func.avg(Thing.price)).scalar_subquery(),
            "thing.price < (SELECT avg(thing.price) AS avg_1 FROM shop.thing AS thing)",
        ),
        (exists().where(Maker.id == Thing.maker_id), "EXISTS (SELECT * FROM maker WHERE maker.id = thing.maker_id)"),
    ],
)
def test_filter_text(condition: Any, expected: str) -> None:
    assert " ".join(rendered(condition).replace("(EXISTS", "EXISTS").split()).removesuffix(")") == expected.removesuffix(")")


def test_no_length_or_precision_is_cast_to() -> None:
    # a cast to VARCHAR(20) would cut a longer value off, and find what was not asked for
    assert rendered(Thing.title == "a" * 21) == "thing.name = ($1->>'p1')::TEXT"
    assert rendered(Thing.price == decimal.Decimal("1.239")) == "thing.price = ($1->>'p1')::NUMERIC"
    table = Table(
        "t", MetaData(), Column("a", Upper()), Column("b", ARRAY(String(3))), Column("c", CHAR(3)), Column("d", postgresql.BIT(3))
    )
    table.append_column(Column("f", postgresql.CITEXT()))
    columns = table.c
    condition = (
        (columns.a.in_(["abcd"]))
        & (columns.b == ["abcd"])
        & (columns.c == "abcd")
        & (columns.d == literal("1010", postgresql.BIT(3)))
        & (columns.f == "A")
    )
    statement, values = compiled(select(search(table, "x", filter=condition).rank))
    assert values["filter_1"] == (
        "t.a = ANY (($1->>'p1')::TEXT[]) AND t.b = ($1->>'p2')::TEXT[] AND t.c = ($1->>'p3')::TEXT AND t.d = ($1->>'p4')::VARBIT "
        "AND t.f = ($1->>'p5')::CITEXT"
    )
    assert "%(param_1)s::TEXT[]" in statement


def test_a_filter_over_another_table_is_refused() -> None:
    with pytest.raises(errors.NotSupported, match="the filter reads another table: maker") as caught:
        compiled(select(search(Thing, "x", filter=Maker.name == "m").rank))
    assert caught.value.hint is not None
    assert "has(" in caught.value.hint
    hits = search(Thing, "x")
    with pytest.raises(errors.NotSupported, match="another table"):
        compiled(select(search(Thing, "x", filter=hits.entity.price < 3).rank))


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (func.f(Thing.title, object()), "no type that SQLAlchemy knows"),
        (tuple_(Thing.id, Thing.price).in_([(1, 2)]), "cannot compare tuples"),
    ],
)
def test_what_cannot_be_sent_is_refused(condition: Any, message: str) -> None:
    with pytest.raises(errors.NotSupported, match=message) as caught:
        compiled(select(search(Thing, "x", filter=condition).rank))
    assert caught.value.hint


def test_a_filter_is_an_expression_not_a_text() -> None:
    with pytest.raises(ArgumentError, match="explicitly declared as text"):
        search(Thing, "x", filter="price < 80")


def test_targets_that_are_no_table_are_refused() -> None:
    with pytest.raises(errors.InvalidParameter, match="a mapped class or a Table"):
        search("thing", "x")  # type: ignore[call-overload]
    with pytest.raises(errors.InvalidParameter, match="a mapped class or a Table"):
        search(aliased(Thing), "x")
    with pytest.raises(errors.NotSupported, match="Saw is not mapped to one table"):
        search(Saw, "x")
    with pytest.raises(errors.InvalidParameter, match="a column"):
        semantic_join(Thing, Maker.name)
    with pytest.raises(errors.NullNotAllowed):
        search(Thing, None)
    with pytest.raises(errors.InvalidParameter, match="one text"):
        embed(["a", "b"])  # type: ignore[arg-type]


def test_a_subclass_in_one_table_is_part_of_the_filter() -> None:
    values = compiled(select(search(Dog, "x", filter=Dog.id > 3).entity))[1]
    assert values["filter_1"] == "animal.id > ($1->>'p1')::INTEGER AND animal.kind = ANY (($1->>'p2')::TEXT[])"


def test_names_that_would_be_read_as_types_are_quoted() -> None:
    table = Table("position", MetaData(), Column("id", Integer), Column("Odd Name", Integer))
    statement, values = compiled(select(search(table, "x", filter=table.c["Odd Name"] > 1)))
    assert 'NULL::"position"' in statement
    assert '(anon_2.item)."Odd Name" AS "Odd Name"' in statement
    assert values["filter_1"] == "position.\"Odd Name\" > ($1->>'p1')::INTEGER"


def test_functions() -> None:
    nearest = select(Thing.id).order_by(Thing.e.cosine_distance(embed_query(Thing.e, "rain"))).limit(3)
    assert (
        "ORDER BY shop.thing.e <=> pgembed.embed_query('shop.\"thing\"'::pg_catalog.regclass, content => %(content_1)s::VARCHAR, "
        "column_name => %(column_name_1)s::VARCHAR)" in compiled(nearest)[0]
    )
    statement, _ = compiled(select(embed("a", model="m", role="document")))
    assert "pgembed.embed(content => %(content_1)s::VARCHAR, model => %(model_1)s::VARCHAR, role => %(role_1)s::VARCHAR)" in statement
    assert "pgembed.search_keys('shop.\"thing\"'::pg_catalog.regclass, query =>" in compiled(select(search_keys(Thing, "x")))[0]
    assert 'pgembed.search_like(NULL::shop."thing", key => ' in compiled(select(search_like(Thing, 42)))[0]
    assert compiled(select(search_like(Thing, (1, uuid.UUID(int=0)))))[1]["key_1"] == '[1, "00000000-0000-0000-0000-000000000000"]'
    assert 'pgembed.link(NULL::"maker", content => ' in compiled(select(link(Maker, "IBM").entity))[0]


def test_semantic_join_names_both_sides() -> None:
    pairs = semantic_join(Thing.title, Maker.name, k=2, mapping="one_to_one", precision=0.9, condition=Thing.maker_id == Maker.id)
    statement, values = compiled(select(pairs.left, pairs.right, pairs.distance, pairs.is_match))
    assert statement.startswith("SELECT anon_1.left_id, anon_1.left_name,")
    assert 'pgembed.semantic_join(NULL::shop."thing", NULL::"maker", left_column => ' in statement
    assert '"precision" => ' in statement
    assert values["condition_1"] == "l.maker_id = r.id"
    assert (values["left_column_1"], values["right_column_1"], values["mapping_1"]) == ("name", "name", "one_to_one")
    itself = semantic_join(Thing.title, Thing.title)
    assert {"left_id", "right_id"} <= set(itself.c.keys())
    assert not hasattr(itself, "left")
    with pytest.raises(errors.NotSupported, match="cannot tell"):
        semantic_join(Thing.title, Thing.title, condition=Thing.id > 3)


def test_cache_key_changes_with_the_shape_and_not_with_a_value() -> None:
    def key(condition: Any, query: Any = "x", **kw: Any) -> Any:
        made = select(search(Thing, query, filter=condition, **kw).rank)._generate_cache_key()
        assert made is not None
        return made.key

    assert key(Thing.price < 1) == key(Thing.price < 2, "y", k=3)
    assert key(Thing.id.in_([1])) == key(Thing.id.in_([1, 2, 3]))
    assert key(Thing.price < 1) != key(Thing.price > 1)
    assert key(Thing.price < 1) != key(Thing.distance < 1)
    assert key(None) != key(None, column_name="e")
    assert key(None) != key(None, query=[1, 2, 3])


def test_a_literal_percent_sign_is_sent_once() -> None:
    assert rendered(text("name LIKE '5%'")) == "name LIKE '5%'"


def test_statements_can_be_printed_for_any_dialect() -> None:
    assert "pgembed.search(" in str(select(search(Thing, "x", filter=Thing.price < 3)))


def test_importing_installs_no_listener_and_no_server_code() -> None:
    script = (
        "import sys, sqlalchemy, sqlalchemy.orm, pgvector.sqlalchemy\n"
        "from sqlalchemy.event import registry\n"
        "before = len(registry._key_to_collection)\n"
        "import pgembed.sqlalchemy\n"
        "assert len(registry._key_to_collection) == before\n"
        "assert not [name for name in sys.modules if name.startswith(('pgembed.udf', 'pgembed.models', 'onnxruntime', 'alembic'))]\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)


# --- on a server --------------------------------------------------------------------------------------------------------------------


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


def test_semantic_join_gives_both_entities(things: Session) -> None:
    pairs = semantic_join(Thing.e, Maker.e, k=1)
    rows = things.execute(select(pairs.left, pairs.right, pairs.distance, pairs.rank).order_by(pairs.left.id)).all()
    assert [(left.id, right.name) for left, right, _, _ in rows][:2] == [(1, "Acme"), (2, "Ajax")]
    assert rows[0][0] is things.get(Thing, 1)
    assert rows[0][1] is things.get(Maker, 1)
    allowed = semantic_join(Thing.e, Maker.e, condition=(Thing.maker_id == Maker.id) & (Thing.price < 25))
    found = things.execute(select(allowed.left.id, allowed.right.name).order_by(allowed.left.id)).all()
    assert found == [(1, "Ajax"), (2, "Acme")]


def test_schema_translate_map_chooses_the_table(things: Session, db: psycopg.Connection[Any], engine: Engine) -> None:
    db.execute("CREATE SCHEMA other; CREATE TABLE other.thing (LIKE shop.thing INCLUDING ALL)")
    db.execute("INSERT INTO other.thing SELECT id + 100, name, price, distance, NULL, e FROM shop.thing")
    db.execute("SELECT pgembed.adopt_embedding('other.thing', 'e')")
    hits = search(Thing, [1, 0, 0], k=1, filter=Thing.price > 15)
    statement = select(hits.entity.id)
    for schema, expected in (("other", 103), ("shop", 3), ("other", 103)):
        with engine.connect().execution_options(schema_translate_map={"shop": schema}) as connection:
            assert connection.scalars(statement).all() == [expected]
    subquery = search(Thing, [1, 0, 0], filter=Thing.price < select(func.avg(Thing.price)).scalar_subquery())
    with engine.connect().execution_options(schema_translate_map={"shop": "other"}) as connection:
        with pytest.raises(errors.NotSupported, match="schema_translate_map"):
            connection.execute(select(subquery.rank))
        with pytest.raises(errors.NotSupported, match="schema_translate_map"):
            connection.execute(select(search_keys(Thing, [1, 0, 0]).rank))


def test_one_class_of_a_table_fills_k(db: psycopg.Connection[Any], engine: Engine) -> None:
    db.execute("CREATE SCHEMA shop")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Animal(id=1, e=[1, 0, 0]), Animal(id=2, e=[1, 0, 0]), Dog(id=3, e=[0, 1, 0])])
        session.commit()
        db.execute("SELECT pgembed.adopt_embedding('animal', 'e')")
        assert [type(one) for one in session.scalars(select(search(Dog, [1, 0, 0], k=1).entity))] == [Dog]
        assert ids(session, search(Animal, [1, 0, 0])) == [1, 2, 3]


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
    db.execute("SELECT pgembed.create_linker('makers', 'maker', 'name')")
    table = Table("maker", MetaData(), Column("id", Integer, primary_key=True), Column("name", Text), Column("embedding", VECTOR(384)))
    with engine.connect() as connection:
        hits = search(table, "rain coat", k=1)
        assert connection.execute(select(hits.c.name)).scalars().all() == ["waterproof jacket"]
        plain = select(table.c.name).order_by(table.c.embedding.cosine_distance(embed_query(table.c.embedding, "rain coat"))).limit(1)
        assert connection.execute(plain).scalar_one() == "waterproof jacket"
        vector = connection.execute(select(embed("rain coat"))).scalar_one()
        assert len(vector) == 384
        again = search(table, vector, k=1)
        assert connection.execute(select(again.c.name)).scalar_one() == "waterproof jacket"
        found = link(table, "She took the umbrella with her.", linker="makers")
        linked = connection.execute(select(found.mention, found.c.id, found.decision)).all()
        assert ("umbrella", 3) in [(row[0], row[1]) for row in linked]


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
