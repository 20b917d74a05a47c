"""targets: a table, or what a mapped class has of one, as a call of pgembed's takes it and its rows bring it.

Internal to this package.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, Table, inspect, select
from sqlalchemy.exc import NoInspectionAvailable
from sqlalchemy.orm import Mapper

from pgembed import errors
from pgembed.sqlalchemy import spread


@dataclass(frozen=True)
class Target:
    """A table as a user may name it.

    Attributes:
        columns: the columns that its rows bring: the mapped ones, or all of a Table.
        entity: the mapped class; None for a Table.
        criterion: what makes a row one of the class, where several classes share the table.
        beside: of a class that is spread over several tables, the others, each with what joins its rows.
        below: subclasses that the class says are loaded with it (``with_polymorphic``).
        told_by: of one of several classes of a table the column that tells them apart, and its value for this one.
    """

    table: Table
    columns: tuple[Column[Any], ...]
    entity: Any
    criterion: ColumnElement[bool] | None
    beside: tuple[tuple[Table, ColumnElement[bool]], ...] = ()
    below: tuple[Mapper[Any], ...] = ()
    told_by: tuple[Column[Any], Any] | None = None

    @classmethod
    def of(cls, target: Any, column: Any = None, *, may_spread: bool = False) -> Target:
        """Look at a mapped class or a Table.

        Args:
            column: the embedded column that is meant, as a name or an attribute; None where nothing says it.
            may_spread: the class may be spread over several tables, of which the one with the embedded column is the target.
        Raises:
            errors.InvalidParameter: it is neither.
            errors.NotSupported: the class is spread over several tables, and may not be, or nothing says which of them is meant.
        """
        if isinstance(target, Table):
            return cls(target, tuple(filter(is_there, target.columns)), None, None)
        try:
            mapper = inspect(target)
        except NoInspectionAvailable:
            mapper = None
        if not isinstance(mapper, Mapper):
            raise errors.InvalidParameter(
                f"a mapped class or a Table is needed, not {target!r}",
                hint="Name the class itself; its alias is what comes back as .entity.",
            )
        table = mapper.local_table
        beside: tuple[tuple[Table, ColumnElement[bool]], ...] = ()
        if not isinstance(table, Table) or mapper.persist_selectable is not table:
            if not may_spread:
                raise errors.NotSupported(
                    f"{mapper.class_.__name__} is not mapped to one table",
                    hint="Name the class or the Table that has the column in question, or its attribute; and join what comes back.",
                )
            table, beside = spread.over(mapper, column)
        below = spread.below(mapper) if may_spread else ()
        known = {mapped for each in (mapper, *below) for attribute in each.column_attrs for mapped in attribute.columns}
        mapped = tuple(column for column in table.columns if column in known and is_there(column))
        return cls(table, mapped, mapper.class_, spread.criterion(mapper, table), beside, below, spread.told_by(mapper, table))

    def condition(self, condition: Any) -> Any:
        """The user's filter together with what belongs to the class; None where there is neither."""
        if self.beside and condition is not None:
            condition = spread.reaching(condition, self.beside)
        if self.criterion is None:
            return condition
        return self.criterion if condition is None else select(self.table).where(condition, self.criterion).whereclause


def is_there(column: Column[Any]) -> bool:
    """Whether a row of the table has the column: one that declares chunks is none."""
    return not column._omit_from_statements
