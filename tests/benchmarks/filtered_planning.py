"""What a search costs inside of the server: all of it, and what comes before PostgreSQL runs the final statement.

Loops in PL/pgSQL by clock_timestamp(), so that neither the network nor psycopg counts.
"""

from __future__ import annotations

import statistics

import numpy as np
import report
from filtered_runs import Asker, Connection, Truth, called
from filtered_tables import Table

WARM = 10
# Runs one call for each query and returns seconds. In it: target, asked (the vector), and bench_timed.filter, .params[i], .recall.
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


def plan_call(connection: Connection) -> str:
    """A call of pgembed._plan_search, probe and all."""
    given = {
        "target": "target",
        "output": "'key'",
        "query": "pgembed._sent(asked)",
        "k": "10",
        "filter": "bench_timed.filter",
        "params": "bench_timed.params[i]",
        "recall": "bench_timed.recall",
        "exact": "false",
    }
    return called(connection, "_plan_search", given)


def planning(connection: Connection, table: Table, queries: int, recall: float) -> None:
    """Milliseconds before the final statement, for each kind of filter, apart for those whose neighbours are probed."""
    call = plan_call(connection)
    similar = table.queries[:queries] @ table.vectors.T
    lines: list[list[report.Cell]] = []
    medians: dict[bool, list[float]] = {False: [], True: []}
    seen: set[tuple[str, str]] = set()
    for cell in table.cells():
        asker = Asker(connection, table, cell, Truth(connection, table, cell, similar), queries)
        path = asker.path(recall)
        if cell.rows_moved or (cell.kind, path) in seen:
            continue
        seen.add((cell.kind, path))
        seconds, probed = timed(connection, asker, recall, call), asker.probed(recall)
        median = 1000 * statistics.median(seconds)
        medians[probed].append(median)
        lines.append([cell.shown, path, "yes" if probed else "no", median, 1000 * float(np.percentile(seconds, 95))])
    for probed, found in medians.items():
        if found:
            lines.append([f"median, {'with' if probed else 'without'} the probe", "", "", statistics.median(found), None])
    report.show(
        "filters_planning",
        f"before PostgreSQL runs the final statement, ms inside of the server, {len(table.rows):,} rows",
        ["filter", "path", "probed", "p50", "p95"],
        lines,
    )
