"""plugin: pytest fixtures for projects that use pgembed; see README.md of this folder.

Every run of pytest in an environment with pgembed imports this, so it imports nothing that pytest has not, until a fixture is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pgembed import errors

if TYPE_CHECKING:
    import psycopg

    from pgembed.testing.clones import Clones
    from pgembed.testing.databases import Place, Prepared


def pytest_addoption(parser: pytest.Parser) -> None:
    """See pytest."""
    group = parser.getgroup("pgembed")
    group.addoption(
        "--pgembed-url",
        metavar="URL",
        help="server for the pgembed_* fixtures, as a superuser (default: $PGEMBED_URL, else a private one is started)",
    )
    group.addoption(
        "--pgembed-template",
        metavar="DATABASE",
        help="database that those of the pgembed_* fixtures begin as, where an administrator has made one (default: template1)",
    )
    parser.addini(
        "pgembed_load",
        "what databases of the pgembed_* fixtures begin with: files of SQL, from here, and functions as module:name",
        type="linelist",
    )


@contextmanager
def _explained() -> Iterator[None]:
    """Errors of the set-up in a few lines, with what to do about them."""
    try:
        yield
    except errors.PgembedError as error:
        _fail(error)


def _fail(error: errors.PgembedError) -> NoReturn:
    said = (error.message, error.detail and f"DETAIL: {error.detail}", error.hint and f"HINT: {error.hint}")
    pytest.fail("\n".join(line for line in said if line), pytrace=False)


@pytest.fixture(scope="session")
def _pgembed_server(request: pytest.FixtureRequest) -> Iterator[Place]:
    with _explained():
        from pgembed.testing import databases

        url = request.config.getoption("--pgembed-url") or os.environ.get("PGEMBED_URL") or None
        with databases.server(url) as place:
            yield place


@pytest.fixture(scope="session")
def pgembed_postgresql_proc(request: pytest.FixtureRequest, _pgembed_server: Place) -> Iterator[Prepared]:
    """A server with a template database: the extension, the tiny model and what the setting pgembed_load names.

    What pytest-postgresql's factories take: ``factories.postgresql("pgembed_postgresql_proc")``.
    """
    with _explained():
        from pgembed.testing import databases

        folder = request.config.inipath.parent if request.config.inipath else request.config.rootpath
        load = databases.loads(request.config.getini("pgembed_load"), folder)
        with databases.template(_pgembed_server, load, source=request.config.getoption("--pgembed-template")) as made:
            yield made


@pytest.fixture(scope="session")
def _pgembed_clones(_pgembed_server: Place, pgembed_postgresql_proc: Prepared) -> Iterator[Clones]:
    from pgembed.testing.clones import Clones

    clones = Clones(_pgembed_server.url(_pgembed_server.database), pgembed_postgresql_proc.template_dbname)
    yield clones
    clones.close()


@pytest.fixture
def _pgembed_database(_pgembed_clones: Clones) -> Iterator[str]:
    name = _pgembed_clones.take()
    yield name
    _pgembed_clones.give_back(name)


@pytest.fixture
def pgembed_url(_pgembed_server: Place, _pgembed_database: str) -> str:
    """libpq's URL of this test's own database, a fresh copy of the template; the one of pgembed_postgresql."""
    return _pgembed_server.url(_pgembed_database)


@pytest.fixture
def pgembed_sqlalchemy_url(_pgembed_server: Place, _pgembed_database: str) -> str:
    """The same for SQLAlchemy's engines, sync and async: ``postgresql+psycopg://...``."""
    return _pgembed_server.url(_pgembed_database, "postgresql+psycopg")


@pytest.fixture
def pgembed_postgresql(pgembed_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection to this test's own database, as psycopg opens it: other sessions see what is committed."""
    import psycopg

    connection = psycopg.connect(pgembed_url)
    yield connection
    connection.close()


@pytest.fixture(scope="session")
def pgembed_model() -> str:
    """The name of the tiny model, which is those databases' default one."""
    from pgembed.testing.model import MODEL

    return MODEL
