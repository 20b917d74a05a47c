"""A project with Alembic, as a user has one: env.py, a template and revisions, run by Alembic's own commands."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import alembic
from alembic import command
from alembic.config import Config
from alembic.operations import MigrateOperation
from alembic.script import ScriptDirectory
from sqlalchemy import URL, MetaData, create_engine

ENV = """\
from alembic import context

import pgembed.alembic

said = context.config.attributes
if context.is_offline_mode():
    context.configure(url=said["url"], target_metadata=said["metadata"], output_buffer=said["written"], **said["options"])
    with context.begin_transaction():
        context.run_migrations()
else:
    with said["engine"].connect() as connection:
        if said["role"]:
            connection.exec_driver_sql(f"SET ROLE {said['role']}")
            connection.commit()
        context.configure(
            connection=connection, target_metadata=said["metadata"], process_revision_directives=said["noted"], **said["options"]
        )
        with context.begin_transaction():
            context.run_migrations()
"""


class Project:
    """Revisions in a folder, of a database; to be closed."""

    def __init__(self, folder: Path, url: URL, metadata: MetaData | None = None, options: Mapping[str, Any] | None = None) -> None:
        self.folder = folder
        (folder / "versions").mkdir(parents=True)
        (folder / "env.py").write_text(ENV)
        template = Path(alembic.__file__).parent / "templates" / "generic" / "script.py.mako"
        (folder / "script.py.mako").write_text(template.read_text())
        self.operations: list[MigrateOperation] = []
        self.written = io.StringIO()
        # one session for all commands, for one that has not yet run Python takes its time to
        self.engine = create_engine(url)
        self.config = Config()
        self.config.set_main_option("script_location", str(folder))
        self.config.set_main_option("path_separator", "os")
        self.config.attributes.update(
            url=url,
            engine=self.engine,
            metadata=metadata or MetaData(),
            options=dict(options or {}),
            noted=self._note,
            written=self.written,
            role=None,
        )

    def close(self) -> None:
        """End its session."""
        self.engine.dispose()

    def use(self, metadata: MetaData | list[MetaData]) -> None:
        """What the models are from now on."""
        self.config.attributes["metadata"] = metadata

    def _note(self, _context: Any, _revision: Any, directives: list[Any]) -> None:
        self.operations = _flat(directives[0].upgrade_ops)
        if not self.operations and self.config.attributes.get("only_looking"):
            directives.clear()

    def autogenerate(self, message: str = "next", **options: Any) -> str:
        """Make a revision of what the models have and the database has not; its text."""
        made: Any = command.revision(self.config, message, autogenerate=True, **options)
        return Path(made.path).read_text()

    def differences(self) -> list[MigrateOperation]:
        """What a revision would do, without one."""
        self.config.attributes["only_looking"] = True
        made: Any = command.revision(self.config, "looked", autogenerate=True)
        if made:
            Path(made.path).unlink()
        self.config.attributes["only_looking"] = False
        return self.operations

    def write(self, revision: str, upgrade: str, downgrade: str = "pass", *, after: str | None = None) -> None:
        """A revision by hand."""
        body = "\n".join(f"    {line}" for line in upgrade.splitlines())
        back = "\n".join(f"    {line}" for line in downgrade.splitlines())
        (self.folder / "versions" / f"{revision}.py").write_text(
            "import sqlalchemy as sa\nfrom alembic import op\n\nimport pgembed.alembic\n\n"
            f"revision = {revision!r}\ndown_revision = {after!r}\n\n\ndef upgrade():\n{body}\n\n\ndef downgrade():\n{back}\n"
        )

    def upgrade(self, to: str = "head") -> None:
        """``alembic upgrade``."""
        command.upgrade(self.config, to)

    def downgrade(self, to: str = "base") -> None:
        """``alembic downgrade``."""
        command.downgrade(self.config, to)

    def take_back(self) -> None:
        """Downgrade by one revision, and forget it."""
        heads: Any = ScriptDirectory.from_config(self.config).get_current_head()
        command.downgrade(self.config, "-1")
        for file in (self.folder / "versions").glob(f"{heads}_*.py"):
            file.unlink()

    def script(self, to: str = "head") -> str:
        """``alembic upgrade --sql``."""
        self.written.seek(0)
        self.written.truncate()
        command.upgrade(self.config, to, sql=True)
        return self.written.getvalue()


def _flat(container: Any) -> list[MigrateOperation]:
    found: list[MigrateOperation] = []
    for one in container.ops:
        found += _flat(one) if hasattr(one, "ops") else [one]
    return found
