"""How a dense join is run inside a backend: every strategy gives the pairs that comparing all rows gives, within the memory that is set."""

from __future__ import annotations

import struct
import threading
import time

import numpy as np
import psycopg
import pytest
from joined import FUNCTION
from support import PATIENCE, Connect, Connection

from pgembed import columns, errors
from pgembed.joining import costs, execution, sources
from pgembed.joining.contract import Request
from pgembed.psycopgdb import PsycopgDatabase

DIM = 24


def fill(db: Connection, table: str, rows: int, seed: int, dim: int = DIM) -> None:
    numbers = np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)
    db.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, embedding vector({dim}))")
    head = struct.pack("!hi", 2, 4)
    with db.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN (FORMAT binary)") as copy:
        copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8))
        for i, row in enumerate(numbers.astype(">f4")):
            copy.write(head + struct.pack("!i", i) + struct.pack("!i", 4 + 4 * dim) + struct.pack("!hh", dim, 0) + row.tobytes())
        copy.write(b"\xff\xff")
    db.execute(f"SELECT pgembed.adopt_embedding('{table}', 'embedding')")
    db.execute(f"ANALYZE {table}")


@pytest.fixture
def sides(db: Connection) -> Connection:
    fill(db, "l", 60, 1)
    fill(db, "r", 900, 2)
    db.execute("INSERT INTO l VALUES (1000, NULL)")
    db.execute("CREATE INDEX ON r USING hnsw (embedding vector_cosine_ops)")
    db.execute(FUNCTION)
    return db


def pairs(db: Connection, options: str = "") -> list[tuple[int, int, float, int]]:
    return [
        (left, right, round(distance, 3), rank)
        for left, right, distance, rank in db.execute(
            f"WITH j AS MATERIALIZED (SELECT * FROM joined('l', 'r'{options}))"
            " SELECT l.id, r.id, p.distance, p.rank FROM j, unnest(left_places, right_places, distances, ranks)"
            " AS p (left_place, right_place, distance, rank) JOIN l ON l.tableoid || l.ctid::text = left_place"
            " JOIN r ON r.tableoid || r.ctid::text = right_place ORDER BY 1, 4"
        ).fetchall()
    ]


def compared(db: Connection, k: int, where: str = "true") -> list[tuple[int, int, float, int]]:
    return [
        (left, right, round(distance, 3), rank)
        for left, right, distance, rank in db.execute(
            "SELECT * FROM (SELECT l.id, r.id AS other, l.embedding <=> r.embedding AS distance,"
            " row_number() OVER (PARTITION BY l.id ORDER BY l.embedding <=> r.embedding) AS rank FROM l, r"
            f" WHERE l.embedding IS NOT NULL) AS p WHERE rank <= {k} AND ({where}) ORDER BY 1, 4"
        ).fetchall()
    ]


@pytest.mark.parametrize("strategy", ["product", "exact probes", "index probes"])
@pytest.mark.parametrize("k", [1, 4])
def test_every_strategy_gives_the_nearest(sides: Connection, strategy: str, k: int) -> None:
    recall = 0.95 if strategy == "index probes" else 1
    found = pairs(sides, f", k => {k}, strategy => '{strategy}', search_recall => {recall}")
    exact = compared(sides, k)
    if strategy == "index probes":
        assert len(set(found) & set(exact)) >= 0.9 * len(exact)
    else:
        assert found == exact


def test_an_index_that_finds_too_few_is_left(sides: Connection) -> None:
    exact = compared(sides, 3)
    sides.execute("INSERT INTO r SELECT id + 5000, embedding FROM l WHERE embedding IS NOT NULL")
    sides.execute("DELETE FROM r WHERE id >= 5000")  # the graph still has these first
    sides.execute("SET hnsw.ef_search = 1")
    found = pairs(sides, ", k => 3, strategy => 'index probes', search_recall => 0.95")
    assert len(found) == len(exact)
    assert len(set(found) & set(exact)) >= 0.9 * len(exact)
    assert sides.execute("SHOW hnsw.ef_search").fetchone() == ("1",)


def test_no_index_is_used_where_a_policy_hides_rows(sides: Connection) -> None:
    sides.execute("CREATE POLICY few ON r USING (id < 100)")
    sides.execute("ALTER TABLE r ENABLE ROW LEVEL SECURITY")
    sides.execute("ALTER TABLE r FORCE ROW LEVEL SECURITY")
    database = PsycopgDatabase(sides)
    request = Request(
        sources.of_column(columns.column(database, "l", None), "l"),
        sources.of_column(columns.column(database, "r", None), "r"),
        search_recall=0.9,
    )
    assert not execution.choices(database, request)[0].note
    notes = {choice.strategy: choice.note for choice in execution.choices(database, request)}
    assert notes["index probes"] == ""  # a superuser sees all
    assert "policy" in {choice.strategy: choice.note for choice in costs.choices(request, 10, 1000, hidden=True)}["index probes"]


