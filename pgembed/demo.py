"""demo: the main job on rows that every machine has. Prints each SQL statement with its real result and the time it took.

Rows: the functions and settings that PostgreSQL describes in its own catalog, and on Debian the package catalogue.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import psycopg
from psycopg import sql

from pgembed.clientdb import connect, refusals

PACKAGE_SAMPLE = 8_000  # of some 64,000: half a minute of embedding on two cores
CELL_WIDTH = 58

LINK = """
SELECT l.mention, s.name AS setting, current_setting(s.name) AS "your value", round(l.score::numeric, 2) AS score, l.decision
FROM   pgembed.link(NULL::demo.setting, $$
           Our nightly import got slow, so we raised shared_bufers and work mem, turned synchronous comit off, and gave
           autovacum more workers; max_conections stays at 100 and the random page costs were lowered for the new SSD.
           Effective cache size is fine. $$) AS l
LEFT   JOIN pg_settings AS s ON s.name = (l.entity).name
ORDER  BY l.start_char
"""
FILTER_PLAIN = """
SELECT id, name, description
FROM   demo.function
WHERE  result = 'boolean'
ORDER  BY embedding <=> (SELECT pgembed.embed_query('demo.function', 'search inside json')) LIMIT 10
"""
FILTER = """
SELECT (item).id, (item).name, (item).description, round(distance::numeric, 3) AS distance
FROM   pgembed.search(NULL::demo.function, 'search inside json', k => 10,
                      filter => $$ result = $1->>'type' $$, params => '{"type": "boolean"}')
"""
PACKAGES = """
SELECT (item).name, (item).section, (item).installed_size AS kb, (item).description
FROM   pgembed.search(NULL::demo.package, 'make a slide show of my holiday pictures', k => 5,
                      filter => $$ installed_size < 5000 AND section IN ('graphics', 'video', 'python', 'web') $$)
"""
JOIN = """
SELECT (left_row).name AS setting, (right_row).name AS function, (right_row).description, round(distance::numeric, 3) AS distance
FROM   pgembed.semantic_join(NULL::demo.setting, NULL::demo.function, k => 1, max_distance => 0.4)
ORDER  BY distance
"""
PLAIN = """
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF)
SELECT name FROM demo.function
ORDER  BY embedding <=> pgembed.embed_query('demo.function', 'time zone of a date') LIMIT 10
"""
STATEMENTS = (LINK, FILTER_PLAIN, FILTER, PACKAGES, JOIN, PLAIN)

TABLES = """
CREATE SCHEMA IF NOT EXISTS demo;
CREATE TABLE IF NOT EXISTS demo.setting (
    name text PRIMARY KEY, category text, unit text, context text, description text
);
INSERT INTO demo.setting
    SELECT name, category, unit, context, concat_ws(' ', short_desc, extra_desc) FROM pg_settings WHERE name NOT LIKE '%.%'
    ON CONFLICT DO NOTHING;
CREATE TABLE IF NOT EXISTS demo.function (
    id oid PRIMARY KEY, name text, result text, kind text, description text
);
INSERT INTO demo.function
    SELECT p.oid, p.proname, pg_get_function_result(p.oid),
        CASE p.prokind WHEN 'a' THEN 'aggregate' WHEN 'w' THEN 'window' ELSE 'function' END, d.description
    FROM pg_proc AS p JOIN pg_description AS d ON d.objoid = p.oid AND d.classoid = 'pg_proc'::regclass
    WHERE p.pronamespace = 'pg_catalog'::regnamespace
    ON CONFLICT DO NOTHING;
CREATE TABLE IF NOT EXISTS demo.package (
    name text PRIMARY KEY, section text, installed_size int, maintainer text, description text
);
"""

# The sources read well: a name in words, then what it is.
EMBEDDED = {
    "demo.setting": "replace(name, '_', ' ') || ': ' || description",
    "demo.function": "replace(name, '_', ' ') || ': ' || description",
    "demo.package": "name || ': ' || description",
}


def main(url: str, *, all: bool = False) -> int:
    """Prepare the tables where they are missing and show what pgembed does; returns the exit status.

    Args:
        url: a server with the extension's files installed; the schema ``demo`` of its database is used.
        all: take every package of the catalogue instead of a sample.
    """
    with connect(url) as connection, refusals(connection):
        connection.execute("SET client_min_messages = warning")
        connection.add_notice_handler(lambda diagnostic: print(f"  {diagnostic.message_primary}", flush=True))
        _prepare(connection, all=all)
        connection.execute("SELECT pgembed.embed('hello')")  # the first call in a session loads the model
        _tell(Show(connection))
    _say("Now edit the sentence and run the first statement again: make psql (or psql on the URL that make -s url prints).")
    return 0


class Show:
    """Runs a statement and prints it, its result and its time."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection

    def __call__(self, statement: str, *, rows: int | None = None) -> list[tuple[Any, ...]]:
        print("\n" + statement.strip() + ";\n", flush=True)
        found, names, seconds = self.timed(statement)
        print(_table(names, found[:rows]))
        cut = f", the first {rows} shown" if rows is not None and rows < len(found) else ""
        print(f"({len(found)} rows{cut}, {1000 * seconds:.1f} ms)", flush=True)
        return found

    def timed(self, statement: str) -> tuple[list[tuple[Any, ...]], list[str], float]:
        """Rows, column names and seconds of a statement, run once."""
        start = time.perf_counter()
        cursor = self.connection.execute(statement.encode())
        found = cursor.fetchall()
        seconds = time.perf_counter() - start
        return found, [column.name for column in cursor.description or ()], seconds


