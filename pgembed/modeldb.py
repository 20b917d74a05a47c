"""modeldb: what the command line asks of databases about models. The one room of the commands ``pgembed model`` that imports psycopg."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from pgembed import errors, sampling
from pgembed.clientdb import FIND_TABLE, connected, must_have_extension
from pgembed.columns import quote
from pgembed.database import Row
from pgembed.psycopgdb import PsycopgDatabase

_USES = """
    SELECT format('column %%s.%%I', e.table_name, e.column_name) AS line FROM pgembed._embedding AS e
    JOIN pg_catalog.pg_class AS t ON t.oid OPERATOR(pg_catalog.=) e.table_name
    WHERE e.model = %(name)s AND NOT EXISTS (SELECT FROM pgembed._model AS m WHERE m.name = e.model AND m.fingerprint = e.fingerprint)
    UNION ALL
    SELECT DISTINCT format('model %%s, which is made of it', m.name) FROM pgembed._model AS m
    WHERE m.source = %(name)s AND m.name <> m.source AND m.kind <> 'remote'
    UNION ALL
    SELECT 'the default model, which pgembed.set_default_model() changes' FROM pgembed._setting AS s
    WHERE s.name = 'default_model' AND s.value = %(name)s
      AND NOT EXISTS (SELECT FROM pgembed._model AS m WHERE m.name = s.value)
    ORDER BY 1
"""


def listed(url: str, name: str | None = None) -> list[Row]:
    """The lines of the view pgembed.models of a database; ``name`` chooses."""
    with connected(url) as connection, connection.cursor(row_factory=dict_row) as cursor:
        must_have_extension(connection)
        cursor.execute("SELECT * FROM pgembed.models WHERE name = coalesce(%s, name) ORDER BY name, revision", [name])
        return list(cursor.fetchall())


def register(url: str, arguments: Mapping[str, object], say: Any) -> str:
    """Call pgembed.register_model() with those of its arguments that are not None; the fingerprint.

    Args:
        say: gets what the server tells meanwhile, a line each.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    call = sql.SQL("SELECT pgembed.register_model({})").format(
        sql.SQL(", ").join(sql.SQL("{} => {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in given)
    )
    with connected(url) as connection:
        must_have_extension(connection)
        connection.add_notice_handler(lambda said: say(said.message_primary or ""))
        row = connection.execute(call, given).fetchone()
        assert row is not None
        return str(row[0])


def uses(url: str, name: str) -> list[str]:
    """What needs an installed model, in all databases of a server: a line each, the database first.

    Raises:
        errors.NotReady: a database cannot be asked, so that nobody knows.
    """
    with connected(url) as connection:
        found = connection.execute("SELECT datname FROM pg_database WHERE datallowconn ORDER BY datname").fetchall()
    return [f"database {database}: {line}" for (database,) in found for line in _uses_in(url, database, name)]


def _uses_in(url: str, database: str, name: str) -> list[str]:
    try:
        with connected(url, dbname=database) as connection:
            if connection.execute("SELECT to_regclass('pgembed._model') IS NULL").fetchone() == (True,):
                return []
            return [str(line) for (line,) in connection.execute(_USES, {"name": name}).fetchall()]
    except errors.NotReady:
        # Dropped in the meantime, it needs nothing.
        with connected(url) as connection:
            if connection.execute("SELECT FROM pg_database WHERE datname = %s AND datallowconn", [database]).fetchone() is None:
                return []
        raise


def texts(url: str, where: str, most: int) -> list[str]:
    """A sample of the texts of a column, given as schema.table.column, or table.column in the role's own schema or public.

    Raises:
        errors.InvalidParameter: it is not written so.
        errors.UnknownTable, errors.UnknownColumn, errors.DatatypeMismatch: there is no such column of texts.
    """
    with connected(url) as connection:
        must_have_extension(connection)
        try:
            row = connection.execute("SELECT parse_ident(%s)", [where]).fetchone()
        except psycopg.errors.InvalidParameterValue:
            row = None
        parts = row[0] if row else []
        if len(parts) not in (2, 3):
            raise errors.InvalidParameter(f'"{where}" is no column', hint="Write it as table.column or schema.table.column.")
        typed = ".".join(quote(part) for part in parts[:-1])
        row = connection.execute(FIND_TABLE.format("%s").encode(), [typed]).fetchone()
        if row is None:
            raise errors.UnknownTable(f'table "{typed}" does not exist', hint="Write the column as schema.table.column.")
        return sampling.texts(PsycopgDatabase(connection), sampling.Where(row[1], parts[-1]), most)
