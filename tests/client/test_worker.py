"""pgembed worker, as a process beside the server: it embeds, sleeps, is woken, dies and is replaced."""

from __future__ import annotations

import signal
import time

import psycopg
import pytest
from fake_endpoint import FakeEndpoint
from support import AsRole, Connect, Connection, MakeRole, Refused, wait_until
from workers import Start, one, states

MODEL = "all-minilm-l6-v2-int8"
WAKEFUL = ("--awake", "0.1", "--poll", "3600")  # asleep at once, and only woken by a notification


def make(db: Connection, table: str = "product", rows: int = 0, model: str = MODEL, source: str = "name") -> None:
    db.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, name text)")
    db.execute(f"SELECT pgembed.add_embedding('{table}', %s, %s, sync => 'queued')", [source, model])
    fill(db, table, rows)


def fill(db: Connection, table: str, rows: int) -> None:
    db.execute(f"INSERT INTO {table} SELECT n, 'thing ' || n FROM generate_series(1, {rows}) AS n")


def state(db: Connection) -> list[str]:
    return [row[0] for row in db.execute("SELECT state FROM pgembed.workers ORDER BY name").fetchall()]


def claims(db: Connection) -> int:
    return int(one(db, "SELECT count(*) FROM pgembed._claim"))


def break_model(db: Connection, name: str = "broken") -> None:
    """A model whose files are nowhere."""
    db.execute("SELECT pgembed.register_model(%s, %s, dim => 8)", [name, MODEL])
    db.execute("UPDATE pgembed._model SET source_fingerprint = repeat('0', 64) WHERE name = %s", [name])


def test_rows_are_embedded_and_a_writer_wakes_it(db: Connection, start: Start) -> None:
    make(db, rows=3)
    worker = start(*WAKEFUL, "--name", "one")
    wait_until(lambda: states(db) == {"fresh": 3})
    wait_until(lambda: state(db) == ["asleep"])
    for number in (4, 5):
        db.execute("INSERT INTO product VALUES (%s, 'late')", [number])
        wait_until(lambda number=number: states(db) == {"fresh": number})
        wait_until(lambda: state(db) == ["asleep"])
    seen = db.execute("SELECT name, doing, problem, rows_failed, host IS NOT NULL, pid FROM pgembed.workers").fetchone()
    assert seen is not None
    assert seen[:5] == ("one", None, None, 0, True)
    wait_until(lambda: one(db, "SELECT rows_done FROM pgembed.workers") == 5)
    names = db.execute(
        "SELECT application_name FROM pg_stat_activity WHERE datname = current_database() AND application_name ~ '^pgembed worker one'"
        " ORDER BY pid = %s DESC",
        [seen[5]],
    ).fetchall()
    assert names[0] == ("pgembed worker one",)
    assert set(names[1:]) == {("pgembed worker one: waits",)}
    assert one(db, "SELECT max(embedding <=> (pgembed.embed(ARRAY[name], %s))[1]) FROM product", [MODEL]) < 1e-6
    assert worker.stop() == 0
    assert state(db) == []


def test_how_fresh_the_column_was_is_written_down(db: Connection, start: Start) -> None:
    make(db, rows=30)
    assert start("--once", "--batch-size", "10").ended() == 0
    # of a short time only its end
    assert db.execute("SELECT rows, fresh, pending FROM pgembed.freshness_log").fetchall() == [(30, 30, 0)]


def test_it_ends_soon_in_the_middle_of_a_batch_and_gives_it_back(db: Connection, start: Start) -> None:
    make(db, rows=3000)
    worker = start("--batch-size", "1000")
    wait_until(lambda: claims(db) > 0 and "embeds product.embedding" in activity(db))
    assert worker.stop() == 0
    assert claims(db) == 0
    assert states(db).keys() <= {"fresh", "pending"}
    assert states(db)["pending"] > 0
    assert one(db, "SELECT count(*) FROM pgembed._failure") == 0
    assert "ended" in worker.said()


