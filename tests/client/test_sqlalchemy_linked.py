"""Links as relationships: what is rendered before there is a table of links, and what a server answers."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from mapped import compiled
from sqlalchemy import Engine, ForeignKey, Table, create_engine, event, func, inspect, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    Session,
    aliased,
    joinedload,
    mapped_column,
    relationship,
    selectinload,
)
from sqlalchemy.pool import NullPool

from pgembed import errors
from pgembed.sqlalchemy import LinkRow, correct_link, link_rows, link_table, linked, views


class Base(DeclarativeBase):
    pass


class Article(Base):
    __tablename__ = "article"
    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str | None]
    companies: Mapped[list[Company]] = linked("article_link", "Company", order_by="Company.name")
    held: Mapped[list[Company]] = linked("article_link", corrected=True)
    all_companies: Mapped[list[Company]] = linked("article_link", decisions=())
    doubtful: Mapped[list[Company]] = linked("article_link", decisions=("review",))
    mentions: Mapped[list[Mention]] = relationship(viewonly=True, order_by="Mention.start_char")


class Company(Base):
    __tablename__ = "company"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    articles: Mapped[list[Article]] = linked("article_link", reverse=True)


class Mention(LinkRow, Base):
    __table__ = link_rows("article_link", Article, Company)
    company: Mapped[Company | None] = relationship(viewonly=True)


class Leaf(Base):
    """Its schema is not on the search_path, and its key has two columns."""

    __tablename__ = "leaf"
    __table_args__ = {"schema": "press"}  # noqa: RUF012  SQLAlchemy reads it as it stands
    volume: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column("no", primary_key=True)
    words: Mapped[str]
    towns: Mapped[list[Town]] = linked("leaf_link", schema="press", lazy="selectin")
    rivers: Mapped[list[River]] = linked("leaf_link", schema="press", entity_key=["code"])
    related: Mapped[list[Leaf]] = linked("leaf_leaf", schema="press")


class Town(Base):
    __tablename__ = "town"
    __table_args__ = {"schema": "press"}  # noqa: RUF012
    country: Mapped[str] = mapped_column(primary_key=True)
    town_no: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class River(Base):
    """The linker knows its rows by a code, not by the primary key."""

    __tablename__ = "river"
    __table_args__ = {"schema": "press"}  # noqa: RUF012
    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    leaves: Mapped[list[Leaf]] = linked("leaf_link", schema="press", reverse=True, entity_key=[code])


PAIRS = (
    "(SELECT article_link.article_id AS article_id, article_link.company_id AS company_id FROM article_link"
    " WHERE article_link.company_id IS NOT NULL AND article_link.decision IN (__[POSTCOMPILE_decision_1]) AND NOT (EXISTS (SELECT *"
    " FROM article_link AS article_link_1 WHERE article_link_1.article_id = article_link.article_id"
    " AND article_link_1.company_id = article_link.company_id AND article_link_1.decision IN (__[POSTCOMPILE_decision_2])"
    " AND (article_link_1.start_char, article_link_1.end_char) < (article_link.start_char, article_link.end_char))))"
)


def test_the_links_are_asked_for_what_they_decide_and_each_row_comes_once() -> None:
    statement, values = compiled(select(Article.id).where(Article.companies.any(Company.name == "IBM")))
    assert statement == (
        f"SELECT article.id FROM article WHERE EXISTS (SELECT 1 FROM company, {PAIRS} AS anon_1"
        " WHERE anon_1.article_id = article.id AND anon_1.company_id = company.id AND company.name = %(name_1)s::VARCHAR)"
    )
    assert values == {"decision_1": ["link"], "decision_2": ["link"], "name_1": "IBM"}
    statement, values = compiled(select(Company.name).join(Company.articles).where(Article.id == 3))
    pairs = PAIRS.replace(
        "article_link.article_id AS article_id, article_link.company_id AS company_id",
        "article_link.company_id AS company_id, article_link.article_id AS article_id",
        1,
    ).replace(
        "article_link_1.article_id = article_link.article_id AND article_link_1.company_id = article_link.company_id",
        "article_link_1.company_id = article_link.company_id AND article_link_1.article_id = article_link.article_id",
    )
    assert f"FROM company JOIN {pairs} AS anon_1 ON anon_1.company_id = company.id" in statement
    assert "JOIN article ON anon_1.article_id = article.id" in statement
    assert "decision" not in compiled(select(Article.id).join(Article.all_companies))[0]
    assert "FROM article_link_entity " in compiled(select(Article.id).join(Article.held))[0]


def test_keys_of_several_columns_in_another_schema_and_named_ones() -> None:
    statement, _ = compiled(select(Leaf.words).join(Leaf.towns))
    assert "SELECT leaf_link.leaf_volume AS leaf_volume, leaf_link.leaf_no AS leaf_no, leaf_link.town_country AS" in (
        statement.replace("press.", "")
    )
    assert "FROM press.leaf_link" in statement
    assert "ON anon_1.leaf_volume = press.leaf.volume AND anon_1.leaf_no = press.leaf.no" in statement
    assert "ON anon_1.town_country = press.town.country AND anon_1.town_no = press.town.town_no" in statement  # not town_town_no
    assert "anon_1.river_code = press.river.code" in compiled(select(Leaf.words).join(Leaf.rivers))[0]
    assert "anon_1.river_code = press.river.code" in compiled(select(River.name).join(River.leaves))[0]
    other = aliased(Leaf)
    itself, _ = compiled(select(Leaf.words).join(Leaf.related.of_type(other)))
    assert "anon_1.leaf_volume = press.leaf.volume" in itself
    assert "anon_1.entity_leaf_volume = leaf_1.volume" in itself


def test_what_is_pgembed_s_is_in_no_metadata_of_the_user_s() -> None:
    assert set(Base.metadata.tables) == {"article", "company", "press.leaf", "press.town", "press.river"}
    table = inspect(Mention).local_table
    assert isinstance(table, Table)
    assert table.info == {"pgembed": "owned"}
    assert [one.name for one in table.primary_key] == ["article_id", "start_char", "end_char"]
    assert "corrected_by" in link_rows("article_link", Article, Company, corrected=True).c
    assert [one.name for one in link_rows("x", Leaf, Town, River, entity_keys=[None, ["code"]]).c if one.name.startswith("r")] == [
        "river_code",
        "runner_up_town_country",
        "runner_up_town_no",
        "runner_up_river_code",
    ]
    with pytest.raises(errors.InvalidParameter, match="says no primary key") as caught:
        link_rows("x", Table("bare", Base.metadata.__class__()), Company)
    assert "source_key=" in str(caught.value.hint)


@pytest.fixture
def linked_articles(db: psycopg.Connection[Any], engine: Engine) -> Iterator[Session]:
    Base.metadata.create_all(engine, tables=[Base.metadata.tables[name] for name in ("article", "company")])
    assert db.execute("SELECT to_regclass('article_link')").fetchone() == (None,)
    with Session(engine) as session:
        session.add_all([Company(id=1, name="Contoso"), Company(id=2, name="Fabrikam"), Company(id=3, name="Initech")])
        bodies = ["Fabrikam met Contoso. Contoso paid.", "Contoso had a bad year.", "Nothing of note."]
        session.add_all([Article(id=number, body=body) for number, body in enumerate(bodies, 1)])
        session.commit()
    db.execute("SELECT pgembed.create_linker('companies', 'company', names => 'name')")
    committing = create_engine(engine.url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with committing.connect() as connection:
        connection.execute(link_table("companies", Article, Article.body, into="article_link"))
    with Session(engine) as session:
        yield session


def names(companies: list[Company]) -> list[str]:
    return [company.name for company in companies]


def every_way_of_loading_gives_each_row_once(session: Session, engine: Engine) -> None:
    seen: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda _c, _cursor, statement, *_: seen.append(statement))
    expected = [["Contoso", "Fabrikam"], ["Contoso"], []]
    for options, statements in (((), 4), ((selectinload(Article.companies),), 2), ((joinedload(Article.companies),), 1)):
        session.expunge_all()
        seen.clear()
        found = session.scalars(select(Article).options(*options).order_by(Article.id)).unique().all()
        assert [names(article.companies) for article in found] == expected
        assert len(seen) == statements
    assert [sorted(article.id for article in company.articles) for company in session.scalars(select(Company).order_by(Company.id))] == [
        [1, 2],
        [1],
        [],
    ]


def conditions_and_joins_go_through_the_links(session: Session) -> None:
    contoso = session.get_one(Company, 1)
    assert session.scalars(select(Article.id).where(Article.companies.any(Company.name == "Fabrikam"))).all() == [1]
    assert session.scalars(select(Article.id).where(Article.companies.contains(contoso)).order_by(Article.id)).all() == [1, 2]
    assert session.scalars(select(Article.id).where(~Article.companies.any())).all() == [3]
    joined = select(Article.id, Company.name).join(Article.companies).order_by(Article.id, Company.name)
    assert session.execute(joined).all() == [(1, "Contoso"), (1, "Fabrikam"), (2, "Contoso")]
    counted = select(Company.name, func.count()).join(Company.articles).group_by(Company.name).order_by(Company.name)
    assert session.execute(counted).all() == [("Contoso", 2), ("Fabrikam", 1)]
    assert session.get_one(Article, 1).doubtful == []
    assert session.execute(select(views.linkers.c.targets, views.linkers.c.names)).all() == [(["company"], ["name"])]
    for view in views.metadata.sorted_tables:
        session.execute(select(view)).all()


def the_lines_of_the_links_are_a_class(session: Session) -> None:
    article = session.get_one(Article, 1)
    assert [(one.mention, one.start_char, one.end_char, one.decision) for one in article.mentions] == [
        ("Fabrikam", 1, 9, "link"),
        ("Contoso", 14, 21, "link"),
        ("Contoso", 23, 30, "link"),
    ]
    assert all(0 < one.score <= 1 and isinstance(one.linked_at, datetime.datetime) for one in article.mentions)
    assert article.mentions[0].company is session.get_one(Company, 2)
    sure = select(Article.id).join(Article.mentions).where(Mention.score > 0.5, Mention.mention == "Contoso").distinct()
    assert sorted(session.scalars(sure)) == [1, 2]


def corrections_count_where_they_are_asked_for(session: Session) -> None:
    assert session.scalar(select(correct_link("article_link", "2", 1, 8, "3"))) == "Contoso"
    article = session.get_one(Article, 2)
    assert (names(article.companies), names(article.held)) == (["Contoso"], ["Initech"])
    assert names(session.get_one(Article, 1).held) != []
    table = link_rows("article_link", Article, Company, corrected=True)
    assert session.execute(select(table.c.company_id, table.c.decision, table.c.score).where(table.c.article_id == 2)).all() == [
        (3, "link", None)
    ]


def an_asynchronous_session_loads_them(engine: Engine) -> None:
    async def go() -> list[list[str]]:
        made = create_async_engine(engine.url, poolclass=NullPool)
        async with AsyncSession(made) as session:
            found = await session.scalars(select(Article).options(selectinload(Article.companies)).order_by(Article.id))
            loaded = [names(article.companies) for article in found]
        await made.dispose()
        return loaded

    assert asyncio.run(go()) == [["Contoso", "Fabrikam"], ["Contoso"], []]


def test_relationships_through_links_on_a_server(linked_articles: Session, engine: Engine) -> None:
    every_way_of_loading_gives_each_row_once(linked_articles, engine)
    conditions_and_joins_go_through_the_links(linked_articles)
    the_lines_of_the_links_are_a_class(linked_articles)
    an_asynchronous_session_loads_them(engine)
    corrections_count_where_they_are_asked_for(linked_articles)


def test_keys_of_several_columns_on_a_server(db: psycopg.Connection[Any], engine: Engine) -> None:
    db.execute("CREATE SCHEMA press")
    Base.metadata.create_all(engine, tables=[one for one in Base.metadata.sorted_tables if one.schema == "press"])
    with Session(engine) as session:
        session.add_all([Town(country="DE", town_no=7, name="Kelheim"), River(id=1, code="dan", name="Danube")])
        session.add(Leaf(volume=1, number=2, words="Kelheim lies on the Danube. Kelheim is old."))
        session.commit()
    db.execute("SELECT pgembed.create_linker('places', 'press.town', names => 'name')")
    db.execute("SELECT pgembed.add_linker_target('places', 'press.river', key => 'code', names => 'name')")
    with Session(engine) as session:
        session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
        session.execute(link_table("places", Leaf, "words", "press.leaf_link"))
    with Session(engine) as session:
        leaf = session.scalars(select(Leaf)).one()
        assert [town.name for town in leaf.towns] == ["Kelheim"]
        assert [river.name for river in leaf.rivers] == ["Danube"]
        assert session.scalars(select(River)).one().leaves == [leaf]


def test_a_subclass_in_a_table_of_its_own_and_a_dataclass() -> None:
    class Other(MappedAsDataclass, DeclarativeBase):
        pass

    class Place(Other):
        __tablename__ = "place"
        id: Mapped[int] = mapped_column(primary_key=True)
        kind: Mapped[str] = mapped_column(init=False)
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "place"}  # noqa: RUF012

    class City(Place):
        __tablename__ = "city"
        id: Mapped[int] = mapped_column(ForeignKey("place.id"), primary_key=True)
        __mapper_args__ = {"polymorphic_identity": "city"}  # noqa: RUF012

    class Harbour(Place):
        __mapper_args__ = {"polymorphic_identity": "harbour"}  # noqa: RUF012

    class Note(Other):
        __tablename__ = "note"
        id: Mapped[int] = mapped_column(primary_key=True)
        cities: Mapped[list[City]] = linked("note_link", lambda: City, init=False)
        places: Mapped[list[City]] = linked("note_link", lambda: City, entity_columns=["place_id"], init=False)
        harbours: Mapped[list[Harbour]] = linked("note_link", lambda: Harbour, init=False)

    assert Note(id=3).cities == []
    assert "anon_1.city_id = city.id" in compiled(select(Note.id).join(Note.cities))[0]
    assert "anon_1.place_id = city.id" in compiled(select(Note.id).join(Note.places))[0]
    statement, _ = compiled(select(Note.id).join(Note.harbours))
    assert "anon_1.place_id = place.id AND place.kind IN" in statement


def test_a_foreign_key_beside_it_is_left_alone() -> None:
    """A class may have a relationship of its own to the same class."""

    class Other(DeclarativeBase):
        pass

    class Maker(Other):
        __tablename__ = "maker"
        id: Mapped[int] = mapped_column(primary_key=True)

    class Note(Other):
        __tablename__ = "note"
        id: Mapped[int] = mapped_column(primary_key=True)
        maker_id: Mapped[int] = mapped_column(ForeignKey("maker.id"))
        maker: Mapped[Maker] = relationship()
        named: Mapped[list[Maker]] = linked("note_link", lambda: Maker)

    assert "note.maker_id" not in compiled(select(Note.id).join(Note.named))[0]
