"""Groups of rows in SQLAlchemy: what is rendered, and that the server takes it."""

from __future__ import annotations

from typing import Any

import pytest
from mapped import Thing, compiled
from sqlalchemy import Column, Integer, MetaData, Table, Text, create_engine, select
from sqlalchemy.orm import Session
from support import Connection

from pgembed.sqlalchemy import classify, deduplicate, joinable_columns, topic_rows, topics

story = Table("story", MetaData(), Column("id", Integer, primary_key=True), Column("headline", Text), Column("city", Text))


def test_arguments_are_named_and_travel_as_parameters() -> None:
    found = deduplicate(Thing, attributes=[Thing.title, "price"], within=[Thing.price], precision=0.9)
    statement, values = compiled(select(found.c.key, found.c.cluster))
    assert "pgembed.deduplicate('shop.\"thing\"'::pg_catalog.regclass, attributes => " in statement
    assert '"precision" => %(precision_1)s' in statement
    assert values["attributes_1"] == ["name", "price"]
    statement, _ = compiled(select(topics(Thing, Thing.e).c.words))
    assert "column_name => %(column_name_1)s::VARCHAR" in statement
    assert "seed" not in statement


@pytest.fixture
def session(db: Connection) -> Any:
    db.execute("CREATE TABLE story (id int PRIMARY KEY, headline text, city text)")
    db.execute("INSERT INTO story VALUES (1, 'a goal in the football match', 'Rome'), (2, 'A goal in the Football match!', 'Oslo')")
    db.execute("INSERT INTO story VALUES (3, 'parliament votes on the budget', 'Rome')")
    db.execute("CREATE TABLE town AS SELECT DISTINCT city AS name FROM story")
    db.execute("ANALYZE story; ANALYZE town")
    info = db.info
    engine = create_engine(f"postgresql+psycopg://{info.user}@/{info.dbname}?host={info.host}&port={info.port}")
    with Session(engine) as opened:
        yield opened
    engine.dispose()


def test_the_server_takes_all_of_them(session: Session) -> None:
    labelled = classify(story, {"sport": ["football", "tennis"], "politics": "parliament and elections"}, story.c.headline)
    assert session.execute(select(labelled.c.key, labelled.c.label, labelled.c.is_confident).order_by(labelled.c.key)).all() == [
        ("1", "sport", True),
        ("2", "sport", True),
        ("3", "politics", True),
    ]
    told = topics(story, "headline", 2, words_from=["headline"], seed=3)
    assert sum(session.execute(select(told.c.size)).scalars()) == 3
    members = topic_rows(story, "headline", 2, seed=3)
    assert len(session.execute(select(members.c.key, members.c.topic)).all()) == 3
    same = deduplicate(story, "headline")
    assert session.execute(select(same.c.key, same.c.cluster)).all() == [("1", "1"), ("2", "1")]
    assert session.execute(select(deduplicate(story, attributes=["headline"], within=["city"]).c.key)).all() == []
    columns = joinable_columns(story, "city", k=3, semantic=False)
    assert session.execute(select(columns.c.other_table, columns.c.other_column, columns.c.kind)).all() == [("town", "name", "equi")]
