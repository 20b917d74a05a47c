"""rendering: links become rows again, by one statement over the table, with the caller's rights."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pgembed import errors
from pgembed.columns import Table
from pgembed.linkers.contract import Target
from pgembed.linkers.keyed import keyed

if TYPE_CHECKING:
    from pgembed.database import Database
    from pgembed.linkers.opening import Opened
    from pgembed.linking.contract import Bools

_RANGE = re.compile(r"\[(-?\d+),(-?\d+)\)")


def statement(db: Database, target: Target) -> str:
    """The statement behind `pgembed.link`: its parameters are the arrays that `pgembed._find_links` returns.

    It runs under the caller's search_path, so it names the operators of the key.
    """
    table, key = target.table, keyed(db, target.table)
    return (
        f"SELECT m.mention, m.start_char, m.end_char, CASE WHEN m.k IS NOT NULL THEN (e.*)::{table.sql} END,"
        f" m.score, m.margin, m.decision, CASE WHEN m.r IS NOT NULL THEN (u.*)::{table.sql} END, m.kind"
        " FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4),"
        " pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7), pg_catalog.unnest($8), pg_catalog.unnest($9))"
        " WITH ORDINALITY AS m (mention, start_char, end_char, k, score, margin, decision, r, kind, turn)"
        f" LEFT JOIN {table.sql} AS e ON {key.is_key('e', key.columns, 'm.k')}"
        f" LEFT JOIN {table.sql} AS u ON {key.is_key('u', key.columns, 'm.r')}"
        " ORDER BY m.turn"
    )


def passing(db: Database, table: Table, condition: str, params: str | None) -> list[str]:
    """Keys of the rows that pass a filter, as the caller.

    Args:
        condition: as `planner.filters.proven` returns it.
    """
    found = db.execute(
        f"SELECT {table.key_text(table.alias)} AS k FROM {table.sql} AS {table.alias} WHERE {condition}", ["pg_catalog.jsonb"], [params]
    )
    return [row["k"] for row in found]


def mask(opened: Opened, number: int, keys: Sequence[str]) -> Bools:
    """Of each row of a linker whether a filter over one of its targets leaves it: rows of other targets stay."""
    left = np.array([place[0] != number for place in opened.known.places], dtype=np.bool_)
    at = [row for key in keys if (row := opened.row_of(number, key)) is not None]
    left[at] = True
    return left


def spans(given: Sequence[str | None] | None, content: str) -> list[tuple[int, int]] | None:
    """Places to link, from an int4range[] as text.

    Raises:
        errors.InvalidParameter: one of them is NULL, empty, without an end or not within the text.
    """
    if given is None:
        return None
    found = []
    for one in given:
        ends = _RANGE.fullmatch(one or "") if one is None or isinstance(one, str) else None  # of several dimensions they are lists
        if ends is None or not 1 <= int(ends[1]) < int(ends[2]) <= len(content) + 1:
            raise errors.InvalidParameter(
                f"span {'NULL' if one is None else one} is not within the text, which has {len(content)} characters",
                hint="A span begins at 1 and its end is exclusive: int4range(1, 5) are the first four characters.",
            )
        found.append((int(ends[1]), int(ends[2])))
    return found


def wanted_precision(value: float | None) -> float | None:
    """The precision that is asked of links.

    Raises:
        errors.InvalidParameter: it is no share.
    """
    if value is not None and not 0 < value <= 1:
        raise errors.InvalidParameter(
            f"precision must be above 0 and at most 1, not {json.dumps(value)}", hint="Leave it out for the default."
        )
    return value
