"""Codes in the database: what encoding costs, an index over codes against pgvector's over vectors, and whether a recommendation holds.

*Encoding*: a generated column of each codec that is SQL alone, against a generated column of pgvector's own binary_quantize() in the same
table. *Index*: HNSW over the recommended code with rescoring against HNSW over the vectors, both at recall@10 of 0.99: the smallest
ef_search that reaches it; sizes as PostgreSQL reports them. *Recommendation*: on three columns the codec that recommend_codec() names
must reach the recall asked for with queries it has not seen, all codes compared.

    PGEMBED_URL=$(make -s url) python tests/benchmarks/bench_codes.py [--quick] [--rows N]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import bench_codecs
import bench_quality
import corpora
import numpy as np
import psycopg
import report
from numpy.typing import NDArray

from pgembed import codecs, models

K = 10
ASKED = 0.99
EF_SEARCH = (60, 80, 100, 120, 150, 200, 250, 300, 400)
KEPT = (60, 80, 100, 150, 200, 300)
SQL_CODECS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("sign", {}),
    ("sign", {"centered": True}),
    ("thermometer", {"bits": 2}),
    ("thermometer", {"bits": 4}),
    ("recurrent", {"bits": 2}),
    ("matryoshka", {"dims": 128}),
)
PYTHON_CODECS: tuple[tuple[str, dict[str, Any]], ...] = (("pq", {"bytes": 48}), ("lvq", {"bits": 4}))
Connection = psycopg.Connection[Any]


def load(connection: Connection, table: str, rows: NDArray[np.float32]) -> None:
    """A table of nothing but a key and vectors, adopted without a model: so every column is treated alike."""
    connection.execute(f"DROP TABLE IF EXISTS {table} CASCADE")
    connection.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, embedding vector({rows.shape[1]}))")
    with connection.cursor().copy(f"COPY {table} FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["int4", "bytea"])
        for place, row in enumerate(rows):
            copy.write_row((place, sent(row)))
    connection.execute(f"SELECT pgembed.adopt_embedding('{table}', 'embedding')")
    connection.execute(f"VACUUM ANALYZE {table}")


def sent(row: NDArray[np.float32]) -> bytes:
    """A vector as pgvector's binary format has it."""
    return len(row).to_bytes(2, "big") + b"\0\0" + row.astype(">f4").tobytes()


def written(row: NDArray[np.float32]) -> str:
    """A vector as a parameter."""
    return "[" + ",".join(f"{number:.9g}" for number in row.tolist()) + "]"


def train(connection: Connection, name: str, table: str, method: str, options: dict[str, Any]) -> None:
    given = "".join(f", {key} => {value!r}" for key, value in options.items())
    connection.execute(f"SELECT pgembed.train_codec('{name}', '{table}', '{method}', measure => false{given})")


