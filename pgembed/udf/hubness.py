"""How much of a hub each row is: body of ``sql/functions/hubness.sql``."""

from __future__ import annotations

from typing import Any

from pgembed import columns, errors, rows
from pgembed.codes import queries as asking
from pgembed.udf import boundary
from pgembed.udf.connection import DATABASE

MOST_QUERIES = 20_000


@boundary
def hubness(
    target: str | None, column_name: str | None, queries: str | None, queries_column: str | None, method: str | None
) -> list[dict[str, Any]]:
    """Body of `pgembed.hubness`."""
    from pgembed.joins import hubs

    if method not in hubs.CORRECTIONS:
        raise errors.InvalidParameter(
            f"method must be {' or '.join(hubs.CORRECTIONS)}, not {method or 'NULL'}", hint="csls is the default."
        )
    column = columns.column(DATABASE, target, column_name)
    column.one_vector("hubness()")
    if not column.table.keys:
        raise column.table.no_key()
    if column.metric != "cosine":
        raise errors.NotSupported(
            f"{column.label} is compared by {column.metric}, and hubness is measured by cosine",
            hint="Vectors of length 1 have the same order by cosine: pgembed.alter_embedding(..., metric => 'cosine').",
        )
    keys, held = rows.read_keyed(DATABASE, column)
    if not keys:
        return []
    asked = asking.given(DATABASE, column, held.shape[1], queries, queries_column, most=MOST_QUERIES)
    bank = held if asked is None else asked.vectors
    found = hubs.hubness(held, bank, method, same=asked is None, check=DATABASE.check_interrupts)
    return [{"key": key, "hubness": None if number != number else number} for key, number in zip(keys, found.tolist(), strict=True)]
