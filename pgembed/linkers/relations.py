"""relations: what a declaration says of alias tables and relations, looked up in the catalogs.

An element is a text (a column of the target, or a table with a foreign key to it), or an object that spells out what the catalogs do
not say.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pgembed import columns, errors, naming
from pgembed.columns import Table, unquoted
from pgembed.linkers.contract import Source

if TYPE_CHECKING:
    from pgembed.database import Database

_RELATION = ("column", "table", "from", "to", "value", "relation", "label", "names", "references")
_ALIAS = ("table", "from", "alias")
_SPELL = 'Spell it out: {"table": "triple", "from": "subject", "to": "object", "relation": "predicate"}.'


@dataclass(frozen=True)
class Declared:
    """A source, and the expression over `other` that names its rows, where one was given."""

    source: Source
    names: str | None = None


@dataclass(frozen=True)
class _Foreign:
    columns: tuple[str, ...]
    other: str
    others: tuple[str, ...]


def relations(db: Database, target: Table, declared: str | None, targets: Sequence[Table]) -> list[Declared]:
    """The relations of a target.

    Args:
        declared: JSON text, an array.
        targets: all tables of the linker, this one among them.
    Raises:
        errors.InvalidParameter: it is no such array.
        errors.UnknownColumn, errors.UnknownTable: something that it names does not exist.
        errors.InvalidTableDefinition: no foreign key says what is not spelled out.
    """
    return [_relation(db, target, one, targets) for one in _elements("relations", declared, _RELATION)]


def aliases(db: Database, target: Table, declared: str | None) -> list[Declared]:
    """The tables of aliases of a target; arguments and errors as of `relations`."""
    found = []
    for one in _elements("alias_tables", declared, _ALIAS):
        table = _table(db, one["table"], "alias_tables")
        keys = _foreign(db, table)
        from_columns, target_columns = _from(db, table, target, one, keys)
        value = one.get("alias")
        if value is None:
            spare = [name for name in _texts(db, table) if name not in from_columns]
            if len(spare) != 1:
                raise errors.InvalidTableDefinition(
                    f'table "{table.name}" has {len(spare)} columns of text that may be the alias: {", ".join(spare) or "none"}',
                    hint=f'Say which: {{"table": "{table.shown}", "alias": "..."}}.',
                )
            value = spare[0]
        must_have(db, table, [value])
        found.append(Declared(Source("alias", table, from_columns, target_columns, value=value)))
    return found


def must_have(db: Database, table: Table, names: Sequence[str]) -> None:
    """Raise where a table has no column of a name."""
    known = _columns(db, table)
    for name in names:
        if name not in known:
            raise errors.UnknownColumn(f'table "{table.name}" has no column "{name}"', hint=f"It has the columns {', '.join(known)}.")


def listed(value: Any, what: str) -> list[str]:
    """Names of columns: a text with commas between, or an array."""
    names = [one.strip() for one in value.split(",")] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(one, str) and one for one in names):
        raise errors.InvalidParameter(f"{what} must name columns, not {json.dumps(value)}", hint="Write one name, or several with commas.")
    return names


def _relation(db: Database, target: Table, one: dict[str, Any], targets: Sequence[Table]) -> Declared:
    if "column" in one:
        return _column(db, target, one, targets)
    text = one.get("table")
    table = _table(db, text, "relations")
    keys = _foreign(db, table)
    from_columns, target_columns = _from(db, table, target, one, keys)
    relation, value = one.get("relation"), one.get("value")
    must_have(db, table, [name for name in (relation, value) if name is not None])
    made = Source("table", table, from_columns, target_columns, value=value, relation=relation)
    others = [key for key in keys if key.columns != from_columns]
    if "to" in one:
        to = tuple(listed(one["to"], "to"))
        must_have(db, table, to)
        made = _leading(db, made, to, one, keys, target)
    elif value is None:
        if len(others) != 1:
            raise errors.InvalidTableDefinition(
                f'table "{table.name}" has {len(others)} foreign keys that may lead from "{target.name}" to something', hint=_SPELL
            )
        made = _leading(db, made, others[0].columns, one, keys, target)
    if relation is None:
        made = replace(made, label=one.get("label") or naming.words(table.name))
    return _named(made, one, targets)


def _column(db: Database, target: Table, one: dict[str, Any], targets: Sequence[Table]) -> Declared:
    names = tuple(listed(one["column"], "column"))
    must_have(db, target, names)
    stem = names[0].removesuffix("_id") if len(names) == 1 else " ".join(names)
    relation = one.get("relation") or one.get("label") or naming.words(stem)
    made = Source("column", target, label=str(relation))
    keys = _foreign(db, target)
    if "references" in one or any(key.columns == names for key in keys):
        return _named(_leading(db, made, names, one, keys, target), one, targets)
    if len(names) > 1:
        raise errors.InvalidTableDefinition(
            f'table "{target.name}" has no foreign key of the columns {", ".join(names)}',
            hint='"references": "table" says where they lead.',
        )
    return Declared(replace(made, value=names[0]))


def _leading(db: Database, made: Source, to: tuple[str, ...], one: dict[str, Any], keys: Sequence[_Foreign], target: Table) -> Source:
    found = [key for key in keys if key.columns == to]
    if "references" in one:
        other = _table(db, one["references"], "relations")
        others = tuple(unquoted(name) for name, _ in other.keys)
        if len(others) != len(to):
            raise errors.InvalidTableDefinition(
                f'"{other.name}" has a primary key of {len(others)} columns, and {len(to)} are to refer to it',
                hint="Let them refer to a table with such a primary key.",
            )
    elif found:
        other, others = columns.table(db, found[0].other)[0], found[0].others
    else:
        raise errors.InvalidTableDefinition(
            f'table "{made.table.name}" has no foreign key of the column {", ".join(to)}',
            hint=f'ALTER TABLE {made.table.sql} ADD FOREIGN KEY ..., or say "references": "{target.shown}".',
        )
    return replace(made, to_columns=to, other=other, other_columns=others)


def _named(made: Source, one: dict[str, Any], targets: Sequence[Table]) -> Declared:
    names = one.get("names")
    if names is not None and not isinstance(names, str):
        raise errors.InvalidParameter(f'"names" must be an SQL expression, not {json.dumps(names)}', hint='Such as "names": "title".')
    if made.other is None or made.other.oid in {table.oid for table in targets}:
        return Declared(made)
    if names is None:
        raise errors.NullNotAllowed(
            f'nothing says what names a row of "{made.other.name}", which is no target of the linker',
            hint=f'"names": "the column, or expression, that names a row of {made.other.name}".',
        )
    return Declared(made, names)


def _from(
    db: Database, table: Table, target: Table, one: dict[str, Any], keys: Sequence[_Foreign]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Columns of a table that refer to the target, and those that they refer to."""
    ours = [key for key in keys if int(key.other) == target.oid]
    if "from" in one:
        names = tuple(listed(one["from"], "from"))
        must_have(db, table, names)
        found = [key for key in ours if key.columns == names]
        if found:
            return found[0].columns, found[0].others
        others = tuple(unquoted(name) for name, _ in target.keys)
        if len(others) != len(names):
            raise errors.InvalidTableDefinition(
                f'the key of "{target.name}" has {len(others)} columns, and "from" names {len(names)}',
                hint=f"They refer to {', '.join(others)}, in this order.",
            )
        return names, others
    if len(ours) != 1:
        raise errors.InvalidTableDefinition(
            f'table "{table.name}" has {len(ours)} foreign keys to "{target.name}", so "from" must say which column refers to it',
            hint=_SPELL,
        )
    return ours[0].columns, ours[0].others


