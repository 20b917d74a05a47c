"""planner: from a filter, k and statistics to the one SQL statement that answers a search.

Three access paths so far. *Exact*: every row that passes the filter is compared; PostgreSQL finds those rows as it likes. *Index*: the
nearest rows are taken from the vector index, which goes on until k of them pass the filter, and if it ends with fewer than k, the same
statement answers exactly instead. *Code*: many more than k are taken from the index on their codes in the same way, and compared exactly;
see `pgembed.codepaths`. Exact wins while few rows pass: pgvector's cost model knows neither recall nor how filter and query
correlate (for a filter passed by 1.7 % of 63,666 rows PostgreSQL chose the index and recall was .014), so the choice is made here.

A column over chunks has a row once, with its nearest chunk: the exact path finds that for every row that passes, the index path takes the
nearest chunks, several for each result, and keeps the nearest of each row.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgembed import errors
from pgembed.columns import CHUNK_VECTOR, Column, Table, quote
from pgembed.database import Database

if TYPE_CHECKING:
    from pgembed.codepaths import Candidates

# Up to here every passing row is compared: at 384 dimensions some 15 ms, and recall is 1.
EXACT_ROWS = 10_000
# Candidates that an index scan keeps for a recall@10, measured over 30,000 package descriptions with questions that no row was made of
# (tests/benchmarks/bench_search.py): .923 at 100, .958 at 200, .978 at 400, .987 at 800.
EF_SEARCH = ((0.92, 100), (0.95, 200), (0.98, 400), (0.985, 800))
# The same over codes, which miss by themselves half of what may be missed, see `pgembed.codepaths`.
CODE_EF_SEARCH = ((0.92, 100), (0.95, 200), (0.98, 400), (0.99, 600))
DEFAULT_RECALL = 0.98
CANDIDATES_PER_RESULT = 4
EF_SEARCH_LIMIT = 1000  # pgvector's own
# Chunks that are taken from the index for each result, because several are of one row; and how many a row has where nobody has counted.
CHUNKS_PER_RESULT = 10
CHUNKS_PER_ROW = 4
# Their names must be no table's: a filter's subquery would see them instead.
NEAREST, BEST, CHUNK = quote("pgembed nearest"), quote("pgembed best"), quote("pgembed chunk")


@dataclass(frozen=True)
class Request:
    """What is asked of a search, as it came from the caller.

    Attributes:
        query_dim: dimensions of the query vector; None where it is NULL.
        filter: one boolean SQL expression over the table, ``$1`` being the params; None passes every row.
        params: JSON text; known values make the estimate of passing rows better.
        max_distance: results are at most so far; None for no bound.
        recall: share of the true k nearest that is asked for; None leaves it to the planner.
        leave_out: the row with this key is no result.
        query: as vector_send() makes it, for its code; None where it does not matter.
    """

    query_dim: int | None
    k: int | None
    filter: str | None
    params: str | None
    max_distance: float | None
    recall: float | None
    exact: bool
    leave_out: str | None
    query: bytes | None = None


@dataclass(frozen=True)
class Plan:
    """A statement and why it is the one.

    Attributes:
        statement: one SELECT of (item, distance, rank, chunk, start_char, end_char) or (key, distance, rank); parameters $1 params,
            $2 query vector, $3 k, $4 max_distance, $5 key, $6 code.
        path: ``exact``, ``index`` or ``code``.
        estimated_rows: rows that pass the filter, as PostgreSQL's statistics have it.
        settings: name, value, name, value ... for the time of the statement.
        unembedded: a statement that counts the passing rows without a vector; parameter $1 params.
        code: the query's own, as text; None but on path ``code``.
    """

    statement: str
    path: str
    reason: str
    estimated_rows: float
    settings: tuple[str, ...]
    unembedded: str
    code: str | None = None


def plan(db: Database, column: Column, output: str, request: Request) -> Plan:
    """Choose the access path and render its statement. Nothing of the filter is run, only prepared and estimated.

    Args:
        output: ``item`` for rows of the table's type, ``key`` for keys as text.
    Raises:
        errors.NullNotAllowed, errors.InvalidParameter: an argument is out of range.
        errors.DimensionMismatch: query and column have different dimensions.
        errors.InsufficientPrivilege: the caller may not read what is asked for.
        errors.StatementRefused: the filter is not one boolean expression over the table.
    """
    check(request, column)
    target = column.table
    check_rights(db, column, output)
    condition = proven(db, target, request.filter)
    rows = estimate(db, target, condition, request.params)
    path, reason, candidates = _choose(db, column, request, rows)
    settings: tuple[str, ...] = ()
    if path == "exact":
        statement = _exact(column, output, condition, request)
    else:
        statement = _code(column, output, condition, request, candidates) if candidates else _index(column, output, condition, request)
        if candidates is not None or column.index_method == "hnsw":
            known = CODE_EF_SEARCH if candidates else EF_SEARCH
            enough = next((size for recall, size in known if _recall(request) <= recall), EF_SEARCH_LIMIT)
            each = CANDIDATES_PER_RESULT if column.chunks is None else CHUNKS_PER_RESULT
            ef_search = min(EF_SEARCH_LIMIT, max(enough, each * (request.k or 0), candidates.number if candidates else 0))
            settings = (
                "hnsw.ef_search",
                str(ef_search),
                "hnsw.iterative_scan",
                "relaxed_order",
                "hnsw.max_scan_tuples",
                "100000",
            )
        else:
            settings = ("ivfflat.iterative_scan", "relaxed_order")
        # PostgreSQL would compile the branch that answers exactly, for its cost, and that takes longer than all the rest.
        settings = (*settings, "jit", "off")
    return Plan(
        statement=statement,
        path=path,
        reason=reason,
        estimated_rows=rows,
        settings=settings,
        unembedded=(f"SELECT pg_catalog.count(*) AS n FROM {target.sql} AS {target.alias} WHERE {condition} AND {_no_vector(column)}"),
        code=candidates.query if candidates else None,
    )


def estimate(db: Database, target: Table, condition: str, params: str | None) -> float:
    """Rows that pass a condition, as PostgreSQL's planner estimates it for the caller (row security included)."""
    found = db.execute(
        f"EXPLAIN (FORMAT JSON) SELECT FROM {target.sql} AS {target.alias} WHERE {condition}",
        ["pg_catalog.jsonb"],
        [params],
    )
    tree = next(iter(found[0].values()))
    return float((json.loads(tree) if isinstance(tree, str) else tree)[0]["Plan"]["Plan Rows"])


