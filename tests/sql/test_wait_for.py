"""wait_for(): until workers have embedded what is pending or stale."""

from __future__ import annotations

import threading

import psycopg
import pytest
from support import AsRole, Connect, Connection, MakeRole, Notices, Refused, wait_until

pytestmark = pytest.mark.one_transaction

WAIT = "SELECT pgembed.wait_for('product', %s)"
NOT_MADE_YET = "UPDATE product SET embedding = array_fill(1, ARRAY[384])::vector, embedding_hash = NULL"


@pytest.fixture
def queued(product: Connection) -> Connection:
    """Three products that nobody has embedded, and no worker."""
    product.execute("SELECT pgembed.alter_embedding('product', sync => 'queued')")
    return product


def waited(db: Connection, timeout: str = "0", more: str = "") -> bool:
    row = db.execute(f"SELECT pgembed.wait_for('product', %s{more})", [timeout]).fetchone()
    assert row is not None
    return bool(row[0])


@pytest.mark.own_database
def test_ends_when_another_session_has_embedded_the_rows(queued: Connection, connect: Connect) -> None:
    queued.commit()
    other, worker = connect(queued), connect(queued)
    found: list[bool] = []
    waiting = threading.Thread(target=lambda: found.append(waited(other, "1 min")))
    waiting.start()
    wait_until(lambda: sleeps(worker))
    assert found == []
    worker.execute("UPDATE product SET embedding = array_fill(1, ARRAY[384])::vector, embedding_hash = NULL WHERE id < 3")
    worker.commit()
    assert waiting.is_alive()
    worker.execute("CALL pgembed.refresh('product')")
    worker.commit()
    waiting.join(60)
    assert found == [True]


def sleeps(db: Connection) -> bool:
    row = db.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()").fetchone()
    db.commit()
    return row is not None and row[0] > 0


@pytest.mark.own_database
def test_a_cancel_ends_it(queued: Connection, connect: Connect) -> None:
    queued.commit()
    other = connect(queued)
    other.execute("SET statement_timeout = '200ms'")
    with pytest.raises(psycopg.errors.QueryCanceled):
        waited(other, "1 hour")


@pytest.mark.own_database
def test_false_when_the_time_is_over_and_who_is_missing(queued: Connection, notices: Notices) -> None:
    queued.commit()
    assert not waited(queued, "30 ms")
    assert [told.message for told in notices] == ["no worker is there to embed rows of product.embedding"]
    assert "pgembed worker" in str(notices[0].hint)
    queued.execute(NOT_MADE_YET)
    queued.commit()
    notices.clear()
    assert waited(queued)
    assert notices == []


@pytest.mark.own_database
def test_a_row_that_becomes_stale_counts_and_one_that_failed_does_not(queued: Connection) -> None:
    queued.execute(NOT_MADE_YET)
    queued.commit()
    assert waited(queued)
    queued.execute("UPDATE product SET name = 'a tarp' WHERE id = 2")
    queued.commit()
    assert not waited(queued)
    queued.execute("UPDATE product SET embedding_hash = '\\xff' WHERE id = 2")
    queued.commit()
    assert waited(queued)


def test_rows_of_this_transaction_are_seen_by_no_worker(queued: Connection, refused: Refused) -> None:
    queued.execute("INSERT INTO product VALUES (4, 'tarp', 'covers', 9)")
    refused(queued, "0A000", WAIT, ["1 hour"], message="were written in this transaction", hint="Commit first")


@pytest.mark.own_database
def test_a_snapshot_that_stays_would_wait_for_ever(queued: Connection, refused: Refused) -> None:
    queued.commit()
    for level in ("REPEATABLE READ", "SERIALIZABLE"):
        queued.execute(f"BEGIN ISOLATION LEVEL {level}")
        refused(queued, "0A000", WAIT, ["1 hour"], message=f"of isolation level {level.lower()}", hint="READ COMMITTED")
        queued.rollback()


def test_what_no_worker_embeds_is_not_waited_for(queued: Connection, refused: Refused) -> None:
    queued.execute("SELECT pgembed.alter_embedding('product', sync => 'manual')")
    for more in ("", ", 'embedding'"):
        with queued.transaction(force_rollback=True):
            refused(
                queued, "0A000", f"SELECT pgembed.wait_for('product', '0'{more})", message="of sync manual", hint="CALL pgembed.refresh"
            )
    queued.execute("CREATE TABLE given (id int PRIMARY KEY, e vector(3)); SELECT pgembed.adopt_embedding('given', 'e')")
    with queued.transaction(force_rollback=True):
        refused(queued, "0A000", "SELECT pgembed.wait_for('given')", message="has no source", hint="alter_embedding")


def test_of_several_columns_those_of_workers_count(queued: Connection) -> None:
    queued.execute(NOT_MADE_YET)
    queued.execute("SELECT pgembed.add_embedding('product', 'description', column_name => 'second', sync => 'manual')")
    assert waited(queued)


def test_arguments(queued: Connection, refused: Refused) -> None:
    for call, state, message in (
        ("'product', NULL", "22004", "timeout is NULL"),
        ("'product', '-1 s'", "22023", "must not be negative"),
        ("NULL", "22004", "target is NULL"),
        ("'product', '0', 'none'", "42704", '"none"'),
        ("'pg_class'", "42704", "no embedded column"),
    ):
        with queued.transaction(force_rollback=True):
            refused(queued, state, f"SELECT pgembed.wait_for({call})", message=message)


def test_needs_the_right_to_read_what_it_looks_at(queued: Connection, make_role: MakeRole, as_role: AsRole, refused: Refused) -> None:
    reader = make_role("reader")
    queued.execute(NOT_MADE_YET)
    with as_role(queued, reader), queued.transaction(force_rollback=True):
        refused(queued, "42501", WAIT, ["0"], hint=None)
    queued.execute(f"GRANT SELECT (embedding, embedding_hash) ON product TO {reader}")
    with as_role(queued, reader):
        assert waited(queued)
    queued.execute("ALTER TABLE product ENABLE ROW LEVEL SECURITY; CREATE POLICY cheap ON product USING (price < 100)")
    queued.execute("UPDATE product SET embedding_hash = '\\x00' WHERE id = 3")
    with as_role(queued, reader):
        assert waited(queued)  # as far as it sees
