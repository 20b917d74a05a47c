"""Bad input to a join, and what comes of it: an error that says what to do, or work that is bounded."""

from __future__ import annotations

import time
from typing import Any

import psycopg
import report
from join_data import made
from join_speed import Watch, store

Connection = psycopg.Connection[Any]
ROWS, LARGE, DIM = 200, 1_000_000, 16
TIMEOUT = 20
JOIN = "SELECT count(right_key) FROM pgembed.semantic_join_keys"
SMALL = (
    ("two models", f"{JOIN}('bad_model', 'bad_other_model')"),
    ("two numbers of dimensions", f"{JOIN}('bad_one', 'bad_narrow')"),
    ("no key, but keys wanted", f"{JOIN}('bad_keyless', 'bad_one', 'embedding')"),
    ("no key, rows wanted", "SELECT count(*) FROM pgembed.semantic_join(NULL::bad_keyless, NULL::bad_one)"),
    ("keys that are NULL", f"{JOIN}('bad_holes', 'bad_one')"),
    ("keys that are NULL, rows wanted", "SELECT count(*) FROM pgembed.semantic_join(NULL::bad_holes, NULL::bad_one)"),
    ("an empty left side", f"{JOIN}('bad_empty', 'bad_one')"),
    ("an empty right side", f"{JOIN}('bad_one', 'bad_empty')"),
    ("no vector but NULL", f"{JOIN}('bad_nulls', 'bad_one')"),
    ("k => 0", f"{JOIN}('bad_one', 'bad_same', k => 0)"),
    ("k => NULL without max_distance", f"{JOIN}('bad_one', 'bad_same', k => NULL)"),
)
TABLES = ("one", "same", "narrow", "huge", "keyless", "holes", "empty", "nulls", "model", "other_model")


def prepare(connection: Connection, rows: int) -> None:
    """Small tables, each with something wrong, and a large one with nothing wrong."""
    drop(connection)
    for seed, (table, dim) in enumerate({"one": DIM, "same": DIM, "narrow": 8, "huge": DIM}.items()):
        store(connection, f"bad_{table}", made(rows if table == "huge" else ROWS, dim, seed))
    connection.execute(
        """
        CREATE TABLE bad_keyless AS SELECT embedding FROM bad_same;
        CREATE TABLE bad_holes (id int UNIQUE, embedding vector(16));
        INSERT INTO bad_holes SELECT nullif(id % 100, id), embedding FROM bad_same;
        CREATE TABLE bad_empty (LIKE bad_same INCLUDING ALL);
        CREATE TABLE bad_nulls (LIKE bad_same INCLUDING ALL);
        INSERT INTO bad_nulls SELECT id, NULL FROM bad_same;
        """
    )
    for table in ("keyless", "holes", "empty", "nulls"):
        connection.execute(f"SELECT pgembed.adopt_embedding('bad_{table}', 'embedding')")
    for table, model in (("model", "all-minilm-l6-v2"), ("other_model", "all-minilm-l6-v2-int8")):
        connection.execute(f"CREATE TABLE bad_{table} (id int PRIMARY KEY, t text)")
        connection.execute("SELECT pgembed.add_embedding(%s::regclass, 't', model => %s, sync => 'manual')", [f"bad_{table}", model])


def drop(connection: Connection) -> None:
    connection.execute(f"DROP TABLE IF EXISTS {', '.join(f'bad_{table}' for table in TABLES)}")


def outcome(connection: Connection, statement: str) -> str:
    """What a statement says: its error and hint, or how many pairs it has."""
    try:
        found = connection.execute(statement).fetchone()  # type: ignore[call-overload]
    except psycopg.Error as error:
        hint = f" {error.diag.message_hint}" if error.diag.message_hint else ""
        return f"{error.sqlstate} {error.diag.message_primary}{'.' if hint else ''}{hint}".replace("|", "/").replace("\n", " ")
    assert found is not None
    return f"{found[0]:,} pairs"


def run(url: str, *, quick: bool = False) -> None:
    """The part of bench_joins.py."""
    rows, k = (1_000, 20) if quick else (LARGE, 1_000)
    large = (
        (f"{ROWS} rows and {rows:,}, k => {k:,}", f"{JOIN}('bad_one', 'bad_huge', k => {k}, max_distance => 2)"),
        (f"... with its decision, k => {k:,}", f"{JOIN}('bad_one', 'bad_huge', k => {k})"),
        (f"{rows:,} rows and {ROWS}, k => {k:,}", f"{JOIN}('bad_huge', 'bad_one', k => {k}, max_distance => 2)"),
        (f"{rows:,} rows twice, k => {k:,}, mutual", f"{JOIN}('bad_huge', 'bad_huge', k => {k}, mapping => 'mutual')"),
        (f"{rows:,} rows twice, one_to_one", f"{JOIN}('bad_huge', 'bad_huge', mapping => 'one_to_one')"),
    )
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pgembed CASCADE")
        prepare(connection, rows)
        lines: list[list[report.Cell]] = []
        outcome(connection, SMALL[-2][1])  # what a session does once is done
        for name, statement in (*SMALL, *large):
            is_large = (name, statement) in large
            connection.execute(f"SET statement_timeout = '{TIMEOUT if is_large else 0}s'")  # type: ignore[call-overload]
            began = time.perf_counter()
            with Watch(url, connection.info.backend_pid) as watch:
                said = outcome(connection, statement)
            lines.append([name, said, time.perf_counter() - began, watch.megabytes])
        connection.execute("RESET statement_timeout")
        drop(connection)
    report.show(
        "joins_input",
        "bad input to semantic_join_keys",
        ["given", "what comes", "seconds", "MB more at most"],
        lines,
        f"join_mem is 256MB; {DIM} dimensions where there are vectors; the largest end after {TIMEOUT} s by statement_timeout",
    )
