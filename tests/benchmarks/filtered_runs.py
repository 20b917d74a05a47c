"""Loads a table as a user would have it, and asks it: pgembed, each of its paths by force, and pgvector as its README recommends.

All ask on one connection, by statements that psycopg prepares, with the vector as a binary parameter, so that each pays the same for it.
"""

from __future__ import annotations

import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg
from filtered_tables import Cell, Table
from psycopg.adapt import Dumper
from psycopg.pq import Format

from pgembed.planner import PATHS

if TYPE_CHECKING:
    from numpy.typing import NDArray

K = 10
WARM = 10
# Rows whose similarity is as near as this are as good as one another: equal texts have equal vectors, and float32 sums differ in order.
SAME = 1e-6
FEW = 50
EF_SEARCH = (40, 100, 200, 400, 800, 1000)
Connection = psycopg.Connection[Any]
Ask = Callable[[int], Sequence[int]]


class Sent(bytes):
    """A vector as pgvector's binary format has it."""


def sent(row: NDArray[np.float32]) -> Sent:
    return Sent(len(row).to_bytes(2, "big") + b"\0\0" + row.astype(">f4").tobytes())


class SentDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: bytes) -> bytes:
        return obj


def connected(url: str) -> Connection:
    """A connection as all of them are measured on."""
    connection = psycopg.connect(url, autocommit=True, prepare_threshold=2)
    # compiling would add tens of milliseconds to whatever PostgreSQL takes for costly
    connection.execute("SET jit = off; SET client_min_messages = warning; SET maintenance_work_mem = '1GB'")
    return connection


def knows_vectors(connection: Connection) -> None:
    """Vectors as parameters; the extension must be there."""
    (oid,) = connection.execute("SELECT 'vector'::regtype::oid").fetchall()[0]
    connection.adapters.register_dumper(Sent, type("VectorDumper", (SentDumper,), {"oid": oid}))


# So few only show that the benchmark runs.
FEW_ROWS = 10_000


