"""evaluating: the source of a column, evaluated where it has no rights but those of the table's owner."""

from __future__ import annotations

from collections.abc import Sequence

from pgembed import errors
from pgembed.columns import Column, quote
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
        "SELECT p.prosecdef AND p.proowner = t.relowner AS fenced FROM pg_catalog.pg_proc AS p, pg_catalog.pg_class AS t"
        " WHERE p.oid = $1::pg_catalog.regproc AND t.oid = $2",
        ["pg_catalog.text", "pg_catalog.oid"],
        [column.source_function.name, column.table.oid],
    )
    if not found or not found[0]["fenced"]:
        raise errors.NotReady(
            f"the source of {column.label} would not be evaluated with the rights of the table's owner",
            hint=f"After a change of owner: ALTER ROUTINE {column.source_function.name} OWNER TO {quote(column.table.owner)}, and so for"
            f" {column.trigger_function}. Else pgembed.alter_embedding(..., source => '...') makes the function anew.",
        )
    return db.execute(statement, types, values)