def _elements(what: str, declared: str | None, known: tuple[str, ...]) -> list[dict[str, Any]]:
    made = json.loads(declared or "[]")
    if not isinstance(made, list):
        raise errors.InvalidParameter(f"{what} must be a JSON array, not {declared}", hint=f"Such as '[\"city_id\"]'. {_SPELL}")
    elements = []
    for one in made:
        found = {"text": one} if isinstance(one, str) else one
        if not isinstance(found, dict):
            raise errors.InvalidParameter(f"{what} has an element that is neither text nor object: {json.dumps(one)}", hint=_SPELL)
        unknown = [name for name in found if name not in (*known, "text")]
        if unknown:
            raise errors.InvalidParameter(f'{what} has no "{unknown[0]}"', hint=f"An element has {', '.join(known)}.")
        if "column" not in found and "table" not in found and "text" not in found:
            raise errors.InvalidParameter(f'{what} has an element without "{known[0]}": {json.dumps(one)}', hint=_SPELL)
        elements.append(found)
    return elements


def spelled(db: Database, target: Table, declared: str | None, what: str) -> str:
    """A declaration whose elements are objects: of a text whether it is a column of the target or a table."""
    made = json.loads(declared or "[]")
    if not isinstance(made, list):
        return str(declared)
    known = _columns(db, target)
    kinds = [{"column" if what == "relations" and one in known else "table": one} if isinstance(one, str) else one for one in made]
    return json.dumps(kinds)


