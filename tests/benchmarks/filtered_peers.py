"""What filtered search is held against outside of this server: pgvectorscale with labels, and what memory alone can do.

*pgvectorscale* is on a server of somebody else's making, by its URL; labels are the numbers of a category's values. *Memory*: FAISS and
numpy with one thread, in a process of its own, for numpy's threads are counted when it is imported:

    python filtered_peers.py FOLDER     # reads what `limits` put there and prints JSON
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import filtered_runs
    from filtered_tables import Table
    from numpy.typing import NDArray

K = 10
SCALE_SETTINGS = ((50, 50), (100, 50), (100, 100), (100, 200), (200, 200), (200, 400), (400, 400), (800, 800))


def vectorscale_table(url: str, table: Table, column: str) -> filtered_runs.Connection:
    """A connection to pgvectorscale's server with the table there, made where it is missing: its index takes minutes, so it is kept."""
    import filtered_runs

    connection = filtered_runs.connected(url)
    connection.execute("CREATE EXTENSION IF NOT EXISTS vectorscale CASCADE")
    filtered_runs.knows_vectors(connection)
    name = f"{table.name}_{column}"
    there = connection.execute("SELECT to_regclass(%s) IS NOT NULL", [f"{name}_diskann"]).fetchall()[0][0]
    if there and connection.execute(f"SELECT count(*) FROM {name}").fetchall()[0][0] == len(table.rows):
        return connection
    numbers = labels(table, column)
    connection.execute(f"DROP TABLE IF EXISTS {name}")
    connection.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, labels smallint[], embedding vector({table.vectors.shape[1]}))")
    with connection.cursor().copy(f"COPY {name} FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["int4", "int2[]", "bytea"])
        for place, (row, vector) in enumerate(zip(table.rows, table.vectors, strict=True)):
            copy.write_row((place, [numbers[row[column]]], bytes(filtered_runs.sent(vector))))
    start = time.perf_counter()
    connection.execute(f"CREATE INDEX {name}_diskann ON {name} USING diskann (embedding vector_cosine_ops, labels)")
    connection.execute(f"VACUUM ANALYZE {name}")
    print(f"{name} with its label index in {time.perf_counter() - start:.0f} s", flush=True)
    return connection


def labels(table: Table, column: str) -> dict[Any, int]:
    return {value: number for number, value in enumerate(sorted({row[column] for row in table.rows}), 1)}


def vectorscale(
    connection: filtered_runs.Connection, table: Table, column: str, value: str, truth: filtered_runs.Truth, asked: Sequence[float], n: int
) -> list[filtered_runs.Measured]:
    """For each recall the fastest of SCALE_SETTINGS that reaches it, else the one of the highest recall."""
    import filtered_runs

    sent = [filtered_runs.sent(row) for row in table.queries]
    statement = (
        f"WITH nearest AS MATERIALIZED (SELECT id, embedding <=> %s AS distance FROM {table.name}_{column}"
        f" WHERE labels && ARRAY[{labels(table, column)[value]}]::smallint[] ORDER BY distance LIMIT {K})"
        " SELECT id FROM nearest ORDER BY distance + 0"
    )

    def ask(query: int) -> list[int]:
        return [row[0] for row in connection.execute(statement, [sent[query]]).fetchall()]

    connection.execute("SET enable_seqscan = off")
    tried = []
    for listed, rescored in SCALE_SETTINGS:
        connection.execute(f"SET diskann.query_search_list_size = {listed}; SET diskann.query_rescore = {rescored}")
        found = truth.measure(ask, n, f"list {listed}, rescore {rescored}")
        assert found is not None
        tried.append(found)
        if found.reaches(max(asked)):
            break
    answers = []
    for wanted in asked:
        reaching = [one for one in tried if one.reaches(wanted)]
        answers.append(min(reaching, key=lambda one: one.p50) if reaching else max(tried, key=lambda one: one.recall))
    return answers


def limits(vectors: NDArray[np.float32], queries: NDArray[np.float32], masks: Sequence[NDArray[np.bool_]]) -> dict[str, Any]:
    """Milliseconds, median, of searches in memory with one thread: see `in_memory`."""
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "given.npz", vectors=vectors, queries=queries, masks=np.array(masks))
        alone = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        ran = subprocess.run([sys.executable, __file__, folder], env={**os.environ, **alone}, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def in_memory(vectors: NDArray[np.float32], queries: NDArray[np.float32], masks: NDArray[np.bool_]) -> dict[str, Any]:
    """FAISS's flat index with an id selector and numpy over the rows that pass, gathered before, for each mask; FAISS's HNSW without a
    filter, as dense as pgvector's, with the smallest efSearch that reaches .98."""
    import faiss

    faiss.omp_set_num_threads(1)
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    lines = []
    for mask in masks:
        ids = np.flatnonzero(mask)
        best = float("inf")
        for selector in (faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little")), faiss.IDSelectorBatch(ids)):
            asked = faiss.SearchParameters(sel=selector)
            best = min(best, median(lambda query, asked=asked: flat.search(query, K, params=asked), queries))
        rows = np.ascontiguousarray(vectors[ids])
        lines.append({"faiss": best, "numpy": median(lambda query, rows=rows: nearest(rows, query[0]), queries)})
    graph = faiss.IndexHNSWFlat(vectors.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = 64
    graph.add(vectors)
    truth = flat.search(queries, K)[1]
    for ef_search in (16, 32, 48, 64, 96, 128, 256, 512):
        asked = faiss.SearchParametersHNSW(efSearch=ef_search)
        found = graph.search(queries, K, params=asked)[1]
        recall = float(np.mean([len(set(a) & set(b)) / K for a, b in zip(found, truth, strict=True)]))
        if recall >= 0.98:
            break
    taken = median(lambda query: graph.search(query, K, params=asked), queries)
    return {"lines": lines, "hnsw": {"ef_search": ef_search, "recall": recall, "ms": taken}}


def median(search: Callable[[NDArray[np.float32]], object], queries: NDArray[np.float32]) -> float:
    """Milliseconds of one query by itself."""
    seconds = []
    for place in range(-10, len(queries)):
        query = queries[place : place + 1] if place >= 0 else queries[:1]
        start = time.perf_counter()
        search(query)
        if place >= 0:
            seconds.append(time.perf_counter() - start)
    return 1000 * float(np.median(seconds))


def nearest(rows: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.int64]:
    similar = rows @ query
    some = np.argpartition(-similar, min(K, len(similar) - 1))[:K]
    found: NDArray[np.int64] = some[np.argsort(-similar[some])]
    return found


if __name__ == "__main__":
    given = np.load(Path(sys.argv[1]) / "given.npz")
    print(json.dumps(in_memory(given["vectors"], given["queries"], given["masks"])))
