"""Fixtures of the client tests: SQLAlchemy over the test's own database, and workers beside it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from commands import Run, Said
from psycopg import conninfo
from sqlalchemy import URL, Engine, create_engine
from sqlalchemy.pool import NullPool
from support import Connection, wait_until
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


@pytest.fixture
def nobody_names_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """No PG* variable, and no private server."""
    from pgembed.cli import connecting

    for name in [name for name in os.environ if name.startswith("PG") and not name.startswith("PGEMBED")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(connecting, "private_url", lambda: None)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], nobody_names_a_database: None) -> Run:
    """Run the command `pgembed` with arguments."""
    from pgembed import cli

    def command(*arguments: object) -> Said:
        try:
            status = cli.main([*map(str, arguments)])
        except SystemExit as ended:
            status = int(ended.code or 0)
        return Said(status, *capsys.readouterr())

    return command


@pytest.fixture
def url(db: Connection, server_url: str) -> str:
    """URL of the test's database, with the table thing in it: three rows, whose vectors are their places."""
    db.execute(
        """
        CREATE TABLE thing (id int PRIMARY KEY, name text, price numeric, made date, e vector(3));
        INSERT INTO thing VALUES
            (1, 'jacket', 79.5, '2024-02-01', '[1,0,0]'), (2, 'tent', 100, NULL, '[0,1,0]'), (3, 'stove', 20, NULL, '[0,0,1]');
        SELECT pgembed.adopt_embedding('thing', 'e');
        """
    )
    return conninfo.make_conninfo(server_url, dbname=db.info.dbname)
