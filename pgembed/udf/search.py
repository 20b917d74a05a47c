"""Search: bodies of ``sql/functions/search.sql``."""

from __future__ import annotations

from typing import Any

from pgembed import advice, errors, faults, planner, vectors, viewed
from pgembed.changing import pinning
from pgembed.columns import Column
from pgembed.planner import consistent
from pgembed.planner import shortage as short
from pgembed.udf import boundary, requests
from pgembed.udf.connection import DATABASE

# The column that a search has chosen, by its statement about rows whose vectors are of older texts: both parts must mean the same one.
_chosen: dict[str, Column] = {}


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
    consistency: str | None,
) -> dict[str, Any]:
    """Body of `pgembed._plan_search`."""
    facts = planner.look(DATABASE, target, column_name)
    if query is not None and facts.beside:
        # the part of the search that embedded the query may have seen the registry as it was before a switch
        meant = facts.beside.get(pinning.made_for(vectors.to_image(vectors.from_send(query))) or "")
        facts = facts if meant is None else planner.look(DATABASE, target, meant)
    request = requests.request(
        query,
        k,
        condition,
        params,
        max_distance=max_distance,
        recall=recall,
        exact=exact,
        leave_out=leave_out,
        by_path=by_path,
        consistency=consistency,
    )
    made = planner.plan(DATABASE, facts, output, request)
    if made.stale is not None:
        _chosen.clear()
        _chosen[made.stale] = facts.column
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
        "stale": made.stale,
    }


@boundary
def embed_stale(
    target: str, column_name: str | None, statement: str, params: str | None, leave_out: str | None
) -> dict[str, list[str] | None]:
    """Body of `pgembed._embed_stale`."""

    def column() -> Column:
        return _chosen.get(statement) or viewed.column(DATABASE, target, column_name)

    now = consistent.embed(DATABASE, column, statement, params, leave_out)
    consistent.tell(DATABASE, now)
    return {"keys": now.keys, "vectors": now.vectors}


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
    now_keys: list[str] | None,
    is_fresh: bool | None,
) -> None:
    """Body of `pgembed._tell_shortage`."""
    passing, unembedded = short.count(DATABASE, shortage, params, leave_out, k, now_keys)
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
            fresh=bool(is_fresh),
        ),
    )


@boundary
def row_image(target: str, key: str | None, column_name: str | None, consistency: str | None) -> bytes:
    """Body of `pgembed._row_image`.

    Raises:
        errors.NullNotAllowed: the key is NULL.
        errors.NoDataFound: no row that the caller may see has the key.
        errors.NotReady: the row has no vector yet, or none of its present text where that matters.
        errors.InvalidParameter: the consistency is none.
    """
    minds = consistent.check(consistency) == "fresh"
    if key is None:
        raise errors.NullNotAllowed("key is NULL", hint="Give the primary key of a row, as text.")
    column = pinning.seen(DATABASE, target, column_name)
    if minds:
        consistent.must_know(column)
    table = column.table
    as_vector = f"t.{column.sql}::{column.vector_schema}.vector"
    if column.chunks is not None:
        # a row is where the middle of its chunks is
        same = column.chunks.of_row("c", "t", [key for key, _ in table.keys])
        mean = f"{column.vector_schema}.avg(c.{column.sql}::{column.vector_schema}.vector)"
        as_vector = f"(SELECT {mean} FROM {column.chunks.sql} AS c WHERE {same})"
    state = column.freshness("t") if minds and column.hash_column is not None else "'fresh'"
    with faults.keys_of(table.name, key):
        rows = DATABASE.execute(
            f"SELECT {column.vector_schema}.vector_send({as_vector}) AS sent, {state} AS state"
            f" FROM {table.sql} AS t WHERE {table.key_matches('t', '$1')}",
            ["pg_catalog.text"],
            [key],
        )
    if not rows:
        raise errors.NoDataFound(f'no row of {table.name} has the key "{key}"', hint=faults.KEYS)
    if rows[0]["state"] in ("stale", "pending"):
        return consistent.image_of(DATABASE, column, key)
    if rows[0]["state"] == "failed":
        raise errors.NotReady(
            f'the row of {table.name} with the key "{key}" has no vector of its present text: embedding it has failed',
            hint=f"CALL pgembed.refresh('{(column.home or column).table.shown}') tries again, and tells what is wrong.",
        )
    if rows[0]["sent"] is None:
        raise errors.NotReady(
            f'the row of {table.name} with the key "{key}" has no vector yet',
            hint=f"CALL pgembed.refresh('{(column.home or column).table.shown}') embeds it.",
        )
    image = vectors.to_image(vectors.from_send(rows[0]["sent"]))
    pinning.remember(image, column.fingerprint)
    return image