def proven(db: Database, target: Table, condition: str | None) -> str:
    """Prove that a filter is one boolean expression, and return it in parentheses; ``true`` where there is none.

    What breaks out of parentheses does not parse without them, and the other way round, so both forms are prepared; neither is run.

    Raises:
        errors.StatementRefused: it is not.
    """
    if condition is None or not condition.strip():
        return "true"
    wrapped = f"({condition}\n)"  # the line break ends a trailing comment
    try:
        for text in (condition, wrapped):
            db.prepare(f"SELECT FROM {target.sql} AS {target.alias} WHERE {text}", ["pg_catalog.jsonb"])
    except errors.StatementRefused as error:
        error.message = f"filter is not a boolean expression over {target.name}: {error.message}"
        error.hint = error.hint or (
            "A filter is what stands after WHERE, over the table's own columns; values come as params: $1->>'name'."
        )
        raise
    return wrapped


def check(request: Request, column: Column) -> None:
    """Raise where an argument is out of range.

    Raises:
        errors.NullNotAllowed, errors.InvalidParameter: it is.
        errors.DimensionMismatch: query and column have different dimensions.
    """
    if request.query_dim is None:
        raise errors.NullNotAllowed("query is NULL", hint="Give a text or a vector to search for.")
    if request.k is None:
        raise errors.NullNotAllowed("k is NULL", hint="k is the number of results, 10 by default.")
    if request.k <= 0:
        raise errors.InvalidParameter(f"k must be at least 1, not {request.k}", hint="k is the number of results.")
    if request.recall is not None and not 0 < request.recall <= 1:
        raise errors.InvalidParameter(
            f"recall must be above 0 and at most 1, not {request.recall:g}",
            hint="0.99 asks for 99 of 100 true neighbours.",
        )
    if request.max_distance is not None and request.max_distance != request.max_distance:
        raise errors.InvalidParameter("max_distance must be a number, not NaN", hint="Leave it out where there is no bound.")
    if column.dim is not None and request.query_dim != column.dim:
        raise errors.DimensionMismatch(
            f"query has {request.query_dim} dimensions, {column.label} has {column.dim}",
            hint="Compare only vectors of one model; pgembed.embed_query() makes a query with the column's own.",
        )


