"""Administration: bodies of ``sql/functions/doctor.sql``."""

from __future__ import annotations

from typing import Any

import plpy

from pgembed import diagnosis, renaming, repairing
from pgembed.udf import boundary, registry, translated
from pgembed.udf.connection import DATABASE


@translated  # no boundary, which refuses every call where the versions differ: that is to be told here
def doctor() -> list[dict[str, Any]]:
    """Body of `pgembed.doctor`."""
    differs = diagnosis.other_version(str(plpy.execute("SELECT pgembed.version() AS version")[0]["version"]))
    found = [differs] if differs is not None else diagnosis.examine(DATABASE)
    return [vars(one) for one in found]


@boundary
def repair(target: str | None) -> list[dict[str, Any]]:
    """Body of `pgembed.repair`."""
    done = repairing.repair(DATABASE, registry.write_for, target)
    return [{"table_name": str(table.oid), "column_name": column, "done": what} for table, column, what in done]


@boundary
def column_renamed(relation: int, number: int) -> None:
    """Body of `pgembed._column_renamed`."""
    renaming.column(DATABASE, registry.write_for, relation, number)


@boundary
def moved(relation: int) -> None:
    """Body of `pgembed._moved`."""
    renaming.moved(DATABASE, registry.write_for, relation)


@boundary
def column_dropped(relation: int, name: str) -> None:
    """Body of `pgembed._column_dropped`."""
    renaming.dropped(DATABASE, registry.write_for, relation, name)