def load(connection: Connection, table: Table) -> None:
    """The table with what a user would make: a btree for each column that is filtered by, GIN for an array, HNSW over the vectors as
    pgvector builds it by default, codes and covering indexes with them; all vacuumed, analyzed and, where that exists, calibrated."""
    dim = table.vectors.shape[1]
    kinds = ["int4", *table.columns.values(), "bytea"]
    connection.execute(f"DROP TABLE IF EXISTS {table.name} CASCADE")
    defined = ", ".join(f"{name} {kind}" for name, kind in table.columns.items())
    connection.execute(
        f"CREATE TABLE {table.name} (id int PRIMARY KEY, {defined}, embedding vector({dim})) WITH (autovacuum_enabled = off)"
    )
    with connection.cursor().copy(f"COPY {table.name} FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(kinds)
        for place, (row, vector) in enumerate(zip(table.rows, table.vectors, strict=True)):
            copy.write_row((place, *(row[name] for name in table.columns), bytes(sent(vector))))
    name, definition, rows = table.beside
    connection.execute(f"DROP TABLE IF EXISTS {name}")
    connection.execute(f"CREATE TABLE {name} ({definition})")
    with connection.cursor().copy(f"COPY {name} FROM STDIN") as copy:
        for values in rows:
            copy.write_row(values)
    connection.execute(f"ANALYZE {name}")
    connection.execute(f"SELECT pgembed.adopt_embedding('{table.name}', 'embedding')")
    # codes first: they are read from the table, and an index over vectors makes writing them dear
    code = f"{table.name}_code"
    connection.execute(f"SELECT pgembed.train_codec('{code}', '{table.name}', 'thermometer')")
    connection.execute(f"SELECT pgembed.add_code('{table.name}', '{code}')")
    connection.execute(f"CALL pgembed.fill_code('{table.name}')")
    for column, kind in table.columns.items():
        if column not in ("name", "title"):
            connection.execute(f"CREATE INDEX ON {table.name} {'USING gin ' if kind.endswith('[]') else ''}({column})")
    for columns in table.covering:
        made = connection.execute("SELECT * FROM pgembed.code_indexes(%s::regclass, covering => %s)", [table.name, list(columns)])
        for (statement,) in made.fetchall():
            connection.execute(statement)
    connection.execute(f"CREATE INDEX {table.name}_hnsw ON {table.name} USING hnsw (embedding vector_cosine_ops)")
    connection.execute(f"VACUUM ANALYZE {table.name}")
    if connection.execute("SELECT FROM pg_proc WHERE pronamespace = 'pgembed'::regnamespace AND proname = 'calibrate'").fetchall():
        few = ", sample => 20" if len(table.rows) < FEW_ROWS else ""
        connection.execute(f"CALL pgembed.calibrate('{table.name}'{few})")


def move_rows(connection: Connection, table: Table) -> None:
    """Update every twentieth row and leave it at that: now index-only scans must look into the heap, and statistics are old."""
    column = next(name for name, kind in table.columns.items() if kind in ("int4", "date"))
    connection.execute(f"UPDATE {table.name} SET {column} = {column} + 1 WHERE id % 20 = 7")


@dataclass(frozen=True)
class Measured:
    """What a system answered in a cell: seconds, rows and recall are means over queries, ``short`` counts answers of too few rows."""

    recall: float
    p50: float
    p95: float
    rows: float
    short: int
    setting: str = ""

    def reaches(self, asked: float) -> bool:
        return self.recall >= asked and self.short == 0


class Truth:
    """The exact answers of a cell, from numpy's product with the rows that PostgreSQL says pass."""

    def __init__(self, connection: Connection, table: Table, cell: Cell, similar: NDArray[np.float32]) -> None:
        self.similar = similar
        self.queries = len(similar)
        self.passing: dict[tuple[Any, ...], NDArray[np.bool_]] = {}
        names = [name for name in table.columns if f"{{{name}}}" in (cell.condition or "")]
        self.keys = [tuple(cell.value(query)[name] for name in names) for query in range(self.queries)]
        worst = []
        for query, key in enumerate(self.keys):
            if key not in self.passing:
                found = connection.execute(f"SELECT id FROM {table.name} WHERE {cell.theirs()}", cell.value(query)).fetchall()
                mask = np.zeros(similar.shape[1], dtype=np.bool_)
                mask[[row[0] for row in found]] = True
                self.passing[key] = mask
            near = similar[query][self.passing[key]]
            worst.append(-np.inf if not len(near) else np.partition(near, -min(K, len(near)))[-min(K, len(near))] - SAME)
        self.worst = worst
        self.share = statistics.mean(float(self.passing[key].mean()) for key in self.keys)

    def expected(self, query: int) -> int:
        return min(K, int(self.passing[self.keys[query]].sum()))

    def recall(self, query: int, found: Sequence[int]) -> float:
        """The share of what is expected that was found; a row that does not pass is no find, and where nothing is expected it is a lie."""
        expected, passes = self.expected(query), self.passing[self.keys[query]]
        good = sum(1 for key in set(found) if passes[key] and self.similar[query][key] >= self.worst[query])
        return min(1.0, good / expected) if expected else float(not found)

    def measure(self, ask: Ask, queries: int, setting: str = "", give_up: float | None = None) -> Measured | None:
        """Ask so many queries, warm; None where the first of them take more than ``give_up`` seconds."""
        if give_up is not None:
            few = self.together({setting: ask}, min(WARM, queries))[setting]
            if few.p50 > give_up:
                return None
        return self.together({setting: ask}, queries)[setting]

    def together(self, asks: dict[str, Ask], queries: int) -> dict[str, Measured]:
        """Ask in several ways, query by query in turn, so that whatever else the machine does slows them alike."""
        for ask in asks.values():
            for query in range(min(WARM, queries)):
                ask(query)
        seconds: dict[str, list[float]] = {name: [] for name in asks}
        found: dict[str, list[Sequence[int]]] = {name: [] for name in asks}
        for query in range(queries):
            names = list(asks) if query % 2 else list(reversed(asks))
            for name in names:
                start = time.perf_counter()
                rows = asks[name](query)
                seconds[name].append(time.perf_counter() - start)
                found[name].append(rows)
        return {name: self._measured(name, seconds[name], found[name]) for name in asks}

    def _measured(self, setting: str, seconds: list[float], found: list[Sequence[int]]) -> Measured:
        recall = statistics.mean(self.recall(query, rows) for query, rows in enumerate(found))
        short = sum(len(rows) < self.expected(query) for query, rows in enumerate(found))
        p95 = sorted(seconds)[min(len(seconds) - 1, int(0.95 * len(seconds)))]
        return Measured(recall, statistics.median(seconds), p95, statistics.mean(map(len, found)), short, setting)


class Asker:
    """Asks one cell of one table in each of the ways."""

    def __init__(self, connection: Connection, table: Table, cell: Cell, truth: Truth, queries: int) -> None:
        self.connection, self.table, self.cell, self.truth, self.queries = connection, table, cell, truth, queries
        self.vectors = [sent(row) for row in table.queries]
        if cell.values is None:
            self.params: list[str | None] = [None] * len(self.vectors)
        else:
            names = [name for name in table.columns if f"{{{name}}}" in (cell.condition or "")]
            self.params = [json.dumps({name: value[name] for name in names}) for value in cell.values]

    def ours(self, recall: float, *, exact: bool = False) -> Ask:
        """pgembed.search_keys with the recall that is asked for."""
        statement = (
            "SELECT key FROM pgembed.search_keys(%(target)s::regclass, %(query)s, 10, %(filter)s::text, %(params)s::jsonb,"
            " recall => %(recall)s::float8, exact => %(exact)s)"
        )
        values = {"target": self.table.name, "filter": self.cell.ours(), "recall": recall, "exact": exact}
        return self._keys(statement, values)

    def forced(self, path: str, recall: float) -> Ask:
        """The same by one path, whatever it costs."""
        given = {"target": "%(target)s::regclass", "query": "%(query)s", "k": "10", "filter": "%(filter)s::text", "exact": "false"}
        given |= {"params": "%(params)s::jsonb", "recall": "%(recall)s::float8", "by_path": "%(path)s::text"}
        statement = f"SELECT key FROM {called(self.connection, '_search_keys', given)}"
        return self._keys(statement, {"path": path, "target": self.table.name, "filter": self.cell.ours(), "recall": recall})

    def _keys(self, statement: str, values: dict[str, Any]) -> Ask:
        def ask(query: int) -> list[int]:
            given = {**values, "query": self.vectors[query], "params": self.params[query]}
            return [int(row[0]) for row in self.connection.execute(statement, given).fetchall()]

        return ask

    def theirs(self) -> tuple[str, Ask]:
        """pgvector's statement with strict order out of relaxed order, as its README has it."""
        statement = (
            f"WITH nearest AS MATERIALIZED (SELECT id, embedding <=> %(query)s AS distance FROM {self.table.name}"
            f" WHERE {self.cell.theirs()} ORDER BY distance LIMIT {K}) SELECT id FROM nearest ORDER BY distance + 0"
        )

        def ask(query: int) -> list[int]:
            return [
                row[0] for row in self.connection.execute(statement, {**self.cell.value(query), "query": self.vectors[query]}).fetchall()
            ]

        return statement, ask

    def as_it_is(self) -> Measured:
        """pgvector without a setting."""
        self._settings("off", 40)
        found = self.truth.measure(self.theirs()[1], self.queries)
        assert found is not None
        return found

    def pgvector(self, asked: Sequence[float]) -> list[Measured]:
        """For each recall: pgvector's iterative scan, with the smallest ef_search that reaches it, else the largest."""
        statement, ask = self.theirs()
        tried: dict[tuple[int, int], Measured] = {}

        def measured(ef_search: int, queries: int) -> Measured:
            if (ef_search, queries) not in tried:
                self._settings("relaxed_order", ef_search)
                node = self._scan(statement)
                found = self.truth.measure(ask, queries, f"{node}, ef_search {ef_search}" if node == "hnsw" else node)
                assert found is not None
                tried[ef_search, queries] = found
            return tried[ef_search, queries]

        answers = []
        for wanted in asked:
            for ef_search in EF_SEARCH:
                # a few queries tell which settings are far from it
                if measured(ef_search, min(FEW, self.queries)).recall < wanted - 0.01 and ef_search != EF_SEARCH[-1]:
                    continue
                found = measured(ef_search, self.queries)
                if found.reaches(wanted) or not found.setting.startswith("hnsw"):
                    break
            answers.append(found)
        return answers

    def _settings(self, iterative: str, ef_search: int) -> None:
        # as many rows and as much memory as it takes: pgvector must not stop before k
        self.connection.execute(
            f"SET hnsw.iterative_scan = {iterative}; SET hnsw.ef_search = {ef_search}; SET hnsw.max_scan_tuples = 1000000;"
            " SET hnsw.scan_mem_multiplier = 32"
        )
        self.connection.execute("DISCARD PLANS")  # a plan that was made under other settings would stay
        if self.cell.values is not None:
            # a plan for the value at hand: one for all values would serve pgvector worse
            self.connection.execute("SET plan_cache_mode = force_custom_plan")

    def reset(self) -> None:
        """Settings as they were: pgembed is asked with none."""
        for name in ("hnsw.iterative_scan", "hnsw.ef_search", "hnsw.max_scan_tuples", "hnsw.scan_mem_multiplier", "plan_cache_mode"):
            self.connection.execute(f"RESET {name}")

    def _scan(self, statement: str) -> str:
        """How PostgreSQL's planner reads the table for most queries: ``hnsw``, or what an exact plan's scan is called."""
        seen: Counter[str] = Counter()
        for query in range(0, self.queries, max(1, self.queries // 5)):
            values = {**self.cell.value(query), "query": self.vectors[query]}
            (plan,) = self.connection.execute(f"EXPLAIN (FORMAT json) {statement}", values).fetchall()[0]
            found = [node for node in nodes(plan[0]["Plan"]) if node.get("Relation Name") == self.table.name]
            by_index = any(node.get("Index Name") == f"{self.table.name}_hnsw" for node in found)
            seen["hnsw" if by_index else found[0]["Node Type"].lower() if found else "none"] += 1
        return seen.most_common(1)[0][0]

    def path(self, recall: float) -> str:
        """The path that pgembed takes for most queries, and the next."""
        given = {"target": "%(target)s::regclass", "query": "pgembed._sent(%(query)s)", "output": "'key'", "k": "10", "exact": "false"}
        given |= {"filter": "%(filter)s::text", "params": "%(params)s::jsonb", "recall": "%(recall)s::float8"}
        told = self._told(f"SELECT path FROM {called(self.connection, '_plan_search', given)}", recall)
        return " / ".join(path for path, _ in told.most_common(2))

    def probed(self, recall: float) -> bool:
        """Whether pgembed's choice rests upon a look among a query's unfiltered neighbours, for most queries."""
        told = self._told(
            f"SELECT value FROM pgembed.explain_search(NULL::{self.table.name}, %(query)s, 10, %(filter)s::text, %(params)s::jsonb,"
            " recall => %(recall)s::float8) WHERE property = 'local selectivity'",
            recall,
        )
        return 2 * sum(count for line, count in told.items() if "counts upon" in line) > told.total()

    def _told(self, statement: str, recall: float) -> Counter[str]:
        """A value that a statement tells, over ten queries."""
        seen: Counter[str] = Counter()
        for query in range(0, self.queries, max(1, self.queries // 10)):
            values = {"target": self.table.name, "filter": self.cell.ours(), "recall": recall}
            rows = self.connection.execute(statement, {**values, "query": self.vectors[query], "params": self.params[query]}).fetchall()
            seen[(rows[0][0] or "") if rows else ""] += 1
        return seen

    def beside_its_paths(self, recall: float) -> tuple[Measured, Measured | None]:
        """pgembed as it decides, and the fastest of its paths that reaches the recall: candidates are found with a few queries, then all
        queries are asked in turn. None where no path can be forced that reaches it."""
        few = min(FEW, self.queries)
        screened: list[Measured] = []
        for path in PATHS:
            best = min((one.p50 for one in screened), default=None)
            try:
                one = self.truth.measure(self.forced(path, recall), few, path, None if best is None else 4 * best)
            except psycopg.errors.FeatureNotSupported:
                continue  # not a path of this search
            if one is not None and one.recall >= recall - 0.01:
                screened.append(one)
        nearest = sorted(screened, key=lambda one: one.p50)[:3]
        asks = {"": self.ours(recall), **{one.setting: self.forced(one.setting, recall) for one in nearest}}
        found = self.truth.together(asks, self.queries)
        ours = found.pop("")
        return ours, min((one for one in found.values() if one.reaches(recall)), key=lambda one: one.p50, default=None)


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for below in plan.get("Plans", ()) for node in nodes(below))]


def called(connection: Connection, function: str, given: dict[str, str]) -> str:
    """A call of an internal function by the names of its arguments; one that is not given is NULL, but what no search leaves open."""
    names = connection.execute(
        "SELECT p.proargnames[u.n], format_type(u.kind, NULL)"
        " FROM pg_proc AS p, unnest(p.proargtypes::oid[]) WITH ORDINALITY AS u (kind, n)"
        " WHERE p.pronamespace = 'pgembed'::regnamespace AND p.proname = %s ORDER BY u.n",
        [function],
    ).fetchall()
    if not names or not given.keys() <= {name for name, _ in names}:
        raise RuntimeError(f"pgembed.{function} takes {[name for name, _ in names]}, and {sorted(given)} are given")
    always = {"consistency": "'any'"}
    values = [f"{name} => {given.get(name, always.get(name, 'NULL::' + kind))}" for name, kind in names]
    return f"pgembed.{function}({', '.join(values)})"


def prepared(connection: Connection, table: Table, *, keep: bool) -> None:
    """The table as `load` makes it; one that is there is used where it may be kept."""
    there = connection.execute("SELECT to_regclass(%s) IS NOT NULL", [table.name]).fetchall()[0][0]
    if there and keep and connection.execute(f"SELECT count(*) FROM {table.name}").fetchall()[0][0] == len(table.rows):
        connection.execute(f"VACUUM {table.name}")
        return
    start = time.perf_counter()
    load(connection, table)
    print(f"{table.name}: {len(table.rows):,} rows with their indexes in {time.perf_counter() - start:.0f} s", flush=True)
