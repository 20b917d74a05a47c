"""Fixtures of the client tests: SQLAlchemy over the test's own database, and workers beside it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL, Engine, create_engine
from sqlalchemy.pool import NullPool
from support import wait_until
from workers import Start, Worker, one


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


@pytest.fixture
def start(db: psycopg.Connection[Any], tmp_path: Path) -> Iterator[Start]:
    """Start a worker of the test's database: `start("--once")`."""
    made: list[Worker] = []

    def run(*arguments: str, **changes: str) -> Worker:
        made.append(Worker(db, tmp_path / f"worker-{len(made)}.log", arguments, **changes))
        return made[-1]

    yield run
    for worker in made:
        with contextlib.suppress(ProcessLookupError):
            worker.process.kill()
        worker.process.wait()
        print(worker.said())  # seen where the test fails
    wait_until(
        lambda: (
            one(db, "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pgembed worker%%' AND datname = current_database()")
            == 0
        )
    )
