"""managing: what changes the database: declarations, codecs, models, linkers, work."""

from __future__ import annotations

from datetime import timedelta
from typing import assert_type

from sqlalchemy import ColumnElement, Engine, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import Session

from pgembed.sqlalchemy import (
    AdapterMeasures,
    Procedure,
    Repairs,
    Settings,
    SettingsBack,
    Statements,
    add_code,
    add_embedding,
    add_linker_target,
    adopt_embedding,
    alter_embedding,
    alter_linker,
    calibrate,
    change_model,
    code_indexes,
    compensate,
    correct_link,
    create_labels,
    create_link_labels,
    create_linker,
    drop_adapter,
    drop_code,
    drop_codec,
    drop_embedding,
    drop_linker,
    drop_linker_target,
    drop_model,
    fill_code,
    finish_model_change,
    fit_adapter,
    grant_model,
    link_table,
    model_change_indexes,
    refresh,
    register_model,
    repair,
    reset_search_defaults,
    retrain_codec,
    retry_failed,
    revoke_model,
    rollback_model,
    semantic_join_into,
    set_default_model,
    set_filter_log,
    set_search_defaults,
    set_threads,
    switch_model,
    train_codec,
    train_linker,
    use_code,
    wait_for,
    work,
)
from typed.models import Article, Company, Product


def procedures(engine: Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(refresh(Product, batch_size=100))
        connection.execute(work(max_seconds=1.5))
        connection.execute(fill_code(Product))
        connection.execute(calibrate(Product, sample=10))
        connection.execute(change_model(Product, "other", wait=False))
        connection.execute(link_table("companies", Article, Article.body, "article_link", filter=Company.name != "", precision=0.9))
        connection.execute(train_linker("companies", labels="labels"))
    assert_type(refresh(Product.embedding), Procedure)


async def asynchronously(connection: AsyncConnection) -> None:
    await connection.execute(refresh(Product))


def declarations(session: Session) -> None:
    for made in (
        add_embedding(Product, "name", model="tiny", sync="queued", chunk_tokens=20),
        adopt_embedding(Product, "old_vector", metric="l2"),
        alter_embedding(Product, source="upper(name)"),
        drop_embedding(Product, keep_column=True),
        add_code(Product, "product_sign", is_generated=True),
        use_code(Product, "bits"),
        drop_code(Product, "bits"),
        drop_codec("product_sign"),
        create_linker("companies", Company, names="name", relations=["product"]),
        add_linker_target("companies", Product, names="name"),
        alter_linker("companies", Product, aliases=""),
        drop_linker_target("companies", Product),
        drop_linker("companies"),
    ):
        assert_type(made, ColumnElement[None])
        session.execute(select(made))


def codecs(session: Session) -> None:
    assert_type(train_codec("product_sign", Product, "sign", bits=64, measure=False), ColumnElement[str])
    assert_type(retrain_codec("product_sign", new_name="newer"), ColumnElement[str])
    statements = code_indexes(Product, covering=[Product.price])
    assert_type(statements, Statements)
    assert_type(session.scalars(select(statements.statement)).first(), str | None)


def models(session: Session) -> None:
    assert_type(register_model("short", "tiny", dim=32, options={"timeout": 3}), ColumnElement[str])
    for made in (set_default_model("tiny"), set_threads(None), grant_model("tiny"), revoke_model("tiny"), drop_model("tiny")):
        assert_type(made, ColumnElement[None])
    patience = timedelta(seconds=3)
    for made in (switch_model(Product), rollback_model(Product, timeout=patience), finish_model_change(Product), drop_adapter(Product)):
        session.execute(select(made))
    assert_type(model_change_indexes(Product).statement, ColumnElement[str])
    assert_type(compensate(Product, "other", min_recall=0.5), ColumnElement[float])
    assert_type(fit_adapter(Product, "pairs"), AdapterMeasures)
    assert_type(fit_adapter(Product, "pairs").after, ColumnElement[float])


def further(session: Session) -> None:
    assert_type(session.scalars(select(wait_for(Product, timedelta(seconds=1)))).one(), bool)
    assert_type(session.scalars(select(retry_failed(Product, key="1"))).one(), int)
    assert_type(repair().done, ColumnElement[str])
    assert_type(repair(Product), Repairs)
    assert_type(set_filter_log(True), ColumnElement[None])
    assert_type(set_search_defaults(ef_search=200), Settings)
    assert_type(reset_search_defaults(), SettingsBack)
    assert_type(semantic_join_into("pairs", Product, Company), ColumnElement[int])
    assert_type(create_labels("labels", Product, Company), ColumnElement[str])
    assert_type(create_link_labels("gold", "companies"), ColumnElement[str])
    assert_type(correct_link("article_link", "1", 1, 8, "3"), ColumnElement[str])
