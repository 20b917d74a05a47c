"""What a declared linker is: its targets and what is read of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from pgembed.columns import RowFunction, Table

Kind: TypeAlias = Literal["alias", "column", "table"]


@dataclass(frozen=True)
class Source:
    """One table of aliases, or one relation, of a target.

    Attributes:
        kind: alias, column (the relation is a column of the target), table (it is a table beside it).
        table: where it stands; of kind column the target.
        from_columns, target_columns: of the table, and of the target that they refer to; () of kind column.
        to_columns, other, other_columns: where it leads to; (), None, () where that is a value only.
        value: column of the table: the alias, or the value of a fact.
        relation: column of the table whose values are names of relations; label: the name where there is none.
        names: names the rows of `other`, where that is no target.
    """

    kind: Kind
    table: Table
    from_columns: tuple[str, ...] = ()
    target_columns: tuple[str, ...] = ()
    to_columns: tuple[str, ...] = ()
    other: Table | None = None
    other_columns: tuple[str, ...] = ()
    value: str | None = None
    relation: str | None = None
    label: str | None = None
    names: RowFunction | None = None


@dataclass(frozen=True)
class Target:
    """A table that a linker links to.

    Attributes:
        number: of the target in its linker; keys of rows begin with it.
        table: `keys` are the linker's, whatever its primary key is.
        read: of a row, JSON text [name, aliases, types, context].
        context: the source text or expression behind the context text, as declared.
        context_column: the embedded column that is the context.
    """

    number: int
    table: Table
    read: RowFunction
    context: str | None
    context_column: str | None
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True)
class Line:
    """A linker as it is declared.

    Attributes:
        revision: rises with every declaration and training.
        targets: by number.
    """

    name: str
    revision: int
    targets: tuple[Target, ...]

    def target(self, number: int) -> Target:
        """The target of a number."""
        return next(target for target in self.targets if target.number == number)

    def must_own(self) -> None:
        """Raise where the caller does not own every target."""
        for target in self.targets:
            target.table.must_own()


def row_key(number: int, key: str) -> str:
    """What a row is called in `linking.contract.Knowledge`: two targets may have equal keys."""
    return f"{number}:{key}"
