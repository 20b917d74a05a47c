"""What a search costs inside of the server: all of it, and what comes before PostgreSQL runs the final statement.

Loops in PL/pgSQL by clock_timestamp(), so that neither the network nor psycopg counts.
"""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import report
from filtered_runs import Asker, Connection, Truth
from filtered_tables import Table

WARM = 10
# Given a table's queries, runs one statement for each of them and returns seconds. $1 is the table, $2 the vector, $3 the filter, $4 the
# params, $5 the recall.
LOOP = """
CREATE OR REPLACE FUNCTION pg_temp.bench_timed(target regclass, queries text[], filter text, params jsonb[], recall float8)
RETURNS float8[] LANGUAGE plpgsql AS $loop$
DECLARE
    seconds float8[] := '{}';
    asked vector;
    started timestamptz;
BEGIN
    FOR i IN 1 .. cardinality(queries) LOOP
        asked := queries[i]::vector;
        started := clock_timestamp();
        PERFORM * FROM <call>;
        seconds := seconds || extract(epoch FROM clock_timestamp() - started)::float8;
    END LOOP;
    RETURN seconds;
END $loop$
"""
# What is known of the arguments of pgembed._plan_search; one that is not here is NULL, for it is younger than this file.
GIVEN = {
    "target": "target",
    "output": "'key'",
    "k": "10",
    "filter": "bench_timed.filter",
    "params": "bench_timed.params[i]",
    "recall": "bench_timed.recall",
    "exact": "false",
}


def timed(connection: Connection, asker: Asker, recall: float, call: str) -> list[float]:
    """Seconds of a call for each query; those of the first few, which load what a connection keeps, are left out."""
    connection.execute("DROP FUNCTION IF EXISTS pg_temp.bench_timed")
    connection.execute(LOOP.replace("<call>", call))
    queries = [f"[{','.join(f'{number:.9g}' for number in row.tolist())}]" for row in asker.table.queries[: asker.queries]]
    found = connection.execute(
        "SELECT pg_temp.bench_timed(%s::regclass, %s, %s, %s::jsonb[], %s)",
        [asker.table.name, queries, asker.cell.ours(), asker.params[: asker.queries], recall],
    ).fetchall()
    seconds: list[float] = found[0][0]
    return seconds[min(WARM, len(seconds) // 2) :]


def served(connection: Connection, asker: Asker, recall: float) -> list[float]:
    """Seconds of pgembed.search_keys inside of the server."""
    call = "pgembed.search_keys(target, asked, 10, bench_timed.filter, bench_timed.params[i], recall => bench_timed.recall)"
    return timed(connection, asker, recall, call)


def plan_calls(connection: Connection) -> dict[str, str]:
    """Calls of pgembed._plan_search: as it is, and without and with its probe where it can be told."""
    found = connection.execute(
        "SELECT p.proargnames[u.n], format_type(u.kind, NULL)"
        " FROM pg_proc AS p, unnest(p.proargtypes::oid[]) WITH ORDINALITY AS u (kind, n)"
        " WHERE p.pronamespace = 'pgembed'::regnamespace AND p.proname = '_plan_search' ORDER BY u.n"
    ).fetchall()
    if not found:
        return {}
    names = dict(found)

    def call(**told: str) -> str:
        vector = "pgembed._sent(asked)" if names.get("query") == "bytea" else "asked"
        known = {**GIVEN, "query": vector, **told}
        given = [f"{name} => {known.get(name) or f'NULL::{kind}'}" for name, kind in names.items()]
        return f"pgembed._plan_search({', '.join(given)})"

    if "probe" in names:
        return {"without the probe": call(probe="false"), "with the probe": call(probe="true")}
    return {"as it decides": call()}


def planning(connection: Connection, table: Table, queries: int, recall: float) -> None:
    """Milliseconds before the final statement, for each kind of filter."""
    calls = plan_calls(connection)
    similar = table.queries[:queries] @ table.vectors.T
    lines: list[list[report.Cell]] = []
    every: dict[str, list[float]] = {name: [] for name in calls}
    seen: set[Any] = set()
    for cell in table.cells():
        if cell.rows_moved or cell.kind in seen:
            continue
        seen.add(cell.kind)
        asker = Asker(connection, table, cell, Truth(connection, table, cell, similar), queries)
        line: list[report.Cell] = [cell.shown]
        for name, call in calls.items():
            seconds = timed(connection, asker, recall, call)
            every[name].append(1000 * statistics.median(seconds))
            line += [every[name][-1], 1000 * float(np.percentile(seconds, 95))]
        lines.append([*line, asker.path(recall)])
    lines.append(["median of filters", *(number for name in calls for number in (statistics.median(every[name]), None)), None])
    report.show(
        "filters_planning",
        f"before PostgreSQL runs the final statement, ms inside of the server, {len(table.rows):,} rows",
        ["filter", *(f"{what}, {name}" for name in calls for what in ("p50", "p95")), "path"],
        lines,
    )
