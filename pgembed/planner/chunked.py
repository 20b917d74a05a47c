"""chunked: a search of a column over chunks.

A row is there once, with its nearest chunk: the exact path finds that for every row that passes, the index path takes the nearest chunks,
several for each result, and keeps the nearest of each row.
"""

from __future__ import annotations

from pgembed.columns import Column
from pgembed.planner import curves
from pgembed.planner.contract import Request
from pgembed.planner.rendering import BEST, CHUNK, NEAREST, distance, limit, output_of, place, where_row

# Chunks that are taken from the index for each result, because several are of one row; and how many a row has where nobody has counted.
CHUNKS_PER_RESULT = 10
CHUNKS_PER_ROW = 4
# Up to here every chunk is compared.
EXACT_CHUNKS = 10_000


def choose(column: Column, request: Request, rows: float) -> tuple[str, str]:
    """The path, ``exact`` or ``index``, and why."""
    assert column.chunks is not None
    each = column.chunks.lines / column.rows if column.chunks.lines > 0 and column.rows > 0 else CHUNKS_PER_ROW
    said = f"about {rows:.0f} rows with {each:.1f} chunks each pass the filter"
    if rows * each <= EXACT_CHUNKS:
        return "exact", f"{said}, so few that comparing them all costs less than it could miss"
    if request.k is not None and request.k * CHUNKS_PER_RESULT > curves.EF_SEARCH_LIMIT:
        return (
            "exact",
            f"k is above {curves.EF_SEARCH_LIMIT // CHUNKS_PER_RESULT}, and its chunks are more than an index scan keeps at a time",
        )
    return "index", f"{said}: {column.index_method} index {column.index_name}"


def statement(column: Column, output: str, condition: str, request: Request, path: str) -> str:
    """The statement of a path."""
    if path == "index":
        return _index_chunks(column, output, condition, request)
    return _ranked(f"(\n    {_exact_chunks(column, output, condition, request)}\n)", output)


def _exact_chunks(column: Column, output: str, condition: str, request: Request) -> str:
    """Every row that passes, each with its nearest chunk. The filter stands where it sees its table and nothing else."""
    assert column.chunks is not None
    alias, keys = column.table.alias, [key for key, _ in column.table.keys]
    names = [f"k{position}" for position in range(len(keys))]
    given = ", ".join(f"{alias}.{key} AS {name}" for key, name in zip(keys, names, strict=True))
    near = "" if request.max_distance is None else "\n    WHERE b.distance OPERATOR(pg_catalog.<=) $4"
    return (
        "SELECT r.answer, b.distance, r.place, b.content, b.start_char, b.end_char\n"
        f"    FROM (SELECT {output_of(column, output)} AS answer, {place(column)} AS place, {given}\n"
        f"        FROM {column.table.sql} AS {alias} WHERE {where_row(column, condition, request)}) AS r\n"
        # Adding zero keeps PostgreSQL from ordering by the vector index, which would not be exact.
        f"    CROSS JOIN LATERAL (SELECT ({distance(column, 'c')}) + 0.0::pg_catalog.float8 AS distance, c.content, c.start_char,\n"
        f"        c.end_char FROM {column.chunks.sql} AS c WHERE {column.chunks.of_row('c', 'r', names)}\n"
        f"        ORDER BY 1, c.ordinal LIMIT 1) AS b{near}\n"
        f"    ORDER BY 2, 3{limit(request)}"
    )


def _index_chunks(column: Column, output: str, condition: str, request: Request) -> str:
    assert column.chunks is not None
    alias, keys = column.table.alias, [key for key, _ in column.table.keys]
    passes = where_row(column, condition, request)
    parts = [] if request.max_distance is None else [f"({distance(column, CHUNK)}) OPERATOR(pg_catalog.<=) $4"]
    if passes != "true":
        same = column.chunks.of_row(CHUNK, alias, keys)
        parts.append(f"EXISTS (SELECT FROM {column.table.sql} AS {alias} WHERE {same} AND {passes})")
    own = ", ".join(f"{NEAREST}.{key}" for key in column.chunks.keys)
    nearest = (
        f"SELECT {', '.join(f'{CHUNK}.{key}' for key in column.chunks.keys)}, {CHUNK}.ordinal, {CHUNK}.content, {CHUNK}.start_char,"
        f" {CHUNK}.end_char, {distance(column, CHUNK)} AS distance\n    FROM {column.chunks.sql} AS {CHUNK}\n"
        f"    WHERE {' AND '.join(parts) or 'true'}\n"
        f"    ORDER BY {distance(column, CHUNK)} LIMIT {CHUNKS_PER_RESULT}::pg_catalog.int8 * $3"
    )
    best = (
        f"SELECT DISTINCT ON ({own}) {output_of(column, output)} AS answer, {NEAREST}.distance, {place(column)} AS place,"
        f" {NEAREST}.content, {NEAREST}.start_char, {NEAREST}.end_char\n"
        f"    FROM {NEAREST} JOIN {column.table.sql} AS {alias} ON {column.chunks.of_row(NEAREST, alias, keys)}\n"
        f"    ORDER BY {own}, {NEAREST}.distance, {NEAREST}.ordinal"
    )
    enough = f"(SELECT pg_catalog.count(*) FROM {BEST}) OPERATOR(pg_catalog.>=) $3"
    rest = _exact_chunks(column, output, condition, request)
    return (f"WITH {NEAREST} AS MATERIALIZED (\n    {nearest}\n), {BEST} AS MATERIALIZED (\n    {best}\n)\n") + _ranked(
        f"(\n    (SELECT * FROM {BEST} WHERE {enough} ORDER BY distance, place LIMIT $3)\n    UNION ALL\n"
        f"    SELECT * FROM (\n    {rest}\n    ) AS every WHERE NOT {enough}\n)",
        output,
    )


def _ranked(rows: str, output: str) -> str:
    part = "content, start_char, end_char"
    return (
        "SELECT answer, distance, pg_catalog.row_number() OVER (ORDER BY distance, place)::pg_catalog.int4 AS rank"
        f"{f', {part}' if output == 'item' else ''}\nFROM {rows} AS found ORDER BY 3"
    )
