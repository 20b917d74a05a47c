"""searching: recall and latency of searches on a column, measured now: all rows compared, pgvector's index, codes, pgembed.search.

Times are those of the whole statement as this client sees them, the way to the server and back included; medians.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pgembed import errors, faults, vectors
from pgembed.calibration import asking
from pgembed.calibration.filtering import Filter
from pgembed.calibration.running import Cell, Runner
from pgembed.calibration.truth import place_of
from pgembed.columns import Column, quote
from pgembed.planner import filters, look
from pgembed.planner.contract import Path
from pgembed.psycopgdb import PsycopgDatabase

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

K = 10
# Rows whose distance is within so much of the k-th are as good as it.
TIE = 2e-6
GRAPH_SIZES = (10, 20, 40, 80, 160, 320)
PROBES = (1, 2, 4, 8, 16, 32)
RESCORED = (10, 20, 50, 100, 200, 400)
RECALLS = (0.8, 0.9, 0.95, 0.99)
# Queries that are enough, where more would take long.
LEAST_QUERIES = 10

Say = Callable[[str], None]


@dataclass(frozen=True)
class Point:
    """One way to search, with one setting.

    Attributes:
        way: what is drawn as one line.
        setting: as a person would set it.
        recall: mean share of the true k nearest that is found; rows as near as the k-th count.
        milliseconds: the median.
        source: where it is known from: measured now, or measured by calibrate() or when the codec was trained, and when.
        index: the index that is read; '' for the vectors themselves, None where it is the planner's choice, or codes are read.
    """

    way: str
    setting: str
    recall: float | None
    milliseconds: float | None
    queries: int
    source: str = "measured now"
    index: str | None = None


@dataclass
class Curves:
    """What was measured.

    Attributes:
        missing: what could not be measured, each in a sentence.
        asked: what the queries are, in words.
    """

    points: list[Point] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    asked: str = ""


@dataclass
class Truth:
    """The true nearest of one query: key or place -> distance, and the k-th distance."""

    near: dict[str, float]
    last: float
    count: int

    def recall(self, found: list[str]) -> float:
        good = sum(1 for one in found[:K] if self.near.get(one, float("inf")) <= self.last + TIE)
        return min(good, self.count) / self.count if self.count else 1.0


def queries(
    db: PsycopgDatabase, column: Column, rows: NDArray[np.float32], given: tuple[str | None, str | None], most: int, seed: int
) -> tuple[NDArray[np.float32], str]:
    """Vectors to ask, and what they are: those of a table of queries, or rows with a third of another one in them.

    Args:
        given: a table, and its column of texts, which are embedded as queries of the column, or of vectors.
    Raises:
        errors.NullNotAllowed: a table without a column.
        Exception: what PostgreSQL says of them.
    """
    table, name = given
    if table is not None:
        if name is None:
            raise errors.NullNotAllowed("queries needs queries_column", hint="Name the column of texts or vectors of that table.")
        kinds = db.execute(
            "SELECT pg_catalog.format_type(a.atttypid, NULL) AS type, $1::pg_catalog.regclass::pg_catalog.text AS shown"
            " FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = $1::pg_catalog.regclass AND a.attname = $2 AND a.attnum > 0",
            ["pg_catalog.text", "pg_catalog.name"],
            [table, name],
        )
        if not kinds:
            raise errors.UnknownColumn(f'column "{name}" of table "{table}" does not exist', hint="Name a column of texts or vectors.")
        is_vector = str(kinds[0]["type"]).rpartition(".")[2] in ("vector", "halfvec")
        value = f"q.{quote(name)}"
        made = f"{value}::{column.vector_schema}.vector" if is_vector else f"pgembed.embed_query($1, {value}::pg_catalog.text, $2)"
        found = db.execute(
            f"SELECT {column.vector_schema}.vector_send({made}) AS v, $1 IS NULL AND $2 IS NULL AS unused FROM {kinds[0]['shown']} AS q"
            f" WHERE {value} IS NOT NULL LIMIT {most}",
            ["pg_catalog.regclass", "pg_catalog.name"],
            [str(column.table.oid), column.name],
        )
        sent = [row["v"] for row in found if row["v"] is not None]
        made_of = vectors.from_send_many(b"".join(sent), len(sent), rows.shape[1])
        return made_of, f"{len(sent)} queries of {kinds[0]['shown']}"
    import numpy as np

    some = rows[np.random.default_rng(seed).permutation(len(rows))[:most]]
    return asking.mixed(some), f"{len(some)} rows with a third of another row's vector in each, which are as hard as real questions"


def curves(db: PsycopgDatabase, column: Column, asked: NDArray[np.float32], words: str, seconds: float, say: Say) -> Curves:
    """Measure all ways of searching that there are for a column.

    Args:
        asked: float32, shape (q, dim).
        words: what the queries are.
        seconds: that all of it may take, about; after it settings are left out, and said to be.
    """
    made = Curves(asked=words)
    end = time.monotonic() + seconds
    # keys by which rows are compared; pgembed.search_keys needs them, and a table without them is only read in plain SQL
    by_key = bool(column.table.keys)
    texts = [vectors.to_text(one) for one in asked]
    truth, took = _exact(db, column, texts, end, by_key=by_key)
    if not truth:
        made.missing.append("No query could be compared with all rows in the time that was given.")
        return made
    texts = texts[: len(truth)]
    made.points.append(Point("every row compared", "exact", 1.0, took, len(truth), index=""))
    say(f"compared {len(truth)} queries with all rows")
    for measured in (_index, _codes, _search):
        try:
            measured(db, column, asked, texts, truth, end, made)
        except Exception as error:
            if db.connection.closed:
                raise
            made.missing.append(f"{_NAMES[measured.__name__]} could not be measured: {faults.said(error)}.")
        say(f"measured {len(made.points)} settings of searches")
    return made


_NAMES = {"_index": "pgvector's index", "_codes": "Codes", "_search": "pgembed.search"}


def _exact(db: PsycopgDatabase, column: Column, texts: list[str], end: float, *, by_key: bool) -> tuple[list[Truth], float | None]:
    """The truth of each query, as far as time goes, and the median time."""
    truth: list[Truth] = []
    took: list[float] = []
    begun = time.monotonic()
    for text in texts:
        # half of the time is for the others
        if len(truth) >= LEAST_QUERIES and time.monotonic() - begun > (end - begun) / 3:
            break
        if time.monotonic() > end:
            break
        before = time.perf_counter()
        if column.chunks is not None:
            rows = db.execute(*_by_search(column, text, "exact => true, k => 30"))
        else:
            rows = db.execute(_statement(column, exact=True, limit=30, by_key=by_key), [f"{column.vector_schema}.vector"], [text])
        took.append(1000 * (time.perf_counter() - before))
        distances = [float(row["d"]) for row in rows]
        count = min(K, len(rows))
        truth.append(Truth({str(row["k"]): float(row["d"]) for row in rows}, distances[count - 1] if count else 0.0, count))
    return truth, _median(took)


def _statement(column: Column, *, exact: bool, limit: int, by_key: bool) -> str:
    key = column.table.key_text("t") if by_key else "t.ctid::pg_catalog.text"
    distance = f"t.{column.sql} {column.operator} $1" + (f"::{column.vector_schema}.halfvec" if column.type == "halfvec" else "")
    if exact:
        # what is computed is no index's to order by
        distance = f"({distance}) + 0.0::pg_catalog.float8"
    return (
        f"SELECT {key} AS k, {distance} AS d FROM {column.table.sql} AS t WHERE t.{column.sql} IS NOT NULL"
        f" ORDER BY {distance} LIMIT {limit}"
    )


def _by_search(column: Column, text: str, options: str) -> tuple[str, list[str], list[object]]:
    return (
        "SELECT s.key AS k, s.distance AS d FROM pgembed.search_keys($1, $2, column_name => $3, "
        + (options if "k =>" in options else f"k => {K}, {options}")
        + ") AS s",
        ["pg_catalog.regclass", f"{column.vector_schema}.vector", "pg_catalog.name"],
        [str(column.table.oid), text, column.name],
    )


def _index(
    db: PsycopgDatabase, column: Column, asked: NDArray[np.float32], texts: list[str], truth: list[Truth], end: float, made: Curves
) -> None:
    """pgvector's own index, as plain SQL uses it."""
    if column.index_name is None:
        made.missing.append("There is no vector index on the column: a plain ORDER BY compares every row.")
        return
    if column.chunks is not None:
        made.missing.append("pgvector's index is over chunks, of which a row has several: plain SQL on it finds chunks, not rows.")
        return
    by_key = bool(column.table.keys)
    statement = _statement(column, exact=False, limit=K, by_key=by_key)
    kind = [f"{column.vector_schema}.vector"]
    setting, sizes = ("hnsw.ef_search", GRAPH_SIZES) if column.index_method == "hnsw" else ("ivfflat.probes", PROBES)
    for size in sizes:
        if time.monotonic() > end:
            made.missing.append(f"{setting} from {size} on was not measured: the time was over.")
            return
        with _settings(db, {setting: str(size), "enable_seqscan": "off", "enable_sort": "off"}):
            plan = str(db.execute(f"EXPLAIN (COSTS OFF) {statement}", kind, [texts[0]]))
            if column.index_name not in plan and "Index Scan" not in plan:
                made.missing.append("PostgreSQL does not take the vector index for a plain ORDER BY here.")
                return
            db.execute(statement, kind, [texts[0]])  # what is read once is warm
            recalls, took = [], []
            for text, true in zip(texts, truth, strict=True):
                before = time.perf_counter()
                rows = db.execute(statement, kind, [text])
                took.append(1000 * (time.perf_counter() - before))
                recalls.append(true.recall([str(row["k"]) for row in rows]))
        name = "HNSW, plain SQL" if column.index_method == "hnsw" else "IVFFlat, plain SQL"
        said = f"{setting.split('.')[1]} = {size}"
        made.points.append(Point(name, said, statistics.fmean(recalls), _median(took), len(recalls), index=column.index_name))


