"""sync of partitions, and of rows that replication brings."""

from __future__ import annotations

import psycopg
import pytest
from spied import Calls, declare, settle
from support import Connection, states

pytestmark = pytest.mark.one_transaction


# ------------------------------------------------------------------------------------------------------------------- partitions


@pytest.fixture
def parts(db: Connection) -> Connection:
    """A partitioned table, whose second partition has its columns in another order."""
    db.execute(
        """
        CREATE TABLE t (id int, region text, name text, n int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
        CREATE TABLE t_a PARTITION OF t FOR VALUES IN ('a');
        CREATE TABLE t_b (gone int, n int, name text, region text NOT NULL, id int NOT NULL);
        ALTER TABLE t_b DROP COLUMN gone;
        ALTER TABLE t ATTACH PARTITION t_b FOR VALUES IN ('b');
        INSERT INTO t VALUES (1, 'a', 'jacket'), (2, 'b', 'stove'), (3, 'b', 'tent');
        """
    )
    db.execute("SELECT pgembed.add_embedding('t', 'name')")
    settle(db)
    return db


def test_rows_of_partitions_are_embedded_together(parts: Connection, calls: Calls) -> None:
    parts.execute("INSERT INTO t VALUES (4, 'a', 'x'), (5, 'b', 'y')")
    parts.execute("UPDATE t SET name = 'z' WHERE id < 3")
    assert calls() == ['t.embedding: [4, "a"] [5, "b"]', 't.embedding: [1, "a"] [2, "b"]']


def test_a_row_that_moves_is_embedded_if_its_text_has_changed(parts: Connection, calls: Calls) -> None:
    parts.execute("UPDATE t SET region = 'b' WHERE id = 1")
    assert calls() == []
    parts.execute("UPDATE t SET region = 'a', name = 'z' WHERE id = 1")
    assert calls() == ['t.embedding: [1, "a"]']
    assert states(parts, "t") == ["stale", "fresh", "fresh"]


def test_what_names_a_partition_is_left_to_workers_and_says_so(parts: Connection, calls: Calls) -> None:
    parts.execute("INSERT INTO t_a (id, region, name) VALUES (4, 'a', 'x'); UPDATE t_b SET name = 'z' WHERE id = 2")
    assert calls() == []
    assert states(parts, "t") == ["fresh", "stale", "fresh", "pending"]


def test_a_partition_that_comes_later_is_followed_also_as_a_replica(parts: Connection, calls: Calls) -> None:
    parts.execute("CREATE TABLE t_c PARTITION OF t FOR VALUES IN ('c'); INSERT INTO t VALUES (4, 'c', 'x')")
    settle(parts)
    parts.execute("SET session_replication_role = replica")
    parts.execute("UPDATE t SET name = 'z' WHERE id IN (1, 4)")
    parts.execute("RESET session_replication_role")
    assert states(parts, "t") == ["stale", "fresh", "fresh", "stale"]


def test_the_work_index_covers_partitions(parts: Connection) -> None:
    rows = parts.execute(
        "SELECT c.relkind::text FROM pg_index AS x JOIN pg_class AS c ON c.oid = x.indexrelid"
        " WHERE c.relname ~ '^t_' AND pg_get_expr(x.indpred, x.indrelid) ~ 'pending' ORDER BY 1"
    )
    assert rows.fetchall() == [("I",), ("i",), ("i",)]


def test_a_table_with_children_is_refused(db: Connection) -> None:
    db.execute("CREATE TABLE t (id int PRIMARY KEY, name text); CREATE TABLE child () INHERITS (t)")
    with pytest.raises(psycopg.errors.FeatureNotSupported, match="children by inheritance"):
        db.execute("SELECT pgembed.add_embedding('t', 'name')")
    db.execute("DROP TABLE child; SELECT pgembed.add_embedding('t', 'name')")


# ------------------------------------------------------------------------------------------------------------------ replication


def test_a_replica_marks_rows_and_calls_nothing(db: Connection, calls: Calls) -> None:
    declare(db)
    db.execute("SET session_replication_role = replica")
    db.execute("UPDATE t SET name = 'z' WHERE id = 1; INSERT INTO t VALUES (4, 'd')")
    db.execute("RESET session_replication_role")
    assert states(db, "t") == ["stale", "fresh", "fresh", "pending"]
    assert calls() == []


def test_replicated_rows_that_bring_vector_and_hash_are_what_they_say(db: Connection) -> None:
    declare(db)
    db.execute("SET session_replication_role = replica")
    vector = "array_fill(2, ARRAY[384])::vector"
    db.execute(f"UPDATE t SET name = 'x', embedding = {vector}, embedding_hash = '\\x01' || pgembed._source_hash('x') WHERE id = 1")
    db.execute("UPDATE t SET name = 'y', embedding_hash = '\\x00' || pgembed._source_hash('b') WHERE id = 2")
    # a hash that is not that of the text is not believed
    db.execute(f"UPDATE t SET name = 'z', embedding = {vector}, embedding_hash = pgembed._source_hash('other') WHERE id = 3")
    db.execute("RESET session_replication_role")
    assert states(db, "t") == ["fresh", "stale", "stale"]
    assert db.execute("SELECT bool_or(pgembed.by_hand(embedding_hash)), bool_or(pgembed.truncated(embedding_hash)) FROM t").fetchone() == (
        False,
        True,
    )
