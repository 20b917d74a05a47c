"""How fast a join by vectors is, through SQL as people call it: against LATERAL over pgvector's HNSW, and numpy's bare product.

Right side: 63,166 Debian packages as 'name: description'; left side: the bare descriptions of 10,000 of them. ``max_distance => 2`` is
where nothing is left out and nothing is decided: neighbours alone, as LATERAL gives them. Everything is run in turns, so that a machine
that is busy otherwise slows all alike; what counts is the ratio. LATERAL is at ef_search 40; "compared" is LATERAL without an index.
Memory is the backend's own (RssAnon, looked at 50 times a second) beyond what it had before the call.
"""

from __future__ import annotations

import statistics
import struct
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import corpora
import psycopg
import report
from join_data import Vectors, made

from pgembed.models import threads

Connection = psycopg.Connection[Any]
Pairs = set[tuple[str, str]]

DIM = 384
LEFT, LARGE = 10_000, 100_000
FEW = (1, 5, 20, 50)
LATERAL = (
    "SELECT l.id::text, n.id::text FROM {left} AS l"
    " CROSS JOIN LATERAL (SELECT r.id FROM {right} AS r ORDER BY r.embedding <=> l.embedding LIMIT {k}) AS n"
)
KEYS = "SELECT left_key, right_key FROM pgembed.semantic_join_keys('{left}', '{right}', k => {k}{options})"
ROWS = "SELECT (left_row).id::text, (right_row).id::text FROM pgembed.semantic_join(NULL::{left}, NULL::{right}, k => {k}{options})"
ALL = ", max_distance => 2"


def product(left: Vectors, right: Vectors) -> None:
    """The bare product in blocks, in as many threads as a join takes."""
    with threads.arithmetic(threads.thread_count()):
        for start in range(0, len(left), 1_000):
            left[start : start + 1_000] @ right.T


def store(connection: Connection, table: str, matrix: Vectors) -> None:
    """A table of vectors that were made elsewhere."""
    dim = matrix.shape[1]
    connection.execute(f"DROP TABLE IF EXISTS {table}")
    connection.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, embedding vector({dim}))")
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN (FORMAT binary)") as copy:
        copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8))
        for i, row in enumerate(matrix.astype(">f4")):
            copy.write(struct.pack("!hiiihh", 2, 4, i, 4 + 4 * dim, dim, 0) + row.tobytes())
        copy.write(b"\xff\xff")
    connection.execute("SELECT pgembed.adopt_embedding(%s::regclass, 'embedding')", [table])
    connection.execute(f"VACUUM ANALYZE {table}")


def turns(runs: dict[str, Callable[[], object]], rounds: int, of: Callable[[Iterable[float]], float] = min) -> dict[str, float]:
    """Seconds of each, all run in turns: the least of the rounds, or another number of them."""
    took: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            took[name].append(time.perf_counter() - began)
    return {name: of(seconds) for name, seconds in took.items()}


