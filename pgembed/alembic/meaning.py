"""meaning: whether two SQL expressions over a table say the same, by asking the server that reads them."""

from __future__ import annotations

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from pgembed.alembic.contract import table_name
from pgembed.alembic.present import Place


def same(connection: Connection, place: Place, first: str | None, second: str | None) -> bool:
    """Whether expressions mean the same to PostgreSQL, however they are spelled.

    Each becomes the definition of a temporary view, which the server then writes out in its own words; nothing is evaluated, and a
    savepoint takes the view back. Where the role may have no temporary views, what counts is how the expressions are spelled.

    Args:
        first, second: SQL; None and '' for none.
    """
    if not first or not second or _spelling(first) == _spelling(second):
        return _spelling(first or "") == _spelling(second or "")
    written = _written(connection, place, first)
    return written is not None and written == _written(connection, place, second)


def _spelling(expression: str) -> str:
    return " ".join(expression.split())


def _written(connection: Connection, place: Place, expression: str) -> str | None:
    """The server's own words; None where it cannot read the expression, or may not be asked."""
    options = {"no_parameters": True}
    made = f"SELECT ({expression}\n)::pg_catalog.text AS said FROM {table_name(place[1], place[0])}"
    point = connection.begin_nested()
    try:
        connection.exec_driver_sql(f"CREATE TEMPORARY VIEW pgembed_compared AS {made}", execution_options=options)
        asked = "SELECT pg_catalog.pg_get_viewdef('pg_temp.pgembed_compared'::pg_catalog.regclass)"
        found = connection.exec_driver_sql(asked, execution_options=options).scalar_one()
        return str(found)
    except DBAPIError:
        return None
    finally:
        point.rollback()
