"""keyed: keys of rows, compared by the operators by which PostgreSQL itself tells them apart, wherever these live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgembed.columns import Table, unquoted

if TYPE_CHECKING:
    from pgembed.database import Database

IS = "OPERATOR(pg_catalog.=)"


@dataclass(frozen=True)
class Keyed:
    """Columns of ours that hold the key of a row elsewhere.

    Attributes:
        table: where the row is; its `keys` are those that are meant.
        columns: ours, quoted, in the order of the keys.
        equal: the operator that compares each.
    """

    table: Table
    columns: tuple[str, ...]
    equal: tuple[str, ...]

    def list(self, alias: str) -> str:
        """Our columns, with commas between."""
        return ", ".join(f"{alias}.{name}" for name in self.columns)

    def text(self, alias: str) -> str:
        """SQL of the key as text, of our columns."""
        return self.table.key_text(alias, self.columns)

    def typed(self, key: str) -> tuple[str, ...]:
        """SQL of each column of a key that was written as text."""
        if len(self.columns) == 1:
            return (f"{key}::{self.table.keys[0][1]}",)
        return tuple(
            f"({key}::pg_catalog.jsonb OPERATOR(pg_catalog.->>) {position})::{kind}" for position, (_, kind) in enumerate(self.table.keys)
        )

    def is_row(self, ours: str, row: str) -> str:
        """SQL that is true where our columns hold the key of a row of the table."""
        return self._match([f"{ours}.{name}" for name in self.columns], [f"{row}.{name}" for name, _ in self.table.keys])

    def same(self, one: str, other: str) -> str:
        """SQL that is true where our columns of two aliases hold the same key."""
        return self._match([f"{one}.{name}" for name in self.columns], [f"{other}.{name}" for name in self.columns])

    def is_key(self, alias: str, names: Sequence[str], key: str) -> str:
        """SQL that is true where columns of an alias are a key that was written as text."""
        return self._match([f"{alias}.{name}" for name in names], self.typed(key))

    def rows_of_keys(self, alias: str, parameter: str) -> str:
        """SQL that is true for the rows of the table whose keys are in a parameter of type text[]."""
        names = [name for name, _ in self.table.keys]
        if len(names) == 1:
            # a foreign server can be sent this
            return f"{alias}.{names[0]} {self.equal[0]} ANY ({parameter}::pg_catalog.text[]::{self.table.keys[0][1]}[])"
        return f"EXISTS (SELECT FROM pg_catalog.unnest({parameter}::pg_catalog.text[]) AS k (k) WHERE {self.is_key(alias, names, 'k.k')})"

    def ours_of_keys(self, alias: str, parameter: str) -> str:
        """SQL that is true where our columns hold one of the keys in a parameter of type text[]."""
        listed = ", ".join(self.typed("k.k"))
        named = ", ".join(f"k{position}" for position in range(len(self.columns)))
        matched = self._match([f"{alias}.{name}" for name in self.columns], [f"k.k{position}" for position in range(len(self.columns))])
        return (
            f"EXISTS (SELECT FROM (SELECT {listed} FROM pg_catalog.unnest({parameter}::pg_catalog.text[]) AS k (k)) AS k ({named})"
            f" WHERE {matched})"
        )

    def _match(self, ours: Sequence[str], theirs: Sequence[str]) -> str:
        return " AND ".join(f"{one} {equal} {other}" for one, equal, other in zip(ours, self.equal, theirs, strict=True))


def keyed(db: Database, table: Table, names: tuple[str, ...] = ()) -> Keyed:
    """The key of a table's rows.

    Args:
        names: columns elsewhere that hold it, quoted; () for its own.
    """
    rows = db.execute(
        "SELECT a.attname::pg_catalog.text AS name, (SELECT pg_catalog.format('OPERATOR(%I.%s)', n.nspname, o.oprname)"
        f" FROM pg_catalog.pg_opclass AS c JOIN pg_catalog.pg_am AS m ON m.oid {IS} c.opcmethod AND m.amname {IS} 'btree'"
        f" JOIN pg_catalog.pg_amop AS p ON p.amopfamily {IS} c.opcfamily AND p.amopstrategy {IS} 3"
        f" AND p.amoplefttype {IS} c.opcintype AND p.amoprighttype {IS} c.opcintype"
        f" JOIN pg_catalog.pg_operator AS o ON o.oid {IS} p.amopopr JOIN pg_catalog.pg_namespace AS n ON n.oid {IS} o.oprnamespace"
        f" WHERE c.opcdefault AND c.opcintype {IS} CASE WHEN t.typtype {IS} 'd' THEN t.typbasetype ELSE t.oid END) AS equal"
        f" FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS t ON t.oid {IS} a.atttypid"
        f" WHERE a.attrelid {IS} $1 AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped",
        ["pg_catalog.oid"],
        [table.oid],
    )
    operators = {row["name"]: row["equal"] or IS for row in rows}  # those of other types are PostgreSQL's own
    ours = names or tuple(name for name, _ in table.keys)
    return Keyed(table, ours, tuple(operators.get(unquoted(name), IS) for name, _ in table.keys))
