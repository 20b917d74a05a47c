"""clientdb: connections of the command line, and what its commands have in common. What the server refuses becomes an error of ours."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg import conninfo, sql
from psycopg.rows import dict_row

from pgembed import __version__, errors
from pgembed.database import Row

Say = Callable[[str], None]

_NAME = "pgembed"
# A database that does not answer must not keep a person waiting.
_WAITS = {"connect_timeout": "15"}
# A table that somebody has typed, in place of {}. Without a schema it is in the one that is called as the role is, where the role owns it,
# else in public. Other schemas of a path, or one that is only called so, could be somebody else's, who waits for a superuser.
FIND_TABLE = """
    SELECT t.oid::pg_catalog.int8 AS oid, pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(t.relname) AS shown
    FROM pg_catalog.parse_ident({}) AS parts, pg_catalog.pg_class AS t JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace
    WHERE t.relname = parts[pg_catalog.cardinality(parts)]::pg_catalog.name AND CASE pg_catalog.cardinality(parts)
        WHEN 2 THEN n.nspname = parts[1]::pg_catalog.name
        WHEN 1 THEN n.nspname = 'public' OR n.nspname = current_user AND pg_catalog.pg_get_userbyid(n.nspowner) = current_user
        ELSE false END
    ORDER BY n.nspname = 'public' LIMIT 1
"""
_COLUMNS = """
    SELECT attname::text AS name FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
HOW_TABLES_ARE_WRITTEN = (
    "Write it as schema.table; without a schema it is one of the schema public, or of your own, called as you are."
    " A name with capitals or blanks stands in double quotes, as in SQL: '\"Order Line\"'."
)
_NAMING = "Is a server there, and is the name right? --url URL names a database; or PGHOST, PGDATABASE, PGSERVICE, as for psql."

_SECRET = "The server wants a password: ~/.pgpass, PGPASSWORD or the URL names it, as for psql."


def connect(url: str, **changes: str) -> psycopg.Connection[Any]:
    """A connection in autocommit mode, in UTF-8 whatever PGCLIENTENCODING says, for our statements are.

    Args:
        url: libpq's URL or conninfo string; what it leaves out, PG* variables and service files say, as for psql.
        changes: parameters of the connection that are others.
    Raises:
        errors.NotReady: there is none.
    """
    try:
        # what a person says of the time to wait holds
        waits = {} if "PGCONNECT_TIMEOUT" in os.environ or "connect_timeout" in conninfo.conninfo_to_dict(url) else _WAITS
        parameters = conninfo.make_conninfo(url, **({"application_name": _NAME, "client_encoding": "UTF8"} | waits | changes))
        return psycopg.connect(parameters, autocommit=True)
    except psycopg.Error as error:
        raise no_connection(error) from None


def no_connection(error: psycopg.Error) -> errors.NotReady:
    """What to tell of an attempt to connect that failed."""
    tried = error.pgconn
    asked = tried is not None and (tried.needs_password or tried.used_password)
    return errors.NotReady("no connection to the database", detail=str(error).strip(), hint=_SECRET if asked else _NAMING)


