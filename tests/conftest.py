"""Fixtures of all tests. What needs a server takes `db` or `empty_db` and is skipped where PGEMBED_URL names none; `make test` sets it.

The extension is created once, in a template; every test has a clone of it, so a test may do to its database what it likes; clones are made
and dropped beside the tests (pgembed/testing/clones.py). A module may say
`pytestmark = pytest.mark.one_transaction`: then its tests share a clone and a session, and each is a transaction that is rolled back, which
takes a tenth of the time. What commits, needs a second session or changes what no transaction undoes is marked `own_database` there.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import psycopg
import pytest
from psycopg import conninfo, sql
from pytest_postgresql import factories

from pgembed.errors import PgembedError
from pgembed.testing.clones import Clones

Connection = psycopg.Connection[Any]

# Of several processes (pytest-xdist) each has a server of its own, where `make test` has started one for it: roles, settings and who is
# connected are the whole server's. Modules and processes that tests start look for it where it always is.
if own := os.environ.get(f"PGEMBED_URL_{os.environ.get('PYTEST_XDIST_WORKER')}"):
    os.environ["PGEMBED_URL"] = own
URL = os.environ.get("PGEMBED_URL", "")
SERVER = conninfo.conninfo_to_dict(URL) if URL else {}
# Roles and databases are the whole server's: the process's number keeps two runs on one server apart.
RUN = str(os.getpid())


def _create_extension(*, host: str, port: str, user: str, dbname: str, password: str | None, **_: object) -> None:
    with psycopg.connect(host=host, port=port, user=user, dbname=dbname, password=password, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION pgembed CASCADE")


def _create_nothing(**_: object) -> None:
    """The template of `empty_db` stays as it is."""


def _server(name: str, load: Callable[..., None]) -> Any:
    return factories.postgresql_noproc(
        host=SERVER.get("host") and str(SERVER["host"]),
        port=SERVER.get("port") and str(SERVER["port"]),
        user=SERVER.get("user") and str(SERVER["user"]),
        password=SERVER.get("password") and str(SERVER["password"]),
        dbname=f"pgembed_{name}_{RUN}",
        load=[load],
    )


installed_server = _server("test", _create_extension)
bare_server = _server("bare", _create_nothing)


class Refused(Protocol):
    """Run a statement that must fail; see the fixture `refused`."""

    def __call__(
        self, connection: Connection, sqlstate: str, statement: str, values: object = None, *, message: str = "", hint: str | None = ""
    ) -> psycopg.Error:
        """Return the error, once SQLSTATE, message and hint are as expected."""
        ...


@pytest.fixture(scope="session")
def server_url() -> str:
    """URL of the server under test, as a superuser."""
    if not URL:
        pytest.skip("PGEMBED_URL is not set: `make test` starts a server and sets it")
    return URL


@contextmanager
def _clones_of(server: Any, opened: list[Clones]) -> Iterator[Clones]:
    clones = Clones(URL, server.template_dbname)
    opened.append(clones)
    yield clones
    opened.remove(clones)
    clones.close()


@pytest.fixture(scope="session")
def _opened_clones() -> list[Clones]:
    return []


@pytest.fixture(scope="session")
def _installed_clones(installed_server: Any, _opened_clones: list[Clones]) -> Iterator[Clones]:
    with _clones_of(installed_server, _opened_clones) as clones:
        yield clones


@pytest.fixture(scope="session")
def _bare_clones(bare_server: Any, _opened_clones: list[Clones]) -> Iterator[Clones]:
    with _clones_of(bare_server, _opened_clones) as clones:
        yield clones


@contextmanager
def _connected(clones: Clones) -> Iterator[Connection]:
    name = clones.take()
    try:
        with closing(psycopg.connect(URL, dbname=name, autocommit=True)) as connection:
            yield connection
    finally:
        clones.give_back(name)


@pytest.fixture
def _installed_clone(_installed_clones: Clones) -> Iterator[Connection]:
    with _connected(_installed_clones) as connection:
        yield connection


@pytest.fixture
def _bare_clone(_bare_clones: Clones) -> Iterator[Connection]:
    with _connected(_bare_clones) as connection:
        yield connection


@pytest.fixture
def roles(server_url: str, _opened_clones: list[Clones]) -> Iterator[list[str]]:
    """Roles to drop after the test's database is gone."""
    made: list[str] = []
    yield made
    if not made:
        return
    for clones in _opened_clones:
        clones.wait()
    with psycopg.connect(server_url, autocommit=True) as connection:
        for role in reversed(made):
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


@pytest.fixture(scope="session")
def _common_database(server_url: str, installed_server: Any) -> Iterator[str]:
    """A clone for the tests that are rolled back."""
    name = f"pgembed_common_{RUN}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        template = sql.Identifier(installed_server.template_dbname)
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), template))
        yield name
        connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))


class _Forgiving(psycopg.Connection[Any]):
    """A connection whose open transaction goes on after an error."""

    def execute(self, *arguments: Any, **options: Any) -> psycopg.Cursor[Any]:
        if self.info.transaction_status is not psycopg.pq.TransactionStatus.INTRANS:
            return super().execute(*arguments, **options)
        with self.transaction():
            return super().execute(*arguments, **options)


