"""checks: what a search refuses before anything is planned."""

from __future__ import annotations

from pgembed import errors
from pgembed.columns import CHUNK_VECTOR, Column, unquoted
from pgembed.database import Database
from pgembed.planner import consistent
from pgembed.planner.contract import Request


def check(request: Request, column: Column) -> None:
    """Raise where an argument is out of range.

    Raises:
        errors.NullNotAllowed, errors.InvalidParameter: it is.
        errors.DimensionMismatch: query and column have different dimensions.
    """
    if request.query_dim is None:
        raise errors.NullNotAllowed("query is NULL", hint="Give a text or a vector to search for.")
    if request.k is None and request.max_distance is None:
        raise errors.NullNotAllowed(
            "k is NULL", hint="k is the number of results, 10 by default; with a max_distance NULL means all that are so near."
        )
    if request.k is not None and request.k <= 0:
        raise errors.InvalidParameter(f"k must be at least 1, not {request.k}", hint="k is the number of results.")
    if request.recall is not None and not 0 < request.recall <= 1:
        raise errors.InvalidParameter(
            f"recall must be above 0 and at most 1, not {request.recall:g}",
            hint="0.99 asks for 99 of 100 true neighbours.",
        )
    if request.max_distance is not None and request.max_distance != request.max_distance:
        raise errors.InvalidParameter("max_distance must be a number, not NaN", hint="Leave it out where there is no bound.")
    if consistent.check(request.consistency) == "fresh":
        consistent.must_know(column)
    if column.dim is not None and request.query_dim != column.dim:
        raise errors.DimensionMismatch(
            f"query has {request.query_dim} dimensions, {column.label} has {column.dim}",
            hint="Compare only vectors of one model; pgembed.embed_query() makes a query with the column's own.",
        )


def check_rights(db: Database, column: Column, output: str, consistency: str | None = "any") -> None:
    """PostgreSQL checks the caller's rights itself; asked before, there is a word on what is needed.

    Args:
        output: see `plan`.
        consistency: see `Request`; what says whether a row is fresh is read too.
    Raises:
        errors.InsufficientPrivilege: the caller may not read what is asked for.
    """
    table = column.table
    also = [column.hash_column] if consistency == "fresh" and column.hash_column is not None else []
    found = db.execute(
        "SELECT pg_catalog.bool_and(pg_catalog.has_column_privilege($1, attnum, 'SELECT')) AS readable FROM pg_catalog.pg_attribute"
        " WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped AND ($2::pg_catalog.text[] IS NULL OR attname = ANY ($2))",
        ["pg_catalog.oid", "pg_catalog.text[]"],
        [table.oid, None if output == "item" else [column.name, *also, *(unquoted(key) for key, _ in table.keys)]],
    )
    readable = found[0]["readable"] is not False
    if column.chunks is not None:
        read = f"$1::pg_catalog.regclass, '{CHUNK_VECTOR}', 'SELECT'" if output == "key" else "$1::pg_catalog.regclass, 'SELECT'"
        kind = "column" if output == "key" else "table"
        found = db.execute(f"SELECT pg_catalog.has_{kind}_privilege({read}) AS readable", ["pg_catalog.text"], [column.chunks.sql])
        if readable and not found[0]["readable"]:
            raise errors.InsufficientPrivilege(
                f"permission denied for table {column.chunks.name}",
                hint=f"The chunks of {column.label} are there: GRANT SELECT ON {column.chunks.sql} TO ...",
            )
    if not readable:
        raise errors.InsufficientPrivilege(
            f"permission denied for table {table.name}",
            hint=f"Rows need SELECT on {table.shown}; pgembed.search_keys() only on its key, the embedding{f', {also[0]}' if also else ''}"
            " and what the filter reads.",
        )
