"""rendering: access paths as SQL. Each is one statement that PostgreSQL plans and runs as the caller; see `pgembed.planner.contract.Plan`.

Rows are fetched whole only once they are results: a candidate is its key and its distance. Where a graph gives fewer candidates than it
was asked for, the same statement goes on by a path that misses nothing.
"""

from __future__ import annotations

from dataclasses import replace

from pgembed.codes.catalogue import Code
from pgembed.columns import Column, quote
from pgembed.planner import coded, consistent
from pgembed.planner.contract import Option, Request

# Their names must be no table's: a filter's subquery would see them instead.
NEAREST, BEST, CHUNK = quote("pgembed nearest"), quote("pgembed best"), quote("pgembed chunk")
CODED, SEEN = quote("pgembed coded"), quote("pgembed seen")
# Candidates beyond those that are needed, at least, where some may turn out to be stale.
MORE = 10
# Adding zero keeps PostgreSQL from ordering by the vector index, which would not be exact.
PLUS_ZERO = "+ 0.0::pg_catalog.float8"


def statement(column: Column, output: str, condition: str, request: Request, option: Option, code: Code | None, safe: Option) -> str:
    """The statement of an option.

    Args:
        output: ``item`` for rows of the table's type, ``key`` for keys as text.
        condition: as `filters.proven` returns it.
        code: the codes that the option, or the safe one, reads.
        safe: a path that misses nothing of its own accord, for where a graph gives too few.
    """
    if option.path in ("code", "index", "partial"):
        return _graph(column, output, condition, request, option, code, safe)
    return ranked(column, output, with_now(column, condition, request, f"(\n    {_every(column, condition, request, option, code)}\n)"))


def with_now(column: Column, condition: str, request: Request, found: str) -> str:
    """The k nearest, with the rows that were embedded on the spot among them."""
    if not consistent.asked(request) or column.hash_column is None or not column.table.keys:
        return found
    now = consistent.embedded(
        column,
        passes(column, condition, request),
        places(column),
        lambda vector: between(column, vector),
        bounded=request.max_distance is not None,
    )
    names = ", ".join(name for name, _ in places(column))
    return (
        f"(\n    SELECT {names}, distance FROM {found} AS {SEEN}\n    UNION ALL\n    {now}\n"
        f"    ORDER BY distance, {names}{limit(request)}\n)"
    )


def _every(column: Column, condition: str, request: Request, option: Option, code: Code | None) -> str:
    """The k nearest as key and distance, by a path that looks at every row that passes."""
    if option.path == "exact":
        return nearest(column, condition, request)
    assert code is not None
    if option.path == "covering" and consistent.asked(request) and column.hash_column is not None:
        return _covering_fresh(column, condition, request, option, code)
    return _rescored(column, request, _by_code(column, condition, request, option, code))


