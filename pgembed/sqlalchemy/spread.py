"""spread: mapped classes whose rows are in several tables (joined-table inheritance), one of which has the embedded column.

Internal to this package. pgembed searches that table, with a criterion that its rows are of the class, and the others are joined to what is
found.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, ColumnElement, Select, Table, exists, literal_column, select
from sqlalchemy.orm import Mapper, QueryableAttribute
from sqlalchemy.sql import visitors

from pgembed import errors
from pgembed.sqlalchemy.declarations import declared


def over(mapper: Mapper[Any], column: Any) -> tuple[Table, tuple[tuple[Table, ColumnElement[bool]], ...]]:
    """The table of a class that has its embedded column, and its others, each with what joins it to those before.

    Args:
        column: the embedded column, as a name or as an attribute; None for the one that is declared.
    Raises:
        errors.NotSupported: nothing says which table is meant.
    """
    tables = [table for table in mapper.tables if isinstance(table, Table)]
    if isinstance(column, QueryableAttribute):
        column = column.__clause_element__()
    if isinstance(column, Column):
        meant = [table for table in tables if table is column.table or table.c.get(column.key) is column]
    elif column is not None:
        meant = [table for table in tables if str(column) in {one.name for one in table.columns}]
    else:
        meant = [table for table in tables if any(declared(one) is not None for one in table.columns)]
    conditions = _conditions(mapper)
    if len(meant) != 1 or not conditions:
        raise errors.NotSupported(
            f"{mapper.class_.__name__} is not mapped to one table",
            hint="Name the embedded column, column_name=Model.attribute; or search the Table that has it, and join the result.",
        )
    reached, beside = {meant[0]}, []
    while conditions:
        place = next(place for place, (child, parent, _) in enumerate(conditions) if child in reached or parent in reached)
        child, parent, condition = conditions.pop(place)
        other = parent if child in reached else child
        reached.add(other)
        beside.append((other, condition))
    return meant[0], tuple(beside)


def criterion(mapper: Mapper[Any], table: Table) -> ColumnElement[bool] | None:
    """What makes a row of a table one of a class, over the table's columns; None where all are."""
    kind = mapper.polymorphic_on
    if table is mapper.local_table and not mapper.single:
        return None
    identities = [one.polymorphic_identity for one in mapper.self_and_descendants]
    if kind is not None and (not isinstance(kind, Column) or kind.table is table):
        return kind.in_(identities)
    conditions = _conditions(mapper)
    others = {other for child, parent, _ in conditions for other in (child, parent)} - {table}
    if not others:
        return None
    found = exists(literal_column("1")).select_from(*others).where(*(condition for _, _, condition in conditions))
    return found if kind is None else found.where(kind.in_(identities))


def told_by(mapper: Mapper[Any], table: Table) -> tuple[Column[Any], Any] | None:
    """The column of a table by which SQLAlchemy tells that a row is of a class, and a value that says so; None where it does not ask."""
    kind = mapper.polymorphic_on
    if not mapper.single or not isinstance(kind, Column) or kind.table is not table:
        return None
    known = [one.polymorphic_identity for one in mapper.self_and_descendants if one.polymorphic_identity is not None]
    return (kind, known[0]) if known else None


def reaching(condition: Any, beside: tuple[tuple[Table, ColumnElement[bool]], ...]) -> Any:
    """A condition over the columns of a class, as one over the table that is searched: its rows in the other tables are looked up."""
    statement: Select[Any] = select(literal_column("1")).where(condition)
    if not {table for table, _ in beside} & set(statement.get_final_froms()):
        return condition
    return exists(literal_column("1")).select_from(*(table for table, _ in beside)).where(*(one for _, one in beside), condition)


def below(mapper: Mapper[Any]) -> tuple[Mapper[Any], ...]:
    """The subclasses of a class that are loaded together with it, each after those that it inherits from."""
    return tuple(one for one in mapper.with_polymorphic_mappers if one is not mapper and not one.concrete)


def joined(
    mappers: tuple[Mapper[Any], ...], table: Table, beside: tuple[tuple[Table, ColumnElement[bool]], ...]
) -> list[tuple[Table, ColumnElement[bool]]]:
    """The tables of subclasses that are not among those of their class, each with what joins its rows."""
    made: dict[Table, ColumnElement[bool]] = {}
    known = {table, *(one for one, _ in beside)}
    for one in mappers:
        if isinstance(one.local_table, Table) and one.local_table not in known and one.inherit_condition is not None:
            made.setdefault(one.local_table, one.inherit_condition)
    return list(made.items())


def replaced(condition: ColumnElement[bool], by: dict[Column[Any], ColumnElement[Any]]) -> ColumnElement[bool]:
    """A condition with some columns replaced."""
    made: ColumnElement[bool] = visitors.replacement_traverse(condition, {}, lambda element, **_: by.get(element))
    return made


def _conditions(mapper: Mapper[Any]) -> list[tuple[Table, Table, ColumnElement[bool]]]:
    """Of a class and those above it: table of the child, table of the parent, and what joins their rows."""
    made = []
    for one in mapper.iterate_to_root():
        parent = one.inherits
        if parent is not None and one.inherit_condition is not None and one.local_table is not parent.local_table:
            assert isinstance(one.local_table, Table)
            assert isinstance(parent.local_table, Table)
            made.append((one.local_table, parent.local_table, one.inherit_condition))
    return made
