"""search under filters that statistics mislead about: k rows, near ones, at a bounded cost."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from support import Connection, explained

pytestmark = pytest.mark.one_transaction

ROWS, DIM, TOPICS = 6000, 12, 10
_RNG = np.random.default_rng(23)
_CENTRES = _RNG.standard_normal((TOPICS, DIM))
_TOPIC = _RNG.integers(0, TOPICS, ROWS)
VECTORS = (_CENTRES[_TOPIC] + 0.5 * _RNG.standard_normal((ROWS, DIM))).astype(np.float32)
QUERIES = [(_CENTRES[topic] + 0.5 * _RNG.standard_normal(DIM)).astype(np.float32) for topic in range(5)]
# Where a mean is held to a promise: a graph is built with levels drawn by lot, and five queries say little of it.
MANY = [(_CENTRES[topic] + 0.5 * _RNG.standard_normal(DIM)).astype(np.float32) for topic in 20 * list(range(5))]


def text(vector: Any) -> str:
    return "[" + ",".join(map(repr, map(float, vector))) + "]"


def nearest(query: Any, k: int, passes: Any) -> list[int]:
    """Ids of the k nearest rows by cosine among those that pass, computed here."""
    ids = np.flatnonzero(passes)
    held = VECTORS[ids] / np.linalg.norm(VECTORS[ids], axis=1, keepdims=True)
    return [int(i) for i in ids[np.argsort(-(held @ query), kind="stable")[:k]]]


@pytest.fixture
def topics(db: Connection) -> Connection:
    """Rows in ten clusters that are their topics, with an index; they seem to be a million."""
    db.execute(f"CREATE TABLE note (id int PRIMARY KEY, topic int, half boolean, e vector({DIM})) WITH (autovacuum_enabled = false)")
    with db.cursor() as cursor, cursor.copy("COPY note FROM STDIN") as copy:
        for i, vector in enumerate(VECTORS):
            copy.write_row((i, int(_TOPIC[i]), i % 2 == 0, text(vector)))
    db.execute("CREATE INDEX note_e ON note USING hnsw (e vector_cosine_ops)")
    db.execute("CREATE INDEX ON note (topic)")
    db.execute("SELECT pgembed.adopt_embedding('note', 'e')")
    seem(db)
    return db


def seem(db: Connection, rows: int = 1_000_000, *, analyze: bool = True) -> None:
    if analyze:
        db.execute("ANALYZE note")
    db.execute("UPDATE pg_class SET reltuples = %s WHERE oid = 'note'::regclass", [rows])


def search(db: Connection, query: Any, k: int = 10, condition: str | None = None, more: str = "") -> list[int]:
    found = db.execute(
        f"SELECT key::int FROM pgembed.search_keys('note', %s::vector, k => %s, filter => %s{more}) ORDER BY rank",
        [text(query), k, condition],
    )
    return [row[0] for row in found.fetchall()]


def path(db: Connection, query: Any, k: int = 10, condition: str | None = None) -> str:
    return str(planned(db, query, k, condition)[0])


def planned(db: Connection, query: Any, k: int = 10, condition: str | None = None, by: str | None = None) -> Any:
    return db.execute(
        "SELECT path, settings, statement FROM pgembed._plan_search('note', 'key', pgembed._sent(%s::vector), %s, %s, NULL, NULL, NULL,"
        " NULL, false, NULL, %s)",
        [text(query), k, condition, by],
    ).fetchone()


def recall(found: list[int], true: list[int]) -> float:
    return len(set(found) & set(true)) / len(true)


# (filter, rows that pass) for a query of topic 0 .. 4
CORRELATED = {
    "own": ("topic = {}", lambda topic: topic == _TOPIC),
    "other": ("topic = {} + 5", lambda topic: topic + 5 == _TOPIC),
    "not own": ("topic <> {}", lambda topic: topic != _TOPIC),
    "nor near": ("topic > 4 AND topic <> {}", lambda topic: _TOPIC > 4),
    "half": ("half AND {} >= 0", lambda topic: np.arange(ROWS) % 2 == 0),
    "two": ("half AND topic IN ({}, 7)", lambda topic: (np.arange(ROWS) % 2 == 0) & np.isin(_TOPIC, (topic, 7))),
}


@pytest.mark.parametrize("kind", CORRELATED)
def test_k_near_rows_however_filter_and_query_correlate(topics: Connection, kind: str) -> None:
    condition, passing = CORRELATED[kind]
    hits = []
    for number, query in enumerate(MANY):
        topic = number % 5
        found = search(topics, query, 10, condition.format(topic))
        assert len(found) == 10
        assert passing(topic)[found].all()
        hits.append(recall(found, nearest(query, 10, passing(topic))))
    assert np.mean(hits) >= 0.97


def test_neighbours_decide_between_a_graph_and_comparing_all(topics: Connection) -> None:
    """A tenth of the rows has a topic, by statistics; around a query of that topic nearly all, around another none."""
    assert path(topics, QUERIES[1], 10, "topic = 1") == "index"
    assert path(topics, QUERIES[1], 10, "topic = 8") == "exact"


WRONG = {
    "never analysed": "DELETE FROM pg_statistic WHERE starelid = 'note'::regclass",
    "ten times too few": "UPDATE pg_class SET reltuples = 600 WHERE oid = 'note'::regclass",
    "a thousand times too many": "UPDATE pg_class SET reltuples = 60000000 WHERE oid = 'note'::regclass",
    "most rows are newer": "UPDATE note SET topic = 4 WHERE id % 7 > 1",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_k_rows_where_k_exist_whatever_the_statistics_say(topics: Connection, wrong: str) -> None:
    topics.execute(WRONG[wrong])
    topic = np.where(np.arange(ROWS) % 7 > 1, 4, _TOPIC) if wrong == "most rows are newer" else _TOPIC
    for condition, passes in (
        ("topic = 4", topic == 4),
        ("topic = 3", topic == 3),
        ("id % 400 = 5", np.arange(ROWS) % 400 == 5),
        ("topic = 3 AND id < 300", (topic == 3) & (np.arange(ROWS) < 300)),
        ("id = -1", np.zeros(ROWS, bool)),
    ):
        for query in QUERIES[3:]:
            found, true = search(topics, query, 10, condition), nearest(query, 10, passes)
            assert len(found) == len(true), condition
            if true:
                assert recall(found, true) >= 0.9


def blocks(db: Connection, made: Any, k: int = 10) -> int:
    """Blocks that the statement of a plan reads."""
    _, settings, statement = made
    db.execute("SELECT pgembed._set(%s)", [settings])
    for number, value in (("$1", "NULL::jsonb"), ("$2", f"'{text(QUERIES[0])}'::vector"), ("$3", str(k)), ("$4", "NULL"), ("$5", "NULL")):
        statement = statement.replace(number, value)
    rows = db.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}").fetchone()
    assert rows is not None
    plan = (json.loads(rows[0]) if isinstance(rows[0], str) else rows[0])[0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def test_a_graph_that_finds_too_few_is_left_and_the_same_statement_goes_on(topics: Connection) -> None:
    """PostgreSQL takes the condition for one that most rows pass; the rows that do are the last that the graph would give."""
    condition = "(topic::text || 'x') <> ALL (ARRAY['0x', '1x', '2x', '3x', '4x', '5x', '6x', '7x']) AND id > 5000"
    passes = (_TOPIC > 7) & (np.arange(ROWS) > 5000)
    forced = planned(topics, QUERIES[0], 10, condition, by="index")
    limited = list(forced[1])
    limited[limited.index("hnsw.max_scan_tuples") + 1] = "500"
    whole = blocks(topics, planned(topics, QUERIES[0], 10, condition, by="exact"))
    unbounded = blocks(topics, forced)
    bounded = blocks(topics, ("index", limited, forced[2]))
    assert unbounded > bounded + 2 * whole or unbounded > 2 * bounded
    found = search(topics, QUERIES[0], 10, condition)
    assert found == nearest(QUERIES[0], 10, passes)


@pytest.mark.own_database
def test_five_per_cent_updated_and_not_vacuumed(topics: Connection) -> None:
    topics.execute("UPDATE note SET half = NOT half WHERE id % 20 = 3")
    half = (np.arange(ROWS) % 2 == 0) ^ (np.arange(ROWS) % 20 == 3)
    for condition, passes in (("half", half), ("NOT half AND topic = 2", ~half & (_TOPIC == 2)), (None, np.ones(ROWS, bool))):
        hits = []
        for query in MANY:
            found = search(topics, query, 10, condition)
            assert len(set(found)) == 10
            assert passes[found].all()
            hits.append(recall(found, nearest(query, 10, passes)))
        assert np.mean(hits) >= 0.97


@pytest.mark.parametrize("k", [400, 1000, 1001, 5000, 7000])
@pytest.mark.parametrize("condition", [None, "half"])
def test_many_results(topics: Connection, k: int, condition: str | None) -> None:
    passes = np.ones(ROWS, bool) if condition is None else np.arange(ROWS) % 2 == 0
    found, true = search(topics, QUERIES[2], k, condition), nearest(QUERIES[2], k, passes)
    assert len(found) == len(set(found)) == len(true)
    assert recall(found, true) >= 0.97


def cosine(query: Any) -> Any:
    return 1 - VECTORS @ query / np.linalg.norm(VECTORS, axis=1) / np.linalg.norm(query)


@pytest.mark.parametrize("condition", [None, "topic = 1", "topic = 8"])
def test_all_rows_within_a_distance(topics: Connection, condition: str | None) -> None:
    passes = np.ones(ROWS, bool) if condition is None else int(condition[-1]) == _TOPIC
    for bound in (0.2, 0.8, 2.5):
        found = topics.execute(
            "SELECT key::int, distance FROM pgembed.search_keys('note', %s::vector, k => NULL, filter => %s, max_distance => %s)",
            [text(QUERIES[1]), condition, bound],
        ).fetchall()
        assert {row[0] for row in found} == set(np.flatnonzero(passes & (cosine(QUERIES[1]) <= bound)).tolist())


@pytest.mark.parametrize("condition", [None, "topic = 1", "half"])
def test_a_bound_on_the_distance_is_kept_by_a_graph_too(topics: Connection, condition: str | None) -> None:
    passes = {None: np.ones(ROWS, bool), "topic = 1": _TOPIC == 1, "half": np.arange(ROWS) % 2 == 0}[condition]
    sorted_distances = np.sort(cosine(QUERIES[1])[passes])
    bound = float(sorted_distances[6] + sorted_distances[7]) / 2
    more = f", max_distance => {bound}"
    assert path(topics, QUERIES[1], 10, condition) == "index"
    assert search(topics, QUERIES[1], 10, condition, more) == nearest(QUERIES[1], 7, passes)


def test_recall_of_one_is_exact(topics: Connection) -> None:
    for condition in (None, "half"):
        passes = np.ones(ROWS, bool) if condition is None else np.arange(ROWS) % 2 == 0
        for query in QUERIES:
            assert search(topics, query, 10, condition, ", recall => 1") == nearest(query, 10, passes)


def test_a_filter_over_another_table(topics: Connection) -> None:
    topics.execute("CREATE TABLE liked (note int PRIMARY KEY)")
    topics.execute("INSERT INTO liked SELECT id FROM note WHERE id % 9 = 0")
    topics.execute("ANALYZE liked")
    passes = np.arange(ROWS) % 9 == 0
    condition = "EXISTS (SELECT FROM liked WHERE liked.note = note.id)"
    hits = [recall(search(topics, query, 10, condition), nearest(query, 10, passes)) for query in MANY]
    assert np.mean(hits) >= 0.97
    hits = [recall(search(topics, query, 10, f"NOT {condition} AND half"), nearest(query, 10, ~passes & (np.arange(ROWS) % 2 == 0)))
            for query in MANY]  # fmt: skip
    assert np.mean(hits) >= 0.97


def test_a_table_without_index_or_key(topics: Connection) -> None:
    topics.execute("DROP INDEX note_e; ALTER TABLE note DROP CONSTRAINT note_pkey")
    seem(topics)
    found = topics.execute("SELECT (item).id FROM pgembed.search(NULL::note, %s::vector, filter => 'half')", [text(QUERIES[0])]).fetchall()
    assert [row[0] for row in found] == nearest(QUERIES[0], 10, np.arange(ROWS) % 2 == 0)
    topics.execute("CREATE INDEX note_e ON note USING hnsw (e vector_cosine_ops)")
    seem(topics)
    assert explained(topics, f"NULL::note, '{text(QUERIES[0])}'::vector")["path"] == "index"
    found = topics.execute("SELECT (item).id FROM pgembed.search(NULL::note, %s::vector, filter => 'half')", [text(QUERIES[0])]).fetchall()
    assert recall([row[0] for row in found], nearest(QUERIES[0], 10, np.arange(ROWS) % 2 == 0)) >= 0.9


# Indexes over some of the rows -----------------------------------------------------------------------------------------------------


def test_a_partial_index_answers_what_implies_its_predicate(topics: Connection) -> None:
    topics.execute("DROP INDEX note_e; CREATE INDEX note_part ON note USING hnsw (e vector_cosine_ops) WHERE topic = 6")
    seem(topics)
    for condition in ("topic = 6", "topic = 6 AND half", "topic = 6 AND id <> 3"):
        made = planned(topics, QUERIES[0], 10, condition)
        assert made[0] == "partial", condition
    hits = [recall(search(topics, query, 10, "topic = 6"), nearest(query, 10, _TOPIC == 6)) for query in MANY]
    assert np.mean(hits) >= 0.97
    for condition in ("topic = 5", "topic IN (5, 6)", None, "half"):
        assert path(topics, QUERIES[0], 10, condition) == "exact"


def test_a_partial_index_is_preferred_to_the_whole_one_and_params_may_imply_its_predicate(topics: Connection) -> None:
    topics.execute("CREATE INDEX note_part ON note USING hnsw (e vector_cosine_ops) WHERE topic = 6")
    seem(topics)
    topics.execute("UPDATE pg_class SET reltuples = 100000 WHERE oid = 'note_part'::regclass")
    row = topics.execute(
        "SELECT path, statement FROM pgembed._plan_search('note', 'key', pgembed._sent(%s::vector), 10, $$ topic = ($1->>'t')::int $$,"
        """ '{"t": 6}', NULL, NULL, NULL, false, NULL, NULL)""",
        [text(QUERIES[0])],
    ).fetchone()
    assert row is not None
    assert row[0] == "partial"
    statement = row[1]
    for number, value in (("$1", """'{"t": 6}'::jsonb"""), ("$2", f"'{text(QUERIES[0])}'::vector"), ("$3", "10")):
        statement = statement.replace(number, value)
    assert "Index Scan using note_part on note" in "\n".join(line[0] for line in topics.execute(f"EXPLAIN {statement}").fetchall())


def test_a_partial_ivfflat_index_answers_too(topics: Connection) -> None:
    topics.execute("DROP INDEX note_e; CREATE INDEX note_part ON note USING ivfflat (e vector_cosine_ops) WITH (lists = 8) WHERE half")
    seem(topics)
    made = planned(topics, QUERIES[0], 10, "half")
    assert made[0] == "partial"
    assert dict(zip(made[1][::2], made[1][1::2], strict=True))["ivfflat.probes"] == "7"
    hits = [recall(search(topics, query, 10, "half"), nearest(query, 10, np.arange(ROWS) % 2 == 0)) for query in MANY]
    assert np.mean(hits) >= 0.97


@pytest.fixture
def parts(db: Connection) -> Connection:
    """The same rows in partitions by topic, 0-4, 5-8 and 9; each has an index of its own but the last."""
    db.execute(f"CREATE TABLE note (id int, topic int, half boolean, e vector({DIM}), PRIMARY KEY (topic, id)) PARTITION BY RANGE (topic)")
    for name, low, high in (("a", 0, 5), ("b", 5, 9), ("c", 9, 10)):
        db.execute(f"CREATE TABLE note_{name} PARTITION OF note FOR VALUES FROM ({low}) TO ({high}) WITH (autovacuum_enabled = false)")
    with db.cursor() as cursor, cursor.copy("COPY note FROM STDIN") as copy:
        for i, vector in enumerate(VECTORS):
            copy.write_row((i, int(_TOPIC[i]), i % 2 == 0, text(vector)))
    for name in "ab":
        db.execute(f"CREATE INDEX note_{name}_e ON note_{name} USING hnsw (e vector_cosine_ops)")
    db.execute("SELECT pgembed.adopt_embedding('note', 'e')")
    large(db)
    return db


def large(db: Connection) -> None:
    db.execute("ANALYZE note")
    db.execute("UPDATE pg_class SET reltuples = 300000 WHERE relname ~ '^note_[abc]$'")


def rows_of(db: Connection, query: Any, condition: str | None) -> list[int]:
    found = db.execute("SELECT (item).id FROM pgembed.search(NULL::note, %s::vector, filter => %s)", [text(query), condition])
    return [row[0] for row in found.fetchall()]


def test_partitions_that_remain_are_read_in_the_order_of_their_own_indexes(parts: Connection) -> None:
    for condition, passes, expected in (
        ("topic < 5", _TOPIC < 5, "partial"),
        ("topic < 9", _TOPIC < 9, "partial"),
        ("topic < 9 AND half", (_TOPIC < 9) & (np.arange(ROWS) % 2 == 0), "partial"),
        ("topic = 9", _TOPIC == 9, "exact"),
        ("topic > 5", _TOPIC > 5, "exact"),
        (None, np.ones(ROWS, bool), "exact"),
    ):
        assert path(parts, QUERIES[0], 10, condition) == expected, condition
        hits = [recall(rows_of(parts, query, condition), nearest(query, 10, passes)) for query in MANY]
        assert np.mean(hits) >= 0.97


def test_an_index_of_the_whole_partitioned_table_is_merged_from_its_parts(parts: Connection) -> None:
    parts.execute("CREATE INDEX note_e ON note USING hnsw (e vector_cosine_ops)")
    large(parts)
    made = planned(parts, QUERIES[0])
    assert made[0] == "index"
    statement = made[2].replace("$2", f"'{text(QUERIES[0])}'::vector").replace("$3", "10")
    assert "Merge Append" in "\n".join(line[0] for line in parts.execute(f"EXPLAIN {statement}").fetchall())
    for condition, passes in ((None, np.ones(ROWS, bool)), ("half", np.arange(ROWS) % 2 == 0), ("topic > 5", _TOPIC > 5)):
        hits = []
        for query in MANY:
            found = rows_of(parts, query, condition)
            assert len(found) == 10
            hits.append(recall(found, nearest(query, 10, passes)))
        assert np.mean(hits) >= 0.97