class Watch:
    """What a backend takes, and what other sessions see of its progress, while a block runs."""

    def __init__(self, url: str, pid: int) -> None:
        self._url, self._pid, self._done = url, pid, threading.Event()
        self._status = Path("/proc") / str(pid) / "status"
        self._before = self._anonymous()
        self._peak, self.seen = self._before, set[tuple[int, int]]()
        self._thread = threading.Thread(target=self._look)

    def _anonymous(self) -> int | None:
        try:
            lines = self._status.read_text(encoding="ascii").splitlines()
        except OSError:  # a server elsewhere
            return None
        return next((int(line.split()[1]) for line in lines if line.startswith("RssAnon")), None)

    def _look(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            for turn in range(1_000_000_000):
                now = self._anonymous()
                self._peak = None if now is None or self._peak is None else max(self._peak, now)
                if turn % 20 == 0:
                    found = connection.execute("SELECT done, total FROM pgembed.progress WHERE pid = %s", [self._pid]).fetchall()
                    self.seen.update((done, total) for done, total in found if total)
                if self._done.wait(0.02):
                    return

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    @property
    def megabytes(self) -> float | None:
        return None if self._peak is None or self._before is None else (self._peak - self._before) / 1024


def pairs(connection: Connection, statement: str, **options: object) -> Pairs:
    return set(connection.execute(statement.format(left="join_left", right="join_right", **options)).fetchall())  # type: ignore[call-overload]


def show_large(connection: Connection, left: Vectors, right: Vectors, k: int, rounds: int) -> list[report.Promise]:
    """All left rows: exact, at a recall of .995, with the decision, as keys and as rows; and LATERAL."""
    asked = {
        "exact, keys": (KEYS, ALL),
        "exact, rows": (ROWS, ALL),
        "search_recall => .995, keys": (KEYS, f"{ALL}, search_recall => 0.995"),
        "search_recall => .995, rows": (ROWS, f"{ALL}, search_recall => 0.995"),
        "with its decision, keys": (KEYS, ""),
        "with its decision, search_recall => .995, keys": (KEYS, ", search_recall => 0.995"),
        "LATERAL": (LATERAL, ""),
    }
    runs: dict[str, Callable[[], object]] = {"numpy's product alone": lambda: product(left, right)}
    for name, (statement, options) in asked.items():
        runs[name] = lambda statement=statement, options=options: pairs(connection, statement, k=k, options=options)  # type: ignore[misc]
    truth = pairs(connection, KEYS, k=k, options=ALL)
    recalls = {name: len(truth & pairs(connection, *one[:1], k=k, options=one[1])) / len(truth) for name, one in asked.items()}
    took = turns(runs, rounds)
    lateral, bare = took["LATERAL"], took["numpy's product alone"]
    report.show(
        f"joins_speed_{k}",
        f"{len(left):,} x {len(right):,} rows of {left.shape[1]} dimensions, k = {k}",
        ["", "seconds", "times as fast as LATERAL", "of the product's rate", "recall"],
        [[name, seconds, lateral / seconds, bare / seconds, recalls.get(name)] for name, seconds in took.items()],
        "reading the tables and sending the keys included; every run in turns, the least of each",
    )
    exact, fast = "exact, keys", "search_recall => .995, keys"
    size = f"k = {k}: {took[exact]:.2f} s; LATERAL {lateral:.2f} s, recall {recalls['LATERAL']:.3f}"
    return [
        report.Promise(f"exact, times as fast as LATERAL, k = {k}", 1.8, lateral / took[exact], note=size),
        report.Promise(f"exact, of numpy's product, k = {k}", 0.7, bare / took[exact], note=f"the product alone {bare:.2f} s"),
        report.Promise(f"recall .995, times as fast as LATERAL, k = {k}", 4, lateral / took[fast], note=f"{took[fast]:.2f} s"),
        report.Promise(f"recall .995, recall, k = {k}", 0.995, recalls[fast]),
    ]


def show_few(connection: Connection, rounds: int) -> list[report.Promise]:
    """Few left rows, where an index or a comparison of all is quick: beside LATERAL with the index and without."""
    lines: list[list[report.Cell]] = []
    kept = []
    for rows in FEW:
        connection.execute("DROP TABLE IF EXISTS join_few")
        connection.execute("CREATE TABLE join_few (LIKE join_left INCLUDING ALL)")
        connection.execute(f"INSERT INTO join_few SELECT * FROM join_left ORDER BY id LIMIT {rows}")
        connection.execute("SELECT pgembed.adopt_embedding('join_few', 'embedding')")
        connection.execute("VACUUM ANALYZE join_few")
        for k in (1, 10):

            def asked(statement: str, options: str = "", k: int = k) -> Callable[[], Pairs]:
                text = statement.format(left="join_few", right="join_right", k=k, options=options)
                return lambda: set(connection.execute(text).fetchall())  # type: ignore[call-overload]

            by_index = asked(LATERAL)

            def compared(lateral: Callable[[], Pairs] = by_index) -> Pairs:
                connection.execute("SET enable_indexscan = off")
                found = lateral()
                connection.execute("RESET enable_indexscan")
                return found

            runs: dict[str, Callable[[], Pairs]] = {
                "LATERAL": by_index,
                "at .95": asked(KEYS, f"{ALL}, search_recall => 0.95"),
                "compared": compared,
                "exact": asked(KEYS, ALL),
                "decided": asked(KEYS),
            }
            truth = runs["compared"]()
            recalls = [len(truth & runs[name]()) / len(truth) for name in ("LATERAL", "at .95", "exact")]
            took = turns(dict(runs), rounds, statistics.median)
            lines.append([f"{rows}, k = {k}", *(1000 * took[name] for name in runs), *recalls])
            for ours, theirs, what in (("at .95", "LATERAL", "by an index"), ("exact", "compared", "exact")):
                note = f"{1000 * took[ours]:.1f} ms, LATERAL {1000 * took[theirs]:.1f} ms"
                name = f"{rows} left {'row' if rows == 1 else 'rows'}, {what}, k = {k}"
                kept.append(report.Promise(name, 1.0, took[theirs] / took[ours], note=note))
    report.show(
        "joins_few",
        "few left rows, milliseconds, median",
        [
            *("left rows", "LATERAL, HNSW", "search_recall => .95", "LATERAL, compared", "exact", "with its decision, exact"),
            *("recall of LATERAL", "of .95", "of exact"),
        ],
        lines,
    )
    return kept


def show_bounded(connection: Connection, url: str, rows: int, dim: int) -> list[report.Promise]:
    """As many rows on both sides, into a table, in bounded memory, with progress."""
    for seed, table in enumerate(("join_big_left", "join_big_right")):
        store(connection, table, made(rows, dim, seed))
    lines: list[list[report.Cell]] = []
    kept = []
    for megabytes, options, name in (
        (256, ALL, "exact"),
        (64, ALL, "exact"),
        (256, "", "with its decision"),
    ):
        # a session of its own, which has joined a little: what Python and numpy take by themselves is no part of a join's memory
        with psycopg.connect(url, autocommit=True) as other:
            other.execute("DROP TABLE IF EXISTS join_some, join_pairs")
            other.execute("CREATE TABLE join_some (LIKE join_big_left INCLUDING ALL)")
            other.execute("INSERT INTO join_some SELECT * FROM join_big_left LIMIT 500")
            other.execute("SELECT pgembed.adopt_embedding('join_some', 'embedding')")
            other.execute(f"SELECT count(*) FROM pgembed.semantic_join_keys('join_some', 'join_some'{options})")
            other.execute(f"SET pgembed.join_mem = '{megabytes}MB'")
            began = time.perf_counter()
            with Watch(url, other.info.backend_pid) as watch:
                found = other.execute(
                    f"SELECT pgembed.semantic_join_into('join_pairs', 'join_big_left', 'join_big_right'{options})"
                ).fetchone()
            took = time.perf_counter() - began
            other.execute("DROP TABLE join_some, join_pairs")
        assert found is not None
        lines.append([f"{name}, join_mem {megabytes}MB", took, found[0], watch.megabytes, len(watch.seen)])
        kept.append(report.Promise(f"{rows:,} x {rows:,}, {name}: MB", megabytes, watch.megabytes, at_most=True, note=f"{took:.0f} s"))
        kept.append(report.Promise("... steps of its progress that others saw", 2, len(watch.seen)))
    report.show(
        "joins_bounded",
        f"semantic_join_into of {rows:,} x {rows:,} rows of {dim} dimensions, k = 1",
        ["", "seconds", "pairs", "MB more at most", "steps of progress seen"],
        lines,
        "the backend's own memory, without shared buffers",
    )
    connection.execute("DROP TABLE join_big_left, join_big_right")
    return kept


def run(url: str, *, quick: bool = False) -> None:
    """The part of bench_joins.py."""
    # a statement that psycopg prepared while index scans were off would do without them ever after
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pgembed CASCADE")
        connection.execute("SET maintenance_work_mem = '1GB'; SET jit = off; SET hnsw.ef_search = 40")
        if quick:
            left, right = made(100, 32, 3), made(2_000, 32, 4)
        else:
            corpus = corpora.packages()
            left = corpora.vectors([text.split(": ", 1)[1] for text in corpus.texts[:LEFT]], corpora.MODEL)
            right = corpus.documents
        store(connection, "join_left", left)
        store(connection, "join_right", right)
        connection.execute("CREATE INDEX ON join_right USING hnsw (embedding vector_cosine_ops)")
        connection.execute("VACUUM ANALYZE join_right")
        kept = [one for k, rounds in ((1, 3), (10, 2)) for one in show_large(connection, left, right, k, 1 if quick else rounds)]
        kept += show_few(connection, 2 if quick else 15)
        connection.execute("DROP TABLE join_left, join_right, join_few")
        kept += show_bounded(connection, url, 1_000 if quick else LARGE, 32 if quick else DIM)
    report.promises("joins_speed_asked", "speed of semantic_join_keys", kept, "LATERAL at ef_search 40 over pgvector's HNSW index")
