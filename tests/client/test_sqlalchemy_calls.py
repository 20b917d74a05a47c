"""Calls of pgembed's functions and procedures from SQLAlchemy: what is rendered, what is cached, and what a server answers."""

from __future__ import annotations

import asyncio
import datetime
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import small_models
from mapped import Base, Maker, Saw, Thing, compiled
from pgvector.sqlalchemy import VECTOR
from sqlalchemy import (
    ARRAY,
    Column,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    create_engine,
    event,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.ext.serializer import dumps, loads
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

import pgembed.sqlalchemy as ours
from pgembed import errors
from pgembed.sqlalchemy import (
    add_embedding,
    advise,
    alter_linker,
    by_hand,
    chunk,
    code_indexes,
    compensate,
    create_linker,
    distance,
    doctor,
    drop_embedding,
    embed,
    explain_join,
    explain_link,
    fill_code,
    freshness,
    hubness,
    link_keys,
    link_table,
    masked_query,
    provenance,
    refresh,
    register_model,
    retry_failed,
    review_pairs,
    scan_codes,
    semantic_join,
    semantic_join_into,
    semantic_join_keys,
    set_search_defaults,
    set_threads,
    switch_model,
    text_array,
    token_count,
    train_codec,
    version,
    views,
    wait_for,
    work,
)

note = Table(
    "note",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("body", Text),
    Column("embedding", VECTOR(32)),
    Column("embedding_hash", LargeBinary),
)


def text_of(statement: Any) -> str:
    return compiled(statement)[0]


def test_a_procedure_is_a_call_of_its_own() -> None:
    assert compiled(refresh(Thing.e, batch_size=50, recheck=True)) == (
        "CALL pgembed.refresh('shop.\"thing\"'::pg_catalog.regclass, column_name => %(column_name_1)s::VARCHAR,"
        " batch_size => %(batch_size_1)s::INTEGER, recheck => %(recheck_1)s)",
        {"column_name_1": "e", "batch_size_1": 50, "recheck_1": True},
    )
    assert text_of(work()) == "CALL pgembed.work()"
    assert text_of(work(max_rows=9)) == "CALL pgembed.work(max_rows => %(max_rows_1)s::BIGINT)"
    statement, values = compiled(link_table("firms", Thing, Thing.title, "thing_link", filter=Maker.name != "Acme", precision=0.9))
    assert statement == (
        "CALL pgembed.link_table(source => 'shop.\"thing\"'::pg_catalog.regclass, linker => %(linker_1)s::VARCHAR,"
        ' text_column => %(text_column_1)s::VARCHAR, "into" => %(into_1)s::VARCHAR, "precision" => %(precision_1)s,'
        " filter => %(filter_1)s::VARCHAR, params => pg_catalog.jsonb_object(ARRAY['p1'], ARRAY[CAST(%(name_1)s::VARCHAR AS TEXT)]))"
    )
    assert (values["text_column_1"], values["filter_1"], values["name_1"]) == ("name", "maker.name != ($1->>'p1')::TEXT", "Acme")


def test_what_is_left_at_its_default_is_left_to_sql() -> None:
    assert text_of(select(version())) == "SELECT pgembed.version() AS version_1"
    assert text_of(select(switch_model(Thing))) == "SELECT pgembed.switch_model('shop.\"thing\"'::pg_catalog.regclass) AS switch_model_1"
    waited = select(wait_for(Thing, datetime.timedelta(seconds=3)))
    assert "timeout => %(timeout_1)s" in text_of(waited)
    assert "threads => CAST(NULL AS INTEGER)" in text_of(select(set_threads(None)))
    made = select(create_linker("firms", Maker, names="name", relations=["founded"]))
    assert "relations => %(relations_1)s::JSONB" in text_of(made)
    assert "relations" not in text_of(select(create_linker("firms", Maker)))
    assert "relations => %(relations_1)s::JSONB" in text_of(select(alter_linker("firms", relations=[])))


def test_a_table_is_named_by_class_table_attribute_name_or_expression() -> None:
    for target in (Thing.e, Thing.__table__.c.e):
        statement, values = compiled(select(retry_failed(target, key="7")))
        assert "pgembed.retry_failed('shop.\"thing\"'::pg_catalog.regclass, column_name => " in statement
        assert (values["column_name_1"], values["key_1"]) == ("e", "7")
    statement, values = compiled(select(retry_failed("a_table")))
    assert "target => CAST(%(target_1)s::VARCHAR AS REGCLASS)" in statement
    assert values == {"target_1": "a_table"}
    of_each = select(views.embeddings.c.column_name, drop_embedding(views.embeddings.c.table_name))
    assert "pgembed.drop_embedding(target => pgembed.embeddings.table_name)" in text_of(of_each)
    assert "queries => 'maker'" not in text_of(select(compensate(Thing, "m", queries=Maker.name)))  # quoted, as all names are
    statement, values = compiled(select(compensate(Thing, "m", queries=Maker.name)))
    assert "queries => '\"maker\"'::pg_catalog.regclass" in statement
    assert values["queries_column_1"] == "name"
    statement, values = compiled(select(add_embedding(Thing.e, "name")))
    assert values["column_name_1"] == "e"
    with pytest.raises(errors.InvalidParameter, match="names column e, and column_name price"):
        refresh(Thing.e, Thing.price)
    with pytest.raises(errors.InvalidParameter, match="labels is a table, not its column"):
        select(review_pairs(Thing.title, Maker.name, labels=Maker.name))
    with pytest.raises(errors.InvalidParameter, match="mapped class or a Table is needed"):
        refresh(3)
    assert "pgembed.refresh('\"saw\"'::pg_catalog.regclass, " in text_of(refresh(Saw.id)), (
        "of a class of several tables, that of the column"
    )


def test_filters_are_over_the_target_and_their_values_travel() -> None:
    hits = scan_codes(Thing, "rain", filter=Thing.price > 5, rescore=0)
    statement, values = compiled(select(hits.key, hits.distance).order_by(hits.rank))
    assert "params => pg_catalog.jsonb_object" in statement
    assert values["filter_1"] == "thing.price > ($1->>'p1')::INTEGER"
    found = link_keys("firms", "Acme paid.", spans=[(1, 5)], filter=Maker.name.in_(["Acme"]))
    statement, values = compiled(select(found.mention, found.entity_key))
    assert "CAST(%(spans_1)s::VARCHAR AS INT4RANGE[])" in statement
    assert values["filter_1"] == "maker.name = ANY (($1->>'p1')::TEXT[])"
    with pytest.raises(errors.NotSupported, match="columns of one table, not of 2"):
        explain_link("firms", "x", filter=Maker.id == Thing.maker_id)
    condition = Thing.maker_id == Maker.id
    for made in (semantic_join_keys(Thing.title, Maker.name, condition=condition), review_pairs(Thing, Maker, condition=condition, n=3)):
        statement, values = compiled(select(made))
        assert '"left" => \'shop."thing"\'::pg_catalog.regclass' in statement.replace("(left", '("left"')
        assert values["condition_1"] == "l.maker_id = r.id"
    assert 'NULL::shop."thing", NULL::"maker", execute => ' in text_of(select(explain_join(Thing, Maker, execute=False)))
    into = select(semantic_join_into("pairs", Thing.title, Maker.name, k=3))
    assert "destination => %(destination_1)s::VARCHAR" in text_of(into)


def test_two_classes_are_left_and_right() -> None:
    pairs = semantic_join(Thing, Maker, left_column=Thing.title, right_column="name")
    statement, values = compiled(select(pairs.left.title, pairs.right.name))
    assert (values["left_column_1"], values["right_column_1"]) == ("name", "name")
    assert "left_column => " in statement


def keys_of(statement: Any) -> Any:
    made = statement._generate_cache_key()
    assert made is not None, "this statement is never cached"
    return made.key


def test_statements_are_cached_by_their_shape() -> None:
    def each(value: int) -> list[Any]:
        return [
            refresh(Thing, batch_size=value),
            link_table("firms", Thing, "name", f"t{value}", filter=Maker.name == str(value)),
            select(scan_codes(Thing, str(value), k=value, filter=Thing.price > value).rank),
            select(provenance(Thing, f"e{value}").state).where(provenance(Thing).model == "m"),
            select(code_indexes(Thing, f"e{value}").statement),
            select(drop_embedding(Thing, f"e{value}")),
            select(semantic_join_keys(Thing, Maker, k=value, condition=Thing.price > value).distance),
            select(link_keys(f"l{value}", "x", filter=Maker.id > value).mention),
        ]

    for one, other in zip(each(20), each(30), strict=True):
        assert keys_of(one) == keys_of(other)
        assert str(one) == str(other)
    assert len({keys_of(one) for one in each(20)}) == len(each(20))
    assert keys_of(refresh(Thing)) != keys_of(refresh(Maker))
    assert keys_of(refresh(Thing)) != keys_of(refresh(Thing, batch_size=5))


def test_statements_are_pickled_as_sqlalchemy_s_own() -> None:
    for statement in (
        refresh(note, batch_size=7),
        select(provenance(note).state),
        select(scan_codes(note, "x", filter=note.c.body == "y").distance),
        select(drop_embedding(note, keep_column=True)),
        select(views.embeddings.c.stale),
        select(code_indexes(note).statement),
    ):
        again = pickle.loads(pickle.dumps(statement))
        assert compiled(again) == compiled(statement)
    hits = ours.search(Thing, "rain", filter=Thing.price > 5)
    statement = select(hits.entity.id, hits.rank)
    assert compiled(loads(dumps(statement), Base.metadata)) == compiled(statement)


@pytest.fixture
def notes(db: psycopg.Connection[Any], engine: Engine, open_folder: Path) -> Iterator[Engine]:
    """Three notes that a model of three layers with random weights is to embed."""
    folder = open_folder / "tiny"
    small_models.write_folder(folder)
    for each in (folder, *folder.rglob("*")):
        each.chmod(0o755 if each.is_dir() else 0o644)
    db.execute("CREATE TABLE note (id int PRIMARY KEY, body text)")
    with engine.begin() as connection:
        assert len(connection.scalar(select(register_model("tiny", str(folder)))) or "") == 64
        assert connection.scalar(select(add_embedding(note, note.c.body.name, "tiny", sync="queued"))) is None
        connection.execute(insert(note), [{"id": 1, "body": "a b"}, {"id": 2, "body": "c d e"}, {"id": 3, "body": None}])
    yield engine
    # the files of the model would outlive the test's database; what no line names goes when another is registered
    db.execute("DELETE FROM pgembed._embedding; DELETE FROM pgembed._model")
    db.execute("SELECT pgembed.register_model('last', 'all-minilm-l6-v2', dim => 1)")


def test_all_that_is_asked_of_a_server(notes: Engine) -> None:
    with notes.connect() as connection:
        states = select(note.c.id, freshness(note.c.embedding, note.c.embedding_hash)).order_by(note.c.id)
        assert connection.execute(states).all() == [(1, "pending"), (2, "pending"), (3, "pending")]
        connection.execute(refresh(note, build_index=False))
        assert connection.scalar(select(wait_for(note, datetime.timedelta(0)))) is True
        connection.commit()
        assert [state for _, state in connection.execute(states).all()] == ["fresh", "fresh", "null_source"]
        told = connection.execute(select(views.embeddings).where(views.embeddings.c.table_name == func.to_regclass("note"))).one()
        assert (told.table_name, told.column_name, told.model, told.fresh, told.null_source) == ("note", "embedding", "tiny", 2, 1)
        made_by = provenance(note)
        assert connection.execute(select(made_by.key, made_by.state, made_by.by_hand, made_by.model).order_by(made_by.key)).all() == [
            ("1", "fresh", False, "tiny"),
            ("2", "fresh", False, "tiny"),
            ("3", "null_source", False, None),
        ]
        assert connection.scalar(select(by_hand(note.c.embedding_hash)).where(note.c.id == 1)) is False
        near = distance(note, 1, note, 2)
        assert connection.scalar(select(near)) == pytest.approx(
            connection.scalar(select(note.c.embedding.cosine_distance(embed("c d e", "tiny", "document"))).where(note.c.id == 1)), abs=1e-5
        )
        pieces = chunk("a b. c d. e f.", 4, model="tiny")
        assert len(connection.execute(select(pieces.ordinal, pieces.content)).all()) > 1
        assert connection.scalar(select(token_count("a b", "tiny"))) == 4
        assert connection.scalar(select(text_array(["1", None]))) == ["1", None]
        many = embed(select(func.array_agg(note.c.body)).scalar_subquery(), "tiny")
        assert isinstance(many.type, ARRAY)
        assert connection.scalar(select(func.cardinality(many))) == 3
        assert connection.scalar(select(version()))
        assert connection.scalar(select(retry_failed(note))) == 0
        hubs = hubness(note)
        assert set(connection.scalars(select(hubs.key))) == {"1", "2"}
        for rows in (doctor(), advise(note, filters=["id > 1"]), set_search_defaults(ef_search=50)):
            connection.execute(select(rows)).all()
        connection.rollback()
        connection.execute(select(train_codec("note_sign", note, "sign", measure=False)))
        connection.execute(select(ours.add_code(note, "note_sign", "code")))
        connection.execute(fill_code(note))
        hits = scan_codes(note, "a b", k=1, filter=note.c.id < 9)
        assert connection.execute(select(hits.key, hits.rank)).all() == [("1", 1)]
        masked = masked_query("note_sign", [0.1] * 32)
        bits, mask = connection.execute(select(masked.bits, masked.mask)).one()
        assert len(str(bits)) == len(str(mask)) or bits is not None
        statements = code_indexes(note, "code")
        assert all("INDEX" in one for one in connection.scalars(select(statements.statement)))
        codes = views.codes.c
        assert connection.execute(select(codes.column_name, codes.codec)).all() == [("code", "note_sign")]


def test_procedures_commit_where_no_transaction_is_open_and_else_do_not(notes: Engine) -> None:
    committing = create_engine(notes.url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    pending = select(func.count()).where(note.c.embedding.is_(None), note.c.body.is_not(None)).select_from(note)
    with notes.connect() as inside, notes.connect() as outside:
        inside.execute(refresh(note))
        assert (inside.scalar(pending), outside.scalar(pending)) == (0, 2), "part of the transaction, which nobody sees yet"
        inside.rollback()
        outside.rollback()
        assert outside.scalar(pending) == 2
        outside.rollback()
        with committing.connect() as connection:
            connection.execute(refresh(note))
        assert outside.scalar(pending) == 0
    with Session(notes) as session, session.begin():
        session.execute(update(note).where(note.c.id == 1).values(body="f g"))
        session.execute(refresh(note))
        assert session.scalar(select(freshness(note.c.embedding, note.c.embedding_hash)).where(note.c.id == 1)) == "fresh"
    with Session(notes) as session, pytest.raises(DBAPIError, match="work cannot run inside a transaction block"):
        session.execute(work(note))
    with committing.connect() as connection:
        connection.execute(update(note).where(note.c.id == 1).values(body="h"))
        connection.execute(work(note, max_rows=5))
        assert connection.scalar(select(freshness(note.c.embedding, note.c.embedding_hash)).where(note.c.id == 1)) == "fresh"
    with Session(notes) as session, pytest.raises(DBAPIError, match="no embedded column"):
        session.execute(refresh("pg_catalog.pg_class"))


def test_an_asynchronous_session_calls_them_and_the_cache_holds(notes: Engine) -> None:
    async def go() -> list[Any]:
        made = create_async_engine(notes.url, poolclass=NullPool)
        compiled_now: list[Any] = []
        event.listen(made.sync_engine, "before_cursor_execute", lambda *given: compiled_now.append(given[4].compiled.cache_key))
        async with AsyncSession(made) as session:
            await session.execute(refresh(note, batch_size=1))
            found = [await session.scalar(select(token_count(words, "tiny"))) for words in ("a", "a b")]
            hits = [
                (await session.execute(select(ours.search_keys(note, words, k=k, filter=note.c.id < k).key))).scalars().all()
                for words, k in (("a b", 7), ("c d e", 8))
            ]
        await made.dispose()
        assert len(made.sync_engine._compiled_cache or ()) == 3, "a statement whose values change is compiled once"
        return [*found, *hits]

    assert asyncio.run(go()) == [3, 4, ["1", "2"], ["2", "1"]]
