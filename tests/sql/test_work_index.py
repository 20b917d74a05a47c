"""The index over the rows that need work: the planner proves it, and it goes with its column."""

from __future__ import annotations

import pytest
from spied import declare
from support import Connection

pytestmark = pytest.mark.one_transaction


@pytest.mark.parametrize("arguments", ["", ", chunk_tokens => 10"], ids=["row", "chunks"])
def test_the_planner_proves_the_work_index(db: Connection, arguments: str) -> None:
    db.execute("CREATE TABLE t (id int PRIMARY KEY, name text)")
    db.execute(f"SELECT pgembed.add_embedding('t', 'name', sync => 'manual' {arguments})")
    state = "pgembed.freshness(t.embedding_hash)" if arguments else "pgembed.freshness(t.embedding, t.embedding_hash)"
    db.execute("SET LOCAL enable_seqscan = off")
    plan = "\n".join(row[0] for row in db.execute(f"EXPLAIN SELECT id FROM t WHERE {state} IN ('pending', 'stale')").fetchall())
    assert "t_embedding_work" in plan
    assert db.execute("SELECT work_index FROM pgembed._embedding").fetchone() == ('"public"."t_embedding_work"',)


def test_the_work_index_goes_with_the_column_whatever_it_is_called(db: Connection) -> None:
    declare(db)
    db.execute("ALTER INDEX t_embedding_work RENAME TO other")
    db.execute("SELECT pgembed.drop_embedding('t', keep_column => true)")
    assert db.execute("SELECT to_regclass('other'), to_regclass('t_embedding_work')").fetchone() == (None, None)
