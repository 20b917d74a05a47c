"""declared: what the registry says of an embedded column, said again by the column's own trigger.

``pg_dump --schema`` leaves the registry behind, and carries a table with its triggers and their comments. So `pgembed._declare` in SQL
writes each line there too, and `pgembed.repairing` registers the column from it. Whoever owns the table may write such a comment; nothing
in it is believed that could be used against somebody else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pgembed.database import Database

PREFIX = "pgembed: "


@dataclass(frozen=True)
class Declared:
    """What a trigger says of its column.

    Attributes:
        trigger, function: name of the trigger, and what it calls, in SQL.
        line: of the registry, without the table.
    """

    trigger: str
    function: str
    line: Mapping[str, Any]

    @property
    def column(self) -> str:
        """Name of the embedded column."""
        return str(self.line["column_name"])


def unregistered(db: Database, table: int) -> list[Declared]:
    """What triggers of a table declare that the registry does not know, by column."""
    rows = db.execute(
        "SELECT g.tgname AS trigger, pg_catalog.format('%I.%I', n.nspname, p.proname) AS function,"
        " pg_catalog.obj_description(g.oid, 'pg_trigger') AS said FROM pg_catalog.pg_trigger AS g"
        " JOIN pg_catalog.pg_proc AS p ON p.oid = g.tgfoid JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace"
        " WHERE g.tgrelid = $1 AND NOT g.tgisinternal AND g.tgparentid OPERATOR(pg_catalog.=) 0"
        " AND pg_catalog.obj_description(g.oid, 'pg_trigger') LIKE $2 || '{%' ORDER BY g.tgname",
        ["pg_catalog.oid", "pg_catalog.text"],
        [table, PREFIX],
    )
    found = [Declared(row["trigger"], row["function"], line) for row in rows if (line := _line(str(row["said"])))]
    known = db.execute(
        "SELECT column_name FROM pgembed._embedding WHERE table_name OPERATOR(pg_catalog.=) $1::pg_catalog.oid::pg_catalog.regclass",
        ["pg_catalog.oid"],
        [table],
    )
    names = {row["column_name"] for row in known}
    return [one for one in found if one.column not in names]


def tables(db: Database) -> list[int]:
    """OIDs of the caller's tables that have triggers with a declaration."""
    rows = db.execute(
        "SELECT DISTINCT g.tgrelid AS oid FROM pg_catalog.pg_description AS d JOIN pg_catalog.pg_trigger AS g ON g.oid = d.objoid"
        " JOIN pg_catalog.pg_class AS t ON t.oid = g.tgrelid"
        " WHERE d.classoid OPERATOR(pg_catalog.=) 'pg_catalog.pg_trigger'::pg_catalog.regclass"
        " AND d.description LIKE $1 || '{%' AND g.tgparentid OPERATOR(pg_catalog.=) 0"
        " AND pg_catalog.pg_has_role(t.relowner, 'USAGE') ORDER BY 1",
        ["pg_catalog.text"],
        [PREFIX],
    )
    return [int(row["oid"]) for row in rows]


def _line(said: str) -> dict[str, Any] | None:
    try:
        line = json.loads(said.removeprefix(PREFIX))
    except ValueError:
        return None
    return line if isinstance(line, dict) and isinstance(line.get("column_name"), str) else None