@contextmanager
def connected(url: str, **changes: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection by `connect`; what the server refuses inside is an error of ours, with its SQLSTATE and hint."""
    with connect(url, **changes) as connection, refusals(connection):
        # The command is a superuser's, as a rule, and a database's owner may have put functions of his own into the path.
        connection.execute("SET search_path = pg_catalog, pg_temp")
        yield connection


@contextmanager
def refusals(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """What the server refuses inside becomes an error of ours, with its SQLSTATE and hint."""
    try:
        yield
    except psycopg.Error as error:
        said = error.diag
        message = (said.message_primary or str(error).strip()).removeprefix("pgembed: ")
        hint = _other_version(connection, error) or said.message_hint or _whose(error, connection.info.user)
        sqlstate = error.sqlstate or "XX000"
        raise errors.StatementRefused(message, sqlstate=sqlstate, hint=hint, detail=said.message_detail) from None


def _other_version(connection: psycopg.Connection[Any], error: psycopg.Error) -> str | None:
    """What to do where something is not there because the database has another version of pgembed than this command."""
    absent = isinstance(error, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedFunction | psycopg.errors.UndefinedColumn)
    if not absent or connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
        return None
    row = connection.execute("SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'pgembed'").fetchone()
    if row is None or row[0] == __version__:
        return None
    update = "an administrator runs ALTER EXTENSION pgembed UPDATE; or pgembed install URL"
    return f"The database has pgembed {row[0]}, this command is of {__version__}: {update}."


def _whose(error: psycopg.Error, role: str) -> str | None:
    """What to do where PostgreSQL refuses something, of which it says no more than its name: one of pgembed's functions, or a table."""
    refused = re.search(r"permission denied for ([a-z ]+) (.+)$", error.diag.message_primary or "")
    if not isinstance(error, psycopg.errors.InsufficientPrivilege) or refused is None:
        return None
    kind, name = refused.groups()
    grantee = sql.Identifier(role).as_string()
    if kind == "function":
        return f"An administrator can do it, or allow it: GRANT EXECUTE ON FUNCTION pgembed.{name} TO {grantee}."
    return f"Whoever owns the {kind} can GRANT the right to {grantee}."


class Session:
    """A connection, and what commands ask of it."""

    def __init__(self, connection: psycopg.Connection[Any], say: Say) -> None:
        self.connection = connection
        self.say = say

    def rows(self, statement: str, values: Sequence[object] | Mapping[str, object] = ()) -> list[Row]:
        """The rows of a statement of ours."""
        with self.connection.cursor(row_factory=dict_row) as cursor:
            cursor.execute(statement.encode(), values or None)
            return list(cursor.fetchall()) if cursor.description else []

    def table(self, typed: str) -> str:
        """A table as SQL writes it, of what somebody typed: schema.table, or a table of the role's own schema or of public.

        Raises:
            errors.UnknownTable: there is none.
        """
        try:
            found = self.rows(FIND_TABLE.format("%s"), [typed])
        except psycopg.errors.InvalidParameterValue:
            found = []
        if not found:
            raise errors.UnknownTable(f'table "{typed}" does not exist', hint=HOW_TABLES_ARE_WRITTEN)
        return str(found[0]["shown"])

    def must_have(self, table: str, names: Sequence[str]) -> None:
        """Refuse columns that a table does not have.

        Args:
            table: as `table` gives it.
        Raises:
            errors.UnknownColumn: it has no such column; the hint names those that it has.
        """
        known = [str(row["name"]) for row in self.rows(_COLUMNS, [table])]
        for name in names:
            if name not in known:
                raise errors.UnknownColumn(f'table {table} has no column "{name}"', hint=f"It has: {', '.join(known)}.")

    def as_caller(self) -> None:
        """From now on names in what the caller has written, such as a filter, mean what they mean in psql."""
        self.rows("RESET search_path")

    def call(self, function: str, arguments: Mapping[str, object], kind: str = "SELECT * FROM") -> list[Row]:
        """Call a function, or with ``kind`` CALL a procedure, of pgembed with those of its arguments that are not None."""
        statement = sql.SQL("{} pgembed.{}({})").format(_sql(kind), sql.Identifier(function), _named(arguments))
        return self.rows(statement.as_string(self.connection))

    def search(self, function: str, table: str, text: str, arguments: Mapping[str, object], output: str) -> list[Row]:
        """The rows of search() or of one of its kin, whose first argument is of the table's row type.

        Args:
            table, output: SQL, already quoted; the function is called s there.
        """
        statement = sql.SQL("SELECT {} FROM pgembed.{}(NULL::{}, {}::pg_catalog.text, {}) AS s").format(
            _sql(output), sql.Identifier(function), _sql(table), sql.Literal(text), _named(arguments)
        )
        return self.rows(statement.as_string(self.connection))

    def quoted(self, name: str) -> str:
        """A name as SQL writes it."""
        return sql.Identifier(name).as_string(self.connection)


def _sql(text: str) -> sql.SQL:
    return sql.SQL(text)


def _named(arguments: Mapping[str, object]) -> sql.Composed:
    given = {name: value for name, value in arguments.items() if value is not None}
    return sql.SQL(", ").join(sql.SQL("{} => {}").format(sql.Identifier(name), sql.Literal(value)) for name, value in given.items())


S = TypeVar("S", bound=Session)


@contextmanager
def session(url: str, say: Say, kind: type[S]) -> Iterator[S]:
    """A session, of a kind, in a database that has pgembed; ``say`` gets what the server tells, a line each."""
    with connected(url) as connection:
        must_have_extension(connection)
        opened = kind(connection, say)

        def told(said: psycopg.errors.Diagnostic) -> None:
            hint = f"\nhint: {said.message_hint}" if said.message_hint else ""
            opened.say((said.message_primary or "") + hint)

        connection.add_notice_handler(told)
        yield opened


def must_have_extension(connection: psycopg.Connection[Any]) -> None:
    """Refuse a database without pgembed.

    Raises:
        errors.NotReady: the database is without pgembed.
    """
    if connection.execute("SELECT to_regclass('pgembed._model') IS NULL").fetchone() == (True,):
        raise errors.NotReady(
            f'database "{connection.info.dbname}" has no pgembed, or one of an older version',
            hint="CREATE EXTENSION pgembed CASCADE; or: pgembed install URL.",
        )
