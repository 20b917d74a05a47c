"""pgembed.alembic: what autogenerate writes for vectors makes the database what the models say, there and back."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import alembic.templates
import psycopg
import pytest
from alembic import command
from alembic.autogenerate import produce_migrations
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, MetaData, create_engine, make_url
from sqlalchemy.pool import NullPool
from vector_models import CASES, Case

ENV = """
from alembic import context
import pgembed.alembic

given = context.config.attributes
context.configure(connection=given["connection"], target_metadata=given["metadata"], **given["options"])
with context.begin_transaction():
    context.run_migrations()
"""
OTHER = "Other one"


class Project:
    """A user's project with migrations, whose tables are in a schema of its own.

    Attributes:
        metadata: of its models.
        options: what its env.py gives to ``context.configure`` besides.
    """

    def __init__(self, folder: Path, engine: Engine, metadata: MetaData) -> None:
        self.engine = engine
        self.metadata = metadata
        self.options: dict[str, Any] = {"compare_server_default": True, "transaction_per_migration": True}
        self.setup: Callable[[Connection], object] = lambda _: None
        self._folder = folder
        (folder / "versions").mkdir(parents=True)
        (folder / "env.py").write_text(ENV)
        template = (Path(alembic.templates.__path__[0]) / "generic" / "script.py.mako").read_text()
        (folder / "script.py.mako").write_text(template.replace("import sqlalchemy as sa", "import sqlalchemy as sa\nimport vector_models"))

    def revise(self) -> str:
        """Autogenerate a revision, and run it; its text."""
        name = f"r{len(list((self._folder / 'versions').iterdir()))}"
        self.run(command.revision, autogenerate=True, rev_id=name)
        self.run(command.upgrade, "head")
        written = next((self._folder / "versions").glob(f"{name}_*")).read_text()
        # what it needs it imports
        assert ("pgvector." in written) == ("import pgvector.sqlalchemy" in written)
        return written

    def differences(self) -> set[str]:
        """Tables of which autogenerate would write something."""
        with self.engine.connect() as connection:
            self.setup(connection)
            context = MigrationContext.configure(connection, opts={**self.options, "target_metadata": self.metadata})
            written: Any = produce_migrations(context, self.metadata).upgrade_ops
            return {operation.table_name for operation in written.ops}

    def run(self, what: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        with self.engine.connect() as connection:
            self.setup(connection)
            config = Config(stdout=io.StringIO(), output_buffer=io.StringIO())
            config.set_main_option("script_location", str(self._folder))
            config.attributes.update(connection=connection, metadata=self.metadata, options=self.options)
            what(config, *arguments, **options)
            connection.commit()


@pytest.fixture(scope="module")
def bare(server_url: str, _bare_clones: Any) -> Iterator[str]:
    """The URL of a database with pgvector alone."""
    name = _bare_clones.take()
    with psycopg.connect(server_url, dbname=name, autocommit=True) as connection:
        connection.execute(f'CREATE EXTENSION vector; CREATE SCHEMA "{OTHER}"; CREATE DOMAIN unit AS vector(3)')
    yield name
    _bare_clones.give_back(name)


@pytest.fixture(scope="module")
def installed(server_url: str, _installed_clones: Any) -> Iterator[str]:
    """The URL of a database with pgembed."""
    name = _installed_clones.take()
    yield name
    _installed_clones.give_back(name)


@pytest.fixture
def project(server_url: str, bare: str, tmp_path: Path) -> Iterator[Project]:
    """A project without tables."""
    with _project(server_url, bare, tmp_path / "migrations") as made:
        yield made


@contextmanager
def _project(server_url: str, database: str, folder: Path) -> Iterator[Project]:
    with psycopg.connect(server_url, dbname=database, autocommit=True) as connection:
        row = connection.execute("SELECT 'a' || count(*) FROM pg_namespace").fetchone()
        assert row is not None
        connection.execute(f"CREATE SCHEMA {row[0]}")
    url = make_url(server_url).set(drivername="postgresql+psycopg", database=database)
    engine = create_engine(url, poolclass=NullPool, connect_args={"options": f"-csearch_path={row[0]},public"})
    yield Project(folder, engine, MetaData())
    engine.dispose()


@dataclass
class History:
    """What became of the cases of a database, which are tables of one project.

    Attributes:
        created: text of the first migration, changed: of the second.
        wrong: by what was done last, the tables that differ from their models though they should not.
    """

    created: str = ""
    changed: str = ""
    wrong: dict[str, set[str]] = field(default_factory=dict)


def _history(project: Project, cases: list[Case]) -> History:
    told = History()
    before, after = MetaData(), MetaData()
    for case in cases:
        case.before.add_to(before, case.table)
        (case.after or case.before).add_to(after, case.table)
    project.options |= {"include_schemas": True, "include_name": lambda name, kind, _: kind != "schema" or name in (None, OTHER)}
    project.metadata = before
    told.created = project.revise()
    told.wrong["upgrade"] = project.differences()
    project.run(command.downgrade, "base")
    project.run(command.upgrade, "head")
    told.wrong["downgrade and upgrade"] = project.differences()
    project.metadata = after
    told.changed = project.revise()
    told.wrong["a change"] = project.differences()
    # what the change undoes is as it was, operator classes and options included
    project.run(command.downgrade, "-1")
    project.metadata = before
    told.wrong["a change undone"] = project.differences()
    return told


@pytest.fixture(scope="module")
def histories(server_url: str, tmp_path_factory: pytest.TempPathFactory, bare: str, installed: str) -> dict[bool, History]:
    """Of the cases without and with pgembed in the database."""
    made = {}
    for database, with_pgembed in ((bare, False), (installed, True)):
        with _project(server_url, database, tmp_path_factory.mktemp("migrations") / "project") as project:
            made[with_pgembed] = _history(project, [case for case in CASES if case.pgembed is with_pgembed])
    return made


def commands(migration: str, table: str, half: str) -> str:
    """The commands of a migration that name a table."""
    body = migration.partition("def upgrade()")[2].partition("def downgrade()")[half == "downgrade"]
    return "".join(part for part in re.split(r"\n    (?=op\.|with )", body) if f"'{table}'" in part)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_declaration_converges(case: Case, histories: dict[bool, History]) -> None:
    told = histories[case.pgembed]
    assert {step for step, tables in told.wrong.items() if case.table in tables} == set()
    assert case.creates in commands(told.created, case.table, "upgrade")
    if case.after:
        assert case.changes in commands(told.changed, case.table, "upgrade")
    else:
        assert commands(told.changed, case.table, "upgrade") == ""


def test_nothing_else_differs(histories: dict[bool, History]) -> None:
    assert len(CASES) >= 55
    assert all(tables == set() for told in histories.values() for tables in told.wrong.values())
