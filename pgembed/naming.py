"""naming: names of new objects, cut to what an identifier holds, and free in a schema."""

from __future__ import annotations

import re
from typing import Literal

from pgembed import errors
from pgembed.columns import quote
from pgembed.database import Database

Kind = Literal["functions", "indexes", "tables"]

IDENTIFIER_BYTES = 63  # PostgreSQL's NAMEDATALEN - 1
_MOST = 1000
_NAME = re.compile(r'\s*(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)(?:\s*\.\s*(?:"(?:[^"]|"")+"|[^\W\d][\w$]*))*\s*')
_HUMPS = re.compile(r"([a-z0-9])([A-Z])")

_RELATION = (
    "SELECT FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace"
    " WHERE n.nspname = $1 AND c.relname = $2"
)
_TAKEN: dict[Kind, str] = {
    # whatever its arguments, so that its name alone finds it
    "functions": "SELECT FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace"
    " WHERE n.nspname = $1 AND p.proname = $2",
    "indexes": _RELATION,
    # a table's rows have a type of its name
    "tables": f"{_RELATION} UNION ALL SELECT FROM pg_catalog.pg_type AS t JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace"
    " WHERE n.nspname = $1 AND t.typname = $2",
}


def clip(stem: str, suffix: str) -> str:
    """A name with a suffix that fits into an identifier, cut in the stem at a whole character."""
    room = IDENTIFIER_BYTES - len(suffix.encode())
    return stem.encode()[: max(1, room)].decode(errors="ignore") + suffix


def free(db: Database, schema: str, kind: Kind, stem: str, suffix: str = "") -> str:
    """A name for a new object in a schema that none of its kind has yet: stem and suffix, with a number where that is taken.

    Raises:
        errors.LimitExceeded: a thousand such names are taken.
    """
    for number in range(_MOST):
        # x_work, x_work2, x_work3; without a suffix x, x_1, x_2
        name = clip(stem, f"{suffix or '_'}{number + bool(suffix)}" if number else suffix)
        if not db.execute(_TAKEN[kind], ["pg_catalog.text", "pg_catalog.text"], [schema, name]):
            return name
    raise errors.LimitExceeded(f'schema "{schema}" has a thousand {kind} named "{stem}{suffix}"', hint="Drop those that are not needed.")


def parts(db: Database, name: str) -> list[str]:
    """The parts of the name of a table as a person writes it: its own, or those of schema and table.

    Raises:
        errors.InvalidParameter: it is no such name.
    """
    if _NAME.fullmatch(name):
        found = db.execute("SELECT pg_catalog.parse_ident($1) AS parts", ["pg_catalog.text"], [name])[0]["parts"]
        if len(found) <= 2:
            return list(found)
    raise errors.InvalidParameter(
        f"{name} is not the name of a table", hint='A name, or schema.name; with spaces or capitals it stands in quotes: "My table".'
    )


def new_table(db: Database, name: str | None, what: str) -> str:
    """A name for a new table as a person writes it, schema-qualified and quoted: without a schema in the one where CREATE TABLE makes it,
    whatever is called so in others.

    Raises:
        errors.NullNotAllowed, errors.InvalidParameter, errors.DuplicateObject: it is no name, or taken.
    """
    if name is None or not name.strip():
        raise errors.NullNotAllowed(f"{what} is {'NULL' if name is None else 'empty'}", hint="Name a table that is to be made.")
    said = parts(db, name)
    if len(said) == 1:
        schema = db.execute("SELECT pg_catalog.current_schema()::pg_catalog.text AS name")[0]["name"]
        if schema is None:
            raise errors.InvalidParameter(f'no schema is there for "{name}" in search_path', hint="Name it: schema.name.")
        said = [schema, *said]
    qualified = ".".join(map(quote, said))
    if db.execute("SELECT pg_catalog.to_regclass($1) IS NOT NULL AS taken", ["pg_catalog.text"], [qualified])[0]["taken"]:
        raise errors.DuplicateObject(f'relation "{name}" exists already', hint="Drop it, or give another name.")
    return qualified


def words(name: str) -> str:
    """A name as words of the language: leaderName and leader_name are "leader name"."""
    apart = _HUMPS.sub(r"\1 \2", name).replace("_", " ")
    return " ".join(word if word.isupper() and len(word) > 1 else word.lower() for word in apart.split())
