"""pgvector-python's own tests of SQLAlchemy and psycopg pass in a process that has pgembed's modules as well.

Its tests come with its source distribution, which pip fetches once into the folder of this checkout's environment. (It has none for
Alembic: what pgembed.alembic does to its types is in test_alembic_convergence.py.)
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

# Imported before theirs.
PLUGIN = '''
import contextlib
import os

from sqlalchemy import Engine, event

import pgembed.alembic
import pgembed.sqlalchemy

with contextlib.suppress(ImportError):
    import pgembed.psycopg


@event.listens_for(Engine, "do_connect")
def _use_server(dialect, record, arguments, options):
    """Of all drivers pg8000 alone takes no address from the environment."""
    if dialect.driver == "pg8000":
        host, port = os.environ["PGHOST"], int(os.environ["PGPORT"])
        options |= {"unix_sock": f"{host}/.s.PGSQL.{port}"} if host.startswith("/") else {"host": host, "port": port}
        options["user"] = os.environ["PGUSER"]
'''
# What their repository has beside the tests, and the distribution has not.
CONFTEST = "import numpy\n"
# Fails without pgembed, too: since SQLAlchemy 2.1 bits come from asyncpg as a type of SQLAlchemy's, which is not equal to asyncpg's.
BROKEN = "tests/test_sqlalchemy.py::TestSqlalchemyAsync::test_bit[engine2]"
DATABASE = "pgvector_python_test"  # the name is in their tests


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Their tests, of the version that is installed, unpacked."""
    version = importlib.metadata.version("pgvector")
    home = os.environ.get("PGEMBED_HOME")
    kept = Path(home) / "sdists" if home else tmp_path_factory.mktemp("sdists")
    archive = kept / f"pgvector-{version}.tar.gz"
    if not archive.exists():
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-binary", ":all:", "--no-deps", "--dest", str(kept)]
        fetched = subprocess.run([*pip, f"pgvector=={version}"], capture_output=True, text=True, check=False)
        if not archive.exists():
            pytest.skip(f"the source distribution of pgvector {version} cannot be had: {fetched.stderr.strip().splitlines()[-1:]}")
    folder = tmp_path_factory.mktemp("pgvector")
    shutil.unpack_archive(archive, folder)
    tests = folder / f"pgvector-{version}" / "tests"
    (tests / "__init__.py").touch()
    if not (tests / "conftest.py").exists():
        (tests / "conftest.py").write_text(CONFTEST)
    for module in tests.glob("test_*.py"):  # the server may have no port on localhost, or want a password there
        module.write_text(module.read_text().replace("//localhost/", "///").replace("@localhost/", "@/"))
    (folder / "with_pgembed.py").write_text(PLUGIN)
    return tests


def test_the_tests_of_pgvector_pass_beside_pgembed(suite: Path, server_url: str) -> None:
    for needed in ("asyncpg", "psycopg2", "pg8000", "psycopg_pool", "pytest_asyncio"):
        pytest.importorskip(needed)
    with psycopg.connect(server_url, autocommit=True) as connection:
        info = connection.info
        settings = {"PGHOST": info.host, "PGPORT": str(info.port), "PGUSER": info.user, "PGPASSWORD": info.password}
        taken: Any = connection.execute("SELECT pg_try_advisory_lock(hashtext(%s))", [DATABASE]).fetchone()
        assert taken[0], "another run has the database"
        connection.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {DATABASE}")
        try:
            with psycopg.connect(server_url, dbname=DATABASE, autocommit=True) as inside:
                inside.execute("CREATE EXTENSION pgembed CASCADE")
            environment = {**os.environ, **settings, "PYTHONPATH": str(suite.parent.parent)}
            options = ["-q", "-p", "no:cacheprovider", "-p", "with_pgembed", "--deselect", BROKEN]
            command = [sys.executable, "-m", "pytest", *options, "tests/test_sqlalchemy.py", "tests/test_psycopg.py"]
            ran = subprocess.run(command, cwd=suite.parent, env=environment, capture_output=True, text=True, check=False)
        finally:
            connection.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-2000:]
    passed = re.search(r"(\d+) passed", ran.stdout)
    assert passed
    assert int(passed[1]) > 200
    assert "skipped" not in ran.stdout