def check_rights(db: Database, column: Column, output: str) -> None:
    """PostgreSQL checks the caller's rights itself; asked before, there is a word on what is needed.

    Args:
        output: see `plan`.
    Raises:
        errors.InsufficientPrivilege: the caller may not read what is asked for.
    """
    table = column.table
    found = db.execute(
        "SELECT pg_catalog.bool_and(pg_catalog.has_column_privilege($1, attnum, 'SELECT')) AS readable FROM pg_catalog.pg_attribute"
        " WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped AND ($2::pg_catalog.text IS NULL OR attname = $2)",
        ["pg_catalog.oid", "pg_catalog.text"],
        [table.oid, None if output == "item" else column.name],
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
            hint=f"Rows need SELECT on {table.shown}; pgembed.search_keys() only on its key, the embedding and what the filter reads.",
        )


def _choose(db: Database, column: Column, request: Request, rows: float) -> tuple[str, str, Candidates | None]:
    if request.exact:
        return "exact", "exact => true", None
    if request.recall == 1:
        return "exact", "recall => 1", None
    candidates, but = _candidates(db, column, request) if rows > EXACT_ROWS else (None, "")
    if candidates is not None:
        return "code", f"about {rows:.0f} rows pass the filter: {candidates.reason}", candidates
    if column.index_name is None:
        return "exact", f"no vector index on {column.label} serves its metric, {column.metric}{but}", None
    if column.chunks is not None:
        return *_choose_chunks(column, request, rows), None
    if rows <= EXACT_ROWS:
        return (
            "exact",
            f"about {rows:.0f} rows pass the filter, so few that comparing them all costs less than it could miss",
            None,
        )
    if request.k is not None and request.k > EF_SEARCH_LIMIT:
        return "exact", f"k is above {EF_SEARCH_LIMIT}, more than an index scan keeps at a time{but}", None
    return "index", f"about {rows:.0f} rows pass the filter: {column.index_method} index {column.index_name}{but}", None


def _candidates(db: Database, column: Column, request: Request) -> tuple[Candidates | None, str]:
    """What codes would give, or why they are not asked, to be added to another reason."""
    if column.chunks is not None or request.query is None or request.k is None:
        return None, ""
    # most columns have none, and need not wait for the room of codes to be imported
    found = db.execute(
        "SELECT EXISTS (SELECT FROM pgembed._code AS c WHERE c.table_name OPERATOR(pg_catalog.=) $1"
        " AND c.embedding_column OPERATOR(pg_catalog.=) $2 AND c.is_active) AS coded",
        ["pg_catalog.oid", "pg_catalog.name"],
        [column.table.oid, column.name],
    )
    if not found[0]["coded"]:
        return None, ""
    from pgembed import codepaths

    candidates, why = codepaths.candidates(db, column, request.query, request.k, _recall(request))
    return candidates, f"; {why}" if why else ""


def _recall(request: Request) -> float:
    return DEFAULT_RECALL if request.recall is None else request.recall


def _choose_chunks(column: Column, request: Request, rows: float) -> tuple[str, str]:
    assert column.chunks is not None
    each = column.chunks.lines / column.rows if column.chunks.lines > 0 and column.rows > 0 else CHUNKS_PER_ROW
    said = f"about {rows:.0f} rows with {each:.1f} chunks each pass the filter"
    if rows * each <= EXACT_ROWS:
        return "exact", f"{said}, so few that comparing them all costs less than it could miss"
    if request.k is not None and request.k * CHUNKS_PER_RESULT > EF_SEARCH_LIMIT:
        return "exact", f"k is above {EF_SEARCH_LIMIT // CHUNKS_PER_RESULT}, and its chunks are more than an index scan keeps at a time"
    return "index", f"{said}: {column.index_method} index {column.index_name}"


