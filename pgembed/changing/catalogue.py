"""catalogue: how far a change of a column's model has come, in ``pgembed._model_change`` and in the roles of its columns."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pgembed import columns, errors
from pgembed.columns import Column, Writer
from pgembed.database import Database


@dataclass(frozen=True)
class Change:
    """A change that is not finished.

    Attributes:
        column: that searches mean.
        other: that of the other model: of role next before the switch, previous after it; None where it is not registered yet.
        new_column: name of the second column, while it is next.
        state: see sql/tables/model_change.sql.
    """

    column: Column
    other: Column | None
    new_column: str
    new_model: str
    new_fingerprint: str
    state: str

    @property
    def switched(self) -> bool:
        return self.other is not None and self.other.role == "previous"

    def must_have_other(self) -> Column:
        """The other column."""
        if self.other is None:
            raise errors.NotReady(
                f"the second column of {self.column.label} is not there yet",
                hint=f"CALL pgembed.change_model('{self.column.table.shown}', '{self.new_model}', '{self.column.name}') goes on.",
            )
        return self.other


def current(db: Database, target: str | None, name: str | None) -> Column:
    """The column that a call means, which may name it or the one beside it."""
    found, known = columns.table(db, target)
    for one in known:
        if one.name == name and one.change_of is not None:
            name = one.change_of
    return columns.chosen(found, known, name)


def find(db: Database, column: Column) -> Change | None:
    """The change of a column's model; None where there is none, or where the last one is over."""
    beside = [one for one in columns.table(db, str(column.table.oid))[1] if one.change_of == column.name]
    rows = db.execute(
        "SELECT c.new_column, c.new_model, c.new_fingerprint, c.state FROM pgembed._model_change AS c"
        " WHERE c.table_name OPERATOR(pg_catalog.=) $1::pg_catalog.oid::pg_catalog.regclass AND c.column_name = $2",
        ["pg_catalog.oid", "pg_catalog.name"],
        [column.table.oid, column.name],
    )
    if not rows or rows[0]["state"] in ("finished", "abandoned"):
        return None
    row = rows[0]
    return Change(
        column=column,
        other=beside[0] if beside else None,
        new_column=row["new_column"],
        new_model=row["new_model"],
        new_fingerprint=row["new_fingerprint"],
        state=row["state"],
    )


def must_find(db: Database, target: str | None, name: str | None) -> Change:
    """The change that a call means.

    Raises:
        errors.UnknownObject: there is none.
        errors.InsufficientPrivilege: the caller does not own the table.
    """
    column = current(db, target, name)
    column.table.must_own()
    found = find(db, column)
    if found is None:
        raise errors.UnknownObject(
            f"the model of {column.label} is not being changed",
            hint=f"CALL pgembed.change_model('{column.table.shown}', 'the new model') begins that."
            " SELECT * FROM pgembed.model_changes shows all.",
        )
    return found


def must_not_change(db: Database, target: str | None, name: str | None, doing: str) -> None:
    """Raise where the model of a column is being changed, or where the column is one of the two.

    Args:
        doing: what would leave the other column without a meaning, such as ``drop``.
    """
    if target is None:
        return
    found, known = columns.table(db, target)
    meant = [one for one in known if name == one.name] or ([] if name else [one for one in known if one.role == "current"])
    for one in meant:
        beside = [other.name for other in known if other.change_of == one.name]
        if one.change_of is not None or beside:
            label = one.change_of or one.name
            raise errors.DependentObjects(
                f"cannot {doing} {one.label} while the model of {found.name}.{label} is being changed",
                hint=f"SELECT pgembed.finish_model_change('{found.shown}', '{label}') after the switch,"
                f" or pgembed.rollback_model('{found.shown}', '{label}'), ends that.",
            )


def begin(write: Writer, column: Column, new_column: str, model: str, fingerprint: str) -> None:
    """Write the line of a new change; one of an earlier one goes."""
    write(
        column.table,
        "INSERT INTO pgembed._model_change AS c (table_name, column_name, new_column, old_model, new_model, new_fingerprint, state)"
        " VALUES ($1::oid::regclass, $2, $3, $4, $5, $6, 'preparing') ON CONFLICT (table_name, column_name) DO UPDATE SET"
        " new_column = excluded.new_column, old_model = excluded.old_model, new_model = excluded.new_model,"
        " new_fingerprint = excluded.new_fingerprint, state = excluded.state, started_at = excluded.started_at, filling_since = NULL,"
        " filled_before = NULL, switched_at = NULL, report = NULL, last_error = NULL",
        ["oid", "name", "name", "text", "text", "text"],
        [column.table.oid, column.name, new_column, column.model, model, fingerprint],
    )


def step(write: Writer, column: Column, state: str, *, error: str | None = None) -> None:
    """Write how far a change is."""
    write(
        column.table,
        "UPDATE pgembed._model_change SET state = $3, last_error = $4, switched_at = CASE WHEN $3 = 'switched' THEN clock_timestamp()"
        " WHEN $3 = 'ready' THEN NULL ELSE switched_at END WHERE table_name OPERATOR(pg_catalog.=) $1::oid::regclass AND column_name = $2",
        ["oid", "name", "text", "text"],
        [column.table.oid, column.name, state, error],
    )


def allow_index(write: Writer, column: Column, allowed: bool) -> None:
    """Write whether workers are to build the indexes that the new column lacks."""
    write(
        column.table,
        "UPDATE pgembed._model_change SET build_index = $3 WHERE table_name OPERATOR(pg_catalog.=) $1::oid::regclass AND column_name = $2",
        ["oid", "name", "bool"],
        [column.table.oid, column.name, allowed],
    )


def counting(write: Writer, column: Column, done: int) -> None:
    """Write from where the rate of filling is counted."""
    write(
        column.table,
        "UPDATE pgembed._model_change SET filling_since = clock_timestamp(), filled_before = $3"
        " WHERE table_name OPERATOR(pg_catalog.=) $1::oid::regclass AND column_name = $2",
        ["oid", "name", "int8"],
        [column.table.oid, column.name, done],
    )


def report(write: Writer, column: Column, found: dict[str, Any]) -> None:
    """Write what was measured."""
    write(
        column.table,
        "UPDATE pgembed._model_change SET report = $3::jsonb WHERE table_name OPERATOR(pg_catalog.=) $1::oid::regclass"
        " AND column_name = $2",
        ["oid", "name", "text"],
        [column.table.oid, column.name, json.dumps(found)],
    )