def _codes(
    db: PsycopgDatabase, column: Column, asked: NDArray[np.float32], texts: list[str], truth: list[Truth], end: float, made: Curves
) -> None:
    """Candidates by codes, compared by their vectors: the planner's own statements."""
    facts = look(db, column.table.sql, column.name)
    code = facts.code
    if code is None:
        made.missing.append("The column has no codes that searches use: pgembed.recommend_codec() measures which would serve.")
        return
    if column.chunks is not None or not column.table.keys:
        made.missing.append("Codes of this column are measured through pgembed.search only.")
        return
    with db.connection.transaction():
        condition = Filter("(true)", "none")
        estimate = filters.estimate(db, column.table, condition.condition, None, held=facts.rows, code=code)
        ways: list[tuple[Path, str, int | None, str | None]] = []
        if code.index_name is not None and code.index_method == "hnsw":
            ways.append(("code", f"HNSW on codes of {code.codec.name}", 400, code.index_name))
        ways.append(
            ("covering", f"index-only scan of codes of {code.codec.name}", None, code.covering_index)
            if estimate.covered
            else ("scan", f"scan of codes of {code.codec.name}", None, None)
        )
        places = {}
        names = [name for name, _ in column.table.keys]
        keyed = db.execute(
            f"SELECT {place_of(column, 't', names)} AS place, {column.table.key_text('t')} AS k FROM {column.table.sql} AS t"
            f" WHERE {column.table.key_text('t')} = ANY ($1)",
            ["pg_catalog.text[]"],
            [sorted({key for one in truth for key in one.near})],
        )
        places = {str(row["place"]): str(row["k"]) for row in keyed}
        with Runner(db, facts, asked, [None] * len(asked)) as runner:
            for path, name, size, index in ways:
                cell = Cell(path, 0, condition, estimate, RESCORED, size)
                if time.monotonic() > end:
                    made.missing.append(f"{name}: not measured, the time was over.")
                    continue
                lists = [[places.get(one, "") for one in runner.candidates(cell, q, RESCORED[-1])] for q in range(len(truth))]
                for rescored in RESCORED:
                    if rescored > K and facts.rows > 0 and rescored > 2 * facts.rows:
                        continue
                    # what is rescored is in the order of its vectors: a true neighbour among the candidates is found
                    recall = statistics.fmean(
                        min(true.count, sum(true.near.get(one, 9e99) <= true.last + TIE for one in found[:rescored])) / max(1, true.count)
                        for found, true in zip(lists, truth, strict=True)
                    )
                    took = [runner.milliseconds(cell, q, rescored) for q in range(min(LEAST_QUERIES, len(truth)))]
                    made.points.append(Point(name, f"rescored = {rescored}", recall, _median(took), len(truth), index=index))