def _exact(column: Column, output: str, condition: str, request: Request) -> str:
    if column.chunks is not None:
        return _ranked(f"(\n    {_exact_chunks(column, output, condition, request)}\n)", output, chunks=True)
    return _ranked(f"(\n    {_nearest(column, output, condition, request)}\n)", output)


def _nearest(column: Column, output: str, condition: str, request: Request) -> str:
    return (
        # Adding zero keeps PostgreSQL from ordering by the vector index, which would not be exact.
        f"SELECT {_output(column, output)} AS answer, ({_distance(column)}) + 0.0::pg_catalog.float8 AS distance,"
        f" {_place(column)} AS place\n"
        f"    FROM {column.table.sql} AS {column.table.alias}\n"
        f"    WHERE {_where(column, condition, request)}\n"
        f"    ORDER BY 2, 3 LIMIT $3"
    )


def _exact_chunks(column: Column, output: str, condition: str, request: Request) -> str:
    """Every row that passes, each with its nearest chunk. The filter stands where it sees its table and nothing else."""
    assert column.chunks is not None
    alias, keys = column.table.alias, [key for key, _ in column.table.keys]
    names = [f"k{position}" for position in range(len(keys))]
    given = ", ".join(f"{alias}.{key} AS {name}" for key, name in zip(keys, names, strict=True))
    near = "" if request.max_distance is None else "\n    WHERE b.distance OPERATOR(pg_catalog.<=) $4"
    return (
        "SELECT r.answer, b.distance, r.place, b.content, b.start_char, b.end_char\n"
        f"    FROM (SELECT {_output(column, output)} AS answer, {_place(column)} AS place, {given}\n"
        f"        FROM {column.table.sql} AS {alias} WHERE {_where_row(column, condition, request)}) AS r\n"
        # Adding zero keeps PostgreSQL from ordering by the vector index, which would not be exact.
        f"    CROSS JOIN LATERAL (SELECT ({_distance(column, 'c')}) + 0.0::pg_catalog.float8 AS distance, c.content, c.start_char,\n"
        f"        c.end_char FROM {column.chunks.sql} AS c WHERE {column.chunks.of_row('c', 'r', names)}\n"
        f"        ORDER BY 1, c.ordinal LIMIT 1) AS b{near}\n"
        "    ORDER BY 2, 3 LIMIT $3"
    )


def _index_chunks(column: Column, output: str, condition: str, request: Request) -> str:
    assert column.chunks is not None
    alias, keys = column.table.alias, [key for key, _ in column.table.keys]
    passes = _where_row(column, condition, request)
    parts = [] if request.max_distance is None else [f"({_distance(column, CHUNK)}) OPERATOR(pg_catalog.<=) $4"]
    if passes != "true":
        same = column.chunks.of_row(CHUNK, alias, keys)
        parts.append(f"EXISTS (SELECT FROM {column.table.sql} AS {alias} WHERE {same} AND {passes})")
    own = ", ".join(f"{NEAREST}.{key}" for key in column.chunks.keys)
    nearest = (
        f"SELECT {', '.join(f'{CHUNK}.{key}' for key in column.chunks.keys)}, {CHUNK}.ordinal, {CHUNK}.content, {CHUNK}.start_char,"
        f" {CHUNK}.end_char, {_distance(column, CHUNK)} AS distance\n    FROM {column.chunks.sql} AS {CHUNK}\n"
        f"    WHERE {' AND '.join(parts) or 'true'}\n"
        f"    ORDER BY {_distance(column, CHUNK)} LIMIT {CHUNKS_PER_RESULT}::pg_catalog.int8 * $3"
    )
    best = (
        f"SELECT DISTINCT ON ({own}) {_output(column, output)} AS answer, {NEAREST}.distance, {_place(column)} AS place,"
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
        chunks=True,
    )


