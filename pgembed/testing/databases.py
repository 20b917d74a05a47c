"""databases: the server of a test run, and the template that its databases are copies of."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from pgembed import errors
from pgembed.testing.model import MODEL, write_model

if TYPE_CHECKING:
    import psycopg

NEEDED = "pip install 'pgembed-extension[pytest]'"
# The files of a model that was registered from a folder stay when its database is dropped.
FORGET_FILES = """
DO LANGUAGE plpython3u $python$
from pgembed.testing import databases
databases.forget_files()
$python$
"""


@dataclass(frozen=True)
class Place:
    """Where a server is, as libpq knows it; the database is the one to create others from."""

    host: str
    port: int
    user: str
    password: str | None
    database: str
    further: tuple[tuple[str, str], ...] = ()  # what else the URL says, such as sslmode

    @classmethod
    def of(cls, url: str) -> Place:
        """Of a URL or connection string that works; PG* variables and service files fill in what it leaves out."""
        import psycopg
        from psycopg import conninfo

        with psycopg.connect(url) as connection:
            info = connection.info
            said = conninfo.conninfo_to_dict(url)
            own = ("host", "port", "user", "password", "dbname", "service")
            further = tuple((name, str(value)) for name, value in said.items() if name not in own and value is not None)
            return cls(info.host, info.port, info.user, info.password or None, info.dbname, further)

    def url(self, database: str, scheme: str = "postgresql") -> str:
        """A URL of one database, for libpq or for what takes the same after another scheme. A socket's folder is in the query."""
        secret = f":{quote(self.password, safe='')}" if self.password else ""
        # libpq reads a plus as a plus
        query = urlencode([("host", self.host), ("port", str(self.port)), *self.further], quote_via=quote)
        return f"{scheme}://{quote(self.user, safe='')}{secret}@/{quote(database, safe='')}?{query}"


@dataclass(frozen=True)
class Prepared:
    """What pytest-postgresql calls an executor: a server, and a template for its databases."""

    host: str
    port: int
    user: str
    password: str | None
    options: str
    dbname: str
    template_dbname: str
    maintenance_dbname: str
    version: Any  # packaging.version.Version


@contextmanager
def server(url: str | None) -> Iterator[Place]:
    """The server to test on.

    Args:
        url: of one that is there, as a superuser; None: a private one is started, in a new cluster, and removed afterwards.
    Raises:
        errors.NotReady: psycopg is not installed, the server can't be reached, or none can be started here; the hint says what to do.
    """
    try:
        import psycopg
    except ModuleNotFoundError:
        raise errors.NotReady("package psycopg is not installed", hint=NEEDED) from None
    with contextlib.ExitStack() as stack:
        if url is None:
            from pgembed.server import Server

            try:
                private = Server(name=f"pytest-{os.getpid()}")
                stack.callback(private.remove)
                private.start(throw_away=True)
            except errors.PgembedError as error:
                hint = f"{error.hint or ''} Or name a server that has pgembed: PGEMBED_URL=postgresql://... or --pgembed-url.".lstrip()
                raise errors.NotReady(f"no private server for tests: {error.message}", detail=error.detail, hint=hint) from None
            url = private.url()
        try:
            place = Place.of(url)
        except (psycopg.OperationalError, psycopg.ProgrammingError) as error:  # the second one where it is no URL at all
            raise errors.NotReady(
                f"the server for tests can't be reached: {str(error).strip()}",
                hint='PGEMBED_URL and --pgembed-url name it: a URL, or "host=... dbname=...".',
            ) from None
        yield place