def _covering_fresh(column: Column, condition: str, request: Request, option: Option, code: Code) -> str:
    """By codes in an index, which does not say what is fresh: the rows that are compared exactly say so."""
    wanted = option.setting.candidates
    more = wanted + max(MORE, wanted // 8)
    names = ", ".join(name for name, _ in places(column))
    coded_rows = _by_code(column, condition, request, replace(option, setting=replace(option.setting, candidates=more)), code)
    near = "" if request.max_distance is None else " AND distance OPERATOR(pg_catalog.<=) $4"
    counted = "(SELECT pg_catalog.count(*) FROM {0}) OPERATOR(pg_catalog.{1}) {2}"
    enough = f"({counted.format(SEEN, '>=', wanted)} OR {counted.format(CODED, '<', more)})"
    return (
        f"WITH {CODED} AS MATERIALIZED (\n    {coded_rows}\n), {SEEN} AS MATERIALIZED (\n"
        f"    SELECT {', '.join(f'{CODED}.{name}' for name, _ in places(column))}, ({distance(column)}) {PLUS_ZERO} AS distance\n"
        f"    FROM {CODED} JOIN {column.table.sql} AS {column.table.alias} ON {same_row(column, CODED)}\n"
        f"    WHERE {column.table.alias}.{column.sql} IS NOT NULL AND {consistent.is_fresh(column)}\n)\n"
        f"    (SELECT {names}, distance FROM {SEEN} WHERE {enough}{near} ORDER BY distance, {names}{limit(request)})\n"
        f"    UNION ALL\n    SELECT * FROM (\n    {nearest(column, condition, request)}\n    ) AS every WHERE NOT {enough}"
    )


def nearest(column: Column, condition: str, request: Request) -> str:
    """The exact path."""
    alias = column.table.alias
    return (
        f"SELECT {_named_places(column)}, ({distance(column)}) {PLUS_ZERO} AS distance\n    FROM {column.table.sql} AS {alias}\n"
        f"    WHERE {where(column, condition, request)}\n    ORDER BY distance, {by_place(column)}{limit(request)}"
    )


def _by_code(column: Column, condition: str, request: Request, option: Option, code: Code) -> str:
    alias = column.table.alias
    graph = option.on_codes
    by = coded.distance(code, column, masked=not graph and code.codec.kind == "bits")
    # a scan of codes must not be taken for one of the graph over them
    order = by if graph else f"({by}) {PLUS_ZERO}"
    # what an index alone answers must not ask the table
    row = passes if option.path == "covering" else where_row
    return (
        f"SELECT {_named_places(column)}\n    FROM {column.table.sql} AS {alias}\n"
        f"    WHERE {row(column, condition, request)} AND {alias}.{code.sql} IS NOT NULL\n"
        f"    ORDER BY {order} LIMIT {option.setting.candidates}"
    )


def _rescored(column: Column, request: Request, candidates: str) -> str:
    """The k nearest of candidates, compared exactly."""
    names = ", ".join(f"{BEST}.{name}" for name, _ in places(column))
    near = "" if request.max_distance is None else f" AND ({distance(column)}) OPERATOR(pg_catalog.<=) $4"
    return (
        f"SELECT {names}, ({distance(column)}) {PLUS_ZERO} AS distance\n    FROM (\n    {candidates}\n    ) AS {BEST}\n"
        f"    JOIN {column.table.sql} AS {column.table.alias} ON {same_row(column, BEST)}"
        f" WHERE {column.table.alias}.{column.sql} IS NOT NULL{near}\n"
        f"    ORDER BY distance, {by_place(column)}{limit(request)}"
    )


def candidates(column: Column, condition: str, request: Request, option: Option, code: Code | None) -> str:
    """What is compared exactly in the end, by codes or from an index, in the order in which it comes: one with fewer is a part of it."""
    if option.on_codes or option.path in ("covering", "scan"):
        assert code is not None
        return _by_code(column, condition, request, option, code)
    alias = column.table.alias
    return (
        f"SELECT {_named_places(column)}, {distance(column)} AS distance\n    FROM {column.table.sql} AS {alias}\n"
        # a bound is not the scan's: the index would be read to its end
        f"    WHERE {where_row(column, condition, request)} AND {alias}.{column.sql} IS NOT NULL\n"
        f"    ORDER BY {distance(column)} LIMIT {option.setting.candidates}"
    )


def _graph(column: Column, output: str, condition: str, request: Request, option: Option, code: Code | None, safe: Option) -> str:
    scan = candidates(column, condition, request, option, code)
    # Where the index gave fewer, nothing is known of what it missed.
    enough = f"(SELECT pg_catalog.count(*) FROM {NEAREST}) OPERATOR(pg_catalog.>=) {option.setting.candidates}"
    names = ", ".join(f"{NEAREST}.{name}" for name, _ in places(column))
    if option.on_codes:
        best = _rescored(column, request, f"SELECT {names} FROM {NEAREST} WHERE {enough}")
    else:
        near = "" if request.max_distance is None else f" AND {NEAREST}.distance OPERATOR(pg_catalog.<=) $4"
        # PostgreSQL takes them for sorted by distance, and an index that goes on for more gives them nearly so
        order = f"{NEAREST}.distance {PLUS_ZERO}, {names}"
        best = f"SELECT {names}, {NEAREST}.distance FROM {NEAREST} WHERE {enough}{near}\n    ORDER BY {order}{limit(request)}"
    rest = _every(column, condition, request, safe, code)
    found = (
        f"(\n    (SELECT * FROM ({best}) AS {BEST})\n    UNION ALL\n    SELECT * FROM (\n    {rest}\n    ) AS every WHERE NOT {enough}\n)"
    )
    return f"WITH {NEAREST} AS MATERIALIZED (\n    {scan}\n)\n{ranked(column, output, with_now(column, condition, request, found))}"


def ranked(column: Column, output: str, found: str) -> str:
    """The answer, made of keys and distances of the k nearest."""
    alias = column.table.alias
    if output == "item":
        # "alias.*" is the whole row even where the table has a column of its own name
        given = f"({alias}.*)::{column.table.sql}"
        part = ", NULL::pg_catalog.text, NULL::pg_catalog.int4, NULL::pg_catalog.int4"
        rows = f"{found} AS {BEST}\n    JOIN {column.table.sql} AS {alias} ON {same_row(column, BEST)}"
    else:
        given = column.table.key_text(BEST, [name for name, _ in places(column)])
        part, rows = "", f"{found} AS {BEST}"
    order = ", ".join(f"{BEST}.{name}" for name in ("distance", *(name for name, _ in places(column))))
    return (
        f"SELECT {given} AS answer, {BEST}.distance,\n"
        f"    pg_catalog.row_number() OVER (ORDER BY {order})::pg_catalog.int4 AS rank{part}\n"
        f"FROM {rows} ORDER BY 3"
    )


def places(column: Column) -> list[tuple[str, str]]:
    """What finds a row again, as (name in a list of candidates, column of the table)."""
    # by key where there is one: a caller who may read some columns may not read ctid
    found = [key for key, _ in column.table.keys] or ["tableoid", "ctid"]
    return [(f"k{position}", name) for position, name in enumerate(found)]


def same_row(column: Column, found: str) -> str:
    """SQL that is true for the row of the table that a candidate is."""
    return " AND ".join(f"{column.table.alias}.{place} = {found}.{name}" for name, place in places(column))


def _named_places(column: Column) -> str:
    return ", ".join(f"{column.table.alias}.{place} AS {name}" for name, place in places(column))


def by_place(column: Column) -> str:
    """SQL to order rows at one distance by: names alone, for a ROW(...) would be made of every row that passes."""
    return ", ".join(f"{column.table.alias}.{name}" for _, name in places(column))


def place(column: Column) -> str:
    """SQL that puts rows at one distance in one order."""
    return f"ROW({by_place(column)})"


def limit(request: Request) -> str:
    """LIMIT, where the number of results has one."""
    return "" if request.k is None else " LIMIT $3"


def output_of(column: Column, output: str) -> str:
    """SQL of what a search gives of a row."""
    alias = column.table.alias
    return column.table.key_text(alias) if output == "key" else f"({alias}.*)::{column.table.sql}"


def distance(column: Column, alias: str | None = None) -> str:
    """SQL of the distance between a row's vector and the query, ``$2``."""
    return between(column, f"{alias or column.table.alias}.{column.sql}")


def between(column: Column, vector: str) -> str:
    """SQL of the distance between a vector of the column's type and the query, ``$2``."""
    query = "$2" if column.type == "vector" else f"$2::{column.vector_schema}.{column.type}"
    return f"{vector} {column.operator} {query}"


def no_vector(column: Column) -> str:
    """SQL that is true for rows that no search can find."""
    alias = column.table.alias
    if column.chunks is None:
        return f"{alias}.{column.sql} IS NULL"
    same = column.chunks.of_row(CHUNK, alias, [key for key, _ in column.table.keys])
    return f"NOT EXISTS (SELECT FROM {column.chunks.sql} AS {CHUNK} WHERE {same})"


def where(column: Column, condition: str, request: Request) -> str:
    """What a row must pass to be compared."""
    parts = [f"{column.table.alias}.{column.sql} IS NOT NULL"]
    if request.max_distance is not None:
        parts.append(f"({distance(column)}) OPERATOR(pg_catalog.<=) $4")
    return " AND ".join([where_row(column, condition, request), *parts])


def where_row(column: Column, condition: str, request: Request) -> str:
    """What a row must pass, whatever its vectors are, as long as they may decide."""
    fresh = consistent.is_fresh(column) if consistent.asked(request) else ""
    row = passes(column, condition, request)
    return row if not fresh else fresh if row == "true" else f"{row} AND {fresh}"


def passes(column: Column, condition: str, request: Request) -> str:
    """What a row must pass, be it fresh or not."""
    if request.leave_out is None:
        return condition
    left_out = f"NOT ({column.table.key_matches(column.table.alias, '$5')})"
    return left_out if condition == "true" else f"{condition} AND {left_out}"