def _table(db: Database, name: Any, what: str) -> Table:
    if not isinstance(name, str) or not name.strip():
        raise errors.InvalidParameter(f"{what} must name a table, not {json.dumps(name)}", hint='Such as "product" or "schema.product".')
    found = db.execute("SELECT pg_catalog.to_regclass($1)::pg_catalog.text AS found", ["pg_catalog.text"], [name])[0]["found"]
    if found is None:
        raise errors.UnknownTable(
            f'table or column "{name}" of {what} does not exist', hint="A table outside of the search_path needs its schema."
        )
    return columns.table(db, found)[0]


def _columns(db: Database, table: Table) -> list[str]:
    rows = db.execute(
        "SELECT a.attname FROM pg_catalog.pg_attribute AS a WHERE a.attrelid OPERATOR(pg_catalog.=) $1"
        " AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped ORDER BY a.attnum",
        ["pg_catalog.oid"],
        [table.oid],
    )
    return [row["attname"] for row in rows]


def _texts(db: Database, table: Table) -> list[str]:
    rows = db.execute(
        "SELECT a.attname FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS y ON y.oid OPERATOR(pg_catalog.=) a.atttypid"
        " WHERE a.attrelid OPERATOR(pg_catalog.=) $1 AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped"
        " AND y.typcategory OPERATOR(pg_catalog.=) 'S' ORDER BY a.attnum",
        ["pg_catalog.oid"],
        [table.oid],
    )
    return [row["attname"] for row in rows]


def _foreign(db: Database, table: Table) -> list[_Foreign]:
    """The foreign keys of a table."""
    rows = db.execute(
        "SELECT f.confrelid::pg_catalog.text AS other, ARRAY(SELECT a.attname::pg_catalog.text"
        " FROM pg_catalog.unnest(f.conkey) WITH ORDINALITY AS u (n, place) JOIN pg_catalog.pg_attribute AS a"
        " ON a.attrelid OPERATOR(pg_catalog.=) f.conrelid AND a.attnum OPERATOR(pg_catalog.=) u.n ORDER BY u.place) AS mine,"
        " ARRAY(SELECT a.attname::pg_catalog.text FROM pg_catalog.unnest(f.confkey) WITH ORDINALITY AS u (n, place)"
        " JOIN pg_catalog.pg_attribute AS a ON a.attrelid OPERATOR(pg_catalog.=) f.confrelid"
        " AND a.attnum OPERATOR(pg_catalog.=) u.n ORDER BY u.place) AS others"
        " FROM pg_catalog.pg_constraint AS f WHERE f.conrelid OPERATOR(pg_catalog.=) $1 AND f.contype OPERATOR(pg_catalog.=) 'f'"
        " AND f.conparentid OPERATOR(pg_catalog.=) 0 ORDER BY f.conname",
        ["pg_catalog.oid"],
        [table.oid],
    )
    return [_Foreign(tuple(row["mine"]), row["other"], tuple(row["others"])) for row in rows]