def _prepare(connection: psycopg.Connection[Any], *, all: bool) -> None:
    connection.execute("CREATE EXTENSION IF NOT EXISTS pgembed CASCADE")
    connection.execute(TABLES.encode())
    _load_packages(connection, all=all)
    for table, source in EMBEDDED.items():
        known = connection.execute("SELECT FROM pgembed.embeddings WHERE table_name = %s::regclass", [table]).fetchall()
        if not known:
            connection.execute("SELECT pgembed.add_embedding(%s::regclass, %s)", [table, source])
        rows = connection.execute(
            "SELECT coalesce(pending + stale + failed, 0) FROM pgembed.embeddings WHERE table_name = %s::regclass", [table]
        ).fetchone()
        if rows and rows[0]:
            print(f"CALL pgembed.refresh('{table}');", flush=True)
            connection.execute("SET client_min_messages = notice")  # refresh tells how far it is
            connection.execute(sql.SQL("CALL pgembed.refresh({})").format(sql.Literal(table)))
            connection.execute("SET client_min_messages = warning")
            connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(*table.split("."))))
    # Small tables get no index of their own accord; this one shows what a filter does to an index.
    connection.execute("CREATE INDEX IF NOT EXISTS function_embedding_idx ON demo.function USING hnsw (embedding vector_cosine_ops)")
    if not connection.execute("SELECT FROM pgembed.linkers WHERE name = 'settings'").fetchall():
        connection.execute("SELECT pgembed.create_linker('settings', 'demo.setting', names => 'name', context => 'embedding')")


def _load_packages(connection: psycopg.Connection[Any], *, all: bool) -> None:
    have = connection.execute("SELECT count(*) FROM demo.package").fetchone()
    if have is None or (have[0] and not all):
        return
    packages = list(debian_packages())
    if not all:
        packages = random.Random(1).sample(packages, min(PACKAGE_SAMPLE, len(packages)))
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE coming (LIKE demo.package) ON COMMIT DROP")
        with cursor.copy("COPY coming (name, section, installed_size, maintainer, description) FROM STDIN") as copy:
            for package in packages:
                copy.write_row(package)
        cursor.execute(
            "INSERT INTO demo.package (name, section, installed_size, maintainer, description)"
            " SELECT name, section, installed_size, maintainer, description FROM coming ON CONFLICT DO NOTHING"
        )


def debian_packages() -> Iterator[tuple[str, str, int, str, str]]:
    """Debian's package catalogue as apt has it: name, section, kilobytes, maintainer, description; each name once; none elsewhere."""
    if shutil.which("apt-cache") is None:
        return
    listing = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, text=True, errors="replace", check=False).stdout
    seen: set[str] = set()
    for stanza in listing.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line and not line.startswith(" "))
        name, description = fields.get("Package"), fields.get("Description")
        if name and description and name not in seen:
            seen.add(name)
            yield name, fields.get("Section", ""), int(fields.get("Installed-Size", 0)), fields.get("Maintainer", ""), description


def _tell(show: Show) -> None:
    _say("A paragraph with misspelt names, linked to settings and joined to your own live values.")
    show(LINK)
    _say("A filter that a quarter of the rows pass, on one index: pgvector by itself, then pgembed.")
    _compare(show)
    if show.timed("SELECT FROM demo.package LIMIT 1")[0]:
        _say("A search under any WHERE, over Debian's packages.")
        show(PACKAGES)
    _say("A join by meaning: which function belongs to which setting?")
    show(JOIN, rows=10)
    _say("Plain SQL, with pgvector's own operator and index.")
    show(PLAIN)


def _compare(show: Show) -> None:
    true = {row[0] for row in show.timed(FILTER.replace("k => 10", "k => 10, exact => true"))[0]}
    lines = []
    for who, statement in (("pgvector", FILTER_PLAIN), ("pgembed", FILTER)):
        found = [row[0] for row in show(statement)]
        _, _, seconds = show.timed(statement)  # again: now everything is warm for both
        lines.append((who, len(found), f"{len(true.intersection(found)) / len(true):.2f}", f"{1000 * seconds:.1f}"))
    print("\n" + _table(("side by side", "rows of 10", "recall@10", "ms"), lines))


def _say(text: str) -> None:
    print(f"\n-- {text}", flush=True)


def _table(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows as psql prints them; long values are cut."""
    cells = [[_cell(value, CELL_WIDTH if len(names) > 1 else 140) for value in row] for row in rows]
    widths = [max([len(name), *(len(row[column]) for row in cells)]) for column, name in enumerate(names)]
    lines = [" | ".join(name.ljust(width) for name, width in zip(names, widths, strict=True)), "-+-".join("-" * width for width in widths)]
    lines += [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    return "\n".join(f" {line}".rstrip() for line in lines)


def _cell(value: object, width: int) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= width else text[: width - 1] + "…"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
