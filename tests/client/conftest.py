"""Fixtures of the client tests: SQLAlchemy over the test's own database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL, Engine, create_engine
from sqlalchemy.pool import NullPool


def url_of(connection: psycopg.Connection[Any]) -> URL:
    """SQLAlchemy's URL for the database that a connection is in."""
    info = connection.info
    return URL.create(
        "postgresql+psycopg",
        username=info.user,
        password=info.password or None,
        database=info.dbname,
        query={"host": info.host, "port": str(info.port)},
    )


@pytest.fixture
def engine(db: psycopg.Connection[Any]) -> Iterator[Engine]:
    """An engine on the database of `db`; it keeps no connection open."""
    made = create_engine(url_of(db), poolclass=NullPool)
    yield made
    made.dispose()
