"""owned: keeps out of a revision what pgembed has made for itself.

Alembic sees hash columns, tables of chunks, indexes over rows that need work, and takes them for things that the models do not want any
more. It also sees columns of vectors and codes, about which the operations of `pgembed.alembic` speak.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from alembic.operations import ops
from sqlalchemy import Column

from pgembed.alembic.contract import Place
from pgembed.alembic.present import Present

_SCHEMA = "pgembed"
Kept = Callable[[ops.MigrateOperation], bool]


def place_of(operation: ops.MigrateOperation, default: str | None) -> Place | None:
    """The table that an operation is on, as `pgembed.alembic.present` calls tables; None for another kind of operation.

    Args:
        default: the connection's default schema, which a model may name all the same.
    """
    name = getattr(operation, "table_name", None)
    schema = getattr(operation, "schema", None)
    return None if name is None else (None if schema == default else schema, str(name))


def hide(upgrade: ops.UpgradeOps, present: Present, default: str | None) -> set[tuple[Place, str]]:
    """Take out of a revision what pgembed owns.

    Args:
        default: the connection's default schema.
    Returns:
        the columns, and of owned tables their own names in the place of a column's, that Alembic wanted to drop: the models do not have
        them, and no filter of env.py's holds its hand over them.
    """
    unwanted: set[tuple[Place, str]] = set()

    def keep(operation: ops.MigrateOperation) -> bool:
        place = place_of(operation, default)
        if place is None:
            return True
        if place[0] == _SCHEMA:
            return False
        if place in present.owned_tables:
            if isinstance(operation, ops.DropTableOp):
                unwanted.add((place, place[1]))
            return isinstance(operation, ops.CreateTableOp)
        if isinstance(operation, ops.DropColumnOp):
            unwanted.add((place, str(operation.column_name)))
            return (place, operation.column_name) not in present.owned_columns
        if isinstance(operation, ops.DropIndexOp):
            return (place[0], str(operation.index_name)) not in present.owned_indexes
        return True

    sift(upgrade, keep)
    return unwanted


def sift(container: ops.OpContainer, keep: Kept) -> None:
    """Take out of a revision what is not to be kept, and blocks that are empty then."""
    left: list[ops.MigrateOperation] = []
    for operation in container.ops:
        if isinstance(operation, ops.ModifyTableOps):
            sift(operation, keep)
            if operation.ops:
                left.append(operation)
        elif keep(operation):
            left.append(operation)
    container.ops[:] = left


def without(operation: ops.DropTableOp, names: Collection[str]) -> ops.DropTableOp:
    """The same without some columns: what brings the table back is not to bring these, for other operations do."""
    created = operation.reverse()
    leave_out(created, names)
    return created.reverse()


def leave_out(operation: ops.CreateTableOp, names: Collection[str]) -> None:
    """Let a table be made without some columns."""
    operation.columns = [one for one in operation.columns if not (isinstance(one, Column) and one.name in names)]
