"""evaluating: the source of a column, evaluated where it has no rights but those of the table's owner."""

from __future__ import annotations

from collections.abc import Sequence

from pgembed import errors, faults
from pgembed.columns import Column, Table, quote
from pgembed.database import Database, Row


def source_call(column: Column) -> str:
    """SQL for the source text of the row t."""
    assert column.source_function is not None  # checked before any work begins
    return column.source_function.call("t", without=[column.name, str(column.hash_column)])


def evaluate(db: Database, column: Column, statement: str, types: Sequence[str], values: Sequence[object]) -> list[Row]:
    """Run a statement that evaluates the source, where that has no rights but the table owner's.

    Having become the owner is not enough: what runs under SET ROLE may RESET it, but not inside of a SECURITY DEFINER function. The
    owner could have changed the function, also while an earlier statement evaluated it.
    """
    assert column.source_function is not None
    found = db.execute(
        "SELECT p.prosecdef AND p.proowner = t.relowner AS fenced, ARRAY(SELECT c.name FROM pg_catalog.unnest($3) AS c (name)"
        " WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = t.oid AND a.attname = c.name)) AS gone"
        " FROM pg_catalog.pg_proc AS p, pg_catalog.pg_class AS t"
        " WHERE p.oid OPERATOR(pg_catalog.=) pg_catalog.to_regproc($1) AND t.oid = $2",
        ["pg_catalog.text", "pg_catalog.oid", "pg_catalog.text[]"],
        [column.source_function.name, column.table.oid, list(column.source_function.columns or ())],
    )
    if not found:
        raise errors.NotReady(
            f"the source function {column.source_function.name} of {column.label} does not exist any more, by this name",
            hint="pgembed.alter_embedding(..., source => '...') makes it anew.",
        )
    if not found[0]["fenced"]:
        raise errors.NotReady(
            f"the source of {column.label} would not be evaluated with the rights of the table's owner",
            hint=f"After a change of owner: ALTER ROUTINE {column.source_function.name} OWNER TO {quote(column.table.owner)}, and so for"
            f" {column.trigger_function}. Else pgembed.alter_embedding(..., source => '...') makes the function anew.",
        )
    if found[0]["gone"]:
        raise unread(column.table, column.name, found[0]["gone"])
    try:
        return db.execute(statement, types, values)
    except Exception as error:
        sqlstate = faults.sqlstate_of(error)
        # what the source calls or reads elsewhere is gone, or is of another type
        if isinstance(error, errors.PgembedError) or sqlstate[:2] != "42" or sqlstate == errors.InsufficientPrivilege.sqlstate:
            raise
        raise errors.StatementRefused(
            f"the source of {column.label} cannot be evaluated any more: {faults.said(error)}",
            sqlstate=sqlstate,
            hint="Restore what it reads, or give it another: pgembed.alter_embedding(..., source => '...'). pgembed.doctor() tells more.",
        ) from None


def unread(found: Table, name: str, gone: Sequence[str]) -> errors.UnknownColumn:
    """The error that columns which a source reads are gone."""
    return errors.UnknownColumn(
        f"the source of {found.name}.{name} reads {named(gone)}, which the table does not have any more",
        hint=f"Give it another: SELECT pgembed.alter_embedding('{found.shown}', '{name}', source => '...').",
    )


def named(names: Sequence[str]) -> str:
    """Columns, in words."""
    return f"column{'s' if len(names) > 1 else ''} {' and '.join(quote(name) for name in names)}"