def test_all_within_a_distance(sides: Connection) -> None:
    found = pairs(sides, ", k => NULL, max_distance => 0.6")
    assert found
    assert found == compared(sides, 900, "distance <= 0.6")


def test_mutual_pairs_are_near_from_both_sides(sides: Connection) -> None:
    found = {(left, right) for left, right, *_ in pairs(sides, ", mutual => true")}
    back = sides.execute(
        "SELECT DISTINCT ON (r.id) l.id, r.id FROM l, r WHERE l.embedding IS NOT NULL ORDER BY r.id, l.embedding <=> r.embedding"
    ).fetchall()
    assert found == {(left, right) for left, right, *_ in compared(sides, 1)} & set(back)
    assert 0 < len(found) < 60


def test_a_side_that_does_not_fit_comes_in_parts_with_the_same_pairs(db: Connection) -> None:
    fill(db, "l", 1500, 3, 200)
    fill(db, "r", 2500, 4, 200)
    db.execute(FUNCTION)
    whole = pairs(db, ", k => 3")
    db.execute("SET pgembed.join_mem = '4MB'")
    row = db.execute("SELECT parts, took FROM joined('l', 'r', k => 3)").fetchone()
    assert row is not None
    assert row[0] > 1
    assert row[1] == "product"
    assert pairs(db, ", k => 3") == whole


def test_memory_stays_within_the_bound(db: Connection) -> None:
    fill(db, "l", 500, 5, 1000)
    fill(db, "r", 10_000, 6, 1000)  # 40 MB of vectors
    db.execute(FUNCTION)
    db.execute("SET pgembed.join_mem = '32MB'")
    db.execute("SELECT FROM joined('l', 'l')")  # libraries are loaded
    row = db.execute("SELECT parts, peak, array_length(ranks, 1) FROM joined('l', 'r', watch => true)").fetchone()
    assert row is not None
    assert row[0] >= 1
    assert row[2] == 500
    assert row[1] <= 1.5 * 32 * 1024, f"{row[1]} kB beside what there was before"


@pytest.mark.parametrize(("value", "hint"), [("much", "units are"), ("1 kB", "256MB"), ("-5MB", "units are"), ("5 QB", "units are")])
def test_a_memory_that_is_none_is_refused(sides: Connection, value: str, hint: str) -> None:
    sides.execute("SELECT set_config('pgembed.join_mem', %s, false)", [value])
    with pytest.raises(psycopg.errors.InvalidParameterValue) as caught:
        pairs(sides)
    assert hint in str(caught.value.diag.message_hint)


def test_a_result_that_does_not_fit_is_refused_before_any_work(sides: Connection) -> None:
    database = PsycopgDatabase(sides)
    described = columns.column(database, "r", None)
    request = Request(sources.of_column(described, "l"), sources.of_column(described, "r"), k=1000, memory=8 << 20)
    with pytest.raises(errors.LimitExceeded) as caught:
        execution.gathered(database, request)
    assert "pgembed.join_mem" in caught.value.message


def test_choices_tell_what_is_cheapest_and_why_not(sides: Connection) -> None:
    database = PsycopgDatabase(sides)
    left, right = columns.column(database, "l", None), columns.column(database, "r", None)
    request = Request(sources.of_column(left, "l"), sources.of_column(right, "r"))
    found = {choice.strategy: choice for choice in execution.choices(database, request)}
    assert set(found) == {"product", "index probes", "exact probes"}
    assert found["index probes"].note
    few = costs.choices(request, 2, 1e6)
    many = costs.choices(request, 1e5, 1e6)
    assert few[0].strategy == "exact probes"
    assert many[0].strategy == "product"


def test_a_cancel_takes_effect(db: Connection, connect: Connect) -> None:
    fill(db, "l", 20_000, 7, 100)
    db.execute("CREATE TABLE r AS SELECT l.id + 20000 * n AS id, l.embedding FROM l, generate_series(0, 9) AS n")
    db.execute("UPDATE r SET embedding = embedding + (SELECT embedding FROM l WHERE id = 5) WHERE id > 100000")
    db.execute("SELECT pgembed.adopt_embedding('r', 'embedding')")
    db.execute(FUNCTION)
    other = connect(db)
    pid = db.info.backend_pid

    def cancel() -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            shown = other.execute("SELECT application_name FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone()
            if shown and str(shown[0]).startswith("pgembed join"):
                time.sleep(0.3)
                other.execute("SELECT pg_cancel_backend(%s)", [pid])
                return
            time.sleep(0.01)

    watcher = threading.Thread(target=cancel)
    watcher.start()
    began = time.monotonic()
    try:
        with pytest.raises(psycopg.errors.QueryCanceled):
            db.execute("SELECT FROM joined('r', 'r', k => 150)")
    finally:
        watcher.join()
    assert time.monotonic() - began < PATIENCE
    assert db.execute("SELECT 1").fetchone() == (1,)
