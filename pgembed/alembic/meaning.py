"""meaning: what an SQL expression over a table says, by asking the server that reads it.

An expression becomes the definition of a temporary view, which the server then writes out in its own words. Nothing is evaluated, and a
savepoint takes the view back.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from pgembed.alembic.contract import Place, table_name
from pgembed.alembic.definitions import quote, trial

_VIEW = "CREATE TEMPORARY VIEW pgembed_compared AS SELECT ({expression}\n){cast} AS said FROM {rows}"
_WORDS = "SELECT pg_catalog.pg_get_viewdef('pg_temp.pgembed_compared'::pg_catalog.regclass, true)"


def same(connection: Connection, place: Place, first: str | None, second: str | None) -> bool:
    """Whether expressions mean the same to PostgreSQL, however they are spelled.

    Where the role may have no temporary views, what counts is how the expressions are spelled.

    Args:
        first, second: SQL; None and '' for none.
    """
    if not first or not second or _spelling(first) == _spelling(second):
        return _spelling(first or "") == _spelling(second or "")
    written = _written(connection, place, first)
    return written is not None and written == _written(connection, place, second)


def by_names_of_now(connection: Connection, place: Place, expression: str, names: Sequence[tuple[str, str]]) -> str:
    """An expression whose columns have other names since it was declared, with these; as it was where the server may not be asked.

    PostgreSQL itself renames the columns, of an empty temporary table.

    Args:
        names: of each column that it reads, when it was declared and now.
    """
    schema, name = place
    columns = ", ".join(f"{quote(now)} AS {quote(was)}" for was, now in names)
    # two may have changed places
    renamed = [(was, f"pgembed {number}") for number, (was, _) in enumerate(names)]
    renamed += [(between, now) for (_, between), (_, now) in zip(renamed, names, strict=True)]
    statements = [f"CREATE TEMPORARY TABLE pgembed_renamed AS SELECT {columns} FROM {table_name(name, schema)} WITH NO DATA"]
    statements.append(_VIEW.format(expression=expression, cast="", rows=f"pg_temp.pgembed_renamed AS {quote(name)}"))
    statements += [f"ALTER TABLE pg_temp.pgembed_renamed RENAME COLUMN {quote(old)} TO {quote(new)}" for old, new in renamed]
    written = _words(connection, statements)
    found = re.fullmatch(r" SELECT\s+(.*) AS said\n +FROM [^\n]*;", written or "", re.DOTALL)
    if found is None:
        return expression
    # a later name of the table must not matter; what is not in the expression is in none of its texts either
    qualified = f"{table_name(name, None)}."
    return found[1] if qualified in expression else re.sub(rf"(?<![\w$\"]){re.escape(qualified)}", "", found[1])


def _spelling(expression: str) -> str:
    return " ".join(expression.split())


def _written(connection: Connection, place: Place, expression: str) -> str | None:
    """The server's own words; None where it cannot read the expression, or may not be asked."""
    return _words(connection, [_VIEW.format(expression=expression, cast="::pg_catalog.text", rows=table_name(place[1], place[0]))])


def _words(connection: Connection, statements: Sequence[str]) -> str | None:
    """What the server says of the view once some statements have run, which are undone; None where it refuses them."""
    with trial(connection):
        try:
            for statement in statements:
                connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
            return str(connection.exec_driver_sql(_WORDS, execution_options={"no_parameters": True}).scalar_one())
        except DBAPIError:
            return None