def test_a_second_signal_ends_it_at_once(db: Connection, start: Start, connect: Connect) -> None:
    make(db, rows=3)
    blocker = connect(db)
    blocker.execute("BEGIN; LOCK TABLE product IN SHARE MODE")
    worker = start()
    wait_until(lambda: one(db, "SELECT count(*) FROM pg_locks WHERE relation = 'product'::regclass AND NOT granted") > 0)
    worker.process.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    assert worker.stop() == 128 + signal.SIGTERM
    blocker.rollback()


def activity(db: Connection) -> str:
    return " ".join(
        row[0] for row in db.execute("SELECT application_name FROM pg_stat_activity WHERE datname = current_database()").fetchall()
    )


def test_another_one_takes_over_what_a_dead_one_had_claimed(db: Connection, start: Start) -> None:
    make(db, rows=600)
    first = start("--lease", "1", "--batch-size", "200", "--name", "first")
    wait_until(lambda: claims(db) > 0)
    first.process.kill()
    first.ended()
    left = one(db, "SELECT max(attempts) FROM pgembed._claim")
    wait_until(lambda: one(db, "SELECT count(*) FROM pg_stat_activity WHERE application_name ~ '^pgembed worker first'") == 0)
    assert state(db) in (["gone"], [])
    second = start("--name", "second")
    wait_until(lambda: states(db) == {"fresh": 600})
    wait_until(lambda: claims(db) == 0)
    assert left in (None, 1)
    assert second.stop() == 0
    assert state(db) == []


def test_it_connects_again(db: Connection, start: Start) -> None:
    make(db, rows=3)
    worker = start("--name", "one", "--poll", "0.2")
    wait_until(lambda: states(db) == {"fresh": 3})
    before = one(db, "SELECT pid FROM pgembed.workers")
    ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'pgembed worker%'"
    db.execute(f"{ended} AND datname = current_database()")
    wait_until(lambda: one(db, "SELECT max(pid) FROM pgembed.workers") not in (None, before))
    db.execute("INSERT INTO product VALUES (4, 'late')")
    wait_until(lambda: states(db) == {"fresh": 4})
    assert "trying again" in worker.said()
    assert "connected again" in worker.said()
    assert worker.stop() == 0


def test_two_share_the_work_and_embed_nothing_twice(db: Connection, start: Start) -> None:
    make(db)
    db.execute(
        """
        CREATE TABLE written (id int);
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.written VALUES (NEW.id); RETURN NULL; END';
        CREATE TRIGGER note AFTER UPDATE ON product FOR EACH ROW WHEN (NEW.embedding IS NOT NULL) EXECUTE FUNCTION note();
        """
    )
    fill(db, "product", 600)
    both = [start("--batch-size", "40", "--name", name, "--once") for name in ("one", "two")]
    assert [worker.ended() for worker in both] == [0, 0]
    assert states(db) == {"fresh": 600}
    assert db.execute("SELECT count(*), count(DISTINCT id) FROM written").fetchone() == (600, 600)


def test_a_column_whose_model_is_broken_does_not_stop_another(db: Connection, start: Start) -> None:
    break_model(db)
    make(db, "alpha", 3, "broken")
    make(db, "beta", 3)
    worker = start("--name", "one", "--poll", "0.2")
    wait_until(lambda: states(db, "beta") == {"fresh": 3})
    wait_until(lambda: "broken" in (one(db, "SELECT problem FROM pgembed.workers") or ""))
    db.execute("INSERT INTO beta VALUES (4, 'late')")
    wait_until(lambda: states(db, "beta") == {"fresh": 4})
    assert states(db, "alpha") == {"pending": 3}
    assert worker.stop() == 0
    assert 'alpha.embedding is left to others: its model "broken" cannot be loaded here' in worker.said()
    once = start("--once")
    assert once.ended() == 1


