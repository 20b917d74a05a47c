"""Search: bodies of ``sql/functions/search.sql``."""

from __future__ import annotations

from typing import Any

import plpy

from pgembed import advice, errors, planner, vectors, viewed
from pgembed.planner import shortage as short
from pgembed.udf import boundary
from pgembed.udf.connection import DATABASE


@boundary
def plan(
    target: str | None,
    output: str,
    query: bytes | None,
    k: int | None,
    condition: str | None,
    params: str | None,
    column_name: str | None,
    max_distance: float | None,
    recall: float | None,
    exact: bool | None,
    leave_out: str | None,
    by_path: planner.Path | None,
) -> dict[str, Any]:
    """Body of `pgembed._plan_search`."""
    facts = planner.look(DATABASE, target, column_name)
    request = planner.Request(
        query_dim=None if query is None else vectors.sent_dim(query),
        query=query,
        k=k,
        filter=condition,
        params=params,
        max_distance=max_distance,
        recall=recall,
        exact=bool(exact),
        leave_out=leave_out,
        path=by_path,
    )
    made = planner.plan(DATABASE, facts, output, request)
    if by_path is None and made.condition != "true":
        advice.note(DATABASE, facts.column, made.condition, made.estimated_rows)
    return {
        "statement": made.statement,
        "path": made.path,
        "reason": made.reason,
        "estimated_rows": made.estimated_rows,
        "settings": list(made.settings),
        "shortage": made.shortage,
        "code": made.code,
        "mask": made.mask,
    }


@boundary
def tell_shortage(
    shortage: str,
    params: str | None,
    leave_out: str | None,
    found: int,
    k: int,
    condition: str | None,
    max_distance: float | None,
    path: str,
    target: str,
) -> None:
    """Body of `pgembed._tell_shortage`."""
    passing, unembedded = short.count(DATABASE, shortage, params, leave_out, k)
    short.tell(
        DATABASE,
        short.Short(
            table=target,
            # looked up only where it will be said
            home=viewed.home_of(DATABASE, target) if unembedded else target,
            found=found,
            k=k,
            filtered=bool(condition and condition.strip()),
            max_distance=max_distance,
            approximate=path != "exact",
            passing=passing,
            unembedded=unembedded,
        ),
    )


@boundary
def row_image(target: str, key: str | None, column_name: str | None) -> bytes:
    """Body of `pgembed._row_image`.

    Raises:
        errors.NullNotAllowed: the key is NULL.
        errors.NoDataFound: no row that the caller may see has the key.
        errors.NotReady: the row has no vector yet.
    """
    if key is None:
        raise errors.NullNotAllowed("key is NULL", hint="Give the primary key of a row, as text.")
    column = viewed.column(DATABASE, target, column_name)
    table = column.table
    as_vector = f"t.{column.sql}::{column.vector_schema}.vector"
    if column.chunks is not None:
        # a row is where the middle of its chunks is
        same = column.chunks.of_row("c", "t", [key for key, _ in table.keys])
        mean = f"{column.vector_schema}.avg(c.{column.sql}::{column.vector_schema}.vector)"
        as_vector = f"(SELECT {mean} FROM {column.chunks.sql} AS c WHERE {same})"
    hint = "A key is given as text, a composite one as a JSON array."
    try:
        rows = DATABASE.execute(
            f"SELECT {column.vector_schema}.vector_send({as_vector}) AS sent FROM {table.sql} AS t WHERE {table.key_matches('t', '$1')}",
            ["pg_catalog.text"],
            [key],
        )
    except plpy.spiexceptions.InvalidTextRepresentation as error:
        raise errors.StatementRefused(f'"{key}" is no key of {table.name}: {error}', sqlstate=error.sqlstate, hint=hint) from None
    if not rows:
        raise errors.NoDataFound(f'no row of {table.name} has the key "{key}"', hint=hint)
    if rows[0]["sent"] is None:
        raise errors.NotReady(
            f'the row of {table.name} with the key "{key}" has no vector yet',
            hint=f"CALL pgembed.refresh('{(column.home or column).table.shown}') embeds it.",
        )
    return vectors.to_image(vectors.from_send(rows[0]["sent"]))
