"""Filtered search: pgembed against pgvector as it is and with its iterative scan, on the same table, index and queries.

Rows are Debian's package catalogue, filters its sections; queries are PostgreSQL's own words about its functions, which no row was made
of. Recall@10 is against every passing row compared. Physical limit of the exact path: dim * 4 bytes of heap for each passing row, some
2 GB/s of it compared on one core.

    PGEMBED_URL=$(make -s url) python tests/benchmarks/bench_search.py [--plot FILE.png]
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import time
from typing import Any

import psycopg

from pgembed import demo

K = 10
SETTINGS = {
    "pgvector": "SET hnsw.iterative_scan = off; SET hnsw.ef_search = 40",
    "pgvector, iterative scan": "SET hnsw.iterative_scan = relaxed_order; SET hnsw.ef_search = 40",
}
Line = tuple[str, float, str, float, float, float]


def prepare(connection: psycopg.Connection[Any], rows: int) -> None:
    connection.execute("CREATE EXTENSION IF NOT EXISTS pgembed CASCADE")
    connection.execute("DROP TABLE IF EXISTS bench_search")
    connection.execute("CREATE TABLE bench_search (id int PRIMARY KEY, section text, body text)")
    packages = list(demo.debian_packages())
    if not packages:
        print("skipped: needs Debian's package catalogue, and apt-cache dumpavail printed nothing")
        raise SystemExit(0)
    chosen = random.Random(2).sample(packages, min(rows, len(packages)))
    with connection.cursor().copy("COPY bench_search FROM STDIN") as copy:
        for position, (name, section, _, _, description) in enumerate(chosen):
            copy.write_row((position, section, f"{name}: {description}"))
    connection.execute("CREATE INDEX ON bench_search (section)")
    connection.execute("SELECT pgembed.add_embedding('bench_search', 'body')")
    connection.execute("CALL pgembed.refresh('bench_search')")
    connection.execute("ANALYZE bench_search")


def questions(connection: psycopg.Connection[Any], n: int) -> list[str]:
    """Query vectors as text: passed as parameters, so that only searching is timed."""
    texts = [
        row[0]
        for row in connection.execute(
            "SELECT DISTINCT description FROM pg_description WHERE classoid = 'pg_proc'::regclass"
            " AND description !~ '^(implementation|internal|statistics)' AND description ~ ' .* ' ORDER BY 1"
        ).fetchall()
    ]
    chosen = random.Random(3).sample(texts, n)
    return [row[0] for row in connection.execute("SELECT v::text FROM unnest(pgembed.embed(%s::text[])) AS v", [chosen]).fetchall()]


def measure(connection: psycopg.Connection[Any], queries: list[str], filters: list[str]) -> list[Line]:
    total = connection.execute("SELECT count(*) FROM bench_search").fetchone()
    lines: list[Line] = []
    for condition in filters:
        passing = connection.execute(f"SELECT count(*) FROM bench_search WHERE {condition}").fetchone()
        share = passing[0] / total[0] if passing and total else 0.0
        plain = f"SELECT id FROM bench_search WHERE {condition} ORDER BY embedding <=> %s::vector LIMIT {K}"
        ours = "SELECT key::int FROM pgembed.search_keys('bench_search', %s::vector, k => 10, filter => %s)"
        for who in (*SETTINGS, "pgembed"):
            if who in SETTINGS:
                connection.execute(SETTINGS[who])
            found, recall, seconds = [], [], []
            for query in queries:
                start = time.perf_counter()
                rows = connection.execute(*((plain, [query]) if who in SETTINGS else (ours, [query, condition]))).fetchall()
                seconds.append(time.perf_counter() - start)
                truth = connection.execute(
                    "SELECT key::int FROM pgembed.search_keys('bench_search', %s::vector, filter => %s, exact => true)", [query, condition]
                ).fetchall()
                found.append(len(rows))
                recall.append(len(set(rows) & set(truth)) / max(1, len(truth)))
            connection.execute("RESET ALL")
            lines.append((condition, share, who, statistics.mean(found), statistics.mean(recall), 1000 * statistics.median(seconds)))
            print(f"{condition:<32}{share:>7.1%}  {who:<26}{lines[-1][3]:>6.1f}{lines[-1][4]:>8.3f}{lines[-1][5]:>8.1f}", flush=True)
    return lines


def plot(lines: list[Line], path: str) -> None:
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for who in dict.fromkeys(line[2] for line in lines):
        mine = [line for line in lines if line[2] == who]
        shares = [100 * line[1] for line in mine]
        left.plot(shares, [line[4] for line in mine], "o-", label=who)
        right.plot(shares, [line[5] for line in mine], "o-", label=who)
    for axes, title in ((left, "recall@10"), (right, "milliseconds a search, median")):
        axes.set(xscale="log", xlabel="rows that pass the filter, %", title=title)
        axes.grid(alpha=0.3)
    left.set_ylim(0, 1.05)
    left.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--queries", type=int, default=30)
    parser.add_argument("--plot", metavar="FILE.png", default=os.environ.get("PGEMBED_PLOT"), help="draw the table, with matplotlib")
    parser.add_argument("--keep", action="store_true", help="keep the table, and use it where it is there already")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    options = parser.parse_args()
    if options.quick:
        options.rows, options.queries = 300, 3
    with psycopg.connect(os.environ["PGEMBED_URL"], autocommit=True, prepare_threshold=2) as connection:
        if not options.keep or not connection.execute("SELECT to_regclass('bench_search')").fetchall()[0][0]:
            prepare(connection, options.rows)
        sections = connection.execute(
            "SELECT section FROM bench_search GROUP BY section HAVING count(*) >= 20 ORDER BY count(*) DESC"
        ).fetchall()
        step = max(1, len(sections) // 6)
        filters = ["true", "position('e' IN section) > 0", *(f"section = '{section}'" for (section,) in sections[::step])]
        print(f"{'filter':<32}{'pass':>7}  {'':<26}{'rows':>6}{'recall':>8}{'ms':>8}")
        lines = measure(connection, questions(connection, options.queries), filters)
        if not options.keep:
            connection.execute("DROP TABLE bench_search")
    if options.plot:
        plot(lines, options.plot)


if __name__ == "__main__":
    main()