def test_an_endpoint_is_asked_once_for_each_row_and_paused_where_it_fails(db: Connection, start: Start) -> None:
    with FakeEndpoint() as fake:
        db.execute(
            "SELECT pgembed.register_model('far', %s, remote_model => 'm', options => %s)", [fake.url, '{"retries": 0, "timeout": 5}']
        )
        make(db, model="far")
        fill(db, "product", 30)
        asked = len(fake.requests)
        both = [start("--once", "--batch-size", "5") for _ in range(2)]
        assert [worker.ended() for worker in both] == [0, 0]
        texts = [text for request in fake.requests[asked:] for text in request.texts]
        assert sorted(texts) == sorted(f"thing {number}" for number in range(1, 31))
    make(db, "beta", 3)
    db.execute("INSERT INTO product VALUES (31, 'late')")
    worker = start("--once")
    assert worker.ended() == 1
    assert states(db, "beta") == {"fresh": 3}
    assert states(db) == {"fresh": 30, "pending": 1}
    assert "product.embedding is paused" in worker.said()
    assert claims(db) == 0


def test_a_row_that_fails_is_counted_and_the_others_are_embedded(db: Connection, start: Start) -> None:
    make(db, source="name || 1 / (id - 2)")
    fill(db, "product", 3)
    assert start("--once").ended() == 1
    found = db.execute("SELECT pgembed.freshness(embedding, embedding_hash) FROM product ORDER BY id").fetchall()
    assert [row[0] for row in found] == ["fresh", "failed", "fresh"]


def test_once_ends_where_nothing_is_left(db: Connection, start: Start) -> None:
    assert start("--once").ended() == 0
    make(db, rows=3)
    make(db, "other", 3)
    assert start("--once", "--table", "product", "--jobs", "1", "--threads", "1").ended() == 0
    assert (states(db), states(db, "other")) == ({"fresh": 3}, {"pending": 3})
    assert start("--once").ended() == 0
    assert states(db, "other") == {"fresh": 3}


def test_it_gets_nothing_of_tables_of_others(db: Connection, start: Start, make_role: MakeRole) -> None:
    role = make_role("owner", "NOSUPERUSER")
    make(db, "mine", 3)
    make(db, "theirs", 3)
    db.execute(f"GRANT CREATE, USAGE ON SCHEMA public TO {role}; ALTER TABLE mine OWNER TO {role}")
    for (function,) in db.execute("SELECT p.oid::regprocedure::text FROM pg_proc AS p WHERE p.proname LIKE '%mine%'").fetchall():
        db.execute(f"ALTER ROUTINE {function} OWNER TO {role}")
    worker = start("--once", options=f"-c role={role}")
    assert worker.ended() == 0
    assert (states(db, "mine"), states(db, "theirs")) == ({"fresh": 3}, {"pending": 3})


def test_a_name_is_one_workers(db: Connection, start: Start) -> None:
    start("--name", "one")
    wait_until(lambda: state(db) != [])
    second = start("--name", "one")
    assert second.ended() == 1
    assert 'a worker with the name "one" is at work in this database' in second.said()
    assert "hint: " in second.said()


@pytest.mark.parametrize(
    ("arguments", "changes", "message"),
    [
        (("--table", "nothing"), {}, 'table "nothing" does not exist'),
        (("--jobs", "0"), {}, "--jobs must be from 1 to 64, not 0"),
        ((), {"dbname": "pgembed_no_such"}, "no connection to the database"),
        ((), {"dbname": "template1"}, "has no pgembed"),
    ],
    ids=["table", "jobs", "database", "extension"],
)
def test_what_cannot_work_is_said_at_once(
    db: Connection, start: Start, arguments: tuple[str, ...], changes: dict[str, str], message: str
) -> None:
    worker = start(*arguments, **changes)
    assert worker.ended() == 1
    assert message in worker.said()
    assert "Traceback" not in worker.said()


def notified(session: Connection) -> int:
    return len(list(session.notifies(timeout=0.2)))


