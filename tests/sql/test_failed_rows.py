"""A row that has failed has a reason, whatever becomes of its key, its text and its neighbours meanwhile."""

from __future__ import annotations

import threading

import pytest
from support import PATIENCE, Connect, Connection, states, wait_until

pytestmark = pytest.mark.own_database

# no text for 'bad', but an error
SOURCE = "CASE WHEN name = 'bad' THEN (1 / (length(name) - 3))::text ELSE name END"


@pytest.fixture
def bad(db: Connection) -> Connection:
    """Two rows, of which the first has failed."""
    db.execute("CREATE TABLE product (id int PRIMARY KEY, name text)")
    db.execute("SELECT pgembed.add_embedding('product', %s, sync => 'queued')", [SOURCE])
    db.execute("INSERT INTO product VALUES (1, 'bad'), (2, 'tent')")
    db.execute("CALL pgembed.work()")
    assert states(db) == ["failed", "fresh"]
    return db


def reasons(db: Connection) -> list[tuple[str, str]]:
    return [(row[0], row[1]) for row in db.execute("SELECT key, sqlstate FROM pgembed.failures ORDER BY 1").fetchall()]


def test_a_failed_row_that_gets_another_key_is_tried_again_under_it(bad: Connection) -> None:
    bad.execute("UPDATE product SET id = id")
    assert states(bad) == ["failed", "fresh"]
    bad.execute("UPDATE product SET id = id + 10")
    assert states(bad) == ["pending", "fresh"]
    bad.execute("CALL pgembed.work()")
    assert states(bad) == ["failed", "fresh"]
    assert ("11", "22012") in reasons(bad)


@pytest.mark.parametrize("sync", ["auto", "immediate"])
def test_what_is_embedded_at_once_is_so_also_where_the_text_before_or_after_fails(bad: Connection, sync: str) -> None:
    bad.execute("SELECT pgembed.alter_embedding('product', sync => %s)", [sync])
    bad.execute("UPDATE product SET name = CASE id WHEN 1 THEN 'stove' ELSE 'bad' END")
    assert states(bad) == ["fresh", "failed"]
    assert reasons(bad) == [("2", "22012")]


def test_a_reason_stays_where_a_row_is_failed_still(bad: Connection) -> None:
    bad.execute("UPDATE product SET name = 'boat' WHERE id = 2")
    (claim,) = bad.execute("SELECT claim FROM pgembed._claim_work('me', 'product', with_failed => true)").fetchone() or ()
    # nothing was written of either row, for somebody has them
    bad.execute("SELECT pgembed._release_work(%s, '{}', '{}', '{}')", [claim])
    assert reasons(bad) == [("1", "22012")]
    bad.execute("UPDATE product SET name = 'tent'")
    bad.execute("CALL pgembed.work()")
    assert reasons(bad) == []


def test_whoever_ends_a_claim_and_whoever_makes_one_do_not_wait_for_each_other(bad: Connection, connect: Connect) -> None:
    (claim,) = bad.execute("SELECT claim FROM pgembed._claim_work('me', 'product', with_failed => true)").fetchone() or ()
    claiming, ending = connect(bad), connect(bad)
    release = "SELECT pgembed._release_work(%s, '{1}', '{22012}', '{again}')"
    thread = threading.Thread(target=lambda: ending.execute(release, [claim]))
    with claiming.transaction():
        claiming.execute("SELECT FROM pgembed._embedding FOR NO KEY UPDATE")  # as one who claims
        thread.start()
        blocked = "SELECT cardinality(pg_blocking_pids(%s)) > 0"
        wait_until(lambda: bad.execute(blocked, [ending.info.backend_pid]).fetchone() == (True,))
        claiming.execute("SET LOCAL lock_timeout = '5s'")
        claiming.execute("DELETE FROM pgembed._failure")
    thread.join(PATIENCE)
    assert reasons(bad) == [("1", "22012")]