@pytest.fixture(scope="module")
def _common_session(_common_database: str) -> Iterator[Connection]:
    # without prepared statements, which outlive the tables that a test has made
    with closing(_Forgiving.connect(URL, dbname=_common_database, autocommit=True, prepare_threshold=None)) as connection:
        yield connection


@pytest.fixture
def db(server_url: str, roles: list[str], request: pytest.FixtureRequest) -> Iterator[Connection]:
    """A connection in autocommit mode to a fresh database with the extension; see above for `one_transaction`."""
    if request.node.get_closest_marker("one_transaction") and not request.node.get_closest_marker("own_database"):
        common: Connection = request.getfixturevalue("_common_session")
        common.execute("BEGIN")
        yield common
        common.rollback()
        common.execute("DEALLOCATE ALL")
        return
    connection: Connection = request.getfixturevalue("_installed_clone")
    yield connection


@pytest.fixture
def empty_db(server_url: str, roles: list[str], request: pytest.FixtureRequest) -> Connection:
    """A connection in autocommit mode to a fresh database without the extension."""
    connection: Connection = request.getfixturevalue("_bare_clone")
    return connection


@pytest.fixture
def connect() -> Iterator[Callable[[Connection], Connection]]:
    """Open one more session, in autocommit mode, in the database of a connection."""
    opened: list[Connection] = []

    def another(connection: Connection) -> Connection:
        opened.append(psycopg.connect(URL, dbname=connection.info.dbname, autocommit=True))
        return opened[-1]

    yield another
    for connection in opened:
        connection.close()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that the server's user can read, unlike `tmp_path`."""
    with tempfile.TemporaryDirectory(prefix="pgembed-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


class Notice(NamedTuple):
    """What the server has told beside results."""

    severity: str
    message: str
    hint: str | None


@pytest.fixture
def notices(request: pytest.FixtureRequest) -> Iterator[list[Notice]]:
    """What the server tells the test's connection from now on."""
    connection = request.getfixturevalue("empty_db" if "empty_db" in request.fixturenames else "db")
    told: list[Notice] = []

    def keep(said: psycopg.errors.Diagnostic) -> None:
        told.append(Notice(said.severity or "", said.message_primary or "", said.message_hint))

    connection.add_notice_handler(keep)
    yield told
    connection.remove_notice_handler(keep)


@pytest.fixture
def make_role(request: pytest.FixtureRequest, roles: list[str]) -> Callable[..., str]:
    """Create a role that may not log in, and return its name: `make_role("alice")`, `make_role("group", "NOINHERIT")`."""
    connection = request.getfixturevalue("empty_db" if "empty_db" in request.fixturenames else "db")

    def make(name: str, options: str = "") -> str:
        role = f"{name}_{RUN}"
        connection.execute(f"CREATE ROLE {role} {options}")
        roles.append(role)
        return role

    return make


@pytest.fixture
def as_role() -> Callable[[Connection, str], AbstractContextManager[None]]:
    """Be another role, as if it had logged in, inside of a with block: `with as_role(db, role): ...`."""

    @contextmanager
    def become(connection: Connection, role: str) -> Iterator[None]:
        connection.execute(sql.SQL("SET SESSION AUTHORIZATION {}").format(sql.Identifier(role)))
        try:
            yield
        finally:
            connection.execute("RESET SESSION AUTHORIZATION")

    return become


@pytest.fixture
def refused() -> Refused:
    """Run a statement that must fail with an SQLSTATE, with parts of its message and of its hint (None: it has no hint)."""

    def run(
        connection: Connection, sqlstate: str, statement: str, values: object = None, *, message: str = "", hint: str | None = ""
    ) -> psycopg.Error:
        with pytest.raises(psycopg.Error) as caught:
            connection.execute(statement, values)  # type: ignore[arg-type, call-overload]
        error = caught.value
        assert error.sqlstate == sqlstate, str(error)
        assert message in (error.diag.message_primary or "")
        if hint is None:
            assert error.diag.message_hint is None
        else:
            assert error.diag.message_hint, f"no hint: {error}"
            assert hint in error.diag.message_hint
        return error

    return run


@pytest.fixture
def spots(db: Connection) -> Connection:
    """A database with five rows in the table `spot`, whose vectors of three dimensions are given: search without any model.

    From [1,0,0] the cosine distances are: east 0, northeast 0.29, north 1, up 1, west 2.
    """
    db.execute(
        """
        CREATE TABLE spot (id int PRIMARY KEY, name text, size int, e vector(3));
        INSERT INTO spot VALUES
            (1, 'east', 10, '[1,0,0]'), (2, 'north', 20, '[0,1,0]'), (3, 'northeast', 30, '[1,1,0]'),
            (4, 'up', 40, '[0,0,1]'), (5, 'west', 50, '[-1,0,0]');
        SELECT pgembed.adopt_embedding('spot', 'e');
        """
    )
    return db


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """DETAIL and HINT of an error that failed a test: its message alone may name the file and not what was wrong with it."""
    report = yield
    error = call.excinfo and call.excinfo.value
    if report.failed and isinstance(error, PgembedError):
        report.sections += [(name, text) for name, text in (("DETAIL", error.detail), ("HINT", error.hint)) if text]
    return report