# Sessions that hold the lock by which writers know that a worker sleeps.
HELD = """
    SELECT array_agg(l.pid) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
    WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.objid = 2002873189 AND l.mode = 'ExclusiveLock'
"""


def sleeps(session: Connection) -> tuple[bool, bool]:
    """Whether a worker may sleep whose session this is, and whether it holds the lock by which writers know."""
    row = session.execute("SELECT sleeps, holds FROM pgembed._begin_sleep()").fetchone()
    assert row is not None
    return row[0], row[1]


def test_a_notification_is_sent_only_where_a_living_worker_sleeps(db: Connection, connect: Connect) -> None:
    listener, worker, other = connect(db), connect(db), connect(db)
    listener.execute("LISTEN pgembed_work")

    def wakes() -> bool:
        db.execute("SELECT pgembed._wake_workers() FROM generate_series(1, 3)")
        return notified(listener) > 0

    assert not wakes()
    assert sleeps(worker) == (True, True)
    assert wakes()
    # one for all
    assert sleeps(other) == (True, False)
    worker.execute("SELECT pgembed._end_sleep()")
    assert not wakes()
    assert sleeps(other) == (True, True)
    assert wakes()
    pid = other.info.backend_pid
    other.close()
    wait_until(lambda: one(db, "SELECT count(*) FROM pg_stat_activity WHERE pid = %s", [pid]) == 0)
    assert not wakes()


def test_no_worker_falls_asleep_before_what_is_written_is_committed(db: Connection, connect: Connect) -> None:
    make(db)
    writer, worker, listener = connect(db), connect(db), connect(db)
    listener.execute("LISTEN pgembed_work")
    for number, end in enumerate(("COMMIT", "ROLLBACK")):
        writer.execute("BEGIN")
        assert sleeps(worker) == (True, True)  # nothing is written yet
        worker.execute("SELECT pgembed._end_sleep()")
        writer.execute(f"INSERT INTO product VALUES ({number}, 'late')")
        assert sleeps(worker) == (False, False)
        writer.execute(end)
        assert notified(listener) == 0
        assert sleeps(worker) == (True, True)
        worker.execute("SELECT pgembed._end_sleep()")
    # an UPDATE that leaves nothing behind keeps nobody awake
    writer.execute("BEGIN; UPDATE product SET name = name")
    assert sleeps(worker) == (True, True)
    writer.execute("COMMIT")
    assert notified(listener) == 0


def test_while_one_writer_rings_the_others_do_not(db: Connection, connect: Connect) -> None:
    """Notifications make writers commit one after another; a worker that is stopped must not slow all of them down."""
    make(db)
    first, second, worker, listener = connect(db), connect(db), connect(db), connect(db)
    listener.execute("LISTEN pgembed_work")
    assert sleeps(worker) == (True, True)
    first.execute("BEGIN; INSERT INTO product VALUES (1, 'one')")
    for number in range(2, 5):
        second.execute(f"INSERT INTO product VALUES ({number}, 'other')")
    assert notified(listener) == 0
    first.execute("COMMIT")
    assert notified(listener) == 1
    # one that has rung for nothing leaves it to the next
    first.execute("BEGIN; INSERT INTO product VALUES (5, 'five'); ROLLBACK")
    assert notified(listener) == 0
    second.execute("INSERT INTO product VALUES (6, 'six')")
    assert notified(listener) == 1


def test_writers_do_not_ring_for_ever_for_a_worker_that_is_stopped(db: Connection, connect: Connect, start: Start) -> None:
    make(db)
    worker, listener = start(*WAKEFUL, "--lease", "1"), connect(db)
    listener.execute("LISTEN pgembed_work")
    wait_until(lambda: state(db) == ["asleep"])
    worker.process.send_signal(signal.SIGSTOP)
    try:
        db.execute("INSERT INTO product VALUES (1, 'late')")
        assert notified(listener) == 1
        wait_until(lambda: state(db) == ["gone"])
        db.execute("INSERT INTO product VALUES (2, 'late')")
        assert notified(listener) == 0
    finally:
        worker.process.send_signal(signal.SIGCONT)
    wait_until(lambda: states(db) == {"fresh": 2})
    assert "connected again" in worker.said()


