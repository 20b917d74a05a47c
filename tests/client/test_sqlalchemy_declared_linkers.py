"""pgembed.sqlalchemy.Linker: linkers that a MetaData declares, on a server."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, ForeignKey, MetaData, create_mock_engine, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from pgembed import errors
from pgembed.sqlalchemy import Linker, link, linkers_of


class Base(DeclarativeBase):
    metadata = MetaData(schema="geo")


class Country(Base):
    __tablename__ = "country"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Town(Base):
    __tablename__ = "town"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    country_id: Mapped[int | None] = mapped_column(ForeignKey("geo.country.id"))


class Alias(Base):
    __tablename__ = "alias"
    town_id: Mapped[int] = mapped_column(ForeignKey("geo.town.id"), primary_key=True)
    alias: Mapped[str] = mapped_column(primary_key=True)


class Twin(Base):
    __tablename__ = "twin"
    one: Mapped[int] = mapped_column(ForeignKey("geo.town.id"), primary_key=True)
    other: Mapped[int] = mapped_column(ForeignKey("geo.town.id"), primary_key=True)


Linker(
    "places",
    Town,
    names=lambda: Town.name,
    types="'town'",
    relations=[{"column": "country_id", "names": "name"}, {"table": Twin, "from": "one", "to": "other", "label": "twinned with"}],
    alias_tables=[Alias],
).also(Country, names=lambda c: c.name, key="id")


def targets(db: psycopg.Connection[Any]) -> list[Any]:
    return db.execute("SELECT name, targets::text, names, relations, aliases FROM pgembed.linkers").fetchall()


def test_create_all_and_drop_all_take_it_along(db: psycopg.Connection[Any], engine: Engine) -> None:
    db.execute("CREATE SCHEMA geo")
    Base.metadata.create_all(engine, tables=[Base.metadata.tables["geo.country"]])
    assert targets(db) == []  # not all of its tables are there
    Base.metadata.create_all(engine)
    Base.metadata.create_all(engine)
    (told,) = targets(db)
    assert told[:3] == ("places", "{geo.town,geo.country}", ["name", "name"])
    assert "twinned with" in str(told[3])
    assert "geo.alias" in str(told[4])
    with Session(engine) as session:
        session.add_all([Country(id=1, name="Freedonia"), Town(id=1, name="Ulmstadt"), Town(id=2, name="Kelheim")])
        session.flush()
        session.add(Alias(town_id=2, alias="the Port"))
        session.commit()
        links = link(Town, "From Ulmstadt we came to the Port.", "places")
        assert session.execute(select(links.mention, links.entity.id).order_by(links.start_char)).all() == [
            ("Ulmstadt", 1),
            ("the Port", 2),
        ]
    country = Base.metadata.tables["geo.country"]
    db.execute(
        "ALTER TABLE geo.town DROP CONSTRAINT town_country_id_fkey; SELECT pgembed.alter_linker('places', 'geo.town', relations => '[]')"
    )
    country.drop(engine)
    assert targets(db)[0][1] == "{geo.town}"  # what it has learned of the other stays
    Base.metadata.create_all(engine)
    assert targets(db)[0][1] == "{geo.town,geo.country}"
    Base.metadata.drop_all(engine)
    assert targets(db) == []
    assert db.execute("SELECT count(*) FROM pg_proc WHERE pronamespace = 'geo'::regnamespace").fetchone() == (0,)
    Base.metadata.drop_all(engine)


def test_schema_translate_map_reaches_all_its_tables(db: psycopg.Connection[Any], engine: Engine) -> None:
    db.execute("CREATE SCHEMA tenant")
    translated = engine.execution_options(schema_translate_map={"geo": "tenant"})
    Base.metadata.create_all(translated)
    (told,) = targets(db)
    assert told[1] == "{tenant.town,tenant.country}"
    assert "tenant.alias" in str(told[4])
    Base.metadata.drop_all(translated)
    assert targets(db) == []


def test_its_statements_are_what_a_person_would_type() -> None:
    seen: list[str] = []
    mock = create_mock_engine(
        "postgresql+psycopg://", lambda statement, *_: seen.append(" ".join(str(statement.compile(dialect=postgresql.dialect())).split()))
    )
    Base.metadata.create_all(mock, checkfirst=False)
    assert seen[-2:] == [
        "SELECT pgembed.create_linker(name => 'places', target => 'geo.town'::regclass, names => 'name', relations => "
        '\'[{"column": "country_id", "names": "name"}, {"table": "geo.twin", "from": "one", "to": "other", "label": "twinned with"}]\','
        " types => '''town''',"
        " alias_tables => '[\"geo.alias\"]')",
        "SELECT pgembed.add_linker_target(linker => 'places', target => 'geo.country'::regclass, key => 'id', names => 'name')",
    ]
    seen.clear()
    Base.metadata.drop_all(mock, checkfirst=False)
    assert [statement for statement in seen if "pgembed" in statement] == ["SELECT pgembed.drop_linker(name => 'places')"]


def test_what_is_no_linker_is_refused() -> None:
    with pytest.raises(errors.DuplicateObject, match='linker "places" is declared already'):
        Linker("places", Country)
    with pytest.raises(errors.InvalidParameter, match="a mapped class or a Table is needed"):
        Linker("other", "town")

    class Own(DeclarativeBase):
        pass

    class River(Own):
        __tablename__ = "river"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]

    made = Linker("rivers", River, names=lambda: River.name + Town.name)
    assert linkers_of(Own.metadata) == {"rivers": made}
    with pytest.raises(errors.NotSupported, match=r'names of linker "rivers" of table river reads column town\.name'):
        _ = made.targets
