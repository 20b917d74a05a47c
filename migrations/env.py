"""Alembic's environment for a database whose only migrations are pgembed's."""

from __future__ import annotations

import os
from logging.config import fileConfig

from alembic import context
from sqlalchemy import Connection, create_engine, make_url
from sqlalchemy.pool import NullPool

import pgembed.alembic  # noqa: F401  registers op.install_pgembed and its companions

# Not Alembic's usual name: the application in the same database may have migrations of its own.
VERSION_TABLE = "pgembed_alembic_version"


def url() -> str:
    """The database: ``-x url=...``, else PGEMBED_URL, else sqlalchemy.url of alembic.ini; libpq's form and SQLAlchemy's both do."""
    given = context.get_x_argument(as_dictionary=True).get("url") or os.environ.get("PGEMBED_URL")
    given = given or context.config.get_main_option("sqlalchemy.url")
    if not given:
        raise SystemExit("no database is named: alembic -x url=postgresql:///mydb ..., or set PGEMBED_URL")
    parsed = make_url(given)
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    return parsed.render_as_string(hide_password=False)


def migrate(connection: Connection) -> None:
    context.configure(connection=connection, version_table=VERSION_TABLE)
    with context.begin_transaction():
        context.run_migrations()


if context.config.config_file_name is not None:
    fileConfig(context.config.config_file_name, disable_existing_loggers=False)

if context.is_offline_mode():
    context.configure(dialect_name="postgresql", version_table=VERSION_TABLE, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
elif (given := context.config.attributes.get("connection")) is not None:
    migrate(given)
else:
    with create_engine(url(), poolclass=NullPool).connect() as connection:
        migrate(connection)
