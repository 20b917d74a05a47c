"""storing: a join into a table, with the keys of both sides in columns of their own types."""

from __future__ import annotations

from collections.abc import Sequence

from pgembed import columns, errors, naming, viewed
from pgembed.changing import pinning
from pgembed.columns import quote, unquoted
from pgembed.database import Database
from pgembed.joining import sides
from pgembed.joining.sides import Side

# The arguments of semantic_join_keys(), in their order, with their types.
ARGUMENTS = (
    *("regclass", "regclass", "name", "name", "int4", "float8", "text", "text", "jsonb", "float8", "float8", "regclass", "jsonb", "text"),
    *("text", "bool", "bool", "text", "float8", "name"),
)


def statements(db: Database, destination: str | None, left: str | None, right: str | None) -> dict[str, str]:
    """The statement that makes a table for the pairs of two sides, and the one that fills it, which takes `ARGUMENTS`.

    Columns: ``left_id``, ``right_id``, or whatever the columns of the keys are called, then those of semantic_join_keys().

    Raises:
        errors.NullNotAllowed, errors.InvalidParameter: destination is no name of a table.
        errors.DuplicateObject: there is one of that name already.
        errors.InvalidTableDefinition: a side has no key.
    """
    into = naming.new_table(db, destination, "destination")
    keyed = [keys_of(db, target, which) for target, which in ((left, "left"), (right, "right"))]
    named = [(f"{which}_{unquoted(name)}", kind) for which, keys in zip(("left", "right"), keyed, strict=True) for name, kind in keys]
    said = {"distance": "float8", "rank": "int4", "is_match": "bool", "probability": "float8", "evidence": "text[]"}
    clash = next((name for position, (name, _) in enumerate(named) if name in said or name in [one for one, _ in named[:position]]), None)
    if clash is not None:
        raise errors.InvalidParameter(
            f'two columns would be called "{clash}"', hint="Join views that call the columns of their keys otherwise."
        )
    made = ", ".join([*(f"{quote(name)} {kind}" for name, kind in named), *(f"{name} pg_catalog.{kind}" for name, kind in said.items())])
    values = [_value(f"j.{which}_key", keys) for which, keys in zip(("left", "right"), keyed, strict=True)]
    arguments = ", ".join(f"${position}::pg_catalog.{kind}" for position, kind in enumerate(ARGUMENTS, 1))
    return {
        "made": f"CREATE TABLE {into} ({made})",
        "filled": f"INSERT INTO {into} SELECT {', '.join(values)}, {', '.join(f'j.{name}' for name in said)}"
        f" FROM pgembed.semantic_join_keys({arguments}) AS j",
    }


def keys_of(db: Database, target: str | None, which: str) -> Sequence[tuple[str, str]]:
    if target is None:
        raise errors.NullNotAllowed(f"{which} is NULL", hint="Name a table: 'product' or 'schema.product'.")
    pinning.pin(db, target)
    found = viewed.with_key(db, columns.table(db, target)[0])
    if not found.keys:
        raise Side(which, found, found.name, sides.bare(found, which), None, None, None).no_key()
    return found.keys


def _value(key: str, keys: Sequence[tuple[str, str]]) -> str:
    """SQL for the columns of a key that was written as text."""
    if len(keys) == 1:
        return f"{key}::{keys[0][1]}"
    return ", ".join(f"({key}::pg_catalog.jsonb OPERATOR(pg_catalog.->>) {position})::{kind}" for position, (_, kind) in enumerate(keys))
