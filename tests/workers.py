"""Processes ``pgembed worker``, for tests; the fixture `start` of the client tests makes them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from psycopg import conninfo
from support import PATIENCE, Connection


class Worker:
    """A process ``pgembed worker``; what it says goes to a file."""

    def __init__(self, db: Connection, log: Path, arguments: tuple[str, ...], **changes: str) -> None:
        self.log = log
        url = conninfo.make_conninfo(db.info.dsn, password=db.info.password or None, **changes)
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "pgembed.cli", "worker", url, *arguments],
                stdout=file,
                stderr=file,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def ended(self) -> int:
        """Its status, once it has ended."""
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end; it said: {self.said()}") from None

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.ended()


Start = Callable[..., Worker]


def one(db: Connection, statement: str, values: Any = None) -> Any:
    row = db.execute(statement, values).fetchone()
    assert row is not None
    return row[0]


def states(db: Connection, table: str = "product") -> dict[str, int]:
    return dict(db.execute(f"SELECT pgembed.freshness(embedding, embedding_hash), count(*) FROM {table} GROUP BY 1").fetchall())
