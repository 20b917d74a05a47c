"""reading: the rows of a linker's targets, with the caller's rights, in parts.

What the owner declared as an expression is evaluated by the owner's function; which rows, columns and neighbours there are is the caller's
view of the tables. So a row that is hidden from the caller is no row, and nothing is known by it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgembed import errors
from pgembed.columns import Table, literal, quote
from pgembed.linkers.contract import Line, Source, Target

if TYPE_CHECKING:
    from pgembed.database import Database

PART = 5_000  # rows


@dataclass(frozen=True)
class Statement:
    """SQL over a target, `t`, and what it joins.

    Attributes:
        select: what is read, k the row's key first.
        tables: what stands after FROM.
        where: conditions, '' for none.
    """

    select: str
    tables: str
    where: str = ""

    def all(self) -> str:
        """Every row that the caller sees."""
        return f"SELECT {self.select} FROM {self.tables}" + (f" WHERE {self.where}" if self.where else "")

    def some(self, target: Table) -> str:
        """The same of the rows of some keys, the parameter $1 of type text[]."""
        tables = f"{self.tables} JOIN pg_catalog.unnest($1) AS w (k) ON {target.key_matches('t', 'w.k')}"
        return f"SELECT {self.select} FROM {tables}" + (f" WHERE {self.where}" if self.where else "")

    def none(self) -> str:
        """A statement that reads nothing, and fails where the caller may not read."""
        return f"{self.all()}{' AND' if self.where else ' WHERE'} false"


def of_rows(target: Target) -> Statement:
    """k, and x: JSON text [name, aliases, types, context]."""
    return Statement(f"{target.table.key_text('t')} AS k, {target.read.call('t')} AS x", f"{target.table.sql} AS t")


def of_source(line: Line, target: Target, source: Source) -> Statement:
    """Of an alias k and v; of facts k, r (the relation), n (number of the target that is led to, or NULL), o (key there), v (text)."""
    key = target.table.key_text("t")
    tables = f"{target.table.sql} AS t"
    at = "t"
    if source.kind != "column":
        at = "s"
        tables += f" JOIN {source.table.sql} AS s ON {_equal('s', source.from_columns, 't', source.target_columns)}"
    value = f"{at}.{quote(source.value)}::pg_catalog.text" if source.value is not None else "NULL::pg_catalog.text"
    if source.kind == "alias":
        return Statement(f"{key} AS k, {value} AS v", tables, f"{at}.{quote(str(source.value))} IS NOT NULL")
    relation = literal(source.label or "") if source.relation is None else f"{at}.{quote(source.relation)}::pg_catalog.text"
    number, other, where = "NULL::pg_catalog.int4", "NULL::pg_catalog.text", f"{value} IS NOT NULL"
    if source.other is not None:
        tables += f" LEFT JOIN {source.other.sql} AS o ON {_equal(at, source.to_columns, 'o', source.other_columns)}"
        led = leads_to(line, source)
        if led is not None:
            number, other = f"{led.number}::pg_catalog.int4", led.table.key_text("o")
        elif source.names is not None:
            value = f"coalesce({source.names.call('o')}, {value})"
        first = f"o.{quote(source.other_columns[0])} IS NOT NULL"
        number = f"CASE WHEN {first} THEN {number} END"
        other = f"CASE WHEN {first} THEN {other} END"
        where = f"({first}" + (f" OR {where})" if source.value is not None else ")")
    return Statement(f"{key} AS k, {relation} AS r, {number} AS n, {other} AS o, {value} AS v", tables, where)


def statements(line: Line) -> Iterator[tuple[Target, Source | None, Statement]]:
    """All that is read of a linker: of each target its rows, then its sources."""
    for target in line.targets:
        yield target, None, of_rows(target)
    for target in line.targets:
        for source in target.sources:
            yield target, source, of_source(line, target, source)


def leads_to(line: Line, source: Source) -> Target | None:
    """The target that a relation leads to; None where it leads to no row of a target."""
    if source.other is None:
        return None
    return next((target for target in line.targets if target.table.oid == source.other.oid), None)


def rows(db: Database, statement: str, keys: Sequence[str] | None = None) -> Iterator[list[Any]]:
    """What a statement reads, in parts."""
    if keys is None:
        yield from db.stream(statement, size=PART)
    else:
        yield from db.stream(statement, ["pg_catalog.text[]"], [list(keys)], size=PART)


def described(found: str | None) -> tuple[str | None, tuple[str, ...], tuple[str, ...], str | None]:
    """Name, aliases, types and context of what the owner's function says of a row."""
    if found is None:
        return None, (), (), None
    name, aliases, types, context = json.loads(found)
    return name, tuple(one for one in aliases or () if one), tuple(one for one in types or () if one), context


def must_be_keys(target: Target, keys: Sequence[str | None], seen: set[str]) -> None:
    """Raise where a row has no key, or one of another row.

    Args:
        seen: keys of earlier parts; takes up these.
    """
    table = target.table
    called = ", ".join(name for name, _ in table.keys)
    for key in keys:
        if key is None:
            raise errors.InvalidTableDefinition(
                f'a row of "{table.name}" has NULL as its key {called}', hint="The key of a linker tells rows apart: leave such rows out."
            )
        if key in seen:
            raise errors.InvalidTableDefinition(
                f'two rows of "{table.name}" have the same key {called}',
                hint="Name columns that are unique together: key => 'a, b'; inheritance and views may repeat what a table does not.",
            )
        seen.add(key)


def _equal(one: str, columns: Sequence[str], other: str, others: Sequence[str]) -> str:
    return " AND ".join(f"{one}.{quote(a)} = {other}.{quote(b)}" for a, b in zip(columns, others, strict=True))
