"""contract: what all operations on embedded columns, codecs and linkers have in common.

An operation is made of statements, the calls of pgembed's functions that a person in psql would type, and is written into a migration as
a call of ``op``. The statements are sent as they stand, and with ``--sql`` written as they stand.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import BatchOperations, MigrateOperation, Operations
from sqlalchemy import Connection, MetaData, Table
from sqlalchemy.exc import SQLAlchemyError

from pgembed import errors
from pgembed.sqlalchemy import declarations

# Below alembic's own logger, so that what alembic.ini shows of the one it shows of the other.
LOG = logging.getLogger("alembic.pgembed")
_WIDE = 100

Place = tuple[str | None, str]
"""Schema and name of a table, the schema None where it is the connection's default."""


class Operation(MigrateOperation):
    """An operation of pgembed's.

    Attributes:
        called: its name in ``op``.
    """

    called: ClassVar[str]

    @property
    def commits(self) -> bool:
        """Whether it commits what the migration has done so far, to do the rest outside of a transaction."""
        return False

    def statements(self) -> Sequence[str]:
        """What it runs within the migration's transaction, without semicolons at the end."""
        raise NotImplementedError

    def is_done(self) -> str | None:
        """A condition in SQL: a run that was interrupted has committed its statements, so that only the rest is to be done; None: never.

        Asked where it `commits`, and not in a script, which says what it does.
        """
        return None

    def afterwards(self) -> Sequence[str]:
        """What it runs outside of a transaction, where it `commits`."""
        return ()

    def finish(self, connection: Connection) -> None:
        """What it does there that no script could, for it asks the database."""

    def said(self) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """Arguments of its call in a migration, positional ones and others; of these None is left out."""
        raise NotImplementedError


@Operations.implementation_for(Operation)
def _implement(operations: Operations, operation: Operation) -> None:
    if not operations.get_context().as_sql:
        _must_be_there(operations)
    if not (operation.commits and _is_done(operations, operation)):
        for statement in operation.statements():
            run(operations, statement)
    if not operation.commits:
        return
    if isinstance(operations, BatchOperations):
        raise errors.NotSupported(f"{operation.called} cannot commit within a batch", hint=f"Call op.{operation.called}() after the block.")
    context = operations.get_context()
    if not context.as_sql and context._in_external_transaction:
        raise errors.NotSupported(
            f"{operation.called} has to commit, and the transaction of this migration is not Alembic's",
            hint="Let env.py begin it with context.begin_transaction(), or leave this to a call after the migration.",
        )
    interrupt: BaseException | None = None
    try:
        with context.autocommit_block():
            try:
                for statement in operation.afterwards():
                    run(operations, statement)
                if not context.as_sql:
                    operation.finish(operations.get_bind())
            except (KeyboardInterrupt, SystemExit) as raised:
                interrupt = raised
                raise
    except SQLAlchemyError:
        # such an interrupt has closed the connection, which Alembic uses once more on its way out
        if interrupt is not None:
            raise interrupt from None
        raise


@renderers.dispatch_for(Operation)
def _render(context: AutogenContext, operation: Operation) -> str:
    context.imports.add("import pgembed.alembic")
    positional, named = operation.said()
    given = [repr(value) for value in positional]
    given += [f"{name}={value!r}" for name, value in named.items() if value is not None]
    call = f"{context.opts['alembic_module_prefix']}{operation.called}("
    line = call + ", ".join(given) + ")"
    if len(line) <= _WIDE:
        return line
    return call + "\n" + "".join(f"    {one},\n" for one in given) + ")"


def _must_be_there(operations: Operations) -> None:
    asked = "SELECT pg_catalog.to_regnamespace('pgembed') IS NOT NULL"
    if not operations.get_bind().exec_driver_sql(asked).scalar():
        raise errors.NotReady(
            "pgembed is not in this database",
            hint="Let an earlier revision call op.install_pgembed(), or an administrator CREATE EXTENSION pgembed CASCADE.",
        )


def _is_done(operations: Operations, operation: Operation) -> bool:
    condition = operation.is_done()
    if condition is None or operations.get_context().as_sql:
        return False
    asked = operations.get_bind().exec_driver_sql(f"SELECT {condition}", execution_options={"no_parameters": True})
    if not asked.scalar():
        return False
    LOG.info("%s was interrupted and goes on", operation.called)
    return True


def run(operations: Operations, statement: str) -> None:
    """Send or write a statement as it stands: a colon or percent sign in it is no parameter's.

    Within a batch it takes its turn, for what stands before it there is not yet done either.
    """
    context = operations.get_context()
    if isinstance(operations, BatchOperations):
        batch: Any = operations.impl
        if batch.recreate == "always":
            raise errors.NotSupported(
                "a batch that makes the table anew has no operations of pgembed's, whose triggers and registry are of the old table",
                hint="Leave recreate='always' out, which PostgreSQL does not need.",
            )
        said = ("static_output", (f"{statement};",), {}) if context.as_sql else ("execute", (declarations.Statement(statement),), {})
        batch.batch.append(said)
    elif context.as_sql:
        context.impl.static_output(f"{statement};")
    else:
        connection = operations.get_bind()
        with _noticed(connection):
            connection.exec_driver_sql(statement, execution_options={"no_parameters": True})


@contextmanager
def _noticed(connection: Connection) -> Iterator[None]:
    """Log what the server says meanwhile, such as how far a refresh is."""
    driver: Any = connection.connection.driver_connection
    listen: Callable[[Any], None] | None = getattr(driver, "add_notice_handler", None)
    if listen is None:  # not psycopg 3
        yield
        return
    listen(_log)
    try:
        yield
    finally:
        driver.remove_notice_handler(_log)


def _log(said: Any) -> None:
    level = logging.WARNING if said.severity_nonlocalized == "WARNING" else logging.INFO
    hint = f" ({said.message_hint})" if said.message_hint else ""
    LOG.log(level, "%s%s", said.message_primary, hint)


def regclass(name: str, schema: str | None) -> str:
    """A table as an argument: ``'shop.product'::regclass``."""
    return declarations.regclass(table(name, schema))


def table_name(name: str, schema: str | None) -> str:
    """A table as SQL writes it."""
    return declarations.table_name(table(name, schema))


def call(function: str, heads: Mapping[str, str], arguments: Mapping[str, Any], *, verb: str = "SELECT") -> str:
    """A call of one of pgembed's functions by named arguments.

    Args:
        heads: arguments that are SQL already.
        arguments: values; None is left out.
        verb: ``SELECT``, ``PERFORM`` or ``CALL``.
    """
    said = [f"{name} => {text}" for name, text in heads.items()]
    said += [f"{name} => {declarations.literal(value)}" for name, value in arguments.items() if value is not None]
    return f"{verb} pgembed.{function}({', '.join(said)})"


def irreversible(operation: Operation) -> ValueError:
    """What reverse() of an operation raises that does not know what was there before."""
    return ValueError(f"{operation.called} is not reversible here: what it undoes is not known")


def table(name: str, schema: str | None) -> Table:
    """A table of which nothing but its name is known."""
    return Table(name, MetaData(), schema=schema)
