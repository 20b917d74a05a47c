"""Filters of pgembed.sqlalchemy on a server: what passes is what passes the same WHERE of a plain SELECT."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from pgvector.sqlalchemy import VECTOR
from sqlalchemy import (
    Boolean,
    Column,
    Date,
    DateTime,
    Engine,
    Enum,
    ForeignKey,
    Integer,
    Interval,
    MetaData,
    Numeric,
    Table,
    Text,
    Uuid,
    all_,
    and_,
    any_,
    between,
    bindparam,
    case,
    cast,
    exists,
    extract,
    false,
    func,
    literal,
    not_,
    null,
    or_,
    select,
    text,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY, INT4RANGE, JSONB, TSVECTOR, Range, array
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, aliased, mapped_column, relationship

from pgembed import errors
from pgembed.sqlalchemy import search, search_keys, search_like

ROWS = 60
NEAR = [1, 0, 0]
START = datetime.datetime(2024, 1, 1, 12, tzinfo=datetime.UTC)


class Base(DeclarativeBase):
    pass


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"
    BLUE = "blue"


class Item(Base):
    __tablename__ = "item"
    id: Mapped[int] = mapped_column(primary_key=True)
    section: Mapped[int]
    name: Mapped[str]
    note: Mapped[str | None]
    price: Mapped[decimal.Decimal] = mapped_column(Numeric(8, 2))
    made: Mapped[datetime.date] = mapped_column(Date)
    seen: Mapped[datetime.datetime] = mapped_column(DateTime(timezone=True))
    kept: Mapped[datetime.timedelta] = mapped_column(Interval)
    uid: Mapped[uuid.UUID] = mapped_column(Uuid)
    colour: Mapped[Colour] = mapped_column(Enum(Colour, name="item_colour"))
    is_new: Mapped[bool] = mapped_column(Boolean)
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text))
    sizes: Mapped[list[int]] = mapped_column(ARRAY(Integer))
    doc: Mapped[dict[str, Any]] = mapped_column(JSONB)
    stock: Mapped[Range[int]] = mapped_column(INT4RANGE)
    words: Mapped[Any] = mapped_column(TSVECTOR)
    e: Mapped[Any] = mapped_column(VECTOR(3))
    sales: Mapped[list[Sale]] = relationship(back_populates="item")


class Sale(Base):
    __tablename__ = "sale"
    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("item.id"))
    amount: Mapped[int]
    item: Mapped[Item] = relationship(back_populates="sales")


def made(i: int) -> Item:
    return Item(
        id=i,
        section=i % 10,
        name=f"{'Red' if i % 4 else 'green'} {i}%",
        note="it's" if i % 3 else None,
        price=decimal.Decimal(i) * 5 / 4,
        made=START.date() + datetime.timedelta(days=i),
        seen=START + datetime.timedelta(hours=i),
        kept=datetime.timedelta(minutes=i),
        uid=uuid.UUID(int=i % 5),
        colour=list(Colour)[i % 3],
        is_new=i % 2 == 0,
        tags=[f"t{i % 5}", f"u{i % 7}"],
        sizes=[i % 3, i % 4],
        doc={"kind": f"k{i % 6}", "size": i % 11, "deep": {"list": [i % 3, "x"]}, "on": i % 2 == 0, "none": None},
        stock=Range(i, i + 1 + i % 9),
        words=func.to_tsvector(text("'simple'"), f"common word{i % 8}"),
        e=[1, i * 37 % 61, i],
    )


@pytest.fixture
def session(db: psycopg.Connection[Any], engine: Engine) -> Iterator[Session]:
    Base.metadata.create_all(engine)
    with Session(engine) as opened:
        opened.add_all([made(i) for i in range(ROWS)])
        opened.flush()
        opened.add_all([Sale(id=i, item_id=i * 3, amount=i) for i in range(1, 20)])
        opened.commit()
        db.execute("SELECT pgembed.adopt_embedding('item', 'e')")
        yield opened


OTHER = aliased(Item, name="other")
TABLE = Item.__table__

FILTERS: dict[str, Any] = {
    "comparison": lambda: Item.price > 30,
    "float": lambda: Item.price < 30.3,
    "between": lambda: Item.price.between(decimal.Decimal("10.5"), 40),
    "between of columns": lambda: between(Item.section, 3, Item.id),
    "in": lambda: Item.section.in_([1, 2, 3]),
    "in of nothing": lambda: Item.section.in_([]),
    "not in": lambda: Item.section.not_in([1, 2]),
    "in with null": lambda: Item.note.in_(["it's", None]),
    "in of dates": lambda: Item.made.in_([datetime.date(2024, 1, 5), datetime.date(2024, 1, 9)]),
    "in of moments": lambda: Item.seen.in_([START + datetime.timedelta(hours=5)]),
    "in of uuids": lambda: Item.uid.in_([uuid.UUID(int=2), uuid.UUID(int=3)]),
    "in of enums": lambda: Item.colour.in_([Colour.RED, Colour.BLUE]),
    "in of decimals": lambda: Item.price.in_([decimal.Decimal("12.50"), decimal.Decimal("1.25")]),
    "in of a subquery": lambda: Item.id.in_(select(Sale.item_id).where(Sale.amount > 4)),
    "date": lambda: Item.made >= datetime.date(2024, 1, 20),
    "moment": lambda: Item.seen < START.astimezone(datetime.timezone(datetime.timedelta(hours=-7))) + datetime.timedelta(hours=9),
    "interval": lambda: Item.kept > datetime.timedelta(minutes=30, microseconds=1),
    "date arithmetic": lambda: Item.seen - START > datetime.timedelta(hours=40),
    "part of a date": lambda: extract("dow", Item.made) == 3,
    "uuid": lambda: Item.uid == uuid.UUID(int=4),
    "enum": lambda: Item.colour != Colour.GREEN,
    "decimal": lambda: Item.price == decimal.Decimal("12.5"),
    "boolean column": lambda: Item.is_new,
    "not a boolean column": lambda: ~Item.is_new,
    "is true": lambda: Item.is_new.is_(True),
    "true": true,
    "false": false,
    "True": lambda: True,
    "literal True": lambda: literal(True),
    "null": null,
    "is null": lambda: Item.note.is_(None),
    "is not null": lambda: Item.note.is_not(None),
    "is distinct from": lambda: Item.note.is_distinct_from("it's"),
    "like": lambda: Item.name.like("Red %1%"),
    "ilike": lambda: Item.name.ilike("red _\\%", escape="\\"),
    "startswith with a wildcard": lambda: Item.name.startswith("Red 1%", autoescape=True),
    "contains with a wildcard": lambda: Item.name.contains("%", autoescape=True),
    "regexp": lambda: Item.name.regexp_match(r"^Red \d5%$"),
    "regexp, cases alike": lambda: Item.name.regexp_match("^RED", flags="i"),
    "concatenation": lambda: (Item.name + "-" + func.coalesce(Item.note, "")).like("%-it's"),
    "array overlap": lambda: Item.tags.overlap(["t1", "u3"]),
    "array contains": lambda: Item.tags.contains(["t1", "u3"]),
    "array contained by": lambda: Item.tags.contained_by(["t1", "t2", "u1", "u2"]),
    "any of an array column": lambda: literal("t4") == any_(Item.tags),
    "any of a value": lambda: Item.section == any_(literal([1, 5], ARRAY(Integer))),
    "all of a value": lambda: Item.section != all_(literal([1, 5], ARRAY(Integer))),
    "element of an array": lambda: Item.tags[1] == "t2",
    "array of expressions": lambda: Item.sizes == array([Item.section % 3, 1]),
    "array length": lambda: func.cardinality(Item.tags) > 1,
    "empty array": lambda: Item.tags.overlap(cast([], ARRAY(Text))),
    "json text": lambda: Item.doc["kind"].astext == "k3",
    "json number": lambda: Item.doc["size"].as_integer() > 5,
    "json boolean": lambda: Item.doc["on"].as_boolean(),
    "json cast": lambda: Item.doc["size"].astext.cast(Integer).between(2, 4),
    "json path of keys": lambda: Item.doc[("deep", "list", 0)].astext == "2",
    "json contains": lambda: Item.doc.contains({"kind": "k2", "deep": {"list": ["x"]}}),
    "json has key": lambda: Item.doc.has_key("kind"),
    "json has all": lambda: Item.doc.has_all(array(["kind", "size"])),
    "json path exists": lambda: Item.doc.path_exists("$.deep.list[*] ? (@ == 1)"),
    "json path match": lambda: Item.doc.path_match("$.size > 8"),
    "range contains": lambda: Item.stock.contains(17),
    "range overlaps": lambda: Item.stock.overlaps(Range(10, 14)),
    "range equals": lambda: Item.stock == Range(2, 5),
    "range in a range": lambda: Item.stock.contained_by(Range(None, 20)),
    "full text": lambda: Item.words.bool_op("@@")(func.to_tsquery(text("'simple'"), "word3 | word5")),
    "full text match": lambda: Item.words.match("word4", postgresql_regconfig="simple"),
    "and": lambda: and_(Item.section > 3, Item.price > 20, Item.note.is_not(None)),
    "or": lambda: or_(Item.section == 3, and_(Item.colour == Colour.RED, Item.is_new)),
    "not": lambda: not_(or_(Item.section == 3, Item.is_new)),
    "and of one": lambda: and_(true(), Item.section == 4),
    "case": lambda: case((Item.section < 5, Item.price > 20), else_=Item.is_new),
    "function": lambda: func.length(Item.name) > 7,
    "tuple": lambda: tuple_(Item.section, Item.note) == tuple_(literal(3), literal("it's")),
    "custom operator": lambda: Item.section.op("%")(4) == 1,
    "bits": lambda: Item.id.bitwise_and(5) == 4,
    "exists of a relation": lambda: Item.sales.any(Sale.amount > 6),
    "no relation": lambda: ~Item.sales.any(),
    "exists": lambda: exists().where(Sale.item_id == Item.id, Sale.amount.in_([2, 4, 6])),
    "select exists": lambda: select(Sale.id).where(Sale.item_id == Item.id).exists(),
    "scalar subquery": lambda: select(func.sum(Sale.amount)).where(Sale.item_id == Item.id).scalar_subquery() > 3,
    "subquery over the same table": lambda: (
        Item.price > select(func.avg(OTHER.price)).where(OTHER.section == Item.section).scalar_subquery()
    ),
    "exists over the same table": lambda: exists().where(OTHER.id == Item.id + 30, OTHER.colour == Colour.RED),
    "table": lambda: TABLE.c.section == 6,
    "parameter": lambda: Item.section == bindparam("section", 7),
    "literal column": lambda: literal(3) == Item.section,
    "vector distance": lambda: Item.e.l2_distance([1, 2, 3]) < 30,
}


# As plain SQL where SQLAlchemy 2.0 itself fails: it sends a path as a string, for which PostgreSQL has no such operator.
PLAIN = {
    "json path exists": lambda: text("doc @? '$.deep.list[*] ? (@ == 1)'"),
    "json path match": lambda: text("doc @@ '$.size > 8'"),
}


def test_what_passes_is_what_passes_a_plain_select(session: Session) -> None:
    passed, wrong = {}, {}
    for name, make in FILTERS.items():
        plain = set(session.scalars(select(Item.id).where(PLAIN.get(name, make)())))
        hits = search(Item, NEAR, k=ROWS, filter=make())
        found = list(session.scalars(select(hits.entity.id).order_by(hits.rank)))
        keys = search_keys(TABLE, NEAR, k=ROWS, filter=make())
        if sorted(found) != sorted(plain) or {int(key) for key in session.scalars(select(keys.key))} != plain:
            wrong[name] = (plain, found)
        passed[name] = len(plain)
    assert wrong == {}
    # the cases tell something: all rows or none only where that is what is asked
    odd = {name for name, number in passed.items() if number in (0, ROWS)}
    assert odd == {
        *("in of nothing", "true", "True", "literal True", "false", "null", "contains with a wildcard"),
        *("array length", "empty array", "json has key", "json has all"),
    }


def test_the_nearest_come_first_whatever_the_filter(session: Session) -> None:
    for name in ("in", "array overlap", "json cast", "exists of a relation", "moment"):
        condition = FILTERS[name]()
        nearest = select(Item.id).where(condition).order_by(Item.e.cosine_distance(NEAR), Item.id).limit(7)
        hits = search(Item, NEAR, k=7, filter=condition)
        assert session.scalars(select(hits.entity.id).order_by(hits.rank)).all() == session.scalars(nearest).all()
        alike = search_like(Item, 8, k=7, filter=condition)
        vector = session.get_one(Item, 8).e
        nearest = select(Item.id).where(condition, Item.id != 8).order_by(Item.e.cosine_distance(vector), Item.id).limit(7)
        assert session.scalars(select(alike.entity.id).order_by(alike.rank)).all() == session.scalars(nearest).all()


def test_values_change_and_the_statement_stays(session: Session, engine: Engine) -> None:
    statements = set()
    for sections, tags, moment in (([1], ["t1"], START), ([1, 2, 3], [], START + datetime.timedelta(hours=30)), ([], ["u1", "t2"], START)):
        condition = or_(Item.section.in_(sections), and_(Item.tags.overlap(cast(tags, ARRAY(Text))), Item.seen > moment))
        hits = search(Item, NEAR, k=ROWS, filter=condition)
        statement = select(hits.c.id)
        statements.add(str(statement.compile(engine)))
        assert set(session.scalars(statement)) == set(session.scalars(select(Item.id).where(condition)))
    assert len(statements) == 1


def test_parameters_of_lists_and_arrays(session: Session) -> None:
    condition = Item.section.in_(bindparam("sections", expanding=True)) & Item.tags.overlap(bindparam("tags", type_=ARRAY(Text)))
    hits = search(Item, NEAR, k=ROWS, filter=condition)
    statement = select(hits.c.id)
    for values in (
        {"sections": [1, 2], "tags": ["t1"]},
        {"sections": [], "tags": ["t1"]},
        {"sections": [3, 4, 5], "tags": ["u1", "t3", "t4"]},
    ):
        assert set(session.scalars(statement, values)) == set(session.scalars(select(Item.id).where(condition), values))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Item.id == Sale.item_id,
        lambda: Sale.amount > 3,
        lambda: OTHER.section == 3,
        lambda: and_(Item.section == 3, aliased(Sale).amount > 1),
    ],
    ids=["a join", "another table", "an alias of the same table", "an alias of another"],
)
def test_a_filter_over_other_tables_is_refused(session: Session, make: Any) -> None:
    with pytest.raises(errors.NotSupported, match="reads another table") as caught:
        session.scalars(select(search(Item, NEAR, filter=make()).c.id))
    assert "exists()" in str(caught.value.hint)


def test_a_filter_that_fails_on_the_server_has_its_sqlstate(session: Session) -> None:
    for condition, sqlstate in ((1 / (Item.section - 3) > 0, "22012"), (func.no_such(Item.id), "42883"), (Item.section, "42804")):
        with pytest.raises(DBAPIError) as caught:
            session.execute(select(search(Item, NEAR, filter=condition).c.id))
        assert getattr(caught.value.orig, "sqlstate", None) == sqlstate
        session.rollback()


def test_a_view_is_a_table_like_any_other(session: Session, db: psycopg.Connection[Any]) -> None:
    db.execute("CREATE VIEW recent AS SELECT id AS number, section, e AS meaning FROM item WHERE id > 20")
    view = Table(
        "recent", MetaData(), Column("number", Integer, primary_key=True), Column("section", Integer), Column("meaning", VECTOR(3))
    )
    condition = and_(view.c.section.in_([1, 2, 3]), exists().where(Sale.item_id == view.c.number))
    hits = search(view, NEAR, k=ROWS, filter=condition)
    assert set(session.scalars(select(hits.c.number))) == set(session.scalars(select(view.c.number).where(condition))) != set()