def _search(
    db: PsycopgDatabase, column: Column, asked: NDArray[np.float32], texts: list[str], truth: list[Truth], end: float, made: Curves
) -> None:
    """pgembed's own search, by the recall that it is asked for."""
    if not column.table.keys:
        made.missing.append("pgembed.search_keys needs a primary key, and the table has none.")
        return
    for wanted in RECALLS:
        if time.monotonic() > end:
            made.missing.append(f"pgembed.search at recall {wanted} was not measured: the time was over.")
            continue
        db.execute(*_by_search(column, texts[0], f"recall => {wanted}"))
        recalls, took = [], []
        for text, true in zip(texts, truth, strict=True):
            before = time.perf_counter()
            rows = db.execute(*_by_search(column, text, f"recall => {wanted}"))
            took.append(1000 * (time.perf_counter() - before))
            recalls.append(true.recall([str(row["k"]) for row in rows]))
        made.points.append(Point("pgembed.search", f"recall => {wanted}", statistics.fmean(recalls), _median(took), len(recalls)))


@contextmanager
def _settings(db: PsycopgDatabase, values: dict[str, str]) -> Iterator[None]:
    """Settings for a block, which is a transaction."""
    with db.connection.transaction():
        for name, value in values.items():
            db.execute("SELECT pg_catalog.set_config($1, $2, true)", ["pg_catalog.text", "pg_catalog.text"], [name, value])
        yield


def _median(took: list[float]) -> float | None:
    return statistics.median(took) if took else None