def _index(column: Column, output: str, condition: str, request: Request) -> str:
    if column.chunks is not None:
        return _index_chunks(column, output, condition, request)
    alias = column.table.alias
    select = f"SELECT {_output(column, output)} AS answer"
    where = f"    FROM {column.table.sql} AS {alias}\n    WHERE {_where(column, condition, request)}\n"
    scan = f"{select}, {_distance(column)} AS distance, {_place(column)} AS place\n{where}    ORDER BY {_distance(column)} LIMIT $3"
    # The one statement goes on by itself: the second branch runs only where the index gave too few, and then answers exactly.
    rest = f"{select}, ({_distance(column)}) + 0.0::pg_catalog.float8, {_place(column)}\n{where}    ORDER BY 2, 3 LIMIT $3"
    enough = f"(SELECT pg_catalog.count(*) FROM {NEAREST}) OPERATOR(pg_catalog.>=) $3"
    return f"WITH {NEAREST} AS MATERIALIZED (\n    {scan}\n)\n" + _ranked(
        f"(\n    SELECT * FROM {NEAREST} WHERE {enough}\n    UNION ALL\n"
        f"    SELECT * FROM (\n    {rest}\n    ) AS every WHERE NOT {enough}\n)",
        output,
    )


def _code(column: Column, output: str, condition: str, request: Request, candidates: Candidates) -> str:
    scan = candidates.scan(_distance(column), _where_row(column, condition, request))
    # Rows are fetched whole only once they are results.
    best = candidates.best(NEAREST, bounded=request.max_distance is not None)
    enough = candidates.enough(NEAREST)
    return f"WITH {NEAREST} AS MATERIALIZED (\n    {scan}\n)\n" + _ranked(
        f"(\n    SELECT {_output(column, output)} AS answer, {BEST}.distance, {_place(column)} AS place\n"
        f"    FROM ({best}) AS {BEST}\n    JOIN {column.table.sql} AS {column.table.alias} ON {candidates.same_row(BEST)} WHERE {enough}\n"
        f"    UNION ALL\n    SELECT * FROM (\n    {_nearest(column, output, condition, request)}\n    ) AS every WHERE NOT {enough}\n)",
        output,
    )


def _ranked(rows: str, output: str, *, chunks: bool = False) -> str:
    part = "content, start_char, end_char" if chunks else "NULL::pg_catalog.text, NULL::pg_catalog.int4, NULL::pg_catalog.int4"
    return (
        "SELECT answer, distance, pg_catalog.row_number() OVER (ORDER BY distance, place)::pg_catalog.int4 AS rank"
        f"{f', {part}' if output == 'item' else ''}\nFROM {rows} AS found ORDER BY 3"
    )


def _output(column: Column, output: str) -> str:
    alias = column.table.alias
    # "alias.*" is the whole row even where the table has a column of its own name
    return column.table.key_text(alias) if output == "key" else f"({alias}.*)::{column.table.sql}"


def _place(column: Column) -> str:
    """SQL that puts rows at one distance in one order: by key, which a caller with some columns may read, unlike ctid."""
    alias = column.table.alias
    if column.table.keys:
        return f"ROW({', '.join(f'{alias}.{name}' for name, _ in column.table.keys)})"
    return f"ROW({alias}.tableoid, {alias}.ctid)"


def _distance(column: Column, alias: str | None = None) -> str:
    query = "$2" if column.type == "vector" else f"$2::{column.vector_schema}.{column.type}"
    return f"{alias or column.table.alias}.{column.sql} {column.operator} {query}"


def _no_vector(column: Column) -> str:
    alias = column.table.alias
    if column.chunks is None:
        return f"{alias}.{column.sql} IS NULL"
    same = column.chunks.of_row(CHUNK, alias, [key for key, _ in column.table.keys])
    return f"NOT EXISTS (SELECT FROM {column.chunks.sql} AS {CHUNK} WHERE {same})"


def _where(column: Column, condition: str, request: Request) -> str:
    parts = [f"{column.table.alias}.{column.sql} IS NOT NULL"]
    if request.max_distance is not None:
        parts.append(f"({_distance(column)}) OPERATOR(pg_catalog.<=) $4")
    return " AND ".join([_where_row(column, condition, request), *parts])


def _where_row(column: Column, condition: str, request: Request) -> str:
    """What a row must pass, whatever its vectors are."""
    if request.leave_out is None:
        return condition
    left_out = f"NOT ({column.table.key_matches(column.table.alias, '$5')})"
    return left_out if condition == "true" else f"{condition} AND {left_out}"
