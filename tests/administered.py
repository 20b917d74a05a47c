"""A database as a company has it: an administrator has installed pgembed, and whoever uses it logs in by password and owns one schema."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import conninfo
from sqlalchemy import URL
from support import Connection

from pgembed.testing import MODEL, write_model
from pgembed.testing.clones import Clones
from pgembed.testing.databases import FORGET_FILES

SECRET = "of the keeper"
KEEPER = f"keeper_{os.getpid()}"


class Place:
    """The database, as its administrator and as the keeper see it.

    Attributes:
        name: of the database.
        administrator: a superuser's session.
        url: the keeper's, for libpq.
    """

    def __init__(self, server: str, name: str, administrator: Connection) -> None:
        self.name = name
        self.administrator = administrator
        self.url = conninfo.make_conninfo(server, dbname=name, user=KEEPER, password=SECRET)

    def sqlalchemy(self, driver: str = "psycopg") -> URL:
        """The keeper's URL for an engine."""
        info = self.administrator.info
        query = {"host": info.host, "port": str(info.port)}
        return URL.create(f"postgresql+{driver}", username=KEEPER, password=SECRET, database=self.name, query=query)

    def connect(self) -> Connection:
        """A session of the keeper's, in autocommit mode."""
        return psycopg.connect(self.url, autocommit=True)

    def tidy(self) -> None:
        """Take away what the keeper has made; the keeper keeps a schema, which nobody else may use."""
        self.administrator.execute(f"DROP OWNED BY {KEEPER} CASCADE; CREATE SCHEMA {KEEPER} AUTHORIZATION {KEEPER}")

    def left(self) -> list[str]:
        """What there is of the keeper's, and lines of the registry."""
        return [
            row[0]
            for row in self.administrator.execute(
                "SELECT c.relname::text FROM pg_class AS c WHERE c.relkind IN ('r', 'S', 'v')"
                f" AND pg_get_userbyid(c.relowner) = '{KEEPER}' AND c.relname !~ '^alembic'"
                f" UNION ALL SELECT p.proname FROM pg_proc AS p WHERE pg_get_userbyid(p.proowner) = '{KEEPER}'"
                " UNION ALL SELECT column_name FROM pgembed._embedding UNION ALL SELECT name FROM pgembed._codec"
                " UNION ALL SELECT column_name FROM pgembed._code UNION ALL SELECT name FROM pgembed._linker"
            ).fetchall()
        ]


@contextmanager
def prepared(server: str, clones: Clones) -> Iterator[Place]:
    """The database, with a tiny model as its default; role and database are dropped afterwards."""
    name = clones.take()
    with tempfile.TemporaryDirectory() as folder, psycopg.connect(server, dbname=name, autocommit=True) as administrator:
        Path(folder).chmod(0o755)
        administrator.execute("SELECT pgembed.register_model(%s, %s)", [MODEL, str(write_model(Path(folder) / "tiny"))])
        administrator.execute("SELECT pgembed.set_default_model(%s)", [MODEL])
        administrator.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        administrator.execute(f"CREATE ROLE {KEEPER} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD '{SECRET}'")
        try:
            yield Place(server, name, administrator)
            administrator.execute(FORGET_FILES)
        finally:
            administrator.execute(f"DROP OWNED BY {KEEPER} CASCADE")
            administrator.execute(f"DROP ROLE {KEEPER}")
    clones.give_back(name)
