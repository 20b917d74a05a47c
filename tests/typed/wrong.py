"""wrong: what a type checker refuses. A line that it takes makes `make types` fail, for its ignore is of no use then."""

# ruff: noqa: B018

from __future__ import annotations

from typing import Any

import psycopg
from sqlalchemy import select
from sqlalchemy.orm import Session

from pgembed.alembic import op
from pgembed.psycopg import register, register_async
from pgembed.sqlalchemy import (
    BINVEC,
    Code,
    Procedure,
    embedded,
    embedded_column,
    link,
    linked,
    refresh,
    search,
    semantic,
    semantic_join,
    set_threads,
    token_count,
    wait_for,
)
from pgembed.testing import write_model
from typed.models import Article, Company, Product, offer


def declared() -> None:
    embedded("name", metrics="l2", sync=3)  # type: ignore[arg-type]
    embedded("name", chunk_tokens="200")  # type: ignore[arg-type]
    embedded_column("e", "name", deferred=True)  # type: ignore[call-arg]
    embedded()  # type: ignore[call-arg]
    linked("article_link", Company, reverse="yes")  # type: ignore[arg-type]
    Code("sign", bits=64)  # type: ignore[call-arg]
    BINVEC("64")  # type: ignore[arg-type]


def asked(session: Session) -> None:
    search(Product, "rain", k="10")  # type: ignore[call-overload]
    search("product", "rain")  # type: ignore[call-overload]
    search(Product, "rain", limit=10)  # type: ignore[call-overload]
    search(offer, "rain").entity  # type: ignore[attr-defined]
    search(Product, "rain").entity.nmae  # type: ignore[attr-defined]
    search(Product, "rain", consistency="old")  # type: ignore[call-overload]
    wrong_row: Company | None = session.scalars(select(search(Product, "rain").entity)).first()  # type: ignore[assignment]
    semantic(Product.embedding).nearest("rain", 3, Product.in_stock)  # type: ignore[call-arg]
    semantic(Product.embedding).between("rain")  # type: ignore[attr-defined]
    semantic_join(Product, Company, k="1")  # type: ignore[call-overload]
    semantic_join(Product, Company).left.body  # type: ignore[attr-defined]
    semantic_join(offer, Company).left  # type: ignore[attr-defined]
    link(Company)  # type: ignore[call-overload]
    link(Company, "Contoso").entity.title  # type: ignore[attr-defined]
    token_count(3)  # type: ignore[arg-type]
    wait_for(Article, 3)  # type: ignore[arg-type]
    set_threads("two")  # type: ignore[arg-type]
    made: Procedure = set_threads(2)  # type: ignore[assignment]
    select(refresh(Product))  # type: ignore[call-overload]
    assert wrong_row
    assert made


async def connected(one: psycopg.Connection[Any], other: psycopg.AsyncConnection[Any]) -> None:
    register(other)  # type: ignore[arg-type]
    await register_async(one)  # type: ignore[arg-type]
    write_model("/tmp/tiny")  # type: ignore[arg-type]


def upgrade() -> None:
    op.create_embedding("product")  # type: ignore[call-arg]
    op.create_embedding("product", 3)  # type: ignore[arg-type]
    op.create_embeddings("product", "name")  # type: ignore[attr-defined]
    op.drop_embedding("product", "embedding", True)  # type: ignore[call-arg]
    op.train_codec("product_sign", "product")  # type: ignore[call-arg]
    with op.batch_alter_table("product") as batch:
        batch.create_embedding("name", refresh=True)  # type: ignore[call-arg]
