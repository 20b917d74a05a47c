"""Fixtures of the client tests: SQLAlchemy over the test's own database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL, Engine, create_engine
from sqlalchemy.pool import NullPool


@pytest.fixture
def engine(db: psycopg.Connection[Any]) -> Iterator[Engine]:
    """An engine on the database of `db`; it keeps no connection open."""
    info = db.info
    url = URL.create(
        "postgresql+psycopg",
        username=info.user,
        password=info.password or None,
        database=info.dbname,
        query={"host": info.host, "port": str(info.port)},  # as a query, the host may be a socket's folder
    )
    made = create_engine(url, poolclass=NullPool)
    yield made
    made.dispose()