def encoding(connection: Connection, corpus: corpora.Corpus) -> None:
    load(connection, "bench_codes", corpus.documents)
    dim = corpus.documents.shape[1]
    base = timed(
        connection,
        f"ALTER TABLE bench_codes ADD COLUMN code bit({dim}) GENERATED ALWAYS AS (binary_quantize(embedding)::bit({dim})) STORED",
    )
    connection.execute("ALTER TABLE bench_codes DROP COLUMN code")
    lines: list[list[report.Cell]] = [["binary_quantize(embedding), pgvector alone", dim // 8, base, 1.0]]
    for place, (method, options) in enumerate((*SQL_CODECS, *PYTHON_CODECS)):
        name = f"bench_codec_{place}"
        train(connection, name, "bench_codes", method, options)
        seconds = timed(connection, f"SELECT pgembed.add_code('bench_codes', '{name}', is_generated => true)")
        size = connection.execute("SELECT bytes FROM pgembed.codecs WHERE name = %s", [name]).fetchall()[0][0]
        shown = " ".join([method, *(f"{key}={str(value).lower()}" for key, value in options.items())])
        lines.append([shown + ("" if (method, options) in SQL_CODECS else ", through Python"), size, seconds, seconds / base])
        connection.execute(f"SELECT pgembed.drop_code('bench_codes', '{name}')")
        connection.execute(f"SELECT pgembed.drop_codec('{name}')")
    report.show(
        "encoding",
        f"a generated column of codes over {len(corpus.documents):,} rows",
        ["codec", "bytes", "seconds", "ratio"],
        lines,
        "most of it is PostgreSQL writing the table anew",
    )


def timed(connection: Connection, statement: str) -> float:
    start = time.perf_counter()
    connection.execute(statement)
    return time.perf_counter() - start


def index(connection: Connection, corpus: corpora.Corpus) -> None:
    """HNSW on vectors against HNSW on the code recommended for this column, at the same recall."""
    load(connection, "bench_codes", corpus.documents)
    listed = connection.execute(
        "SELECT statement FROM pgembed.recommend_codec('bench_codes', min_recall => %s) WHERE is_recommended AND scan = 'hamming'", [ASKED]
    ).fetchall()
    if not listed:
        print(f"{corpus.name}: no code of bits is recommended")
        return
    statement = listed[0][0]
    connection.execute("SET maintenance_work_mem = '1GB'")
    truth, queries = corpus.truth(), [written(row) for row in corpus.queries]
    built = timed(connection, "CREATE INDEX bench_vector ON bench_codes USING hnsw (embedding vector_cosine_ops)")
    plain = "SELECT id FROM bench_codes ORDER BY embedding <=> %s::vector LIMIT 10"
    best = fastest(connection, plain, lambda query, _: [query], queries, truth, [(ef_search, 10) for ef_search in EF_SEARCH])
    sizes = [connection.execute("SELECT pg_relation_size('bench_vector')").fetchall()[0][0]]
    lines: list[list[report.Cell]] = [["HNSW on vector", sizes[0] / 2**20, built, f"ef_search {best[0]}", best[2], 1000 * best[3]]]
    medians = [best[3]]
    connection.execute("DROP INDEX bench_vector")
    name = statement.split("'")[1]
    connection.execute(statement)
    connection.execute(f"SELECT pgembed.add_code('bench_codes', '{name}', is_generated => true)")
    connection.execute(f"CALL pgembed.fill_code('bench_codes', '{name}')")
    connection.execute("VACUUM ANALYZE bench_codes")
    made = connection.execute(f"SELECT * FROM pgembed.code_indexes('bench_codes', '{name}')").fetchall()
    built_code = sum(timed(connection, row[0]) for row in made)
    sizes.append(
        connection.execute("SELECT pg_relation_size(to_regclass(index_name)) FROM pgembed.codes WHERE column_name = %s", [name]).fetchall()[
            0
        ][0]
    )
    codes = [
        row[0]
        for row in connection.execute(
            f"SELECT {name}(q::vector)::varbit::text FROM unnest(%s::text[]) WITH ORDINALITY AS u (q, n) ORDER BY n", [queries]
        ).fetchall()
    ]
    bits = len(codes[0])
    asked = dict(zip(queries, codes, strict=True))
    two_steps = (
        f"SELECT id FROM (SELECT id, embedding FROM bench_codes ORDER BY {name} <~> %s::bit({bits}) LIMIT %s) AS nearest"
        " ORDER BY embedding <=> %s::vector LIMIT 10"
    )
    pairs = [(ef_search, kept) for ef_search in EF_SEARCH for kept in KEPT if kept <= ef_search]
    best = fastest(connection, two_steps, lambda query, kept: [asked[query], kept, query], queries, truth, pairs)
    lines.append([f"HNSW on {name}, rescored", sizes[1] / 2**20, built_code, f"ef_search {best[0]}, R {best[1]}", best[2], 1000 * best[3]])
    medians.append(best[3])
    connection.execute("RESET hnsw.ef_search")
    found, seconds = [], []
    for place, query in enumerate(queries):
        start = time.perf_counter()
        rows = connection.execute("SELECT key::int FROM pgembed.search_keys('bench_codes', %s::vector, recall => 0.99)", [query]).fetchall()
        seconds.append(time.perf_counter() - start)
        found.append(len({row[0] for row in rows} & set(truth[place].tolist())) / K)
    lines.append(
        [
            "the same through pgembed.search_keys",
            sizes[1] / 2**20,
            None,
            "recall => 0.99",
            statistics.mean(found),
            1000 * statistics.median(seconds),
        ]
    )
    table = connection.execute("SELECT pg_table_size('bench_codes')").fetchall()[0][0]
    slower = medians[1] / medians[0]
    report.show(
        f"code_index_{corpus.name}",
        f"an index over codes against an index over vectors, {len(corpus.documents):,} {corpus.name}",
        ["index", "MB", "built, s", "setting", "recall@10", "p50, ms"],
        lines,
        f"size {sizes[1] / sizes[0]:.2f}, build {built_code / built:.2f}, p50 {slower:.2f} of the vector index;"
        f" the table has {table / 2**20:.0f} MB",
    )


def fastest(
    connection: Connection,
    statement: str,
    values: Any,
    queries: Sequence[str],
    truth: NDArray[np.int64],
    settings: Sequence[tuple[int, int]],
) -> tuple[int, int, float, float]:
    """Of pairs of ef_search and R the one of the smallest median that reaches the recall asked for, else the one of the highest recall: the
    pair, its recall, and its median of seconds."""
    tried: list[tuple[int, int, float, float]] = []
    for ef_search, kept in settings:
        connection.execute(f"SET hnsw.ef_search = {ef_search}")
        found, seconds = [], []
        for place, query in enumerate(queries):
            start = time.perf_counter()
            rows = connection.execute(statement, values(query, kept)).fetchall()
            seconds.append(time.perf_counter() - start)
            found.append(len({row[0] for row in rows} & set(truth[place].tolist())) / K)
        tried.append((ef_search, kept, statistics.mean(found), statistics.median(seconds)))
    reaching = [one for one in tried if one[2] >= ASKED]
    return min(reaching, key=lambda one: one[3]) if reaching else max(tried, key=lambda one: one[2])


def columns(rows: int, queries: int, quick: bool) -> Iterator[corpora.Corpus]:
    """Three columns: a transformer's, a static model's, and one in which nothing is alike."""
    yield corpora.packages(rows, queries)
    if quick:
        return
    yield static(rows, queries)
    rng = np.random.default_rng(4)
    made = rng.standard_normal((rows + queries, 384)).astype(np.float32)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    yield corpora.Corpus("Gaussian", [], made[:rows], made[rows:], made[:0])


def static(rows: int, queries: int) -> corpora.Corpus:
    """The packages' texts with a static model that is distilled for this."""
    bench_quality.distill(bench_quality.PLAIN, None, os.environ["PGEMBED_URL"])
    try:
        found = corpora.packages(rows, queries, bench_quality.PLAIN)
    finally:
        models.forget()
        subprocess.run([sys.executable, "-m", "pgembed.cli", "model", "remove", bench_quality.PLAIN, "--force"], check=False)
    return corpora.Corpus("static", found.texts, found.documents, found.queries, found.examples)


def recommendations(connection: Connection, rows: int, queries: int, quick: bool) -> None:
    """Recommend for each column, and hold the recommendation against queries it has not seen."""
    lines: list[list[report.Cell]] = []
    for corpus in columns(rows, queries, quick):
        load(connection, "bench_codes", corpus.documents)
        start = time.perf_counter()
        listed = connection.execute(
            "SELECT method, options::text, bytes, scan, rescore, statement FROM pgembed.recommend_codec('bench_codes', min_recall => %s)"
            " WHERE is_recommended",
            [ASKED],
        ).fetchall()
        seconds = time.perf_counter() - start
        if not listed:
            lines.append([corpus.name, "none", None, None, None, None, seconds])
            continue
        method, options, size, scan, rescore, statement = listed[0]
        connection.execute(statement)
        name = statement.split("'")[1]
        packed = connection.execute("SELECT packed FROM pgembed._codec WHERE name = %s", [name]).fetchall()[0][0]
        lines.append([corpus.name, f"{method} {options}", size, scan, rescore, reached(packed, corpus, scan, rescore), seconds])
        connection.execute(f"SELECT pgembed.drop_codec('{name}')")
    report.show(
        "recommended",
        f"recommend_codec(min_recall => {ASKED}) on columns of {rows:,} rows, held against {queries} queries it has not seen",
        ["column", "codec", "bytes", "compared", "R", "recall@10", "seconds"],
        lines,
        "R as recommended; all codes compared",
    )


def reached(packed: bytes, corpus: corpora.Corpus, scan: str, rescore: int) -> float:
    """Recall@10 of a codec after rescoring so many, over fresh queries."""
    codec = codecs.load(packed)
    rows = corpus.documents
    codes = np.concatenate([codec.encode(rows[at : at + 4096]) for at in range(0, len(rows), 4096)])
    if scan == "hamming":
        asked, stored = bench_codecs.words(codec.encode(corpus.queries)), bench_codecs.words(codes)
        below, same = bench_codecs.positions(
            corpus.truth(), lambda query: np.bitwise_count(stored ^ asked[query]).sum(axis=1, dtype=np.float32)
        )
    else:
        estimated = codec.distances(corpus.queries, codes)
        below, same = bench_codecs.positions(corpus.truth(), estimated.__getitem__)
    return float(np.clip((rescore - below) / same, 0, 1).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--rows", type=int, default=corpora.ROWS)
    parser.add_argument("--queries", type=int, default=corpora.QUERIES)
    parser.add_argument("--only", default="encoding,recommended,index", help="parts, with commas between")
    options = parser.parse_args()
    parts = options.only.split(",")
    if options.quick:
        options.rows, options.queries = 300, 20
    with psycopg.connect(os.environ["PGEMBED_URL"], autocommit=True, prepare_threshold=2) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pgembed CASCADE")
        corpus = corpora.packages(options.rows, options.queries)
        if "encoding" in parts:
            encoding(connection, corpus)
        if "recommended" in parts:
            recommendations(connection, options.rows, options.queries, options.quick)
        if "index" in parts:
            index(connection, corpus)
        if "index" in parts and not options.quick:
            index(connection, corpora.papers(options.rows, options.queries))
        connection.execute("DROP TABLE IF EXISTS bench_codes CASCADE")


if __name__ == "__main__":
    main()