def test_where_the_worker_is_gone_that_slept_for_all_another_one_is_woken(db: Connection, start: Start) -> None:
    make(db)
    first = start(*WAKEFUL, "--name", "first")
    wait_until(lambda: state(db) == ["asleep"])
    start(*WAKEFUL, "--name", "second")
    wait_until(lambda: state(db) == ["asleep", "asleep"])
    assert first.stop() == 0
    wait_until(lambda: state(db) == ["asleep"] and one(db, HELD) == [one(db, "SELECT pid FROM pgembed.workers")])
    db.execute("INSERT INTO product VALUES (1, 'late')")
    wait_until(lambda: states(db) == {"fresh": 1})


def test_a_line_belongs_to_its_session_and_dead_ones_go(db: Connection, connect: Connect) -> None:
    first, second = connect(db), connect(db)
    assert one(first, "SELECT pgembed._start_worker('w', 'here', 0)")
    assert not one(second, "SELECT pgembed._start_worker('w', 'there', 0)")
    assert not one(second, "SELECT pgembed._tell_worker('w', true, NULL, NULL, 0, 0, '1 min')")
    second.execute("SELECT pgembed._end_worker('w')")
    assert state(db) == ["waiting"]
    # whoever connects again may say which session was its own
    assert one(second, "SELECT pgembed._start_worker('w', 'there', %s)", [first.info.backend_pid])
    assert not one(first, "SELECT pgembed._tell_worker('w', true, NULL, NULL, 0, 0, '1 min')")
    db.execute("INSERT INTO pgembed._worker (name, pid) VALUES ('dead', 1)")
    assert one(first, "SELECT pgembed._start_worker('v', 'here', 0)")
    assert [row[0] for row in db.execute("SELECT name FROM pgembed.workers ORDER BY 1").fetchall()] == ["v", "w"]


def test_only_who_has_something_to_embed_may_be_a_worker(
    db: Connection, connect: Connect, make_role: MakeRole, as_role: AsRole, refused: Refused
) -> None:
    role = make_role("stranger")
    session = connect(db)
    with as_role(session, role):
        refused(session, "42501", "SELECT pgembed._start_worker('w', 'here', 0)", message="owns no table", hint="owns the tables")
        assert session.execute("SELECT * FROM pgembed.workers").fetchall() == []
        session.execute("SELECT pgembed._wake_workers()")
    make(db)
    db.execute(f"ALTER TABLE product OWNER TO {role}")
    with as_role(session, role):
        assert one(session, "SELECT pgembed._start_worker('w', 'here', 0)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("UPDATE pgembed._worker SET is_asleep = true")


def test_a_worker_extends_its_own_living_claims(db: Connection, connect: Connect) -> None:
    make(db)
    worker = connect(db)
    assert one(worker, "SELECT pgembed._start_worker('w', 'here', 0)")
    db.execute(
        """
        INSERT INTO pgembed._claim (table_name, column_name, keys, worker, attempts, claimed_at, expires_at)
        SELECT 'product', 'embedding', '{1}', w, 1, clock_timestamp() - old, clock_timestamp() + e
        FROM (VALUES ('w', interval '0', interval '1 s'), ('other', '0', '1 s'), ('w', '0', '-1 s'), ('w', '2 h', '1 s')) AS v (w, old, e)
        """
    )
    assert one(worker, "SELECT pgembed._tell_worker('w', false, NULL, NULL, 0, 0, '10 min')")
    found = db.execute("SELECT expires_at > clock_timestamp() + interval '5 min' FROM pgembed._claim ORDER BY id").fetchall()
    assert [row[0] for row in found] == [True, False, False, False]