@contextmanager
def template(place: Place, load: Sequence[Callable[..., Any] | str | Path] = (), *, source: str | None = None) -> Iterator[Prepared]:
    """A database with the extension, the tiny model as its default one, and what a project loads; dropped afterwards.

    Args:
        load: as pytest-postgresql's, in this order: files of SQL, and functions, or their names, that take host, port, user, dbname
            and password.
        source: a database to begin with, as an administrator has made it; None for the server's template1.
    Raises:
        errors.NotReady: pytest-postgresql is not installed, the server lacks pgembed, or the role may not make databases, or not do what is
            still to be done.
    """
    import psycopg
    from psycopg import sql

    try:
        from packaging.version import parse
        from pytest_postgresql.loader import build_loader
    except ModuleNotFoundError:
        raise errors.NotReady("package pytest-postgresql is not installed", hint=NEEDED) from None
    own = f"pgembed_pytest_{os.getpid()}"
    name = sql.Identifier(f"{own}_tmpl")
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name)
    with psycopg.connect(place.url(place.database), autocommit=True) as session:
        version = parse(str(session.info.server_version // 10000))
        session.execute(drop)
        try:
            session.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(name, sql.Identifier(source or "template1")))
        except psycopg.errors.InsufficientPrivilege as error:
            # of the server, or of a template that is not marked as one
            raise errors.NotReady(
                f"no database for tests can be made: {error.diag.message_primary}",
                hint=f"As a superuser: ALTER ROLE {sql.Identifier(place.user).as_string()} CREATEDB."
                + (f" ALTER DATABASE {sql.Identifier(source).as_string()} IS_TEMPLATE true." if source else "")
                + " Or name a server of your own: --pgembed-url.",
            ) from None
    options = dict(place.further).get("options", "")
    made = Prepared(place.host, place.port, place.user, place.password, options, own, f"{own}_tmpl", place.database, version)
    inside = place.url(made.template_dbname)
    try:
        with psycopg.connect(inside, autocommit=True) as session:
            _install(session)
        for element in load:
            build_loader(element)(host=place.host, port=place.port, user=place.user, dbname=made.template_dbname, password=place.password)
        yield made
    finally:
        with contextlib.suppress(psycopg.Error), psycopg.connect(inside, autocommit=True) as session:
            session.execute(FORGET_FILES)
        with psycopg.connect(place.url(place.database), autocommit=True) as session:
            session.execute(drop)


def _install(session: psycopg.Connection[Any]) -> None:
    import psycopg

    try:
        session.execute("CREATE EXTENSION IF NOT EXISTS pgembed CASCADE")
    except psycopg.Error as error:
        hint = error.diag.message_hint or "As a superuser, on the server's machine: pgembed install URL puts pgembed there."
        raise errors.NotReady(f"the server for tests lacks pgembed: {error.diag.message_primary}", hint=hint) from None
    known = session.execute("SELECT is_default FROM pgembed.models WHERE name = %s", [MODEL]).fetchone()
    if known is None:
        with tempfile.TemporaryDirectory(prefix="pgembed-pytest-") as folder:
            try:
                session.execute("SELECT pgembed.register_model(%s, %s)", [MODEL, str(write_model(Path(folder)))])
            except psycopg.Error as error:
                raise errors.NotReady(
                    f"the server for tests lacks the model for tests: {error.diag.message_primary}",
                    hint=f"Once, on the server's machine: python -m pgembed.testing.model /tmp/tiny && pgembed model add {MODEL} /tmp/tiny",
                ) from None
    if known is None or not known[0]:
        try:
            session.execute("SELECT pgembed.set_default_model(%s)", [MODEL])
        except psycopg.errors.InsufficientPrivilege as error:
            raise errors.NotReady(
                f"the model for tests is not the default one: {error.diag.message_primary}",
                hint=f"As a superuser, in the database of --pgembed-template: SELECT pgembed.set_default_model('{MODEL}').",
            ) from None


def forget_files() -> None:
    """In the server: remove the files of models that were registered from a folder in this database, which is about to be dropped."""
    import shutil

    from pgembed import catalogue
    from pgembed.udf.connection import DATABASE

    shutil.rmtree(catalogue.own_store(DATABASE), ignore_errors=True)


def loads(lines: Sequence[str], folder: Path) -> list[str | Path]:
    """What the setting ``pgembed_load`` names: files of SQL, from the folder of the configuration, and functions as module:name."""
    return [folder / line if re.search(r"\.sql$", line, re.IGNORECASE) else line for line in lines]
